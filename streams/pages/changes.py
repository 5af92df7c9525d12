"""The page that says what changed between two moments, or what differs between two worlds."""

from typing import Any

from fastapi import Request
from nicegui import events, ui

from streams.domain.diff import Thresholds, parse_beyond
from streams.domain.times import moment_text
from streams.pages.differences import SORTS, Row, compare_worlds, counts, matching, rows_of
from streams.pages.shell import STATIC, View, frame
from streams.replica.worlds import LIVE
from streams.web.diff import DiffQuery, get_diff
from streams.web.live import world_view
from streams.web.problems import ProblemError, invalid
from streams.web.state import KINDS

SHOWN = 5_000
"""[1] Rows that a browser gets: nobody reads more, and a filter finds the others."""

FROM = "-1h"
"""The earlier moment unless another is chosen."""

QUICK = {"-15m": "15 min", "-1h": "1 h", "-6h": "6 h", "-24h": "24 h", "-7d": "7 d"}
"""Earlier moments that are chosen with one click; the later one is now."""

PERCENT, PERCENT_OF_WORLDS = "10", "0"
"""[%] Of two moments, and of two worlds, where each difference may matter."""

ALL = "all"

SCRIPT = f'<script src="{STATIC}/changes.js"></script>'

COLUMNS: list[dict[str, Any]] = [
    {"field": "sort", "headerName": "What", "width": 95, ":cellRenderer": "p => twinChanges.sort(p)"},
    {"field": "kind", "headerName": "Kind", "width": 90},
    {"field": "id", "headerName": "Entity", "width": 210, ":cellRenderer": "p => twinChanges.entity(p)"},
    {"field": "name", "headerName": "Which", "width": 230},
    {"field": "before", "headerName": "Before", "width": 120, ":cellRenderer": "p => twinChanges.side(p)"},
    {"field": "after", "headerName": "After", "width": 120, ":cellRenderer": "p => twinChanges.side(p)"},
    {"field": "difference", "headerName": "Difference", "width": 115, "cellClass": "twin-number"},
    {
        "field": "share",
        "headerName": "%",
        "width": 85,
        "cellClass": "twin-number",
        ":valueFormatter": "p => twinChanges.share(p)",
    },
    {"field": "note", "headerName": "Why", "minWidth": 200, "flex": 1, "tooltipField": "note"},
]


@ui.page("/changes")
async def show(request: Request) -> None:
    """What came, went and changed, as a table."""
    ui.add_head_html(SCRIPT)
    with frame(request, "Changes", timed=False) as view:
        page = ChangesPage(view)
        ui.timer(0.01, page.compare, once=True)


class ChangesPage:
    """What is asked for, which the URL keeps, and the table that answers."""

    def __init__(self, view: View) -> None:
        self._view = view
        self._other = view.params.get("other", "")
        self._rows: list[Row] = []
        self._asked, self._span = 0, ""
        self._grid: ui.aggrid | None = None
        with ui.element("section").classes("twin-panel"):
            ui.html(self._title(), tag="h1").classes("chg-title")
            self._fields = self._build_fields()
        with ui.element("section").classes("twin-panel chg-found"):
            with ui.row().classes("chg-bar"):
                self._toggle = ui.toggle({ALL: "all"}, value=ALL, on_change=self._sort_chosen)
                self._toggle.props("dense no-caps unelevated size=sm toggle-color=primary").classes(
                    "ent-ranges"
                )
                self._text = ui.input(
                    placeholder="filter: id, metric, reason", value=view.params.get("q", "")
                )
                self._text.props('dense outlined clearable debounce=250 aria-label="Filter"')
                self._text.classes("chg-filter").on_value_change(self._filtered)
                self._note = ui.label().classes("twin-muted").props('role="status"')
                ui.space()
                ui.button("CSV", icon="download", on_click=self._export).props("flat dense no-caps")
            self._found = ui.element("div")

    async def compare(self) -> None:
        """Read both sides, and show what differs."""
        self._asked += 1
        asked = self._asked
        self._keep()
        for field in self._fields.values():
            if isinstance(field, ui.input):
                field.error = None
        self._note.set_text("comparing …")
        try:
            difference = await (self._of_worlds() if self._other else self._of_moments())
        except (ProblemError, ValueError) as error:
            if asked == self._asked:
                self._say(error)
            return
        if asked != self._asked or self._found.is_deleted:
            return
        self._rows = rows_of(difference, self._view.catalogue.units())
        self._show_found()

    def _title(self) -> str:
        if self._other:
            return f"What differs between {self._other} and {self._view.world} now"
        return f"What changed in {self._view.world}"

    def _build_fields(self) -> dict[str, Any]:
        view = self._view
        params = view.params
        fields: dict[str, Any] = {}
        with ui.row().classes("chg-fields"):
            if not self._other:
                fields["from"] = ui.input("from", value=params.get("from", FROM))
                fields["to"] = ui.input("to", value=params.get("to", "now"))
                for name in ("from", "to"):
                    fields[name].props("dense outlined hide-bottom-space").classes("chg-moment")
                with ui.row().classes("chg-quick"):
                    for start, label in QUICK.items():
                        button = ui.button(label, on_click=lambda start=start: self._since(start))
                        button.props("dense flat no-caps size=sm")
            percent = PERCENT_OF_WORLDS if self._other else PERCENT
            fields["ratio"] = ui.input("values by more than [%]", value=params.get("percent", percent))
            fields["beyond"] = ui.input("or, by metric", value=params.get("beyond", ""))
            fields["beyond"].props('placeholder="cpu_usage_percent:10" stack-label')
            for name in ("ratio", "beyond"):
                fields[name].props("dense outlined hide-bottom-space").classes(f"chg-{name}")
            kinds = [kind for kind in params.get("kind", "").split(",") if kind]
            known = [kind for kind in KINDS if kind != "world"]
            fields["kind"] = ui.select(list(dict.fromkeys(known + kinds)), value=kinds, multiple=True)
            fields["kind"].props('dense outlined options-dense label="kinds"').classes("chg-kind")
            fields["kind"].on_value_change(self.compare)
            self._build_other()
            ui.button("Compare", icon="difference", on_click=self.compare).props("dense no-caps unelevated")
        for name, field in fields.items():
            if name != "kind":
                field.on("keydown.enter", self.compare)
        if not self._other:
            ui.label("A moment is -30m, -2h, now, or 2026-11-24T03:12:00Z.").classes("twin-muted chg-hint")
        return fields

    def _build_other(self) -> None:
        view = self._view
        names = [name for name in view.twin.worlds.names() if view.principal.sees_world(name)]
        others = [name for name in names if name != view.world]
        if not others and not self._other:
            return
        options = {"": "itself, earlier"} | {name: f"world {name}" for name in others}
        options.setdefault(self._other, f"world {self._other}")
        select = ui.select(options, value=self._other, label="compare with").classes("chg-other")
        select.props("dense outlined options-dense")
        select.on_value_change(
            lambda change: ui.navigate.to(
                view.href("/changes", at=None, other=change.value or None, kind=view.params.get("kind"))
            )
        )

    async def _since(self, start: str) -> None:
        self._fields["from"].value, self._fields["to"].value = start, "now"
        await self.compare()

    def _value(self, name: str) -> str:
        return str(self._fields[name].value or "").strip()

    def _keep(self) -> None:
        percent = self._value("ratio")
        usual = PERCENT_OF_WORLDS if self._other else PERCENT
        kept = {
            "percent": None if percent == usual else percent,
            "beyond": self._value("beyond"),
            "kind": ",".join(self._fields["kind"].value or []),
            "at": None,
        }
        if not self._other:
            kept |= {"from": self._value("from"), "to": self._value("to")}
        self._view.set_params(**kept)

    def _ratio(self) -> float:
        text = self._value("ratio").replace("%", "")
        try:
            ratio = float(text or 0) / 100
        except ValueError:
            ratio = -1.0
        if not 0 <= ratio < float("inf"):
            raise invalid("ratio", f"{text[:20]!r} is no share: write 10 for changes of more than 10 %")
        return ratio

    async def _of_moments(self) -> dict[str, Any]:
        query = DiffQuery.model_validate(
            {
                "world": self._view.world,
                "from": self._value("from") or FROM,
                "to": self._value("to") or "now",
                "kind": self._fields["kind"].value or [],
                "beyond": [self._value("beyond")] if self._value("beyond") else [],
                "ratio": self._ratio(),
            }
        )
        found = await get_diff(self._view.request, query)
        until = "now" if found["to_ms"] is None else moment_text(found["to_ms"])
        self._span = f"{moment_text(found['from_ms'])} → {until}"
        return found

    async def _of_worlds(self) -> dict[str, Any]:
        beyond = self._value("beyond")
        try:
            thresholds = Thresholds(parse_beyond([beyond] if beyond else []), self._ratio())
        except ValueError as error:
            raise invalid("beyond", str(error)) from error
        request = self._view.request
        before = world_view(request, self._other, "other")
        after = world_view(request, self._view.world)
        self._span = f"{self._other} → {self._view.world}"
        return await compare_worlds(before, after, self._fields["kind"].value or [], thresholds)

    def _say(self, error: Exception) -> None:
        document = error.document if isinstance(error, ProblemError) else {}
        field = self._fields.get(str(document.get("field", "")))
        self._rows = []
        self._found.clear()
        self._grid = None
        self._note.set_text("")
        if isinstance(field, ui.input):
            field.error = str(error)
        else:
            with self._found:
                ui.label(str(error)).classes("twin-problem-text twin-empty")

    def _show_found(self) -> None:
        by_sort = counts(self._rows)
        options = {ALL: f"all {len(self._rows):,}"}
        options |= {sort: f"{label} {by_sort[sort]:,}" for sort, label in SORTS.items()}
        wanted = self._view.params.get("what", ALL)
        self._toggle.set_options(options, value=wanted if wanted in options else ALL)
        shown = self._matching()
        self._found.clear()
        with self._found:
            self._grid = ui.aggrid(
                {
                    "columnDefs": [column.copy() for column in COLUMNS],
                    "defaultColDef": {"sortable": True, "resizable": True},
                    "rowData": shown[:SHOWN],
                    ":getRowId": "p => p.data.place",
                    ":rowClassRules": "twinChanges.classes",
                    "rowHeight": 30,
                    "headerHeight": 34,
                    "tooltipShowDelay": 400,
                    "enableCellTextSelection": True,
                    "suppressCellFocus": False,
                    "overlayNoRowsTemplate": "nothing differs by that much",
                    "context": {"world": self._view.world if self._view.world != LIVE else ""},
                },
                theme="balham",
            ).classes("chg-grid")

    def _matching(self) -> list[Row]:
        sort = "" if self._toggle.value == ALL else str(self._toggle.value or "")
        shown = matching(self._rows, sort, str(self._text.value or ""))
        more = f", {SHOWN:,} of them are shown: filter" if len(shown) > SHOWN else ""
        self._note.set_text(f"{self._span}: {len(shown):,} differences{more}")
        return shown

    def _refill(self) -> None:
        if self._grid is not None:
            self._grid.run_grid_method("setGridOption", "rowData", self._matching()[:SHOWN])

    def _sort_chosen(self, change: events.ValueChangeEventArguments[Any]) -> None:
        if self._grid is None:  # as long as the first comparison runs
            return
        self._view.set_params(what=None if change.value == ALL else change.value)
        self._refill()

    def _filtered(self, change: events.ValueChangeEventArguments[Any]) -> None:
        self._view.set_params(q=change.value)
        self._refill()

    def _export(self) -> None:
        if self._grid is not None:
            self._grid.run_grid_method("exportDataAsCsv", {"fileName": "changes.csv"})
