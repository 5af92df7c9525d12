"""A day of history of 1,000 nodes, put into a store by its quickest way: what is measured is the reading."""

import asyncio
from itertools import groupby
from pathlib import Path

import duckdb

from streams.bench.load import INTERVAL_MS, METRICS, observation
from streams.domain.sink import LineFormat
from streams.domain.twin import Partition
from streams.records import State, Tick
from streams.stores import Store
from streams.stores.duckdb.tables import create_tables

NODES = 1_000
"""[1] Nodes, `bench0` and so on."""

SEEDS = 12
"""[1] Different scrapes that are repeated, so that a block of values does not become one value."""

BLOCK_TICKS, PART_TICKS, NEW_TICKS = 500, 50, 30
"""[1] Ticks in each stretch that DuckDB's tables hold sorted by entity, and of those not sorted yet."""

POST_LINES = 20_000
"""[1] Lines of a post to InfluxDB."""

POSTS = 2
"""[1] Posts in flight."""


def seed_ticks() -> list[list[Tick]]:
    """Closed ticks of all nodes at a few times, the first with the changes that make the nodes."""
    part, states = Partition(0, INTERVAL_MS, 3_600_000, {}), dict[str, State]()
    ticks: list[Tick] = []
    for turn in range(SEEDS + 2):
        for first in range(0, NODES, 100):
            message = observation(first, 100, turn, turn * INTERVAL_MS + INTERVAL_MS, 0, turn)
            ticks += part.apply(len(ticks), message, states).ticks.records("live", 1)
    ticks = [tick for tick in ticks if tick["ids"]]
    return [list(group) for _, group in groupby(ticks, key=lambda tick: tick["ticks_ms"][0])]


async def fill_influx(store: Store, fields: dict[str, tuple[str, str]], begin_ms: int, ticks: int) -> None:
    """Write ready lines, of which only the times differ."""
    form = LineFormat(fields)
    lines = [[line for tick in each for line in form.to_lines(tick)] for each in seed_ticks()]
    changes = [line for line in lines[0] if line.startswith("entity_state,")]
    rows = [
        [line.rpartition(" ")[0] + " " for line in each if not line.startswith("entity_state,")]
        for each in lines[:SEEDS]
    ]
    await store.write([f"{line.rpartition(' ')[0]} {begin_ms}" for line in changes])
    free = asyncio.Semaphore(POSTS)
    async with asyncio.TaskGroup() as posts:
        waiting: list[str] = []
        for number in range(ticks):
            time_ms = str(begin_ms + number * INTERVAL_MS)
            waiting += [line + time_ms for line in rows[number % len(rows)]]
            if len(waiting) >= POST_LINES or number == ticks - 1:
                await free.acquire()
                posts.create_task(_post(store, waiting, free))
                waiting = []


async def _post(store: Store, lines: list[str], free: asyncio.Semaphore) -> None:
    try:
        await store.write(lines)
    finally:
        free.release()


def fill_duckdb(path: Path, begin_ms: int, ticks: int) -> None:
    """Let DuckDB make the rows, as they lie in its tables when the sink wrote them."""
    numbers = ", ".join(["round(random() * 100, 3)"] * len(METRICS))
    with duckdb.connect(str(path)) as connection:
        create_tables(connection)
        connection.execute("INSERT INTO shape VALUES (0, $1)", [[name for name, _ in METRICS]])
        connection.execute(
            """
            INSERT INTO entity_state SELECT 'live', 'node', 'bench' || n, '', $1, 'up', '', '{}', false, true
            FROM range($2) r(n)
            """,
            [begin_ms, NODES],
        )
        done = 0
        while done < ticks:
            left = ticks - done
            if left > BLOCK_TICKS + PART_TICKS + NEW_TICKS:
                table, count, order = "tick_sorted", BLOCK_TICKS, "n, k"
            elif left > PART_TICKS:
                table, count, order = "tick_part", PART_TICKS, "n, k"
            else:
                table, count, order = "tick_new", left, "k, n"
            connection.execute(
                f"""
                INSERT INTO {table} SELECT 'live', 'node', 'bench' || n, '', $1 + k * $2, true, true, 0,
                    [{numbers}], printf('%012d', (k * n) % 2)
                FROM (SELECT n, k FROM range($3) a(n), range($4, $4 + $5) b(k) ORDER BY {order})
                """,  # noqa: S608  # names of our own
                [begin_ms, INTERVAL_MS, NODES, done, count],
            )
            done += count
