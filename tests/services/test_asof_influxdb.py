"""A world as of many moments on a real InfluxDB: the same as from a slow model of the store."""

import time
from collections.abc import AsyncIterator
from typing import Any

import pytest_asyncio

from streams.history.past import read_past
from streams.settings import load_settings
from streams.stores.influx import InfluxStore, parse_address
from tests.history_model import STEP_MS, TICKS, change_of, changes, load, tick_of
from tests.history_suite import catalogue_fields
from tests.services.influx_bucket import drop
from tests.unit.test_past import FakeStore, views

HOUR_MS = 3_600_000


@pytest_asyncio.fixture
async def store(influx: dict[str, Any]) -> AsyncIterator[InfluxStore]:
    """A store that has its own bucket, which goes at the end."""
    settings = load_settings(**influx)
    assert settings.history_url
    store = InfluxStore(parse_address(settings.history_url), settings, catalogue_fields())
    await store.prepare()
    yield store
    await store.close()
    await drop(settings)


async def test_the_past_is_that_of_the_model_at_every_moment(store: InfluxStore) -> None:
    first_ms = int(time.time() * 1000) // STEP_MS * STEP_MS - 600_000
    hides = change_of("link", "1~2", first_ms + 5_000, status="", reason="hidden", removed=True)
    differs = [change_of("node", "n.1", first_ms + 2_000, simulated=True), hides]
    ticks = [*load("live", first_ms), *changes("live", first_ms), tick_of("live~x", changes=differs)]
    for tick in ticks:
        assert not await store.write(store.convert(tick))
    model: Any = FakeStore(*ticks)

    for world in ("live", "live~x"):
        for at_ms in range(first_ms - 1, first_ms + (TICKS + 2) * STEP_MS, 3_333):
            expected = await read_past(model, world, at_ms, HOUR_MS, STEP_MS)
            found = await read_past(store, world, at_ms, HOUR_MS, STEP_MS)
            assert views(found) == views(expected), (world, at_ms - first_ms)
