"""Scenario, controller and import events: their shapes, and the way from bytes or JSON to one that holds."""

import json
from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from streams.domain.catalogue import Catalogue, Metric
from streams.domain.commands import is_overlay
from streams.domain.near import near_names
from streams.errors import InvalidMessageError
from streams.events.faults import FAULT_KINDS
from streams.events.models import EVENT, TYPES, AnyEvent, EntitySet, FaultStart, WorldCreate
from streams.records import Event
from streams.schemas import load_codec

FAULTS_SHOWN = 3
"""[1] Of the faults of one event that its error names: enough to see what is wrong."""

LIVE_TYPES = ("collect.now", "import")
"""Events that the live world takes; no other world takes them."""


class InvalidEventError(InvalidMessageError):
    """An event that is not as its type says; `faults` are pairs of a field, and what is wrong with it."""

    def __init__(self, reason: str, faults: list[tuple[str, str]]) -> None:
        shown = "; ".join(f"{field}: {text}" for field, text in faults[:FAULTS_SHOWN])
        more = len(faults) - FAULTS_SHOWN
        super().__init__(reason, shown + (f"; and {more} more" if more > 0 else ""))
        self.faults = faults


def parse_event(document: Any, catalogue: Catalogue) -> AnyEvent:
    """The event that a JSON document is.

    Raises:
        InvalidEventError: naming the fields that are wrong, with their values.
    """
    try:
        event = EVENT.validate_python(document)
    except ValidationError as error:
        raise InvalidEventError("event", [_fault(fault) for fault in error.errors()]) from None
    _check_world(event)
    _check_metrics(event, catalogue)
    return event


def read_event(value: bytes | None, catalogue: Catalogue) -> AnyEvent:
    """The event in a record of the topic.

    Raises:
        InvalidMessageError: no event record, or one that is not as its type says.
    """
    record: Event = load_codec("event").decode(value)
    try:
        body = json.loads(record["body"] or "{}")
    except (ValueError, RecursionError) as error:
        raise InvalidEventError("event", [("body", f"not JSON: {str(error)[:200]}")]) from None
    if not record["id"]:
        raise InvalidEventError("event", [("id", "is empty: each event has an id of its own")])
    return parse_event({**record, "body": body}, catalogue)


def event_record(event: AnyEvent) -> Event:
    """The record of an event for the topic."""
    record = envelope_of(event)
    record["body"] = event.body.model_dump_json(exclude_defaults=True)
    return record


def envelope_of(event: AnyEvent) -> Event:
    """The record of an event with an empty body, for who has that already."""
    return Event(
        id=event.id, type=event.type, world=event.world, at_ms=event.at_ms, sender=event.sender, body=""
    )


def event_schema() -> dict[str, Any]:
    """JSON Schema (draft 2020-12) of an event."""
    return EVENT.json_schema()


def check_resolved(event: AnyEvent) -> None:
    """Raise InvalidEventError where `twin web` has to fill in what only a replica knows."""
    if isinstance(event, FaultStart):
        if not event.body.selector.is_resolved:
            text = "unresolved: it needs ids, and no labels; POST /twin/v1/events resolves it"
            raise InvalidEventError("unresolved", [("body.selector", text)])
        touched, limit = len(set(event.body.selector.ids)), event.body.max_entities
        if touched > limit:
            raise InvalidEventError(
                "too_many_entities", [("body.max_entities", f"{touched} entities are more than {limit}")]
            )
    is_copy = isinstance(event, WorldCreate) and event.body.base == "live" and not is_overlay(event.world)
    if isinstance(event, WorldCreate) and is_copy and event.body.clock_ms is None:
        text = "unresolved: with base live it needs clock_ms, and entity.set events after it;"
        raise InvalidEventError("unresolved", [("body.base", f"{text} POST /twin/v1/events makes them")])
    if event.type == "world.load":
        raise InvalidEventError("unresolved", [("type", "world.load is resolved by POST /twin/v1/events")])


def _check_world(event: AnyEvent) -> None:
    if (event.world == "live") != (event.type in LIVE_TYPES):
        text = (
            f"no {event.type} touches live; a scenario has a world of its own (NAME, or live~NAME over live)"
            if event.world == "live"
            else f"{event.type} is for world live, not {event.world!r}"
        )
        raise InvalidEventError("world", [("world", text)])
    if event.type in ("world.advance", "world.load") and is_overlay(event.world):
        raise InvalidEventError(
            "world", [("world", f"{event.world}: the time of an overlay is that of live")]
        )


def _check_metrics(event: AnyEvent, catalogue: Catalogue) -> None:
    faults: list[tuple[str, str]] = []
    if isinstance(event, EntitySet):
        for place, entity in enumerate(event.body.entities):
            for name, value in entity.metrics.items():
                _check_metric(f"body.entities.{place}.metrics.{name}", name, value, catalogue, faults)
    elif isinstance(event, FaultStart):
        for place, name in enumerate(getattr(event.body, "metrics", ())):
            _check_metric(f"body.metrics.{place}", name, None, catalogue, faults)
    if faults:
        raise InvalidEventError("metric", faults)


def _check_metric(
    field: str, name: str, value: float | None, catalogue: Catalogue, faults: list[tuple[str, str]]
) -> None:
    metric = catalogue.get(name)
    if metric is None:
        near = near_names(name, catalogue)
        hint = f"; did you mean {', '.join(near)}?" if near else ""
        faults.append((field, f"{name!r} is not in the catalogue{hint}"))
    elif value is not None and not (
        (metric.minimum is None or value >= metric.minimum)
        and (metric.maximum is None or value <= metric.maximum)
    ):
        faults.append((field, f"{value} {metric.unit} is not {_range(metric)}"))


def _range(metric: Metric) -> str:
    if metric.minimum is not None and metric.maximum is not None:
        return f"within {metric.minimum:g} to {metric.maximum:g}"
    return f"at least {metric.minimum:g}" if metric.maximum is None else f"at most {metric.maximum:g}"


def _fault(fault: ErrorDetails) -> tuple[str, str]:
    place = [str(part) for part in fault["loc"]]
    # The first part is the event's type, and after `body` the fault's kind: names of the union's branches.
    place = [part for part in place if part not in _BRANCHES]
    value = fault["input"]
    text = fault["msg"].removeprefix("Value error, ")
    if fault["type"].startswith("union_tag"):
        return _untagged(place, fault)
    if fault["type"] == "extra_forbidden":
        text = "there is no such field"
    elif fault["type"] == "missing":
        return ".".join(place), "is missing"
    elif fault["type"] in _NO_OBJECT:
        text = f"{json.dumps(value, default=str)[:100]} is not an object"
    elif fault["type"] == "string_pattern_mismatch" and place == ["world"]:
        name = "NAME or live~NAME, in lower-case letters, digits, . _ -; at most 63"
        text = f"{value[:100]!r} is not a name: {name}"
    elif not isinstance(value, Mapping | list):
        text = f"{str(value)[:100]!r}: {text}"
    return ".".join(place) or "event", text


def _untagged(place: list[str], fault: ErrorDetails) -> tuple[str, str]:
    """What is wrong with the field that tells the branches of a union apart."""
    context = fault["ctx"]
    field = str(context["discriminator"]).strip("'")
    names = str(context.get("expected_tags") or ", ".join(map(repr, TYPES if not place else FAULT_KINDS)))
    text = f"{str(context['tag'])[:100]!r} is not one of" if "tag" in context else "is missing: one of"
    return ".".join([*place, field]), f"{text} {names}"


_NO_OBJECT = ("model_type", "dict_type", "model_attributes_type")

_BRANCHES = frozenset(TYPES + FAULT_KINDS)
