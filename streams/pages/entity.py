"""The page of one entity."""

from html import escape
from typing import Any

from fastapi import Request
from nicegui import ui

from streams.domain.near import near_names
from streams.domain.times import moment_text
from streams.pages.charts import SCRIPT
from streams.pages.history import HistoryPanel
from streams.pages.lines import moment_or_none
from streams.pages.links import badge, entity_link, entity_path
from streams.pages.neighbours import NeighboursPanel
from streams.pages.rawrecord import RawPanel
from streams.pages.shell import View, frame
from streams.pages.timeline import Timeline, since_text
from streams.pages.values import ValuesPanel
from streams.pages.whydialog import WhyDialog
from streams.replica.faults import entity_faults
from streams.replica.held import Held
from streams.replica.view import WorldView
from streams.web.moment import world_now_ms
from streams.web.problems import ProblemError

REFRESH_S = 1.0
"""[s] Between looks at the record; ages move on with it."""

NEIGHBOURS_S = 5.0
"""[s] Between looks at the neighbours."""

FOREVER_MS = 1_000_000_000_000
"""[ms] The interval of a source whose values stay until they are changed (docs/worlds.md)."""

APPEARS_S = 2.0
"""[s] Between looks for an entity that is not there."""


@ui.page("/entity/{kind}/{id:path}")
async def show(request: Request, kind: str, id: str) -> None:
    """One entity: its values, their history and why they are so, what happened to it, and what is near."""
    ui.add_head_html(SCRIPT)
    with frame(request, f"{kind} {id}") as view:
        entities = await view.entities()
        if (kind, id) in entities:
            await EntityPage(view, kind, id, entities).show(entities)
        else:
            _unknown(view, entities, kind, id)


class EntityPage:
    """The panels of the page, and what keeps them up to date."""

    def __init__(self, view: View, kind: str, id: str, entities: WorldView) -> None:
        self._view, self._key = view, (kind, id)
        self._held: Held | None = None
        self._entity: dict[str, Any] = entities.full(kind, id)
        why = WhyDialog(view, kind, id)
        self._head = ui.html("", sanitize=False).classes("twin-panel ent-entity-head")
        with ui.element("div").classes("ent-entity"):
            with ui.element("div").classes("ent-column"):
                self._values = ValuesPanel(why.open)
                self._neighbours = NeighboursPanel(view, kind, id)
            with ui.element("div").classes("ent-column"):
                above = ui.element("div")
                self._timeline = Timeline()
                names = {*self._entity["metrics"], *self._entity["aligned"]["values"]}
                with above:
                    self._history = HistoryPanel(view, kind, id, sorted(names), self._timeline)
        self._raw = RawPanel(self._record)
        view.on_moment(self._moment_chosen)
        ui.timer(REFRESH_S, self._refresh)
        ui.timer(NEIGHBOURS_S, self._refresh_neighbours, immediate=False)
        ui.timer(0.01, self._load, once=True)
        if metric := view.params.get("metric"):
            ui.timer(0.01, lambda: why.open(metric), once=True)

    async def show(self, entities: WorldView) -> None:
        """Bring the panels up to date but for history."""
        view, (kind, id) = self._view, self._key
        now_ms = self._now_ms()
        found = entities.find(kind, id)
        if found is not None and found[1] is not self._held:
            self._held, self._entity = found[1], entities.full(kind, id)
        self._head.set_content(self._head_html(is_there=found is not None, now_ms=now_ms))
        self._values.show(self._entity, view.catalogue, now_ms)
        faults = entity_faults(entities.holdings, kind, id) if view.at is None else []
        self._timeline.show_faults(self._entity, faults, now_ms)

    async def _refresh(self) -> None:
        if self._view.at is not None:
            return
        entities = await self._entities()
        if entities is not None:
            await self.show(entities)
            await self._history.advance(self._entity, self._now_ms())

    async def _refresh_neighbours(self) -> None:
        entities = await self._entities()
        if entities is not None:
            await self._neighbours.show(entities, self._entity["attributes"])

    async def _load(self) -> None:
        await self._refresh_neighbours()
        await self._history.load()

    async def _moment_chosen(self) -> None:
        try:
            await self.show(await self._view.entities())
        except ProblemError as error:
            ui.notify(str(error), type="negative")
            return
        await self._load()

    async def _entities(self) -> WorldView | None:
        try:
            return await self._view.entities()
        except ProblemError:  # the frame says that what is seen may be old
            return None

    async def _record(self) -> dict[str, Any]:
        entities = await self._view.entities()
        kind, id = self._key
        return entities.full(kind, id) if (kind, id) in entities else self._entity

    def _now_ms(self) -> int:
        now_ms = world_now_ms(self._view.request, self._view.world)
        return moment_or_none(self._view.at, now_ms) or now_ms

    def _head_html(self, *, is_there: bool, now_ms: int) -> str:
        view, entity = self._view, self._entity
        kind, id = self._key
        name = entity["attributes"].get("name", id)
        marks = [badge(entity["status"], f"status-{entity['status']}")]
        marks.append(f'<span class="twin-muted">{since_text(entity["status_since_ms"], now_ms)}</span>')
        if entity["status_reason"]:
            marks.append(f"<span>{escape(entity['status_reason'])}</span>")
        if entity["simulated"]:
            marks.append(badge("simulated", "badge-simulated"))
        if view.world != entity["world"]:
            marks.append(badge("as in live", "status-unknown"))
        elif view.world != "live":
            marks.append(badge(view.world, "badge-simulated"))
        gone = ""
        if not is_there:
            then = f"at {moment_text(now_ms)}" if view.at else "any more"
            gone = (
                f'<p class="ent-gone" role="status">It is not there {then}: this is what was known last.</p>'
            )
        title = escape(id) if name == id else f"{escape(name)} <small>{escape(id)}</small>"
        return (
            f'<div class="ent-kind">{escape(kind)}</div><h1>{title}</h1>'
            f'<div class="ent-marks">{" ".join(marks)}</div>{gone}'
            f'<div class="ent-attributes">{self._attributes(entity)}</div>'
        )

    def _attributes(self, entity: dict[str, Any]) -> str:
        parts = []
        for key, value in sorted(entity["attributes"].items()):
            text = escape(value)
            if key in ("nodepool", "nodepool_a", "nodepool_b", "node"):
                text = entity_link(self._view, "node" if key == "node" else "nodepool", value)
            if key != "name":
                parts.append(f"<span><b>{escape(key)}</b> {text}</span>")
        for source, one in sorted(entity.get("sources", {}).items()):
            every = f"every {one['interval_ms'] / 1000:,g} s" if one["interval_ms"] else "on cue"
            if one["interval_ms"] >= FOREVER_MS:
                every = "until it is changed"
            failed = f", {one['failures']} failed" if one["failures"] else ""
            parts.append(f"<span><b>source</b> {escape(source)} {every}{failed}</span>")
        return "".join(parts)


def _unknown(view: View, entities: WorldView, kind: str, id: str) -> None:
    then = f" at {view.at}" if view.at else ""
    near = near_names(id, entities.ids(kind))
    kinds = sorted({other for other, own in entities if own == id and other != kind})
    with ui.column().classes("twin-problem"):
        ui.icon("search_off").classes("twin-problem-icon")
        ui.label(f"There is no {kind} “{id}” in world {view.world}{then}.").classes("twin-problem-text")
        links = [entity_link(view, other, id, f"{other} {id}") for other in kinds]
        links += [entity_link(view, kind, name, f"{kind} {name}") for name in near]
        if links:
            ui.html(f"Did you mean {', '.join(links)}?", sanitize=False)
        ui.link("All entities", view.href("/")).classes("twin-link-plain")
        if view.at:
            ui.link("Look at it as it is now", view.href(entity_path(kind, id), at=None)).classes(
                "twin-link-plain"
            )

    async def look() -> None:
        try:
            is_there = (kind, id) in await view.entities()
        except ProblemError:
            return
        if is_there:
            ui.navigate.reload()

    ui.timer(APPEARS_S, look)
