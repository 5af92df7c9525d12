"""GET /twin/v1/rows: entities as the rows of a table, now or as of a moment."""

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query, Request, Response
from pydantic import Field

from streams.domain.entity import MEASURED, QUALITIES
from streams.records import State
from streams.replica.past import PastView
from streams.web.access.principal import principal_of
from streams.web.access.require import require
from streams.web.encoded import EncodedStates
from streams.web.filters import make_filter
from streams.web.models import Model, Quality, SnapshotStamp, Status
from streams.web.moment import view_at
from streams.web.openapi import ETAG
from streams.web.state import (
    ERRORS,
    MomentQuery,
    TextQuery,
    answer_snapshot,
    has_tag,
    not_modified,
    wanted_keys,
)

router = APIRouter(
    prefix="/twin/v1", tags=["twin"], responses=ERRORS, dependencies=[Depends(require("read"))]
)


class Row(Model):
    """One entity, as short as a table needs it."""

    world: str
    kind: str
    id: str
    status: Status
    status_reason: str
    status_since_ms: int = Field(description="[ms since the epoch, UTC]")
    simulated: bool
    faults: list[str]
    version: int
    seen_ms: int = Field(description="[ms since the epoch, UTC]")
    tick_ms: int = Field(description="[ms since the epoch, UTC] Newest closed tick; 0 when there is none")
    complete: bool
    interval_ms: int | None = Field(
        description="[ms] Smallest of its sources; null: they have none, or it is not known"
    )
    observed_at_ms: int | None = Field(description="[ms since the epoch, UTC] Time of the newest value")
    attributes: dict[str, str]
    metrics: dict[str, float | None]
    times_ms: dict[str, int] = Field(description="[ms since the epoch, UTC] Time of each of metrics")
    qualities: dict[str, Quality] = Field(description="Of the newest tick's values, but for those measured")
    features: dict[str, float | None]


class RowsAnswer(Model):
    """A snapshot as rows."""

    stamp: SnapshotStamp
    rows: list[Row]


class RowsQuery(TextQuery, MomentQuery):
    """Parameters of GET /rows."""


@router.get("/rows", response_model=RowsAnswer, summary="Snapshot as rows of a table", openapi_extra=ETAG)
async def get_rows(request: Request, query: Annotated[RowsQuery, Query()]) -> Response:
    """All entities, or those that match, as rows of a table: values alone, with their times beside them.

    An answer carries an ETag; asked with it as If-None-Match the answer is 304 until something changed.
    """
    view = await view_at(request, query.world, query.at)
    wanted = make_filter(query.kind, query.id, query.where, query.q, principal_of(request).kinds)
    keys = wanted_keys(view, query)
    if has_tag(request, view):
        return not_modified(request, view)
    # The past has caches of its own, so that it takes no room of what is live.
    past = "past_" if isinstance(view, PastView) else ""
    rows: EncodedStates = getattr(request.app.state, f"{past}rows")
    if not wanted.reads:
        return answer_snapshot(request, view, await rows.snapshot(view, keys), "rows")
    states: EncodedStates = getattr(request.app.state, f"{past}states")
    snapshot = await rows.again(view, await states.snapshot(view, keys, wanted))
    return answer_snapshot(request, view, snapshot, "rows")


def row_of(state: State, view: dict[str, Any]) -> dict[str, Any]:
    """A row of an entity's record and its view."""
    metrics = view["metrics"]
    times_ms = {name: metric["observed_at_ms"] for name, metric in metrics.items()}
    intervals_ms = [interval_ms for interval_ms in state["source_intervals_ms"] if interval_ms > 0]
    return {
        "world": view["world"],
        "kind": view["kind"],
        "id": view["id"],
        "status": view["status"],
        "status_reason": view["status_reason"],
        "status_since_ms": view["status_since_ms"],
        "simulated": view["simulated"],
        "faults": view["faults"],
        "version": view["version"],
        "seen_ms": view["seen_ms"],
        "tick_ms": state["tick_ms"],
        "complete": state["complete"],
        "interval_ms": min(intervals_ms, default=None),
        "observed_at_ms": max(times_ms.values(), default=None),
        "attributes": view["attributes"],
        "metrics": {name: metric["value"] for name, metric in metrics.items()},
        "times_ms": times_ms,
        "qualities": {
            name: QUALITIES[quality]
            for name, quality in zip(state["aligned_names"], state["aligned_qualities"], strict=True)
            if quality != MEASURED
        },
        "features": view["features"],
    }
