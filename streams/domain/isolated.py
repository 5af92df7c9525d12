"""A world of its own, whole in one partition: it moves only by its events (docs/worlds.md)."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from streams.domain.bounds import check_advance, check_near
from streams.domain.entity import NEVER, is_newer_origin, new_entity
from streams.domain.keys import entity_key, split_key
from streams.domain.observation import origin_of
from streams.domain.observe import observe
from streams.domain.settle import settle
from streams.domain.show import align_to, aligned_tick, freeze, judge, show_newest, show_ticks, ticks_of
from streams.domain.still import is_still, set_still, settle_still, wake
from streams.domain.world import PAUSE_ENTITIES, Turn, World
from streams.errors import InvalidMessageError
from streams.records import Observation, State


@dataclass
class Isolated(World):
    """An isolated world; `clock_ms` is its time."""

    step_ms: int = 0
    clock_ms: int = 0
    entities: set[str] = field(default_factory=set)
    _settled_ms: dict[str, int] = field(default_factory=dict)
    _due_ms: dict[str, int] = field(default_factory=dict)
    _touched: set[str] = field(default_factory=set)

    def read(self, record: State) -> None:
        """Take over what the world's record says."""
        super().read(record)
        self.step_ms = int(record["attributes"]["step_ms"])
        self.clock_ms = int(record["attributes"]["clock_ms"])

    def add_entity(self, key: str) -> None:
        """Index an entity."""
        self.keys.add(key)
        self.entities.add(key)
        self._touched.add(key)

    def set_entities(self, turn: Turn, message: Observation) -> Iterator[None]:
        """`entity.set`: an observation; a time of 0 stands for the clock.

        Raises:
            InvalidMessageError: the time lies far from the clock, or there would be too many entities.
        """
        check_near(self.name, message["at_ms"], self.clock_ms, self.step_ms)
        keys = [
            entity_key(self.name, kind, id) for kind, id in zip(message["kinds"], message["ids"], strict=True)
        ]
        # What creates nothing is never too much: when it is handled again, what came after it may be there.
        count = len(self.entities.union(keys))
        if len(self.entities) < count > self.max_entities:
            raise InvalidMessageError(
                "too_many_entities",
                f"body.entities: world {self.name} would have {count} entities, more than max_entities"
                f" {self.max_entities}",
            )
        return self._set(turn, message, keys)

    def advance(self, turn: Turn, body: Mapping[str, Any]) -> Iterator[None]:
        """`world.advance`: close the ticks up to a time; the world's record is the caller's to write.

        Raises:
            InvalidMessageError: the time does not lie ahead, or too far.
        """
        to_ms = body["to_ms"] if body["by_ms"] is None else self.clock_ms + body["by_ms"]
        check_advance(self.name, to_ms, self.clock_ms, self.step_ms, len(self.entities))
        return self._advance(turn, to_ms)

    def remove_entities(self, turn: Turn, body: Mapping[str, Any]) -> Iterator[None]:
        """`entity.remove`.

        Raises:
            InvalidMessageError: one of the entities is not there; none is removed.
        """
        keys = [entity_key(self.name, entity["kind"], entity["id"]) for entity in body["entities"]]
        self._check_there(turn, keys, "body.entities")
        return self._remove(turn, keys)

    def start_fault(self, turn: Turn, body: Mapping[str, Any]) -> Iterator[None]:
        """`fault.start`.

        Raises:
            InvalidMessageError: one of the entities is not there, or the fault cannot be.
        """
        keys = [entity_key(self.name, kind, id) for kind, id in body["entities"]]
        self._check_there(turn, keys, "body.selector.ids")
        ahead = self._not_done(turn, keys)
        for key in ahead:
            # The ticks up to the clock closed before the fault was there.
            self._catch_up(turn, key, turn.states[key])
        fault = self.begin_fault(turn, body, self.clock_ms)
        return self._settle_all(turn, ahead if fault else [])

    def stop_fault(self, turn: Turn, body: Mapping[str, Any]) -> Iterator[None]:
        """`fault.stop`.

        Raises:
            InvalidMessageError: there is no such fault.
        """
        fault = self.find_fault(turn, body["fault"])
        if fault is None:
            return iter(())
        keys = [entity_key(self.name, kind, id) for kind, id in fault.entities]
        # The ticks up to the clock are closed, so there is nothing left that it could change.
        self.end_fault(turn, fault)
        return self._settle_all(turn, self._not_done(turn, keys))

    def _at_its_time(self, told: Observation, entity: State) -> Observation:
        """What was told, at a time: of two events that say none the later counts."""
        if told["at_ms"]:
            return told
        message = told.copy()
        time_ms = self.clock_ms
        if message["source"] in entity["source_names"]:
            source = entity["source_names"].index(message["source"])
            times = zip(entity["head_times_ms"], entity["head_sources"], strict=True)
            time_ms = max([time_ms, *(time + 1 for time, place in times if place == source)])
        message["at_ms"] = message["scraped_at_ms"] = time_ms
        message["times_ms"] = [time_ms] * len(message["values"])
        return message

    def _set(self, turn: Turn, told: Observation, keys: list[str]) -> Iterator[None]:
        origin = origin_of(told)
        stop = 0
        for place, (key, size) in enumerate(zip(keys, told["sizes"], strict=True)):
            start, stop = stop, stop + size
            entity = turn.states.get(key)
            if entity is None:
                if turn.was_removed(key, self.rules.number):
                    continue
                entity = new_entity(self.name, told["kinds"][place], told["ids"][place])
            elif turn.offset < entity["version"]:
                continue
            if is_newer_origin(entity, origin, told["origin_offset"]):
                self._catch_up(turn, key, entity)
                message = self._at_its_time(told, entity)
                if self._set_still(turn, key, entity, message, (place, start, stop)):
                    continue
                # Now is what the world's clock says, or the sample when it is ahead of that.
                entity["seen_ms"] = max(entity["seen_ms"], self.clock_ms)
                freeze(entity, self.by_entity.get(key, ()), max(entity["seen_ms"], message["at_ms"]))
                seen = observe(entity, message, place, start, stop, self.step_ms, self.rules.ceilings)
                entity["targets"][seen.source] = f"{message['source']} "
                if size:
                    turn.changes.count(message["source"], seen.counts)
                self.add_entity(key)
                self._settle(turn, key, entity, entity["seen_ms"], 0, told=seen.told)
                turn.write(key, entity)
            if place % PAUSE_ENTITIES == PAUSE_ENTITIES - 1:
                yield

    def _advance(self, turn: Turn, to_ms: int) -> Iterator[None]:
        for place, key in enumerate(sorted(self._to_settle(to_ms))):
            entity = turn.states.get(key)
            if entity is not None and turn.offset >= entity["version"]:
                self._settle_at(turn, key, entity, to_ms)
            if place % PAUSE_ENTITIES == PAUSE_ENTITIES - 1:
                yield
        self._touched.clear()
        self.clock_ms = to_ms
        for fault in self.over_faults(turn, to_ms):
            self.end_fault(turn, fault)

    def _set_still(
        self, turn: Turn, key: str, entity: State, message: Observation, part: tuple[int, int, int]
    ) -> bool:
        """Lazily, and where no fault is, values are taken without a look at ticks."""
        if not self.rules.lazily:
            return False
        if key in self.by_entity or not set_still(entity, message, *part, self.step_ms, self.clock_ms):
            wake(entity, self.step_ms)
            return False
        turn.changes.count(message["source"], [part[2] - part[1], 0, 0, 0, 0])
        self._due_ms[key] = entity["due_ms"]
        self._touched.add(key)
        turn.write(key, entity)
        return True

    def _to_settle(self, to_ms: int) -> set[str]:
        if not self.rules.lazily:
            return self.entities
        due = {key for key, due_ms in self._due_ms.items() if due_ms <= to_ms}
        return self.entities & (due | self._touched | self.by_entity.keys())

    def _settle_at(self, turn: Turn, key: str, entity: State, to_ms: int) -> None:
        if self.rules.lazily and key not in self.by_entity and is_still(entity):
            self._settled_ms[key] = to_ms
            if settle_still(entity, to_ms, self.step_ms):
                self._due_ms[key] = entity["due_ms"]
                turn.write(key, entity)
            return
        before = entity["version"], entity["due_ms"]
        if self._settle(turn, key, entity, max(entity["seen_ms"], to_ms), to_ms):
            entity["seen_ms"] = max(entity["seen_ms"], to_ms)
            turn.write(key, entity)
        else:
            entity["version"], entity["due_ms"] = before

    def _catch_up(self, turn: Turn, key: str, entity: State) -> None:
        """Close the ticks that were not asked for until now."""
        if self.rules.lazily and self._settled_ms.get(key, self.clock_ms) < self.clock_ms:
            self._settle_at(turn, key, entity, self.clock_ms)

    def _not_done(self, turn: Turn, keys: list[str]) -> list[str]:
        """Those that are there and were not brought further before this message was handled again."""
        found = [(key, turn.states.get(key)) for key in keys]
        return [key for key, entity in found if entity is not None and turn.offset >= entity["version"]]

    def _settle_all(self, turn: Turn, keys: list[str]) -> Iterator[None]:
        for place, key in enumerate(keys):
            entity = turn.states[key]
            wake(entity, self.step_ms)
            entity["seen_ms"] = max(entity["seen_ms"], self.clock_ms)
            self._settle(turn, key, entity, entity["seen_ms"], 0)
            turn.write(key, entity)
            if place % PAUSE_ENTITIES == PAUSE_ENTITIES - 1:
                yield

    def _settle(
        self, turn: Turn, key: str, entity: State, now_ms: int, upto_ms: int, told: bool = False
    ) -> bool:
        """Bring an entity to a time, its faults included; False when nothing changed."""
        entity["simulated"] = True
        entity["version"] = turn.offset + 1
        faults = self.by_entity.get(key, ())
        changes = bool(faults) or entity["scenario"] is not None
        if not changes and entity["tick_ms"] < entity["next_tick_ms"]:
            settled = settle(entity, now_ms, self.step_ms, NEVER, upto_ms)
            rows = ticks_of(settled)
        else:
            if changes:
                entity["seen_ms"] = max(entity["seen_ms"], self.clock_ms)
                freeze(entity, faults, now_ms)
                entity["seen_ms"] = now_ms
            before = aligned_tick(entity)
            settled = settle(
                entity,
                now_ms,
                self.step_ms,
                NEVER,
                upto_ms,
                lambda _, at_ms, status, reason: judge(entity, faults, at_ms, status, reason, self.step_ms),
            )
            align_to(entity, before)
            rows = show_ticks(entity, faults, ticks_of(settled), self.step_ms, self.rules.limits)
            if rows:
                align_to(entity, rows[-1])
            show_newest(entity, faults, now_ms, self.rules.limits, closed_ms=upto_ms)
        for row in rows:
            turn.changes.ticks.add(entity, row.tick_ms, row.complete, row.names, row.values, row.qualities)
        if settled.restated or told:
            turn.changes.ticks.add_change(entity, now_ms)
        entity["due_ms"] = settled.due_ms
        if self.rules.lazily:
            self._due_ms[key] = settled.due_ms
            self._settled_ms[key] = max(upto_ms, self._settled_ms.get(key, self.clock_ms))
        return settled.changed or changes

    def _remove(self, turn: Turn, keys: list[str]) -> Iterator[None]:
        for place, key in enumerate(keys):
            entity = turn.states.get(key)
            if entity is not None and turn.offset < entity["version"]:
                continue  # it came back before this message was handled again
            if entity is not None:
                turn.remember_gone(key, self.rules.number)
                entity["version"], entity["epoch"] = turn.offset + 1, turn.epoch
                turn.changes.ticks.add_change(entity, self.clock_ms, removed=True)
            turn.delete(key)
            self._forget_entity(key)
            if place % PAUSE_ENTITIES == PAUSE_ENTITIES - 1:
                yield

    def _forget_entity(self, key: str) -> None:
        self.keys.discard(key)
        self.entities.discard(key)
        self._touched.discard(key)
        self._settled_ms.pop(key, None)
        self._due_ms.pop(key, None)

    def _check_there(self, turn: Turn, keys: list[str], field: str) -> None:
        missing = [
            key
            for key in keys
            if turn.states.get(key) is None and not turn.was_removed(key, self.rules.number)
        ]
        if missing:
            shown = ", ".join("{1} {2!r}".format(*split_key(key)) for key in missing[:5])
            raise InvalidMessageError("unknown_entity", f"{field}: world {self.name} has no {shown}")
