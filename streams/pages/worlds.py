"""What-if worlds: list, create, drop, lay faults, move a clock, compare with live."""

from datetime import UTC, datetime
from typing import Any

from fastapi import Request
from nicegui import ui

from streams.pages.asking import EVENTS, post
from streams.pages.faultform import FaultForm
from streams.pages.links import badge
from streams.pages.shell import View, frame
from streams.pages.units import ABSENT, age_text, moment_words
from streams.web.problems import ProblemError
from streams.web.worlds import describe_worlds

REFRESH_S = 2.0
"""[s] Between looks at the worlds."""

COLUMNS = (
    ("name", "World", "left"),
    ("type", "Type", "left"),
    ("entities", "Entities", "right"),
    ("changed", "Differ from live", "right"),
    ("faults", "Faults", "right"),
    ("owner", "Owner", "left"),
    ("reason", "Reason", "left"),
    ("clock", "Clock", "left"),
    ("ends", "Ends in", "right"),
)


@ui.page("/worlds")
async def show(request: Request) -> None:
    """All worlds."""
    with frame(request, "Worlds", timed=False) as view:
        page = _Worlds(view)
        await page.refresh()
        ui.timer(REFRESH_S, page.refresh)


class _Worlds:
    def __init__(self, view: View) -> None:
        self._view = view
        self._worlds: dict[str, dict[str, Any]] = {}
        self._chosen: str | None = None
        with ui.row().classes("twin-worlds"):
            with ui.column().classes("twin-panel twin-worlds-list"):
                with ui.row().classes("items-center full-width"):
                    ui.label("Worlds").classes("twin-h2")
                    ui.space()
                    create = ui.button("New world", icon="add", on_click=self._create_dialog)
                    create.props("dense no-caps unelevated").set_enabled(view.principal.may("events"))
                self._table = ui.table(
                    columns=[
                        {"name": name, "label": label, "field": name, "sortable": True, "align": align}
                        for name, label, align in COLUMNS
                    ],
                    rows=[],
                    row_key="name",
                    selection="single",
                    pagination={"rowsPerPage": 25},
                ).props('dense flat no-data-label="There is only live"')
                self._table.on("row-click", lambda event: self._choose(event.args[1]["name"]))
            self._detail = ui.column().classes("twin-panel twin-world-detail")
        self._choose(view.world if view.world != "live" else None)

    async def refresh(self) -> None:
        """Look at the worlds again."""
        try:
            found = await describe_worlds(self._view.request)
        except ProblemError:
            return  # the banner says why
        before = self._worlds
        self._worlds = {world["name"]: world for world in found}
        rows = [_row(world) for world in found]
        if rows != self._table.rows:
            self._table.rows = rows
            self._mark()
        if self._chosen and before.get(self._chosen) != self._worlds.get(self._chosen):
            self._show_detail()

    def _choose(self, name: str | None) -> None:
        self._chosen = name
        self._mark()
        self._show_detail()

    def _mark(self) -> None:
        self._table.selected = [row for row in self._table.rows if row["name"] == self._chosen]
        self._table.update()

    def _show_detail(self) -> None:
        self._detail.clear()
        world = self._worlds.get(self._chosen or "")
        with self._detail:
            if world is None:
                ui.label(
                    "Choose a world to see its faults, or make one: an overlay (live~name) lies over live and"
                    " shows what would happen if; an isolated world moves only by its events."
                ).classes("twin-muted")
                return
            self._head(world)
            self._faults(world)

    def _head(self, world: dict[str, Any]) -> None:
        name, may = world["name"], self._view.principal.may("events")
        with ui.row().classes("items-center full-width"):
            ui.label(name).classes("twin-big")
            if world["simulated"]:
                ui.html(badge("simulated", "badge-simulated"), sanitize=False)
        with ui.row().classes("items-center"):
            ui.link("Table", self._view.href("/", world=name, at=None)).classes("twin-link-plain")
            ui.link("Topology", self._view.href("/topology", world=name, at=None)).classes("twin-link-plain")
            if name != "live":
                compared = self._view.href("/changes", world=name, at=None, other="live")
                ui.link("Compare with live", compared).classes("twin-link-plain")
        if name == "live":
            ui.label("Faults are laid on overlays and isolated worlds; live is what is measured.").classes(
                "twin-muted"
            )
            return
        with ui.row().classes("items-center"):
            if world["clock_ms"] is not None:
                self._clock(world)
            fault = ui.button("Lay a fault", icon="bolt", on_click=lambda: FaultForm(self._view, name).open())
            fault.props("dense no-caps outline").set_enabled(may)
            drop = ui.button("Drop", icon="delete", on_click=lambda: self._drop_dialog(name))
            drop.props("dense no-caps flat color=negative").set_enabled(may)

    def _clock(self, world: dict[str, Any]) -> None:
        ui.label(f"clock {_moment(world['clock_ms'])}").classes("twin-muted")
        by = ui.number(value=60, min=1, suffix="s").props("dense outlined").classes("twin-short")
        by.props('aria-label="Seconds to move the clock"')

        async def advance() -> None:
            await self._send(
                {
                    "type": "world.advance",
                    "world": world["name"],
                    "body": {"by_ms": round((by.value or 0) * 1000)},
                },
                "The clock moves",
            )

        button = ui.button("Move the clock", icon="fast_forward", on_click=advance)
        button.props("dense no-caps outline").set_enabled(self._view.principal.may("events"))

    def _faults(self, world: dict[str, Any]) -> None:
        ui.label("Faults").classes("twin-h2")
        if not world["faults"]:
            ui.label("none").classes("twin-muted")
        for fault in world["faults"]:
            with ui.row().classes("items-center full-width twin-fault"):
                ui.icon("bolt").classes("status-degraded")
                ui.label(f"{fault['kind']} on {fault['entities']:,}").classes("text-weight-medium")
                until = f"until {_moment(fault['end_ms'])}" if fault["end_ms"] else "until it is ended"
                ui.label(f"{fault['id']}: from {_moment(fault['start_ms'])} {until}").classes("twin-muted")
                ui.space()

                async def end(fault_id: str = fault["id"]) -> None:
                    await self._send(
                        {"type": "fault.stop", "world": world["name"], "body": {"fault": fault_id}},
                        "The fault ends",
                    )

                button = ui.button("End", on_click=end).props("dense flat no-caps")
                button.set_enabled(self._view.principal.may("events"))

    def _create_dialog(self) -> None:
        with ui.dialog() as dialog, ui.card().classes("twin-dialog"):
            ui.label("New world").classes("twin-h2")
            kind = ui.toggle({"overlay": "Overlay over live", "isolated": "Isolated"}, value="overlay")
            kind.props("no-caps dense")
            name = ui.input("Name", placeholder="what-if").props("dense outlined autofocus")
            name.props('hint="small letters, digits, . _ -"')
            owner = ui.input("Owner", value=self._view.principal.name).props("dense outlined")
            reason = ui.input("Reason").props("dense outlined")
            base = ui.select(
                {"nothing": "nothing", "live": "live as it is now"}, value="live", label="Begin as"
            )
            base.props("dense outlined").bind_visibility_from(kind, "value", value="isolated")
            ttl = ui.number("Ends after", value=60, min=1, suffix="min").props("dense outlined")
            wrong = ui.label().classes("status-down")

            async def create() -> None:
                body: dict[str, Any] = {"owner": owner.value, "reason": reason.value}
                body["ttl_s"] = float(ttl.value or 60) * 60
                if kind.value == "isolated":
                    body["base"] = base.value
                world = name.value if kind.value == "isolated" else f"live~{name.value.removeprefix('live~')}"
                status, answer = await post(EVENTS, {"type": "world.create", "world": world, "body": body})
                if status >= 400:
                    wrong.set_text(answer.get("detail", str(answer)))
                    return
                dialog.close()
                ui.notify(f"World {world} is being made", type="positive")
                self._chosen = world

            with ui.row().classes("full-width justify-end"):
                ui.button("Cancel", on_click=dialog.close).props("flat no-caps")
                ui.button("Create", on_click=create).props("unelevated no-caps")
        dialog.open()

    def _drop_dialog(self, name: str) -> None:
        with ui.dialog() as dialog, ui.card().classes("twin-dialog"):
            ui.label(f"Drop world {name}?").classes("twin-h2")
            ui.label("Nothing of it remains in the twin; its history stays in the store.")

            async def drop() -> None:
                dialog.close()
                await self._send(
                    {"type": "world.drop", "world": name, "body": {}}, f"World {name} is dropped"
                )
                self._choose(None)

            with ui.row().classes("full-width justify-end"):
                ui.button("Cancel", on_click=dialog.close).props("flat no-caps")
                ui.button("Drop", on_click=drop).props("unelevated no-caps color=negative")
        dialog.open()

    async def _send(self, event: dict[str, Any], done: str) -> None:
        status, answer = await post(EVENTS, event)
        if status >= 400:
            ui.notify(answer.get("detail", str(answer)), type="negative", multi_line=True)
        else:
            ui.notify(done, type="positive")


def _row(world: dict[str, Any]) -> dict[str, Any]:
    left_ms = None if world["ends_ms"] is None else world["ends_ms"] - datetime.now(UTC).timestamp() * 1000
    return {
        "name": world["name"],
        "type": world["type"],
        "entities": f"{world['entities']:,}",
        "changed": ABSENT if world["changed"] is None else f"{world['changed']:,}",
        "faults": len(world["faults"]) or ABSENT,
        "owner": world["owner"] or ABSENT,
        "reason": world["reason"] or "",
        "clock": "wall clock" if world["clock_ms"] is None else _moment(world["clock_ms"]),
        "ends": ABSENT if left_ms is None else age_text(left_ms),
    }


def _moment(at_ms: float | None) -> str:
    return ABSENT if at_ms is None else moment_words(at_ms)
