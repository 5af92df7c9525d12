"""A slow, obviously right model of the isolated worlds of one partition, written from docs/worlds.md alone.

It takes the messages that harmonize makes of events, and shares no code with `streams.domain`.
"""

import json
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from streams.records import Observation
from tests.reference.faulted import Limits
from tests.reference.isolated import RefusedError, World
from tests.reference.model import Values


@dataclass
class ReferenceWorlds:
    """All isolated worlds of a partition after the messages that `handle` was given."""

    step_ms: int
    ceilings: dict[str, float]
    limits: Limits
    worlds: dict[str, World] = field(default_factory=dict)
    refused: dict[int, str] = field(default_factory=dict)
    """By offset, why a message is a dead letter."""
    published: dict[tuple[str, int], tuple[bool, Values]] = field(default_factory=dict)
    """By key and tick: complete, and value and quality by metric."""
    changed: list[tuple[Any, ...]] = field(default_factory=list)
    """Key, at_ms, status, reason, attributes, removed."""
    met: Counter[str] = field(default_factory=Counter)

    def handle(self, offset: int, message: Observation) -> None:
        """Takes the next message of the log."""
        if message["type"] == "clock":
            for world in list(self.worlds.values()):
                if message["at_ms"] > world.created_ms + world.ttl_s * 1000:
                    self.met["world ended by time"] += 1
                    self.drop(world, message["at_ms"])
            return
        try:
            self.do(message)
        except RefusedError as error:
            self.refused[offset] = str(error)
            self.met[f"refused: {error}"] += 1

    def do(self, message: Observation) -> None:
        """One event."""
        body = json.loads(message["body"]) if message["type"] == "event" else {"type": "entity.set"}
        world = self.worlds.get(message["world"])
        if body["type"] == "world.create":
            self.create(message, body, world)
            return
        if world is None:
            raise RefusedError("unknown world")
        if world.came_before(message):
            self.met["came before"] += 1
            return
        world.ids.add(message["event_id"])
        if body["type"] == "world.drop":
            self.drop(world, world.clock_ms)
            return
        world.do(message, body)

    def create(self, message: Observation, body: dict[str, Any], world: World | None) -> None:
        """`world.create`."""
        if world is not None:
            if world.came_before(message):
                self.met["came before"] += 1
                return
            world.ids.add(message["event_id"])
            raise RefusedError("a name that is taken")
        step_ms = body["step_ms"] or self.step_ms
        clock_ms = body["clock_ms"]
        if clock_ms is None:
            clock_ms = message["at_ms"] // step_ms * step_ms
        world = World(self, step_ms, clock_ms, message["at_ms"], body["ttl_s"], body["max_entities"])
        world.created_by = message["origin_offset"]
        self.worlds[message["world"]] = world
        world.ids.add(message["event_id"])

    def drop(self, world: World, at_ms: int) -> None:
        """The world ends, each entity with a removal."""
        for key in sorted(world.entities):
            world.remove(key, at_ms)
        self.worlds = {name: one for name, one in self.worlds.items() if one is not world}

    def states(self) -> dict[str, dict[str, Any]]:
        """By key, those fields of an entity's record that the rules determine."""
        return {key: world.record(key) for world in self.worlds.values() for key in world.entities}
