"""Which samples gave a value at a tick, and by which rule: docs/alignment.md, read backwards."""

from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

from streams.domain.entity import COUNTER, GAUGE, HELD, INTERPOLATED, MEASURED

MEASURED_AT, LINEAR, LAST, INCREASE, LAST_RATE = "measured", "linear", "held", "increase", "held_rate"
"""Rules: a sample at the tick; between two; the last one; increase of a counter; its last rate."""


class Origin(NamedTuple):
    """Where a sample came from.

    Args:
        offset: of its observation.
        at_ms: [ms since the epoch] when it was harmonised.
        origin_topic: record name of the topic that the observation was made from; empty when there is none.
    """

    partition: int
    offset: int
    at_ms: int
    target: str
    origin_topic: str
    origin_partition: int
    origin_offset: int
    event_id: str
    simulated: bool


class Sample(NamedTuple):
    """A sample that was taken.

    Args:
        value: [unit of the metric; of a counter that times s].
        hold_ms: [ms] hold and widest gap of its source when it was taken.
    """

    source: str
    form: int
    time_ms: int
    value: float
    hold_ms: int
    origin: Origin


class Found(NamedTuple):
    """A value, and the samples that decided it, oldest first."""

    value: float
    quality: int
    rule: str
    samples: tuple[Sample, ...]


def value_at(
    samples: Sequence[Sample], tick_ms: int, step_ms: int, hold_ms: int, ceiling: float
) -> Found | None:
    """The value of one metric of one source at a tick.

    Args:
        samples: those that were taken before the tick closed, in order of time.
        hold_ms: [ms] of the source when the tick closed.
        ceiling: greatest rate of a counter.
    """
    place = sum(sample.time_ms < tick_ms for sample in samples)
    before = samples[place - 1] if place else None
    after = samples[place] if place < len(samples) else None
    if (after or before or _NO_SAMPLE).form == COUNTER:
        return _rate_at(samples, place, tick_ms, step_ms, hold_ms, ceiling)
    if after is not None and after.time_ms == tick_ms:
        return Found(after.value, MEASURED, MEASURED_AT, (after,))
    if before is None or (after is not None and after.form != before.form):
        return None
    hold = after.hold_ms if after is not None else hold_ms
    if after is not None and after.form == GAUGE and after.time_ms - before.time_ms <= hold:
        share = (tick_ms - before.time_ms) / (after.time_ms - before.time_ms)
        value = before.value + (after.value - before.value) * share
        low, high = sorted((before.value, after.value))
        return Found(min(max(value, low), high), INTERPOLATED, LINEAR, (before, after))
    if tick_ms - before.time_ms <= hold:
        return Found(before.value, HELD, LAST, (before,))
    return None


def rate_of(samples: Sequence[Sample], place: int, ceiling: float) -> Found | None:
    """The rate of a counter that its sample at a place gives with the one before; None when there is none."""
    if place < 1:
        return None
    before, after = samples[place - 1], samples[place]
    if not _is_counted(before, after):
        return None
    rate = min(_increase(before, after) / (after.time_ms - before.time_ms) * 1000.0, ceiling)
    return Found(rate, HELD, LAST_RATE, (before, after))


def _rate_at(
    samples: Sequence[Sample], place: int, tick_ms: int, step_ms: int, hold_ms: int, ceiling: float
) -> Found | None:
    """Args: place: of the first sample at or after the tick."""
    if place == len(samples):
        is_held = tick_ms - samples[-1].time_ms <= hold_ms
        return rate_of(samples, place - 1, ceiling) if is_held else None
    after = samples[place]
    whole = _increase_in(samples, place, tick_ms, step_ms)
    if whole is not None:
        total, parts = whole
        quality = MEASURED if after.time_ms == tick_ms else INTERPOLATED
        return Found(min(total / step_ms * 1000.0, ceiling), quality, INCREASE, parts)
    if after.time_ms == tick_ms and (rate := rate_of(samples, place, ceiling)) is not None:
        return rate
    # Between two samples, of which the first was the last that was known when its rate was.
    is_near = place > 0 and tick_ms - samples[place - 1].time_ms <= after.hold_ms
    if not is_near or after.time_ms == tick_ms or after.form != samples[place - 1].form:
        return None
    return rate_of(samples, place - 1, ceiling)


def _increase_in(
    samples: Sequence[Sample], place: int, tick_ms: int, step_ms: int
) -> tuple[float, tuple[Sample, ...]] | None:
    """Increase within the step before the tick, and the samples around and in it."""
    first = place
    while first and samples[first].time_ms > tick_ms - step_ms:
        first -= 1
    if samples[first].time_ms > tick_ms - step_ms:
        return None
    parts = tuple(samples[first : place + 1])
    total = 0.0
    for before, after in pairwise(parts):
        if not _is_counted(before, after):
            return None
        since = max(before.time_ms, tick_ms - step_ms)
        until = min(after.time_ms, tick_ms)
        total = total + _increase(before, after) * (until - since) / (after.time_ms - before.time_ms)
    return total, parts


def _is_counted(before: Sample, after: Sample) -> bool:
    return before.form == after.form and after.time_ms - before.time_ms <= after.hold_ms


def _increase(before: Sample, after: Sample) -> float:
    return after.value - before.value if after.value >= before.value else after.value


_NO_SAMPLE = Sample("", GAUGE, 0, 0.0, 0, Origin(-1, -1, 0, "", "", -1, -1, "", False))
