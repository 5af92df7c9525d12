"""`twin backfill` from a made-up Prometheus server into DuckDB, as a process."""

import asyncio
import json
import os
import signal
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from streams.stores.duckdb.file import read_file
from tests.pastprometheus import BORN_MS, NODES, PastPrometheus, serving

STEP = 5_000
DEADLINE_S = 60.0


async def start(url: str, file: Path, *arguments: str) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "streams", "backfill", "--prometheus", url, "--json", *arguments),
        env={**os.environ, "TWIN_HISTORY_URL": f"duckdb://{file}", "TWIN_LOG_LEVEL": "WARNING"},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )


async def run(url: str, file: Path, from_ms: int, to_ms: int, *arguments: str) -> tuple[int, str, str]:
    child = await start(url, file, "--from", str(from_ms), "--to", str(to_ms), *arguments)
    async with asyncio.timeout(DEADLINE_S):
        out, error = await child.communicate()
    assert child.returncode is not None
    return child.returncode, out.decode(), error.decode()


def rows(file: Path, statement: str) -> list[Any]:
    with read_file(file) as connection:
        return connection.execute(statement).fetchall()


@pytest.fixture
def now_ms() -> int:
    return int(time.time()) * 1000 // STEP * STEP


async def test_the_past_is_in_the_store_tick_by_tick(tmp_path: Path, now_ms: int) -> None:
    file, from_ms, to_ms = tmp_path / "h.duckdb", now_ms - 1_500_000, now_ms - 300_000
    server = PastPrometheus(since_ms=now_ms - 7_200_000)
    async with serving(server) as url:
        code, out, error = await run(url, file, from_ms, to_ms)

    assert code == 0, error
    found = rows(file, "SELECT id, tick_ms, value FROM tick WHERE metric = 'load1' ORDER BY ALL")
    ticks = range(from_ms, to_ms + 1, STEP)
    assert [(id, tick_ms) for id, tick_ms, _ in found] == [(id, tick) for id in NODES for tick in ticks]
    assert [value for *_, value in found] == pytest.approx([server.load(id, tick) for id, tick, _ in found])
    document = json.loads(out)
    assert document["ticks"] == len(found)
    assert document["samples_skipped"] == {}
    assert document["refused_queries"] == {}
    told = rows(file, "SELECT world, kind, id, at_ms, status, attributes FROM entity_state ORDER BY id")
    attributes = '{"arch": "x86_64", "system": "linux"}'
    assert told == [("live", "node", id, from_ms, "up", attributes) for id in NODES]


async def test_what_begins_within_the_range_begins_there(tmp_path: Path, now_ms: int) -> None:
    file, since_ms = tmp_path / "h.duckdb", now_ms - 600_000
    async with serving(PastPrometheus(since_ms)) as url:
        code, _, error = await run(url, file, now_ms - 900_000, now_ms - 300_000)

    assert code == 0, error
    first = dict(rows(file, "SELECT id, min(tick_ms) FROM tick GROUP BY id"))
    assert {id: (first_ms - since_ms) // STEP for id, first_ms in first.items()} == {
        "alpha": 1,
        "beta": BORN_MS // STEP + 1,
    }


async def test_what_is_loaded_twice_is_there_once(tmp_path: Path, now_ms: int) -> None:
    file = tmp_path / "h.duckdb"
    both = "SELECT * FROM tick ORDER BY ALL", "SELECT * FROM entity_state ORDER BY ALL"
    async with serving(PastPrometheus(now_ms - 7_200_000)) as url:
        await run(url, file, now_ms - 700_000, now_ms - 300_000)
        once = [rows(file, statement) for statement in both]
        code, _, error = await run(url, file, now_ms - 700_000, now_ms - 300_000)

    assert code == 0, error
    assert [rows(file, statement) for statement in both] == once
    assert all(once)


async def test_up_to_now_only_what_is_sure_is_written(tmp_path: Path, now_ms: int) -> None:
    file = tmp_path / "h.duckdb"
    server = PastPrometheus(now_ms - 7_200_000)
    async with serving(server) as url:
        code, _, error = await run(url, file, now_ms - 300_000, now_ms)

    assert code == 0, error
    found = rows(file, "SELECT id, tick_ms, value FROM tick WHERE metric = 'load1'")
    assert max(tick for _, tick, _ in found) <= now_ms
    assert [value for *_, value in found] == pytest.approx([server.load(id, tick) for id, tick, _ in found])


async def test_a_server_that_goes_away_is_an_error_that_says_how_far_it_came(
    tmp_path: Path, now_ms: int
) -> None:
    file = tmp_path / "h.duckdb"
    async with serving(PastPrometheus(now_ms - 9_000_000, fail_after=20)) as url:
        code, _, error = await run(
            url, file, now_ms - 7_200_000, now_ms - 300_000, "--packs", "node_exporter"
        )

    assert code == 1
    assert "Error: " in error
    assert "HTTP 403" in error
    assert "run it again" in error
    assert rows(file, "SELECT count(*) > 0 FROM tick") == [(True,)]
    assert "all up to 20" in error


async def test_it_can_be_stopped_at_any_time(tmp_path: Path, now_ms: int) -> None:
    file = tmp_path / "h.duckdb"
    server = PastPrometheus(now_ms - 9_000_000, hang_after=20)
    async with serving(server) as url:
        child = await start(url, file, "--from", "-2h", "--to", "-10m", "--packs", "node_exporter")
        async with asyncio.timeout(DEADLINE_S):
            await server.hanging.wait()
            child.send_signal(signal.SIGINT)
            _, error = await child.communicate()

    assert child.returncode == 130
    assert b"stopped; " in error
    assert b"Traceback" not in error


async def test_a_server_without_anything_of_use_is_no_error(tmp_path: Path, now_ms: int) -> None:
    async with serving(PastPrometheus(now_ms)) as url:
        code, out, _ = await run(url, tmp_path / "h.duckdb", now_ms - 900_000, now_ms - 300_000)

    assert code == 0
    assert json.loads(out)["samples_read"] == 0


async def test_a_server_that_is_not_there_is_an_error(tmp_path: Path, now_ms: int) -> None:
    code, _, error = await run("http://127.0.0.1:1", tmp_path / "h.duckdb", now_ms - 900_000, now_ms)

    assert code == 1
    assert error.startswith("Error: http://127.0.0.1:1: cannot connect")
    assert "nothing was written" in error


async def test_a_store_that_cannot_be_written_is_an_error(tmp_path: Path, now_ms: int) -> None:
    file = tmp_path / "file"
    file.write_text("not a database, and too long to be taken for one")
    async with serving(PastPrometheus(now_ms - 9_000_000)) as url:
        code, _, error = await run(url, file, now_ms - 900_000, now_ms)

    assert code == 1
    assert error.startswith("Error: DuckDB file")
