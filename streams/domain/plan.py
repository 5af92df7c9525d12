"""What is remembered of a scrape's series: how its values become observations, with nothing looked up."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate, islice

from streams.domain.matching import Condition, Entity
from streams.domain.rules import Rule
from streams.domain.steps import Compute, Select


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

    It holds no text of a series, and no object for each sample: at 100,000 entities that would be most of a
    worker's memory.

    Args:
        size: number of series.
        rules: for each sample the rule that gives it.
        lows: least value of each sample that is taken [unit of the metric; of a counter that times s].
        highs: greatest one.
        steps: what is computed from the values, and from what was computed before, in order.
        select: takes the samples from the values and what was computed.
        first: for each sample the place of its (first) series.
        several: for samples of more than one series what takes the items of all of them.
        scaled: (sample, scale, offset) where they change a value.
        same: samples whose series must all have one value.
        conditions: which of `conditional` held when the attributes of the parts were last set.
        used_ms: [ms since the epoch, UTC] when it was last used.
    """

    size: int
    rules: list[Rule]
    lows: list[float]
    highs: list[float]
    steps: list[tuple[Compute, Select]]
    select: Select
    first: list[int]
    several: dict[int, Select]
    scaled: list[tuple[int, float, float]]
    same: list[int]
    parts: list[Part]
    attributes: dict[Entity, dict[str, str]]
    conditional: list[Condition]
    repeats: list[tuple[int, int]]
    rejected: list[tuple[str, str]]
    unmapped: dict[str, int]
    conditions: tuple[bool, ...] = ()
    used_ms: int = 0

    def values(self, values: Sequence[float]) -> list[float]:
        """Values of the samples, converted; not checked."""
        if self.steps:
            work = list(values)
            for compute, select in self.steps:
                work.append(compute(select(work)))
            values = work
        out = list(self.select(values))
        for place, scale, offset in self.scaled:
            out[place] = out[place] * scale + offset
        return out

    def times(self, times_ms: Sequence[int]) -> list[int]:
        """[ms] Times of the samples: that of the newest series that a value was made from."""
        out = [times_ms[place] for place in self.first]
        for place, select in self.several.items():
            out[place] = max(select(times_ms))
        return out

    def places(self, sample: int) -> Sequence[int]:
        """Places of the series that a sample is made from."""
        select = self.several.get(sample)
        return select(range(self.size)) if select else (self.first[sample],)

    def name(self, sample: int) -> str:
        """What a sample is, for people: kind and id of the entity, and the metric."""
        part = next(part for part in self.parts if part.start <= sample < part.stop)
        lasts = accumulate(part.sizes, initial=part.start)
        place = next(place for place, last in enumerate(islice(lasts, 1, None)) if sample < last)
        return f"{part.kinds[place]} {part.ids[place]}: {self.rules[sample].metric}"
