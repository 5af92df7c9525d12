"""A scrape's matches compiled: from values to the lists of observations, with nothing looked up again."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import chain
from math import isfinite
from operator import itemgetter
from sys import float_info
from typing import Any

from streams.domain.catalogue import COUNTER, Catalogue
from streams.domain.keys import entity_key, partition_of
from streams.domain.matching import Condition, Entity, Matches
from streams.domain.rules import Input, Rule

ENTITIES_MAX = 200
"""[1] Entities of one observation (DESIGN, topics)."""

BYTES_MAX = 200 * 1024
"""[B] Estimated size of one observation; below 256 KiB, so that an estimate that is too low does no harm."""

SAMPLE_BYTES = 18
"""[B] A sample in Avro: a double, a time of 6 bytes, an index."""

Work = list[float]
"""The values of a scrape, and behind them what was computed from them."""

Step = Callable[[Work], float]
"""Computes one value from the work before it."""

NAN = float("nan")


@dataclass(slots=True)
class Sample:
    """One value that a scrape gives: entity, metric, how to check it and whom to name when it is refused.

    `low` and `high` are the limits of what is taken [unit of the metric; of a counter that times s].
    """

    entity: Entity
    metric: str
    rule: Rule
    low: float
    high: float


@dataclass(slots=True)
class Part:
    """What is always the same in one observation; samples [start, stop) of the plan are its values."""

    partition: int
    start: int
    stop: int
    kinds: list[str]
    ids: list[str]
    sizes: list[int]
    attributes: list[dict[str, str]]
    names: list[str]
    forms: list[int]
    metrics: list[int]


@dataclass(slots=True)
class Plan:
    """How the values of one list of series become observations.

    It holds no text of a series: at 100,000 entities that would be most of a worker's memory.

    Args:
        size: number of series.
        first: for each sample the place of its (first) series.
        several: for samples of more than one series the places of all, by the sample's place.
        scaled: (sample, scale, offset) where they change a value.
        same: samples whose series must all have one value.
        newest: for samples of several series how to take their times.
        conditions: which of `conditional` held when the attributes of the parts were last set.
    """

    size: int
    samples: list[Sample]
    steps: list[Step]
    select: Callable[[Sequence[float]], Sequence[float]]
    first: tuple[int, ...]
    several: dict[int, tuple[int, ...]]
    scaled: list[tuple[int, float, float]]
    same: list[int]
    newest: list[tuple[int, Callable[[Sequence[int]], Sequence[int]]]]
    lows: list[float]
    highs: list[float]
    parts: list[Part]
    attributes: dict[Entity, dict[str, str]]
    conditional: list[Condition]
    repeats: list[tuple[int, int]]
    rejected: list[tuple[str, str]]
    unmapped: dict[str, int]
    conditions: tuple[bool, ...] = ()
    used_ms: int = 0

    def places(self, sample: int) -> tuple[int, ...]:
        """Places of the series that a sample is made from."""
        return self.several.get(sample) or (self.first[sample],)


def compile_plan(size: int, matches: Matches, catalogue: Catalogue, partitions: int) -> Plan:
    """Compile the matches of a list of so many series."""
    samples: list[Sample] = []
    steps: list[Step] = []
    sources: list[int] = []
    origins: list[tuple[int, ...]] = []
    parts: list[Part] = []
    for partition, entities in _by_partition(matches, partitions):
        for chunk in _chunks(entities, matches):
            start = len(samples)
            for entity in chunk:
                for metric, (rule, slots) in matches.samples.get(entity, {}).items():
                    sources.append(_compute(rule, slots, matches, steps, size))
                    origins.append(tuple(dict.fromkeys(chain.from_iterable(slots))))
                    samples.append(Sample(entity, metric, rule, *_limits(rule, catalogue)))
            parts.append(_part(partition, start, chunk, samples, matches))
    several = {place: origin for place, origin in enumerate(origins) if len(origin) > 1}
    return Plan(
        size=size,
        samples=samples,
        steps=steps,
        select=_select(sources),
        first=tuple(origin[0] for origin in origins),
        several=several,
        scaled=[
            (place, sample.rule.scale, sample.rule.offset)
            for place, sample in enumerate(samples)
            if (sample.rule.scale, sample.rule.offset) != (1.0, 0.0)
        ],
        same=[place for place in several if _takes_one(samples[place].rule)],
        newest=[(place, _select(origin)) for place, origin in several.items()],
        lows=[sample.low for sample in samples],
        highs=[sample.high for sample in samples],
        parts=parts,
        attributes=matches.attributes if matches.conditional else {},
        conditional=matches.conditional,
        repeats=matches.repeats,
        rejected=matches.rejected,
        unmapped=matches.unmapped,
    )


def evaluate(plan: Plan, values: Sequence[float]) -> list[float]:
    """Values of the plan's samples, converted; not checked."""
    if plan.steps:
        work = list(values)
        for step in plan.steps:
            work.append(step(work))
        values = work
    out = list(plan.select(values))
    for place, scale, offset in plan.scaled:
        out[place] = out[place] * scale + offset
    return out


def sample_times(plan: Plan, times_ms: Sequence[int]) -> list[int]:
    """[ms] Times of the plan's samples: that of the newest series that a value was made from."""
    out = [times_ms[place] for place in plan.first]
    for place, select in plan.newest:
        out[place] = max(select(times_ms))
    return out


def _by_partition(matches: Matches, partitions: int) -> list[tuple[int, list[Entity]]]:
    homes: dict[int, list[Entity]] = {}
    for entity in sorted({*matches.samples, *matches.attributes}):
        homes.setdefault(partition_of(entity_key("live", *entity), partitions), []).append(entity)
    return sorted(homes.items())


def _chunks(entities: list[Entity], matches: Matches) -> Iterable[list[Entity]]:
    texts: dict[Entity, int] = {}
    for entity, attributes in chain(
        matches.attributes.items(), ((c.entity, c.attributes) for c in matches.conditional)
    ):
        more = sum(len(name) + 2 * len(value) + 4 for name, value in attributes.items())
        texts[entity] = texts.get(entity, 0) + more
    chunk: list[Entity] = []
    size = 0
    for entity in entities:
        more = (
            sum(map(len, entity)) + SAMPLE_BYTES * len(matches.samples.get(entity, ())) + texts.get(entity, 0)
        )
        if chunk and (len(chunk) >= ENTITIES_MAX or size + more > BYTES_MAX):
            yield chunk
            chunk, size = [], 0
        chunk.append(entity)
        size += more
    if chunk:
        yield chunk


def _part(partition: int, start: int, chunk: list[Entity], samples: list[Sample], matches: Matches) -> Part:
    taken = samples[start:]
    kept = list(dict.fromkeys((sample.metric, sample.rule.form) for sample in taken))
    places = {pair: place for place, pair in enumerate(kept)}
    return Part(
        partition=partition,
        start=start,
        stop=len(samples),
        kinds=[kind for kind, _ in chunk],
        ids=[id for _, id in chunk],
        sizes=[len(matches.samples.get(entity, ())) for entity in chunk],
        attributes=[matches.attributes.get(entity, {}) for entity in chunk],
        names=[name for name, _ in kept],
        forms=[form for _, form in kept],
        metrics=[places[sample.metric, sample.rule.form] for sample in taken],
    )


def _limits(rule: Rule, catalogue: Catalogue) -> tuple[float, float]:
    if rule.form == COUNTER:
        return 0.0, float_info.max
    metric = catalogue[rule.metric]
    return (
        -float_info.max if metric.minimum is None else metric.minimum,
        float_info.max if metric.maximum is None else metric.maximum,
    )


def _takes_one(rule: Rule) -> bool:
    return rule.formula is None and not rule.inputs[0].aggregate


def _compute(rule: Rule, slots: list[list[int]], matches: Matches, steps: list[Step], first: int) -> int:
    """Place in the work of a rule's value; what has to be computed for it is added to the steps."""
    places = []
    for source, slot in zip(rule.inputs, slots, strict=True):
        step = _aggregate(source, slot, matches)
        places.append(slot[0] if step is None else first + len(steps))
        if step is not None:
            steps.append(step)
    if rule.formula is None:
        return places[0]
    steps.append(_formula(rule.formula.compute, places))
    return first + len(steps) - 1


def _formula(compute: Callable[..., float], places: list[int]) -> Step:
    select = _select(places)

    def step(work: Work) -> float:
        try:
            return compute(*select(work))
        except ZeroDivisionError:
            return NAN  # refused by the check of the range, which looks again for the reason

    return step


def _aggregate(source: Input, slot: list[int], matches: Matches) -> Step | None:
    """How an input's value is computed, or None when it is that of its first series."""
    if source.aggregate == "count":
        count = float(len(slot))
        return lambda work: count
    if source.label:
        distinct = float(len({matches.labels[place].get(source.label, "") for place in slot}))
        if source.aggregate == "count_distinct":
            return lambda work: distinct
        select = _select(slot)
        return lambda work: sum(select(work)) / distinct
    if len(slot) == 1 or source.aggregate in ("", "first"):
        return None
    select = _select(slot)
    if source.aggregate == "mean":
        size = len(slot)
        return lambda work: sum(select(work)) / size
    # min and max of Python lose a NaN that is not the first, which a sum shows
    totals: dict[str, Callable[[Sequence[float]], float]] = {"sum": sum, "min": min, "max": max}
    total = totals[source.aggregate]
    return lambda work: total(chosen) if isfinite(sum(chosen := select(work))) else NAN


def _select(places: Sequence[int]) -> Callable[[Sequence[Any]], Sequence[Any]]:
    if not places:
        return lambda values: ()
    if len(places) == 1:
        (place,) = places
        return lambda values: (values[place],)
    return itemgetter(*places)
