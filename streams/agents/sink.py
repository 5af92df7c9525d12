"""tick -> sink -> history store, or deadletter."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from aiokafka.errors import KafkaError
from prometheus_client import Counter

from streams.agents.deadletter import DeadLetters
from streams.domain.sink import Epochs
from streams.engine.faust_app import drain, raw_topic
from streams.errors import InvalidMessageError
from streams.metrics import Progress
from streams.schemas import load_codec
from streams.stores import Refusal, Store
from streams.stores.writer import Batch, Writer
from streams.topics import Topics

STALE = Counter(
    "twin_sink_stale_ticks_total", "Tick messages of a worker that had already lost the partition"
)

BATCH_MESSAGES = 64
"""[1] Most messages that are turned into lines before the loop does something else."""

QUEUE_MESSAGES = 256
"""[1] Most messages that wait for the agent: up to 256 KiB each, and a long outage fills it."""

POLL_S = 1.0
"""[s] Between two signs of life to the group; far below the shortest max_poll_interval."""

PROGRESS_S = 5.0
"""[s] Between two looks at the end offsets, each a request to Kafka."""

END_TIMEOUT_S = 3.0
"""[s] For that request; when Kafka is away, the look is left out."""


def attach(
    app: Any, topics: Topics, store: Store, guard: Callable[[BaseException], Awaitable[None]]
) -> "SinkStage":
    """Add the sink agent and its timers to the app."""
    stage = SinkStage(app, topics, store, guard)

    @app.agent(raw_topic(app, topics["tick"]), name="sink", concurrency=1)  # type: ignore[untyped-decorator]
    async def sink(stream: Any) -> None:
        """Writes closed ticks and changes of status to the history store, and holds them while it is away.

        Reads: tick. Writes: the history store, deadletter (a tick that does not decode; lines that the store
        refuses by themselves, such as a field that had another type before).
        """
        bound_queue(stream.channel.queue)
        async for event in stream.noack().events():
            try:
                for each in await app.delivery.current(drain(stream, event, BATCH_MESSAGES)):
                    await stage.take(each)
                    await asyncio.sleep(0)  # a message is milliseconds of work, and posts wait for the loop
            except Exception as error:  # noqa: BLE001  # Faust would lose the batch: end the process instead
                await guard(error)

    @app.timer(POLL_S)  # type: ignore[untyped-decorator]  # Faust's is not typed
    async def stay() -> None:
        if stage.writer.busy:
            count_as_poll(app)

    @app.timer(PROGRESS_S)  # type: ignore[untyped-decorator]
    async def look() -> None:
        if app.delivery.is_open:
            await stage.note_progress()

    return stage


@dataclass(frozen=True, slots=True)
class Part:
    """A part of a message, in the place of the whole: where it came from, and bytes of its own."""

    topic: str
    partition: int
    offset: int
    key: bytes | None
    value: bytes

    @property
    def message(self) -> "Part":
        """What an event has there."""
        return self


class SinkStage:
    """Ticks to items of the store; offsets are acknowledged when their items are kept."""

    def __init__(
        self, app: Any, topics: Topics, store: Store, guard: Callable[[BaseException], Awaitable[None]]
    ) -> None:
        self._app = app
        self._topic = topics["tick"]
        self._store = store
        self._letters = DeadLetters(app, topics, "sink")
        self._epochs = Epochs()
        self._kept: dict[int, int] = {}
        self.progress = Progress("sink")
        self.writer: Writer[Any] = Writer(store, settle=self._settle, crash=guard, wanted=self._is_ours)

    async def take(self, event: Any) -> None:
        """Hand a tick to the writer; comes back when there is room for the next."""
        if self._is_ours(event):
            await self.writer.add(event, await self._items(event))

    async def _items(self, event: Any) -> list[Any]:
        try:
            tick = load_codec("tick").decode(event.message.value)
            if self._epochs.is_stale(event.message.partition, event.message.offset, tick["epoch"]):
                STALE.inc()
                return []
            return self._store.convert(tick)
        except InvalidMessageError as error:
            await self._letters.send(event, error)
            return []

    def _is_ours(self, event: Any) -> bool:
        # What was fetched before a rebalance is delivered again, to whoever has the partition now.
        delivery = self._app.delivery
        return bool(delivery.is_open and event.message.generation_id == delivery.generation)

    async def _settle(self, batch: Batch[Any], refusals: list[Refusal] | None) -> None:
        if refusals is None:
            return
        if refusals:
            await self._letters.send_all(self._refused(batch, refusals))
        for event in filter(self._is_ours, batch.messages):
            event.ack()
            self._kept[event.message.partition] = event.message.offset + 1

    def _refused(self, batch: Batch[Any], refusals: list[Refusal]) -> list[tuple[Any, str, str]]:
        """One dead letter for each message and reason, with all of its lines that were refused for it."""
        groups: dict[tuple[int, str], tuple[Any, str, list[bytes]]] = {}
        for refusal in refusals:
            event = batch.message_of(refusal.index)
            group = groups.setdefault((id(event), refusal.reason), (event.message, refusal.error, []))
            group[2].append(self._store.show(batch.items[refusal.index]))
        return [
            (
                Part(origin.topic, origin.partition, origin.offset, origin.key, b"\n".join(lines)),
                reason,
                error,
            )
            for (_, reason), (origin, error, lines) in groups.items()
        ]

    async def note_progress(self) -> None:
        """Compare what is kept with the true ends; a partition that Faust forgot to fetch shows as well."""
        consumer = self._app.consumer
        ours = {tp for tp in consumer.assignment() if tp.topic == self._topic}
        for topic, partition in self.progress.known() - {(tp.topic, tp.partition) for tp in ours}:
            self.progress.forget(topic, partition)
            self._kept.pop(partition, None)
        kept = {tp: self._kept.get(tp.partition, consumer._committed_offset.get(tp)) for tp in ours}
        fresh = [tp for tp, position in kept.items() if position is None]
        try:
            async with asyncio.timeout(END_TIMEOUT_S):
                ends = by_place(await consumer.highwaters(*ours)) if ours else {}
                begins = by_place(await consumer.earliest_offsets(*fresh)) if fresh else {}
        except (TimeoutError, KafkaError):
            return
        for tp, position in kept.items():
            if tp not in consumer.assignment():
                continue  # taken away while Kafka was asked
            place = tp.topic, tp.partition
            self.progress.set_position(*place, begins[place] if position is None else position)
            # The embedded broker names an end that is short by a part of its newest batch.
            self.progress.set_end(*place, max(ends[place], consumer.highwater(tp) or 0))

    def ready(self) -> tuple[bool, dict[str, Any]]:
        """Whether ticks get into the store, and why not."""
        if not self._app.delivery.is_open:
            return False, {"reason": "waiting for partitions"}
        is_ready, details = self.progress.ready()
        if self.writer.trouble:
            return False, details | {"reason": self.writer.trouble}
        return is_ready, details

    async def close(self) -> None:
        """Give up what is not settled: it is delivered again."""
        await self.writer.close()
        await self._store.close()


def by_place(offsets: Any) -> dict[tuple[str, int], int]:
    """Offsets by topic and partition: aiokafka's and Faust's own pairs of these are not equal."""
    return {(tp.topic, tp.partition): offset for tp, offset in offsets.items()}


def bound_queue(queue: Any) -> None:
    """Let a full queue hold up Faust's fetcher at once.

    By itself Faust stops fetching a partition before the queue is full, and when it has stopped for all of
    them it sleeps for a second, however soon there is room again.
    """
    queue._maxsize = QUEUE_MESSAGES
    queue.pressure_high_size = QUEUE_MESSAGES + 1


def count_as_poll(app: Any) -> None:
    """Tell aiokafka that this member is alive although nothing is fetched.

    A member that does not fetch for max_poll_interval leaves the group. A sink that waits for its store must
    not: its partitions would go to another one, which waits for the same store, and so on.
    """
    thread = app.consumer._thread
    if thread._consumer is not None:
        thread.thread_loop.call_soon_threadsafe(_touch, thread._consumer._subscription)


def _touch(subscription: Any) -> None:
    # In the consumer's own thread: the count inside is not safe across threads.
    with subscription.fetch_context():
        pass
