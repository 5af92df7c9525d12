"""A form to lay a fault on a world, which first says how many entities it would touch."""

from typing import Any

from nicegui import ui

from streams.events.faults import FAULT_KINDS
from streams.pages.asking import EVENTS, post
from streams.pages.shell import View

HAS_METRICS = frozenset(
    {
        "metric_scale",
        "metric_offset",
        "metric_fixed",
        "metric_ramp",
        "metric_noise",
        "sensor_silent",
        "sensor_stuck",
    }
)
"""Kinds of fault that name metrics."""

NUMBERS: dict[str, dict[str, tuple[str, float]]] = {
    "link_delay": {"factor": ("Factor", 2.0), "add_ms": ("Added [ms]", 0.0)},
    "metric_scale": {"factor": ("Factor", 0.5)},
    "metric_offset": {"amount": ("Added [unit of the metric]", 10.0)},
    "metric_fixed": {"value": ("Value [unit of the metric]", 100.0)},
    "metric_ramp": {"per_s": ("Growth [unit of the metric per s]", 0.1)},
    "metric_noise": {"stdev": ("Standard deviation [unit of the metric]", 1.0)},
    "capacity_cut": {"share": ("Share that is left (0 to 1)", 0.5)},
    "bandwidth_limit": {"bytes_per_s": ("Limit [B/s]", 1_000_000.0)},
    "clock_skew": {"skew_ms": ("Added to sample times [ms]", 1_000.0)},
}
"""What else a kind of fault needs: field, label and a value to begin with."""

TARGETS = {"link_down": "link", "link_delay": "link"}
"""Kind of entity where it is not a node."""


class FaultForm:
    """The dialog.

    Args:
        view: who looks.
        world: that the fault is laid on.
        ids: ids of entities to begin with.
    """

    def __init__(self, view: View, world: str, kind: str = "node", ids: str = "") -> None:
        self._view, self._world = view, world
        with ui.dialog() as self._dialog, ui.card().classes("twin-dialog"):
            ui.label(f"Lay a fault on {world}").classes("twin-h2")
            self._kind = ui.select(list(FAULT_KINDS), value="node_down", label="Fault").props(
                "dense outlined"
            )
            self._kind.on_value_change(self._kind_changed)
            with ui.row().classes("full-width no-wrap"):
                self._target = ui.input("Kind of entity", value=kind).props("dense outlined")
                self._ids = ui.input("Ids, with commas", value=ids).props("dense outlined").classes("col")
            self._labels = ui.input("Or labels, as in nodepool=1 arch=x86_64").props("dense outlined")
            self._metrics = ui.select(
                list(view.catalogue), label="Metrics", multiple=True, value=[], with_input=True
            ).props("dense outlined use-chips")
            self._numbers = ui.column().classes("full-width")
            self._duration = ui.number("Ends after; empty: until it is ended", value=10, min=0, suffix="min")
            self._duration.props("dense outlined clearable")
            self._most = ui.number("Most entities", value=100, min=1).props("dense outlined")
            self._found = ui.label().classes("twin-muted")
            self._wrong = ui.label().classes("status-down")
            with ui.row().classes("full-width justify-end"):
                ui.button("Cancel", on_click=self._dialog.close).props("flat no-caps")
                ui.button("What would it touch?", on_click=self._try).props("outline no-caps")
                ui.button("Lay it", on_click=self._lay).props("unelevated no-caps color=warning")
        self._values: dict[str, ui.number] = {}
        self._kind_changed()

    def open(self) -> None:
        """Show it."""
        self._dialog.open()

    def _kind_changed(self) -> None:
        kind = str(self._kind.value)
        self._metrics.set_visibility(kind in HAS_METRICS)
        if self._target.value in ("node", "link"):
            self._target.set_value(TARGETS.get(kind, "node"))
        self._numbers.clear()
        self._values = {}
        with self._numbers:
            for name, (label, value) in NUMBERS.get(kind, {}).items():
                self._values[name] = ui.number(label, value=value).props("dense outlined")

    def _event(self) -> dict[str, Any]:
        kind = str(self._kind.value)
        ids = [id.strip() for id in (self._ids.value or "").split(",") if id.strip()]
        labels = dict(part.partition("=")[::2] for part in (self._labels.value or "").split())
        body: dict[str, Any] = {
            "kind": kind,
            "selector": {"kind": self._target.value, "ids": ids, "labels": labels},
            "max_entities": round(self._most.value or 100),
            "owner": self._view.principal.name,
        }
        if self._duration.value:
            body["duration_ms"] = round(self._duration.value * 60_000)
        if kind in HAS_METRICS:
            body["metrics"] = list(self._metrics.value or [])
        for name, field in self._values.items():
            if field.value is not None:
                body[name] = round(field.value) if name == "skew_ms" else float(field.value)
        return {"type": "fault.start", "world": self._world, "body": body}

    async def _try(self) -> None:
        answer = await self._post(f"{EVENTS}?dry_run=true")
        if answer is None:
            return
        touched = answer["events"][0]
        names = ", ".join(one["id"] for one in touched["entities"][:8])
        more = " …" if touched["count"] > 8 else ""
        self._found.set_text(f"It would touch {touched['count']:,}: {names}{more}")

    async def _lay(self) -> None:
        if await self._post(EVENTS) is not None:
            self._dialog.close()
            ui.notify(f"The fault is laid on {self._world}", type="positive")

    async def _post(self, path: str) -> dict[str, Any] | None:
        self._found.set_text("")
        self._wrong.set_text("")
        status, answer = await post(path, self._event())
        if status < 400:
            return answer
        self._wrong.set_text(answer.get("detail", str(answer)))
        return None
