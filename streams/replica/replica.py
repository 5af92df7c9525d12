"""The state topic as a dictionary: what schedulers import, and what the tools read."""

import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import datetime
from types import TracebackType
from typing import Self

from streams.cursor import Cursor
from streams.domain.catalogue import Catalogue
from streams.history.past import moment_in, read_past
from streams.replica.past import PastView, past_view
from streams.replica.source import StateSource
from streams.replica.view import WorldView
from streams.replica.worlds import LIVE, Worlds
from streams.settings import Settings
from streams.stores import Store, open_store


class TwinReplica(WorldView):
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
        world: the world whose entities are held: live, an isolated one, or live~NAME for an overlay, which is
            live with what differs laid over it.
        on_seen: is called with [ms] from scrape to here for each record that comes after the catching up.
    """

    def __init__(
        self, settings: Settings, world: str = LIVE, on_seen: Callable[[int], None] | None = None
    ) -> None:
        worlds = Worlds([world])
        self._settings = settings
        self._source = StateSource(settings, worlds, on_seen)
        super().__init__(worlds.named(world), self._source.offsets, self._source.is_running)

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
        await self._source.start()

    async def stop(self) -> None:
        """End reading; what is held stays readable, and iterations over changes end."""
        await self._source.stop()

    async def ready(self, timeout: float | None = None) -> None:  # noqa: ASYNC109  # users' word
        """Wait until everything that was in the topic at the start has been read.

        Args:
            timeout: [s] after which it is an error; None waits for ever.

        Raises:
            TwinError: it took longer than that (names the partitions that lag), or the replica does not run.
        """
        await self._source.ready(timeout)

    async def at(self, moment: int | str | datetime, catalogue: Catalogue | None = None) -> PastView:
        """The entities of this world as of a moment, read from the history store of the settings.

        The replica need not run for it.

        Args:
            moment: [ms since the epoch], `-2m` or ISO 8601 with a zone, or a datetime with a zone.
            catalogue: the metrics that the store has; None: those that come with the twin.

        Raises:
            SettingsError: no store is named, or its URL cannot be used.
            StoreError: the store is away, refuses or is too slow.
            ValueError: the moment is none, or is to come.
        """
        now_ms = int(time.time() * 1000)
        at_ms = moment_in(self.world, _text_of(moment), now_ms)
        if catalogue is None:
            # A scheduler that reads only what is now does not wait for the readers of rules.
            from streams.rulebook import load_rulebook

            catalogue = load_rulebook().catalogue
        settings = self._settings
        async with closing(open_store(settings, catalogue.fields())) as store:
            past = await read_past(store, self.world, at_ms, settings.remove_after_ms, settings.step_ms)
            return await past_view(past)

    async def wait(self) -> None:
        """Wait for the end of reading, which only `stop` or a bug brings."""
        await self._source.wait()

    def why_not_ready(self) -> str | None:
        """What keeps the replica from having caught up; None when it has."""
        return self._source.why_not_ready()

    @property
    def topic(self) -> str:
        """Full name of the topic."""
        return self._source.topic

    @property
    def cursors(self) -> dict[int, Cursor]:
        """Position, newest known end and time of Kafka's last answer, by partition."""
        return self._source.cursors


def _text_of(moment: int | str | datetime) -> str:
    if isinstance(moment, datetime):
        return moment.isoformat()
    return moment if isinstance(moment, str) else f"{moment:09}"


@asynccontextmanager
async def closing(store: Store) -> AsyncIterator[Store]:
    """The store, closed at the end."""
    try:
        yield store
    finally:
        await store.close()
