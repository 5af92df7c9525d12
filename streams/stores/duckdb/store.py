"""History in a DuckDB file: for one machine, where no InfluxDB is configured.

The file is opened for each batch and closed after it, so that others can read it: 50 to 100 ms in each
second. Readers do the same, and a batch waits for them in turn. What is written twice is first deleted, which
reads only rows of these times.
"""

import asyncio
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import unquote, urlsplit

import duckdb

from streams.domain.decice_fields import Fields
from streams.domain.rows import changes_of, check_places, rows_of
from streams.errors import SettingsError, StoreError
from streams.records import Tick
from streams.settings import Settings
from streams.stores import WINDOW_FUNCTIONS, PastChange, PastTick, Refusal, Selection, Series, Window
from streams.stores.duckdb.file import write_file
from streams.stores.duckdb.read import DuckReader
from streams.stores.duckdb.records import read_rows, rows_of_records, write_rows
from streams.stores.duckdb.tables import NEW, PART, SORTED, create_tables, move_on, shapes_of, sweep
from streams.stores.rawrecords import Record

ROWS = """
CREATE OR REPLACE TEMP TABLE batch AS SELECT
    unnest($1::VARCHAR[]) AS world, unnest($2::VARCHAR[]) AS kind, unnest($3::VARCHAR[]) AS id,
    unnest($4::BIGINT[]) AS tick_ms, unnest($5::VARCHAR[]) AS nodepool, unnest($6::BOOLEAN[]) AS simulated,
    unnest($7::BOOLEAN[]) AS complete, unnest($8::INTEGER[]) AS shape, unnest($9::DOUBLE[][]) AS numbers,
    unnest($10::VARCHAR[]) AS qualities;
"""
"""One row for each closed tick of an entity."""

OLD_ROWS = """
DELETE FROM {table} AS old USING batch
WHERE old.tick_ms BETWEEN $1 AND $2 AND old.tick_ms = batch.tick_ms
    AND old.world = batch.world AND old.kind = batch.kind AND old.id = batch.id;
"""

NEW_ROWS = f"""
INSERT INTO {NEW} SELECT
    world, kind, id, nodepool, tick_ms, simulated, complete, shape, numbers, qualities
FROM batch;
"""  # noqa: S608  # a name of our own

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

SWEEP_S = 3_600.0
"""[s] Between two looks for what is older than the retention."""

DAY_MS = 86_400_000
"""[ms]"""

Row = tuple[Any, ...]
"""Ten values for a closed tick, as ROWS takes them but for the names of the metrics; four identify it."""


class ChangeRow(NamedTuple):
    """A change, as CHANGES takes it; four values identify it."""

    world: str
    kind: str
    id: str
    at_ms: int
    nodepool: str
    simulated: bool
    status: str
    reason: str
    attributes: str
    removed: bool


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
    """Writes and reads ticks in a file, each on a thread of its own; deletes what is past the retention."""

    batch_items = 5_000
    batches = 1
    holds = frozenset({"text", "quality"})
    functions = frozenset(WINDOW_FUNCTIONS)
    coarse_ms: int | None = None

    def __init__(self, path: Path, retention_d: float, wall_s: Callable[[], float] = time.time) -> None:
        self.label = f"DuckDB file {path}"
        self._path = path
        self._retention_ms = retention_d * DAY_MS
        self._wall_s = wall_s
        self._next_sweep_s = 0.0
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="duckdb")
        self._reader = DuckReader(path)

    async def prepare(self) -> None:
        """Create the folder, the file and the tables."""
        await self._run(lambda connection: None)

    def convert(self, tick: Tick) -> list[Row]:
        """One row for each closed tick of an entity, and one for each change."""
        world, names = tick["world"], tick["names"]
        rows: list[Row] = []
        shapes: dict[tuple[int, ...], tuple[str, ...]] = {}
        check_places(names, tick["metrics"])
        for kind, id, pool, tick_ms, simulated, complete, values, places, qualities in rows_of(tick):
            metrics = shapes.get(places)
            if metrics is None:
                metrics = shapes[places] = tuple(names[place] for place in places)
            rows.append((world, kind, id, tick_ms, pool, simulated, complete, metrics, values, qualities))
        return rows + _changes(tick)

    def show(self, item: Row) -> bytes:
        """The row as text."""
        return repr(item).encode()

    async def write(self, items: list[Row]) -> list[Refusal]:
        """Write the rows in one transaction; none is ever refused."""
        await self._run(lambda connection: self._write(connection, items))
        return []

    async def read(self, selection: Selection, window: Window | None = None) -> list[Series]:
        """Values, or what the file's own SQL makes of each window; `coarse` is not looked at."""
        return await self._reader.read(selection, window)

    async def read_ticks(self, selection: Selection) -> list[PastTick]:
        """The newest closed tick of each entity."""
        return await self._reader.read_ticks(selection)

    async def read_changes(self, selection: Selection, *, newest: bool) -> list[PastChange]:
        """Changes, or the newest of each entity."""
        return await self._reader.read_changes(selection, newest=newest)

    async def write_records(self, bucket: str, records: list[Record]) -> None:
        """As `RawRecords.write_records`; in a table of their own, kept as long as ticks."""
        now_ms = int(self._wall_s() * 1000)
        rows = rows_of_records(bucket, records, now_ms)
        oldest_ms = now_ms - int(self._retention_ms) if self._retention_ms else 0
        if rows:
            await self._run(lambda connection: write_rows(connection, rows, oldest_ms))

    async def read_records(
        self, bucket: str, measurement: str, start_ms: int, stop_ms: int, tags: Mapping[str, str]
    ) -> list[dict[str, Any]]:
        """As `RawRecords.read_records`."""
        return await self._reader.ask(
            lambda connection: read_rows(connection, bucket, measurement, start_ms, stop_ms, tags)
        )

    async def close(self) -> None:
        """End the threads."""
        self._thread.shutdown(wait=False, cancel_futures=True)
        self._reader.close()

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
        with write_file(self._path) as connection:
            connection.execute("BEGIN")
            create_tables(connection)
            work(connection)
            self._sweep(connection)
            connection.execute("COMMIT")
            move_on(connection)

    def _write(self, connection: duckdb.DuckDBPyConnection, items: list[Row]) -> None:
        # The newest of those that are the same wins, here as in InfluxDB.
        changes = {item[:4]: item for item in items if isinstance(item, ChangeRow)}
        rows = {item[:4]: item for item in items if not isinstance(item, ChangeRow)}
        if rows:
            columns = [list(column) for column in zip(*rows.values(), strict=True)]
            columns[7] = _numbers_of(connection, columns[7])
            connection.execute(ROWS, columns)
            for table in (NEW, PART, SORTED):
                connection.execute(OLD_ROWS.format(table=table), [min(columns[3]), max(columns[3])])
            connection.execute(NEW_ROWS)
        if changes:
            columns = [list(column) for column in zip(*changes.values(), strict=True)]
            connection.execute(CHANGES, columns)
            connection.execute(OLD_CHANGES, [min(columns[3]), max(columns[3])])
            connection.execute(NEW_CHANGES)

    def _sweep(self, connection: duckdb.DuckDBPyConnection) -> None:
        now_s = self._wall_s()
        if not self._retention_ms or now_s < self._next_sweep_s:
            return
        self._next_sweep_s = now_s + SWEEP_S
        sweep(connection, int(now_s * 1000 - self._retention_ms))


def _numbers_of(connection: duckdb.DuckDBPyConnection, shapes: list[tuple[str, ...]]) -> list[int]:
    """The number of each list of metrics; those that are new get one."""
    known = shapes_of(connection)
    for shape in set(shapes) - known.keys():
        known[shape] = len(known)
        connection.execute("INSERT INTO shape VALUES ($1, $2)", [known[shape], list(shape)])
    return [known[shape] for shape in shapes]


def _changes(tick: Tick) -> list[ChangeRow]:
    return [
        ChangeRow(tick["world"], change.kind, change.id, change.at_ms, change.pool, *change[4:])
        for change in changes_of(tick)
    ]


def from_settings(
    settings: Settings, _catalogue_fields: Mapping[str, tuple[str, str]], _decice: Fields | None = None
) -> DuckStore:
    """The store that TWIN_HISTORY_URL names.

    Raises:
        SettingsError: the URL, or what belongs to it, cannot be used.
    """
    return DuckStore(parse_path(settings.history_url or ""), settings.history_retention_d)
