"""`twin sink` on the embedded broker, into DuckDB."""

import asyncio
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from streams.settings import Settings
from streams.stores.duckdb.file import read_file
from tests.closed_ticks import METRICS, dead_letters, producer_of, send, ticks_of, value_of
from tests.services.roles import Role
from tests.services.waiting import until


@pytest.fixture
def sink_settings(settings: Settings, tmp_path: Path) -> Settings:
    """Settings with a file for the history; data is kept for ever, for ticks here are old."""
    more = {
        "history_url": f"duckdb://{tmp_path}/history.duckdb",
        "history_retention_d": 0,
        "log_format": "json",
    }
    return Settings.model_validate({**settings.model_dump(exclude_unset=True), **more})


@pytest.fixture
async def sink(sink_settings: Settings, tmp_path: Path) -> AsyncIterator[Role]:
    """A running sink that is killed at the end."""
    sink = Role("sink", sink_settings, tmp_path / "sink.log")
    await sink.start()
    yield sink
    await sink.close()


async def rows_of(path: Path, query: str, count: int) -> list[Any]:
    """The rows of a query, once there are so many."""

    def read() -> list[Any]:
        if not path.exists():
            return []
        with read_file(path) as connection:
            rows = connection.execute(query).fetchall()
        return rows if len(rows) >= count else []

    return await until(lambda: asyncio.to_thread(read), 30.0, f"{count} rows of {query}")


async def test_ticks_get_into_the_file_past_what_is_no_tick(
    sink: Role, sink_settings: Settings, tmp_path: Path
) -> None:
    nodes = [f"n{number}" for number in range(20)]
    async with producer_of(sink_settings) as producer:
        for partition in range(sink_settings.partitions):
            await send(producer, sink_settings, b"poison", partition)
            for turn in range(5):
                ids = [f"p{partition}{node}" for node in nodes]
                await send(producer, sink_settings, ticks_of(ids, turn * 5_000, changed=turn == 0), partition)

    rows = await rows_of(tmp_path / "history.duckdb", "SELECT id, tick_ms, metric, value FROM tick", 1_600)

    assert len(rows) == len(set(rows)) == sink_settings.partitions * 5 * 20 * len(METRICS)
    assert ("p3n7", 10_000, "mem_total_bytes", value_of(2, 7, 10_000)) in rows
    letters = await dead_letters(sink_settings, sink_settings.partitions)
    assert {(letter["stage"], letter["reason"], letter["value"]) for letter in letters} == {
        ("sink", "framing", b"poison")
    }
    changes = await rows_of(tmp_path / "history.duckdb", "SELECT DISTINCT id, status FROM entity_state", 80)
    assert len(changes) == 80


async def test_a_worker_that_lost_its_partition_is_not_heard(
    sink: Role, sink_settings: Settings, tmp_path: Path
) -> None:
    async with producer_of(sink_settings) as producer:
        await send(producer, sink_settings, ticks_of(["new"], 5_000, epoch=2))
        await send(producer, sink_settings, ticks_of(["old"], 5_000, epoch=1))
        await send(producer, sink_settings, ticks_of(["last"], 5_000, epoch=2))

    rows = await rows_of(tmp_path / "history.duckdb", "SELECT DISTINCT id FROM tick ORDER BY id", 2)

    assert rows == [("last",), ("new",)]


async def test_progress_is_told_and_a_stop_is_quick(
    sink: Role, sink_settings: Settings, tmp_path: Path
) -> None:
    async with producer_of(sink_settings) as producer:
        await send(producer, sink_settings, ticks_of(["a"], 5_000))
    await rows_of(tmp_path / "history.duckdb", "SELECT * FROM tick", len(METRICS))

    await sink.ready()

    async def told() -> str:
        text = (await sink.get("/metrics"))[1]
        return text if 'twin_partition_lag_records{partition="0",role="sink"' in text else ""

    text = await until(told, 20.0, "the lag of a partition")
    assert "twin_sink_lines_total 1.0" in text
    assert 'twin_sink_posts_total{outcome="kept"} 1.0' in text
    began = time.monotonic()
    assert await sink.stop() == 0
    assert time.monotonic() - began < 12


async def test_a_killed_sink_goes_on_where_it_was(
    sink: Role, sink_settings: Settings, tmp_path: Path
) -> None:
    async with producer_of(sink_settings) as producer:
        for turn in range(50):
            await send(producer, sink_settings, ticks_of(["a", "b"], turn * 5_000))
        await rows_of(tmp_path / "history.duckdb", "SELECT * FROM tick", 1)
        await sink.kill()
        for turn in range(50, 60):
            await send(producer, sink_settings, ticks_of(["a", "b"], turn * 5_000))
    await sink.start()

    rows = await rows_of(tmp_path / "history.duckdb", "SELECT * FROM tick", 60 * 2 * len(METRICS))

    assert len(rows) == len(set(rows)) == 60 * 2 * len(METRICS)
