"""The history of an entity: the range and the metrics that are chosen, charts of them, its status above."""

from collections.abc import Mapping
from typing import Any

from nicegui import events, ui

from streams.domain.times import moment_text
from streams.pages.charts import Charts
from streams.pages.lines import Lines, moment_or_none, read_changes, read_lines
from streams.pages.ranges import CUSTOM, RANGES, Bounds, InvalidRangeError, Range
from streams.pages.shell import View
from streams.pages.standing import Standing, band, segments, share_up, standings
from streams.pages.timeline import Timeline
from streams.pages.units import age_text
from streams.stores import PastChange
from streams.web.moment import world_now_ms
from streams.web.problems import ProblemError

FIRST = (
    *("cpu_usage_percent", "mem_usage_percent", "gpu_usage_percent", "power_watts", "network_delay_ms"),
    *("network_receive_bytes_per_s", "network_transmit_bytes_per_s", "temperature_celsius", "load1"),
    "carbon_intensity_g_per_kwh",
)
"""Metrics that are shown unless others are chosen: they move, others seldom do."""

SHOWN = 4
"""[1] Of them are shown at first."""

REREAD_MS = 60_000
"""[ms] After so long, or one window, the range is read again: what was appended is as it came, unwindowed."""

LEAST_MS = 1_000
"""[ms] A range that is drawn and shorter was a slip of the hand."""

RETRY_MS = 10_000
"""[ms] Between attempts to reach a history store that is away."""


class HistoryPanel:
    """Charts, one for each unit; the URL keeps the range, the metrics and the limits.

    Args:
        names: metrics that the entity has.
        timeline: is told what happened in the range.
    """

    def __init__(self, view: View, kind: str, id: str, names: list[str], timeline: Timeline) -> None:
        self._view, self._entity, self._timeline = view, (kind, id), timeline
        self._range = Range.from_params(view.params)
        chosen = [name for name in view.params.get("metrics", "").split(",") if name]
        self._metrics = chosen or first_metrics(names)
        self._bounds: Bounds | None = None
        self._lines = Lines()
        self._standing: list[Standing] = []
        self._asked, self._due_ms, self._tick_ms = 0, 0, 0
        with ui.element("section").classes("twin-panel"):
            self._build(sorted({*names, *self._metrics}))

    def _build(self, names: list[str]) -> None:
        with ui.element("div").classes("ent-head-row"):
            ui.html("History", tag="h2").classes("twin-h2")
            options = {name: label for name, (_, label) in RANGES.items()} | {CUSTOM: "custom"}
            self._toggle = ui.toggle(options, value=self._range.name, on_change=self._range_chosen)
            self._toggle.props("dense no-caps unelevated size=sm toggle-color=primary").classes("ent-ranges")
        with ui.row().classes("ent-custom") as self._custom:
            self._ends = {
                name: ui.input(label, value=getattr(self._range, name)).props(
                    "dense outlined hide-bottom-space"
                )
                for name, label in (("start", "from"), ("end", "to"))
            }
            for field in self._ends.values():
                field.on("keydown.enter", self._custom_chosen).on("blur", self._custom_chosen)
            ui.label("-2h, now, or 2026-11-24T03:12:00Z").classes("twin-muted")
        self._custom.set_visibility(self._range.name == CUSTOM)
        select = ui.select(names, value=self._metrics, multiple=True, on_change=self._metrics_chosen)
        select.props('dense outlined use-chips options-dense aria-label="Metrics"').classes("ent-metrics")
        select.set_visibility(bool(names))
        self._note = ui.label().classes("twin-muted ent-note")
        self._band = ui.html("", sanitize=False).classes("ent-band-row")
        self._charts = Charts(self._view, self._drawn)

    async def load(self) -> None:
        """Read the range that is chosen, and draw it."""
        self._asked += 1
        asked = self._asked
        view = self._view
        now_ms = world_now_ms(view.request, view.world)
        try:
            bounds = self._range.bounds(now_ms, moment_or_none(view.at, now_ms))
        except InvalidRangeError as error:
            self._ends[error.field].error = str(error)
            return
        for field in self._ends.values():
            field.error = None
        self._due_ms = now_ms + RETRY_MS
        try:
            ends = (bounds.start_ms, bounds.end_ms)
            changes = await read_changes(view.request, view.world, self._entity, *ends)
            lines = Lines()
            if self._metrics:
                lines = await read_lines(view.request, view.world, self._entity, self._metrics, *ends)
        except ProblemError as error:
            if asked == self._asked:
                self._say(error)
            return
        if asked == self._asked and not self._note.is_deleted:
            self._bounds, self._lines = bounds, lines
            self._due_ms = now_ms + max(REREAD_MS, lines.every_ms or 0)
            self._draw(changes, now_ms)

    async def advance(self, entity: Mapping[str, Any], now_ms: int) -> None:
        """Move on to now: append what the newest tick brought, and read again when it is time."""
        bounds = self._bounds
        if now_ms >= self._due_ms and (bounds is None or bounds.ends_now):
            await self.load()
        elif bounds is not None and bounds.ends_now and entity["aligned"]["tick_ms"] > self._tick_ms:
            self._append(entity, now_ms)

    def _append(self, entity: Mapping[str, Any], now_ms: int) -> None:
        aligned, bounds = entity["aligned"], self._bounds
        if bounds is None:
            return
        self._tick_ms = aligned["tick_ms"]
        is_base = entity["world"] != self._view.world
        for name in self._metrics:
            points = self._lines.points.setdefault((name, is_base), [])
            value = aligned["values"].get(name)
            if (not points or points[-1][0] < self._tick_ms) and (value is not None or points):
                points.append((self._tick_ms, value))
        standing = (entity["status_since_ms"], entity["status"], entity["status_reason"])
        if not self._standing or self._standing[-1][1:] != standing[1:]:
            self._standing.append(standing)
            self._due_ms = min(self._due_ms, now_ms + RETRY_MS)  # what happened stands in history by then
        span_ms = bounds.end_ms - bounds.start_ms
        self._bounds = Bounds(now_ms - span_ms, now_ms, ends_now=True)
        self._update()

    def _draw(self, changes: list[PastChange], now_ms: int) -> None:
        bounds = self._bounds
        if bounds is None:
            return
        newest = [points[-1][0] for points in self._lines.points.values() if points]
        self._tick_ms = max([now_ms - 1 if not bounds.ends_now else 0, *newest])
        self._standing = standings(changes)
        self._timeline.show_past(changes, bounds.start_ms)
        self._update()
        parts = [self._lines.note]
        if self._lines.every_ms:
            parts.insert(0, f"Means of {age_text(self._lines.every_ms)}.")
        self._note.set_text(" ".join(part for part in parts if part))

    def _update(self) -> None:
        bounds = self._bounds
        if bounds is None:
            return
        self._charts.show(self._metrics, self._lines, bounds, moment_or_none(self._view.at, bounds.end_ms))
        parts = segments(self._standing, bounds.start_ms, bounds.end_ms)
        share = share_up(parts)
        text = "no status is known" if share is None else f"up {share:.1%}"
        self._band.set_content(
            f'<span class="twin-muted">{text}</span>' + band(parts, bounds.start_ms, bounds.end_ms)
        )

    def _say(self, error: ProblemError) -> None:
        self._note.set_text(str(error))
        if self._bounds is None:
            self._timeline.say_past(str(error))

    async def _range_chosen(self, event: events.ValueChangeEventArguments[str]) -> None:
        if event.value == CUSTOM:
            bounds = self._bounds
            end = "now" if bounds is None or bounds.ends_now else moment_text(bounds.end_ms)
            start = "-1h" if bounds is None else moment_text(bounds.start_ms)
            await self._choose(Range(CUSTOM, start, end))
        else:
            await self._choose(Range(event.value))

    async def _custom_chosen(self) -> None:
        wanted = Range(CUSTOM, *(str(self._ends[name].value).strip() for name in ("start", "end")))
        if wanted != self._range:
            await self._choose(wanted)

    async def _drawn(self, start_ms: int, end_ms: int) -> None:
        if end_ms - start_ms >= LEAST_MS:
            await self._choose(Range(CUSTOM, moment_text(start_ms), moment_text(end_ms)))

    async def _choose(self, wanted: Range) -> None:
        if wanted == self._range:
            return
        self._range = wanted
        self._toggle.value = wanted.name
        self._custom.set_visibility(wanted.name == CUSTOM)
        if wanted.name == CUSTOM:
            for name, field in self._ends.items():
                field.value = getattr(wanted, name)
        self._view.set_params(**wanted.to_params())
        await self.load()

    async def _metrics_chosen(self, event: events.ValueChangeEventArguments[list[str]]) -> None:
        self._metrics = list(event.value)
        self._view.set_params(metrics=",".join(self._metrics))
        await self.load()


def first_metrics(names: list[str]) -> list[str]:
    """Those that are shown at first, of those that an entity has."""
    found = [name for name in FIRST if name in names]
    return (found or sorted(names))[:SHOWN]
