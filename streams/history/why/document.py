"""An explanation as JSON, and as lines to read."""

import json
from typing import Any

from streams.domain.why.faults import Step
from streams.domain.why.rule import Mapped
from streams.domain.why.text import date, moment, number, say_mapped, say_step
from streams.history.why.answer import Why
from streams.history.why.log import Source
from streams.topics import Topics


def document_of(why: Why, topics: Topics) -> dict[str, Any]:
    """The JSON form; `text` are its lines for people."""
    subject = why.subject
    samples = why.samples
    origins = [None] * (len(samples) - len(why.origins)) + why.origins
    return {
        "world": subject.world,
        "kind": subject.kind,
        "id": subject.id,
        "metric": subject.metric,
        "unit": why.unit,
        "value": why.value,
        "at_ms": why.at_ms,
        "tick_ms": why.tick_ms,
        "observed_at_ms": why.observed_ms,
        "quality": why.quality,
        "complete": why.complete,
        "simulated": why.simulated,
        "found": why.found,
        "rule": why.rule,
        "samples": [
            {
                "source": sample.source,
                "target": sample.origin.target,
                "value": sample.value,
                "time_ms": sample.time_ms,
                "simulated": sample.origin.simulated,
                "observation": {
                    "topic": topics["observation"],
                    "partition": sample.origin.partition,
                    "offset": sample.origin.offset,
                },
                "origin": _origin(origin, topics),
            }
            for sample, origin in zip(samples, origins, strict=True)
        ],
        "sources": [{"source": name, "used": used, "text": text} for name, used, text in why.sources],
        "changes": [_change(step, why.unit) for step in why.steps],
        "missing": why.missing,
        "text": lines_of(why, topics),
    }


def lines_of(why: Why, topics: Topics) -> list[str]:
    """What a person reads: the value, how it came about, and where to look it up."""
    lines = [_headline(why)]
    if why.rule:
        lines.append(why.rule[0].upper() + why.rule[1:] + ".")
    lines += [f"Source {name} {text}." for name, _, text in why.sources]
    for step in why.steps:
        text = say_step(step, why.unit)
        lines.append(text[0].upper() + text[1:] + ".")
    lines += _raw(why)
    lines += [f"Missing: {text}." for text in why.missing]
    lines += _places(why, topics)
    return lines


def _headline(why: Why) -> str:
    subject = why.subject
    world = f" in world {subject.world}" if subject.world != "live" else ""
    head = f"{subject.kind} {subject.id}{world}: {subject.metric}"
    head += " has no value" if why.value is None else f" = {number(why.value, why.unit)}"
    if why.tick_ms is not None:
        head += f" at the tick {date(why.tick_ms)}"
    elif why.at_ms is not None:
        head += f" at {date(why.at_ms)}"
    elif why.observed_ms is not None:
        head += f", observed at {date(why.observed_ms)}"
    if why.quality is not None and why.value is not None:
        head += f", {why.quality}"
    if why.complete is False:
        head += "; the tick closed before all had come"
    if why.found in ("record", "history") and why.tick_ms is not None:
        head += f" (says {'the record' if why.found == 'record' else 'history'})"
    return head + (", simulated" if why.simulated and subject.world == "live" else "")


def _raw(why: Why) -> list[str]:
    """The rule and the series of the newest sample, and the series' values in those before."""
    newest = why.origins[-1] if why.origins else None
    if newest is None or why.found != "log":
        return []
    if newest.event is not None and newest.mapped is None and not newest.gone:
        event = newest.event
        sender = f", sent by {event['sender']}" if event["sender"] else ""
        return [
            f"It was set by event {event['id']} ({event['type']}{sender}) at {date(newest.sent_ms or 0)}."
        ]
    if newest.mapped is None:
        return []
    target = f", target {newest.target}" if newest.target else ""
    lines = [f"Scraped as source {newest.source}{target}:"]
    if newest.event is not None:
        lines = [f"Imported by event {newest.event['id']} as source {newest.source}:"]
    lines += [f"  {line}" for line in say_mapped(newest.mapped)]
    for origin, sample in zip(reversed(why.origins[:-1]), reversed(why.samples[:-1]), strict=False):
        if origin is not None and origin.mapped is not None:
            values = ", ".join(f"{one.value!r}" for one in origin.mapped.series[:4])
            more = ", …" if len(origin.mapped.series) > 4 else ""
            lines.append(f"    at {moment(sample.time_ms)} {values}{more}")
    return lines


def _places(why: Why, topics: Topics) -> list[str]:
    lines = []
    origins = [None] * (len(why.samples) - len(why.origins)) + why.origins
    for sample, origin in zip(why.samples, origins, strict=True):
        observed = f"{topics['observation']}/{sample.origin.partition}@{sample.origin.offset}"
        made = f", made from {topics[origin.record]}/{origin.partition}@{origin.offset}" if origin else ""
        lines.append(f"Sample of {moment(sample.time_ms)}: {observed}{made}")
    return lines


def _origin(origin: Source | None, topics: Topics) -> dict[str, Any] | None:
    if origin is None:
        return None
    event = origin.event
    return {
        "topic": topics[origin.record],
        "partition": origin.partition,
        "offset": origin.offset,
        "sent_ms": origin.sent_ms,
        "event": None
        if event is None
        else {
            "id": event["id"],
            "type": event["type"],
            "sender": event["sender"],
            "body": _set_body(event["body"]) if event["type"] != "import" else None,
        },
        "mapping": _mapping(origin.mapped),
        "missing": origin.gone,
    }


def _set_body(body: str) -> dict[str, Any] | None:
    """What an event says besides its entities, which can be many."""
    try:
        document = json.loads(body)
    except ValueError:
        return None
    return {name: value for name, value in document.items() if name != "entities"}


def _mapping(mapped: Mapped | None) -> dict[str, Any] | None:
    if mapped is None:
        return None
    return {
        "pack": mapped.pack,
        "rule": mapped.place,
        "formula": mapped.formula,
        "series": [
            {
                "series": one.text,
                "value": one.value,
                "time_ms": one.time_ms,
                "input": one.input,
                "aggregate": one.aggregate,
            }
            for one in mapped.series
        ],
        "raw": mapped.raw,
        "from_unit": mapped.from_unit,
        "to_unit": mapped.to_unit,
        "scale": mapped.scale,
        "offset": mapped.offset,
        "value": mapped.value,
    }


def _change(step: Step, unit: str) -> dict[str, Any]:
    return {
        "fault": step.fault,
        "kind": step.kind,
        "owner": step.owner,
        "before": step.before,
        "after": step.after,
        "text": say_step(step, unit),
    }
