"""`twin backfill` from the real Prometheus into DuckDB and InfluxDB."""

import asyncio
import json
import os
import sys
import time
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from streams.settings import load_settings
from streams.stores import Selection, Series
from streams.tools.opened import opened_store

DEADLINE_S = 120.0

RANGE_MS = 60_000
"""[ms] Short, so that the servers need not have run for long."""

SETTLED_MS = 15_000
"""[ms] Younger ticks may still wait for a sample."""

METRICS = ("mem_total_bytes", "mem_available_bytes", "load1", "number_of_cores", "cpu_usage_percent")


@pytest.fixture(params=["duckdb", "influxdb"])
def history(request: pytest.FixtureRequest, tmp_path: Path, influx: dict[str, Any]) -> dict[str, Any]:
    """Settings of a history store that nobody used before."""
    return influx if request.param == "influxdb" else {"history_url": f"duckdb://{tmp_path / 'h.duckdb'}"}


async def test_what_node_exporter_said_is_in_history(
    services: dict[str, Any], history: dict[str, Any]
) -> None:
    url = services["prometheus"]["url"]
    end_ms = await _settled_ms(url)
    start_ms = end_ms - RANGE_MS

    document = await _backfill(history, url, start_ms, end_ms)

    samples = await _raw(url, "node_memory_MemAvailable_bytes", end_ms)
    async with opened_store(load_settings(**history)) as store:
        selection = Selection(start_ms, end_ms + 1, kinds=("node",), metrics=METRICS)
        found = {series.metric: series for series in await store.read(selection)}
        changes = await store.read_changes(Selection(start_ms, end_ms + 1), newest=True)
    assert set(found) == set(METRICS)
    for series in found.values():
        assert series.times_ms == list(range(start_ms, end_ms + 1, 5_000))
    assert _is_on_the_line(found["mem_available_bytes"], samples)
    assert all(0 <= value <= 100 for value in found["cpu_usage_percent"].values)
    assert [change.at_ms for change in changes if change.kind == "node"] == [start_ms]
    assert document["refused_by_store"] == {}
    assert document["refused_queries"] == {}


async def test_loading_the_past_again_changes_nothing(
    services: dict[str, Any], history: dict[str, Any]
) -> None:
    url = services["prometheus"]["url"]
    end_ms = await _settled_ms(url)
    seen = []
    for _ in range(2):
        await _backfill(history, url, end_ms - RANGE_MS, end_ms)
        async with opened_store(load_settings(**history)) as store:
            selection = Selection(0, end_ms + 60_000)
            seen.append((await store.read(selection), await store.read_changes(selection, newest=False)))

    assert seen[0][0]
    assert seen[1] == seen[0]


def _is_on_the_line(series: Series, held: list[tuple[int, float]]) -> bool:
    """Whether each value lies between the neighbours in time of the samples that are seen every 5 s."""
    first_ms = held[0][0] // 5_000 * 5_000 + 5_000
    seen = {
        max(sample for sample in held if sample[0] <= time_ms)
        for time_ms in range(first_ms, held[-1][0] + 1, 5_000)
    }
    samples = sorted(seen)
    for tick_ms, value in zip(series.times_ms, series.values, strict=True):
        (a, before) = max(sample for sample in samples if sample[0] <= tick_ms)
        (b, after) = min(sample for sample in samples if sample[0] >= tick_ms)
        wanted = before if a == b else before + (after - before) * (tick_ms - a) / (b - a)
        if value != pytest.approx(wanted):
            return False
    return True


async def _settled_ms(url: str) -> int:
    """[ms since the epoch] The last tick that cannot change any more, with enough of a past before it."""
    async with asyncio.timeout(DEADLINE_S):
        while True:
            now_ms = int(time.time() * 1000)
            end_ms = (now_ms - SETTLED_MS) // 5_000 * 5_000
            samples = await _raw(url, "node_memory_MemAvailable_bytes", now_ms)
            if samples and samples[0][0] < end_ms - RANGE_MS - SETTLED_MS and samples[-1][0] >= end_ms:
                return end_ms
            await asyncio.sleep(1)


async def _raw(url: str, name: str, end_ms: int) -> list[tuple[int, float]]:
    """Time [ms since the epoch] and value of the samples that the server itself holds."""
    query = {"query": f"{name}[10m]", "time": f"{end_ms / 1000 + 60:.3f}"}
    async with aiohttp.ClientSession() as session, session.get(f"{url}/api/v1/query", params=query) as answer:
        result = (await answer.json())["data"]["result"]
    return sorted(
        (round(time_s * 1000), float(value)) for series in result for time_s, value in series["values"]
    )


async def _backfill(history: dict[str, Any], url: str, from_ms: int, to_ms: int) -> Any:
    environment = {f"TWIN_{name.upper()}": str(value) for name, value in history.items()}
    child = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "streams", "backfill", "--prometheus", url, "--json"),
        *("--from", str(from_ms), "--to", str(to_ms)),
        env={**os.environ, **environment, "TWIN_LOG_LEVEL": "WARNING"},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    async with asyncio.timeout(DEADLINE_S):
        out, error = await child.communicate()
    assert child.returncode == 0, error.decode()
    return json.loads(out)
