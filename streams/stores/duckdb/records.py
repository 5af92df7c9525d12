"""Points of any measurement in the DuckDB file: how DECICE's time-series routes write and read them."""

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from math import isfinite
from typing import Any

import duckdb

from streams import stores
from streams.errors import StoreError, TooMuchError
from streams.stores.rawrecords import Record

TABLE = """
CREATE TABLE IF NOT EXISTS raw_record (
    bucket VARCHAR, measurement VARCHAR, tags VARCHAR, time_ms BIGINT, field VARCHAR, value VARCHAR
)
"""
"""A row for each field of a point; tags and value are JSON."""

BATCH = """
CREATE OR REPLACE TEMP TABLE raw_batch AS SELECT
    unnest($1::VARCHAR[]) AS bucket, unnest($2::VARCHAR[]) AS measurement, unnest($3::VARCHAR[]) AS tags,
    unnest($4::BIGINT[]) AS time_ms, unnest($5::VARCHAR[]) AS field, unnest($6::VARCHAR[]) AS value
"""

OLD = """
DELETE FROM raw_record AS old USING raw_batch AS new
WHERE old.bucket = new.bucket AND old.measurement = new.measurement AND old.tags = new.tags
    AND old.time_ms = new.time_ms AND old.field = new.field
"""

NEW = "INSERT INTO raw_record SELECT * FROM raw_batch"

TAGS = """
SELECT DISTINCT tags FROM raw_record
WHERE bucket = $1 AND measurement = $2 AND time_ms >= $3 AND time_ms < $4
"""

VALUES = """
SELECT field, tags, time_ms, value FROM raw_record
WHERE bucket = $1 AND measurement = $2 AND time_ms >= $3 AND time_ms < $4
    AND tags IN (SELECT unnest($5::VARCHAR[]))
ORDER BY field, tags, time_ms LIMIT $6
"""


def rows_of_records(bucket: str, records: list[Record], now_ms: int) -> list[tuple[Any, ...]]:
    """A row for each field, of the same point and field the last; numbers that are none are left out.

    Raises:
        StoreError: a record has no measurement, or no field remains.
    """
    rows: dict[tuple[Any, ...], tuple[Any, ...]] = {}
    for record in records:
        tags = _dump({name: value for name, value in sorted(record.tags.items()) if name and value})
        time_ms = now_ms if record.time_ms is None else record.time_ms
        fields = {
            name: value
            for name, value in record.fields.items()
            if name and not (isinstance(value, float) and not isfinite(value))
        }
        if not record.measurement or not fields:
            raise StoreError(
                "a record needs a measurement, and a field with a value that can be kept", status=400
            )
        for name, value in fields.items():
            key = (bucket, record.measurement, tags, time_ms, name)
            rows[key] = (*key, _dump(value))
    return list(rows.values())


def write_rows(connection: duckdb.DuckDBPyConnection, rows: list[tuple[Any, ...]], oldest_ms: int) -> None:
    """Keep the rows; what is there already is replaced, what is older than `oldest_ms` deleted."""
    connection.execute(TABLE)
    connection.execute(BATCH, [list(column) for column in zip(*rows, strict=True)])
    connection.execute(OLD)
    connection.execute(NEW)
    connection.execute("DELETE FROM raw_record WHERE time_ms < $1", [oldest_ms])


def read_rows(
    connection: duckdb.DuckDBPyConnection,
    bucket: str,
    measurement: str,
    start_ms: int,
    stop_ms: int,
    tags: Mapping[str, str],
) -> list[dict[str, Any]]:
    """As `RawRecords.read_records`.

    Raises:
        TooMuchError: there are more than `MAX_POINTS`.
    """
    where = [bucket, measurement, start_ms, stop_ms]
    try:
        found = [text for (text,) in connection.execute(TAGS, where).fetchall()]
    except duckdb.CatalogException:  # nothing was ever written
        return []
    wanted = [text for text in found if tags.items() <= json.loads(text).items()]
    rows = connection.execute(VALUES, [*where, wanted, stores.MAX_POINTS + 1]).fetchall()
    if len(rows) > stores.MAX_POINTS:
        raise TooMuchError(f"there are more than {stores.MAX_POINTS} values: ask for a shorter time_range")
    tables: dict[tuple[str, str], int] = {}
    head = {"_start": _iso(start_ms), "_stop": _iso(stop_ms)}
    return [
        {"result": "_result", "table": tables.setdefault((field, text), len(tables))}
        | head
        | {"_time": _iso(time_ms), "_value": json.loads(value), "_field": field, "_measurement": measurement}
        | json.loads(text)
        for field, text, time_ms, value in rows
    ]


def _dump(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)


def _iso(time_ms: int) -> str:
    text = datetime.fromtimestamp(time_ms / 1000, UTC).isoformat(
        timespec="milliseconds" if time_ms % 1000 else "seconds"
    )
    return text.replace("+00:00", "Z")
