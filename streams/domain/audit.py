"""The independent count of `twin ledger`: what the log of observations says beside what records say."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, TypedDict

from streams.domain.entity import OUTCOMES
from streams.domain.keys import entity_key
from streams.records import Observation, State

WIDTH = len(OUTCOMES)
"""[1] Counts that a record keeps for each source."""


@dataclass
class Account:
    """What the log says of one entity."""

    counts: Counter[str] = field(default_factory=Counter)
    """Samples by source, of messages that the record must have taken."""
    origins: dict[str, int] = field(default_factory=dict)
    """Highest origin offset by origin partition: what is not above it was sent twice."""
    waiting: list[tuple[int, str, int]] = field(default_factory=list)
    """(offset, source, samples) of messages that the record need not have taken yet."""


@dataclass(frozen=True)
class Row:
    """Counted and recorded samples of one source in one partition."""

    partition: int
    source: str
    counted: int
    outcomes: tuple[int, ...]
    """Applied, duplicate, late, conflict, rejected, of entities that are there."""
    removed: int
    """Of entities that are gone, as the partition's ledger record has it."""
    waiting: int

    @property
    def difference(self) -> int:
        """[1] Counted less recorded; 0 when balanced."""
        return self.counted - sum(self.outcomes) - self.removed


@dataclass(frozen=True)
class Fault:
    """An entity whose record does not say what the log says."""

    key: str
    source: str
    counted: int
    recorded: int


class Mark(TypedDict):
    """An account as JSON."""

    counts: dict[str, int]
    origins: dict[str, int]
    waiting: list[tuple[int, str, int]]


class Checkpoint(TypedDict):
    """The count of one partition as JSON: `position` is the next offset to be read."""

    position: int
    removed: dict[str, int]
    entities: dict[str, Mark]


class PartitionAudit:
    """Counts one partition of `observation`, without the twin's own code.

    Args:
        number: of the partition.
        checkpoint: where an earlier count ended.
    """

    def __init__(self, number: int, checkpoint: Checkpoint | None = None) -> None:
        self.number = number
        self.position = checkpoint["position"] if checkpoint else 0
        self.removed: Counter[str] = Counter(checkpoint["removed"] if checkpoint else {})
        self.accounts: dict[str, Account] = {
            key: Account(Counter(mark["counts"]), dict(mark["origins"]), list(mark["waiting"]))
            for key, mark in (checkpoint["entities"].items() if checkpoint else ())
        }
        self._known: Mapping[str, int] = {}
        self._known_else = 0

    def begin_from(self, states: Mapping[str, State], ledger: State | None, done: int) -> None:
        """Take over what the records say, for a log whose beginning is gone.

        Args:
            states: records of the partition by key.
            ledger: its ledger record.
            done: offset below which every message was taken, as the group's committed offset says.
        """
        for key, state in states.items():
            origins = dict(zip(state["origins"], state["origin_offsets"], strict=True))
            self.accounts[key] = Account(Counter(recorded(state)), origins)
        self._known = {key: max(state["version"], done) for key, state in states.items()}
        self._known_else = max(done, ledger["version"] if ledger else 0)
        self.removed = Counter(recorded(ledger)) if ledger else Counter()

    def read(self, offset: int, message: Observation) -> None:
        """Count a message; every sample waits until `settle` says that the record must have it.

        Scenario worlds are left out: what they hold was not measured.
        """
        self.position = offset + 1
        if message["type"] != "values" or message["world"] != "live":
            return
        origin = f"{message['origin_topic']}/{message['origin_partition']}"
        for kind, id, size in zip(message["kinds"], message["ids"], message["sizes"], strict=True):
            key = entity_key(message["world"], kind, id)
            if offset < self._known.get(key, self._known_else):
                continue
            account = self.accounts.setdefault(key, Account())
            if message["origin_offset"] > account.origins.get(origin, -1):
                account.origins[origin] = message["origin_offset"]
                account.waiting.append((offset, message["source"], size))

    def settle(self, states: Mapping[str, State], ledger: State | None, done: int) -> None:
        """Count what the records must have taken: all below `done`, and below each record's own version."""
        gone = max(done, ledger["version"] if ledger else 0)
        for key, account in self.accounts.items():
            if account.waiting:
                bound = max(states[key]["version"], done) if key in states else gone
                for offset, source, size in account.waiting:
                    if offset < bound:
                        account.counts[source] += size
                account.waiting = [entry for entry in account.waiting if entry[0] >= bound]

    def rows(self, states: Mapping[str, State], ledger: State | None) -> list[Row]:
        """Counted beside recorded, by source."""
        counted, waiting, gone = (
            Counter(self.removed),
            Counter[str](),
            Counter(recorded(ledger) if ledger else {}),
        )
        for account in self.accounts.values():
            counted.update(account.counts)
            for _, source, size in account.waiting:
                waiting[source] += size
        outcomes: dict[str, list[int]] = {}
        for state in states.values():
            for place, source in enumerate(state["source_names"]):
                sums = outcomes.setdefault(source, [0] * WIDTH)
                for outcome in range(WIDTH):
                    sums[outcome] += state["source_counts"][WIDTH * place + outcome]
        return [
            Row(
                self.number,
                source,
                counted[source],
                tuple(outcomes.get(source, [0] * WIDTH)),
                gone[source],
                waiting[source],
            )
            for source in sorted({*counted, *waiting, *gone, *outcomes})
        ]

    def faults(self, states: Mapping[str, State], ledger: State | None) -> list[Fault]:
        """Entities that differ, if anything differs.

        A record may have less than was counted when the entity was removed meanwhile and came back: the rest
        is in the ledger record. It can never have more.
        """
        unbalanced = {row.source for row in self.rows(states, ledger) if row.difference}
        found = []
        for key in sorted({*self.accounts, *states}):
            counts = self.accounts[key].counts if key in self.accounts else Counter[str]()
            has = recorded(states[key]) if key in states else {}
            for source in sorted({*counts, *has}):
                less, more = counts[source] > has.get(source, 0), counts[source] < has.get(source, 0)
                if more or (less and source in unbalanced):
                    found.append(Fault(key, source, counts[source], has.get(source, 0)))
        return found

    def checkpoint(self, states: Mapping[str, State]) -> Checkpoint:
        """The count so far; entities that are gone are kept as one sum."""
        removed = Counter(self.removed)
        entities: dict[str, Mark] = {}
        for key, account in sorted(self.accounts.items()):
            if key in states or account.waiting:
                entities[key] = Mark(
                    counts=dict(account.counts), origins=account.origins, waiting=account.waiting
                )
            else:
                removed.update(account.counts)
        return Checkpoint(position=self.position, removed=dict(removed), entities=entities)


def recorded(state: State) -> dict[str, int]:
    """Samples by source that a record says to have seen, whatever became of them."""
    return {
        source: sum(state["source_counts"][WIDTH * place : WIDTH * (place + 1)])
        for place, source in enumerate(state["source_names"])
    }


def read_checkpoint(document: Any) -> dict[int, Checkpoint]:
    """Counts by partition from parsed JSON.

    Raises:
        ValueError: it is not what `twin ledger --save` writes.
    """
    try:
        return {
            int(number): Checkpoint(
                position=int(count["position"]),
                removed={str(source): int(samples) for source, samples in count["removed"].items()},
                entities={str(key): _read_mark(mark) for key, mark in count["entities"].items()},
            )
            for number, count in document["partitions"].items()
        }
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"not a checkpoint of `twin ledger`: {error!r}") from error


def _read_mark(mark: Any) -> Mark:
    return Mark(
        counts={str(source): int(samples) for source, samples in mark["counts"].items()},
        origins={str(origin): int(offset) for origin, offset in mark["origins"].items()},
        waiting=[(int(offset), str(source), int(samples)) for offset, source, samples in mark["waiting"]],
    )
