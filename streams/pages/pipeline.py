"""How the pipeline does: topics, lag, sources, freshness, ledger, schemas, dead letters."""

import asyncio
from collections import deque
from typing import Any

from fastapi import Request
from nicegui import events, ui

from streams.pages.letters import Letters
from streams.pages.pipelineparts import LINES, Card, chart, panel
from streams.pages.pipelinerows import (
    SHOWN_SOURCES,
    freshness_rows,
    kafka_line,
    ledger_rows,
    partition_rows,
    source_rows,
    subject_rows,
    topic_rows,
)
from streams.pages.shell import View, frame
from streams.pages.tables import show_rows, table
from streams.web.access.require import check_scope
from streams.web.pipeline.routes import desk_of, pipeline_of
from streams.web.problems import ProblemError

REFRESH_S = 4.0
"""[s] Between looks; Kafka itself is asked every 5 s."""

POINTS = 150
"""[1] Of the chart: ten minutes."""

LETTERS_S = 1.0
"""[s] Between looks whether there are other dead letters, by what Kafka said last."""

CARDS = (
    "Waits for the worker",
    "Waits for the sink",
    "Waits for this page",
    "Sources in trouble",
    "Dead letters kept",
)

TOPICS = (
    ("record", "Topic", "left"),
    ("records", "Records", "right"),
    ("rate", "Records/s", "right"),
    ("bytes", "Bytes/s", "right"),
    ("lag", "Records that wait", "left"),
)
PARTITIONS = (
    ("reader", "Reader", "left"),
    ("partition", "Partition", "right"),
    ("position", "Position", "right"),
    ("end", "End", "right"),
    ("lag", "Waits", "right"),
)
SOURCES = (
    ("state", "", "left"),
    ("source", "Source", "left"),
    ("target", "Target", "left"),
    ("age", "Last scrape", "right"),
    ("duration", "Took", "right"),
    ("interval", "Every", "right"),
    ("samples", "Samples", "right"),
    ("entities", "Entities", "right"),
    ("error", "Error", "left"),
)
FRESHNESS = (
    ("what", "", "left"),
    ("count", "Of", "right"),
    *((name, name, "right") for name in ("p50", "p95", "p99", "max")),
)
LEDGER = (
    ("source", "Source", "left"),
    *((name, name, "right") for name in ("applied", "duplicate", "late", "conflict", "rejected")),
    ("lost", "not used", "right"),
)
SUBJECTS = (
    ("subject", "Schema", "left"),
    ("version", "Version", "right"),
    ("id", "Id", "right"),
    ("hex", "on the wire", "right"),
)

VISIBLE = """
document.addEventListener('visibilitychange', () => emitEvent('pipeline-visible', !document.hidden));
"""


@ui.page("/pipeline")
async def show(request: Request) -> None:
    """The pipeline as it is now."""
    with frame(request, "Pipeline", timed=False) as view:
        check_scope(view.principal, "read")
        page = _Pipeline(view)
        ui.timer(REFRESH_S, page.refresh_visible)
        # By itself: reading letters may take longer, and must not hold up the rest.
        ui.timer(LETTERS_S, page.follow_letters)
        ui.on("pipeline-visible", page.set_visible)
        ui.run_javascript(VISIBLE)


class _Pipeline:
    def __init__(self, view: View) -> None:
        self._view = view
        self._is_visible = True
        self._is_looking = False
        self._pipeline: dict[str, Any] = {}
        self._sources: list[dict[str, Any]] = []
        self._history: deque[tuple[int, dict[str, Any]]] = deque(maxlen=POINTS)
        with ui.row().classes("pipe-line").props('role="status" aria-live="polite"'):
            self._kafka = ui.label("asks Kafka …").classes("pipe-kafka")
            self._versions = ui.label().classes("twin-muted")
        with ui.row().classes("twin-cards"):
            self._cards = [Card(title) for title in CARDS]
        with ui.element("div").classes("pipe-columns"):
            with ui.element("div").classes("pipe-column"):
                self._build_topics()
                self._ledger = panel(f"Samples of {view.world}, by source", LEDGER, "No sample was taken yet")
            with ui.element("div").classes("pipe-column"):
                self._build_freshness()
        self._build_sources()
        self._letters = Letters(view)
        self._subjects = panel("Schemas in use", SUBJECTS, "None")

    def _build_topics(self) -> None:
        with ui.element("div").classes("twin-panel"):
            ui.label("Topics").classes("twin-h2")
            self._topics = table(TOPICS, "topic", "Kafka has not answered yet")
            self._topics.classes("pipe-click")
            self._topics.on("row-click", lambda event: self._open_topic(event.args[1]["topic"]))
            ui.label("A click shows the partitions. Rates are of the last minute.").classes(
                "twin-muted pipe-note"
            )

    def _build_freshness(self) -> None:
        with ui.element("div").classes("twin-panel"):
            ui.label(f"Freshness of {self._view.world}").classes("twin-h2")
            self._freshness = table(FRESHNESS, "what", "The state is not read yet")
            self._chart = ui.echart(chart()).classes("pipe-chart")
            self._chart.props('role="img" aria-label="Time from scrape to this page, by percentile"')

    def _build_sources(self) -> None:
        with ui.element("div").classes("twin-panel pipe-wide pipe-long"):
            with ui.row().classes("pipe-head"):
                ui.label("Sources").classes("twin-h2")
                self._source_note = ui.label().classes("twin-muted")
                ui.space()
                self._source_text = ui.input(
                    placeholder="Source, target or error", on_change=self._show_sources
                )
                self._source_text.props('dense outlined clearable aria-label="Filter of sources"')
            self._source_table = table(SOURCES, "key", "No scrape was seen yet: does `twin collect` run?")
            self._source_table.add_slot(
                "body-cell-state",
                '<q-td :props="props"><span :class="\'twin-badge status-\' + props.row.tone">'
                "{{ props.value }}</span></q-td>",
            )

    async def set_visible(self, event: events.GenericEventArguments) -> None:
        """The page is seen, or no longer."""
        self._is_visible = bool(event.args)
        await self.refresh_visible()

    async def refresh_visible(self) -> None:
        """Look again, if anybody sees it."""
        if self._is_visible and not self._is_looking:
            self._is_looking = True
            try:
                await self.refresh()
            finally:
                self._is_looking = False

    async def refresh(self) -> None:
        """Show how things are now."""
        try:
            pipeline, sources = await asyncio.gather(
                pipeline_of(self._view.request, self._view.world), desk_of(self._view.request).sources()
            )
        except ProblemError as error:
            self._say(str(error), "down")
            return
        self._pipeline, self._sources = pipeline, sources["sources"]
        self._say(*kafka_line(pipeline["kafka"]))
        versions = pipeline["versions"]
        libraries = ", ".join(f"{name} {number}" for name, number in versions["libraries"].items())
        self._versions.set_text(f"twin {versions['twin']}, Python {versions['python']}, {libraries}")
        show_rows(self._topics, topic_rows(pipeline))
        show_rows(self._ledger, ledger_rows(pipeline["ledger"]))
        show_rows(self._subjects, subject_rows(pipeline))
        show_rows(self._freshness, freshness_rows(pipeline["freshness"]))
        self._draw(pipeline)
        self._show_sources()
        self._source_note.set_text(f"{self._source_note.text}{_fault(sources['fault'])}")
        self._fill_cards(pipeline)

    async def follow_letters(self) -> None:
        """Read the dead letters again when there are others."""
        if self._is_visible and self._pipeline and self._pipeline["kafka"]["fault"] is None:
            await self._letters.follow(_end_of(self._pipeline, "deadletter"))

    def _say(self, text: str, tone: str) -> None:
        self._kafka.set_text(text)
        self._kafka.classes(replace=f"pipe-kafka status-{tone}")

    def _show_sources(self) -> None:
        rows, count = source_rows(self._sources, self._source_text.value or "")
        show_rows(self._source_table, rows)
        more = f", {SHOWN_SOURCES} shown: filter for others" if count > SHOWN_SOURCES else ""
        self._source_note.set_text(f"{count:,} of {len(self._sources):,} targets{more}")

    def _fill_cards(self, pipeline: dict[str, Any]) -> None:
        trouble = sum(source["ok"] is False or source["late"] for source in self._sources)
        letters = next(each["records"] for each in pipeline["topics"] if each["record"] == "deadletter")
        numbers: list[tuple[int | None, str]] = []
        for group in pipeline["groups"]:
            note = group["fault"] or ("has read nothing yet" if group["has_committed"] is False else "")
            numbers.append((group["lag"], note))
        numbers.append((pipeline["replica"]["lag"], pipeline["replica"]["fault"] or ""))
        numbers += [(trouble, f"of {len(self._sources):,}"), (letters, "")]
        for card, (number, note) in zip(self._cards, numbers, strict=True):
            card.show(number, note)

    def _draw(self, pipeline: dict[str, Any]) -> None:
        if pipeline["freshness"] is None:
            return
        self._history.append((pipeline["now_ms"], pipeline["freshness"]["scrape_to_seen"]))
        for place, (name, _) in enumerate(LINES):
            points = [[at_ms, spread[f"{name}_ms"]] for at_ms, spread in self._history]
            self._chart.options["series"][place]["data"] = points
        has_points = sum(spread["count"] > 0 for _, spread in self._history) > 1
        self._chart.set_visibility(has_points)
        self._chart.update()

    def _open_topic(self, topic: str) -> None:
        rows = partition_rows(self._pipeline, topic)
        with ui.dialog() as dialog, ui.card().classes("twin-dialog"):
            ui.label(topic).classes("twin-h2")
            shown = table(PARTITIONS, "key", "No group of the twin reads this topic")
            show_rows(shown, rows)
            ui.button("Close", on_click=dialog.close).props("flat dense no-caps")
        dialog.on("hide", dialog.delete)
        dialog.open()


def _end_of(pipeline: dict[str, Any], record: str) -> int | None:
    ends: list[int | None] = [each["end"] for each in pipeline["topics"] if each["record"] == record]
    return ends[0] if ends else None


def _fault(fault: str | None) -> str:
    return f"; {fault}" if fault else ""
