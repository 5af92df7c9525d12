"""Runs a log through `streams.domain.twin.Partition` as a worker does, with crashes or without."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from streams.domain.twin import Partition
from streams.records import Observation, State, Tick
from streams.schemas import load_codec
from tests.reference.messages import CEILINGS
from tests.reference.scenarios import REMOVE_AFTER_MS, Crash

EPOCH = 3
NUMBER = 7
LEDGER_KEY = f"live/_ledger/{NUMBER}"
REWIND_CLOCK_MS = 500_000
"""[ms] A restart goes back less than the ten minutes for which the ledger remembers a removal."""

Row = tuple[Any, ...]


@dataclass
class Outcome:
    """What a run left behind."""

    written: dict[str, bytes] = field(default_factory=dict)
    """The compacted topic: newest record of each key."""
    rows: dict[tuple[str, str, int], Row] = field(default_factory=dict)
    """By kind, id and tick, all that the topic `tick` has of it."""
    changes: dict[tuple[str, str], list[Row]] = field(default_factory=dict)
    """By kind and id, changes in order, each once."""
    contradictions: list[str] = field(default_factory=list)
    """Ticks that were published a second time and differ."""
    published_twice: list[tuple[str, str, int]] = field(default_factory=list)
    """Ticks that were published a second time."""
    out_of_order: list[tuple[str, str, int]] = field(default_factory=list)
    """Ticks that were published after a later one of the same entity."""
    newest: dict[tuple[str, str], int] = field(default_factory=dict)

    def states(self) -> dict[str, State]:
        """The decoded records."""
        return {key: load_codec("state").decode(data) for key, data in self.written.items()}

    def add(self, tick: Tick) -> None:
        """Takes over a message of the topic `tick`; what says the same again is seen as that."""
        first = 0
        for index, size in enumerate(tick["sizes"]):
            one = (tick["kinds"][index], tick["ids"][index], tick["ticks_ms"][index])
            cells = zip(
                (tick["names"][metric] for metric in tick["metrics"][first : first + size]),
                tick["values"][first : first + size],
                tick["qualities"][first : first + size],
                strict=True,
            )
            row = (
                tick["complete"][index],
                {name: (value, quality) for name, value, quality in cells},
                tick["pools"][index],
                tick["simulated"][index],
                tick["versions"][index],
            )
            first += size
            if one in self.rows:
                self.published_twice.append(one)
            if one[2] < self.newest.get(one[:2], 0):
                self.out_of_order.append(one)
            self.newest[one[:2]] = one[2]
            if self.rows.setdefault(one, row) != row:
                self.contradictions.append(f"{one}: {self.rows[one]} and then {row}")
        names = ("at_ms", "statuses", "reasons", "attributes", "removed", "pools", "simulated", "versions")
        columns: Any = tick
        for change in zip(
            tick["change_kinds"],
            tick["change_ids"],
            *(columns[f"change_{name}"] for name in names),
            strict=True,
        ):
            known = self.changes.setdefault(change[:2], [])
            if change[2:] not in known:
                known.append(change[2:])


def new_partition(step_ms: int) -> Partition:
    """A partition as a worker has it after a start."""
    return Partition(NUMBER, step_ms, REMOVE_AFTER_MS, CEILINGS, EPOCH)


class Worker:
    """A worker of one partition: it computes a batch, sends its ticks, writes its states, and commits."""

    def __init__(self, log: list[Observation], step_ms: int, world: str = "live") -> None:
        self.log = log
        self.step_ms = step_ms
        self.world = world
        self.committed = 0
        self.outcome = Outcome()
        self.start(0)

    def start(self, offset: int) -> None:
        """Starts at an offset with what the topic holds."""
        self.committed = offset
        self.partition = new_partition(self.step_ms)
        self.states: dict[str, State] = self.outcome.states()
        for key, state in self.states.items():
            self.partition.restore(key, state)

    def batch(self, size: int, written: int | None = None) -> None:
        """Handles the next messages; with `written` it dies when it has written only some of the records.

        A removal is written after the ledger that has its counts, as the order of the topic demands.
        """
        changed: set[str] = set()
        end = min(self.committed + size, len(self.log))
        ticks = None
        for offset in range(self.committed, end):
            changes = self.partition.apply(offset, self.log[offset], self.states)
            changed |= changes.changed
            if ticks is None:
                ticks = changes.ticks
            else:
                ticks.rows += changes.ticks.rows
                ticks.changes += changes.ticks.changes
        if ticks is not None:
            for record in ticks.records(self.world, EPOCH):
                self.outcome.add(load_codec("tick").decode(load_codec("tick").encode(record)))
        self.write(changed, written)
        self.committed = end

    def write(self, changed: Iterable[str], written: int | None) -> None:
        """Writes the changed records, the ledger first and removals last."""
        order = sorted(changed, key=lambda key: ("/_ledger/" not in key, key not in self.states, key))
        for place, key in enumerate(order):
            if written is not None and not written >> place & 1:
                if "/_ledger/" in key:
                    return
                continue
            if key in self.states:
                self.outcome.written[key] = load_codec("state").encode(self.states[key])
            else:
                self.outcome.written.pop(key, None)


def run(log: list[Observation], step_ms: int, batch: int = 1) -> Outcome:
    """A run without accidents."""
    worker = Worker(log, step_ms)
    while worker.committed < len(log):
        worker.batch(batch)
    return worker.outcome


def run_with_crashes(
    log: list[Observation], step_ms: int, crashes: list[Crash], world: str = "live"
) -> Outcome:
    """A run in which the worker dies several times, each time with some records of its last batch written."""
    worker = Worker(log, step_ms, world)
    for crash in crashes:
        for _ in range(crash.after // crash.batch):
            worker.batch(crash.batch)
        committed = worker.committed
        batch = within_memory(log, committed, crash.batch)
        worker.batch(batch, crash.written)
        worker.start(rewound(log, committed, crash.rewind, batch))
    while worker.committed < len(log):
        worker.batch(16)
    return worker.outcome


def within_memory(log: list[Observation], offset: int, messages: int) -> int:
    """As many messages of a batch as the ledger's memory bears: none stays uncommitted for ten minutes."""
    while messages > 1 and log[offset : offset + 1]:
        clocks = [
            message["at_ms"] for message in log[offset : offset + messages] if message["type"] == "clock"
        ]
        if max(clocks, default=0) - log[offset]["at_ms"] < REWIND_CLOCK_MS:
            break
        messages -= 1
    return messages


def rewound(log: list[Observation], offset: int, messages: int, read: int = 1) -> int:
    """Some messages before an offset, as far as the ledger's memory bears it that read some after it."""
    clocks = [message["at_ms"] for message in log[: offset + read] if message["type"] == "clock"]
    latest_ms = max(clocks, default=0)
    first = max(0, offset - messages)
    while first < offset and log[first]["at_ms"] < latest_ms - REWIND_CLOCK_MS:
        first += 1
    return first
