"""Reads the state topic into the holdings of worlds."""

import asyncio
import time
from collections.abc import Callable

from aiokafka import ConsumerRecord

from streams.cursor import Cursor
from streams.errors import TwinError
from streams.reader import TopicReader
from streams.registry import use_registry
from streams.replica.place import Place, Progress
from streams.replica.view import WorldView
from streams.replica.worlds import Worlds
from streams.settings import Settings
from streams.topics import topics_of


class StateSource:
    """One reader of the topic `state`, for as many worlds as are wanted.

    Args:
        settings: where Kafka is, and the topic prefix.
        worlds: where the records go.
        on_seen: is called with [ms] from scrape to here for each record that comes after the catching up.
    """

    def __init__(
        self, settings: Settings, worlds: Worlds, on_seen: Callable[[int], None] | None = None
    ) -> None:
        self.worlds = worlds
        self._settings = settings
        self._on_seen = on_seen
        self.progress = Progress(topics_of(settings)["state"])
        self._reader = TopicReader(settings, topics_of(settings)["state"], self._take, self._forget)

    def view_of(self, world: str) -> WorldView | None:
        """The entities of a world; None when nothing of it is held."""
        holdings = self.worlds.find(world)
        return None if holdings is None else WorldView(holdings, self.offsets, self.is_running)

    async def start(self) -> None:
        """Begin to read the topic from its beginning.

        Raises:
            SettingsError: no broker is configured, or its certificates cannot be used.
            TwinError: Kafka does not answer, or the topic does not exist.
        """
        await use_registry(self._settings)
        await self._reader.start()
        if self._reader.task is not None:
            self._reader.task.add_done_callback(self._end_followers)

    async def stop(self) -> None:
        """End reading; what is held stays readable, and iterations over changes end."""
        await self._reader.stop()

    async def ready(self, timeout: float | None = None) -> None:  # noqa: ASYNC109  # users' word
        """Wait until everything that was in the topic at the start has been read.

        Args:
            timeout: [s] after which it is an error; None waits for ever.

        Raises:
            TwinError: it took longer than that (names the partitions that lag), or the replica does not run.
        """
        task = self._reader.task
        if task is None:
            raise TwinError("the replica does not run: use `async with TwinReplica(settings) as twin`")
        waiting = asyncio.create_task(self._reader.caught_up.wait())
        try:
            await asyncio.wait({waiting, task}, timeout=timeout, return_when=asyncio.FIRST_COMPLETED)
        finally:
            waiting.cancel()
        if task.done():
            task.result()
        reason = self.why_not_ready()
        if reason is not None:
            raise TwinError(f"{self._reader.topic} was not read to its end within {timeout} s: {reason}")

    async def wait(self) -> None:
        """Wait for the end of reading, which only `stop` or a bug brings."""
        if self._reader.task is not None:
            await asyncio.wait({self._reader.task})
            self._reader.task.result()

    def why_not_ready(self) -> str | None:
        """What keeps the replica from having caught up; None when it has."""
        if self._reader.caught_up.is_set():
            return None
        return "; ".join(filter(None, (self._reader.fault, self._reader.behind()))) or "not started"

    def is_running(self) -> bool:
        """Whether records still come."""
        return self._reader.task is not None

    def offsets(self) -> dict[int, int]:
        """Next offset to be read, by partition: all before it is in what is held."""
        return {partition: cursor.position for partition, cursor in self._reader.cursors.items()}

    def place(self) -> Place:
        """How far the topic was read: all before it is in what is held, and nothing else is."""
        return self.progress.place(self.offsets())

    @property
    def topic(self) -> str:
        """Full name of the topic."""
        return self._reader.topic

    @property
    def taken_bytes(self) -> int:
        """[B] What was read of the topic so far."""
        return self._reader.taken_bytes

    @property
    def cursors(self) -> dict[int, Cursor]:
        """Position, newest known end and time of Kafka's last answer, by partition."""
        return self._reader.cursors

    def _take(self, records: list[ConsumerRecord]) -> None:
        now_ms = int(time.time() * 1000)
        is_live = self._on_seen is not None and self._reader.caught_up.is_set()
        self.progress.take(records[0].partition, records)
        for record in records:
            held = self.worlds.apply(record.key, record.value, record.partition, record.offset)
            if held is not None and is_live and self._on_seen is not None:
                self._on_seen(now_ms - held.seen_ms)

    def _forget(self, partition: int) -> None:
        self.progress.forget(partition)
        self.worlds.forget_partition(partition)

    def _end_followers(self, task: asyncio.Task[None]) -> None:
        self.worlds.end(None if task.cancelled() else task.exception())
