"""Series of answers put together: an entity's labels may have changed, its values are one series still."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from streams.stores import PastTick, Series, Window
from streams.stores.promql.api import Found
from streams.stores.promql.names import Entity, entity_of

MetricOf = Callable[[str, Mapping[str, str]], str]
"""The metric of a series by its name and its labels."""


def join(found: Iterable[Found], metric_of: MetricOf) -> tuple[list[Series], set[tuple[Entity, int]]]:
    """One series for each metric of each entity; and the times at which several series have a value."""
    groups: dict[tuple[Entity, str], list[Found]] = {}
    for each in found:
        entity = entity_of(each.labels)
        if entity and each.times_ms:
            metric = metric_of(each.labels.get("__name__", ""), each.labels)
            groups.setdefault((entity, metric), []).append(each)
    series: list[Series] = []
    twice: set[tuple[Entity, int]] = set()
    for (entity, metric), parts in groups.items():
        parts.sort(key=lambda part: part.times_ms[-1])
        points: dict[int, float] = {}
        for part in parts:
            if len(parts) > 1:
                twice.update((entity, time_ms) for time_ms in part.times_ms if time_ms in points)
            points.update(zip(part.times_ms, part.values, strict=True))
        times = sorted(points)
        labels = parts[-1].labels
        series.append(
            Series(
                *entity,
                labels.get("nodepool_id", ""),
                is_simulated(labels),
                metric,
                times,
                [points[time_ms] for time_ms in times],
            )
        )
    return series, twice


def newest_of(found: Iterable[Found], metric_of: MetricOf) -> list[PastTick]:
    """The newest time of each entity, with the metrics that have a value then."""
    newest: dict[Entity, tuple[int, list[tuple[Found, float]]]] = {}
    for each in found:
        entity = entity_of(each.labels)
        if not entity or not each.times_ms:
            continue
        at_ms = each.times_ms[-1]
        old = newest.get(entity)
        if old is None or old[0] < at_ms:
            newest[entity] = (at_ms, [(each, each.values[-1])])
        elif old[0] == at_ms:
            old[1].append((each, each.values[-1]))
    ticks = []
    for entity, (at_ms, parts) in newest.items():
        labels = parts[0][0].labels
        values = {metric_of(part.labels.get("__name__", ""), part.labels): value for part, value in parts}
        names = sorted(values)
        ticks.append(
            PastTick(
                *entity,
                labels.get("nodepool_id", ""),
                is_simulated(labels),
                at_ms,
                None,
                names,
                [values[name] for name in names],
                None,
            )
        )
    return ticks


def fold(series: Iterable[Series], window: Window) -> list[Series]:
    """What `window.fn` makes of the values in each window."""
    every_ms, function = window.every_ms, _FUNCTIONS[window.fn]
    folded = []
    for each in series:
        parts: dict[int, list[float]] = {}
        for time_ms, value in zip(each.times_ms, each.values, strict=True):
            parts.setdefault(time_ms // every_ms * every_ms, []).append(value)
        folded.append(each._replace(times_ms=list(parts), values=[function(part) for part in parts.values()]))
    return folded


def is_simulated(labels: Mapping[str, str]) -> bool:
    """Whether a simulation wrote the series."""
    return labels.get("simulated") == "true"


def _quantile(share: float) -> Callable[[list[float]], float]:
    def quantile(values: list[float]) -> float:
        ordered = sorted(values)
        place = share * (len(ordered) - 1)
        below = int(place)
        above = min(below + 1, len(ordered) - 1)
        return ordered[below] + (ordered[above] - ordered[below]) * (place - below)

    return quantile


_FUNCTIONS: dict[str, Callable[[list[float]], Any]] = {
    "mean": lambda values: sum(values) / len(values),
    "min": min,
    "max": max,
    "last": lambda values: values[-1],
    "sum": sum,
    "count": lambda values: float(len(values)),
    "p50": _quantile(0.5),
    "p95": _quantile(0.95),
    "p99": _quantile(0.99),
}
