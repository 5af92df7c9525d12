"""Reads history from the DuckDB file: SQL with parameters, on a thread of its own."""

import asyncio
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar

import duckdb

from streams import stores
from streams.errors import StoreError
from streams.stores import PastChange, PastTick, Selection, Series, Window
from streams.stores.duckdb import file as duckdb_file
from streams.stores.duckdb.file import read_file
from streams.stores.limits import too_much

T = TypeVar("T")

FUNCTIONS = {
    "mean": "avg(value)",
    "min": "min(value)",
    "max": "max(value)",
    "last": "arg_max(value, tick_ms)",
    "sum": "sum(value)",
    "count": "count(value)::DOUBLE",
    "p50": "quantile_cont(value, 0.5)",
    "p95": "quantile_cont(value, 0.95)",
    "p99": "quantile_cont(value, 0.99)",
}
"""SQL of each of the WINDOW_FUNCTIONS."""

VALUES = """
WITH named AS (
    SELECT * FROM (
        SELECT number, unnest(metrics) AS metric, generate_subscripts(metrics, 1) AS place FROM shape
    ) WHERE {metrics}
), found AS (
    SELECT kind, id, metric, tick_ms, numbers[place] AS value, nodepool, simulated
    FROM closed_tick JOIN named ON number = shape WHERE {rows}
), points AS (
    {points} LIMIT {limit}
)
SELECT kind, id, arg_max(nodepool, newest), arg_max(simulated, newest), metric,
    list(at_ms ORDER BY at_ms), list(value ORDER BY at_ms)
FROM points GROUP BY kind, id, metric ORDER BY kind, id, metric
"""
"""A row for each series. What is beyond the limit is never gathered, however much there is."""

RAW = "SELECT kind, id, metric, tick_ms AS at_ms, value, nodepool, simulated, tick_ms AS newest FROM found"

WINDOWS = """
SELECT kind, id, metric, tick_ms // {every} * {every} AS at_ms, {function} AS value,
    arg_max(nodepool, tick_ms) AS nodepool, arg_max(simulated, tick_ms) AS simulated, max(tick_ms) AS newest
FROM found GROUP BY kind, id, metric, at_ms
"""

NEWEST_TICKS = """
WITH newest AS (
    SELECT kind, id, max(tick_ms) AS tick_ms,
        arg_max({{'nodepool': nodepool, 'simulated': simulated, 'complete': complete, 'shape': shape,
            'numbers': numbers, 'qualities': qualities}}, tick_ms) AS tick
    FROM closed_tick WHERE {rows} GROUP BY kind, id
)
SELECT kind, id, tick.nodepool, tick.simulated, tick_ms, tick.complete, tick.shape, tick.numbers,
    tick.qualities
FROM newest ORDER BY kind, id
"""
"""In one go over the rows; to look for the newest first, and for its values then, takes 1.5 to 3 times it."""

SHAPES = "SELECT number, metrics FROM shape"

CHANGES = """
SELECT kind, id, nodepool, simulated, at_ms, status, reason, attributes, removed
FROM entity_state WHERE {rows} {newest} ORDER BY kind, id, at_ms LIMIT {limit}
"""

NEWEST_CHANGES = "QUALIFY row_number() OVER (PARTITION BY kind, id ORDER BY at_ms DESC) = 1"


class DuckReader:
    """Answers one question after the other; each opens the file, and has READ_TIMEOUT_S."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="duckdb-read")
        self._reading: duckdb.DuckDBPyConnection | None = None

    async def read(self, selection: Selection, window: Window | None) -> list[Series]:
        """As `Store.read`."""
        query = Query(selection)
        points = RAW
        if window is not None:
            points = WINDOWS.format(every=query.with_value(window.every_ms), function=FUNCTIONS[window.fn])
        text = VALUES.format(
            metrics=query.among("metric", selection.metrics),
            rows=query.rows("tick_ms"),
            points=points,
            limit=query.limit(),
        )
        series = [Series(*row) for row in await self._ask(text, query.values)]
        _refuse_too_much(sum(len(one.values) for one in series), "values")
        return series

    async def read_ticks(self, selection: Selection) -> list[PastTick]:
        """As `Store.read_ticks`."""
        query = Query(selection)
        text = NEWEST_TICKS.format(rows=query.rows("tick_ms"))

        def work(connection: duckdb.DuckDBPyConnection) -> list[PastTick]:
            # Ticks of one shape share its names: what is made of them, and sent, is the smaller for it.
            shapes = dict(connection.execute(SHAPES).fetchall())
            rows = connection.execute(text, query.values).fetchall()
            return [
                PastTick(*row)._replace(names=shapes[row[6]], qualities=[int(digit) for digit in row[-1]])
                for row in rows
            ]

        return await self.ask(work)

    async def read_changes(self, selection: Selection, *, newest: bool) -> list[PastChange]:
        """As `Store.read_changes`."""
        query = Query(selection)
        text = CHANGES.format(
            rows=query.rows("at_ms"), newest=NEWEST_CHANGES if newest else "", limit=query.limit()
        )
        rows = await self._ask(text, query.values)
        _refuse_too_much(len(rows), "changes")
        return [PastChange(*row) for row in rows]

    def close(self) -> None:
        """Let go of the thread; a read under way is ended."""
        self._thread.shutdown(wait=False, cancel_futures=True)
        with suppress(duckdb.Error):  # it has just ended by itself
            if self._reading is not None:
                self._reading.interrupt()

    async def ask(self, work: Callable[[duckdb.DuckDBPyConnection], T]) -> T:
        """What a function finds in the file, within READ_TIMEOUT_S."""
        deadline_s = time.monotonic() + stores.READ_TIMEOUT_S
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._thread, self._open_and, work, deadline_s)

    async def _ask(self, text: str, values: list[Any]) -> list[tuple[Any, ...]]:
        return await self.ask(lambda connection: connection.execute(text, values).fetchall())

    def _open_and(self, work: Callable[[duckdb.DuckDBPyConnection], T], deadline_s: float) -> T:
        try:
            with read_file(self._path, min(duckdb_file.READ_WAIT_S, _left(deadline_s))) as connection:
                timer = threading.Timer(_left(deadline_s), connection.interrupt)
                timer.start()
                self._reading = connection
                try:
                    return work(connection)
                finally:
                    # Before the connection is closed: nobody may interrupt one that is gone.
                    self._reading = None
                    timer.cancel()
                    timer.join()
        except duckdb.InterruptException as error:
            raise StoreError(
                f"DuckDB file {self._path} did not answer within {stores.READ_TIMEOUT_S:g} s: ask for a"
                f" shorter range, fewer ids or fewer metrics"
            ) from error
        except (duckdb.Error, OSError) as error:
            raise StoreError(self._why(error)) from error

    def _why(self, error: Exception) -> str:
        if not self._path.exists():
            return f"DuckDB file {self._path} is not there yet: `twin sink` or `twin up` makes it"
        if isinstance(error, duckdb.CatalogException):
            return (
                f"DuckDB file {self._path} has no tables of this version ({error}): start `twin sink` or"
                f" `twin up` once, which makes them and converts what an earlier version wrote"
            )
        return (
            f"DuckDB file {self._path} cannot be read: {error}; look for a process that keeps it open for"
            f" writing, and at its rights; move a damaged file away: `twin sink` then begins a new one"
        )


class Query:
    """Conditions of a selection as SQL, and the values of its parameters in their order."""

    def __init__(self, selection: Selection) -> None:
        self._selection = selection
        self.values: list[Any] = []

    def with_value(self, value: object) -> str:
        """The name of a new parameter."""
        self.values.append(value)
        return f"${len(self.values)}"

    def among(self, column: str, wanted: tuple[str, ...]) -> str:
        """Whether a column has one of some values; without any, all are meant."""
        if not wanted:
            return "true"
        return f"{column} IN ({', '.join(self.with_value(value) for value in wanted)})"

    def rows(self, column: str) -> str:
        """Which rows are meant; `column` has their time."""
        some = self._selection
        return (
            f"{column} >= {self.with_value(some.start_ms)} AND {column} < {self.with_value(some.end_ms)}"
            f" AND world = {self.with_value(some.world)}"
            f" AND {self.among('kind', some.kinds)} AND {self.among('id', some.ids)}"
        )

    def limit(self) -> str:
        """One more than may be answered."""
        return self.with_value(stores.MAX_POINTS + 1)


def _left(deadline_s: float) -> float:
    return max(0.0, deadline_s - time.monotonic())


def _refuse_too_much(count: int, what: str) -> None:
    if count > stores.MAX_POINTS:
        raise too_much(what)
