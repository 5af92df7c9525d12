"""History in a DuckDB file: for one machine, where no InfluxDB is configured.

DuckDB lets one process write a file, or many read it, never both at once. So the file is opened for each
batch and closed after it: 50 to 100 ms in each second. Others open it with `read_file`, which waits for a
gap, and close it when they have their answer; a batch waits for them in turn. There are no indexes, which
would cost more than the rows: what is written twice is first deleted, which reads only rows of these times.
"""

import asyncio
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from itertools import compress
from math import isfinite
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import duckdb

from streams.domain.sink import check_columns
from streams.errors import InvalidMessageError, SettingsError, StoreError
from streams.records import Tick
from streams.stores import Refusal

TABLES = """
CREATE TABLE IF NOT EXISTS tick (
    world VARCHAR, kind VARCHAR, id VARCHAR, nodepool VARCHAR, tick_ms BIGINT,
    metric VARCHAR, value DOUBLE, quality UTINYINT, simulated BOOLEAN
);
CREATE TABLE IF NOT EXISTS entity_state (
    world VARCHAR, kind VARCHAR, id VARCHAR, nodepool VARCHAR, at_ms BIGINT,
    status VARCHAR, reason VARCHAR, attributes VARCHAR, removed BOOLEAN, simulated BOOLEAN
);
"""

ROWS = """
CREATE OR REPLACE TEMP TABLE batch AS SELECT
    unnest($1::VARCHAR[]) AS world, unnest($2::VARCHAR[]) AS kind, unnest($3::VARCHAR[]) AS id,
    unnest($4::BIGINT[]) AS tick_ms, unnest($5::VARCHAR[]) AS nodepool, unnest($6::BOOLEAN[]) AS simulated,
    unnest($7::VARCHAR[][]) AS metrics, unnest($8::DOUBLE[][]) AS numbers,
    unnest($9::UTINYINT[][]) AS qualities;
"""
"""One row for each closed tick of an entity; only what differs is handed over for each value."""

OLD_ROWS = """
DELETE FROM tick USING batch
WHERE tick.tick_ms BETWEEN $1 AND $2 AND tick.tick_ms = batch.tick_ms
    AND tick.world = batch.world AND tick.kind = batch.kind AND tick.id = batch.id;
"""

NEW_ROWS = """
INSERT INTO tick SELECT
    world, kind, id, nodepool, tick_ms, unnest(metrics), unnest(numbers), unnest(qualities), simulated
FROM batch;
"""

CHANGES = """
CREATE OR REPLACE TEMP TABLE changes AS SELECT
    unnest($1::VARCHAR[]) AS world, unnest($2::VARCHAR[]) AS kind, unnest($3::VARCHAR[]) AS id,
    unnest($4::BIGINT[]) AS at_ms, unnest($5::VARCHAR[]) AS nodepool, unnest($6::BOOLEAN[]) AS simulated,
    unnest($7::VARCHAR[]) AS status, unnest($8::VARCHAR[]) AS reason, unnest($9::VARCHAR[]) AS attributes,
    unnest($10::BOOLEAN[]) AS removed;
"""

OLD_CHANGES = """
DELETE FROM entity_state USING changes
WHERE entity_state.at_ms BETWEEN $1 AND $2 AND entity_state.at_ms = changes.at_ms
    AND entity_state.world = changes.world AND entity_state.kind = changes.kind
    AND entity_state.id = changes.id;
"""

NEW_CHANGES = """
INSERT INTO entity_state SELECT
    world, kind, id, nodepool, at_ms, status, reason, attributes, removed, simulated
FROM changes;
"""

LOCK_WAIT_S = 2.0
"""[s] For other processes to close the file; a query takes well below one. A stop waits for this, too."""

SWEEP_S = 3_600.0
"""[s] Between two looks for what is older than the retention."""

DAY_MS = 86_400_000
"""[ms]"""

Row = tuple[Any, ...]
"""Nine values for a closed tick, ten for a change, as the statements above take them; four identify it."""


def parse_path(text: str) -> Path:
    """The path in duckdb:///path; `duckdb:path` is relative to the working directory.

    Raises:
        SettingsError: there is no path, or a host.
    """
    parts = urlsplit(text)
    if parts.netloc or not parts.path.strip("/"):
        raise SettingsError(
            ["TWIN_HISTORY_URL: must be duckdb:///path, with three slashes before an absolute path"]
        )
    return Path(unquote(parts.path))


class DuckStore:
    """Writes ticks into a file, on a thread of its own, and deletes what is past the retention."""

    batch_items = 5_000
    batches = 1

    def __init__(self, path: Path, retention_d: float, wall_s: Callable[[], float] = time.time) -> None:
        self.label = f"DuckDB file {path}"
        self._path = path
        self._retention_ms = retention_d * DAY_MS
        self._wall_s = wall_s
        self._next_sweep_s = 0.0
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="duckdb")

    async def prepare(self) -> None:
        """Create the folder, the file and the tables."""
        await self._run(lambda connection: None)

    def convert(self, tick: Tick) -> list[Row]:
        """One row for each closed tick of an entity, and one for each change."""
        check_columns(tick)
        rows: list[Row] = []
        world, names, end = tick["world"], tick["names"], 0
        if tick["metrics"] and not 0 <= min(tick["metrics"]) <= max(tick["metrics"]) < len(names):
            raise InvalidMessageError("columns", f"metrics points beyond the {len(names)} names")
        metrics = [names[place] for place in tick["metrics"]]
        for kind, id, pool, tick_ms, simulated, size in zip(
            tick["kinds"],
            tick["ids"],
            tick["pools"],
            tick["ticks_ms"],
            tick["simulated"],
            tick["sizes"],
            strict=True,
        ):
            start, end = end, end + size
            columns = (metrics[start:end], tick["values"][start:end], tick["qualities"][start:end])
            good = [isfinite(value) for value in columns[1]]
            if not all(good):
                columns = tuple(list(compress(column, good)) for column in columns)  # type: ignore[assignment]
            if columns[0]:
                rows.append((world, kind, id, tick_ms, pool, simulated, *columns))
        return rows + [
            (world, *change)
            for change in zip(
                tick["change_kinds"],
                tick["change_ids"],
                tick["change_at_ms"],
                tick["change_pools"],
                tick["change_simulated"],
                tick["change_statuses"],
                tick["change_reasons"],
                tick["change_attributes"],
                tick["change_removed"],
                strict=True,
            )
        ]

    def show(self, item: Row) -> bytes:
        """The row as text."""
        return repr(item).encode()

    async def write(self, items: list[Row]) -> list[Refusal]:
        """Write the rows in one transaction; none is ever refused."""
        await self._run(lambda connection: self._write(connection, items))
        return []

    async def close(self) -> None:
        """End the thread."""
        self._thread.shutdown(wait=False, cancel_futures=True)

    async def _run(self, work: Callable[[duckdb.DuckDBPyConnection], None]) -> None:
        try:
            await asyncio.get_running_loop().run_in_executor(self._thread, self._open_and, work)
        except (duckdb.Error, OSError) as error:
            raise StoreError(
                f"{self.label} cannot be written: {error}; look at the space and the rights in its folder,"
                f" and for a process that keeps it open"
            ) from error

    def _open_and(self, work: Callable[[duckdb.DuckDBPyConnection], None]) -> None:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        with _open(self._path, read_only=False, wait_s=LOCK_WAIT_S) as connection:
            connection.execute("BEGIN")
            connection.execute(TABLES)
            work(connection)
            self._sweep(connection)
            connection.execute("COMMIT")

    def _write(self, connection: duckdb.DuckDBPyConnection, items: list[Row]) -> None:
        # The newest of those that are the same wins, here as in InfluxDB.
        rows = list({item[:4]: item for item in items if len(item) == 9}.values())
        changes = list({item[:4]: item for item in items if len(item) == 10}.values())
        for some, statements in (
            (rows, (ROWS, OLD_ROWS, NEW_ROWS)),
            (changes, (CHANGES, OLD_CHANGES, NEW_CHANGES)),
        ):
            if some:
                columns = [list(column) for column in zip(*some, strict=True)]
                connection.execute(statements[0], columns)
                connection.execute(statements[1], [min(columns[3]), max(columns[3])])
                connection.execute(statements[2])

    def _sweep(self, connection: duckdb.DuckDBPyConnection) -> None:
        now_s = self._wall_s()
        if not self._retention_ms or now_s < self._next_sweep_s:
            return
        self._next_sweep_s = now_s + SWEEP_S
        oldest_ms = int(now_s * 1000 - self._retention_ms)
        connection.execute("DELETE FROM tick WHERE tick_ms < $1", [oldest_ms])
        connection.execute("DELETE FROM entity_state WHERE at_ms < $1", [oldest_ms])


@contextmanager
def read_file(path: Path, wait_s: float = LOCK_WAIT_S) -> Iterator[duckdb.DuckDBPyConnection]:
    """The file, for reading, in a gap between two writes. Blocks: call it in a thread, and close it soon.

    Raises:
        duckdb.Error: no gap came within `wait_s`, or there is no such file.
    """
    with _open(path, read_only=True, wait_s=wait_s) as connection:
        yield connection


@contextmanager
def _open(path: Path, *, read_only: bool, wait_s: float) -> Iterator[duckdb.DuckDBPyConnection]:
    deadline_s = time.monotonic() + wait_s
    pause_s = 0.005
    while True:
        try:
            connection = duckdb.connect(str(path), read_only=read_only)
            break
        except duckdb.IOException as error:
            if "lock" not in str(error) or time.monotonic() > deadline_s:
                raise
            time.sleep(pause_s)
            pause_s = min(0.1, pause_s * 1.5)
    try:
        yield connection
    finally:
        connection.close()
