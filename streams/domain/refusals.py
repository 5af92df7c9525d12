"""Samples that a scrape gives and that are not taken: why, and in how few dead letters that is said."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import isfinite
from sys import float_info

from streams.domain.plan import Plan

NAMED_MAX = 10
"""[1] Samples that one dead letter names; the rest is counted."""

REASONS_MAX = 20
"""[1] Dead letters of one scrape."""

TEXT_MAX = 300
"""[characters] Of a series in a dead letter; labels can be long."""


@dataclass(frozen=True, slots=True)
class Rejected:
    """Samples of a scrape that were refused for one reason; `error` names the first of them."""

    reason: str
    error: str
    count: int = 1


Reason = tuple[str, str]
"""Short name that metrics count by, and the text."""


def refused_samples(
    plan: Plan, out: list[float], series: Sequence[str], values: Sequence[float]
) -> dict[int, Reason]:
    """Samples that are refused, by place; values within their rule's tolerance are set right in `out`."""
    refused: dict[int, Reason] = {}
    for place in plan.same:
        found = {values[source] for source in plan.places(place)}
        if len(found) > 1 and all(map(isfinite, found)):
            text = f"{plan.name(place)} has different values: {', '.join(map(repr, sorted(found)))}"
            refused[place] = ("duplicate", text)
    for place, (value, low, high) in enumerate(zip(out, plan.lows, plan.highs, strict=True)):
        if low <= value <= high or place in refused:
            continue
        limit = min(max(value, low), high)
        if not isfinite(value):
            sources = [(series[source], values[source]) for source in plan.places(place)]
            refused[place] = _not_finite(plan, place, value, sources)
        elif abs(value - limit) <= plan.rules[place].tolerance:
            out[place] = limit
        else:
            text = f"{plan.name(place)} = {value} is not within {_limit(low)} … {_limit(high)}"
            refused[place] = ("range", text)
    return refused


def refused_times(plan: Plan, times_ms: Sequence[int]) -> dict[int, Reason]:
    """Samples without a time: nothing was measured in 1970."""
    return {
        place: ("time", f"{plan.name(place)} has the time {time} ms, which is not after 1970")
        for place, time in enumerate(times_ms)
        if time <= 0
    }


def _not_finite(plan: Plan, place: int, value: float, sources: list[tuple[str, float]]) -> Reason:
    name, formula = plan.name(place), plan.rules[place].formula
    unfit = [f"{_clip(text)} = {number}" for text, number in sources if not isfinite(number)]
    if formula is None or unfit:
        return "nan", f"{name} = {value} from {', '.join(unfit[:NAMED_MAX]) or _clip(sources[0][0])}"
    shown = ", ".join(f"{_clip(text)} = {number}" for text, number in sources[:NAMED_MAX])
    return "division", f"{name}: {formula.text} divides by zero or overflows: {shown}"


def _limit(value: float) -> str:
    return f"{value:g}" if abs(value) < float_info.max else "∞" if value > 0 else "-∞"


def _clip(text: str) -> str:
    return text if len(text) <= TEXT_MAX else f"{text[:TEXT_MAX]}…"


def repeated_series(plan: Plan, series: Sequence[str], values: Sequence[float]) -> list[Reason]:
    """Series that are in a scrape twice with different values."""
    return [
        (
            "duplicate",
            f"{_clip(series[place])} comes twice: {values[first]} was taken, {values[place]} was not",
        )
        for place, first in plan.repeats
        if values[place] != values[first] and values[first] == values[first]
    ]


def summary(faults: list[Reason]) -> list[Rejected]:
    """One dead letter for each fault, or for each reason where they are many."""
    distinct = list(dict.fromkeys(faults))
    if len(distinct) <= REASONS_MAX:
        return [Rejected(reason, text) for reason, text in distinct]
    groups: dict[str, list[str]] = {}
    for reason, text in distinct:
        groups.setdefault(reason, []).append(text)
    return [
        Rejected(reason, "\n".join([*texts[:NAMED_MAX], *_more(texts)]), len(texts))
        for reason, texts in groups.items()
    ]


def _more(texts: list[str]) -> list[str]:
    return [f"and {len(texts) - NAMED_MAX} more"] if len(texts) > NAMED_MAX else []
