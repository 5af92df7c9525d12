"""GET /twin/v1/diff: what changed in a world between two moments."""

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query, Request
from pydantic import Field

from streams.domain.diff import RATIO, Thresholds, parse_beyond
from streams.domain.near import near_names
from streams.replica.diff import compare
from streams.replica.view import WorldView
from streams.web.access.require import require
from streams.web.live import world_view
from streams.web.models import Model, SnapshotStamp, Status
from streams.web.moment import moment_of, past_at
from streams.web.problems import invalid
from streams.web.state import ERRORS, WorldQuery

NOW = "now"
"""What `to` says for the live state instead of a moment of history."""

router = APIRouter(
    prefix="/twin/v1", tags=["twin"], responses=ERRORS, dependencies=[Depends(require("read"))]
)


class DiffQuery(WorldQuery):
    """Parameters of GET /diff."""

    from_: str = Field(
        alias="from",
        description="The earlier moment: ISO 8601 with a zone, or -30m",
        examples=["-5m"],
        max_length=64,
    )
    to: str = Field(
        NOW, description="The later moment; now: the newest state", examples=["now"], max_length=64
    )
    kind: list[str] = Field([], description="Only these kinds", examples=[["node"]], max_length=20)
    beyond: list[str] = Field(
        [],
        description="METRIC:NUMBER: changes of more than that, in the metric's unit; several with commas",
        examples=[["cpu_usage_percent:10"]],
        max_length=100,
    )
    ratio: float = Field(
        RATIO,
        ge=0,
        allow_inf_nan=False,
        description="Changes of metrics without such a threshold by more than this part of the former value",
    )


class Standing(Model):
    """A status and the reason for it."""

    status: Status
    reason: str


class Whole(Standing):
    """An entity that came or went, as it was when it was there."""

    kind: str
    id: str
    attributes: dict[str, str]


class StatusChange(Model):
    """An entity whose status is another."""

    kind: str
    id: str
    before: Standing
    after: Standing
    since_ms: int = Field(description="[ms since the epoch, UTC] At the latest")


class AttributeChange(Model):
    """An attribute that is another; null where there is none."""

    kind: str
    id: str
    name: str
    before: str | None
    after: str | None


class MetricChange(Model):
    """A metric that changed by more than its threshold, or that came or went; null where there is none."""

    kind: str
    id: str
    metric: str
    before: float | None
    after: float | None
    difference: float | None = Field(description="after - before")
    before_at_ms: int | None = Field(description="[ms since the epoch, UTC] Time of the value")
    after_at_ms: int | None = Field(description="[ms since the epoch, UTC] Time of the value")


class DiffAnswer(Model):
    """What differs, in order of kind and id."""

    world: str
    from_ms: int = Field(description="[ms since the epoch, UTC]")
    to_ms: int | None = Field(description="[ms since the epoch, UTC] null: the newest state")
    before: SnapshotStamp
    after: SnapshotStamp
    beyond: dict[str, float]
    ratio: float
    added: list[Whole]
    removed: list[Whole]
    statuses: list[StatusChange]
    attributes: list[AttributeChange]
    metrics: list[MetricChange]


@router.get("/diff", response_model=DiffAnswer, summary="What changed between two moments")
async def get_diff(request: Request, query: Annotated[DiffQuery, Query()]) -> dict[str, Any]:
    """What came, went and changed in a world between two moments."""
    thresholds = _thresholds(query)
    from_ms = moment_of(request, query.world, query.from_, "from")
    to_ms = None if query.to.strip() == NOW else moment_of(request, query.world, query.to, "to")
    if to_ms is not None and to_ms < from_ms:
        raise invalid("from", f"from={query.from_} is later than to={query.to}")
    before = await past_at(request, query.world, from_ms)
    after: WorldView
    if to_ms is None:
        after = world_view(request, query.world)
    else:
        after = await past_at(request, query.world, to_ms)
    found = await compare(before, after, query.kind, thresholds)
    _check_names(thresholds, found.metrics | set(request.app.state.rulebook.catalogue))
    return {
        "world": query.world,
        "from_ms": from_ms,
        "to_ms": to_ms,
        "before": found.before,
        "after": found.after,
        "beyond": dict(thresholds.beyond),
        "ratio": thresholds.ratio,
        **vars(found.difference),
    }


def _thresholds(query: DiffQuery) -> Thresholds:
    try:
        return Thresholds(parse_beyond(query.beyond), query.ratio)
    except ValueError as error:
        raise invalid("beyond", str(error)) from error


def _check_names(thresholds: Thresholds, known: set[str]) -> None:
    for name in sorted(thresholds.beyond.keys() - known):
        near = near_names(name, sorted(known))
        detail = f"there is no metric {name!r}" + (f"; did you mean {', '.join(near)}?" if near else "")
        raise invalid("beyond", detail, near=near)
