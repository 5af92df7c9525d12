"""The state topic as a dictionary: what schedulers import, and what `twin web` and the tools read."""

import asyncio
import time
from collections.abc import Callable, Iterator, Mapping
from types import TracebackType
from typing import Any, Self

from aiokafka import ConsumerRecord

from streams.cursor import Cursor
from streams.domain.keys import entity_key, split_key
from streams.domain.stamp import Stamp, make_stamp, oldest_observed_ms
from streams.errors import TwinError
from streams.reader import TopicReader
from streams.registry import use_registry
from streams.replica.changes import Changes
from streams.replica.held import Held
from streams.replica.holdings import Holdings
from streams.settings import Settings
from streams.topics import topics_of


class TwinReplica(Mapping[tuple[str, str], dict[str, Any]]):
    """All entities of one world: a read-only mapping from (kind, id) to the entity's JSON record.

    A plain consumer of the topic `state` without a group: it commits nothing, so any number may run beside
    each other. Records are kept as they came and decoded when they are asked for, so an entity that was taken
    out is yours: it does not change any more.

    ```python
    async with TwinReplica(settings) as twin:
        await twin.ready()
        print(twin["node", "ws01"]["metrics"]["cpu_usage_percent"]["value"])
        async for change in twin.changes():
            print(change.kind, change.id, change.entity)
    ```

    Args:
        settings: where Kafka is, and the topic prefix.
        world: the world whose entities are held.
        on_seen: is called with [ms] from scrape to here for each record that comes after the catching up.
    """

    def __init__(
        self, settings: Settings, world: str = "live", on_seen: Callable[[int], None] | None = None
    ) -> None:
        self.world = world
        self._settings = settings
        self._on_seen = on_seen
        self._holdings = Holdings(world)
        self._reader = TopicReader(
            settings, topics_of(settings)["state"], self._take, self._holdings.forget_partition
        )
        self._observed: dict[bytes, tuple[Held, int | None]] = {}

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()

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

    def __getitem__(self, key: tuple[str, str]) -> dict[str, Any]:
        kind, id = key
        view = self._holdings.view(self._key(kind, id))
        if view is None:
            raise KeyError(key)
        return view

    def __contains__(self, key: object) -> bool:
        return isinstance(key, tuple) and len(key) == 2 and self._key(*key) in self._holdings.shown

    def __iter__(self) -> Iterator[tuple[str, str]]:
        """(kind, id) of all entities; `twin.entities()` gives their records."""
        for key in list(self._holdings.shown):
            _, kind, id = split_key(key.decode())
            yield kind, id

    def __len__(self) -> int:
        return len(self._holdings.shown)

    def entities(self, kind: str | None = None) -> Iterator[dict[str, Any]]:
        """The records of all entities, or of those of one kind."""
        prefix = f"{self.world}/{kind}/".encode() if kind else b""
        for key in list(self._holdings.shown):
            view = self._holdings.view(key) if key.startswith(prefix) else None
            if view is not None:
                yield view

    def full(self, kind: str, id: str) -> dict[str, Any]:
        """An entity record with its sources, origins and alignment memory; KeyError when it is not there."""
        view = self._holdings.view(self._key(kind, id), full=True)
        if view is None:
            raise KeyError((kind, id))
        return view

    def held(self, kind: str, id: str) -> Held:
        """An entity's record as it came; KeyError when it is not there."""
        return self._holdings.shown[self._key(kind, id)]

    def changes(self) -> Changes:
        """Follow what changes from now on: `async for change in twin.changes()`; see `Changes`."""
        follower = Changes(self._holdings.view)
        if self._reader.task is None:
            follower.close()
        self._holdings.followers.add(follower)
        return follower

    def stamp(self) -> Stamp:
        """Snapshot stamp of what is held now; see `make_stamp`.

        The first call decodes all records (50 ms for 1,000 of 12 metrics), later ones those that changed.
        """
        shown = self._holdings.shown
        for key, held in list(shown.items()):
            known = self._observed.get(key)
            if known is None or known[0] is not held:
                view = self._holdings.view(key)
                self._observed[key] = (held, oldest_observed_ms([view] if view else []))
        if len(self._observed) > len(shown):
            self._observed = {key: known for key, known in self._observed.items() if key in shown}
        oldest = min((time_ms for _, time_ms in self._observed.values() if time_ms is not None), default=None)
        return make_stamp(self.world, shown.values(), oldest, self.offsets())

    def offsets(self) -> dict[int, int]:
        """Next offset to be read, by partition: all before it is in what is held."""
        return {partition: cursor.position for partition, cursor in self._reader.cursors.items()}

    @property
    def topic(self) -> str:
        """Full name of the topic."""
        return self._reader.topic

    @property
    def holdings(self) -> Holdings:
        """The records themselves, as bytes, with the twin's own (kinds that begin with _)."""
        return self._holdings

    @property
    def cursors(self) -> dict[int, Cursor]:
        """Position, newest known end and time of Kafka's last answer, by partition."""
        return self._reader.cursors

    def _take(self, records: list[ConsumerRecord]) -> None:
        now_ms = int(time.time() * 1000)
        is_live = self._on_seen is not None and self._reader.caught_up.is_set()
        for record in records:
            held = self._holdings.apply(record.key, record.value, record.partition)
            if held is not None and is_live and self._on_seen is not None:
                self._on_seen(now_ms - held.seen_ms)

    def _end_followers(self, task: asyncio.Task[None]) -> None:
        error = None if task.cancelled() else task.exception()
        for follower in list(self._holdings.followers):
            follower.close(error)

    def _key(self, kind: str, id: str) -> bytes:
        return entity_key(self.world, kind, id).encode()
