"""DECICE's routes of time series: points of any measurement, written and read as they are."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Annotated

from fastapi import APIRouter, Body, Query, Request, Response
from pydantic import BaseModel, ConfigDict, Field

from streams.domain.sink import ENTITY_STATE, OTHER
from streams.domain.times import LATEST_MS
from streams.encoding import encode_json
from streams.errors import StoreError, TwinError
from streams.replica.worlds import LIVE
from streams.settings import Settings
from streams.stores import Store
from streams.stores.rawrecords import RawRecords, Record
from streams.web.access.audit import note
from streams.web.access.principal import principal_of
from streams.web.access.require import check_sees_all
from streams.web.decice import PREFIXES, add_route, influxdb_of
from streams.web.moment import moment_of
from streams.web.openapi import gives
from streams.web.past import history_of, history_problems
from streams.web.problems import ProblemError, invalid
from streams.web.state import ERRORS

RECORDS = 10_000
"""[1] Most records in one request."""

COMPAT = ("node", "device", "vertexpools", "link", "cluster_info")
"""Measurements that TWIN_INFLUX_DECICE_COMPAT makes."""

SECONDS_BELOW, MS_BELOW, US_BELOW = 10**11, 10**14, 10**17
"""[1] Below which an integer is in seconds, milliseconds, microseconds; others are in nanoseconds."""

Value = float | int | str | bool

router = APIRouter(
    tags=["DECICE"],
    responses={
        **ERRORS,
        400: ERRORS[404] | {"description": "The store refuses it, and says why"},
        501: ERRORS[404] | {"description": "Not in this store"},
    },
)


class NoRecordsError(TwinError):
    """The store cannot hold points of any measurement."""


class WrittenRecord(BaseModel):
    """A point, as DECICE's twin takes it; `timetamp` is its word."""

    model_config = ConfigDict(extra="forbid", strict=True)

    timetamp: str | int | None = Field(
        description="ISO 8601 (without a zone: UTC), an integer since the epoch (s, ms, µs, ns by its size),"
        " or null for now"
    )
    measurement: str = Field(min_length=1, max_length=200)
    tags: dict[str, str] = Field({}, max_length=100)
    fields: dict[Annotated[str, Field(min_length=1)], Value] = Field(min_length=1, max_length=1_000)


class TimeRange(BaseModel):
    """From when to when: ISO 8601 with a zone, -30m, or integers since the epoch."""

    model_config = ConfigDict(extra="forbid", strict=True)

    start: str | int
    stop: str | int | None = None


class RecordsWanted(BaseModel):
    """Which points are asked for."""

    model_config = ConfigDict(extra="forbid", strict=True)

    time_range: TimeRange
    measurement: str = Field(min_length=1, max_length=200)
    bucket: str = Field(min_length=1, max_length=200)
    tags: dict[str, str] = Field({}, max_length=100)


class BucketQuery(BaseModel):
    """Parameters of write_record/."""

    model_config = ConfigDict(extra="forbid")

    bucket: str = Field(
        min_length=1, max_length=200, examples=["decice"], description="One that the twin's token may write"
    )


async def post_records(
    request: Request,
    query: Annotated[BucketQuery, Query()],
    records: Annotated[list[WrittenRecord], Body(max_length=RECORDS)],
) -> Response:
    """Write points of any measurement into a bucket; the twin's own measurements are refused."""
    check_sees_all(principal_of(request), "a bucket")
    note(request, bucket=query.bucket, points=len(records))
    _check_own(request, query.bucket, {record.measurement for record in records})
    points = [
        Record(one.measurement, one.tags, dict(one.fields), _time_ms(one.timetamp, f"body.{place}.timetamp"))
        for place, one in enumerate(records)
    ]
    pool = history_of(request)
    with history_problems(), _refusals():
        await pool.run(write_raw, query.bucket, points)
    return Response(b"201", status_code=201, media_type="application/json")


async def post_read(request: Request, wanted: RecordsWanted) -> Response:
    """Points of a measurement with all these tags: what Flux gives, one object for each field of a point."""
    check_sees_all(principal_of(request), "a bucket")
    start_ms = _range_ms(request, wanted.time_range.start, "start")
    stop = wanted.time_range.stop
    stop_ms = _range_ms(request, "now" if stop is None else stop, "stop")
    if start_ms >= stop_ms:
        raise invalid("time_range.start", "start must be before stop")
    pool = history_of(request)
    with history_problems(), _refusals():
        found = await pool.run(read_raw, wanted.bucket, wanted.measurement, start_ms, stop_ms, wanted.tags)
    return Response(found, media_type="application/json")


async def write_raw(store: Store, bucket: str, records: list[Record]) -> None:
    """In a process that reads history: write points.

    Raises:
        NoRecordsError: the store cannot hold them.
        StoreError: it is away, or refuses.
    """
    await _raw(store).write_records(bucket, records)


async def read_raw(
    store: Store, bucket: str, measurement: str, start_ms: int, stop_ms: int, tags: Mapping[str, str]
) -> bytes:
    """In a process that reads history: points as JSON.

    Raises:
        NoRecordsError: the store cannot hold them.
        StoreError: it is away, or refuses.
    """
    return encode_json(await _raw(store).read_records(bucket, measurement, start_ms, stop_ms, tags))


def _raw(store: Store) -> RawRecords:
    if not isinstance(store, RawRecords):
        raise NoRecordsError(
            f"{store.label} holds the twin's own history only: time series of others need InfluxDB or DuckDB"
            " as TWIN_HISTORY_URL"
        )
    return store


@contextmanager
def _refusals() -> Iterator[None]:
    """A refusal of the store with the store's own status, as DECICE's twin gives it."""
    try:
        yield
    except NoRecordsError as error:
        raise ProblemError(501, "not-in-this-store", str(error)) from error
    except StoreError as error:
        if error.status is None or not 400 <= error.status < 500:
            raise
        code = HTTPStatus(error.status).phrase.lower()
        raise ProblemError(
            error.status, "store-refused", str(error), code=code, message=str(error)
        ) from error


def _check_own(request: Request, bucket: str, measurements: set[str]) -> None:
    """Raise 422 if one would be written among the twin's own."""
    settings: Settings = request.app.state.twin.settings
    own_bucket = influxdb_of(settings.history_url or "")["bucket"]
    if own_bucket is None or bucket not in (own_bucket, f"{own_bucket}_5m"):
        return
    catalogue = request.app.state.rulebook.catalogue
    own = {metric.measurement for metric in catalogue.values()} | {ENTITY_STATE, OTHER}
    if settings.influx_decice_compat:
        own.update(COMPAT)
    taken = sorted(measurements & own)
    if taken:
        raise ProblemError(
            422,
            "own-measurement",
            f"bucket {bucket} has the twin's own history, and {', '.join(taken)} in it are the twin's:"
            " use another measurement, or another bucket",
            field="measurement",
        )


def _time_ms(written: str | int | None, field: str) -> int | None:
    if written is None:
        return None
    try:
        if isinstance(written, int):
            moment_ms = integer_ms(written)
        else:
            moment = datetime.fromisoformat(written)
            moment_ms = round((moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp() * 1000)
    except (ValueError, OverflowError):
        moment_ms = -1
    if not 0 <= moment_ms < LATEST_MS:
        detail = f"{written!r} is no moment from 1970 to 9999: write ISO 8601, or an integer since the epoch"
        raise invalid(field, detail)
    return moment_ms


def integer_ms(moment: int) -> int:
    """[ms since the epoch] An integer since the epoch in the unit that its size tells."""
    if moment < SECONDS_BELOW:
        return moment * 1_000
    if moment < MS_BELOW:
        return moment
    return moment // (1_000 if moment < US_BELOW else 1_000_000)


def _range_ms(request: Request, written: str | int, name: str) -> int:
    field = f"time_range.{name}"
    if isinstance(written, int):
        return _time_ms(written, field) or 0
    return moment_of(request, LIVE, written, field)


WRITTEN = gives({"const": 201}, "They are in the store", 201)
FOUND = gives(
    {
        "type": "array",
        "items": {
            "type": "object",
            "required": ["_time", "_value", "_field", "_measurement"],
            "properties": {
                "_time": {"type": "string", "format": "date-time"},
                "_value": {"type": ["number", "string", "boolean", "null"]},
                "_field": {"type": "string"},
                "_measurement": {"type": "string"},
            },
        },
    },
    "An object for each field of a point, with its tags, `result`, `table`, `_start` and `_stop`",
)

for _prefix in PREFIXES:
    add_route(
        router,
        f"{_prefix}/timeseries/write_record",
        post_records,
        "POST",
        201,
        "events",
        summary="Write points",
        extra=WRITTEN,
    )
    add_route(
        router,
        f"{_prefix}/timeseries/read_record",
        post_read,
        "POST",
        summary="Read points",
        extra=FOUND,
    )
