"""Values within windows of time: what a function makes of them, of one entity or of several together."""

from collections.abc import Callable, Iterable, Sequence
from itertools import chain, groupby
from math import fsum
from operator import itemgetter

Points = tuple[list[int], list[float]]
"""Times [ms since the epoch], in order, and as many values."""


def windowed(series: Iterable[Points], every_ms: int | None, fn: str, start_ms: int) -> Points:
    """One value for each window that has any, of all series together.

    Args:
        series: in order of the ids of their entities.
        every_ms: [ms] length of the windows [n × every, (n + 1) × every); None for one that has all.
        fn: one of `FUNCTIONS`; `last` is the newest value, of several at a time that of the last id.
        start_ms: [ms since the epoch] the time of the window that has all.
    """
    # The sort is stable, and what it sorts are runs in order: it costs little, and keeps the order of ids.
    points = sorted(chain.from_iterable(zip(*one, strict=True) for one in series), key=itemgetter(0))
    reduce = FUNCTIONS[fn]
    times_ms: list[int] = []
    values: list[float] = []
    for window_ms, part in groupby(points, lambda point: window_of(point[0], every_ms, start_ms)):
        times_ms.append(window_ms)
        values.append(reduce([value for _, value in part]))
    return times_ms, values


def combined(parts: Iterable[Points], every_ms: int | None, fn: str, start_ms: int) -> Points:
    """As `windowed`, of what the same function made of parts of the windows.

    Args:
        parts: in the order of time, or of the ids; each with the first moment of its windows. Of what is
            neither in `COMBINES` nor `last` there must be one part in each window.
    """
    return windowed(parts, every_ms, COMBINES.get(fn, "last"), start_ms)


def quotient(sums: Points, counts: Points) -> Points:
    """Means, of sums and counts of the same windows."""
    count_of = dict(zip(*counts, strict=True))
    both = [
        (at_ms, value / count_of[at_ms]) for at_ms, value in zip(*sums, strict=True) if count_of.get(at_ms)
    ]
    return [at_ms for at_ms, _ in both], [mean for _, mean in both]


def window_of(at_ms: int, every_ms: int | None, start_ms: int) -> int:
    """[ms since the epoch] The first moment of the window of a moment."""
    return start_ms if every_ms is None else at_ms // every_ms * every_ms


def percentile(values: Sequence[float], share: float) -> float:
    """Linear between the neighbours: of 1 and 2, half (0.5) is 1.5."""
    ordered = sorted(values)
    place = (len(ordered) - 1) * share
    low = int(place)
    if low + 1 == len(ordered):
        return ordered[low]
    return ordered[low] + (ordered[low + 1] - ordered[low]) * (place - low)


def total(values: Sequence[float]) -> float:
    """[unit of the values] Their sum, exact but for one rounding; infinite when no number is as large."""
    try:
        return fsum(values)
    except OverflowError:
        return sum(values)


FUNCTIONS: dict[str, Callable[[list[float]], float]] = {
    "mean": lambda values: total(values) / len(values),
    "min": min,
    "max": max,
    "last": itemgetter(-1),
    "sum": total,
    "count": lambda values: float(len(values)),
    "p50": lambda values: percentile(values, 0.5),
    "p95": lambda values: percentile(values, 0.95),
    "p99": lambda values: percentile(values, 0.99),
}
"""What can be made of the values of a window, by name."""

COMBINES = {"sum": "sum", "count": "sum", "min": "min", "max": "max"}
"""Functions of which the whole follows from its parts, and how."""
