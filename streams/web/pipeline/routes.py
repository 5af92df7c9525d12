"""GET /twin/v1/pipeline and /twin/v1/sources."""

from functools import partial
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query, Request

from streams.web.access.principal import principal_of
from streams.web.access.require import require
from streams.web.models import Model, Problem
from streams.web.observe import get_freshness, get_ledger
from streams.web.pipeline.desk import PipelineDesk
from streams.web.pipeline.models import PipelineAnswer, SourcesAnswer
from streams.web.problems import ProblemError
from streams.web.state import WorldQuery

ERRORS: dict[int | str, dict[str, Any]] = {
    401: {"model": Problem, "description": "No key, or a wrong one"},
    403: {"model": Problem, "description": "The key has not the scope read"},
    404: {"model": Problem, "description": "Unknown world"},
    422: {"model": Problem, "description": "A parameter is wrong"},
}
"""What each route may answer instead."""

UNANSWERED = (403, 503)
"""Problems of freshness and ledger that leave the rest of the answer as it is."""

router = APIRouter(
    prefix="/twin/v1", tags=["pipeline"], responses=ERRORS, dependencies=[Depends(require("read"))]
)


@router.get("/pipeline", response_model=PipelineAnswer, summary="How the pipeline does")
async def get_pipeline(request: Request, query: Annotated[WorldQuery, Query()]) -> dict[str, Any]:
    """Topics with their rates, lag of each consumer group, freshness, ledger, schemas and versions.

    Kafka is asked every 5 s for as long as somebody asks here. While it is away the answer has its last
    words, their age and the fault. Freshness and ledger are those of the world, made anew as often as their
    cost allows: up to 30 s old in a world of 100,000 entities.
    """
    return await pipeline_of(request, query.world)


@router.get("/sources", response_model=SourcesAnswer, summary="Sources and their last scrapes")
async def get_sources(request: Request, _query: Annotated[Model, Query()]) -> dict[str, Any]:
    """Each target of each source: its last scrape, whether it failed and why, its samples and entities.

    The topic `scrape` is followed for as long as somebody asks here, beginning with its newest records: a
    target that is scraped more seldom has its entities only, until its next scrape.
    """
    return await desk_of(request).sources()


async def pipeline_of(request: Request, world: str) -> dict[str, Any]:
    """What `get_pipeline` answers."""
    desk = desk_of(request)
    principal = principal_of(request)
    answer = await desk.pipeline()
    found: dict[str, Any] = {"state_fault": None}
    for name, get in (("freshness", get_freshness), ("ledger", get_ledger)):
        key = (name, world, principal.worlds, principal.kinds)
        try:
            # Both look at every entity, and pages ask for them every few seconds.
            found[name] = await desk.reused.get(key, partial(get, request, WorldQuery(world=world)))
        except ProblemError as error:
            if error.status not in UNANSWERED:
                raise
            found |= {name: None, "state_fault": str(error)}
    return answer | found


def desk_of(request: Request) -> PipelineDesk:
    """The desk of this application."""
    desk: PipelineDesk = request.app.state.pipeline
    return desk
