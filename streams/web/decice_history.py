"""DECICE's routes of the past: past_snapshots and timeseries, under the three prefixes."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Annotated

from fastapi import APIRouter, Query, Request, Response
from fastapi.responses import StreamingResponse
from pydantic import Field

from streams.domain.decice_fields import Fields
from streams.history.pool import HistoryPool
from streams.settings import Settings
from streams.web.access.principal import principal_of
from streams.web.access.require import check_sees_all
from streams.web.decice import PREFIXES, add_route
from streams.web.live import world_view
from streams.web.moment import moment_of, step_of
from streams.web.openapi import DOCUMENTS, gives, merged, ref, sends
from streams.web.past import history_of, history_problems
from streams.web.problems import ProblemError, invalid
from streams.web.snapshots import Batch, Order, read_snapshot, read_snapshots
from streams.web.state import ERRORS, WorldQuery

SNAPSHOTS = 200
"""[1] Most snapshots in an answer; of a longer range there is one in a while."""

BATCH = 25
"""[1] Most snapshots that are read at once."""

JSON = "application/json"

router = APIRouter(tags=["DECICE"], responses=ERRORS)


class RangeQuery(WorldQuery):
    """Parameters of past_snapshots/."""

    start: str = Field(
        "-30m", description="ISO 8601 with a zone, or -30m (s, m, h, d, w)", examples=["-5m"], max_length=64
    )
    stop: str = Field("now", description="The same, or now", examples=["now"], max_length=64)


async def get_snapshots_v2(request: Request, query: Annotated[RangeQuery, Query()]) -> Response:
    """Documents of closed ticks by their time, the newest first: of all, or of one in `Twin-Every-Ms`."""
    return await _snapshots(request, query, with_cluster=True)


async def get_snapshots_v1(request: Request, query: Annotated[RangeQuery, Query()]) -> Response:
    """Documents of closed ticks by their time, the newest first (v1: without cluster_info)."""
    return await _snapshots(request, query, with_cluster=False)


async def get_snapshot_v2(request: Request, ts: str, query: Annotated[WorldQuery, Query()]) -> Response:
    """The document of the newest closed tick up to a moment; `Twin-Tick` is its time."""
    return await _snapshot(request, ts, query.world, with_cluster=True)


async def get_snapshot_v1(request: Request, ts: str, query: Annotated[WorldQuery, Query()]) -> Response:
    """The document of the newest closed tick up to a moment (v1: without cluster_info)."""
    return await _snapshot(request, ts, query.world, with_cluster=False)


async def _snapshot(request: Request, ts: str, world: str, *, with_cluster: bool) -> Response:
    order = _order(request, world, with_cluster=with_cluster)
    at_ms = moment_of(request, world, ts, "ts")
    pool = history_of(request)
    with history_problems():
        found = await pool.run(read_snapshot, order, at_ms)
    if found is None:
        seconds = order.remove_after_ms / 1000
        detail = f"there is no closed tick of world {world} within {seconds:g} s up to {iso(at_ms)}"
        raise ProblemError(404, "no-snapshot", detail, field="ts")
    return Response(
        found.body, media_type=JSON, headers={"Twin-Tick": iso(found.tick_ms), "Cache-Control": "no-cache"}
    )


async def _snapshots(request: Request, query: RangeQuery, *, with_cluster: bool) -> Response:
    order = _order(request, query.world, with_cluster=with_cluster)
    start_ms = moment_of(request, query.world, query.start, "start")
    stop_ms = moment_of(request, query.world, query.stop, "stop")
    if start_ms > stop_ms:
        raise invalid("start", f"start={query.start} is later than stop={query.stop}")
    every_ms = distance_ms(start_ms, stop_ms, order.step_ms)
    moments = list(range(stop_ms - stop_ms % every_ms, start_ms - 1, -every_ms))
    pool = history_of(request)
    # Before the answer begins, so that what is wrong can still be said.
    first = await _read(pool, order, moments[:BATCH])
    headers = {"Twin-Every-Ms": str(every_ms), "Cache-Control": "no-cache"}
    return StreamingResponse(_body(pool, order, moments, first), media_type=JSON, headers=headers)


async def _body(pool: HistoryPool, order: Order, moments: list[int], batch: Batch) -> AsyncIterator[bytes]:
    before = b"{"
    done = 0
    while True:
        for snapshot in batch.snapshots:
            yield before + b'"' + iso(snapshot.tick_ms).encode() + b'":' + snapshot.body
            before = b","
        done += batch.looked_at
        if done >= len(moments):
            break
        batch = await _read(pool, order, moments[done : done + BATCH])
    yield b"{}" if before == b"{" else b"}"


async def _read(pool: HistoryPool, order: Order, moments: list[int]) -> Batch:
    with history_problems():
        return await pool.run(read_snapshots, order, moments)


def distance_ms(start_ms: int, stop_ms: int, step_ms: int) -> int:
    """[ms] Least multiple of the step of which at most `SNAPSHOTS` multiples are from start to stop."""
    every_ms = step_ms * max(1, (stop_ms - start_ms) // (step_ms * SNAPSHOTS))
    while stop_ms // every_ms - -(-start_ms // every_ms) + 1 > SNAPSHOTS:
        every_ms += step_ms
    return every_ms


def iso(moment_ms: int) -> str:
    """A moment as DECICE's twin writes it: 2026-11-24T03:12:00+00:00."""
    return datetime.fromtimestamp(moment_ms / 1000, UTC).isoformat()


def _order(request: Request, world: str, *, with_cluster: bool) -> Order:
    check_sees_all(principal_of(request), "a DECICE document", worlds=False)
    world_view(request, world)
    settings: Settings = request.app.state.twin.settings
    fields = Fields(request.app.state.rulebook.catalogue, settings.decice_mem_unit)
    return Order(world, settings.remove_after_ms, step_of(request, world), fields, with_cluster)


MANY = merged(
    gives(
        {"type": "object", "additionalProperties": ref(DOCUMENTS["decice-v2"])},
        "Documents by their time, ISO 8601",
    ),
    sends("Twin-Every-Ms"),
)
ONE = merged(gives(ref(DOCUMENTS["decice-v2"]), "The document"), sends("Twin-Tick"))

for _prefix in PREFIXES:
    _is_v2 = _prefix == "/api/v2"
    add_route(
        router,
        f"{_prefix}/past_snapshots",
        get_snapshots_v2 if _is_v2 else get_snapshots_v1,
        summary="Snapshots of a range",
        extra=MANY,
    )
    add_route(
        router,
        f"{_prefix}/past_snapshots/{{ts}}",
        get_snapshot_v2 if _is_v2 else get_snapshot_v1,
        summary="Snapshot of a moment",
        extra=ONE,
    )
