"""GET /twin/v1/entities/{kind}/{id}/why: where a value comes from."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query, Request
from pydantic import Field

from streams.domain.near import near_names
from streams.errors import TwinError
from streams.history.pool import HistoryPool
from streams.history.why.answer import Known
from streams.history.why.document import document_of
from streams.history.why.explain import explain
from streams.history.why.log import Subject
from streams.history.why.then import read_past_tick
from streams.replica.whose import known_of, subject_of
from streams.rulebook import RuleBook
from streams.settings import Settings
from streams.stores import PastTick
from streams.topics import topics_of
from streams.web.access.require import require
from streams.web.entityroute import EntityRoute
from streams.web.live import world_view
from streams.web.moment import moment_of
from streams.web.past import history_problems
from streams.web.problems import ProblemError
from streams.web.state import ERRORS, MomentQuery, check_kind
from streams.web.whymodels import WhyAnswer

AT_A_TIME = 4
"""[1] Explanations: each reads Kafka on its own, and decodes some MB beside what is live."""

TIME_LIMIT_S = 10.0
"""[s] For one of them; the log itself is given up earlier (`streams.history.why.look`)."""

RETRY_AFTER_S = 2
"""[s] What a client is told to wait when there are too many."""

router = APIRouter(
    prefix="/twin/v1",
    tags=["twin"],
    responses=ERRORS,
    route_class=EntityRoute,
    dependencies=[Depends(require("read"))],
)

_running: set[object] = set()


class WhyQuery(MomentQuery):
    """Parameters of GET /entities/{kind}/{id}/why."""

    metric: str = Field(description="Which value", examples=["cpu_usage_percent"], max_length=200)


@router.get("/entities/{kind}/{id:path}/why", response_model=WhyAnswer, summary="Why a value is what it is")
async def get_why(
    request: Request, kind: str, id: str, query: Annotated[WhyQuery, Query()]
) -> dict[str, Any]:
    """Why an entity shows this value of a metric, now or, with `at`, at the last closed tick before a moment.

    Its samples, the series and rule that they came of, how they were aligned, which source was preferred,
    what a fault of the world changed, and where all this stands in Kafka. What Kafka does not keep any
    longer is named in `missing`; then the record or the history store tells the value alone.
    """
    settings: Settings = request.app.state.twin.settings
    book: RuleBook = request.app.state.rulebook
    view = world_view(request, query.world)
    check_kind(view, kind, "kind")
    if query.metric not in book.catalogue:
        near = near_names(query.metric, book.catalogue)
        hint = f"; did you mean {', '.join(near)}?" if near else ""
        detail = f"there is no metric {query.metric!r}{hint}"
        raise ProblemError(404, "unknown-metric", detail, field="metric", near=near)
    at_ms = moment_of(request, query.world, query.at) if query.at is not None else None
    subject = subject_of(view, kind, id, query.metric, settings.partitions)
    known = known_of(view, subject, settings.step_ms, _past_of(request, subject))
    near = near_names(id, view.ids(kind))
    if known.state is None and at_ms is None:
        raise _unknown(subject, near)
    found = await _within_limits(settings, book, subject, at_ms, known)
    if found["found"] == "nothing" and known.state is None:
        raise _unknown(subject, near)
    return found


async def _within_limits(
    settings: Settings, book: RuleBook, subject: Subject, at_ms: int | None, known: Known
) -> dict[str, Any]:
    if len(_running) >= AT_A_TIME:
        raise _busy(f"{AT_A_TIME} explanations are being looked for already: ask again later")
    token = object()
    _running.add(token)
    try:
        async with asyncio.timeout(TIME_LIMIT_S):
            with history_problems():
                why = await explain(settings, book.catalogue, book.packs, subject, at_ms, known)
    except TimeoutError:
        raise _busy(f"Kafka did not answer within {TIME_LIMIT_S:g} s") from None
    except TwinError as error:
        raise _busy(str(error)) from error
    finally:
        _running.discard(token)
    return document_of(why, topics_of(settings))


def _past_of(request: Request, subject: Subject) -> Callable[[int], Awaitable[PastTick | None]] | None:
    pool: HistoryPool | None = request.app.state.history
    if pool is None:
        return None
    settings: Settings = request.app.state.twin.settings
    remove_after_ms = settings.remove_after_ms

    async def past(at_ms: int) -> PastTick | None:
        return await pool.run(read_past_tick, subject.world, subject.kind, subject.id, at_ms, remove_after_ms)

    return past


def _unknown(subject: Subject, near: list[str]) -> ProblemError:
    detail = f"there is no {subject.kind} {subject.id!r} in world {subject.world}"
    detail += f"; did you mean {', '.join(near)}?" if near else ""
    return ProblemError(404, "unknown-entity", detail, field="id", near=near)


def _busy(detail: str) -> ProblemError:
    return ProblemError(503, "why-busy", detail, headers={"Retry-After": str(RETRY_AFTER_S)})
