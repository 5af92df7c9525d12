"""The log, followed for one metric of one entity: which samples were taken, and which ticks closed."""

import json
from collections.abc import Mapping
from typing import Any, NamedTuple, cast

from streams.domain.aggregate import SOURCE
from streams.domain.align import MAX_AHEAD_MS
from streams.domain.entity import COUNTER, hold_ms
from streams.domain.faults import Limits
from streams.domain.keys import entity_key
from streams.domain.observation import check_observation
from streams.domain.ticks import TickRow
from streams.domain.twin import Partition
from streams.domain.why.samples import Found, Origin, Sample, value_at
from streams.errors import InvalidMessageError
from streams.records import Observation, State

CLOSED_MAX = 20_000
"""[1] Closed ticks that are remembered: a day of 5 s."""


class Candidate(NamedTuple):
    """What one source had to say of a tick when it closed.

    Args:
        silent: had said nothing for longer than its hold.
        newest: its newest sample at or before the tick; None when there was none.
    """

    source: str
    priority: int
    interval_ms: int
    hold_ms: int
    silent: bool
    found: Found | None
    newest: Sample | None


class Closed(NamedTuple):
    """A closed tick.

    Args:
        value: what it has of the metric; None when it has nothing.
        told_ms: [ms since the epoch] when the message that closed it was made.
        sources: name, priority, interval [ms], hold [ms] and silence of each source then.
        taken: samples of each, and how many of them had been taken.
    """

    tick_ms: int
    complete: bool
    value: float | None
    quality: int | None
    told_ms: int
    sources: list[tuple[str, int, int, int, bool]]
    taken: dict[str, tuple[list[Sample], int]]


class Trace:
    """Applies the messages of a partition to one entity, as the twin does, and keeps what it decided from.

    It may begin in the middle of the log: after the widest hold before a tick it knows all that counts.

    Args:
        world: live, or an isolated one, which has to begin with its creation.
        step_ms: [ms] distance of ticks of live.
        own_step_ms: [ms] that of the world.
    """

    def __init__(
        self,
        world: str,
        entity: tuple[str, str],
        metric: str,
        *,
        partition: int,
        step_ms: int,
        own_step_ms: int,
        remove_after_ms: int,
        ceilings: Mapping[str, float],
        limits: Limits,
    ) -> None:
        self.samples: dict[str, list[Sample]] = {}
        self.closed: dict[int, Closed] = {}
        self.next_tick_ms = 0
        self.world = world
        self._entity, self._metric = entity, metric
        self._step_ms, self._ceiling = own_step_ms, ceilings.get(metric, float("inf"))
        self._number = partition
        self._partition = Partition(partition, step_ms, remove_after_ms, ceilings, limits=limits)
        self._states: dict[str, State] = {}
        self._key = entity_key(world, *entity)

    def feed(self, offset: int, message: Observation) -> None:
        """Follow the next message of the partition."""
        own = self._of_entity(message)
        if own is None:
            return
        try:
            check_observation(own)
            changes = self._partition.apply(offset, own, self._states)
        except InvalidMessageError:
            return  # the twin refused it too
        entity = self._states.get(self._key)
        if entity is None:
            self.samples = {}
            return
        self._note_samples(entity, offset, own)
        heads = zip(entity["head_names"], entity["head_sources"], strict=True)
        kept = {entity["source_names"][source] for name, source in heads if name == self._metric}
        # A head that is too old is dropped, and what comes then begins anew.
        self.samples = {source: samples for source, samples in self.samples.items() if source in kept}
        now_ms = max(entity["seen_ms"], own["at_ms"]) if own["type"] == "clock" else entity["seen_ms"]
        for row in changes.ticks.rows:
            self._note_closed(row, entity, own["at_ms"], now_ms)
        self.next_tick_ms = entity["next_tick_ms"]

    def candidates(self, closed: Closed) -> list[Candidate]:
        """What each source had to say of a tick, the best source first."""
        tick_ms = closed.tick_ms
        found = []
        for source, priority, interval_ms, hold, silent in sorted(
            closed.sources, key=lambda one: (one[1], one[0])
        ):
            all_of_it, count = closed.taken.get(source, ([], 0))
            samples = all_of_it[:count]
            newest = max((s for s in samples if s.time_ms <= tick_ms), key=lambda s: s.time_ms, default=None)
            value = value_at(samples, tick_ms, self._step_ms, hold, self._ceiling) if samples else None
            found.append(Candidate(source, priority, interval_ms, hold, silent, value, newest))
        return found

    def _of_entity(self, message: Observation) -> Observation | None:
        """What a message says of the entity; None when that is nothing."""
        if message["world"] != self.world:
            return None
        if message["type"] in ("values", "partial"):
            return _values_of(message, self._entity)
        return _event_of(message, self._entity) if message["type"] == "event" else message

    def _note_samples(self, entity: State, offset: int, message: Observation) -> None:
        """Note which samples of a message became heads, by the rules of `take_samples`."""
        if entity["version"] != offset + 1:
            return
        if message["type"] in ("partial", "partial_end"):
            self._note_total(entity, offset, message)
        if message["type"] != "values":
            return
        source = message["source"]
        place = entity["source_names"].index(source)
        hold = hold_ms(entity["source_intervals_ms"][place], self._step_ms)
        known = self.samples.setdefault(source, [])
        for form, value, time in samples_in(message, self._entity, self._metric):
            # In a world with a time of its own a sample without one has that of the world.
            time_ms = time or self._head_ms(entity, place)
            is_refused = time > message["at_ms"] + MAX_AHEAD_MS or value - value != 0.0
            if is_refused or (form == COUNTER and value < 0.0) or (known and time_ms <= known[-1].time_ms):
                continue
            origin = origin_of_sample(self._number, offset, message)
            known.append(Sample(source, form, time_ms, value, hold, origin))

    def _note_total(self, entity: State, offset: int, message: Observation) -> None:
        """A total is stated anew at each partial, be it for the same time."""
        place = entity["source_names"].index(SOURCE)
        heads = list(zip(entity["head_names"], entity["head_sources"], strict=True))
        if (self._metric, place) not in heads:
            return
        head = heads.index((self._metric, place))
        time_ms, value = entity["head_times_ms"][head], entity["head_values"][head]
        hold = hold_ms(entity["source_intervals_ms"][place], self._step_ms)
        before = [one for one in self.samples.get(SOURCE, []) if one.time_ms < time_ms]
        origin = origin_of_sample(self._number, offset, message)
        total = Sample(SOURCE, entity["head_forms"][head], time_ms, value, hold, origin)
        self.samples[SOURCE] = [*before, total]

    def _head_ms(self, entity: State, source: int) -> int:
        heads = list(zip(entity["head_names"], entity["head_sources"], strict=True))
        return entity["head_times_ms"][heads.index((self._metric, source))]

    def _note_closed(self, row: TickRow, entity: State, told_ms: int, now_ms: int) -> None:
        intervals = entity["source_intervals_ms"]
        holds = [hold_ms(interval, self._step_ms) for interval in intervals]
        place = row.names.index(self._metric) if self._metric in row.names else -1
        self.closed[row.tick_ms] = Closed(
            row.tick_ms,
            row.complete,
            row.values[place] if place >= 0 else None,
            row.qualities[place] if place >= 0 else None,
            told_ms,
            [
                (name, entity["source_priorities"][s], intervals[s], holds[s], now_ms - good > holds[s])
                for s, (name, good) in enumerate(
                    zip(entity["source_names"], entity["source_good_ms"], strict=True)
                )
            ],
            {source: (samples, len(samples)) for source, samples in self.samples.items()},
        )
        if len(self.closed) > CLOSED_MAX:
            del self.closed[next(iter(self.closed))]


def origin_of_sample(partition: int, offset: int, message: Observation) -> Origin:
    """Where the samples of a message came from."""
    return Origin(
        partition,
        offset,
        message["at_ms"],
        message["target"],
        message["origin_topic"],
        message["origin_partition"],
        message["origin_offset"],
        message["event_id"],
        message["simulated"],
    )


def samples_in(message: Observation, entity: tuple[str, str], metric: str) -> list[tuple[int, float, int]]:
    """Form, value and time [ms] of the samples that a message has of a metric of an entity."""
    own = _values_of(message, entity)
    if own is None:
        return []
    return [
        (own["forms"][place], value, time_ms)
        for place, value, time_ms in zip(own["metrics"], own["values"], own["times_ms"], strict=True)
        if own["names"][place] == metric
    ]


def _values_of(message: Observation, entity: tuple[str, str]) -> Observation | None:
    pairs = zip(message["kinds"], message["ids"], strict=True)
    place = next((place for place, pair in enumerate(pairs) if pair == entity), None)
    if place is None:
        return None
    start = sum(message["sizes"][:place])
    stop = start + message["sizes"][place]
    own: dict[str, Any] = dict(message)
    for name in ("kinds", "ids", "sizes", "attributes"):
        own[name] = own[name][place : place + 1]
    for name in ("metrics", "values"):
        own[name] = own[name][start:stop]
    # A partial has one tick for all that it says of an entity.
    times = slice(place, place + 1) if message["type"] == "partial" else slice(start, stop)
    own["times_ms"] = own["times_ms"][times]
    return cast(Observation, own)


def _event_of(message: Observation, entity: tuple[str, str]) -> Observation | None:
    """An event of an isolated world, of the entities that it names only this one."""
    try:
        body: dict[str, Any] = json.loads(message["body"])
    except ValueError:
        return None
    if "entities" not in body:
        return message
    own = [one for one in body["entities"] if _names(one) == entity]
    if not own:
        return None
    reduced = message.copy()
    reduced["body"] = json.dumps(body | {"entities": own})
    return reduced


def _names(entity: Any) -> tuple[str, str]:
    kind, id = entity if isinstance(entity, list) else (entity["kind"], entity["id"])
    return kind, id
