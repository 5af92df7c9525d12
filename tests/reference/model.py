"""A slow, obviously right model of one partition of the twin, written from docs/alignment.md alone.

It keeps every accepted sample with the gap that was in force when it came, and works each answer out anew
by scanning those lists. It shares no code with `streams.domain`; property tests hold the two side by side.
"""

import math
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any
from urllib.parse import quote

from streams.records import Observation

GAUGE, STATE, COUNTER = 0, 1, 2
MEASURED, INTERPOLATED, HELD = 0, 1, 2
VERDICTS = ("applied", "duplicate", "late", "conflict", "rejected")
MAX_AHEAD_MS = 60_000
LONGEST_WAIT_MS = 60_000
LEDGER_MEMORY_MS = 600_000

Value = tuple[float, int]
"""A value and its quality."""
Values = dict[str, Value]
Change = tuple[str, int, str, str, dict[str, str], bool]
"""Key, at_ms, status, reason, attributes, removed."""


@dataclass(frozen=True)
class Sample:
    """One accepted sample; `gap_ms` is the gap, and hold, of its source when it was accepted."""

    form: int
    value: float
    time_ms: int
    gap_ms: int
    came_as: float | None = None
    """Value with which it came, where another was stated for the same time later."""


@dataclass
class Source:
    """What one source said of one entity."""

    observations: list[Observation] = field(default_factory=list)
    good_times: list[int] = field(default_factory=list)
    failures: int = 0
    counts: dict[str, int] = field(default_factory=lambda: dict.fromkeys(VERDICTS, 0))

    @property
    def priority(self) -> int:
        return self.observations[-1]["priority"]

    @property
    def target(self) -> str:
        return self.observations[-1]["target"]

    @property
    def interval_ms(self) -> int:
        return self.observations[-1]["interval_ms"]

    @property
    def good_ms(self) -> int:
        return max(self.good_times, default=0)


@dataclass
class Entity:
    """Everything that was taken for one entity since it appeared."""

    sources: dict[str, Source] = field(default_factory=dict)
    samples: dict[tuple[str, str], list[Sample]] = field(default_factory=dict)
    """By metric and source, those since the head last began anew."""
    former: dict[tuple[str, str], list[list[Sample]]] = field(default_factory=dict)
    """Likewise those of heads of other forms that were replaced: what they made certain stays so."""
    origins: dict[str, list[int]] = field(default_factory=dict)
    told_ms: list[int] = field(default_factory=list)
    features: dict[str, float] = field(default_factory=dict)
    attributes: dict[str, str] = field(default_factory=dict)
    version: int = 0
    next_tick_ms: int = 0
    closed: list[tuple[int, bool, Values]] = field(default_factory=list)
    """Tick, complete and values of each closed tick that has values."""
    status: str = ""
    status_since_ms: int = 0
    status_reason: str = ""

    @property
    def seen_ms(self) -> int:
        return max(self.told_ms)


class ReferencePartition:
    """The entities of one partition after the messages that `handle` was given."""

    def __init__(
        self, step_ms: int, remove_after_ms: int, ceilings: dict[str, float], epoch: int = 1
    ) -> None:
        self.step_ms = step_ms
        self.remove_after_ms = remove_after_ms
        self.ceilings = ceilings
        self.epoch = epoch
        self.entities: dict[str, Entity] = {}
        self.removed: dict[str, tuple[int, int]] = {}
        """Version and clock time of the removal of each key that the ledger remembers."""
        self.ledger: dict[str, dict[str, int]] = {}
        """Counts of removed entities by source."""
        self.published: dict[tuple[str, int], tuple[bool, Values]] = {}
        self.published_twice: list[tuple[str, int]] = []
        self.changed: list[Change] = []
        self.met: Counter[str] = Counter()
        """What occurred, so that a test can see that its logs reach it."""

    # What came out

    def states(self) -> dict[str, dict[str, Any]]:
        """By key, those fields of the record that the rules determine."""
        return {key: self._record(entity) for key, entity in self.entities.items()}

    def ticks(self) -> dict[tuple[str, int], tuple[bool, Values]]:
        """By key and tick: complete, and value and quality by metric."""
        return self.published

    def changes(self) -> list[Change]:
        """Changes of status, reason or attributes, and removals, in order."""
        return self.changed

    # Messages

    def handle(self, offset: int, message: Observation) -> None:
        """Takes the next message of the log."""
        if message["type"] == "clock":
            self._handle_clock(offset, message)
        elif message["type"] == "failure":
            self._handle_failure(offset, message)
        else:
            for key, attributes, samples in parts_of(message):
                self._handle_values(offset, message, key, attributes, samples)

    def _handle_values(
        self,
        offset: int,
        message: Observation,
        key: str,
        attributes: dict[str, str],
        samples: list[tuple[str, int, float, int]],
    ) -> None:
        entity = self.entities.get(key)
        if self._applied_before(offset, key):
            return
        if entity is not None and sent_twice(entity, message):
            self.met["sent twice"] += 1
            return
        if entity is None:
            self.met["came back"] += any(change[0] == key for change in self.changed)
            entity = self.entities[key] = Entity()
        remember(entity, offset, message)
        source = entity.sources.setdefault(message["source"], Source())
        self._observe(key, entity, source, message, attributes, samples)

    def _observe(
        self,
        key: str,
        entity: Entity,
        source: Source,
        message: Observation,
        attributes: dict[str, str],
        samples: list[tuple[str, int, float, int]],
    ) -> None:
        known_ms = source.good_ms
        source.observations.append(message)
        source.failures = 0
        if not samples:
            source.good_times.append(told_at(message))
        applied_ms = []
        for metric, form, value, time_ms in samples:
            verdict = self._take_sample(entity, message, metric, form, value, time_ms)
            source.counts[verdict] += 1
            if verdict == "applied":
                applied_ms.append(time_ms)
        source.good_times += applied_ms
        if not source.good_times:
            source.good_times.append(told_at(message))
        if applied_ms and not entity.next_tick_ms:
            entity.next_tick_ms = -(-min(applied_ms) // self.step_ms) * self.step_ms
        before = dict(entity.attributes)
        if told_at(message) < known_ms and not applied_ms:
            self.met["old attributes"] += bool(attributes)
        else:
            entity.attributes = {n: v for n, v in {**entity.attributes, **attributes}.items() if v != ""}
        self._bring(key, entity, attributes_changed=entity.attributes != before)

    def _bring(self, key: str, entity: Entity, attributes_changed: bool) -> None:
        """Brings an entity to its now after an observation."""
        now_ms = entity.seen_ms
        self._drop_heads(entity, now_ms)
        self._close_ticks(key, entity, now_ms)
        self._settle_status(key, entity, now_ms, attributes_changed)

    def _take_sample(
        self, entity: Entity, message: Observation, metric: str, form: int, value: float, time_ms: int
    ) -> str:
        if (
            not math.isfinite(value)
            or time_ms > message["at_ms"] + MAX_AHEAD_MS
            or (form == COUNTER and value < 0)
        ):
            return "rejected"
        accepted = entity.samples.setdefault((metric, message["source"]), [])
        if accepted:
            head = accepted[-1]
            if time_ms == head.time_ms:
                return "duplicate" if value == head.value else "conflict"
            if time_ms < head.time_ms:
                return "late"
            if form != head.form:
                self.met["another form"] += 1
                entity.former.setdefault((metric, message["source"]), []).append(list(accepted))
                accepted.clear()
            elif form == COUNTER and value < head.value:
                self.met["counter reset"] += 1
        accepted.append(Sample(form, value, time_ms, self._gap_ms(message["interval_ms"])))
        return "applied"

    def _handle_failure(self, offset: int, message: Observation) -> None:
        for key, entity in self.entities.items():
            source = entity.sources.get(message["source"])
            if (
                not key.startswith(message["world"] + "/")
                or source is None
                or source.target != message["target"]
            ):
                continue
            if self._applied_before(offset, key) or sent_twice(entity, message):
                continue
            remember(entity, offset, message)
            if told_at(message) > source.good_ms:
                source.failures += 1
            else:
                self.met["failure that is not newer"] += 1
            self._drop_heads(entity, entity.seen_ms)
            self._close_ticks(key, entity, entity.seen_ms)
            self._settle_status(key, entity, entity.seen_ms)

    def _handle_clock(self, offset: int, message: Observation) -> None:
        at_ms = message["at_ms"]
        self.removed = {k: v for k, v in self.removed.items() if at_ms - v[1] <= LEDGER_MEMORY_MS}
        for key, entity in list(self.entities.items()):
            if self._applied_before(offset, key):
                continue
            now_ms = max(entity.seen_ms, at_ms)
            newest_good_ms = max(source.good_ms for source in entity.sources.values())
            if now_ms - newest_good_ms > self.remove_after_ms:
                self._remove(offset, key, entity, now_ms)
                continue
            dropped = self._drop_heads(entity, now_ms)
            closed = self._close_ticks(key, entity, now_ms)
            settled = self._settle_status(key, entity, now_ms)
            if dropped or closed or settled:
                entity.version = offset + 1
                entity.told_ms.append(now_ms)

    def _remove(self, offset: int, key: str, entity: Entity, now_ms: int) -> None:
        del self.entities[key]
        self.removed[key] = (offset + 1, now_ms)
        self.changed.append((key, now_ms, "", "", dict(entity.attributes), True))
        for name, source in entity.sources.items():
            total = self.ledger.setdefault(name, dict.fromkeys(VERDICTS, 0))
            for verdict, count in source.counts.items():
                total[verdict] += count

    def _applied_before(self, offset: int, key: str) -> bool:
        entity = self.entities.get(key)
        return offset < (entity.version if entity is not None else self.removed.get(key, (0, 0))[0])

    # Words

    def _gap_ms(self, interval_ms: int) -> int:
        return max(3 * self.step_ms, (5 * (interval_ms or self.step_ms)) // 2)

    def _interval_ms(self, source: Source) -> int:
        return source.interval_ms or self.step_ms

    def _is_silent(self, source: Source, now_ms: int) -> bool:
        return now_ms - source.good_ms > self._gap_ms(source.interval_ms)

    def _is_bad(self, source: Source, now_ms: int) -> bool:
        return self._is_silent(source, now_ms) or source.failures >= 2

    def _heads(self, entity: Entity) -> dict[tuple[str, str], Sample]:
        return {key: accepted[-1] for key, accepted in entity.samples.items() if accepted}

    def _drop_heads(self, entity: Entity, now_ms: int) -> bool:
        old = [
            key for key, head in self._heads(entity).items() if now_ms - head.time_ms > self.remove_after_ms
        ]
        for key in old:
            self.met["dropped head"] += 1
            entity.samples[key].clear()
            entity.former.pop(key, None)
        return bool(old)

    # Value of a head at a tick

    def value_at(
        self, accepted: list[Sample], tick_ms: int, hold_now_ms: int, ceiling: float
    ) -> Value | None:
        """Value and quality at a tick of the head whose accepted samples are given, or None."""
        before = [sample for sample in accepted if sample.time_ms <= tick_ms]
        after = [sample for sample in accepted if sample.time_ms >= tick_ms]
        if not before:
            return None
        a = before[-1]
        hold_ms = after[0].gap_ms if after else hold_now_ms
        if a.form == COUNTER:
            increase = self._increase(accepted, tick_ms) if after else None
            if increase is not None:
                rate = min(increase / self.step_ms * 1000, ceiling)
                return rate, MEASURED if a.time_ms == tick_ms else INTERPOLATED
            held = rate_at(accepted, len(before) - 1, ceiling)
            return (held, HELD) if held is not None and tick_ms - a.time_ms <= hold_ms else None
        if a.time_ms == tick_ms:
            return a.value, MEASURED
        if a.form == GAUGE and after and after[0].time_ms - a.time_ms <= after[0].gap_ms:
            b = after[0]
            end = b.value if b.came_as is None else b.came_as
            between = a.value + (end - a.value) * ((tick_ms - a.time_ms) / (b.time_ms - a.time_ms))
            return min(max(between, min(a.value, end)), max(a.value, end)), INTERPOLATED
        return (a.value, HELD) if tick_ms - a.time_ms <= hold_ms else None

    def _increase(self, accepted: list[Sample], tick_ms: int) -> float | None:
        """Increase of a counter over the step that ends at a tick, or None when a part of it is not known."""
        start_ms = tick_ms - self.step_ms
        if accepted[0].time_ms > start_ms or accepted[-1].time_ms < tick_ms:
            return None
        total = 0.0
        for a, b in pairwise(accepted):
            low_ms, high_ms = max(a.time_ms, start_ms), min(b.time_ms, tick_ms)
            if low_ms >= high_ms:
                continue
            if b.time_ms - a.time_ms > b.gap_ms:
                return None
            total += increment(a, b) * (high_ms - low_ms) / (b.time_ms - a.time_ms)
        return total

    def _values_at(self, entity: Entity, tick_ms: int) -> Values:
        found: dict[str, list[tuple[int, str, Value]]] = {}
        for metric, name in entity.samples:
            source = entity.sources[name]
            value = self._head_value(entity, metric, name, tick_ms, self._gap_ms(source.interval_ms))
            if value is not None:
                found.setdefault(metric, []).append((source.priority, name, value))
        self.met["second source"] += any(
            len(values) < self._sources_of(entity, metric) for metric, values in found.items()
        )
        return {metric: min(values)[2] for metric, values in found.items()}

    def _head_value(self, entity: Entity, metric: str, name: str, tick_ms: int, hold_ms: int) -> Value | None:
        ceiling = self.ceilings.get(metric, math.inf)
        for accepted in entity.former.get((metric, name), []):
            if tick_ms <= accepted[-1].time_ms:
                return self.value_at(accepted, tick_ms, hold_ms, ceiling)
        return self.value_at(entity.samples[metric, name], tick_ms, hold_ms, ceiling)

    def _sources_of(self, entity: Entity, metric: str) -> int:
        return sum(1 for one, _ in entity.samples if one == metric)

    # Closing

    def _close_ticks(self, key: str, entity: Entity, now_ms: int) -> bool:
        """Closes what can be closed; whether a tick was closed or passed over."""
        heads = self._heads(entity)
        if not heads:
            return False
        covered_ms, wait_ms = self._waiting(entity, now_ms)
        horizon_ms = self._horizon_ms(entity)
        first_ms = entity.next_tick_ms
        while entity.next_tick_ms <= horizon_ms:
            tick_ms = entity.next_tick_ms
            complete = covered_ms is not None and tick_ms <= covered_ms
            if not complete and now_ms < tick_ms + wait_ms:
                break
            self._publish(key, entity, tick_ms, complete)
            entity.next_tick_ms += self.step_ms
        return entity.next_tick_ms != first_ms

    def _horizon_ms(self, entity: Entity) -> int:
        """The newest time at which a head could still be held."""
        return max(
            head.time_ms + self._gap_ms(entity.sources[name].interval_ms)
            for (_, name), head in self._heads(entity).items()
        )

    def _waiting(self, entity: Entity, now_ms: int) -> tuple[int | None, int]:
        """Up to where all that ticks wait for has come, and how long a tick waits for it."""
        heads, sources = self._heads(entity), entity.sources
        with_head = {name for _, name in heads}
        lively = {name for name in with_head if not self._is_silent(sources[name], now_ms)}
        waited = {
            n for n in lively if self._interval_ms(sources[n]) + self.step_ms <= LONGEST_WAIT_MS
        } or lively
        slowest = max((self._interval_ms(sources[name]) for name in waited), default=0)
        wait_ms = min(LONGEST_WAIT_MS, slowest + self.step_ms)
        covered_ms = min((head.time_ms for (_, name), head in heads.items() if name in waited), default=None)
        return covered_ms, wait_ms

    def _publish(self, key: str, entity: Entity, tick_ms: int, complete: bool) -> None:
        values = self._values_at(entity, tick_ms)
        if not values:
            self.met["passed over"] += 1
            return
        entity.closed.append((tick_ms, complete, values))
        if (key, tick_ms) in self.published:
            self.published_twice.append((key, tick_ms))
        self.published[key, tick_ms] = (complete, values)

    # Status

    def _settle_status(self, key: str, entity: Entity, now_ms: int, attributes_changed: bool = False) -> bool:
        status, reason = self._status(entity, now_ms)
        changed = (status, reason) != (entity.status, entity.status_reason)
        if status != entity.status:
            entity.status_since_ms = now_ms
        entity.status, entity.status_reason = status, reason
        if changed or attributes_changed:
            self.changed.append((key, now_ms, status, reason, dict(entity.attributes), False))
        return changed

    def _status(self, entity: Entity, now_ms: int) -> tuple[str, str]:
        sources, heads = entity.sources, self._heads(entity)
        if not sources:
            return "unknown", "no source"
        saying = [
            (sources[name].priority, name, head.value)
            for (metric, name), head in heads.items()
            if metric == "up" and not self._is_silent(sources[name], now_ms)
        ]
        if saying and min(saying)[2] == 0:
            return "down", f"{min(saying)[1]} reports down"
        known = {
            name: source
            for name, source in sources.items()
            if now_ms - source.good_ms <= self.remove_after_ms
        } or sources
        bad = sorted(name for name, source in known.items() if self._is_bad(source, now_ms))
        faults = "; ".join(
            f"{name}: silent" if self._is_silent(sources[name], now_ms) else f"{name}: failed scrapes"
            for name in bad
        )
        if len(bad) == len(known):
            pushed = all(not source.target and source.failures < 2 for source in known.values())
            return "unknown" if pushed else "down", faults
        if not heads:
            return "unknown", "no measurement"
        if bad:
            return "degraded", faults
        stale = {
            metric
            for (metric, name), head in heads.items()
            if name in known and now_ms - head.time_ms > self._gap_ms(sources[name].interval_ms)
        }
        if stale:
            return "degraded", "stale: " + ", ".join(sorted(stale))
        return "up", ""

    # Record

    def _record(self, entity: Entity) -> dict[str, Any]:
        tick_ms, complete, aligned = entity.closed[-1] if entity.closed else (0, False, {})
        heads = {}
        for (metric, name), accepted in entity.samples.items():
            if accepted:
                rate = None
                if accepted[-1].form == COUNTER:
                    rate = rate_at(accepted, len(accepted) - 1, self.ceilings.get(metric, math.inf))
                heads[metric, name] = (accepted[-1].value, accepted[-1].time_ms, rate)
        return {
            "status": entity.status,
            "status_since_ms": entity.status_since_ms,
            "status_reason": entity.status_reason,
            "version": entity.version,
            "seen_ms": entity.seen_ms,
            "next_tick_ms": entity.next_tick_ms,
            "tick_ms": tick_ms,
            "complete": complete,
            "aligned": aligned,
            "heads": heads,
            "open": self._open_values(entity),
            "sources": {
                name: (one.priority, one.interval_ms, one.target, one.good_ms, one.failures)
                for name, one in entity.sources.items()
            },
            "counts": {
                name: tuple(one.counts[verdict] for verdict in VERDICTS)
                for name, one in entity.sources.items()
            },
            "origins": {origin: max(offsets) for origin, offsets in entity.origins.items()},
            "attributes": entity.attributes,
            "features": entity.features,
        }

    def _open_values(self, entity: Entity) -> dict[tuple[int, str, str], Value]:
        """What is already certain of ticks that are not closed, by tick, metric and source."""
        found = {}
        for (metric, name), accepted in entity.samples.items():
            newest_ms = accepted[-1].time_ms if accepted else -1
            for tick_ms in range(entity.next_tick_ms, newest_ms + 1, self.step_ms):
                value = self._head_value(entity, metric, name, tick_ms, 0)
                if value is not None:
                    found[tick_ms, metric, name] = value
        return found


def parts_of(message: Observation) -> Iterator[tuple[str, dict[str, str], list[tuple[str, int, float, int]]]]:
    """For each entity of an observation its key, attributes and samples (metric, form, value, time)."""
    first = 0
    for kind, id, size, attributes in zip(
        message["kinds"], message["ids"], message["sizes"], message["attributes"], strict=True
    ):
        samples = [
            (message["names"][metric], message["forms"][metric], value, time_ms)
            for metric, value, time_ms in zip(
                message["metrics"][first : first + size],
                message["values"][first : first + size],
                message["times_ms"][first : first + size],
                strict=True,
            )
        ]
        first += size
        yield f"{message['world']}/{kind}/{quote(id, safe='~')}", attributes, samples


def told_at(message: Observation) -> int:
    """When the twin was told this, at most the sender's clock."""
    return min(message["scraped_at_ms"], message["at_ms"])


def origin_of(message: Observation) -> str:
    """Partition that a message was made from."""
    return f"{message['origin_topic']}/{message['origin_partition']}"


def sent_twice(entity: Entity, message: Observation) -> bool:
    """True when this, or something newer from its origin partition, was applied to the entity."""
    return message["origin_offset"] <= max(entity.origins.get(origin_of(message), []), default=-1)


def remember(entity: Entity, offset: int, message: Observation) -> None:
    """Notes that a message was taken."""
    entity.version = offset + 1
    entity.told_ms.append(told_at(message))
    entity.origins.setdefault(origin_of(message), []).append(message["origin_offset"])


def increment(a: Sample, b: Sample) -> float:
    """Increase of a counter from one sample to the next; after a reset what was counted since."""
    return b.value if b.value < a.value else b.value - a.value


def rate_at(accepted: list[Sample], index: int, ceiling: float) -> float | None:
    """Rate of a counter known when the sample at `index` came; None after the first one or across a gap."""
    if index == 0:
        return None
    a, b = accepted[index - 1], accepted[index]
    if b.time_ms - a.time_ms > b.gap_ms:
        return None
    return min(increment(a, b) / (b.time_ms - a.time_ms) * 1000, ceiling)
