"""What concerns an entity: faults in force, and what happened to it."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from html import escape
from typing import Any

from nicegui import ui

from streams.domain.entity import NEVER
from streams.domain.faults import Fault
from streams.domain.times import moment_text
from streams.pages.links import badge
from streams.pages.standing import Happening, happenings
from streams.pages.units import age_text
from streams.stores import PastChange

SHOWN = 100
"""[1] Newest changes that are shown."""

EDITS = {"set": "changed by an event", "remove": "removed by an event"}
"""What is kept as a fault, but is an edit of the world."""


class Timeline:
    """Two lists: faults of the world that concern the entity, and changes of the range."""

    def __init__(self) -> None:
        with ui.element("section").classes("twin-panel"):
            ui.html("Events and faults", tag="h2").classes("twin-h2")
            self._faults = ui.html("", sanitize=False)
            self._past = ui.html('<p class="twin-muted">…</p>', sanitize=False).classes("ent-happened")

    def show_faults(self, entity: Mapping[str, Any], faults: Sequence[Fault], now_ms: int) -> None:
        """The faults of the world that concern the entity.

        Args:
            entity: its record; `faults` are those that change it now.
            now_ms: [ms since the epoch] by the time of the world.
        """
        active = set(entity["faults"])
        text = "".join(_fault(fault, fault.id in active, now_ms) for fault in faults)
        known = {fault.id for fault in faults}
        text += "".join(f"<li>{escape(id)}</li>" for id in entity["faults"] if id not in known)
        self._faults.set_content(f'<ul class="ent-faults">{text}</ul>' if text else "")

    def show_past(self, changes: Sequence[PastChange], start_ms: int) -> None:
        """What happened after the start of the range."""
        found = happenings(changes, start_ms)
        rows = "".join(_happened(one) for one in found[:SHOWN])
        more = f'<p class="twin-muted">and {len(found) - SHOWN:,} before</p>' if len(found) > SHOWN else ""
        text = f'<table class="ent-plain">{rows}</table>{more}' if rows else ""
        self._past.set_content(text or '<p class="twin-muted">nothing changed in this range</p>')

    def say_past(self, text: str) -> None:
        """Why nothing can be said."""
        self._past.set_content(f'<p class="twin-muted">{escape(text)}</p>')


def _fault(fault: Fault, is_active: bool, now_ms: int) -> str:
    state = "in force" if is_active else "not yet" if fault.start_ms > now_ms else "over"
    if state == "over" and fault.end_ms > now_ms:
        state = "laid"  # it changes nothing that the entity shows
    mark = badge(state, "status-down" if is_active else "status-unknown")
    what = EDITS.get(fault.kind, fault.kind)
    until = "until it is stopped" if fault.end_ms == NEVER else f"until {moment_text(fault.end_ms)}"
    fields = ", ".join(f"{name} {_text(value)}" for name, value in sorted(fault.fields.items()) if value)
    owner = f" by {fault.owner}" if fault.owner else ""
    return (
        f"<li>{mark} <b>{escape(what)}</b> <span>{escape(fault.id)}{escape(owner)}</span>"
        f' <span class="twin-muted">from {moment_text(fault.start_ms)} {escape(until)}'
        f"{escape(' · ' + fields if fields else '')}</span></li>"
    )


def _text(value: Any) -> str:
    return ", ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)


def _happened(one: Happening) -> str:
    moment = datetime.fromtimestamp(one.at_ms / 1000, UTC)
    style = f"status-{one.status}" if one.status else ""
    return (
        f'<tr><td class="twin-muted" title="{moment_text(one.at_ms)}">{moment:%m-%d %H:%M:%S}</td>'
        f'<td class="{escape(style)}">{escape(one.what)}</td><td>{escape(one.why)}</td></tr>'
    )


def since_text(since_ms: int, now_ms: int) -> str:
    """How long something has been so."""
    return f"for {age_text(max(0, now_ms - since_ms))}" if since_ms else ""
