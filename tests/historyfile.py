"""A DuckDB file of history."""

import asyncio
from pathlib import Path

from streams.stores.duckdb import DuckStore
from tests.history_model import Row, changes, load, tick_of


def fill(path: Path, first_ms: int) -> None:
    """Write the load, its changes, and an entity whose id ends as a route does."""

    async def write() -> None:
        store = DuckStore(path, retention_d=0)
        await store.prepare()
        odd = [tick_of("live", [Row("device", "cam/history", "", first_ms, {"load1": 1.0})])]
        for tick in load("live", first_ms) + changes("live", first_ms) + odd:
            assert await store.write(store.convert(tick)) == []
        await store.close()

    asyncio.run(write())
