"""GET and WebSocket /twin/v1/stream: what is in a world, and each change of it."""

import asyncio
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, Header, Query, Request, Response, WebSocket
from pydantic import Field, ValidationError
from starlette.requests import HTTPConnection
from starlette.types import Receive, Scope, Send

from streams.replica.place import Place
from streams.replica.view import WorldView
from streams.web.access.principal import principal_of
from streams.web.access.require import check_scope, require
from streams.web.filters import Filter, make_filter
from streams.web.live import world_view
from streams.web.problems import ProblemError, invalid, invalid_parameters, problem_response
from streams.web.state import ERRORS, TextQuery, WorldQuery, check_kind
from streams.web.stream.desk import StreamDesk
from streams.web.stream.shape import Shape
from streams.web.stream.transport import send_events, send_messages

AHEAD_S = 2.0
"""[s] How long this process may take to read what another one told already."""

router = APIRouter(prefix="/twin/v1", tags=["twin"], responses=ERRORS)

Name = Annotated[str, Field(min_length=1, max_length=200)]


class StreamQuery(TextQuery, WorldQuery):
    """Parameters of a stream."""

    fields: list[Name] = Field(
        [],
        description="Of entities only these values, by names as in where",
        examples=[["cpu_usage_percent"]],
        max_length=100,
    )
    format: Literal["entity", "row"] = Field("entity", description="An event for each entity, or rows")
    max_rate: float | None = Field(
        None, gt=0, le=100, description="[1/s] Changes come at most so often, the newest of each entity"
    )
    last_event_id: str | None = Field(
        None,
        description="Id of the last message that was taken: go on after it; the header goes first",
        max_length=20_000,
    )

    def shape(self, *, is_socket: bool) -> Shape:
        """How it is written.

        Raises:
            ProblemError: 422, fields of rows.
        """
        if self.fields and self.format == "row":
            raise invalid("fields", "a row has all its fields: fields goes with format=entity")
        return Shape(self.format == "row", tuple(self.fields), is_socket)


EVENT = {
    "type": "object",
    "description": "One event; its data is JSON",
    "properties": {
        "event": {
            "enum": ["snapshot", "entity", "rows", "live", "gone", "heartbeat", "end"],
        },
        "id": {"type": "string", "description": "Send it as Last-Event-ID to go on after it"},
        "data": {"type": "string"},
    },
}
"""Of what the answer consists, for the OpenAPI document."""


class Events(Response):
    """Server-sent events, for the OpenAPI document."""

    media_type = "text/event-stream"


class StreamResponse(Events):
    """The events of one client."""

    def __init__(self, desk: StreamDesk, **joining: Any) -> None:
        super().__init__()
        self._desk = desk
        self._joining = joining

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send them until the client goes, or is told why not."""
        await send_events(self._desk.joined(**self._joining), scope, receive, send)


@router.get(
    "/stream",
    response_class=Events,
    summary="Changes as they come",
    dependencies=[Depends(require("read"))],
    responses={200: {"content": {"text/event-stream": {"schema": EVENT}}}},
)
async def get_stream(
    request: Request,
    query: Annotated[StreamQuery, Query()],
    last_event_id: Annotated[
        str | None, Header(description="As a browser sends it", max_length=20_000)
    ] = None,
) -> Response:
    """All entities that match, then each change: server-sent events, as docs/stream.md says.

    `snapshot` (forget what you have), `entity` or `rows`, `live` (that was all), and from then on `entity`,
    `rows` and `gone` for what changes, `heartbeat` every 5 s, and `end` with a reason. Each event has an id;
    who comes back with it as Last-Event-ID goes on there, without a gap or a repeat.
    """
    joining = await _joining(request, query, last_event_id or query.last_event_id)
    return StreamResponse(_desk(request), **joining, shape=query.shape(is_socket=False))


@router.websocket("/stream")
async def open_stream(websocket: WebSocket) -> None:
    """The same as messages {"event", "id", "data"}; the id to go on after is the parameter last_event_id."""
    try:
        check_scope(principal_of(websocket), "read")
        query = _query_of(websocket)
        shape = query.shape(is_socket=True)
        last_event_id = websocket.headers.get("Last-Event-ID") or query.last_event_id
        joining = await _joining(websocket, query, last_event_id)
    except ProblemError as error:
        await websocket.send_denial_response(problem_response(error, websocket.url.path))
        return
    await websocket.accept()
    joined = _desk(websocket).joined(**joining, shape=shape)
    await send_messages(joined, websocket.scope, websocket.receive, websocket.send)


async def _joining(
    connection: HTTPConnection, query: StreamQuery, last_event_id: str | None
) -> dict[str, Any]:
    """What is followed, by whom and from where; problems are raised before anything is sent."""
    desk = _desk(connection)
    desk.check_room()
    place = Place.read(last_event_id) if last_event_id else None
    view: WorldView = world_view(connection, query.world)
    for kind in query.kind:
        check_kind(view, kind, "kind")
    who = principal_of(connection)
    wanted: Filter = make_filter(query.kind, query.id, query.where, query.q, who.kinds)
    if place is not None:
        await _reach(desk, place)
    return {
        "view": view,
        "wanted": wanted,
        "max_rate": query.max_rate,
        "place": place,
        "until_s": who.until_s,
    }


async def _reach(desk: StreamDesk, place: Place) -> None:
    """Wait until this process has read what another one told."""
    try:
        async with asyncio.timeout(AHEAD_S):
            while desk.is_ahead(place):  # noqa: ASYNC110  # reading tells nobody of each position
                await asyncio.sleep(0.02)
    except TimeoutError:
        return


def _query_of(websocket: WebSocket) -> StreamQuery:
    given: dict[str, Any] = {}
    for name, value in websocket.query_params.multi_items():
        if name in ("kind", "id", "fields"):
            given.setdefault(name, []).append(value)
        else:
            given[name] = value
    try:
        return StreamQuery.model_validate(given)
    except ValidationError as error:
        raise invalid_parameters(
            [fault | {"loc": ("query", *fault["loc"])} for fault in error.errors()]
        ) from error


def _desk(connection: HTTPConnection) -> StreamDesk:
    desk: StreamDesk = connection.app.state.streams
    return desk
