"""Observations to entity records and closed ticks, for one partition: docs/alignment.md in code."""

from collections.abc import Iterator, Mapping, MutableMapping
from dataclasses import dataclass, field
from heapq import heappop, heappush

from streams.domain.changes import Changes
from streams.domain.entity import NEVER, is_newer_origin, new_entity
from streams.domain.faults import Limits
from streams.domain.keys import entity_key
from streams.domain.ledger import remember_removed
from streams.domain.observation import origin_of
from streams.domain.observe import observe
from streams.domain.settle import settle
from streams.domain.show import ticks_of
from streams.domain.world import PAUSE_ENTITIES, Rules, Turn
from streams.domain.worlds import Worlds
from streams.records import Observation, State


@dataclass
class Partition:
    """The twin of one partition: the rules, and the indices that say whom a message concerns.

    The indices follow from the records (`restore`), so there is no other state to lose.

    Args:
        number: of the partition.
        ceilings: greatest rate of a counter by metric [unit of the catalogue].
        epoch: generation of the consumer group, written into every record.
        limits: least and greatest value by metric [unit of the catalogue], for what faults make of values.
        lazily: isolated worlds settle only the entities that need it: for one process without history.
    """

    number: int
    step_ms: int
    remove_after_ms: int
    ceilings: Mapping[str, float]
    epoch: int = 0
    limits: Limits = field(default_factory=dict)
    lazily: bool = False
    _due: dict[str, int] = field(default_factory=dict)
    _queue: list[tuple[int, str]] = field(default_factory=list)
    _fed_by: dict[str, set[str]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.worlds = Worlds(Rules(self.number, self.step_ms, self.ceilings, self.limits, self.lazily))

    def restore(self, key: str, state: Mapping[str, object]) -> None:
        """Index a record that is in the table already; `due_ms` and `targets` are all that is read of it.

        Where `is_read_whole` says so it is the whole record.
        """
        if not key.startswith("live/"):
            self.worlds.restore(key, state)
            return
        self._schedule(key, state["due_ms"])  # type: ignore[arg-type]  # a State or its first fields
        for target in state["targets"]:  # type: ignore[attr-defined]
            self._fed_by.setdefault(target, set()).add(key)

    def apply(self, offset: int, message: Observation, states: MutableMapping[str, State]) -> Changes:
        """Apply one message of the log to the records, in place."""
        changes = Changes()
        for _ in self.steps(offset, message, states, changes):
            pass
        return changes

    def steps(
        self, offset: int, message: Observation, states: MutableMapping[str, State], changes: Changes
    ) -> Iterator[None]:
        """`apply` that yields every 50 entities, and adds to changes that are given."""
        turn = Turn(offset, self.epoch, message["at_ms"], states, changes)
        if message["type"] == "clock":
            return self._clock(turn)
        if message["world"] != "live" or message["type"] == "event":
            return self.worlds.steps(turn, message)
        if message["type"] == "failure":
            return self._failure(turn, message)
        return self._values(turn, message)

    def _values(self, turn: Turn, message: Observation) -> Iterator[None]:
        origin = origin_of(message)
        stop = 0
        for place, (kind, id, size) in enumerate(
            zip(message["kinds"], message["ids"], message["sizes"], strict=True)
        ):
            start, stop = stop, stop + size
            key = entity_key("live", kind, id)
            entity = turn.states.get(key)
            if entity is None:
                if turn.was_removed(key, self.number):
                    continue
                entity = turn.states[key] = new_entity("live", kind, id)
            elif turn.offset < entity["version"]:
                continue
            if is_newer_origin(entity, origin, message["origin_offset"]):
                self._observe(turn, key, entity, message, place, start, stop)
            if place % PAUSE_ENTITIES == PAUSE_ENTITIES - 1:
                yield

    def _observe(
        self, turn: Turn, key: str, entity: State, message: Observation, place: int, start: int, stop: int
    ) -> None:
        seen = observe(entity, message, place, start, stop, self.step_ms, self.ceilings)
        self._feed(key, entity, seen.source, f"{message['source']} {message['target']}")
        if stop > start:
            turn.changes.count(message["source"], seen.counts)
        entity["version"] = turn.offset + 1
        turn.changes.changed.add(key)
        self._settle(turn, key, entity, entity["seen_ms"], told=seen.told)

    def _failure(self, turn: Turn, message: Observation) -> Iterator[None]:
        origin = origin_of(message)
        target = f"{message['source']} {message['target']}"
        failed_ms = min(message["scraped_at_ms"], message["at_ms"])
        for place, key in enumerate(sorted(self._fed_by.get(target, ()))):
            entity = turn.states.get(key)
            if entity is None:
                continue  # its record did not decode
            is_new = turn.offset >= entity["version"]
            if is_new and is_newer_origin(entity, origin, message["origin_offset"]):
                source = entity["targets"].index(target)
                entity["seen_ms"] = max(entity["seen_ms"], failed_ms)
                if failed_ms > entity["source_good_ms"][source]:
                    entity["source_failures"][source] += 1
                entity["version"] = turn.offset + 1
                turn.changes.changed.add(key)
                self._settle(turn, key, entity, entity["seen_ms"])
            if place % PAUSE_ENTITIES == PAUSE_ENTITIES - 1:
                yield

    def _clock(self, turn: Turn) -> Iterator[None]:
        for place, key in enumerate(self._take_due(turn.at_ms)):
            entity = turn.states.get(key)
            if entity is None:
                continue  # its record did not decode
            now_ms = max(entity["seen_ms"], turn.at_ms)
            if turn.offset < entity["version"]:
                self._schedule(key, entity["due_ms"])
            elif self._is_forgotten(entity, now_ms):
                self._remove(turn, key, entity, now_ms)
            elif self._settle(turn, key, entity, now_ms, version=turn.offset + 1):
                turn.changes.changed.add(key)
            if place % PAUSE_ENTITIES == PAUSE_ENTITIES - 1:
                yield
        yield from self.worlds.clock(turn)

    def _take_due(self, clock_ms: int) -> list[str]:
        """Take what is due out of the queue; in order of key, which a restart does not change."""
        due = []
        while self._queue and self._queue[0][0] <= clock_ms:
            _, key = heappop(self._queue)
            due_ms = self._due.pop(key, None)
            if due_ms is not None and due_ms > clock_ms:
                self._schedule(key, due_ms)
            elif due_ms is not None:
                due.append(key)
        return sorted(due)

    def _settle(
        self, turn: Turn, key: str, entity: State, now_ms: int, told: bool = False, version: int = 0
    ) -> bool:
        """Bring a record to a time and schedule the next look; True when it changed by that.

        `version` is that of a clock message; other messages set theirs before.
        """
        settled = settle(entity, now_ms, self.step_ms, self.remove_after_ms)
        if settled.changed and version:
            entity["version"], entity["seen_ms"] = version, now_ms
        ticks = turn.changes.ticks
        for tick, names, values, qualities in settled.closed:
            ticks.add(entity, tick, tick <= settled.complete_ms, names, values, qualities)
        if settled.restated or told:
            ticks.add_change(entity, now_ms)
        if settled.changed or not version:
            # A clock message that changes nothing leaves no trace, be it only the time of the next look.
            entity["epoch"], entity["due_ms"] = self.epoch, settled.due_ms
            if self.worlds.touches(key):
                self.worlds.follow(turn, key, entity, ticks_of(settled), now_ms)
        self._schedule(key, settled.due_ms)
        return settled.changed

    def _is_forgotten(self, entity: State, now_ms: int) -> bool:
        good = entity["source_good_ms"]
        return bool(good) and now_ms - max(good) > self.remove_after_ms

    def _remove(self, turn: Turn, key: str, entity: State, now_ms: int) -> None:
        remember_removed(turn.ledger(self.number, now_ms), key, entity, turn.offset + 1, now_ms)
        entity["version"], entity["epoch"] = turn.offset + 1, self.epoch
        turn.changes.ticks.add_change(entity, now_ms, removed=True)
        for target in entity["targets"]:
            self._fed_by.get(target, set()).discard(key)
        turn.delete(key)
        if self.worlds.touches(key):
            self.worlds.follow(turn, key, None, (), now_ms)

    def _schedule(self, key: str, due_ms: int) -> None:
        # One entry a key in the queue; a later due time is found when that entry comes up.
        queued = key in self._due
        earlier = not queued or due_ms < self._due[key]
        self._due[key] = due_ms
        if earlier and due_ms < NEVER:
            heappush(self._queue, (due_ms, key))

    def _feed(self, key: str, entity: State, source: int, target: str) -> None:
        if entity["targets"][source] != target:
            self._fed_by.get(entity["targets"][source], set()).discard(key)
            entity["targets"][source] = target
        # Also when it is known: the record may have been dropped and come back.
        self._fed_by.setdefault(target, set()).add(key)
