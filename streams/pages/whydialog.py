"""The dialog that says why an entity shows a value."""

import json
from collections.abc import Iterable
from html import escape
from typing import Any

from nicegui import ui

from streams.domain.times import moment_text
from streams.pages.links import badge, entity_path
from streams.pages.shell import View
from streams.pages.units import value_text
from streams.web.problems import ProblemError
from streams.web.why import WhyQuery, get_why

FOUND = {
    "log": "its samples are still in Kafka",
    "record": "its samples are gone from Kafka: the record alone tells it",
    "history": "its samples are gone from Kafka: the history store alone tells it",
    "nothing": "nothing tells of it any more",
}
"""What `found` of an explanation means."""


class WhyDialog:
    """Explains one value after the other; the URL's `metric` says which is open."""

    def __init__(self, view: View, kind: str, id: str) -> None:
        self._view, self._kind, self._id = view, kind, id
        self._asked = 0
        with ui.dialog() as self._dialog, ui.element("div").classes("ent-dialog twin-panel"):
            with ui.element("div").classes("ent-head-row"):
                self._title = ui.html("", tag="h2", sanitize=False).classes("twin-h2")
                close = ui.button(icon="close", on_click=self._dialog.close)
                close.props('flat round dense aria-label="Close"')
            self._body = ui.element("div").classes("ent-why-body")
        self._dialog.on_value_change(lambda change: None if change.value else self._closed())

    async def open(self, metric: str) -> None:
        """Show the dialog, and the explanation as soon as it is there."""
        self._asked += 1
        asked = self._asked
        self._view.set_params(metric=metric)
        self._title.set_content(f"Why {escape(metric)}?")
        self._body.clear()
        with self._body, ui.row().classes("ent-waits"):
            ui.spinner(size="sm")
            ui.label("Looking for its samples in Kafka …").classes("twin-muted")
        self._dialog.open()
        try:
            query = WhyQuery(world=self._view.world, at=self._view.at, metric=metric)
            found = await get_why(self._view.request, self._kind, self._id, query)
        except (ProblemError, ValueError) as error:
            found = {"problem": str(error)}
        if asked != self._asked:  # another one was asked for meanwhile
            return
        self._body.clear()
        with self._body:
            if "problem" in found:
                ui.label(found["problem"]).classes("twin-problem-text")
                ui.button("Ask again", on_click=lambda: self.open(metric)).props("flat dense no-caps")
            else:
                self._show(found)

    def _closed(self) -> None:
        self._asked += 1
        self._view.set_params(metric=None)

    def _show(self, why: dict[str, Any]) -> None:
        ui.html(why_html(why), sanitize=False)
        with ui.expansion("In words, as twin why says it").classes("ent-expansion").props("dense"):
            ui.label("\n".join(why["text"])).classes("twin-mono")
        path = entity_path(self._kind, self._id).removeprefix("/entity/")
        asked = self._view.href(f"/twin/v1/entities/{path}/why", metric=why["metric"])
        ui.link("as JSON", asked).classes("twin-link-plain")


def why_html(why: dict[str, Any]) -> str:
    """An explanation in sections: value, rule, sources, samples, mapping, faults, and what is missing."""
    parts = [_headline(why)]
    if why["rule"]:
        parts.append(_section("How it follows", f"<p>{escape(_sentence(why['rule']))}</p>"))
    parts.append(_section("Sources", _list(_source(one) for one in why["sources"])))
    changes = _list(f"<b>{escape(one['fault'])}</b> {escape(one['text'])}" for one in why["changes"])
    parts.append(_section("Faults and edits of the world", changes))
    parts.append(_section("Samples", _samples(why)))
    newest = why["samples"][-1]["origin"] if why["samples"] else None
    if newest and newest["mapping"]:
        parts.append(_section("Mapping", _mapping(newest["mapping"])))
    elif newest and newest["event"]:
        parts.append(_section("Event", _event(newest["event"])))
    parts.append(_section("Not found", _list(escape(_sentence(text)) for text in why["missing"])))
    return "".join(parts)


def _headline(why: dict[str, Any]) -> str:
    marks = [badge(why["quality"], f"badge-{why['quality']}")] if why["quality"] else []
    if why["simulated"]:
        marks.append(badge("simulated", "badge-simulated"))
    if why["complete"] is False:
        marks.append(badge("tick closed before all had come", "status-degraded"))
    when = ""
    if why["tick_ms"] is not None:
        when = f"at the tick {moment_text(why['tick_ms'])}"
    elif why["observed_at_ms"] is not None:
        when = f"observed at {moment_text(why['observed_at_ms'])}"
    text = value_text(why["value"], why["unit"]) if why["value"] is not None else "no value"
    return (
        f'<div class="twin-big">{escape(text)}</div><div>{" ".join(marks)}</div>'
        f'<div class="twin-muted">{escape(when)} · {escape(FOUND[why["found"]])}</div>'
    )


def _source(one: dict[str, Any]) -> str:
    mark = '<span class="status-up">●</span>' if one["used"] else '<span class="twin-muted">○</span>'
    return f"{mark} <b>{escape(one['source'])}</b> {escape(one['text'])}"


def _samples(why: dict[str, Any]) -> str:
    rows = []
    for one in why["samples"]:
        origin = one["origin"]
        cells = [
            moment_text(one["time_ms"])[11:],
            value_text(one["value"], why["unit"]),
            one["source"],
            one["target"],
            _place(one["observation"]),
            _place(origin) if origin else "",
        ]
        rows.append("<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in cells) + "</tr>")
    if not rows:
        return ""
    names = ("time", "value", "source", "target", "observation", "made from")
    head = "".join(f"<th>{name}</th>" for name in names)
    return f'<table class="ent-plain"><thead><tr>{head}</tr></thead><tbody>{"".join(rows)}</tbody></table>'


def _mapping(one: dict[str, Any]) -> str:
    series = "".join(
        f'<div class="twin-mono">{escape(part["series"])} = {part["value"]!r}'
        + (f" ({escape(part['input'])})" if part["input"] else "")
        + "</div>"
        for part in one["series"]
    )
    formula = f"{one['raw']!r} {one['from_unit']}"
    if (one["scale"], one["offset"]) != (1.0, 0.0):
        formula += f" × {one['scale']:g}" + (f" + {one['offset']:g}" if one["offset"] else "")
    formula += f" = {value_text(one['value'], one['to_unit'])}"
    if one["formula"]:
        formula = f"{one['formula']} → {formula}"
    return (
        f"<p>rule <code>{escape(one['rule'])}</code> of pack <b>{escape(one['pack'])}</b></p>"
        f'{series}<p class="twin-mono">{escape(formula)}</p>'
    )


def _event(event: dict[str, Any]) -> str:
    sender = f", sent by {event['sender']}" if event["sender"] else ""
    text = f"event {event['id']} ({event['type']}{sender})"
    body = json.dumps(event["body"], ensure_ascii=False) if event["body"] is not None else ""
    return f'<p>{escape(text)}</p><div class="twin-mono">{escape(body)}</div>'


def _place(place: dict[str, Any]) -> str:
    return f"{place['topic']}/{place['partition']}@{place['offset']}"


def _section(title: str, body: str) -> str:
    return f"<section><h3>{escape(title)}</h3>{body}</section>" if body else ""


def _list(items: Iterable[str]) -> str:
    found = "".join(f"<li>{item}</li>" for item in items)
    return f"<ul>{found}</ul>" if found else ""


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:]
