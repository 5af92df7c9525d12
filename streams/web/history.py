"""GET /twin/v1/history, and the history of one entity."""

import time
from collections.abc import Callable, Iterable
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, Query, Request, Response
from pydantic import Field

from streams.domain.times import parse_duration, parse_moment
from streams.history import formats
from streams.history.query import DEFAULT_LIMIT, MAX_LIMIT, Facts, HistoryQuery, QueryError
from streams.settings import Settings
from streams.web.access.principal import principal_of
from streams.web.access.require import require
from streams.web.entityroute import EntityRoute
from streams.web.historymodels import Function, HistoryAnswer
from streams.web.models import Problem
from streams.web.moment import check_world, step_of, world_now_ms
from streams.web.past import history_of, history_problems
from streams.web.problems import ProblemError, invalid
from streams.web.state import ERRORS, KINDS, WorldQuery, unknown_kind

SETTLED_MS = 3_600_000
"""[ms] What is as old does not change any more: a sink catches up long before."""

KEPT_S = 60
"""[s] How long such an answer may be kept."""

ANSWERS: dict[int | str, dict[str, Any]] = {
    **ERRORS,
    200: {
        "model": HistoryAnswer,
        "description": "JSON, or by Accept text/csv (a row for each point: time, time_ms, kind, id, nodepool,"
        " metric, unit, simulated, value) or application/vnd.apache.arrow.stream (the same columns, time as"
        " timestamp[ms, UTC]). The headers Twin-Resolution-Ms, Twin-Coarse, Twin-Note and Twin-Next-Cursor"
        " say what JSON says in resolution_ms, coarse, note and next.",
        "content": {
            formats.CSV: {"schema": {"type": "string"}},
            formats.ARROW: {"schema": {"type": "string", "format": "binary"}},
        },
    },
    406: {"model": Problem, "description": "None of the media types of Accept can be had"},
}
"""What the routes may answer."""


class WindowQuery(WorldQuery):
    """Parameters of both routes: when, and what is made of the values."""

    metrics: list[str] = Field(
        [],
        description="These metrics; may be repeated, or have commas between. None: all",
        examples=[["cpu_usage_percent"]],
        max_length=100,
    )
    start: str = Field(
        "-1h",
        description="First tick: ISO 8601 with a zone, or a while before now: -30m (units ms, s, m, h, d, w)",
        examples=["2026-11-24T03:12:00Z", "-30m"],
        max_length=40,
    )
    end: str = Field("now", description="The moment after the last tick", examples=["now"], max_length=40)
    every: str | None = Field(
        None,
        description="Length of windows; they begin at multiples of it since 1970. None with fn: the whole"
        " range is one",
        examples=["5m"],
        max_length=40,
    )
    fn: Function | None = Field(
        None,
        description="What is made of the values in a window. None: mean with every, else nothing. sum adds up"
        " all ticks of the window: with every as long as a step it is the total at each tick",
    )
    limit: int = Field(DEFAULT_LIMIT, ge=1, le=MAX_LIMIT, description="[1] Most points of the answer")
    cursor: str = Field(
        "",
        description="`next` of the answer before, with all other parameters as before",
        max_length=4_000,
    )


class HistoryParameters(WindowQuery):
    """Parameters of GET /history."""

    kind: list[str] = Field([], description="One of these kinds", examples=[["node"]], max_length=20)
    ids: list[str] = Field(
        [], description="One of these ids; is repeated for several", examples=[["ws01"]], max_length=1_000
    )
    labels: list[str] = Field(
        [],
        description="Attributes that an entity must all have, by its newest change before end: name=value",
        examples=[["nodepool=1"]],
        max_length=20,
    )
    group_by: Literal["id", "nodepool", "kind"] = Field(
        "id", description="One series for each entity, or for all of a kind in a pool, or of a kind, together"
    )


router = APIRouter(
    prefix="/twin/v1",
    tags=["twin"],
    route_class=EntityRoute,
    responses=ANSWERS,
    dependencies=[Depends(require("read"))],
)


@router.get("/history", response_model=None, summary="History of metrics")
async def get_history(request: Request, query: Annotated[HistoryParameters, Query()]) -> Response:
    """Closed ticks of the past: as they were, or what a function makes of them in windows.

    Means of five minutes are read instead where the values themselves are not kept so long, or the range is
    longer than two days; the answer says so.
    """
    for kind in query.kind:
        if not kind:
            raise invalid("kind", f"must not be empty: kinds are {', '.join(KINDS)}")
    return await _answer(
        request,
        query,
        kinds=_seen(request, _split(query.kind), "kind"),
        ids=tuple(query.ids),
        labels=tuple(_label(text) for text in query.labels),
        group_by=query.group_by,
    )


@router.get("/entities/{kind}/{id:path}/history", response_model=None, summary="History of one entity")
async def get_entity_history(
    request: Request, kind: str, id: str, query: Annotated[WindowQuery, Query()]
) -> Response:
    """The same of one entity; its id is percent-encoded in the path."""
    return await _answer(request, query, kinds=_seen(request, (kind,), "kind"), ids=(id,))


async def _answer(request: Request, query: WindowQuery, **which: Any) -> Response:
    check_world(request, query.world)
    form = _form(request)
    now_ms = world_now_ms(request, query.world)
    settings: Settings = request.app.state.twin.settings
    question = HistoryQuery(
        _read("start", lambda text: parse_moment(text, now_ms), query.start),
        _read("end", lambda text: parse_moment(text, now_ms), query.end),
        world=query.world,
        metrics=_split(query.metrics),
        every_ms=None if query.every is None else _read("every", parse_duration, query.every),
        fn=query.fn,
        limit=query.limit,
        cursor=query.cursor,
        **which,
    )
    facts = Facts(
        request.app.state.rulebook.catalogue.units(),
        step_of(request, query.world),
        settings.history_retention_ms,
        int(time.time() * 1000),
    )
    pool = history_of(request)
    with history_problems():
        try:
            answer = await pool.run(formats.answer, question, facts, form)
        except QueryError as error:
            near = {"near": error.near} if error.near else {}
            raise invalid(error.field, str(error), **near) from error
    is_settled = question.end_ms < now_ms - SETTLED_MS
    kept = f"private, max-age={KEPT_S}" if is_settled else "no-cache"
    return Response(
        answer.body, headers=answer.headers | {"Cache-Control": kept, "Vary": "Accept"}, media_type=form
    )


def _seen(request: Request, kinds: tuple[str, ...], field: str) -> tuple[str, ...]:
    """The kinds that are asked about, or all that somebody sees; none are all that there are."""
    who = principal_of(request)
    if who.sees_all_kinds:
        return kinds
    seen = tuple(filter(who.sees_kind, KINDS))
    for kind in kinds:
        if not who.sees_kind(kind):
            raise unknown_kind(kind, field, seen)
    if not (kinds or seen):
        raise unknown_kind("", field, seen)
    return kinds or seen


def _form(request: Request) -> str:
    """The media type that the client likes best of those that there are."""
    wishes: list[tuple[float, str]] = []
    for part in request.headers.get("Accept", "").split(","):
        name, *parameters = (item.strip() for item in part.split(";"))
        weights = [item[2:] for item in parameters if item.startswith("q=")]
        try:
            wishes.append((float(weights[0]) if weights else 1.0, name.lower()))
        except ValueError:
            wishes.append((0.0, name.lower()))
    found: str | None = None
    for weight, name in sorted(wishes, key=lambda wish: -wish[0]):
        if weight > 0 and found is None:
            found = next((form for form in formats.FORMATS if name in ("", "*/*", form, _any(form))), None)
    if found is None:
        raise ProblemError(406, "not-acceptable", f"there is {', '.join(formats.FORMATS)}", field="Accept")
    if found == formats.ARROW and not formats.has_arrow():
        raise ProblemError(406, "not-acceptable", formats.ARROW_MISSING, field="Accept")
    return found


def _any(form: str) -> str:
    return form.partition("/")[0] + "/*"


def _split(texts: Iterable[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(part for text in texts for part in text.split(",") if part))


def _label(text: str) -> tuple[str, str]:
    name, sign, value = text.partition("=")
    if not name or not sign:
        raise invalid("labels", f"{text!r} is not name=value, as in nodepool=1")
    return name, value


def _read(field: str, parse: Callable[[str], int], text: str) -> int:
    try:
        return parse(text)
    except ValueError as error:
        raise invalid(field, str(error)) from error
