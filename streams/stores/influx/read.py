"""Values of a time in InfluxDB, and of windows of it."""

from collections.abc import Callable, Mapping
from dataclasses import replace

from streams import stores
from streams.stores import Selection, Series, Window
from streams.stores.influx.flux import Node, duration
from streams.stores.influx.rows import Entity, Names, Query, Rows, of_entities

FUNCTIONS: dict[str, str] = {
    **{
        fn: f' |> aggregateWindow(every: every, fn: {fn}, createEmpty: false, timeSrc: "_start")'
        for fn in ("mean", "min", "max", "sum", "count")
    },
    # The time of the value itself: of two series of an entity that changed its pool the later one counts.
    "last": " |> window(every: every) |> last()",
}
"""Flux of the functions that InfluxDB computes exactly; its quantiles are no linear interpolation."""

Part = tuple[Entity, list[int], list[float]]
"""Whose, [ms since the epoch], and values, in order of time: one series of a metric."""

Parts = dict[tuple[str, str, str], list[Part]]
"""By (kind, id, metric): there are several when tags changed, such as the pool."""

MERGED: dict[str, Callable[[float, float], float]] = {
    "min": min,
    "max": max,
    "sum": lambda earlier, later: earlier + later,
    "count": lambda earlier, later: earlier + later,
    "last": lambda earlier, later: later,
}
"""One value from two of the same window."""


async def read(
    query: Query, bucket: str, names: Names, selection: Selection, window: Window | None
) -> list[Series]:
    """As `Store.read`."""
    if window is None:
        return _series(await _points(query, bucket, names, selection), "last")
    points = await _windows(query, bucket, names, selection, window)
    if window.fn != "mean":
        return _series(points, window.fn)
    # A mean of means is none.
    twice = {key[1] for key, parts in points.items() if _overlap(parts)}
    once = _series({key: parts for key, parts in points.items() if key[1] not in twice}, "last")
    if not twice:
        return once
    some = replace(selection, ids=tuple(sorted(twice)))
    sums = await _windows(query, bucket, names, some, replace(window, fn="sum"))
    counts = await _windows(query, bucket, names, some, replace(window, fn="count"))
    means = _means(_series(sums, "sum"), _series(counts, "count"))
    return sorted(once + means, key=lambda one: (one.kind, one.id, one.metric))


async def _windows(query: Query, bucket: str, names: Names, selection: Selection, window: Window) -> Parts:
    every_ms = window.every_ms
    points = await _points(
        query, bucket, names, selection, FUNCTIONS[window.fn], {"every": duration(every_ms)}
    )
    return {
        key: [
            (entity, [at_ms // every_ms * every_ms for at_ms in times], values)
            for entity, times, values in parts
        ]
        for key, parts in points.items()
    }


async def _points(
    query: Query,
    bucket: str,
    names: Names,
    selection: Selection,
    end: str = "",
    options: Mapping[str, Node] | None = None,
) -> Parts:
    rows = Rows(selection)
    conditions = [*of_entities(selection), names.condition(selection.metrics)]
    points: Parts = {}
    for run in await rows.ask(query, bucket, conditions, end, limit=stores.MAX_POINTS, options=options):
        metric = rows.metric(names, run.measurement, run.field)
        if metric is not None:
            part = (run.entity, run.times_ms, list(map(float, run.texts)))
            points.setdefault((run.entity.kind, run.entity.id, metric), []).append(part)
    for parts in points.values():
        parts.sort(key=lambda part: part[1][-1])  # the last one has the newest value
    return points


def _overlap(parts: list[Part]) -> bool:
    times = [at_ms for _, times_ms, _ in parts for at_ms in times_ms] if len(parts) > 1 else []
    return len(set(times)) < len(times)


def _series(points: Parts, fn: str) -> list[Series]:
    series = []
    for (kind, id, metric), parts in sorted(points.items()):
        entity, times, values = parts[-1]
        if len(parts) > 1:
            times, values = _merged(parts, MERGED[fn])
        series.append(Series(kind, id, entity.nodepool, entity.simulated, metric, times, values))
    return series


def _merged(parts: list[Part], merge: Callable[[float, float], float]) -> tuple[list[int], list[float]]:
    values: dict[int, float] = {}
    for _, times, some in parts:
        for at_ms, value in zip(times, some, strict=True):
            values[at_ms] = merge(values[at_ms], value) if at_ms in values else value
    return sorted(values), [values[at_ms] for at_ms in sorted(values)]


def _means(sums: list[Series], counts: list[Series]) -> list[Series]:
    # What came between the two queries may be in one of them only.
    known = {
        (one.kind, one.id, one.metric, at_ms): count
        for one in counts
        for at_ms, count in zip(one.times_ms, one.values, strict=True)
    }
    means = []
    for one in sums:
        values = {
            at_ms: total / known[place]
            for at_ms, total in zip(one.times_ms, one.values, strict=True)
            if (place := (one.kind, one.id, one.metric, at_ms)) in known
        }
        if values:
            means.append(one._replace(times_ms=list(values), values=list(values.values())))
    return means
