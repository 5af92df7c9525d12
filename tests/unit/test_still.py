"""Worlds whose entities are looked at only when they change, against those whose ticks are all closed."""

from random import Random
from typing import Any

import pytest

from streams.domain.catalogue import COUNTER, GAUGE, STATE
from streams.domain.commands import observations_of
from streams.domain.entity import NEVER
from streams.domain.keys import entity_key
from streams.domain.twin import Partition
from streams.errors import InvalidMessageError
from streams.records import Event, Observation, State

STEP_MS = 1_000
START_MS = 1_735_689_600_000
FORMS = {"cpu": GAUGE, "mem": GAUGE, "rx": COUNTER, "up": STATE, "new": GAUGE}
NODES = [f"n{number}" for number in range(4)]


class World:
    def __init__(self, *, lazily: bool) -> None:
        self.states: dict[str, State] = {}
        self.part = Partition(0, STEP_MS, NEVER, {}, lazily=lazily)
        self.offset = 0
        body = {"owner": "t", "reason": "", "base": "nothing", "ttl_s": 3600.0, "max_entities": 100}
        body |= {"clock_ms": START_MS, "step_ms": STEP_MS, "at_ms": 0}
        self.do("world.create", body)

    def do(self, type: str, body: dict[str, Any]) -> str:
        event = Event(id=f"e{self.offset}", type=type, world="w", at_ms=1, sender="", body="")
        ((_, message),) = observations_of(
            event, body, partitions=1, forms=FORMS, partition=0, offset=self.offset
        )
        return self.take(message)

    def take(self, message: Observation) -> str:
        """Apply a message; returns why it was refused, if it was."""
        self.offset += 1
        try:
            self.part.apply(self.offset, message, self.states)
        except InvalidMessageError as error:
            return error.reason
        return ""

    def node(self, id: str) -> State:
        return self.states[entity_key("w", "node", id)]


def setting(
    ids: list[str], metrics: dict[str, float], at_ms: int = 0, **fields: Any
) -> tuple[str, dict[str, Any]]:
    attributes = fields.pop("attributes", {})
    entities = [{"kind": "node", "id": id, "attributes": attributes, "metrics": metrics} for id in ids]
    body = {"entities": entities, "at_ms": at_ms, "interval_ms": 0, "source": "scenario", **fields}
    return "entity.set", body


def advance(to_ms: int) -> tuple[str, dict[str, Any]]:
    return "world.advance", {"to_ms": to_ms, "by_ms": None}


def random_events(random: Random, count: int) -> list[tuple[str, dict[str, Any]]]:
    clock_ms, faults = START_MS, 0
    events = [setting(NODES, {"cpu": 1.0, "mem": 2.0, "rx": 3.0}, START_MS)]
    for _ in range(count):
        choice = random.random()
        ids = random.sample(NODES, random.randint(1, 3))
        if choice < 0.35:
            clock_ms += random.choice((STEP_MS, STEP_MS, 2 * STEP_MS, 400, 1_700))
            events.append(advance(clock_ms))
        elif choice < 0.42:
            faults += 1
            kind, fields = random.choice(
                (("node_down", {}), ("metric_fixed", {"metrics": ["cpu"], "value": 9.0}))
            )
            selector = {"kind": "node", "ids": ids, "labels": {}}
            body = {"fault": f"f{faults}", "kind": kind, "selector": selector, "owner": "", "start_ms": None}
            body |= {"end_ms": None, "duration_ms": random.choice((1_500, 4_000)), "max_entities": 100}
            body |= fields
            events.append(("fault.start", body))
        else:
            next_ms = clock_ms - clock_ms % STEP_MS + STEP_MS
            at_ms = random.choice(
                (next_ms, next_ms, next_ms, clock_ms + 1, 0, clock_ms - 700, next_ms + 1_000)
            )
            names = random.sample(["cpu", "mem", "rx"], random.randint(0, 3))
            fields = {}
            if random.random() < 0.1:
                names.append("new")
            if random.random() < 0.15:
                fields = random.choice(({"attributes": {"a": str(random.random())}}, {"source": "other"}))
            events.append(setting(ids, {name: random.random() for name in names}, at_ms, **fields))
    settled_ms = (clock_ms // STEP_MS + 20) * STEP_MS
    last = setting(NODES, {"cpu": 5.0, "mem": 6.0}, settled_ms + STEP_MS)
    return [*events, advance(settled_ms), last, advance(settled_ms + 2 * STEP_MS)]


@pytest.mark.parametrize("seed", range(150))
def test_records_are_those_that_looking_at_every_tick_gives(seed: int) -> None:
    events = random_events(Random(seed), 40)
    lazy, eager = World(lazily=True), World(lazily=False)

    refused = [(lazy.do(*event), eager.do(*event)) for event in events]

    assert all(a == b for a, b in refused)
    for id in NODES:
        assert lazy.node(id) == eager.node(id)


def test_a_value_that_is_not_finite_is_rejected_as_ever() -> None:
    worlds = World(lazily=True), World(lazily=False)
    events = (
        setting(NODES, {"cpu": 1.0}, START_MS),
        advance(START_MS + STEP_MS),
        setting(NODES, {"cpu": float("nan")}, START_MS + 2 * STEP_MS),
        advance(START_MS + 2 * STEP_MS),
    )

    for world in worlds:
        assert [world.do(*event) for event in events] == [""] * 4

    assert worlds[0].node("n0") == worlds[1].node("n0")
    assert worlds[0].node("n0")["source_counts"] == [1, 0, 0, 0, 1]
