"""The table of an entity's values: newest and aligned, with age, quality and source."""

from collections.abc import Callable, Mapping
from typing import Any

from nicegui import events, ui

from streams.domain.catalogue import Catalogue
from streams.domain.times import moment_text
from streams.pages.units import ABSENT, age_class, age_text, value_text

COMPUTED = "computed"
"""Stands for the source of a feature."""

COLUMNS: list[dict[str, Any]] = [
    {"name": "metric", "label": "Metric", "field": "metric", "align": "left", "sortable": True},
    {"name": "value", "label": "Value", "field": "value", "align": "right"},
    {
        "name": "age",
        "label": "Age",
        "field": "age_ms",
        "align": "right",
        "sortable": True,
        "headerClasses": "ent-help",
    },
    {"name": "quality", "label": "Quality", "field": "quality", "align": "left", "sortable": True},
    {"name": "source", "label": "Source", "field": "source", "align": "left", "sortable": True},
    {"name": "aligned", "label": "At the tick", "field": "aligned", "align": "right"},
]

METRIC_CELL = """
<q-td :props="props"><button type="button" class="ent-why" :title="props.row.doc"
 :aria-label="'Why ' + props.row.metric">{{ props.row.metric }}</button></q-td>
"""
AGE_CELL = """
<q-td :props="props"><span :class="props.row.age_class" :title="props.row.observed">{{
 props.row.age }}</span></q-td>
"""
QUALITY_CELL = """
<q-td :props="props"><span :class="'quality-' + props.row.quality">{{ props.row.quality }}</span></q-td>
"""
ALIGNED_CELL = """
<q-td :props="props">{{ props.row.aligned }}<span class="ent-mark" :title="props.row.aligned_quality"
 v-if="props.row.mark"> {{ props.row.mark }}</span></q-td>
"""

MARKS = {"interpolated": "~", "held": "="}
"""What stands beside an aligned value that was not measured at its tick."""


def value_rows(entity: Mapping[str, Any], catalogue: Catalogue, now_ms: int) -> list[dict[str, Any]]:
    """One row for each metric and feature, in the order of the catalogue.

    Args:
        entity: full record as JSON.
        now_ms: [ms since the epoch] by the time of its world, or the moment that is looked at.
    """
    order = {name: place for place, name in enumerate(catalogue)}
    names = sorted(
        entity["metrics"].keys() | entity["aligned"]["values"].keys(),
        key=lambda name: (order.get(name, len(order)), name),
    )
    rows = [_row(entity, catalogue, name, now_ms) for name in names]
    return rows + [
        _empty(name) | {"value": value_text(value, ""), "source": COMPUTED}
        for name, value in sorted(entity["features"].items())
    ]


def _row(entity: Mapping[str, Any], catalogue: Catalogue, name: str, now_ms: int) -> dict[str, Any]:
    metric, aligned = entity["metrics"].get(name), entity["aligned"]
    known = catalogue.get(name)
    unit = known.unit if known else ""
    row = _empty(name) | {"doc": known.help if known else "not in the catalogue"}
    if metric is not None:
        age_ms = now_ms - metric["observed_at_ms"]
        interval_ms = entity.get("sources", {}).get(metric["source"], {}).get("interval_ms", 0)
        row |= {
            "value": value_text(metric["value"], unit),
            "age": age_text(age_ms),
            "age_ms": age_ms,
            "age_class": age_class(age_ms, interval_ms),
            "observed": f"observed at {moment_text(metric['observed_at_ms'])}"
            + (f", expected every {age_text(interval_ms)}" if interval_ms else ""),
            "quality": metric["quality"],
            "source": metric["source"],
        }
    if name in aligned["values"]:
        quality = aligned["qualities"].get(name, "")
        row |= {
            "aligned": value_text(aligned["values"][name], unit),
            "aligned_quality": quality,
            "mark": MARKS.get(quality, ""),
        }
    return row


def _empty(name: str) -> dict[str, Any]:
    return {
        "metric": name,
        "doc": "",
        "value": ABSENT,
        "age": ABSENT,
        "age_ms": -1,
        "age_class": "",
        "observed": "",
        "quality": "",
        "source": "",
        "aligned": ABSENT,
        "aligned_quality": "",
        "mark": "",
    }


class ValuesPanel:
    """The table, and the tick that its last column is of.

    Args:
        ask_why: is called with the metric whose row was chosen.
    """

    def __init__(self, ask_why: Callable[[str], Any]) -> None:
        with ui.element("section").classes("twin-panel"):
            with ui.element("div").classes("ent-head-row"):
                ui.html("Values", tag="h2").classes("twin-h2")
                self._tick = ui.label().classes("twin-muted")
            self._table = ui.table(rows=[], columns=COLUMNS, row_key="metric")
            self._table.classes("ent-table").props("dense flat")
            self._table.props('no-data-label="no value has come yet"')
            for name, template in (
                ("metric", METRIC_CELL),
                ("age", AGE_CELL),
                ("quality", QUALITY_CELL),
                ("aligned", ALIGNED_CELL),
            ):
                self._table.add_slot(f"body-cell-{name}", template)
            self._table.on("rowClick", self._clicked, [[], ["metric", "source"], None])
            self._hint = ui.label("Choose a row to see why it has its value.").classes("twin-muted ent-hint")
        self._ask_why = ask_why

    def show(self, entity: Mapping[str, Any], catalogue: Catalogue, now_ms: int) -> None:
        """Bring the table up to date; what did not change stays as it is in the browser."""
        rows = value_rows(entity, catalogue, now_ms)
        if rows != self._table.rows:
            self._table.rows = rows
        self._hint.set_visibility(bool(rows))
        tick_ms = entity["aligned"]["tick_ms"]
        complete = "complete" if entity["aligned"]["complete"] else "closed before all had come"
        self._tick.set_text(
            f"tick {moment_text(tick_ms)[11:]} · {complete}" if tick_ms else "no closed tick yet"
        )

    def _clicked(self, event: events.GenericEventArguments) -> Any:
        row = event.args[1]
        if row["source"] == COMPUTED:
            ui.notify("This value was computed from others: only measured ones have a source to show")
            return None
        return self._ask_why(row["metric"])
