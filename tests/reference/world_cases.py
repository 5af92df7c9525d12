"""One partition to which a test tells events, observations and the time, one after the other."""

from typing import Any

from streams.domain.changes import Changes
from streams.domain.commands import observations_of
from streams.domain.twin import Partition
from streams.domain.view import entity_view
from streams.errors import InvalidMessageError
from streams.events import event_record, parse_event
from streams.records import Observation, State
from tests.reference.messages import clock, values
from tests.reference.scenario_log import START_MS
from tests.reference.scenarios import REMOVE_AFTER_MS
from tests.reference.world_logs import CATALOGUE, FORMS, LIMITS
from tests.reference.world_runs import CEILINGS, Ticks, row_of

NODE = {"kind": "node", "ids": ["a"]}


class Case:
    """A partition; times of arguments are [ms] after START_MS."""

    def __init__(self, *, number: int = 0, partitions: int = 1) -> None:
        self.number, self.partitions = number, partitions
        self.states: dict[str, State] = {}
        self.offset = -1
        self.at_ms = START_MS
        self.ticks: Ticks = {}
        self.changes: list[dict[str, Any]] = []
        self.log: list[Observation] = []
        self.restart()

    def restart(self) -> None:
        """A new worker, with the records that are there."""
        self.partition = Partition(self.number, 5_000, REMOVE_AFTER_MS, CEILINGS, 1, LIMITS)
        for key, state in self.states.items():
            self.partition.restore(key, state)

    def take(self, message: Observation) -> str:
        """The next message; the reason when it is refused, else nothing."""
        self.log.append(message)
        self.offset += 1
        return self.handle(self.offset, message)

    def handle(self, offset: int, message: Observation) -> str:
        """A message at an offset."""
        changes, refused = Changes(), ""
        try:
            for _ in self.partition.steps(offset, message, self.states, changes):
                pass
        except InvalidMessageError as error:
            refused = error.reason
        self.ticks |= dict(map(row_of, changes.ticks.rows))
        self.changes += changes.ticks.changes
        return refused

    def tell(
        self, type: str, world: str = "w1", /, *, id: str = "", at: int | None = None, **body: Any
    ) -> str:
        """An event, through harmonize; the reason when it is refused, else nothing."""
        self.at_ms = self.at_ms if at is None else START_MS + at
        document = {
            "id": id or f"e{self.offset + 1}",
            "type": type,
            "world": world,
            "at_ms": self.at_ms,
            "sender": "t",
            "body": body,
        }
        event = parse_event(document, CATALOGUE)
        made = observations_of(
            event_record(event),
            event.body.model_dump(),
            partitions=self.partitions,
            forms=FORMS,
            partition=0,
            offset=self.offset + 1,
        )
        return "".join([self.take(message) for number, message in made if number == self.number])

    def create(self, world: str = "w1", **body: Any) -> str:
        """A world."""
        if "~" not in world:
            body = {"clock_ms": START_MS, **body}
        return self.tell("world.create", world, owner="t", **body)

    def set(self, world: str = "w1", /, ids: str = "a", at: int | None = None, **metrics: float) -> str:
        """Values of nodes at the world clock."""
        entities = [{"kind": "node", "id": id, "metrics": metrics} for id in ids.split()]
        return self.tell("entity.set", world, at=at, entities=entities)

    def fault(self, kind: str, world: str = "w1", /, *, at: int | None = None, **body: Any) -> str:
        """A fault of node a, unless another selector is given; start and end are relative."""
        for name in ("start_ms", "end_ms"):
            if name in body:
                body[name] += START_MS
        return self.tell(
            "fault.start", world, at=at, **{"fault": "f", "selector": NODE, **body, "kind": kind}
        )

    def advance(self, to: int, world: str = "w1") -> str:
        """The world clock moves."""
        return self.tell("world.advance", world, to_ms=START_MS + to)

    def live(self, at: int, id: str = "a", interval_ms: int = 5_000, **metrics: float) -> None:
        """A scrape of a node of live."""
        self.at_ms = START_MS + at
        rows = [(name, value, self.at_ms) for name, value in metrics.items()]
        forms = {name: min(FORMS[name], 1) for name in metrics}
        self.take(
            values(
                self.at_ms,
                "s",
                (0, self.offset + 1),
                {("node", id): rows},
                interval_ms=interval_ms,
                forms=forms,
            )
        )

    def clock(self, at: int) -> None:
        """The time."""
        self.at_ms = START_MS + at
        self.take(clock(self.at_ms))

    def view(self, key: str) -> dict[str, Any]:
        """The entity as people read it; empty when there is none."""
        return entity_view(self.states[key]) if key in self.states else {}

    def metrics(self, key: str = "w1/node/a") -> dict[str, tuple[float, int]]:
        """Value and relative time of each metric."""
        found = self.view(key).get("metrics", {})
        return {name: (one["value"], one["observed_at_ms"] - START_MS) for name, one in found.items()}

    def status(self, key: str = "w1/node/a") -> tuple[str, str]:
        """Status and reason."""
        return self.view(key).get("status", ""), self.view(key).get("status_reason", "")

    def row(self, at: int, key: str = "w1/node/a") -> dict[str, tuple[float, int]]:
        """Values and qualities of a closed tick; empty when there is none."""
        return self.ticks.get((key, START_MS + at), (False, {}))[1]
