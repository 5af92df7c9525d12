"""POST /twin/v1/events: scenario events and cues, checked and resolved before any is sent."""

import asyncio
import json
from collections.abc import Sequence
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query, Request
from fastapi.responses import JSONResponse
from pydantic import Field

from streams.domain.catalogue import Catalogue
from streams.events import InvalidEventError, parse_event
from streams.events.models import EVENT, AnyEvent
from streams.events.sender import Sent
from streams.replica.worlds import LIVE
from streams.web.access.audit import note, note_touched
from streams.web.access.principal import principal_of
from streams.web.access.require import REFUSALS, require
from streams.web.access.targets import check_kinds, check_targets
from streams.web.live import LiveTwin, caught_up
from streams.web.loading import Loads
from streams.web.models import DryRunAnswer, Model, Problem, SentAnswer
from streams.web.moment import past_at
from streams.web.openapi import SCHEMAS, ref, takes_any_of
from streams.web.outbox import Outbox
from streams.web.problems import ProblemError
from streams.web.resolving import Batch, Resolved

MAX_EVENTS = 1_000
"""[1] Events in one request."""

MAX_SENT = 2_000
"""[1] Events that they may become; a world that begins as live with 20,000 entities is a hundred."""

MAX_BODY_BYTES = 8 * 1024 * 1024
"""[B] Largest body of a request."""

SLICE = 20
"""[1] Events that are checked before others get the event loop: some milliseconds."""

SHOWN_FAULTS = 100
"""[1] Wrong fields that an answer names."""

COMPONENT = "Event."
"""How the names of the shapes of events begin in the OpenAPI document, where others have the same."""

EXAMPLES = {
    "a node goes down": {
        "type": "fault.start",
        "world": "live~try",
        "body": {"kind": "node_down", "duration_ms": 60_000, "selector": {"kind": "node", "ids": ["ws01"]}},
    },
    "a world over live": {
        "type": "world.create",
        "world": "live~try",
        "body": {"owner": "me", "reason": "What if", "ttl_s": 600},
    },
    "scrape now": [{"type": "collect.now", "world": "live", "body": {"sources": []}}],
}
"""Bodies, by what they do."""

ERRORS: dict[int | str, dict[str, Any]] = {
    **REFUSALS,
    404: {"model": Problem, "description": "Unknown world"},
    409: {"model": Problem, "description": "A world of this name exists"},
    413: {"model": Problem, "description": "The body is too large"},
    415: {"model": Problem, "description": "The body is not JSON"},
    422: {"model": Problem, "description": "A field is wrong; `errors` names all of them"},
    501: {"model": Problem, "description": "Needs what is not there yet"},
    503: {"model": Problem, "description": "Kafka is away, or the replica has not caught up with it"},
}
"""What the route may answer instead."""

router = APIRouter(
    prefix="/twin/v1", tags=["twin"], responses=ERRORS, dependencies=[Depends(require("events"))]
)


class EventsQuery(Model):
    """Parameters of POST /events."""

    dry_run: bool = Field(False, description="Say what the events would touch, and send nothing")


@router.post(
    "/events",
    status_code=202,
    response_model=SentAnswer,
    responses={200: {"model": DryRunAnswer, "description": "With dry_run=true"}},
    summary="Post events",
    openapi_extra=takes_any_of(
        {
            "anyOf": [
                ref(f"{COMPONENT}Any"),
                {
                    "type": "array",
                    "items": ref(f"{COMPONENT}Any"),
                    "minItems": 1,
                    "maxItems": MAX_EVENTS,
                },
            ]
        },
        EXAMPLES,
    ),
)
async def post_events(request: Request, query: Annotated[EventsQuery, Query()]) -> JSONResponse:
    """Send one event or several, in their order; either all are right, or none is sent.

    Selectors of faults are resolved here: without ids, all entities of the kind that have the labels. A world
    or an entity that is not there yet is waited for up to 2 s, so events may follow each other at once.
    """
    documents, is_batch = await _read(request)
    events = await _parse(documents, request.app.state.rulebook.catalogue, is_batch=is_batch)
    who = principal_of(request)
    note(request, events=len(events), dry_run=query.dry_run)
    check_targets(who, events)
    resolved = await _resolve(request, events, is_batch=is_batch)
    kinds = [kind for one in resolved for kind, _ in one.touched]
    note_touched(request, (event.world for event in events), kinds)
    check_kinds(who, kinds)
    if query.dry_run:
        return JSONResponse(
            {"events": [_touched(event, one) for event, one in zip(events, resolved, strict=True)]}
        )
    wanted = [event for one in resolved for event in one.events]
    if len(wanted) > MAX_SENT:
        text = (
            f"worlds that begin as live make {len(wanted)} events of these, more than {MAX_SENT}: post fewer"
        )
        raise ProblemError(422, "too-many-events", text)
    sent = await send_events(request, wanted)
    outbox: Outbox = request.app.state.sender
    loads: Loads = request.app.state.loads
    for one in resolved:
        if one.load is not None:
            loads.begin(one.load)
    return JSONResponse({"topic": outbox.topic, "events": [one._asdict() for one in sent]}, 202)


async def send_events(request: Request, events: Sequence[AnyEvent]) -> list[Sent]:
    """Send events that are resolved, in their order, and wait until Kafka has them.

    Raises:
        ProblemError: 503, Kafka does not take them; 422, one is too large and nothing was sent.
    """
    outbox: Outbox = request.app.state.sender
    return await outbox.send(events)


def event_components() -> dict[str, Any]:
    """The shapes of events for the OpenAPI document, by name."""
    schema = EVENT.json_schema(ref_template=f"{SCHEMAS}{COMPONENT}{{model}}")
    parts: dict[str, Any] = schema.pop("$defs")
    return {f"{COMPONENT}{name}": part for name, part in parts.items()} | {f"{COMPONENT}Any": schema}


async def _read(request: Request) -> tuple[list[Any], bool]:
    """The documents in a body, and whether they stood in an array."""
    media_type = request.headers.get("Content-Type", "").partition(";")[0].strip().lower()
    # A page of another site can post text without asking, but not this.
    if media_type != "application/json":
        text = f"Content-Type is {media_type or 'missing'}: send application/json"
        raise ProblemError(415, "unsupported-media-type", text, field="Content-Type")
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > MAX_BODY_BYTES:
            text = f"the body is larger than {MAX_BODY_BYTES} bytes: post fewer events at once"
            raise ProblemError(413, "too-large", text)
    try:
        document = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise ProblemError(422, "invalid-json", f"the body is not JSON: {str(error)[:200]}") from None
    if not isinstance(document, list):
        return [document], False
    if not 0 < len(document) <= MAX_EVENTS:
        raise ProblemError(
            422, "invalid-event", f"{len(document)} events: 1 to {MAX_EVENTS} may be posted at once"
        )
    return document, True


async def _parse(documents: list[Any], catalogue: Catalogue, *, is_batch: bool) -> list[AnyEvent]:
    events: list[AnyEvent] = []
    faults: list[tuple[str, str]] = []
    for number, document in enumerate(documents):
        if number % SLICE == SLICE - 1:
            await asyncio.sleep(0)
        place = _place(number, is_batch=is_batch)
        try:
            event = parse_event(document, catalogue)
        except InvalidEventError as error:
            faults += [(_named(place, name), text) for name, text in error.faults]
            continue
        if event.type == "import":
            faults.append(
                (f"{place}type", "import events are made of snapshots: POST /api/v2/model_core takes one")
            )
        events.append(event)
    _refuse(faults)
    return events


async def _resolve(request: Request, events: list[AnyEvent], *, is_batch: bool) -> list[Resolved]:
    """What is to be sent; whether there are worlds and entities only a replica that has caught up knows."""
    twin: LiveTwin = request.app.state.twin
    if any(event.world != LIVE for event in events):
        twin = caught_up(request)
    batch = Batch(
        twin,
        request.app.state.rulebook.catalogue,
        twin.settings.step_ms,
        lambda at_ms: past_at(request, LIVE, at_ms),
        principal_of(request),
    )
    resolved: list[Resolved] = []
    faults: list[tuple[str, str]] = []
    for number, event in enumerate(events):
        if number % SLICE == SLICE - 1:
            await asyncio.sleep(0)
        place = _place(number, is_batch=is_batch)
        try:
            resolved.append(await batch.resolve(event, place))
        except InvalidEventError as error:
            faults += [(_named(place, name), text) for name, text in error.faults]
    _refuse(faults)
    return resolved


def _refuse(faults: list[tuple[str, str]]) -> None:
    if not faults:
        return
    detail = "; ".join(f"{name}: {text}" for name, text in faults[:3])
    detail += f"; and {len(faults) - 3} more" if len(faults) > 3 else ""
    errors = [{"field": name, "detail": text} for name, text in faults[:SHOWN_FAULTS]]
    raise ProblemError(422, "invalid-event", detail, field=faults[0][0], errors=errors)


def _place(number: int, *, is_batch: bool) -> str:
    return f"{number}." if is_batch else ""


def _named(place: str, name: str) -> str:
    # A fault of an event as a whole is named by its place alone, if it has one.
    return place.rstrip(".") if place and name == "event" else place + name


def _touched(event: AnyEvent, resolved: Resolved) -> dict[str, Any]:
    return {
        "type": event.type,
        "world": event.world,
        "count": len(resolved.touched),
        "whole_world": resolved.is_whole_world,
        "entities": []
        if resolved.is_whole_world
        else [{"kind": kind, "id": id} for kind, id in resolved.touched],
    }
