"""GET /twin/v1/state and /twin/v1/entities, of any world."""

from collections.abc import AsyncIterator, Iterable
from typing import Annotated, Any
from zlib import crc32

from fastapi import APIRouter, Depends, Query, Request, Response
from fastapi.responses import StreamingResponse
from pydantic import BaseModel, ConfigDict, Field

from streams.domain.near import near_names
from streams.encoding import encode_json
from streams.replica.past import PastView
from streams.replica.view import WorldView
from streams.web.access.require import REFUSALS, require
from streams.web.encoded import Encoded, EncodedStates, Snapshot
from streams.web.filters import make_filter
from streams.web.models import Entity, Problem, StateAnswer
from streams.web.moment import view_at
from streams.web.openapi import ETAG
from streams.web.problems import ProblemError

KINDS = ("cluster", "nodepool", "node", "device", "link", "job", "world")
"""Kinds of entities (DESIGN section 5)."""

CHUNK = 200
"""[1] Entities that are sent at once."""

JSON = "application/json"

ERRORS: dict[int | str, dict[str, Any]] = {
    **REFUSALS,
    404: {"model": Problem, "description": "Unknown world or entity"},
    422: {"model": Problem, "description": "A parameter is wrong"},
    503: {"model": Problem, "description": "The replica has not caught up with Kafka"},
}
"""What each route may answer instead."""

router = APIRouter(
    prefix="/twin/v1", tags=["twin"], responses=ERRORS, dependencies=[Depends(require("read"))]
)


class WorldQuery(BaseModel):
    """Parameters of whole-world answers; others are refused, as a misspelt filter would match everything."""

    model_config = ConfigDict(extra="forbid")

    world: str = Field("live", description="Name of the world", examples=["live"], max_length=200)


class MomentQuery(WorldQuery):
    """Parameters of answers that are of now, or of the past."""

    at: str | None = Field(
        None,
        description="As of this moment: ISO 8601 with a zone, or -30m; else as it is now",
        examples=["2026-11-24T03:12:00Z", "-2m"],
        max_length=64,
    )


class FilterQuery(BaseModel):
    """Filters of entities; all that are given must match."""

    kind: list[str] = Field([], description="One of these kinds", examples=[["node"]], max_length=20)
    id: list[str] = Field([], description="One of these ids", examples=[["ws01"]], max_length=1_000)
    where: str = Field(
        "",
        description="Terms with spaces between, operators = != > >= < <= ~ (contains)",
        examples=["status!=up cpu_usage_percent>80"],
        max_length=2_000,
    )


class StateQuery(FilterQuery, MomentQuery):
    """Parameters of GET /state."""


class TextQuery(FilterQuery):
    """Filters, with free text."""

    q: str = Field(
        "",
        description="Contained in id, kind, status, an attribute's value or a fault; case does not matter",
        examples=["rack 4"],
        max_length=200,
    )


class EntityQuery(MomentQuery):
    """Parameters of GET /entities/{kind}/{id}."""

    full: bool = Field(False, description="With sources, origins and alignment memory")


@router.get("/state", response_model=StateAnswer, summary="Snapshot of a world", openapi_extra=ETAG)
async def get_state(request: Request, query: Annotated[StateQuery, Query()]) -> Response:
    """A snapshot of all entities, or of those that match, now or as of a moment (docs/history.md).

    An answer carries an ETag; asked with it as If-None-Match the answer is 304 until something changed.
    """
    view = await view_at(request, query.world, query.at)
    wanted = make_filter(query.kind, query.id, query.where)
    keys = wanted_keys(view, query)
    if has_tag(request, view):
        return not_modified(request, view)
    # The past has caches of its own, so that it takes no room of what is live.
    is_past = isinstance(view, PastView)
    states: EncodedStates = request.app.state.past_states if is_past else request.app.state.states
    return answer_snapshot(request, view, await states.snapshot(view, keys, wanted), "entities")


@router.get(
    "/entities/{kind}/{id:path}",
    response_model=Entity,
    response_model_exclude_none=True,
    summary="One entity",
    openapi_extra=ETAG,
)
async def get_entity(
    request: Request, kind: str, id: str, query: Annotated[EntityQuery, Query()]
) -> Response:
    """One entity, now or as of a moment; its id is percent-encoded in the path."""
    view = await view_at(request, query.world, query.at)
    check_kind(view, kind, "kind")
    found = view.find(kind, id)
    if found is None:
        near = near_names(id, view.ids(kind))
        then = f" as of {query.at}" if query.at else ""
        detail = f"there is no {kind} {id!r} in world {view.world}{then}"
        detail += f"; did you mean {', '.join(near)}?" if near else ""
        raise ProblemError(404, "unknown-entity", detail, field="id", near=near)
    held = found[1]
    # With a checksum: versions begin anew in a world that is made again under its name.
    past = f"-{view.at_ms}" if isinstance(view, PastView) else ""
    tag = f'W/"{held.epoch}-{held.version}-{crc32(held.value):08x}-{int(query.full)}{past}"'
    if _is_wanted(request, tag):
        return Response(status_code=304, headers={"ETag": tag})
    try:
        entity = view.full(kind, id) if query.full else view[kind, id]
    except KeyError:  # its record turned out to be unreadable
        raise ProblemError(
            404, "unknown-entity", f"the record of {kind} {id!r} is unreadable", field="id"
        ) from None
    return Response(encode_json(entity), media_type=JSON, headers={"ETag": tag, "Cache-Control": "no-cache"})


def check_kind(view: WorldView, kind: str, field: str) -> None:
    """Raise 404 unless there may be entities of a kind."""
    is_known = kind in KINDS or any(other == kind for other, _ in view)
    if not is_known or not view.sees_kind(kind):
        raise unknown_kind(kind, field, filter(view.sees_kind, KINDS))


def unknown_kind(kind: str, field: str, known: Iterable[str]) -> ProblemError:
    """404, naming the kinds that there are."""
    kinds = list(known)
    detail = f"there is no kind {kind!r}: kinds are {', '.join(kinds)}"
    return ProblemError(404, "unknown-kind", detail, field=field, near=near_names(kind, kinds))


def wanted_keys(view: WorldView, query: FilterQuery) -> list[tuple[str, str]] | None:
    """Kind and id of all that can match; None: everything can.

    Raises:
        ProblemError: 404, there is no such kind.
    """
    for kind in query.kind:
        check_kind(view, kind, "kind")
    if not query.kind and not query.id:
        return None
    if query.kind and query.id:
        return [(kind, id) for kind in query.kind for id in query.id]
    kinds, ids = set(query.kind), set(query.id)
    return [(kind, id) for kind, id in view if (not kinds or kind in kinds) and (not ids or id in ids)]


def has_tag(request: Request, view: WorldView) -> bool:
    """Whether who asks has what the view would give them."""
    return _is_wanted(request, _tag(request, view))


def not_modified(request: Request, view: WorldView) -> Response:
    """The answer to who has what the view would give them."""
    return Response(status_code=304, headers={"ETag": _tag(request, view)})


def answer_snapshot(request: Request, view: WorldView, snapshot: Snapshot, name: str) -> Response:
    """A snapshot as JSON, its entities under a name; sent in parts."""
    stamp = view.stamped(snapshot.stamp) if isinstance(view, PastView) else snapshot.stamp
    head = b'{"stamp":' + encode_json(stamp) + b',"' + name.encode() + b'":['
    commas = max(0, len(snapshot.entities) - 1)
    size = len(head) + sum(len(entity.body) for entity in snapshot.entities) + commas + 2
    return StreamingResponse(
        _body(head, snapshot.entities),
        media_type=JSON,
        headers={
            "ETag": _tag(request, view),
            "Cache-Control": "no-cache",
            "Content-Length": str(size),
        },
    )


def _tag(request: Request, view: WorldView) -> str:
    return f'W/"{request.app.version}-{view.mark()}"'


def _is_wanted(request: Request, tag: str) -> bool:
    wanted = request.headers.get("If-None-Match", "")
    return wanted.strip() == "*" or tag in (part.strip() for part in wanted.split(","))


async def _body(head: bytes, entities: list[Encoded]) -> AsyncIterator[bytes]:
    yield head
    for start in range(0, len(entities), CHUNK):
        chunk = b",".join(entity.body for entity in entities[start : start + CHUNK])
        yield chunk if start == 0 else b"," + chunk
    yield b"]}"
