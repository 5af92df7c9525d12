"""Pools, nodes, devices and links as a graph, with what each pool and the whole can still give."""

from typing import Any

from fastapi import Request
from nicegui import ui

from streams.pages.graph import STATUS_COLOURS, Pool, Topology, chart, gather
from streams.pages.links import entity_path
from streams.pages.records import records_of
from streams.pages.shell import View, frame
from streams.pages.totals import totals_in
from streams.pages.units import ABSENT, number_text, value_text
from streams.replica.worlds import LIVE
from streams.web.problems import ProblemError

KINDS = frozenset({"cluster", "nodepool", "node", "device", "link"})

REFRESH_S = 5.0
"""[s] A step of the twin's ticks."""

CARDS = (
    ("Processors", "number_of_cores", "used_cores", "headroom_cores"),
    ("Memory", "mem_total_bytes", "used_mem_bytes", "headroom_mem_bytes"),
)
"""Title, and the metrics of capacity, used and headroom."""

COLUMNS = (
    ("id", "Pool", "left"),
    ("nodes", "Nodes up", "right"),
    ("devices", "Devices up", "right"),
    ("cores", "Processors used / all", "right"),
    ("free", "Free processors", "right"),
    ("memory", "Memory used / all", "right"),
    ("power", "Power", "right"),
)


@ui.page("/topology")
async def show(request: Request) -> None:
    """The graph, the sums and the pools."""
    with frame(request, "Topology") as view:
        await _Topology(view).begin()


class _Topology:
    def __init__(self, view: View) -> None:
        self._view = view
        self._cards = ui.row().classes("twin-cards")
        with ui.row().classes("twin-topology"):
            with ui.column().classes("twin-panel twin-graph-panel"):
                with ui.row().classes("twin-legend"):
                    for status, colour in STATUS_COLOURS.items():
                        ui.html(f'<span class="twin-dot" style="background:{colour}"></span>', sanitize=False)
                        ui.label(status)
                    ui.label("● node  ◆ device  ▬ pool; an outline is simulated").classes("twin-muted")
                self._graph = ui.echart({"series": []}, on_point_click=self._clicked).classes("twin-graph")
            with ui.column().classes("twin-panel twin-pools"):
                ui.label("Pools").classes("twin-h2")
                self._table = ui.table(
                    columns=[
                        {"name": name, "label": label, "field": name, "sortable": True, "align": align}
                        for name, label, align in COLUMNS
                    ],
                    rows=[],
                    row_key="id",
                    pagination={"rowsPerPage": 25, "sortBy": "id"},
                ).props('dense flat no-data-label="No pool is known"')
                self._table.on("row-click", lambda event: self._open("nodepool", event.args[1]["id"]))
        self._drawn: dict[str, Any] | None = None
        view.on_moment(self.refresh)

    async def begin(self) -> None:
        """Show what there is, and go on doing so."""
        await self.refresh()
        ui.timer(REFRESH_S, self._refresh_live)

    async def _refresh_live(self) -> None:
        if self._view.at is None:
            await self.refresh()

    async def refresh(self) -> None:
        """Draw the world as it is at the moment that is looked at."""
        try:
            totals = None if self._view.world == LIVE else await totals_in(self._view)
            topology = gather(await records_of(self._view, KINDS), totals)
        except ProblemError as error:
            ui.notify(str(error), type="warning")
            return
        options = chart(topology)
        if options != self._drawn:
            self._drawn = options
            self._graph.options.clear()
            self._graph.options.update(options)
            self._graph.update()
        self._table.rows = [_row(pool) for _, pool in sorted(topology.pools.items())]
        self._table.update()
        self._cards.clear()
        with self._cards:
            _cards(topology)

    def _clicked(self, event: Any) -> None:
        kind, _, id = (event.name or "").partition("/")
        if event.component_type == "series" and id:
            self._open(kind, id)

    def _open(self, kind: str, id: str) -> None:
        ui.navigate.to(self._view.href(entity_path(kind, id)))


def _cards(topology: Topology) -> None:
    members = [one for pool in topology.pools.values() for one in pool.members]
    for kind, title in (("node", "Nodes"), ("device", "Devices")):
        own = [one.status for one in members if one.kind == kind]
        with ui.column().classes("twin-panel twin-card"):
            ui.label(title).classes("twin-muted")
            ui.label(f"{len(own):,}").classes("twin-big")
            with ui.row().classes("twin-card-line"):
                for status in STATUS_COLOURS:
                    if count := own.count(status):
                        ui.label(f"{count:,} {status}").classes(f"status-{status}")
    units = {"Processors": "1", "Memory": "B"}
    for title, total, used, headroom in CARDS:
        values = topology.whole
        with ui.column().classes("twin-panel twin-card"):
            ui.label(title).classes("twin-muted")
            ui.label(value_text(values.get(total), units[title])).classes("twin-big")
            if used in values and values.get(total):
                ui.linear_progress(values[used] / values[total], show_value=False, size="6px")
            free = value_text(values.get(headroom), units[title])
            ui.label(f"{value_text(values.get(used), units[title])} used, {free} free").classes("twin-muted")
    with ui.column().classes("twin-panel twin-card"):
        ui.label("Power").classes("twin-muted")
        ui.label(value_text(topology.whole.get("power_watts"), "W")).classes("twin-big")
        delays = [link.delay_ms for link in topology.links if link.delay_ms is not None]
        longest = value_text(max(delays), "ms") if delays else ABSENT
        ui.label(f"{len(topology.links):,} links, the slowest {longest}").classes("twin-muted")


def _row(pool: Pool) -> dict[str, Any]:
    values = pool.values

    def of(used: str, total: str, unit: str) -> str:
        if total not in values:
            return ABSENT
        return f"{value_text(values.get(used), unit)} / {value_text(values[total], unit)}"

    def up(kind: str) -> str:
        return f"{pool.count(kind, 'up'):,} / {pool.count(kind):,}" if pool.count(kind) else ABSENT

    return {
        "id": pool.id or "no pool",
        "nodes": up("node"),
        "devices": up("device"),
        "cores": of("used_cores", "number_of_cores", "1"),
        "free": number_text(values.get("headroom_cores")),
        "memory": of("used_mem_bytes", "mem_total_bytes", "B"),
        "power": value_text(values.get("power_watts"), "W"),
    }
