"""Hypothesis strategies for logs of live with overlays: operations, from which `log_of` writes messages."""

from dataclasses import dataclass
from typing import Any

from hypothesis import strategies as st

from streams.records import Observation
from tests.reference.messages import clock, failure, values
from tests.reference.scenario_log import FAULTS, START_MS, Document
from tests.reference.world_logs import ENTITIES, FORMS, METRICS, fault_body, few, messages_of

SOURCES = {
    "s": {"interval_ms": 5_000, "priority": 10, "target": "s:1"},
    "m": {"interval_ms": 1_000, "priority": 20, "target": "m:1"},
    "push": {"interval_ms": 30_000, "priority": 30, "target": ""},
}
"""Sources of live, and how they scrape."""

Operation = tuple[Any, ...]


@dataclass(frozen=True)
class Plan:
    """A scenario of one or two overlays."""

    step_ms: int
    operations: tuple[Operation, ...]


worlds = few("live~w1", "live~w1", "live~w1", "live~w1", "live~w2")
ids = st.lists(st.sampled_from(ENTITIES), min_size=1, max_size=3, unique=True).map(tuple)
readings = st.lists(
    st.tuples(few(*METRICS), st.integers(0, 3)), max_size=4, unique_by=lambda one: one[0]
).map(tuple)
waits = few(1_000, 1_000, 250, 2_500, 5_000)
pools = few(None, None, None, "1", "2", "")

OPERATIONS = {
    "scrape": st.tuples(
        st.just("scrape"),
        waits,
        few("s", "s", "m", "push"),
        ids,
        readings,
        pools,
        few(0, 0, 0, -250, -4_000, -20_000, 3_000),
    ),
    "fail": st.tuples(st.just("fail"), waits, few("s", "s", "m")),
    "clock": st.tuples(st.just("clock"), few(1_000, 250, 5_000, 10_000, 20_000), few(0, 0, 250, 4_000)),
    "gone": st.tuples(st.just("clock"), few(310_000), few(0)),
    "set": st.tuples(st.just("set"), worlds, ids, readings, pools, few(None, None, None, -3_000, 2_000)),
    "remove": st.tuples(st.just("remove"), worlds, ids),
    "fault": st.tuples(
        st.just("fault"),
        worlds,
        few("f1", "f2", "f3", "f4", "f5"),
        few(*FAULTS),
        ids,
        few(None, None, None, 0, 1_000, -1_000, 2_500, -6_000, 12_000),
        few("none", "end", "duration", "duration"),
        few(5_000, 12_000, 20_000, 3_100, 40_000),
    ),
    "stop": st.tuples(st.just("stop"), worlds, few("f1", "f2", "f3", "f4", "f5")),
    "create": st.tuples(st.just("create"), worlds, few(86_400.0, 30.0), few(20, 2)),
    "drop": st.tuples(st.just("drop"), worlds),
    "repeat": st.tuples(st.just("repeat"), st.integers(1, 12)),
    "resend": st.tuples(st.just("resend"), st.integers(1, 12)),
}
MIX = (
    *("scrape",) * 14,
    *("clock",) * 8,
    *("fault",) * 8,
    *("set", "set", "set", "remove", "stop", "stop", "fail", "repeat", "resend"),
)
"""How often each operation is drawn; what ends a world or an entity is rarer still."""

operations = few(*MIX, *MIX, "gone", "create", "drop").flatmap(OPERATIONS.__getitem__)
plans = st.builds(Plan, few(5_000, 1_000), st.lists(operations, min_size=15, max_size=50).map(tuple))


class Writer:
    """Writes the messages of a plan."""

    def __init__(self, plan: Plan) -> None:
        self.wall_ms = START_MS
        self.scrapes = 0
        self.jumps = 0
        self.jumped = 0
        self.documents: list[Document] = []
        self.log: list[Observation] = []
        self.do_scrape(0, "s", ENTITIES[:2], (("power_watts", 1), ("load1", 0)), "1", 0)
        self.do_create("live~w2", 50.0, 2)
        self.do_create("live~w1", 86_400.0, 20)
        for operation in plan.operations:
            getattr(self, f"do_{operation[0]}")(*operation[1:])

    def add(self, world: str, type: str, **body: Any) -> None:
        """The next event, and its messages."""
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

    def do_scrape(
        self,
        wait_ms: int,
        source: str,
        entities: tuple[tuple[str, str], ...],
        metrics: tuple[tuple[str, int], ...],
        pool: str | None,
        lag_ms: int,
    ) -> None:
        self.wall_ms += wait_ms
        self.scrapes += 1
        at_ms = self.wall_ms + lag_ms
        rows = {
            entity: [(name, METRICS[name][(place + number) % 4], at_ms) for name, place in metrics]
            for number, entity in enumerate(entities)
        }
        labels = {} if pool is None else {"nodepool": pool}
        self.log.append(
            values(
                self.wall_ms,
                source,
                (0, self.scrapes),
                rows,
                attributes=dict.fromkeys(rows, labels),
                forms=FORMS,
                scraped_at_ms=at_ms,
                **SOURCES[source],
            )
        )

    def do_fail(self, wait_ms: int, source: str) -> None:
        self.wall_ms += wait_ms
        self.scrapes += 1
        target = SOURCES[source]["target"]
        self.log.append(failure(self.wall_ms, source, (0, self.scrapes), target=target))

    def do_clock(self, by_ms: int, lag_ms: int) -> None:
        # A batch is never longer than the ledger remembers.
        self.jumps += by_ms > 100_000
        self.wall_ms += by_ms if self.jumps < 2 else min(by_ms, 1_000)
        self.log.append(clock(self.wall_ms - lag_ms))
        self.jumped = len(self.log) if by_ms > 100_000 else self.jumped

    def do_create(self, world: str, ttl_s: float, most: int) -> None:
        self.add(world, "world.create", owner="t", ttl_s=ttl_s, max_entities=most)

    def do_drop(self, world: str) -> None:
        self.add(world, "world.drop")

    def do_set(
        self,
        world: str,
        entities: tuple[tuple[str, str], ...],
        metrics: tuple[tuple[str, int], ...],
        pool: str | None,
        offset: int | None,
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
        at_ms = None if offset is None else self.wall_ms + offset
        self.add(world, "entity.set", entities=things, at_ms=at_ms)

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
        body = fault_body(what, fault, entities, self.wall_ms, offset, ending, lasts_ms)
        self.add(world, "fault.start", **body)

    def do_stop(self, world: str, fault: str) -> None:
        self.add(world, "fault.stop", fault=fault)

    def do_repeat(self, back: int) -> None:
        self.send(self.documents[-min(back, len(self.documents))])

    def do_resend(self, back: int) -> None:
        """Harmonize sends the last so many messages again, but none from before a jump.

        Those would make entities that the next clock message removes. Of what lives and goes in a batch that
        is lost, an overlay has a record of another version and `seen` when the batch comes again.
        """
        again = self.log[max(self.jumped, len(self.log) - back) :]
        self.log += [message for message in again if message["type"] != "clock"]


def log_of(plan: Plan) -> list[Observation]:
    """The messages of a plan; a message's place is its offset."""
    return Writer(plan).log
