"""What commands read from, opened in their own process: the twin as it is now, and the history store."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from streams.collect.config import rulebook_of
from streams.errors import TwinError
from streams.replica import TwinReplica
from streams.settings import Settings
from streams.stores import Store, open_store
from streams.tools.worldscan import WorldScan, unknown_world

READY_S = 30.0
"""[s] For reading the topic from its beginning; 100,000 entities take two."""


@asynccontextmanager
async def opened_twin(settings: Settings, world: str = "live") -> AsyncIterator[TwinReplica]:
    """The entities of a world, read to the end that the topic has now.

    Raises:
        TwinError: Kafka does not answer in time.
    """
    async with TwinReplica(settings, world) as twin:
        await twin.ready(READY_S)
        yield twin


async def check_world(settings: Settings, twin: TwinReplica) -> None:
    """Raise TwinError, with the worlds that there are, unless there is the one that is read."""
    if twin.world != "live" and ("world", twin.world) not in twin:
        async with WorldScan(settings) as scan:
            raise TwinError(unknown_world(twin.world, list(await scan.read())))


@asynccontextmanager
async def opened_store(settings: Settings) -> AsyncIterator[Store]:
    """The store of the settings, closed at the end; that of a running `twin up` when the settings name none.

    Raises:
        SettingsError: no store is named, or its URL cannot be used.
    """
    store = open_store(settings, rulebook_of(settings).catalogue.fields())
    try:
        yield store
    finally:
        await store.close()
