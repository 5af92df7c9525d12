"""Samples a second of `twin backfill` from a made-up server into DuckDB and into InfluxDB."""

import asyncio
import contextlib
import json
import resource
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

from streams.bench.runs import DEADLINE_S, environment
from streams.bench.sink import influx
from streams.errors import TwinError
from streams.settings import Settings

NODES = 200
"""[1] Of twelve series and twelve metrics each."""

STEP_S = 5
"""[s]"""


async def bench_backfill(settings: Settings, *, minutes: int = 60, rounds: int = 2) -> dict[str, Any]:
    """Best of some rounds for each store; InfluxDB only where the settings name one.

    Raises:
        TwinError: a backfill failed.
    """
    found: dict[str, Any] = {"nodes": NODES, "minutes": minutes, "raw": {}}
    for name, reach in (("duckdb", 150_000), ("influxdb", 50_000)):
        if name == "influxdb" and not _has_influx(settings):
            rows = [_row(name, reach, None)]
        else:
            runs = [await _run(settings, name, minutes) for _ in range(rounds)]
            found["raw"][name] = runs
            rows = [_row(name, reach, max(runs, key=lambda run: float(run["samples_per_s"])))]
        found["rows"] = found.get("rows", []) + rows
    return found


def _has_influx(settings: Settings) -> bool:
    return (settings.history_url or "").startswith("influxdb+") and settings.token is not None


def _row(name: str, reach: int, run: dict[str, Any] | None) -> tuple[str, str, str, bool]:
    what = f"backfill into {name}, samples/s"
    if run is None:
        return what, f"≥ {reach:,}", "not measured: TWIN_HISTORY_URL is no InfluxDB", False
    rate, cpu_us = run["samples_per_s"], run["cpu_us_per_sample"]
    return what, f"≥ {reach:,}", f"{rate:,.0f} ({cpu_us:.1f} µs of CPU each)", rate >= reach


async def _run(settings: Settings, name: str, minutes: int) -> dict[str, Any]:
    async with _server() as url, _store(settings, name) as history_url:
        now = int(time.time()) // STEP_S * STEP_S - 120
        command = [
            *("-m", "streams", "backfill", "--prometheus", url, "--json"),
            *("--from", str((now - minutes * 60) * 1000), "--to", str(now * 1000), "--step", f"{STEP_S}s"),
        ]
        child = await asyncio.create_subprocess_exec(
            sys.executable,
            *command,
            env={**environment(settings), "TWIN_HISTORY_URL": history_url, "TWIN_PROMETHEUS_URLS": ""},
            stdout=asyncio.subprocess.PIPE,
        )
        before_s = _cpu_s()
        try:
            async with asyncio.timeout(DEADLINE_S):
                out, _ = await child.communicate()
        finally:
            if child.returncode is None:
                child.kill()
                await child.wait()
        if child.returncode:
            raise TwinError(f"twin backfill ended with {child.returncode}")
        result: dict[str, Any] = json.loads(out)
        return result | {"cpu_us_per_sample": (_cpu_s() - before_s) / result["samples_read"] * 1e6}


def _cpu_s() -> float:
    """[s] Of the children that have ended: the command with its own child, not the server nor InfluxDB."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


@contextlib.asynccontextmanager
async def _server() -> AsyncIterator[str]:
    child = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "streams.bench.pastserver", str(NODES), stdout=asyncio.subprocess.PIPE
    )
    try:
        assert child.stdout is not None  # noqa: S101  # for the type checker
        yield f"http://127.0.0.1:{int(await child.stdout.readline())}"
    finally:
        child.kill()
        await child.wait()


@contextlib.asynccontextmanager
async def _store(settings: Settings, name: str) -> AsyncIterator[str]:
    if name == "duckdb":
        with tempfile.TemporaryDirectory() as folder:
            yield f"duckdb://{Path(folder, 'history.duckdb')}"
        return
    run = settings.model_copy(update={"topic_prefix": f"backfill-{int(time.time() * 1000) % 10**9}"})
    async with influx(run) as bucket:
        there = bucket.address
        yield f"influxdb+{there.url}/{quote(there.org, safe='')}/{quote(there.bucket, safe='')}"
