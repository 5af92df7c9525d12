"""How a scenario world begins: what it is by its name and base, and its first record (docs/worlds.md)."""

from collections.abc import Mapping
from typing import Any

from streams.domain.commands import is_overlay
from streams.domain.entity import new_entity
from streams.domain.isolated import Isolated
from streams.domain.keys import entity_key, split_key
from streams.domain.observation import origin_of
from streams.domain.overlay import Overlay
from streams.domain.replay import BASE, Replay
from streams.domain.world import SHARD, WORLD, Rules, note_origin
from streams.records import Observation, State

AnyWorld = Isolated | Overlay | Replay
"""A scenario world in one partition."""


def new_world(name: str, rules: Rules, *, home: bool, base: str = "") -> AnyWorld:
    """A world of which nothing is known yet.

    Args:
        home: whether this partition answers for it; else it keeps the part of an overlay that is here.
        base: what it begins from, as its record says.
    """
    if is_overlay(name):
        kind = WORLD if home else SHARD
        id = name if home else str(rules.number)
        return Overlay(name, rules, entity_key(name, kind, id), home=home)
    return (Replay if base == BASE else Isolated)(name, rules, entity_key(name, WORLD, name))


def new_record(world: AnyWorld, message: Observation, body: Mapping[str, Any]) -> State:
    """The record of a world that a `world.create` makes.

    Args:
        message: the observation of the event.
        body: of the event.
    """
    _, kind, id = split_key(world.record_key)
    record = new_entity(world.name, kind, id)
    is_over_live = isinstance(world, Overlay)
    record["attributes"] = {
        "owner": body["owner"],
        "reason": body["reason"],
        "base": "live" if is_over_live else body["base"],
        "created_ms": str(message["at_ms"]),
        "made_by": f"{origin_of(message)}/{message['origin_offset']}",
        "ttl_s": str(body["ttl_s"]),
        "max_entities": str(body["max_entities"]),
    }
    record["seen_ms"] = message["at_ms"]
    if not is_over_live:
        step_ms = body["step_ms"] or world.rules.step_ms
        clock_ms = body["clock_ms"]
        if clock_ms is None:
            clock_ms = body["at_ms"] - body["at_ms"] % step_ms
        record["attributes"] |= {"step_ms": str(step_ms), "clock_ms": str(clock_ms)}
        record["seen_ms"] = clock_ms
    if isinstance(world, Replay):
        record["attributes"]["partitions"] = str(body["partitions"])
    record["status"], record["status_since_ms"] = "up", record["seen_ms"]
    record["simulated"] = True
    note_origin(record, message)
    return record
