"""Runs a log of isolated worlds through the twin of a partition as a worker does, or through the model."""

from dataclasses import dataclass, field
from typing import Any

from streams.domain.changes import Changes, write_order
from streams.domain.keys import entity_key
from streams.domain.newest import shown_values
from streams.domain.ticks import TickRow
from streams.domain.twin import Partition
from streams.errors import InvalidMessageError
from streams.records import Observation, State
from streams.schemas import load_codec
from tests.reference.messages import read_state
from tests.reference.model import Values
from tests.reference.runs import rewound
from tests.reference.scenarios import REMOVE_AFTER_MS, Crash
from tests.reference.world_logs import LIMITS
from tests.reference.worlds import ReferenceWorlds

EPOCH = 3
NUMBER = 0
CEILINGS = {name: greatest for name, (_, greatest) in LIMITS.items() if greatest < float("inf")}
LEDGER_KEY = f"live/_ledger/{NUMBER}"

Ticks = dict[tuple[str, int], tuple[bool, Values]]


def new_partition(step_ms: int, *, lazily: bool = False) -> Partition:
    """A partition as a worker has it after a start."""
    return Partition(NUMBER, step_ms, REMOVE_AFTER_MS, CEILINGS, EPOCH, LIMITS, lazily)


def new_model(step_ms: int) -> ReferenceWorlds:
    """The model in the same place."""
    return ReferenceWorlds(step_ms, CEILINGS, LIMITS)


def row_of(row: TickRow) -> tuple[tuple[str, int], tuple[bool, Values]]:
    """Key and tick of a closed tick, and complete and values."""
    entity = row.entity
    values = dict(zip(row.names, zip(row.values, row.qualities, strict=True), strict=True))
    return (entity_key(entity["world"], entity["kind"], entity["id"]), row.tick_ms), (row.complete, values)


def is_entity(key: str) -> bool:
    """Whether it is the key of something in a world, not of the twin's own."""
    kind = key.split("/")[1]
    return not key.startswith("live/") and kind != "world" and not kind.startswith("_")


def read_record(state: State) -> dict[str, Any]:
    """The fields of a record that the rules determine, in the shape in which the model gives them."""
    record = read_state(state)
    del record["origins"], record["version"]
    scenario = state["scenario"]
    return record | {"faults": scenario["faults"] if scenario else [], "metrics": shown_values(state)}


@dataclass
class Outcome:
    """What a run left behind."""

    written: dict[str, bytes] = field(default_factory=dict)
    """The compacted topic: newest record of each key."""
    ticks: Ticks = field(default_factory=dict)
    """By key and tick that of the highest version: what is removed and comes back can have a tick anew."""
    rows: dict[tuple[str, int, int], tuple[Any, ...]] = field(default_factory=dict)
    """By key, tick and version all that was published."""
    newest: dict[tuple[str, int], int] = field(default_factory=dict)
    changes: dict[str, list[tuple[Any, ...]]] = field(default_factory=dict)
    """By key, changes in order, each once."""
    refused: dict[int, str] = field(default_factory=dict)
    """By offset, the reason of a dead letter."""
    wrong: list[str] = field(default_factory=list)
    """Ticks that were published a second time and differ."""

    def states(self) -> dict[str, State]:
        """The decoded records."""
        return {key: load_codec("state").decode(data) for key, data in self.written.items()}

    def records(self) -> dict[str, dict[str, Any]]:
        """Those of entities, as the model gives them."""
        return {key: read_record(state) for key, state in self.states().items() if is_entity(key)}

    def add(self, rows: list[TickRow], changes: list[dict[str, Any]]) -> None:
        """Takes over what goes to the topic `tick`."""
        for row in rows:
            (key, tick_ms), cells = row_of(row)
            whole = (cells, row.pool, row.simulated)
            known = self.rows.setdefault((key, tick_ms, row.version), whole)
            if known != whole:
                self.wrong.append(f"{key} {tick_ms}: {known} and then {whole}")
            if row.version >= self.newest.get((key, tick_ms), 0):
                self.newest[key, tick_ms] = row.version
                self.ticks[key, tick_ms] = cells
        for change in changes:
            key = entity_key(change["world"], change["kind"], change["id"])
            names = ("at_ms", "status", "reason", "attributes", "removed", "version", "simulated")
            one = tuple(change[name] for name in names)
            if change["removed"]:
                # Handled again when its world is gone but for this, it is told again, with older news.
                one = (True,)
            if one not in self.changes.setdefault(key, []):
                self.changes[key].append(one)


class Worker:
    """A worker of one partition: it computes a batch, sends its ticks, writes its states, and commits."""

    def __init__(self, log: list[Observation], step_ms: int, *, lazily: bool = False) -> None:
        self.log = log
        self.step_ms = step_ms
        self.lazily = lazily
        self.outcome = Outcome()
        self.start(0)

    def start(self, offset: int) -> None:
        """Starts at an offset with what the topic holds."""
        self.committed = offset
        self.partition = new_partition(self.step_ms, lazily=self.lazily)
        self.states: dict[str, State] = self.outcome.states()
        for key, state in self.states.items():
            self.partition.restore(key, state)

    def batch(self, size: int, written: int | None = None) -> None:
        """Handles the next messages; with `written` it dies when it has written only some of the records."""
        changed: set[str] = set()
        end = min(self.committed + size, len(self.log))
        for offset in range(self.committed, end):
            changes = Changes()
            try:
                for _ in self.partition.steps(offset, self.log[offset], self.states, changes):
                    pass
            except InvalidMessageError as error:
                self.outcome.refused[offset] = error.reason
            changed |= changes.changed
            self.outcome.add(changes.ticks.rows, changes.ticks.changes)
        self.write(changed, written)
        self.committed = end

    def write(self, changed: set[str], written: int | None) -> None:
        """Writes the changed records in their order; with `written` only the first so many, modulo all."""
        order = sorted(
            changed,
            key=lambda key: (key != LEDGER_KEY, write_order(key, is_removal=key not in self.states)),
        )
        for key in order if written is None else order[: written % (len(order) + 1)]:
            self.put(key)

    def put(self, key: str) -> None:
        """Writes one record."""
        if key in self.states:
            self.outcome.written[key] = load_codec("state").encode(self.states[key])
        else:
            self.outcome.written.pop(key, None)


def run(log: list[Observation], step_ms: int, batch: int = 1, *, lazily: bool = False) -> Outcome:
    """A run without accidents."""
    worker = Worker(log, step_ms, lazily=lazily)
    while worker.committed < len(log):
        worker.batch(batch)
    return worker.outcome


def run_with_crashes(
    log: list[Observation], step_ms: int, crashes: list[Crash], *, timed: bool = False
) -> Outcome:
    """A run in which the worker dies several times, each time with some records of its last batch written.

    Args:
        timed: messages have the time of a clock, and a restart goes back no further than the ledger bears.
    """
    worker = Worker(log, step_ms)
    for crash in crashes:
        for _ in range(crash.after // crash.batch):
            worker.batch(crash.batch)
        committed = worker.committed
        worker.batch(crash.batch, crash.written)
        worker.start(rewound(log, committed, crash.rewind) if timed else max(0, committed - crash.rewind))
    while worker.committed < len(log):
        worker.batch(16)
    return worker.outcome


def modelled(log: list[Observation], step_ms: int) -> ReferenceWorlds:
    """The model after a log."""
    model = new_model(step_ms)
    for offset, message in enumerate(log):
        model.handle(offset, message)
    return model


def first_difference(log: list[Observation], step_ms: int, *, lazily: bool = False) -> str:
    """The first message after which the two disagree, and how: it is what a person looks at."""
    model, fast = new_model(step_ms), Worker(log, step_ms, lazily=lazily)
    for offset, message in enumerate(log):
        model.handle(offset, message)
        fast.batch(1)
        lines = compare("tick", fast.outcome.ticks, model.published)
        if not lazily:
            for key in fast.outcome.records().keys() | model.states().keys():
                one, other = fast.outcome.records().get(key, {}), model.states().get(key, {})
                lines += compare(key, one, other)
        if (offset in fast.outcome.refused) != (offset in model.refused):
            lines.append(
                f"refused: fast {fast.outcome.refused.get(offset)}, model {model.refused.get(offset)}"
            )
        if lines:
            before = [f"{place}: {brief(old)}" for place, old in enumerate(log[: offset + 1])]
            return "\n".join([*before[-40:], f"after message {offset}:", *lines])
    return "no difference"


def compare(title: str, fast: dict[Any, Any], model: dict[Any, Any]) -> list[str]:
    """Lines on what differs."""
    return [
        f"{title} {name}: fast {fast.get(name)!r}, model {model.get(name)!r}"
        for name in sorted(fast.keys() | model.keys())
        if fast.get(name) != model.get(name)
    ]


def brief(message: Observation) -> str:
    """A message on one line."""
    head = f"{message['world']} {message['type']} {message['event_id']} at {message['at_ms']}"
    if message["type"] != "values":
        return f"{head} {message['body']}"
    rows = list(zip(message["ids"], message["sizes"], message["attributes"], strict=True))
    return (
        f"{head} {message['source']} interval {message['interval_ms']} {rows} {message['names']} "
        f"{message['metrics']} {message['values']}"
    )
