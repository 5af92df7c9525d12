"""Observations to entity records and closed ticks, for one partition: docs/alignment.md in code."""

from collections.abc import Iterator, Mapping, MutableMapping
from dataclasses import dataclass, field
from heapq import heappop, heappush

from streams.domain.align import take_samples
from streams.domain.entity import NEVER, add_source, is_newer_origin, new_entity
from streams.domain.keys import entity_key
from streams.domain.ledger import (
    forget_removed,
    ledger_key,
    new_ledger,
    remember_removed,
    removed_version,
)
from streams.domain.settle import settle
from streams.domain.ticks import TickRows
from streams.records import Observation, State

PAUSE_ENTITIES = 50
"""[1] After so many entities `steps` yields, so that the caller can give the event loop back."""


@dataclass
class Changes:
    """What a message, or several, changed: keys to write or to delete, and rows for `tick`."""

    changed: set[str] = field(default_factory=set)
    ticks: TickRows = field(default_factory=TickRows)
    outcomes: dict[str, list[int]] = field(default_factory=dict)
    """Samples of each source that became applied, duplicate, late, conflict, rejected."""

    def count(self, source: str, counts: list[int]) -> None:
        """Add to the outcomes."""
        known = self.outcomes.get(source)
        self.outcomes[source] = [a + b for a, b in zip(known, counts, strict=True)] if known else counts


@dataclass
class Partition:
    """The twin of one partition: the rules, and the indices that say whom a message concerns.

    The indices follow from the records (`restore`), so there is no other state to lose.

    Args:
        number: of the partition.
        ceilings: greatest rate of a counter by metric [unit of the catalogue].
        epoch: generation of the consumer group, written into every record.
    """

    number: int
    step_ms: int
    remove_after_ms: int
    ceilings: Mapping[str, float]
    epoch: int = 0
    _due: dict[str, int] = field(default_factory=dict)
    _queue: list[tuple[int, str]] = field(default_factory=list)
    _fed_by: dict[str, set[str]] = field(default_factory=dict)

    def restore(self, key: str, state: Mapping[str, object]) -> None:
        """Index a record that is in the table already; `due_ms` and `targets` are all that is read of it."""
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
        if message["type"] == "clock":
            return self._clock(offset, message["at_ms"], states, changes)
        if message["type"] == "failure":
            return self._failure(offset, message, states, changes)
        return self._values(offset, message, states, changes)

    def _values(
        self, offset: int, message: Observation, states: MutableMapping[str, State], changes: Changes
    ) -> Iterator[None]:
        world, origin = message["world"], f"{message['origin_topic']}/{message['origin_partition']}"
        stop = 0
        for place, (kind, id, size) in enumerate(
            zip(message["kinds"], message["ids"], message["sizes"], strict=True)
        ):
            start, stop = stop, stop + size
            key = entity_key(world, kind, id)
            entity = states.get(key)
            if entity is None:
                if offset < removed_version(states.get(ledger_key(self.number)), key):
                    continue
                entity = states[key] = new_entity(world, kind, id)
            elif offset < entity["version"]:
                continue
            if is_newer_origin(entity, origin, message["origin_offset"]):
                self._observe(offset, key, entity, message, place, start, stop, changes)
            if place % PAUSE_ENTITIES == PAUSE_ENTITIES - 1:
                yield

    def _observe(
        self,
        offset: int,
        key: str,
        entity: State,
        message: Observation,
        place: int,
        start: int,
        stop: int,
        changes: Changes,
    ) -> None:
        told_ms = min(message["scraped_at_ms"], message["at_ms"])
        entity["seen_ms"] = max(entity["seen_ms"], told_ms)
        source = add_source(entity, message["source"])
        entity["source_priorities"][source] = message["priority"]
        entity["source_intervals_ms"][source] = message["interval_ms"]
        entity["source_failures"][source] = 0
        self._feed(key, entity, source, f"{message['source']} {message['target']}")
        good_ms = told_ms
        if stop > start:
            good_ms, counts = take_samples(entity, source, message, start, stop, self.step_ms, self.ceilings)
            changes.count(message["source"], counts)
            if not entity["source_good_ms"][source]:
                good_ms = good_ms or told_ms  # heard of, though nothing that it said was taken yet
        entity["source_good_ms"][source] = max(entity["source_good_ms"][source], good_ms)
        entity["simulated"] = entity["simulated"] or message["simulated"]
        entity["version"] = offset + 1
        news = message["attributes"][place]
        told = bool(news) and _merge_attributes(entity, news)
        self._settle(key, entity, entity["seen_ms"], changes, told=told)
        changes.changed.add(key)

    def _failure(
        self, offset: int, message: Observation, states: MutableMapping[str, State], changes: Changes
    ) -> Iterator[None]:
        origin = f"{message['origin_topic']}/{message['origin_partition']}"
        target = f"{message['source']} {message['target']}"
        failed_ms = min(message["scraped_at_ms"], message["at_ms"])
        for place, key in enumerate(sorted(self._fed_by.get(target, ()))):
            entity = states.get(key)
            if entity is None:
                continue  # its record did not decode
            if offset >= entity["version"] and is_newer_origin(entity, origin, message["origin_offset"]):
                source = entity["targets"].index(target)
                entity["seen_ms"] = max(entity["seen_ms"], failed_ms)
                if failed_ms > entity["source_good_ms"][source]:
                    entity["source_failures"][source] += 1
                entity["version"] = offset + 1
                self._settle(key, entity, entity["seen_ms"], changes)
                changes.changed.add(key)
            if place % PAUSE_ENTITIES == PAUSE_ENTITIES - 1:
                yield

    def _clock(
        self, offset: int, clock_ms: int, states: MutableMapping[str, State], changes: Changes
    ) -> Iterator[None]:
        for place, key in enumerate(self._take_due(clock_ms)):
            entity = states.get(key)
            if entity is None:
                continue  # its record did not decode
            now_ms = max(entity["seen_ms"], clock_ms)
            if offset < entity["version"]:
                self._schedule(key, entity["due_ms"])
            elif self._is_forgotten(entity, now_ms):
                self._remove(offset, key, entity, now_ms, states, changes)
            elif self._settle(key, entity, now_ms, changes, version=offset + 1):
                changes.changed.add(key)
            if place % PAUSE_ENTITIES == PAUSE_ENTITIES - 1:
                yield

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
        self, key: str, entity: State, now_ms: int, changes: Changes, told: bool = False, version: int = 0
    ) -> bool:
        """Bring a record to a time and schedule the next look; True when it changed by that.

        `version` is that of a clock message; other messages set theirs before.
        """
        settled = settle(entity, now_ms, self.step_ms, self.remove_after_ms)
        if settled.changed and version:
            entity["version"], entity["seen_ms"] = version, now_ms
        for tick, names, values, qualities in settled.closed:
            changes.ticks.add(entity, tick, tick <= settled.complete_ms, names, values, qualities)
        if settled.restated or told:
            changes.ticks.add_change(entity, now_ms)
        if settled.changed or not version:
            # A clock message that changes nothing leaves no trace, be it only the time of the next look.
            entity["epoch"], entity["due_ms"] = self.epoch, settled.due_ms
        self._schedule(key, settled.due_ms)
        return settled.changed

    def _is_forgotten(self, entity: State, now_ms: int) -> bool:
        good = entity["source_good_ms"]
        return bool(good) and now_ms - max(good) > self.remove_after_ms

    def _remove(
        self,
        offset: int,
        key: str,
        entity: State,
        now_ms: int,
        states: MutableMapping[str, State],
        changes: Changes,
    ) -> None:
        place = ledger_key(self.number)
        ledger = states.get(place)
        if ledger is None:
            ledger = new_ledger(self.number)
        forget_removed(ledger, now_ms)
        remember_removed(ledger, key, entity, offset + 1, now_ms)
        ledger["version"], ledger["epoch"] = max(ledger["version"], offset + 1), self.epoch
        states[place] = ledger
        entity["version"], entity["epoch"] = offset + 1, self.epoch
        changes.ticks.add_change(entity, now_ms, removed=True)
        for target in entity["targets"]:
            self._fed_by.get(target, set()).discard(key)
        del states[key]
        changes.changed.update((place, key))

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


def _merge_attributes(entity: State, news: dict[str, str]) -> bool:
    """Take attributes over, an empty one removing its name; True when that changed anything."""
    attributes = entity["attributes"]
    if all(attributes.get(name, "") == value for name, value in news.items()):
        return False
    attributes.update(news)
    for name, value in news.items():
        if not value:
            del attributes[name]
    return True
