"""Lines over time as ECharts wants them: how long windows are, where a line breaks, what an axis says."""

from collections.abc import Iterable, Sequence
from math import ceil, floor, isfinite, log2
from typing import Any, NamedTuple

from streams.pages.units import BINARY

POINTS = 500
"""[1] Most points of a line that are read: about as many as it is wide on a screen."""

WINDOWS_S = (10, 15, 30, 60, 120, 300, 600, 900, 1_800, 3_600, 7_200, 21_600, 43_200, 86_400, 604_800)
"""[s] Lengths of windows that people can name."""

BREAK = 2.5
"""[1] Distances of points without a value after which a line breaks."""

LEAST_SPAN = 0.2
"""[1] Part of a value that an axis shows at least: noise is no mountain."""

FORMAT = "v => window.twinValue ? twinValue(v, {unit}) : v"

Point = tuple[int, float | None]
"""Time [ms since the epoch] and value; None breaks the line."""


class Line(NamedTuple):
    """One line of a plot.

    Args:
        name: of the metric, and of the world where it is not the page's.
        color: place in the palette.
        is_base: what the line of a what-if is compared with.
    """

    name: str
    color: int
    points: Sequence[Point]
    is_base: bool = False


def window_ms(span_ms: int, step_ms: int) -> int | None:
    """[ms] Length of the windows in which a range is read; None: it is short enough for each tick.

    Args:
        span_ms: [ms] length of the range.
        step_ms: [ms] distance of ticks.
    """
    if span_ms <= POINTS * step_ms:
        return None
    fit = [length_s * 1000 for length_s in WINDOWS_S if length_s * 1000 * POINTS >= span_ms]
    least_ms = -(-span_ms // POINTS)
    return max(next(iter(fit), least_ms), step_ms)


def broken(times_ms: Iterable[int], values: Iterable[float | None], distance_ms: int) -> list[Point]:
    """Points of a line that breaks where values are absent.

    Args:
        distance_ms: [ms] usual distance of two points.
    """
    points: list[Point] = []
    for at_ms, value in zip(times_ms, values, strict=True):
        if points and at_ms - points[-1][0] > BREAK * distance_ms:
            points.append((points[-1][0] + 1, None))
        points.append((at_ms, value if value is not None and isfinite(value) else None))
    return points


def plot_options(unit: str, lines: Sequence[Line], start_ms: int, end_ms: int) -> dict[str, Any]:
    """Options of one plot, whose lines have the same unit.

    Args:
        start_ms: [ms since the epoch] left end of the axis.
        end_ms: [ms since the epoch] right end.
    """
    form = FORMAT.format(unit=_text(unit))
    return {
        "useUTC": True,
        "animation": False,
        "grid": {"left": 74, "right": 14, "top": 12, "bottom": 22},
        "tooltip": {
            "trigger": "axis",
            "axisPointer": {"type": "line", "animation": False},
            ":valueFormatter": form,
            "className": "ent-tooltip",
            "confine": True,
        },
        "xAxis": {
            "type": "time",
            "min": start_ms,
            "max": end_ms,
            "axisLine": {"lineStyle": {"color": "var(--twin-line)"}},
            "axisLabel": {"color": "var(--twin-muted)", "hideOverlap": True},
            "splitLine": {"show": False},
        },
        "yAxis": {
            "type": "value",
            "scale": unit != "%",
            "splitNumber": 3,
            "axisLabel": {"color": "var(--twin-muted)", ":formatter": form},
            "splitLine": {"lineStyle": {"color": "var(--twin-line)"}},
            **(_binary_scale(lines) if unit in ("B", "B/s") else {}),
        },
        "brush": {
            "xAxisIndex": 0,
            "brushType": "lineX",
            "brushMode": "single",
            "toolbox": [],
            "transformable": False,
            "brushStyle": {"color": "rgba(50, 103, 201, 0.2)", "borderWidth": 0},
        },
        "series": [_series(line) for line in lines],
    }


def limit_mark(value: float | None, marks_ms: Iterable[int] = ()) -> dict[str, Any]:
    """What is drawn across a plot: a limit, and moments that are looked at."""
    data: list[dict[str, Any]] = []
    if value is not None:
        color = "var(--twin-down)"
        data.append(
            {"yAxis": value, "lineStyle": {"color": color, "type": "dashed"}, "label": {"show": False}}
        )
    for at_ms in marks_ms:
        color = "var(--twin-past)"
        data.append({"xAxis": at_ms, "lineStyle": {"color": color}, "label": {"show": False}})
    return {"silent": True, "symbol": "none", "animation": False, "data": data}


def parse_limit(text: str, unit: str) -> float | None:
    """A limit as people write it: 80, 80 %, 1.5 GiB; None when there is none.

    Raises:
        ValueError: it is no number, or has another unit.
    """
    text = text.strip().replace(",", "").replace(" ", "")
    if not text:
        return None
    factor = 1.0
    for suffix, scale in sorted(_suffixes(unit).items(), key=lambda item: -len(item[0])):
        if text.endswith(suffix):
            text, factor = text.removesuffix(suffix), scale
            break
    try:
        value = float(text) * factor
    except ValueError:
        value = float("nan")
    if not isfinite(value):
        wanted = f" [{unit}]" if unit not in ("", "1") else ""
        raise ValueError(f"{text[:20]!r} is no number{wanted}: write " + _example(unit))
    return value


def _binary_scale(lines: Iterable[Line]) -> dict[str, float]:
    """Ends and steps of an axis of bytes at round KiB, MiB, …: ECharts knows only round decimal ones."""
    values = [value for line in lines for _, value in line.points if value is not None]
    if not values:
        return {}
    low, high = min(values), max(values)
    step = 2.0 ** ceil(log2(max(high - low, abs(high) * LEAST_SPAN, 3.0) / 3))
    first, last = floor(low / step), floor(high / step) + 1
    if last - first == 1 and first > 0:
        first -= 1  # a line that hardly changes is in the middle
    return {"interval": step, "min": first * step, "max": last * step}


def _suffixes(unit: str) -> dict[str, float]:
    if unit not in ("B", "B/s"):
        return {unit: 1.0} if unit not in ("", "1") else {}
    rest = unit[1:]
    sizes = {name + rest: 1024.0**power for power, name in enumerate(BINARY)}
    return sizes | {f"{letter}B{rest}": 1000.0**power for power, letter in enumerate("kMGTP", 1)}


def _example(unit: str) -> str:
    return {"B": "16 GiB", "B/s": "10 MiB/s", "%": "80"}.get(unit, "80 or 1.5")


def _series(line: Line) -> dict[str, Any]:
    color = f"var(--twin-line-{line.color % 8 + 1})"
    return {
        "type": "line",
        "name": line.name,
        "data": [list(point) for point in line.points],
        "showSymbol": len(line.points) == 1,
        "symbolSize": 5,
        "connectNulls": False,
        "emphasis": {"disabled": True},
        "itemStyle": {"color": color},
        "lineStyle": {
            "color": color,
            "width": 1 if line.is_base else 1.8,
            "type": [4, 3] if line.is_base else "solid",
        },
    }


def _text(unit: str) -> str:
    return "'" + "".join(letter for letter in unit if letter not in "'\\\n\r") + "'"
