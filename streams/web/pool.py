"""POST /pool: what DECICE calls to have its twin updated; ours is fresh already."""

import asyncio
import time
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query, Request
from fastapi.responses import JSONResponse
from pydantic import Field

from streams.events.models import CollectNow, Cue
from streams.replica.worlds import LIVE
from streams.settings import Settings
from streams.web.access.audit import note_touched
from streams.web.access.require import REFUSALS, require
from streams.web.decice import age_header, document_of
from streams.web.models import Model, Problem
from streams.web.openapi import HEADERS
from streams.web.outbox import Outbox
from streams.web.problems import ProblemError
from streams.web.twindocument import TwinDocument

MESSAGE = "Digital Twin update completed successfully."
"""What the PromQL wrapper of DECICE says."""

WAIT_S = 10.0
"""[s] For new scrapes to be in the state: scrapes time out after 2 s."""

LOOK_S = 0.05
"""[s] Between looks; the document behind them is built at most four times a second."""

QUIET_S = 1.0
"""[s] Without one more entity that was scraped, after which no more are waited for: targets fail, too."""

EVER_S = 1e9
"""[s] More than any age: times count from 1970."""

SENDER = "pool"
"""Of the cues."""

ERRORS: dict[int | str, dict[str, Any]] = {
    **REFUSALS,
    422: {"model": Problem, "description": "A parameter is wrong"},
    503: {"model": Problem, "description": "The state is old, or Kafka away"},
}
"""What the route may answer instead."""

router = APIRouter(tags=["DECICE"], responses=ERRORS, dependencies=[Depends(require("events"))])


class PoolAnswer(Model):
    """What DECICE's PromQL wrapper answers."""

    message: str


class PoolQuery(Model):
    """Parameters of POST /pool."""

    wait: bool = Field(False, description="Scrape now, and answer when it is in the state")


@router.post(
    "/pool",
    status_code=202,
    response_model=PoolAnswer,
    summary="Have the twin be up to date",
    openapi_extra={"responses": {"202": {"headers": {"Age": HEADERS["Age"]}}}},
)
@router.post("/pool/", status_code=202, include_in_schema=False)
async def post_pool(request: Request, query: Annotated[PoolQuery, Query()]) -> JSONResponse:
    """Say that the twin is up to date; `Age` is that of its newest value [s].

    A twin that is scraped on cue only, or that missed two scrapes, is told to scrape first, as with `wait`.
    """
    note_touched(request, [LIVE], ())
    settings: Settings = request.app.state.twin.settings
    document = await document_of(request, LIVE)
    called_ms = int(time.time() * 1000)
    interval_s = settings.scrape_interval_s
    if query.wait or interval_s == 0 or _age_s(document, called_ms) > 2 * interval_s:
        outbox: Outbox = request.app.state.sender
        await outbox.send([_cue()])
        document = await _newer(request, called_ms, settings, is_asked=query.wait)
    age_s = _age_s(document, called_ms)
    if age_s > settings.max_age_s:
        raise _stale(age_s, settings)
    return JSONResponse({"message": MESSAGE}, status_code=202, headers=age_header(document))


async def _newer(request: Request, called_ms: int, settings: Settings, *, is_asked: bool) -> TwinDocument:
    """The document when all entities that are scraped were scraped after the call, or no more of them come.

    Raises:
        ProblemError: 503, none came in time; unless nobody asked for them, and what there is is fresh enough.
    """
    deadline = time.monotonic() + WAIT_S
    count, progress_s = 0, 0.0
    while time.monotonic() < deadline:
        document = await document_of(request, LIVE)
        newer = sum(heard_ms >= called_ms for heard_ms in document.heard_ms)
        if newer > count:
            count, progress_s = newer, time.monotonic()
        if count and (newer == len(document.heard_ms) or time.monotonic() - progress_s > QUIET_S):
            return document
        await asyncio.sleep(LOOK_S)
    document = await document_of(request, LIVE)
    age_s = _age_s(document, int(time.time() * 1000))
    if not count and (is_asked or age_s > settings.max_age_s):
        raise _stale(age_s, settings)
    return document


def _cue() -> Cue:
    return Cue(id="", world="live", at_ms=0, sender=SENDER, type="collect.now", body=CollectNow(sources=[]))


def _age_s(document: TwinDocument, now_ms: int) -> float:
    """[s] Since something was scraped, or a snapshot that was posted was taken."""
    return (now_ms - max(document.updated_ms, *document.heard_ms, 0)) / 1000


def _stale(age_s: float, settings: Settings) -> ProblemError:
    # Where nothing was ever heard of the age is that of the epoch.
    what = f"the newest scrape is {age_s:.0f} s old" if age_s < EVER_S else "nothing was scraped yet"
    return ProblemError(
        503,
        "stale",
        f"{what}, and none came within {WAIT_S:.0f} s (TWIN_MAX_AGE_S is {settings.max_age_s:g}): look at"
        " `twin collect` and `twin worker`",
        headers={"Retry-After": "5"},
    )
