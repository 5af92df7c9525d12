"""Short ways to write observations, failures and clock messages, and to read what the twin made of them."""

from collections.abc import Iterable, Mapping
from typing import Any

from streams.domain.keys import entity_key
from streams.records import Observation, State, Tick

GAUGE, STATE, COUNTER = 0, 1, 2

FORMS = {"load1": GAUGE, "watts": GAUGE, "up": GAUGE, "phase": STATE, "cpu": COUNTER, "rx": COUNTER}
"""Form of each metric that the tests use, unless a sample says another."""
CEILINGS = {"cpu": 100.0}
"""The one metric with a catalogue maximum; `rx` has none."""

Reading = tuple[str, float, int]
"""Metric, value, time [ms]."""
Entity = tuple[str, str]
"""Kind and id."""


def clock(at_ms: int) -> Observation:
    """A tick of the clock."""
    return _message("clock", at_ms)


def failure(at_ms: int, source: str, origin: tuple[int, int], **fields: Any) -> Observation:
    """A failed scrape of the source's target; the origin is a partition and an offset of `scrape`."""
    return _message("failure", at_ms, source=source, origin=origin, reason="timeout", **fields)


def values(
    at_ms: int,
    source: str,
    origin: tuple[int, int],
    readings: Mapping[Entity, Iterable[Reading]],
    *,
    attributes: Mapping[Entity, Mapping[str, str]] | None = None,
    forms: Mapping[str, int] | None = None,
    **fields: Any,
) -> Observation:
    """An observation of the given readings of some entities."""
    message = _message("values", at_ms, source=source, origin=origin, **fields)
    for entity, rows in readings.items():
        size = 0
        for metric, value, time_ms in rows:
            if metric not in message["names"]:
                message["names"].append(metric)
                message["forms"].append({**FORMS, **(forms or {})}[metric])
            message["metrics"].append(message["names"].index(metric))
            message["values"].append(value)
            message["times_ms"].append(time_ms)
            size += 1
        message["kinds"].append(entity[0])
        message["ids"].append(entity[1])
        message["sizes"].append(size)
        message["attributes"].append(dict((attributes or {}).get(entity, {})))
    return message


def _message(
    type: str,
    at_ms: int,
    *,
    source: str = "",
    origin: tuple[int, int] = (-1, -1),
    scraped_at_ms: int | None = None,
    interval_ms: int = 0,
    priority: int = 100,
    target: str = "a target",
    reason: str = "",
) -> Observation:
    return {
        "type": type,
        "at_ms": at_ms,
        "world": "live",
        "source": source,
        "priority": priority,
        "target": "" if type == "clock" else target,
        "interval_ms": interval_ms,
        "scraped_at_ms": at_ms if scraped_at_ms is None else scraped_at_ms,
        "simulated": False,
        "origin_topic": "" if type == "clock" else "scrape",
        "origin_partition": origin[0],
        "origin_offset": origin[1],
        "reason": reason,
        "kinds": [],
        "ids": [],
        "sizes": [],
        "attributes": [],
        "names": [],
        "forms": [],
        "metrics": [],
        "values": [],
        "times_ms": [],
        "event_id": "",
        "body": "",
        "lane": -1,
    }


def read_state(state: State) -> dict[str, Any]:
    """The fields of a record that the rules determine, in the shape in which the model gives them."""
    names = state["source_names"]
    heads = [
        (metric, names[source])
        for metric, source in zip(state["head_names"], state["head_sources"], strict=True)
    ]
    return {
        "status": state["status"],
        "status_since_ms": state["status_since_ms"],
        "status_reason": state["status_reason"],
        "version": state["version"],
        "seen_ms": state["seen_ms"],
        "next_tick_ms": state["next_tick_ms"],
        "tick_ms": state["tick_ms"],
        "complete": state["complete"],
        "aligned": dict(
            zip(
                state["aligned_names"],
                zip(state["aligned_values"], state["aligned_qualities"], strict=True),
                strict=True,
            )
        ),
        "heads": {
            head: (value, time_ms, rate if rate == rate else None)
            for head, value, time_ms, rate in zip(
                heads, state["head_values"], state["head_times_ms"], state["head_rates"], strict=True
            )
        },
        "open": {
            (tick_ms, *heads[head]): (value, quality)
            for tick_ms, head, value, quality in zip(
                state["open_ticks_ms"],
                state["open_heads"],
                state["open_values"],
                state["open_qualities"],
                strict=True,
            )
        },
        "sources": {
            name: (priority, interval_ms, target.partition(" ")[2], good_ms, failures)
            for name, priority, interval_ms, target, good_ms, failures in zip(
                names,
                state["source_priorities"],
                state["source_intervals_ms"],
                state["targets"],
                state["source_good_ms"],
                state["source_failures"],
                strict=True,
            )
        },
        "counts": read_counts(state),
        "origins": dict(zip(state["origins"], state["origin_offsets"], strict=True)),
        "attributes": state["attributes"],
        "features": state["features"],
    }


def read_counts(state: State) -> dict[str, tuple[int, ...]]:
    """By source: applied, duplicate, late, conflict, rejected."""
    counts = state["source_counts"]
    return {name: tuple(counts[5 * i : 5 * i + 5]) for i, name in enumerate(state["source_names"])}


def read_rows(tick: Tick) -> list[tuple[tuple[str, int], tuple[bool, dict[str, tuple[float, int]]]]]:
    """The closed ticks of a record: key and tick, with complete, and value and quality by metric."""
    rows = []
    first = 0
    for kind, id, tick_ms, complete, size in zip(
        tick["kinds"], tick["ids"], tick["ticks_ms"], tick["complete"], tick["sizes"], strict=True
    ):
        found = {
            tick["names"][metric]: (value, quality)
            for metric, value, quality in zip(
                tick["metrics"][first : first + size],
                tick["values"][first : first + size],
                tick["qualities"][first : first + size],
                strict=True,
            )
        }
        first += size
        rows.append(((entity_key(tick["world"], kind, id), tick_ms), (complete, found)))
    return rows


def read_changes(tick: Tick) -> list[tuple[str, int, str, str, str, bool]]:
    """The changes of a record: key, at_ms, status, reason, attributes as JSON, removed."""
    return [
        (entity_key(tick["world"], kind, id), *change)
        for kind, id, *change in zip(
            tick["change_kinds"],
            tick["change_ids"],
            tick["change_at_ms"],
            tick["change_statuses"],
            tick["change_reasons"],
            tick["change_attributes"],
            tick["change_removed"],
            strict=True,
        )
    ]
