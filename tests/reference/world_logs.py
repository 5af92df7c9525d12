"""Hypothesis strategies for logs of isolated worlds: operations, from which `log_of` writes messages."""

from dataclasses import dataclass
from typing import Any

from hypothesis import strategies as st

from streams.domain.commands import observations_of
from streams.domain.entity import COUNTER, GAUGE, STATE
from streams.events import event_record, parse_event
from streams.records import Observation
from streams.rulebook import load_rulebook
from tests.reference.messages import clock
from tests.reference.scenario_log import FAULTS, START_MS, Document

CATALOGUE = load_rulebook().catalogue
FORMS = {
    name: {"gauge": GAUGE, "state": STATE, "counter": COUNTER}[one.kind] for name, one in CATALOGUE.items()
}
LIMITS = {
    name: (
        float("-inf") if one.minimum is None else one.minimum,
        float("inf") if one.maximum is None else one.maximum,
    )
    for name, one in CATALOGUE.items()
}
ENTITIES = (("node", "a"), ("node", "bä"), ("link", "p~q"))
METRICS = {
    "cpu_usage_percent": (30.0, 55.5, 99.0, 0.1),
    "power_watts": (100.0, 250.25, 0.3, 7.0),
    "load1": (0.0, 2.0, 0.7, 4.0),
    "up": (1.0, 1.0, 1.0, 0.0),
    "number_of_cores": (8.0, 16.0, 32.0, 1.0),
    "network_receive_bytes_per_s": (1e5, 3e5, 0.0, 2.5e5),
    "network_delay_ms": (4.5, 9.0, 1.25, 30.0),
}
"""Values of each metric that logs use."""
WALL_MS = 1_750_000_000_000
"""[ms] When the first event is made."""

Operation = tuple[Any, ...]


@dataclass(frozen=True)
class Plan:
    """A scenario of one or two worlds."""

    step_ms: int
    operations: tuple[Operation, ...]


def few(*items: object) -> st.SearchStrategy:
    """One of the items; shrinks to the first."""
    return st.sampled_from(items)


worlds = few("w1", "w1", "w1", "w1", "w1", "w2")
ids = st.lists(st.sampled_from(ENTITIES), min_size=1, max_size=3, unique=True).map(tuple)
offsets = few(None, None, 0, 1_000, -1_000, 2_500, -6_000, 12_000, -40_000, 70_000)
creations = st.tuples(
    st.just("create"), worlds, few(None, 5_000, 1_000), few(0, 1_300, -400), few(20, 2), few(86_400.0, 30.0)
)
sets = st.tuples(
    st.just("set"),
    worlds,
    ids,
    st.lists(st.tuples(few(*METRICS), st.integers(0, 3)), max_size=4, unique_by=lambda one: one[0]).map(
        tuple
    ),
    few(None, None, None, "1", "2", ""),
    offsets,
    few(0, 0, 5_000, 5_000, 1_000, 7_000, 30_000),
    few("scenario", "meter", "ping"),
)
removals = st.tuples(st.just("remove"), worlds, ids)
faults = st.tuples(
    st.just("fault"),
    worlds,
    few("f1", "f2", "f3", "f4", "f5"),
    few(*FAULTS),
    ids,
    offsets,
    few("none", "end", "duration", "duration", "duration"),
    few(5_000, 12_000, 20_000, 3_100, 40_000),
)
stops = st.tuples(st.just("stop"), worlds, few("f1", "f2", "f3", "f4", "f5"))
advances = st.tuples(
    st.just("advance"), worlds, few(5_000, 5_000, 5_000, 10_000, 2_500, 15_000, 1_000, 7_300, 60_000, 0)
)
drops = st.tuples(st.just("drop"), worlds)
clocks = st.tuples(st.just("clock"), few(1_000, 10_000, 90_000))
repeats = st.tuples(few("repeat", "resend"), st.integers(1, 12))

MIX = (
    *("advance",) * 9,
    *("set",) * 9,
    *("fault",) * 7,
    *("stop", "repeat", "clock", "remove"),
)
"""How often each operation is drawn; what ends a world is rarer still."""

OPERATIONS = {
    "advance": advances,
    "set": sets,
    "fault": faults,
    "stop": stops,
    "repeat": repeats,
    "clock": clocks,
    "remove": removals,
    "create": creations,
    "drop": drops,
}
operations = few(*MIX, *MIX, "create", "drop").flatmap(OPERATIONS.__getitem__)
plans = st.builds(
    Plan,
    few(5_000, 1_000),
    st.lists(operations, min_size=15, max_size=60).map(tuple),
)


class Writer:
    """Writes the documents of a plan, and the messages that harmonize makes of them."""

    def __init__(self, plan: Plan) -> None:
        self.wall_ms = WALL_MS
        self.step_ms = plan.step_ms
        self.clock_ms = {"w1": START_MS, "w2": START_MS}
        self.documents: list[Document] = []
        self.log: list[Observation] = []
        self.add("w2", "world.create", owner="t", clock_ms=START_MS, ttl_s=50.0, max_entities=2)
        self.add("w1", "world.create", owner="t", clock_ms=START_MS)
        self.do_set("w1", ENTITIES, (("power_watts", 1), ("up", 0)), None, None, 0, "scenario")
        for operation in plan.operations:
            getattr(self, f"do_{operation[0]}")(*operation[1:])

    def add(self, world: str, type: str, **body: Any) -> None:
        """The next event, and its messages."""
        self.wall_ms += 250
        self.send(
            {
                "id": f"e{len(self.documents)}",
                "type": type,
                "world": world,
                "at_ms": self.wall_ms,
                "sender": "t",
                "body": body,
            }
        )

    def send(self, document: Document) -> None:
        """An event goes to Kafka, and through harmonize."""
        self.documents.append(document)
        self.log += messages_of(document, len(self.documents) - 1)

    def do_create(self, world: str, step_ms: int | None, late_ms: int, most: int, ttl_s: float) -> None:
        clock_ms = self.clock_ms[world] + late_ms
        self.add(
            world,
            "world.create",
            owner="t",
            step_ms=step_ms,
            clock_ms=clock_ms,
            max_entities=most,
            ttl_s=ttl_s,
        )

    def do_set(
        self,
        world: str,
        entities: tuple[tuple[str, str], ...],
        metrics: tuple[tuple[str, int], ...],
        pool: str | None,
        offset: int | None,
        interval_ms: int,
        source: str,
    ) -> None:
        things = [
            {
                "kind": kind,
                "id": id,
                "attributes": {} if pool is None else {"nodepool": pool},
                "metrics": {name: METRICS[name][(place + number) % 4] for name, place in metrics},
            }
            for number, (kind, id) in enumerate(entities)
        ]
        at_ms = None if offset is None else self.clock_ms[world] + offset
        self.add(world, "entity.set", entities=things, at_ms=at_ms, interval_ms=interval_ms, source=source)

    def do_remove(self, world: str, entities: tuple[tuple[str, str], ...]) -> None:
        self.add(world, "entity.remove", entities=[{"kind": kind, "id": id} for kind, id in entities[:1]])

    def do_fault(
        self,
        world: str,
        fault: str,
        what: Document,
        entities: tuple[tuple[str, str], ...],
        offset: int | None,
        ending: str,
        lasts_ms: int,
    ) -> None:
        now_ms = self.clock_ms[world]
        self.add(world, "fault.start", **fault_body(what, fault, entities, now_ms, offset, ending, lasts_ms))

    def do_stop(self, world: str, fault: str) -> None:
        self.add(world, "fault.stop", fault=fault)

    def do_advance(self, world: str, by_ms: int) -> None:
        # What does not go forward is written as a time; elsewhere the world itself adds up.
        self.clock_ms[world] += by_ms
        if by_ms % 5_000 == 0:
            self.add(world, "world.advance", to_ms=self.clock_ms[world])
        else:
            self.add(world, "world.advance", by_ms=by_ms)

    def do_drop(self, world: str) -> None:
        self.add(world, "world.drop")

    def do_clock(self, by_ms: int) -> None:
        self.wall_ms += by_ms
        self.log.append(clock(self.wall_ms))

    def do_repeat(self, back: int) -> None:
        self.send(self.documents[-min(back, len(self.documents))])

    def do_resend(self, back: int) -> None:
        """Harmonize sends the last so many messages again."""
        self.log += [message for message in self.log[-back:] if message["type"] != "clock"]


def messages_of(document: Document, offset: int, partitions: int = 1) -> list[Observation]:
    """What harmonize makes of an event, at its offset of the topic `event`; of one partition."""
    event = parse_event(document, CATALOGUE)
    made = observations_of(
        event_record(event),
        event.body.model_dump(),
        partitions=partitions,
        forms=FORMS,
        partition=0,
        offset=offset,
    )
    return [message for _, message in made]


def log_of(plan: Plan) -> list[Observation]:
    """The messages of a plan; a message's place is its offset."""
    return Writer(plan).log


def log_of_documents(documents: list[Document]) -> list[Observation]:
    """The messages of a list of events."""
    return [message for offset, one in enumerate(documents) for message in messages_of(one, offset)]


def fault_body(
    what: Document,
    fault: str,
    entities: tuple[tuple[str, str], ...],
    now_ms: int,
    offset: int | None,
    ending: str,
    lasts_ms: int,
) -> Document:
    """The body of a `fault.start`, its times relative to now."""
    kind = entities[0][0]
    body = {
        **what,
        "fault": fault,
        "selector": {"kind": kind, "ids": [id for other, id in entities if other == kind]},
    }
    if "metrics" in body:
        # The same fault of metrics that the logs have.
        body["metrics"] = ["power_watts", "network_delay_ms", *body["metrics"][:1]]
    if offset is not None:
        body["start_ms"] = now_ms + offset
    if ending == "end":
        body["end_ms"] = body.get("start_ms", now_ms) + lasts_ms
    elif ending == "duration":
        body["duration_ms"] = lasts_ms
    return body
