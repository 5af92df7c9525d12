"""Charts of values, one for each unit, with the limits that people set."""

import json
from collections.abc import Awaitable, Callable, Sequence

from nicegui import events, ui

from streams.pages.lines import Lines
from streams.pages.plots import Line, Point, limit_mark, parse_limit, plot_options
from streams.pages.ranges import Bounds
from streams.pages.shell import STATIC, View

BRUSH = {
    "type": "takeGlobalCursor",
    "key": "brush",
    "brushOption": {"brushType": "lineX", "brushMode": "single"},
}
"""What lets a range be drawn with the mouse."""


BRUSH_END = "event => { const range = event.areas[0]?.coordRange; if (range) emit(range); }"
"""Sends the range that was drawn."""


SCRIPT = f'<script src="{STATIC}/plots.js"></script>'
"""What charts need in the browser."""


class Charts:
    """Shows lines; the URL keeps the limits.

    Args:
        drawn: is called with the ends [ms since the epoch] of a range that was drawn with the mouse.
    """

    def __init__(self, view: View, drawn: Callable[[int, int], Awaitable[None]]) -> None:
        self._view, self._on_drawn = view, drawn
        self._units = {name: metric.unit for name, metric in view.catalogue.items()}
        self._limits = read_limits(view.params.get("limits", ""))
        self._metrics: list[str] = []
        self._at_ms: int | None = None
        self._charts: dict[str, ui.echart] = {}
        self._plots = ui.element("div")

    def show(self, metrics: Sequence[str], lines: Lines, bounds: Bounds, at_ms: int | None) -> None:
        """Draw the lines of these metrics.

        Args:
            at_ms: [ms since the epoch] a moment that is marked; None: none is.
        """
        self._at_ms = at_ms
        if list(metrics) != self._metrics:  # the legends name them
            self._metrics = list(metrics)
            self._build(has_base=any(is_base for _, is_base in lines.points))
        for unit, chart in self._charts.items():
            found = self._of_unit(unit, lines, bounds)
            chart.options.clear()
            chart.options.update(plot_options(unit, found, bounds.start_ms, bounds.end_ms))
            if not found:
                chart.options["series"] = [{"type": "line", "data": []}]
            self._set_marks(unit)

    def _set_marks(self, unit: str) -> None:
        chart = self._charts[unit]
        marks = [] if self._at_ms is None else [self._at_ms]
        chart.options["series"][0]["markLine"] = limit_mark(self._limit(unit), marks)
        chart.update()

    def _build(self, *, has_base: bool) -> None:
        self._plots.clear()
        self._charts = {}
        for unit in dict.fromkeys(self._units.get(name, "") for name in self._metrics):
            with self._plots:
                with ui.element("div").classes("ent-plot-head"):
                    self._legend(unit, has_base=has_base)
                    self._limit_field(unit)
                chart = ui.echart(plot_options(unit, [], 0, 1), renderer="svg").classes("ent-plot")
                chart.on("chart:brushEnd", self._drawn, js_handler=BRUSH_END)
            self._charts[unit] = chart
        ids = [chart.id for chart in self._charts.values()]
        ui.run_javascript(f"window.twinPlots && twinPlots({json.dumps(ids)}, {json.dumps(BRUSH)})")

    def _limit_field(self, unit: str) -> None:
        with ui.element("label").classes("ent-limit"):
            ui.label("limit")
            field = ui.input(value=self._limits.get(unit, ""), placeholder="none")
            field.props(f'dense borderless hide-bottom-space aria-label="Limit {unit}"')
        for event in ("keydown.enter", "blur"):
            field.on(event, lambda: self._limit_typed(unit, field))

    def _legend(self, unit: str, *, has_base: bool) -> None:
        text = unit if unit not in ("", "1") else "number"
        ui.label(text).classes("ent-unit")
        for place, name in enumerate(self._metrics):
            if self._units.get(name, "") == unit:
                with ui.element("span").classes("ent-legend"):
                    ui.element("i").style(f"background: var(--twin-line-{place % 8 + 1})")
                    ui.label(name)
        if has_base:
            with ui.element("span").classes("ent-legend"):
                ui.element("i").classes("base")
                ui.label("live")

    def _of_unit(self, unit: str, lines: Lines, bounds: Bounds) -> list[Line]:
        found = []
        for place, name in enumerate(self._metrics):
            for is_base in (True, False):
                if self._units.get(name, "") != unit or (name, is_base) not in lines.points:
                    continue
                points = _within(lines.points[name, is_base], bounds.start_ms)
                lines.points[name, is_base] = points
                found.append(Line(f"{name} (live)" if is_base else name, place, points, is_base))
        return found

    def _limit(self, unit: str) -> float | None:
        try:
            return parse_limit(self._limits.get(unit, ""), unit)
        except ValueError:
            return None

    async def _drawn(self, event: events.GenericEventArguments) -> None:
        start_ms, end_ms = (round(end) for end in event.args)
        await self._on_drawn(start_ms, end_ms)

    def _limit_typed(self, unit: str, field: ui.input) -> None:
        text = str(field.value or "").strip()
        try:
            parse_limit(text, unit)
        except ValueError as error:
            field.error = str(error)
            return
        field.error = None
        self._limits[unit] = text.replace(",", "")
        kept = ",".join(f"{name}:{limit}" for name, limit in self._limits.items() if limit)
        self._view.set_params(limits=kept)
        self._set_marks(unit)


def read_limits(text: str) -> dict[str, str]:
    """Limits by unit, from the URL: `%:80,W:120`."""
    parts = (part.rpartition(":") for part in text.split(",") if ":" in part)
    return {unit: limit for unit, _, limit in parts}


def _within(points: list[Point], start_ms: int) -> list[Point]:
    """Points from the last one before the start on."""
    first = next((place for place, point in enumerate(points) if point[0] >= start_ms), len(points))
    return points[max(0, first - 1) :]
