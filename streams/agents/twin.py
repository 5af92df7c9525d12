"""observation -> twin -> tick, table = state, observation (partials of pools), or deadletter."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterator
from typing import Any, TypeVar

import structlog
from prometheus_client import Counter, Histogram

from streams.agents.deadletter import DeadLetters
from streams.agents.working import Working
from streams.domain.changes import Changes, write_order
from streams.domain.entity import OUTCOMES
from streams.domain.ledger import LEDGER_KIND
from streams.domain.observation import check_observation, new_observation
from streams.domain.ticks import TickRows
from streams.domain.twin import Partition
from streams.engine.faust_app import drain, raw_topic
from streams.engine.table import TwinTable, Writes, send_batches
from streams.errors import InvalidMessageError, TwinError
from streams.records import Observation
from streams.schemas import load_codec
from streams.topics import MAX_MESSAGE_BYTES, Topics

T = TypeVar("T")

log = structlog.get_logger(__name__)

SAMPLES = Counter("twin_samples_total", "What became of the samples of observations", ["source", "outcome"])
STATES = Counter("twin_states_published_total", "Records written to state")
TICKS = Counter("twin_ticks_closed_total", "Closed ticks written to tick")
FRESHNESS = Histogram(
    "twin_freshness_seconds",
    "From the receipt of a scrape to its states published",
    buckets=(0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 15, 60),
)

BATCH_MESSAGES = 512
"""[1] Most messages that are applied before Kafka is asked to take what came of them."""

CLOCK_S = 1.0
"""[s] Between clock messages."""

LEASE_POLL_S = 0.02
"""[s] Between looks at a lease that ran out: the next heartbeat renews it or ends it."""


def attach(
    app: Any,
    topics: Topics,
    table: TwinTable,
    announced_ms: Callable[[int], int | None],
    guard: Callable[[Exception], Awaitable[None]],
) -> None:
    """Add the twin agent and the clock to the app; `announced_ms` says what time the clock may announce."""
    letters = DeadLetters(app, topics, "twin")
    stage = TwinStage(app, topics, table, letters)

    @app.agent(raw_topic(app, topics["observation"]), name="twin", concurrency=1)  # type: ignore[untyped-decorator]
    async def twin(stream: Any) -> None:
        """Applies observations to the records of entities and closes ticks; the only writer of the table.

        Reads: observation. Writes: tick, then state (the table's changelog), then observation (at its clock
        messages, what the nodes of each pool give together, to the pool's partition), deadletter (a message
        that does not decode or whose arrays do not fit together, a record that grew too large, an event that
        its world cannot take).
        """
        async for event in stream.noack().events():
            try:
                applied = await stage.run(drain(stream, event, BATCH_MESSAGES))
            except Exception as error:  # noqa: BLE001  # Faust would lose the batch: end the process instead
                await guard(error)
            for done in applied:
                done.ack()

    @app.on_partitions_revoked.connect  # type: ignore[untyped-decorator]
    async def let_go(app: Any, revoked: Any, **_: Any) -> None:
        # The next owner must find in `state` whatever this worker writes.
        await stage.finished()

    @app.timer(CLOCK_S)  # type: ignore[untyped-decorator]  # Faust's is not typed
    async def clock() -> None:
        if app.rebalancing or app.in_recovery:
            return
        clock_ms = announced_ms(int(time.time() * 1000))
        if clock_ms is None:
            return
        message = load_codec("observation").encode(new_observation("clock", clock_ms))
        ours = [tp.partition for tp in app.consumer.assignment() if tp.topic == topics["observation"]]
        await send_batches(app, topics["observation"], {number: [(None, message)] for number in ours})


class TwinStage:
    """One batch of observations: apply, send ticks, write states; each waits for Kafka's answer."""

    def __init__(self, app: Any, topics: Topics, table: TwinTable, letters: DeadLetters) -> None:
        self._app, self._topics, self._table, self._letters = app, topics, table, letters
        self._under_way = asyncio.Lock()

    async def finished(self) -> None:
        """Wait until no batch is under way."""
        async with self._under_way:
            pass

    async def run(self, events: list[Any]) -> list[Any]:
        """Apply a batch; returns what was applied, when everything that came of it is in Kafka.

        Raises:
            KafkaError: Kafka did not take it.
            TwinError: Faust left a message out, or a partition was not restored.
        """
        async with self._under_way:
            by_partition: dict[int, list[Any]] = {}
            current = await self._app.delivery.current(events)
            for event in current:
                by_partition.setdefault(event.message.partition, []).append(event)
            return current if await self._run(by_partition) else []

    async def _report_restored(self) -> None:
        """Dead letters for what was no state; its keys get again what it hides, or a tombstone."""
        refused, self._table.refused = self._table.refused, []
        writes: Writes = {}
        for one in refused:
            key, number = one.message.key, one.message.partition
            if number in self._table.parts:
                writes.setdefault(number, []).append((key, self._table.data.data.get(key)))
        await self._letters.send_all([(one, one.error.reason, str(one.error)) for one in refused])
        await self._table.publish(writes)

    async def _run(self, by_partition: dict[int, list[Any]]) -> bool:
        work = Working(self._table)
        received: list[int] = []
        ticks: Writes = {}
        states: Writes = {}
        ledgers: Writes = {}
        partials: Writes = {}
        for number, waiting in by_partition.items():
            part = self._table.parts.get(number)
            if part is None:
                raise TwinError(f"partition {number} was assigned and not restored")
            changes = Changes()
            for event in waiting:
                await self._apply(part, event, work, changes, received)
            await self._encode(part, work, changes, waiting[-1], (ticks, states, ledgers))
            for home, partial in changes.partials:
                value = load_codec("observation").encode(partial)
                partials.setdefault(home, []).append((None, value))
        if not await self._may_write():
            # The indices are ahead of the table now, so they have to be made again.
            self._table.drop(set(by_partition))
            return False
        if self._table.refused:
            await self._report_restored()
        await send_batches(self._app, self._topics["tick"], ticks)
        if ledgers:
            # Before the tombstones, so that the counts of what is removed are never lost.
            await self._table.publish(ledgers)
        await self._table.publish(states)
        # After the states: a restart tells it again, which changes nothing.
        await send_batches(self._app, self._topics["observation"], partials)
        now_ms = int(time.time() * 1000)
        for received_ms in received:
            FRESHNESS.observe(max(0, now_ms - received_ms) / 1000)
        return True

    async def _may_write(self) -> bool:
        """Wait until it is sure that the partitions are ours; False when they were taken away."""
        while not self._app.lease.holds:
            if not self._app.delivery.is_open:
                return False
            await asyncio.sleep(LEASE_POLL_S)
        return True

    async def _apply(
        self, part: Partition, event: Any, work: Working, changes: Changes, received: list[int]
    ) -> None:
        try:
            message: Observation = load_codec("observation").decode(event.message.value)
            check_observation(message)
            for _ in part.steps(event.message.offset, message, work, changes):
                await asyncio.sleep(0)
        except InvalidMessageError as error:
            await self._letters.send(event, error)
            return
        if message["type"] == "values" and message["world"] == "live":
            received.append(message["scraped_at_ms"])

    async def _encode(
        self,
        part: Partition,
        work: Working,
        changes: Changes,
        event: Any,
        writes: tuple[Writes, Writes, Writes],
    ) -> None:
        ticks, states, ledgers = writes
        encode = load_codec("state").encode
        order = sorted((write_order(key, is_removal=work.get(key) is None), key) for key in changes.changed)
        for place, (_, key) in enumerate(order):
            entity = work.get(key)
            value = encode(entity) if entity is not None else None
            is_ledger, is_ours = f"/{LEDGER_KIND}/" in key, "/_" in key
            if entity is not None and value is not None and len(value) > MAX_MESSAGE_BYTES and not is_ours:
                value = encode(work.give_up(key, entity, changes))
                reason = (
                    f"{key}: a record of more than {MAX_MESSAGE_BYTES} bytes; its new samples are rejected"
                )
                await self._letters.send(event, InvalidMessageError("too_large", reason))
            target = ledgers if is_ledger else states
            target.setdefault(part.number, []).append((key.encode(), value))
            if place % 50 == 49:
                await asyncio.sleep(0)
        TICKS.inc(len(changes.ticks.rows))
        for message in tick_messages(changes.ticks, part.epoch):
            ticks.setdefault(part.number, []).append((None, message))
        STATES.inc(len(changes.changed))
        for source, counts in changes.outcomes.items():
            for outcome, count in zip(OUTCOMES, counts, strict=True):
                if count:
                    SAMPLES.labels(source, outcome).inc(count)


def tick_messages(ticks: TickRows, epoch: int) -> Iterator[bytes]:
    """Encoded ticks, none larger than a message may be unless one row alone is."""
    for world in ticks.worlds():
        rows = [row for row in ticks.rows if row.entity["world"] == world]
        changes = [change for change in ticks.changes if change["world"] == world]
        messages = [load_codec("tick").encode(tick) for tick in ticks.records(world, epoch)]
        if len(rows) + len(changes) < 2 or max(map(len, messages)) <= MAX_MESSAGE_BYTES:
            yield from messages
        else:
            for half in (0, 1):
                yield from tick_messages(TickRows(_half(rows, half), _half(changes, 1 - half)), epoch)


def _half(rows: list[T], half: int) -> list[T]:
    middle = (len(rows) + 1) // 2
    return rows[middle:] if half else rows[:middle]
