"""JSON documents to series: what a pack's `document` section says, so that one set of rules maps both."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from math import isfinite
from typing import Any

from streams.domain.series import format_labels

Path = tuple[str, ...]
"""Keys from a variable (or from the document itself) down to a value."""


@dataclass(frozen=True, slots=True)
class SeriesMapping:
    """Series of one part of a document.

    Args:
        each: pairs (variable, path of an array or object to go through), outer first. Over an object
            the variable is each of its entries, with `key` and `value`.
        labels: label by path; an absent value gives no label, an object or array its JSON text.
        values: series name and path of its value, or a fixed number.
        times: paths of the sample time, the first that is there is taken.
    """

    each: tuple[tuple[str, Path], ...]
    labels: tuple[tuple[str, Path], ...]
    values: tuple[tuple[str, Path | float], ...]
    times: tuple[Path, ...]


@dataclass(frozen=True, slots=True)
class DocumentMapping:
    """How a JSON document becomes series.

    Args:
        schema: JSON Schema that a document has to satisfy before it is mapped.
        time_scale: [ms] One unit of the document's times.
    """

    schema: dict[str, Any]
    series: tuple[SeriesMapping, ...]
    time_scale: float = 1000.0


def extract(
    document: Any, mapping: DocumentMapping
) -> tuple[list[str], list[float], list[int], dict[str, int]]:
    """Series, values, times [ms since the epoch] and what was dropped, by reason, of a valid document.

    The times are empty when the document says none. What is absent or null gives no series.
    """
    series: list[str] = []
    values: list[float] = []
    times: list[int | None] = []
    dropped: dict[str, int] = {}
    for part in mapping.series:
        for scope in _scopes(part.each, {"": document}, dropped):
            time = _time(part.times, scope, mapping.time_scale, dropped)
            # Once for all values of the part, whose names are plain: most of the time goes into this.
            labels = format_labels(
                {
                    label: text
                    for label, path in part.labels
                    if (text := _text(_value(path, scope))) is not None
                }
            )
            for name, where in part.values:
                found = where if isinstance(where, float) else _value(where, scope)
                if found is None:
                    continue
                if not isinstance(found, int | float):
                    dropped["not_a_number"] = dropped.get("not_a_number", 0) + 1
                    continue
                series.append(name + labels)
                values.append(_float(found))
                times.append(time)
    return (series, values, *_whole_times(series, values, times, dropped))


def _whole_times(
    series: list[str], values: list[float], times: list[int | None], dropped: dict[str, int]
) -> tuple[list[int], dict[str, int]]:
    """All times or none: samples without one, among others that have one, are dropped."""
    whole = [time for time in times if time is not None]
    if whole and len(whole) < len(times):
        dropped["no_time"] = len(times) - len(whole)
        kept = [place for place, time in enumerate(times) if time is not None]
        series[:] = [series[place] for place in kept]
        values[:] = [values[place] for place in kept]
    return whole, dropped


def _scopes(
    each: tuple[tuple[str, Path], ...], scope: dict[str, Any], dropped: dict[str, int]
) -> Iterator[dict[str, Any]]:
    if not each:
        yield scope
        return
    variable, path = each[0]
    items = _value(path, scope)
    if isinstance(items, Mapping):
        items = [{"key": key, "value": value} for key, value in items.items()]
    elif items is not None and not isinstance(items, list):
        dropped["not_a_list"] = dropped.get("not_a_list", 0) + 1
        return
    for item in items or ():
        yield from _scopes(each[1:], {**scope, variable: item}, dropped)


def _value(path: Path, scope: Mapping[str, Any]) -> Any:
    """What is at a path; its first word is a variable, or else a key of the document."""
    first, *rest = path
    value = scope[first] if first in scope else _member(scope[""], first)
    for key in rest:
        value = _member(value, key)
    return value


def _member(value: Any, key: str) -> Any:
    return value.get(key) if isinstance(value, Mapping) else None


def _text(value: Any) -> str | None:
    if value is None or isinstance(value, str):
        return value
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def _float(value: float) -> float:
    try:
        return float(value)
    except (
        OverflowError
    ):  # JSON has integers of any length; beyond a double they are what a double makes of them
        return float("inf") if value > 0 else float("-inf")


def _time(
    paths: tuple[Path, ...], scope: Mapping[str, Any], scale: float, dropped: dict[str, int]
) -> int | None:
    for path in paths:
        value = _value(path, scope)
        if isinstance(value, int | float) and not isinstance(value, bool):
            time = _float(value) * scale
            if isfinite(time) and abs(time) < 2**62:
                return round(time)
            dropped["bad_time"] = dropped.get("bad_time", 0) + 1
    return None
