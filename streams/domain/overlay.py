"""A world over live: only the entities that differ have a record, made from that of live (docs/worlds.md)."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from heapq import heappop, heappush
from typing import Any

from streams.domain.entity import NEVER, new_entity
from streams.domain.faults import Fault
from streams.domain.keys import entity_key, split_key
from streams.domain.observe import merge_attributes
from streams.domain.settle import restate
from streams.domain.show import (
    ShownTick,
    align_to,
    begin_anew,
    forget_frozen,
    freeze,
    judge,
    next_stale_ms,
    scenario_of,
    show_newest,
    show_ticks,
    unfrozen,
)
from streams.domain.world import PAUSE_ENTITIES, Turn, World
from streams.errors import InvalidMessageError
from streams.records import State

HIDDEN = "hidden"
"""Reason of a removal that takes live's entity away too; without it the overlay has let go of its own."""


@dataclass
class Overlay(World):
    """One partition's part of an overlay; `home` answers for what concerns the world as a whole."""

    home: bool = False
    _records: set[str] = field(default_factory=set)
    _due: dict[str, int] = field(default_factory=dict)
    _queue: list[tuple[int, str]] = field(default_factory=list)

    def key_of(self, kind: str, id: str) -> str:
        """Faults of an entity are found under its key in live."""
        return entity_key("live", kind, id)

    def add_record(self, key: str, due_ms: int) -> None:
        """Index a record of this world that is in the table already."""
        self.keys.add(key)
        self._records.add(key)
        self._look_at(due_ms, live_key(key))

    def note_fault(self, fault: Fault) -> None:
        """Index a fault, and plan to look when it starts."""
        super().note_fault(fault)
        for kind, id in fault.entities:
            self._look_at(fault.start_ms, self.key_of(kind, id))

    def start_fault(self, turn: Turn, body: Mapping[str, Any]) -> Iterator[None]:
        """`fault.start`, of the entities of this partition.

        One that live does not have is concerned as soon as it is there.

        Raises:
            InvalidMessageError: the fault cannot be, or too many entities differ.
        """
        keys = [self.key_of(kind, id) for kind, id in body["entities"]]
        self._check_room(keys)
        fault = self.begin_fault(turn, body, turn.at_ms, told_ms=turn.at_ms)
        for key in keys if fault else ():
            record = turn.states.get(self._own(key))
            if record is not None and turn.offset >= record["version"]:
                # What a former fault of this id froze, when it ended in a message that had made the record.
                forget_frozen(scenario_of(record), self.faults.keys() - {body["fault"]})
        return self._show_all(turn, keys if fault else [], turn.at_ms)

    def stop_fault(self, turn: Turn, body: Mapping[str, Any]) -> Iterator[None]:
        """`fault.stop`.

        Raises:
            InvalidMessageError: there is no such fault.
        """
        fault = self.find_fault(turn, body["fault"])
        if fault is None:
            return iter(())
        self.end_fault(turn, fault)
        return self._show_all(turn, [self.key_of(kind, id) for kind, id in fault.entities], turn.at_ms)

    def set_entities(self, turn: Turn, body: Mapping[str, Any]) -> Iterator[None]:
        """`entity.set`: a fault without end that gives attributes and values; later ones add to it."""
        keys = [self.key_of(entity["kind"], entity["id"]) for entity in body["entities"]]
        self._check_room(keys)
        time_ms = body["at_ms"] or turn.at_ms
        for entity in body["entities"]:
            known = self.faults.get(_edit_id(entity))
            fields = known.fields if known is not None and known.kind == "set" else _NOTHING_SET
            given = {name: (float(value), time_ms) for name, value in entity["metrics"].items()}
            self._edit(
                turn,
                "set",
                entity,
                {
                    # In the order of the fault's record, which a restart reads.
                    "metrics": dict(sorted({**fields["metrics"], **given}.items())),
                    "attributes": dict(sorted({**fields["attributes"], **entity["attributes"]}.items())),
                },
            )
        return self._show_all(turn, keys, turn.at_ms)

    def remove_entities(self, turn: Turn, body: Mapping[str, Any]) -> Iterator[None]:
        """`entity.remove`: hide entities."""
        keys = [self.key_of(entity["kind"], entity["id"]) for entity in body["entities"]]
        self._check_room(keys)
        for entity in body["entities"]:
            self._edit(turn, "remove", entity, {})
        return self._show_all(turn, keys, turn.at_ms)

    def clock(self, turn: Turn) -> Iterator[None]:
        """Look at what time alone changes: faults that start or end, silence."""
        due = self._take_due(turn)
        for fault in self.over_faults(turn, turn.at_ms):
            self.end_fault(turn, fault)
            due.update(self.key_of(kind, id) for kind, id in fault.entities)
        # A record that no fault concerns was left by a worker that ended between two writes.
        due.update(key for key in map(live_key, self._records) if key not in self.by_entity)
        yield from self._show_all(turn, sorted(due), turn.at_ms)

    def follow(
        self, turn: Turn, key: str, base: State | None, rows: Sequence[ShownTick], now_ms: int
    ) -> None:
        """Make the record of an entity of live anew, or take it away when it no longer differs."""
        if turn.was_removed(self.record_key, self.rules.number):
            return  # this or a later message, handled again, ends this world
        own = self._own(key)
        before = turn.states.get(own)
        if before is not None:
            if turn.offset < before["version"]:
                self._look_at(before["due_ms"], key)
                return
            # A scrape from before what the clock showed takes nothing back.
            now_ms = max(now_ms, before["seen_ms"])
        faults = self.by_entity.get(key, [])
        active = [fault for fault in faults if fault.is_active(now_ms)]
        starts = [fault.start_ms for fault in faults if fault.start_ms > now_ms and fault not in active]
        if not active or (base is None and not any(fault.kind in _EDITS for fault in active)):
            self._look_at(min(starts, default=NEVER), key)
            if before is not None:
                self._take_away(turn, own, before, now_ms)
            return
        record = self._laid_over(key, base, before)
        record["version"], record["seen_ms"] = turn.offset + 1, now_ms
        was_hidden = before is not None and scenario_of(before)["hidden"]
        is_hidden = any(fault.kind == "remove" for fault in active)
        self._freeze(record, faults, now_ms)
        if not is_hidden:
            self._show_ticks(turn, record, faults, rows, begins=before is None)
        status = ("up", "") if base is None else (base["status"], base["status_reason"])
        status = judge(record, faults, now_ms, *status, self.rules.step_ms)
        is_news = restate(record, now_ms, *status) or before is None
        is_news = is_news or before is None or record["attributes"] != before["attributes"]
        if is_hidden != was_hidden or (is_news and not is_hidden):
            turn.changes.ticks.add_change(record, now_ms, removed=is_hidden, reason=HIDDEN)
        show_newest(record, faults, now_ms, self.rules.limits, closed_ms=0)
        stale = next_stale_ms(record, active, self.rules.step_ms, now_ms)
        record["due_ms"] = min([*starts, *stale, *(fault.end_ms for fault in active)], default=NEVER)
        self.add_record(own, record["due_ms"])
        turn.write(own, record)

    def lose(self, turn: Turn, key: str, now_ms: int) -> None:
        """Live removed an entity; handled again, a worker may have ended before this world let go of it."""
        before = turn.states.get(self._own(key))
        if before is not None and turn.offset >= before["version"]:
            begin_anew(before)
        self.follow(turn, key, None, (), now_ms)

    def _take_away(self, turn: Turn, own: str, record: State, now_ms: int) -> None:
        self.keys.discard(own)
        self._records.discard(own)
        record["version"] = turn.offset + 1
        turn.changes.ticks.add_change(record, now_ms, removed=True)
        turn.delete(own)

    def _freeze(self, record: State, faults: Sequence[Fault], now_ms: int) -> None:
        """Keep what live's record shows under the faults that were here before."""
        waiting = unfrozen(record, faults, now_ms)
        if waiting:
            others = [fault for fault in faults if fault not in waiting]
            show_newest(record, others, now_ms, self.rules.limits, closed_ms=0)
            freeze(record, faults, now_ms)

    def _show_ticks(
        self, turn: Turn, record: State, faults: Sequence[Fault], rows: Sequence[ShownTick], *, begins: bool
    ) -> None:
        touched = [row for row in rows if any(fault.is_active(row.tick_ms) for fault in faults)]
        if touched and begins:
            # The newest tick that was copied is one of them.
            align_to(record, ShownTick(0, False, [], [], []))
        for row in show_ticks(record, faults, touched, self.rules.step_ms, self.rules.limits):
            turn.changes.ticks.add(record, row.tick_ms, row.complete, row.names, row.values, row.qualities)
            align_to(record, row)

    def _laid_over(self, key: str, base: State | None, before: State | None) -> State:
        """A copy of live's record, without the memory of alignment, with what this world already showed."""
        _, kind, id = split_key(key)
        record = new_entity(self.name, kind, id)
        if base is not None:
            for name in _COPIED:
                value = base[name]  # type: ignore[literal-required]  # a name of a State
                copied = value.copy() if isinstance(value, list | dict) else value
                record[name] = copied  # type: ignore[literal-required]
            record["targets"] = [""] * len(base["targets"])
            record["source_counts"] = [0] * len(base["source_counts"])
        if before is not None:
            for name in _KEPT:
                record[name] = before[name]  # type: ignore[literal-required]
        record["simulated"] = True
        for fault in self.by_entity.get(key, ()):
            if fault.kind == "set":
                merge_attributes(record, fault.fields["attributes"])
        return record

    def _show_all(self, turn: Turn, keys: Sequence[str], now_ms: int) -> Iterator[None]:
        for place, key in enumerate(keys):
            base = turn.states.get(key)
            self.follow(turn, key, base, (), max(now_ms, base["seen_ms"] if base else 0))
            if place % PAUSE_ENTITIES == PAUSE_ENTITIES - 1:
                yield

    def _edit(self, turn: Turn, kind: str, entity: Mapping[str, Any], fields: dict[str, Any]) -> None:
        id = _edit_id(entity)
        if id in self.faults:
            self.forget_fault(self.faults[id])
        told_ms = turn.at_ms
        entities = ((entity["kind"], entity["id"]),)
        self.write_fault(turn, Fault(id, kind, entities, "", told_ms, NEVER, told_ms, fields))

    def _check_room(self, keys: Sequence[str]) -> None:
        """The cap is on the entities that differ; each partition sees its own."""
        count = len(self.by_entity.keys() | set(keys))
        if count > self.max_entities:
            raise InvalidMessageError(
                "too_many_entities",
                f"world {self.name} would change {count} entities of a partition, more than max_entities"
                f" {self.max_entities}",
            )

    def _look_at(self, at_ms: int, key: str) -> None:
        # One entry of a key counts, the earliest; what is due later is found when it comes up.
        if at_ms < self._due.get(key, NEVER):
            self._due[key] = at_ms
            heappush(self._queue, (at_ms, key))

    def _take_due(self, turn: Turn) -> set[str]:
        """Entities that time changes; a record that is not due is left as it is, also after a restart."""
        due: set[str] = set()
        while self._queue and self._queue[0][0] <= turn.at_ms:
            _, key = heappop(self._queue)
            if self._due.pop(key, None) is None:
                continue
            record = turn.states.get(self._own(key))
            if record is not None and record["due_ms"] > turn.at_ms:
                self._look_at(record["due_ms"], key)
            else:
                due.add(key)
        return due

    def _own(self, key: str) -> str:
        return self.name + key[len("live") :]


def live_key(key: str) -> str:
    """Key in live of an entity of an overlay."""
    return "live/" + key.partition("/")[2]


def _edit_id(entity: Mapping[str, Any]) -> str:
    return f"set:{entity['kind']}/{entity['id']}"


_EDITS = ("set", "remove")
"""Kinds of what `entity.set` and `entity.remove` leave, under which an entity is there without live's."""

_NOTHING_SET: Mapping[str, Any] = {"metrics": {}, "attributes": {}}

_KEPT = (
    *("tick_ms", "complete", "aligned_names", "aligned_values", "aligned_qualities", "scenario"),
    *("status", "status_since_ms", "status_reason"),
)
"""Fields that are not live's once the record is there."""

_COPIED = (
    *("status", "status_since_ms", "status_reason", "seen_ms", "tick_ms", "complete", "aligned_names"),
    *("aligned_values", "aligned_qualities", "head_names", "head_sources", "head_forms", "head_values"),
    *("head_times_ms", "head_rates", "source_names", "source_priorities", "source_intervals_ms"),
    *("source_good_ms", "source_failures", "attributes", "features"),
)
"""Fields that show what live knows."""
