"""Events that put live's entities, as they are or as they were, into an isolated world."""

import asyncio
from collections.abc import Iterator
from typing import Any

from pydantic import ValidationError

from streams.domain import aggregate
from streams.domain.catalogue import Catalogue, Metric
from streams.domain.keys import split_key
from streams.domain.stamp import ALIVE, make_stamp
from streams.encoding import encode_json
from streams.errors import InvalidMessageError
from streams.events import InvalidEventError
from streams.events.models import MAX_SET, AnyEvent, EntitySet, SetEntities, WorldCreate
from streams.records import State
from streams.replica.held import Held
from streams.replica.view import WorldView

KINDS = ("cluster", "nodepool", "node", "device", "link", "job")
"""Kinds that a world of one's own can have."""

MAX_BYTES = 200 * 1024
"""[B] Most JSON of entities in one event: with its record it stays below what a message may be."""

SLICE = 50
"""[1] Records that are decoded before others get the event loop: about 3 ms."""

MAX_ATTRIBUTES, MAX_TEXT, MAX_ID = 200, 100_000, 110
"""[1] What an event takes: attributes of an entity, letters of one; and letters of an id in others."""


async def from_live(
    create: WorldCreate, live: WorldView, step_ms: int, catalogue: Catalogue
) -> list[AnyEvent]:
    """The creation, and what follows it: live's entities with their attributes and aligned values.

    The world's clock begins at the newest tick that every alive and complete entity of live has closed. The
    values are those of each entity's newest closed tick, which may be a later one; an entity that is neither
    up nor degraded has none, as its last values would look new. What live has not stays absent.

    Raises:
        InvalidEventError: there are more entities than the world may have.
    """
    records = sorted(record for kind in KINDS for record in live.records(kind))
    if len(records) > create.body.max_entities:
        text = f"live has {len(records)} entities, more than {create.body.max_entities}"
        raise InvalidEventError("too_many_entities", [("body.max_entities", text)])
    clock_ms = create.body.clock_ms
    if clock_ms is None:
        clock_ms = make_stamp(live.world, (held for _, held in records), None, {})["tick_ms"]
    body = create.body.model_copy(
        update={"base": "live", "clock_ms": clock_ms, "step_ms": create.body.step_ms or step_ms}
    )
    sets = await set_events(create, live, catalogue, clock_ms, "body.base")
    return [create.model_copy(update={"body": body}), *sets]


async def set_events(
    source: AnyEvent, live: WorldView, catalogue: Catalogue, at_ms: int | None, field: str
) -> list[AnyEvent]:
    """Events that set all of live's entities, with their attributes and aligned values.

    Args:
        source: what they are sent for; their world, sender and time are its, their ids begin with its.
        live: as it is, or as of a moment.
        at_ms: [ms since the epoch] by the world's time; None: its clock.
        field: of the source, named in errors.

    Raises:
        InvalidEventError: an entity fits in no event.
    """
    entities: list[dict[str, Any]] = []
    records = sorted(record for kind in KINDS for record in live.records(kind))
    for place, (key, held) in enumerate(records, start=1):
        if place % SLICE == 0:
            await asyncio.sleep(0)
        entity = _entity(live, key, held, catalogue)
        if entity is not None:
            entities.append(entity)
    events: list[AnyEvent] = []
    for chunk in chunked(entities):
        await asyncio.sleep(0)
        events.append(set_event(source, len(events) + 1, chunk, at_ms, field))
    return events


def _entity(live: WorldView, key: bytes, held: Held, catalogue: Catalogue) -> dict[str, Any] | None:
    try:
        state = held.decode()
    except InvalidMessageError as error:
        live.holdings.count_poisoned(error)
        return None
    _, kind, id = split_key(key.decode())
    aligned = zip(state["aligned_names"], state["aligned_values"], strict=True)
    totals: set[str] = set()
    if kind in aggregate.KINDS:
        # What the twin adds up over live's nodes would stay as it is while the world's nodes change.
        totals = set(state["aligned_names"]) - _measured(state)
        if state["source_names"] == [aggregate.SOURCE]:
            return None
    return {
        "kind": kind,
        "id": id,
        "attributes": dict(
            [
                (name, text)
                for name, text in state["attributes"].items()
                if name and text and len(text) <= MAX_TEXT
            ][:MAX_ATTRIBUTES]
        ),
        "metrics": {
            name: within(value, catalogue[name])
            for name, value in aligned
            if name in catalogue and state["status"] in ALIVE and name not in totals
        },
    }


def _measured(state: State) -> set[str]:
    """Metrics that another source than the twin gives."""
    heads = zip(state["head_names"], state["head_sources"], strict=True)
    return {name for name, source in heads if not aggregate.is_total(name, state["source_names"][source])}


def within(value: float, metric: Metric) -> float:
    """The value without what interpolation rounded beyond the catalogue's range."""
    value = value if metric.minimum is None else max(value, metric.minimum)
    return value if metric.maximum is None else min(value, metric.maximum)


def chunked(entities: list[dict[str, Any]]) -> Iterator[list[dict[str, Any]]]:
    """Entities in groups that fit into one event each."""
    chunk: list[dict[str, Any]] = []
    taken = 0
    for entity in entities:
        size = len(encode_json(entity))
        if chunk and (len(chunk) == MAX_SET or taken + size > MAX_BYTES):
            yield chunk
            chunk, taken = [], 0
        chunk.append(entity)
        taken += size
    if chunk:
        yield chunk


def set_event(
    source: AnyEvent, number: int, chunk: list[dict[str, Any]], at_ms: int | None, field: str
) -> EntitySet:
    """One event that sets entities; see `set_events`."""
    try:
        body = SetEntities.model_validate({"entities": chunk, "at_ms": at_ms or None})
    except ValidationError as error:
        fault = error.errors()[0]
        place = ".".join(map(str, fault["loc"]))
        raise InvalidEventError(
            "event", [(field, f"an entity of live fits in no event: {place}: {fault['msg']}")]
        ) from None
    return EntitySet(
        # The same for an event that is sent again, so that it changes nothing.
        id=f"{source.id[:MAX_ID]}+{number}",
        type="entity.set",
        world=source.world,
        at_ms=source.at_ms,
        sender=source.sender,
        body=body,
    )
