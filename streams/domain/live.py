"""A world that moves with its sources and the clock: docs/alignment.md in code."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from heapq import heappop, heappush
from typing import Protocol

from streams.domain.aggregate import KINDS, SOURCE
from streams.domain.aggregate_record import end_partial, is_empty, restate, take_partial
from streams.domain.aggregate_sender import NODES, Sender
from streams.domain.entity import NEVER, is_newer_origin, new_entity
from streams.domain.keys import entity_key
from streams.domain.ledger import remember_removed
from streams.domain.observation import origin_of
from streams.domain.observe import observe
from streams.domain.settle import settle
from streams.domain.show import ShownTick, ticks_of
from streams.domain.world import PAUSE_ENTITIES, Turn
from streams.records import Observation, State


class Overlays(Protocol):
    """What lies over the world."""

    def touches(self, key: str) -> bool:
        """Whether an overlay concerns an entity."""

    def follow(self, turn: Turn, key: str, base: State, rows: Sequence[ShownTick], now_ms: int) -> None:
        """An entity changed."""

    def lose(self, turn: Turn, key: str, now_ms: int) -> None:
        """An entity was removed."""


@dataclass
class Live:
    """The entities of one partition of `live`, or of its replay in another world.

    The indices follow from the records (`restore`), so there is no other state to lose.

    Args:
        number: of the partition; of a replay, that which is replayed.
        ceilings: greatest rate of a counter by metric [unit of the catalogue].
        overlays: are told of what changes.
        sender: tells pools of their nodes; none in a replay, whose log has what was told.
    """

    world: str
    number: int
    step_ms: int
    remove_after_ms: int
    ceilings: Mapping[str, float]
    overlays: Overlays | None = None
    sender: Sender | None = None
    _due: dict[str, int] = field(default_factory=dict)
    _queue: list[tuple[int, str]] = field(default_factory=list)
    _fed_by: dict[str, set[str]] = field(default_factory=dict)

    def keys(self) -> Collection[str]:
        """Keys of all entities."""
        return self._due.keys()

    def restore(self, key: str, state: Mapping[str, object]) -> None:
        """Index a record that is in the table already; `due_ms` and `targets` are all that is read of it."""
        self._schedule(key, state["due_ms"])  # type: ignore[arg-type]  # a State or its first fields
        for target in state["targets"]:  # type: ignore[attr-defined]
            self._fed_by.setdefault(target, set()).add(key)
        if self.sender is not None:
            self.sender.restore(key)

    def steps(self, turn: Turn, message: Observation) -> Iterator[None]:
        """Apply values, the failure of a scrape, the clock, or partials; yields every 50 entities."""
        if message["type"] == "clock":
            return self._clock(turn)
        if message["type"] == "failure":
            return self._failure(turn, message)
        if message["type"] == "partial":
            return self._partials(turn, message)
        if message["type"] == "partial_end":
            return self._partial_end(turn, message)
        return self._values(turn, message)

    def _values(self, turn: Turn, message: Observation) -> Iterator[None]:
        origin = origin_of(message)
        stop = 0
        for place, (kind, id, size) in enumerate(
            zip(message["kinds"], message["ids"], message["sizes"], strict=True)
        ):
            start, stop = stop, stop + size
            key = entity_key(self.world, kind, id)
            entity = turn.states.get(key)
            if entity is None:
                if turn.was_removed(key, self.number, self.world):
                    continue
                entity = turn.states[key] = new_entity(self.world, kind, id)
            elif turn.offset < entity["version"]:
                continue
            if is_newer_origin(entity, origin, message["origin_offset"]):
                self._observe(turn, key, entity, message, place, start, stop)
            if place % PAUSE_ENTITIES == PAUSE_ENTITIES - 1:
                yield

    def _observe(
        self, turn: Turn, key: str, entity: State, message: Observation, place: int, start: int, stop: int
    ) -> None:
        was_simulated = entity["simulated"]
        seen = observe(entity, message, place, start, stop, self.step_ms, self.ceilings)
        self._feed(key, entity, seen.source, f"{message['source']} {message['target']}")
        if stop > start and self.world == "live":
            turn.changes.count(message["source"], seen.counts)
        entity["version"] = turn.offset + 1
        turn.changes.changed.add(key)
        self._settle(turn, key, entity, entity["seen_ms"], told=seen.told)
        if self.sender is not None and entity["simulated"] != was_simulated and key.startswith(NODES):
            self.sender.note(key, entity)

    def _partials(self, turn: Turn, message: Observation) -> Iterator[None]:
        stop = 0
        named = zip(message["kinds"], message["ids"], message["sizes"], message["times_ms"], strict=True)
        for place, (kind, id, size, tick_ms) in enumerate(named):
            start, stop = stop, stop + size
            key, values = entity_key(self.world, kind, id), message["values"][start:stop]
            entity = turn.states.get(key)
            if entity is None:
                if not any(values) or turn.was_removed(key, self.number, self.world):
                    continue
                entity = turn.states[key] = new_entity(self.world, kind, id)
            if turn.offset >= entity["version"] and take_partial(entity, message, tick_ms, values):
                self._restate(turn, key, entity, message)
            if place % PAUSE_ENTITIES == PAUSE_ENTITIES - 1:
                yield

    def _partial_end(self, turn: Turn, message: Observation) -> Iterator[None]:
        keys = sorted(key for key in self._due if key.split("/", 2)[1] in KINDS)
        for place, key in enumerate(keys):
            entity = turn.states.get(key)
            if entity is not None and turn.offset >= entity["version"] and end_partial(entity, message):
                self._restate(turn, key, entity, message)
            if place % PAUSE_ENTITIES == PAUSE_ENTITIES - 1:
                yield

    def _restate(self, turn: Turn, key: str, entity: State, message: Observation) -> None:
        source = restate(entity, message, self.step_ms)
        if is_empty(entity):
            self._remove(turn, key, entity, entity["seen_ms"])
            return
        self._feed(key, entity, source, f"{SOURCE} ")
        entity["version"] = turn.offset + 1
        turn.changes.changed.add(key)
        self._settle(turn, key, entity, entity["seen_ms"])

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
        if self.sender is not None:
            yield from self.sender.clock(turn)

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
            entity["epoch"], entity["due_ms"] = turn.epoch, settled.due_ms
            if self.overlays is not None and self.overlays.touches(key):
                self.overlays.follow(turn, key, entity, ticks_of(settled), now_ms)
        self._schedule(key, settled.due_ms)
        if self.sender is not None and key.startswith(NODES):
            is_news = settled.closed or settled.restated or told
            if is_news or (entity["status"] != "up" and (settled.changed or not version)):
                self.sender.note(key, entity)
        return settled.changed

    def _is_forgotten(self, entity: State, now_ms: int) -> bool:
        good = entity["source_good_ms"]
        return bool(good) and now_ms - max(good) > self.remove_after_ms

    def _remove(self, turn: Turn, key: str, entity: State, now_ms: int) -> None:
        remember_removed(turn.ledger(self.number, now_ms, self.world), key, entity, turn.offset + 1, now_ms)
        entity["version"], entity["epoch"] = turn.offset + 1, turn.epoch
        turn.changes.ticks.add_change(entity, now_ms, removed=True)
        for target in entity["targets"]:
            self._fed_by.get(target, set()).discard(key)
        turn.delete(key)
        self._due.pop(key, None)
        if self.sender is not None:
            self.sender.forget(key)
        if self.overlays is not None and self.overlays.touches(key):
            self.overlays.lose(turn, key, now_ms)

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
