"""Values of history as a Parquet or CSV file, written by DuckDB."""

import secrets
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import duckdb

from streams.errors import TwinError
from streams.stores import Series

FORMATS = ("parquet", "csv")

TABLE = """
CREATE TABLE value (
    world VARCHAR, kind VARCHAR, id VARCHAR, nodepool VARCHAR, simulated BOOLEAN, time TIMESTAMPTZ,
    metric VARCHAR, unit VARCHAR, value DOUBLE
)
"""

ROWS = """
INSERT INTO value SELECT
    $1, kind, id, nodepool, simulated, epoch_ms(at_ms)::TIMESTAMPTZ, metric, unit, value
FROM (
    SELECT
        kind, id, nodepool, simulated, metric, unit, unnest(times) AS at_ms, unnest(numbers) AS value
    FROM (
        SELECT
            unnest($2::VARCHAR[]) AS kind, unnest($3::VARCHAR[]) AS id, unnest($4::VARCHAR[]) AS nodepool,
            unnest($5::BOOLEAN[]) AS simulated, unnest($6::VARCHAR[]) AS metric,
            unnest($7::BIGINT[][]) AS times, unnest($8::DOUBLE[][]) AS numbers, unnest($9::VARCHAR[]) AS unit
    )
)
ORDER BY at_ms, kind, id, metric
"""

CSV_ROWS = """
SELECT world, kind, id, nodepool, simulated,
    strftime(time AT TIME ZONE 'UTC', '%Y-%m-%dT%H:%M:%S.%gZ') AS time, metric, unit, value
FROM value
"""


class ColumnFile:
    """A file that is there with all its rows at the end, or not at all.

    What is added is gathered in a file beside it, not in memory.
    """

    def __init__(self, path: Path, format: str, units: Mapping[str, str]) -> None:
        """Write to `path` as one of FORMATS; `units` has the unit of each metric of the catalogue."""
        self._path, self._format, self._units = path, format, units
        stem = f".{path.name}.{secrets.token_hex(4)}"
        self._gathered = path.with_name(f"{stem}.gathered")
        self._part = path.with_name(f"{stem}.part")

    def __enter__(self) -> Self:
        try:
            self._connection = duckdb.connect(str(self._gathered))
            self._connection.execute("SET TimeZone = 'UTC'; SET enable_progress_bar = false")
            self._connection.execute(TABLE)
        except (duckdb.Error, OSError) as error:
            self._remove()
            raise self._cannot(error) from error
        return self

    def add(self, world: str, series: Iterable[Series]) -> None:
        """A row for each value, in order of time."""
        columns: list[list[Any]] = [list(column) for column in zip(*series, strict=True)]
        if not columns:
            return
        columns.append([self._units.get(metric, "") for metric in columns[4]])
        try:
            self._connection.execute(ROWS, [world, *columns])
        except (duckdb.Error, OSError) as error:
            raise self._cannot(error) from error

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if error is None:
                self._finish()
        except (duckdb.Error, OSError) as failure:
            raise self._cannot(failure) from failure
        finally:
            self._connection.close()
            self._remove()

    def _finish(self) -> None:
        if self._format == "csv":
            self._connection.sql(CSV_ROWS).write_csv(str(self._part), header=True)
        else:
            self._connection.table("value").write_parquet(str(self._part), compression="zstd")
        self._part.replace(self._path)

    def _remove(self) -> None:
        for path in (self._gathered, self._gathered.with_name(f"{self._gathered.name}.wal"), self._part):
            path.unlink(missing_ok=True)

    def _cannot(self, error: Exception) -> TwinError:
        return TwinError(
            f"{self._path} cannot be written: {error}; look at the folder, its rights and its space (twice"
            f" the size of the result is needed)"
        )
