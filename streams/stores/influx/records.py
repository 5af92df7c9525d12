"""Points of any measurement in InfluxDB: how DECICE's time-series routes write and read them."""

from collections.abc import Awaitable, Callable, Mapping
from math import isfinite
from typing import Any

from streams import stores
from streams.domain.sink import as_stored, escape_key, escape_measurement, escape_string
from streams.errors import StoreError
from streams.stores.http import MAX_ERROR
from streams.stores.influx.answers import dicts_of
from streams.stores.influx.flux import all_of, equals, moment, predicate, text
from streams.stores.influx.refused import Rejected
from streams.stores.influx.rows import SELECTED, Query
from streams.stores.limits import too_much
from streams.stores.rawrecords import Record

Post = Callable[[list[str], str], Awaitable[Rejected | None]]
"""Posts lines into a bucket; None when all were kept."""


async def write_records(post: Post, bucket: str, records: list[Record]) -> None:
    """As `RawRecords.write_records`."""
    if not records:
        return
    rejected = await post([line_of(record) for record in records], bucket)
    if rejected is not None:
        raise StoreError(
            f"InfluxDB answered HTTP {rejected.status}: {rejected.message[:MAX_ERROR]}",
            status=rejected.status,
        )


async def read_records(
    query: Query, bucket: str, measurement: str, start_ms: int, stop_ms: int, tags: Mapping[str, str]
) -> list[dict[str, Any]]:
    """As `RawRecords.read_records`."""
    if start_ms >= stop_ms:
        return []
    conditions = [equals("_measurement", measurement)]
    conditions += [equals(as_stored(name), as_stored(value)) for name, value in tags.items()]
    options = {
        "bucket": text(bucket),
        "start": moment(start_ms),
        "stop": moment(stop_ms),
        "wanted": predicate(all_of(conditions)),
    }
    rows = list(dicts_of(await query(SELECTED, options, stores.MAX_POINTS)))
    if len(rows) > stores.MAX_POINTS:
        raise too_much()
    return rows


def line_of(record: Record) -> str:
    """The record in line protocol; what it cannot hold is left out: empty tags, numbers that are none.

    Raises:
        StoreError: there is no name of a measurement, or no field remains.
    """
    tags = "".join(
        f",{escape_key(name)}={escape_key(value)}"
        for name, value in sorted(record.tags.items())
        if name and value
    )
    fields = ",".join(
        f"{escape_key(name)}={written}"
        for name, value in record.fields.items()
        if name and (written := _written(value)) is not None
    )
    if not record.measurement or not fields:
        raise StoreError(
            "a record needs a measurement, and a field with a value that can be kept", status=400
        )
    time = "" if record.time_ms is None else f" {record.time_ms}"
    return f"{escape_measurement(record.measurement)}{tags} {fields}{time}"


def _written(value: float | int | str | bool) -> str | None:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return f'"{escape_string(value)}"'
    if isinstance(value, int):
        return f"{value}i"
    return repr(float(value)) if isfinite(value) else None
