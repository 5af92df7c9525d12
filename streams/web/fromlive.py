"""An isolated world that begins as live is now: its creation, and the events that put live's entities in."""

import asyncio
from collections.abc import Iterator
from typing import Any

from pydantic import ValidationError

from streams.domain.catalogue import Catalogue
from streams.domain.keys import split_key
from streams.domain.stamp import ALIVE, make_stamp
from streams.encoding import encode_json
from streams.errors import InvalidMessageError
from streams.events import InvalidEventError
from streams.events.models import MAX_SET, AnyEvent, EntitySet, SetEntities, WorldCreate
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
    events: list[AnyEvent] = [create.model_copy(update={"body": body})]
    entities: list[dict[str, Any]] = []
    for place, (key, held) in enumerate(records, start=1):
        if place % SLICE == 0:
            await asyncio.sleep(0)
        entity = _entity(live, key, held, catalogue)
        if entity is not None:
            entities.append(entity)
    for chunk in _chunks(entities):
        await asyncio.sleep(0)
        events.append(_set(create, len(events), chunk, clock_ms))
    return events


def _entity(live: WorldView, key: bytes, held: Held, catalogue: Catalogue) -> dict[str, Any] | None:
    try:
        state = held.decode()
    except InvalidMessageError as error:
        live.holdings.count_poisoned(error)
        return None
    _, kind, id = split_key(key.decode())
    aligned = zip(state["aligned_names"], state["aligned_values"], strict=True)
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
            name: _within(value, catalogue[name].minimum, catalogue[name].maximum)
            for name, value in aligned
            if name in catalogue and state["status"] in ALIVE
        },
    }


def _within(value: float, minimum: float | None, maximum: float | None) -> float:
    """The value without what interpolation rounded beyond the catalogue's range."""
    value = value if minimum is None else max(value, minimum)
    return value if maximum is None else min(value, maximum)


def _chunks(entities: list[dict[str, Any]]) -> Iterator[list[dict[str, Any]]]:
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


def _set(create: WorldCreate, number: int, chunk: list[dict[str, Any]], clock_ms: int | None) -> EntitySet:
    try:
        body = SetEntities.model_validate({"entities": chunk, "at_ms": clock_ms or None})
    except ValidationError as error:
        fault = error.errors()[0]
        place = ".".join(map(str, fault["loc"]))
        raise InvalidEventError(
            "event", [("body.base", f"an entity of live fits in no event: {place}: {fault['msg']}")]
        ) from None
    return EntitySet(
        # The same for a creation that is sent again, so that it changes nothing.
        id=f"{create.id[:MAX_ID]}+{number}",
        type="entity.set",
        world=create.world,
        at_ms=create.at_ms,
        sender=create.sender,
        body=body,
    )
