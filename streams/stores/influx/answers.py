"""Answers of InfluxDB: annotated CSV as tables of text, and what is in them.

Format: https://docs.influxdata.com/influxdb/v2/reference/syntax/annotated-csv/ (2.7), with `#datatype` alone.
"""

import csv
import io
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime, timedelta
from itertools import islice
from typing import Any, NamedTuple

from streams.errors import StoreError

DATATYPE = "#datatype"
"""What the line begins with that says the type of each column."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MS = timedelta(milliseconds=1)


class Table(NamedTuple):
    """Rows of the same columns.

    Args:
        places: index of each column, by its name.
        types: type of each column, by its name, as InfluxDB calls it.
        rows: come once, and before those of the next table.
    """

    places: dict[str, int]
    types: dict[str, str]
    rows: Iterator[list[str]]


def tables_of(answer: str) -> Iterator[Table]:
    """The tables of an answer, those of the same columns in a row as one; a million rows are never all there.

    Raises:
        StoreError: InfluxDB says in it that something went wrong after it had begun, or it is no such CSV.
    """
    lines = iter(_rows(answer))
    heads: list[list[str]] = [row for row in islice(lines, 1) if row not in ([], [""])]
    while heads:
        types, names = heads.pop(), next(lines, [])
        if types[0] != DATATYPE or len(types) != len(names):
            raise StoreError(f"InfluxDB answered with something that is no CSV of a query: {types!r:.100}")
        places = {name: place for place, name in enumerate(names) if place}
        rows = _until_head(lines, heads)
        if "error" in places:
            told = "; ".join(row[places["error"]] for row in rows)
            raise StoreError(f"InfluxDB gave the query up: {told[:500]}")
        yield Table(places, {name: types[place] for name, place in places.items()}, rows)
        for _ in rows:  # what was not looked at
            pass


def _until_head(lines: Iterator[list[str]], heads: list[list[str]]) -> Iterator[list[str]]:
    for row in lines:
        if not row or row == [""]:
            continue
        if row[0] == DATATYPE:
            heads.append(row)
            return
        yield row


def dicts_of(tables: Iterable[Table]) -> Iterator[dict[str, Any]]:
    """Each row with its columns by name, values as their types say, times as text."""
    for table in tables:
        columns = [
            (name, place, _READERS.get(table.types[name].partition(":")[0], str))
            for name, place in table.places.items()
        ]
        for row in table.rows:
            yield {
                name: None if row[place] == "" and read is not str else read(row[place])
                for name, place, read in columns
            }


def to_ms(text: str) -> int:
    """[ms since the epoch] A time in an answer; what is less than a millisecond is left out."""
    return (datetime.fromisoformat(text) - _EPOCH) // _MS


class Times(dict[str, int]):
    """[ms since the epoch] Times by their text: a tick is the same for all that was measured at it."""

    def __missing__(self, text: str) -> int:
        """Read a text that is seen for the first time."""
        at_ms = self[text] = to_ms(text)
        return at_ms


def _rows(answer: str) -> Iterable[list[str]]:
    if '"' in answer:
        return csv.reader(io.StringIO(answer, newline=""))
    # Nothing is quoted: a third of the time.
    return (line.split(",") for line in answer.split("\r\n"))


_READERS: dict[str, Callable[[str], Any]] = {
    "double": float,
    "long": int,
    "unsignedLong": int,
    "boolean": "true".__eq__,
}
