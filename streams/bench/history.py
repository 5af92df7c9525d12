"""How soon `twin web` says what was: as of a moment, one node's day; and what heavy questions cost live."""

import asyncio
import contextlib
import random
import secrets
import tempfile
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
from prometheus_client.parser import text_string_to_metric_families

from streams.bench.freshness import freshness
from streams.bench.load import INTERVAL_MS, METRICS
from streams.bench.madeworld import until_ready
from streams.bench.pastfill import NODES, fill_duckdb, fill_influx
from streams.bench.runs import of_run, process
from streams.embedded.broker import free_port
from streams.errors import TwinError
from streams.rulebook import load_rulebook
from streams.settings import Settings
from streams.stores import open_store
from streams.topics import create_topics

DAY_TICKS = 86_400_000 // INTERVAL_MS
"""[1] Ticks of a day."""

ASKED = 40
"""[1] Questions of each kind, of other moments and nodes each time."""

HEAVY = 10
"""[1] Clients that ask heavy questions one after the other."""

FRESH_S = 40.0
"""[s] Length of each measurement of freshness."""

FRESH_UPDATES_PER_S = 500.0
"""[1/s] Of live, beside the questions, on the same two cores."""

COMPACTIONS = ("storage_compactions_active", "storage_compactions_queued")
"""Gauges of InfluxDB: compactions that run, and that are to run."""

QUIET_S = 10.0
"""[s] Without either, the files are put together, or"""

COMPACT_S = 300.0
"""[s] it takes too long to wait for."""


async def history_reads(settings: Settings) -> dict[str, Any]:
    """Fill a DuckDB file and an InfluxDB bucket with a day of 1,000 nodes, and ask."""
    found: dict[str, Any] = {}
    rows: list[tuple[str, str, str, bool]] = []
    end_ms = int(time.time() * 1000) // INTERVAL_MS * INTERVAL_MS - 60_000
    begin_ms = end_ms - DAY_TICKS * INTERVAL_MS
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "day.duckdb"
        await asyncio.to_thread(fill_duckdb, path, begin_ms, DAY_TICKS)
        on_duckdb = settings.model_copy(update={"history_url": f"duckdb://{path}"})
        await _measure(on_duckdb, "DuckDB", 200, end_ms, found, rows)
        found["freshness"] = await _beside_live(on_duckdb, end_ms)
    ratio = found["freshness"]["ratio"]
    what = f"live freshness p99 while {HEAVY} clients ask heavy questions of history ÷ without"
    rows.append((what, "≤ 1.5", f"{ratio:.2f}", ratio <= 1.5))
    if (settings.history_url or "").startswith("influxdb"):
        place = (settings.history_url or "").rpartition("/")[0]
        on_influx = settings.model_copy(
            update={"history_url": f"{place}/bench-{secrets.token_hex(4)}", "history_retention_d": 7.0}
        )
        found["influx_fill_s"] = await _fill_influx(on_influx, begin_ms)
        found["influx_compact_s"] = await _until_compacted(place.removeprefix("influxdb+").rpartition("/")[0])
        await _measure(on_influx, "InfluxDB", 500, end_ms, found, rows)
    return {**found, "rows": rows}


async def _fill_influx(settings: Settings, begin_ms: int) -> float:
    """Seconds that it took."""
    catalogue = load_rulebook().catalogue
    fields = catalogue.fields()
    store, begun_s = open_store(settings, fields), time.monotonic()
    try:
        await store.prepare()
        await fill_influx(store, fields, begin_ms, DAY_TICKS)
    finally:
        await store.close()
    return time.monotonic() - begun_s


async def _until_compacted(address: str) -> float:
    """[s] Until InfluxDB has put the files together, as it does all day: here the day came in minutes."""
    begun_s, quiet_s = time.monotonic(), time.monotonic()
    async with aiohttp.ClientSession(address) as session:
        while (now_s := time.monotonic()) - quiet_s < QUIET_S and now_s - begun_s < COMPACT_S:
            async with session.get("/metrics") as answer:
                families = text_string_to_metric_families(await answer.text())
            if any(sample.value for one in families if one.name in COMPACTIONS for sample in one.samples):
                quiet_s = time.monotonic()
            await asyncio.sleep(1)
    return time.monotonic() - begun_s


async def _measure(
    settings: Settings,
    name: str,
    limit_ms: int,
    end_ms: int,
    found: dict[str, Any],
    rows: list[tuple[str, str, str, bool]],
) -> None:
    async with _web(settings) as session:
        chance = random.Random(7)
        moments = [end_ms - chance.randrange(600_000, 86_000_000) for _ in range(ASKED)]
        as_of = [await _ask(session, "/twin/v1/state", {"at": str(at_ms)}, NODES) for at_ms in moments]
        whole = {"kind": "node", "start": str(end_ms - 86_400_000), "end": str(end_ms), "every": "5m"}
        one_node = [
            await _ask(session, "/twin/v1/history", {**whole, "ids": f"bench{chance.randrange(NODES)}"}, 1)
            for _ in range(ASKED)
        ]
    for what, times, limit in (
        (f"as of a moment, {NODES:,} nodes × {len(METRICS)} metrics, a day in {name}", as_of, limit_ms),
        (f"one node, {len(METRICS)} metrics, 24 h at 5 m, {name}", one_node, 200),
    ):
        times = sorted(times[2:])  # the first two start a process each
        p95 = times[int(len(times) * 0.95)]
        found[what] = times
        rows.append(
            (f"{what}, p95, ms", f"≤ {limit}", f"{p95:.0f} (p50 {times[len(times) // 2]:.0f})", p95 <= limit)
        )


async def _beside_live(settings: Settings, end_ms: int) -> dict[str, Any]:
    without = await freshness(settings, FRESH_UPDATES_PER_S, FRESH_S)
    async with _web(settings) as session, _heavy(session, end_ms) as answered:
        beside = await freshness(settings, FRESH_UPDATES_PER_S, FRESH_S)
    return {
        "without_p99_ms": without["p99_ms"],
        "beside_p99_ms": beside["p99_ms"],
        "ratio": beside["p99_ms"] / without["p99_ms"],
        "questions_answered": len(answered),
    }


@contextlib.asynccontextmanager
async def _heavy(session: aiohttp.ClientSession, end_ms: int) -> AsyncIterator[list[int]]:
    """Clients that ask for an hour's means of all nodes, over and over; gives the answers' status."""
    answered: list[int] = []
    params = {"kind": "node", "metrics": "power_watts", "start": str(end_ms - 86_400_000), "end": str(end_ms)}

    async def ask() -> None:
        while True:
            async with session.get("/twin/v1/history", params={**params, "every": "1h"}) as answer:
                await answer.read()
                answered.append(answer.status)

    clients = [asyncio.create_task(ask()) for _ in range(HEAVY)]
    try:
        yield answered
    finally:
        for client in clients:
            client.cancel()
        await asyncio.gather(*clients, return_exceptions=True)


async def _ask(session: aiohttp.ClientSession, path: str, params: dict[str, str], least: int) -> float:
    """[ms] To the last byte of an answer that has as many entities."""
    begun_s = time.monotonic()
    async with session.get(path, params=params) as answer:
        body = await answer.read()
        took_ms = (time.monotonic() - begun_s) * 1000
        if answer.status != 200 or body.count(b'"id"') < least:
            raise TwinError(f"{answer.url}: HTTP {answer.status}: {body[:300]!r}")
    return took_ms


@contextlib.asynccontextmanager
async def _web(settings: Settings) -> AsyncIterator[aiohttp.ClientSession]:
    """A web role on this history."""
    run = of_run(settings, "past").model_copy(update={"web_port": free_port()})
    await create_topics(run)
    url = f"http://127.0.0.1:{run.web_port}"
    async with (
        process(run, "streams", "web") as child,
        aiohttp.ClientSession(url, timeout=aiohttp.ClientTimeout(total=60)) as session,
    ):
        await until_ready(url, child)
        yield session
