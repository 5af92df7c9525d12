"""How one value is computed from several: aggregates and formulas, as functions that many plans share."""

from collections.abc import Callable, Sequence
from functools import lru_cache
from math import isfinite
from operator import itemgetter
from typing import Any

from streams.domain.formula import Formula
from streams.domain.rules import Input

Select = Callable[[Sequence[Any]], Sequence[Any]]
"""Takes some items of a sequence."""

Compute = Callable[[Sequence[float]], float]
"""Makes one value of several."""

NAN = float("nan")
"""Result of what cannot be computed; the check of the range refuses it and looks again for the reason."""


def select_places(places: Sequence[int]) -> Select:
    """A function that takes the items at these places, of which there is at least one."""
    if len(places) == 1:
        (place,) = places
        return lambda values: (values[place],)
    return itemgetter(*places)


def aggregate(source: Input, size: int, labels: Sequence[str]) -> Compute | None:
    """What an input's aggregate does with so many series, or None when it takes the first.

    Args:
        labels: values that the aggregate's label has in these series.
    """
    if source.aggregate == "count":
        return _always(float(size))
    if source.aggregate == "count_distinct":
        return _always(float(len(set(labels))))
    if source.aggregate == "sum_per_distinct":
        return _sum_over(float(len(set(labels))))
    if size == 1 or source.aggregate in ("", "first"):
        return None
    if source.aggregate == "mean":
        return _sum_over(float(size))
    if source.aggregate == "sum":
        return sum
    return _least if source.aggregate == "min" else _greatest


@lru_cache(maxsize=1024)
def formula(of: Formula) -> Compute:
    """A formula as a function of the values of its names, in their order."""
    compute = of.compute

    def apply(values: Sequence[float]) -> float:
        try:
            return compute(*values)
        except ZeroDivisionError:
            return NAN

    return apply


@lru_cache(maxsize=1024)
def _always(value: float) -> Compute:
    return lambda values: value


@lru_cache(maxsize=1024)
def _sum_over(divisor: float) -> Compute:
    return lambda values: sum(values) / divisor


def _least(values: Sequence[float]) -> float:
    # min() and max() lose a NaN that is not the first; a sum shows it wherever it is.
    return min(values) if isfinite(sum(values)) else NAN


def _greatest(values: Sequence[float]) -> float:
    return max(values) if isfinite(sum(values)) else NAN
