"""What all scenario worlds have in one partition: record, faults, ids of events, keys."""

from collections.abc import Iterable, Mapping, MutableMapping
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import Any

from streams.domain.changes import Changes
from streams.domain.entity import is_newer_origin, new_entity
from streams.domain.faults import Fault, Limits
from streams.domain.keys import entity_key, split_key
from streams.domain.ledger import (
    forget_removed,
    ledger_key,
    new_ledger,
    remember_gone,
    removed_ms,
    removed_version,
)
from streams.domain.observation import origin_of
from streams.errors import InvalidMessageError
from streams.records import Observation, State

WORLD, SHARD, FAULT, IDS = "world", "_world", "_fault", "_ids"
"""Kinds of the twin's own records of a world; all but the first are not shown to people."""

PAUSE_ENTITIES = 50
"""[1] After so many entities a message that is applied can give the event loop back."""

ID_RECORDS = 64
"""[1] Records among which the ids of a world's events are shared, so that none grows large."""

IDS_MAX = 2_000
"""[1] Newest ids that each of them keeps."""


@dataclass(frozen=True)
class Rules:
    """What holds for all worlds of a partition.

    Args:
        number: of the partition.
        step_ms: [ms] distance of ticks, unless a world has its own.
        remove_after_ms: [ms] after which an entity that no source mentions is removed.
        ceilings: greatest rate of a counter by metric.
        limits: of the catalogue.
        lazily: an isolated world settles only the entities that need it.
    """

    number: int
    step_ms: int
    remove_after_ms: int
    ceilings: Mapping[str, float]
    limits: Limits
    lazily: bool = False


@dataclass(frozen=True)
class Turn:
    """One message being handled: where it stands, and what it changes."""

    offset: int
    epoch: int
    at_ms: int
    states: MutableMapping[str, State]
    changes: Changes

    def write(self, key: str, record: State) -> None:
        """Put a record that this message changed."""
        record["version"], record["epoch"] = self.offset + 1, self.epoch
        self.states[key] = record
        self.changes.changed.add(key)

    def delete(self, key: str) -> None:
        """Take a record away."""
        if self.states.get(key) is not None:
            del self.states[key]
        self.changes.changed.add(key)

    def ledger(self, number: int, now_ms: int, world: str = "live") -> State:
        """The partition's ledger record, to be changed by this message; what is long gone is forgotten.

        A replay has its own, as it has its own time.
        """
        place = ledger_key(number, world)
        ledger = self.states.get(place) or new_ledger(number, world)
        forget_removed(ledger, now_ms)
        ledger["version"], ledger["epoch"] = max(ledger["version"], self.offset + 1), self.epoch
        self.states[place] = ledger
        self.changes.changed.add(place)
        return ledger

    def remember_gone(self, key: str, number: int) -> None:
        """Note in the partition's ledger that this message removed something."""
        remember_gone(self.ledger(number, self.at_ms), key, self.offset + 1, self.at_ms)

    def was_removed(self, key: str, number: int, world: str = "live") -> bool:
        """Whether a message at or after this one removed it: this one is handled again."""
        return self.offset < removed_version(self.states.get(ledger_key(number, world)), key)

    def did_remove(self, key: str, number: int) -> bool:
        """Whether this very message removed it: it is handled again."""
        return self.offset + 1 == removed_version(self.states.get(ledger_key(number)), key)

    def removals(self, keys: Iterable[str], number: int) -> list[tuple[str, int]]:
        """Those of some entities of live that this very message removed, now or before, and when [ms]."""
        ledger = self.states.get(ledger_key(number))
        if ledger is None or ledger["version"] <= self.offset:
            return []
        gone = [key for key in keys if removed_version(ledger, key) == self.offset + 1]
        return [(key, removed_ms(ledger, key)) for key in sorted(gone)]


@dataclass
class World:
    """One world in one partition; all of it follows from its records (`restore`)."""

    name: str
    rules: Rules
    record_key: str
    ends_ms: int = 0
    max_entities: int = 0
    keys: set[str] = field(default_factory=set)
    faults: dict[str, Fault] = field(default_factory=dict)
    by_entity: dict[str, list[Fault]] = field(default_factory=dict)

    def read(self, record: State) -> None:
        """Take over what the world's record says."""
        attributes = record["attributes"]
        self.ends_ms = int(attributes["created_ms"]) + round(float(attributes["ttl_s"]) * 1000)
        self.max_entities = int(attributes["max_entities"])

    def all_keys(self) -> set[str]:
        """Keys of all records that the world may have."""
        return self.keys

    def key_of(self, kind: str, id: str) -> str:
        """Key under which the faults of an entity are found."""
        return entity_key(self.name, kind, id)

    def note_fault(self, fault: Fault) -> None:
        """Index a fault."""
        self.faults[fault.id] = fault
        for kind, id in fault.entities:
            own = self.by_entity.setdefault(self.key_of(kind, id), [])
            own[:] = sorted([*(one for one in own if one.id != fault.id), fault], key=lambda one: one.order)

    def forget_fault(self, fault: Fault) -> None:
        """Take a fault out of the index."""
        del self.faults[fault.id]
        for kind, id in fault.entities:
            key = self.key_of(kind, id)
            left = [one for one in self.by_entity.get(key, ()) if one.id != fault.id]
            if left:
                self.by_entity[key] = left
            else:
                self.by_entity.pop(key, None)

    def begin_fault(self, turn: Turn, body: Mapping[str, Any], now_ms: int, told_ms: int = 0) -> Fault | None:
        """Register the fault of a `fault.start`; None when this very message did so before.

        Raises:
            InvalidMessageError: there is a fault of that id, or it ends before it starts.
        """
        id = body["fault"]
        key = self.fault_key(id)
        if id in self.faults:
            record = turn.states.get(key)
            if record is not None and record["version"] > turn.offset:
                return None
            raise InvalidMessageError(
                "fault_exists", f"body.fault: there is a fault {id!r} in world {self.name}; give another id"
            )
        fault = Fault.from_body(body, now_ms, told_ms)
        if fault.end_ms <= fault.start_ms:
            raise InvalidMessageError(
                "fault_times", f"body.end_ms: {fault.end_ms} is not after the start {fault.start_ms}"
            )
        self.write_fault(turn, fault)
        return fault

    def write_fault(self, turn: Turn, fault: Fault) -> None:
        """Register a fault and write its record."""
        self.note_fault(fault)
        record = new_entity(self.name, FAULT, split_key(self.fault_key(fault.id))[2])
        record["simulated"] = True
        record["attributes"]["fault"] = fault.to_json()
        self.keys.add(self.fault_key(fault.id))
        turn.write(self.fault_key(fault.id), record)

    def end_fault(self, turn: Turn, fault: Fault) -> None:
        """Forget a fault, with its record."""
        self.forget_fault(fault)
        self.keys.discard(self.fault_key(fault.id))
        turn.remember_gone(self.fault_key(fault.id), self.rules.number)
        turn.delete(self.fault_key(fault.id))

    def fault_key(self, fault: str) -> str:
        """Key of the record of a fault; with the partition, as each has its own of an overlay's fault."""
        return entity_key(self.name, FAULT, f"{self.rules.number}:{fault}")

    def over_faults(self, turn: Turn, now_ms: int) -> list[Fault]:
        """Faults that have ended; not those that begin after this message, when it is handled again.

        Then an event that was refused for the id of one that ended here may have begun another: it goes too.
        """
        # In an order that a restart does not change.
        over = [
            fault
            for _, fault in sorted(self.faults.items())
            if fault.end_ms <= now_ms or turn.did_remove(self.fault_key(fault.id), self.rules.number)
        ]
        records = [turn.states.get(self.fault_key(fault.id)) for fault in over]
        return [
            fault
            for fault, record in zip(over, records, strict=True)
            if record is None or record["version"] <= turn.offset
        ]

    def find_fault(self, turn: Turn, id: str) -> Fault | None:
        """The fault of that id; None when this message, which is handled again, ended it before.

        Raises:
            InvalidMessageError: there is none.
        """
        record = turn.states.get(self.fault_key(id))
        is_later = record is not None and record["version"] > turn.offset
        if id not in self.faults or is_later:
            if turn.was_removed(self.fault_key(id), self.rules.number):
                return None
            known = ", ".join(sorted(self.faults)[:5]) or "none"
            raise InvalidMessageError(
                "unknown_fault",
                f"body.fault: there is no fault {id!r} in world {self.name}; there is {known}",
            )
        return self.faults[id]

    def knows_id(self, turn: Turn, id: str) -> bool:
        """Whether an event of that id was taken."""
        if not id:
            return False
        record = turn.states.get(self._ids_key(id))
        return record is not None and _digest(id) in record["attributes"]

    def remember_id(self, turn: Turn, id: str) -> None:
        """Note that an event of that id was taken."""
        if not id:
            return
        key = self._ids_key(id)
        record = turn.states.get(key) or new_entity(self.name, IDS, split_key(key)[2])
        record["simulated"] = True
        ids = record["attributes"]
        ids[_digest(id)] = ""
        if len(ids) > IDS_MAX:
            del ids[next(iter(ids))]
        self.keys.add(key)
        turn.write(key, record)

    def _ids_key(self, id: str) -> str:
        return entity_key(self.name, IDS, f"{self.rules.number}.{int(_digest(id)[:4], 16) % ID_RECORDS}")


def came_before(record: State, message: Observation) -> bool:
    """Whether a world was told of this event, or of a later one, before."""
    origin = origin_of(message)
    if origin not in record["origins"]:
        return False
    return message["origin_offset"] <= record["origin_offsets"][record["origins"].index(origin)]


def is_older(record: State, message: Observation) -> bool:
    """Whether an event stands before the creation of a world: it was for a former one of that name."""
    origin, _, offset = record["attributes"].get("made_by", "").rpartition("/")
    return origin == origin_of(message) and message["origin_offset"] < int(offset)


def note_origin(record: State, message: Observation) -> None:
    """Remember of which event a world was told last."""
    is_newer_origin(record, origin_of(message), message["origin_offset"])


def _digest(id: str) -> str:
    return blake2b(id.encode(), digest_size=8).hexdigest()
