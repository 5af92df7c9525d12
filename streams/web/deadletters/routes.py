"""GET /twin/v1/deadletters, one of them, and POST /twin/v1/deadletters/redrive."""

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Path, Query, Request, Response

from streams.encoding import encode_json
from streams.web.access.principal import principal_of
from streams.web.access.require import check_sees_all, require
from streams.web.deadletters.desk import LetterDesk
from streams.web.deadletters.models import (
    DeadLetterAnswer,
    DeadLettersAnswer,
    LettersQuery,
    Redrive,
    RedriveAnswer,
)
from streams.web.models import Model, Problem

NUMBER_MAX = 2**31 - 1
"""[1] Of a partition."""

OFFSET_MAX = 2**63 - 1
"""[1] Of an offset."""

JSON = "application/json"

ERRORS: dict[int | str, dict[str, Any]] = {
    401: {"model": Problem, "description": "No key, or a wrong one"},
    403: {"model": Problem, "description": "The key has not the scope admin"},
    422: {"model": Problem, "description": "A parameter is wrong"},
    503: {"model": Problem, "description": "Kafka is away, or does not answer in time"},
}
"""What each route may answer instead."""

router = APIRouter(
    prefix="/twin/v1/deadletters",
    tags=["dead letters"],
    responses=ERRORS,
    dependencies=[Depends(require("admin"))],
)


@router.get("", response_model=DeadLettersAnswer, summary="Dead letters, the newest first")
async def get_deadletters(request: Request, query: Annotated[LettersQuery, Query()]) -> dict[str, Any]:
    """What stages could not take, by stage, reason, topic, time or text; without the bytes.

    Of two partitions the later letter comes first; those of one partition stay in order. With a filter that
    lets few through a page may have fewer letters than `limit`, and a cursor to go on with.
    """
    return await desk_of(request).page(query)


@router.get(
    "/{partition}/{offset}",
    response_model=DeadLetterAnswer,
    responses={404: {"model": Problem, "description": "There is no such letter, or no longer"}},
    summary="One dead letter with its bytes",
)
async def get_deadletter(
    request: Request,
    partition: Annotated[int, Path(ge=0, le=NUMBER_MAX, description="Of the topic `deadletter`")],
    offset: Annotated[int, Path(ge=0, le=OFFSET_MAX, description="In that partition")],
    query: Annotated[Model, Query()],
) -> Response:
    """Where it came from, why it was refused, and its bytes: as they are, for people, and decoded."""
    # Not through the model: what a message says may be large, or no JSON number.
    return Response(encode_json(await desk_of(request).show(partition, offset)), media_type=JSON)


@router.post("/redrive", response_model=RedriveAnswer, summary="Send dead letters again")
async def post_redrive(request: Request, asked: Redrive) -> dict[str, Any]:
    """Send the originals to the topic and partition that they came from, oldest first, each with its key.

    They carry the header `twin-redriven`; what is refused again has it too. What the twin does with a
    message that comes again, and what it ignores: docs/operations.md, "Dead letters".
    """
    return await desk_of(request).redrive(asked)


def desk_of(request: Request) -> LetterDesk:
    """The desk of this application, for who may see all worlds and kinds: letters are of any of them."""
    check_sees_all(principal_of(request), "a dead letter")
    desk: LetterDesk = request.app.state.letters
    return desk
