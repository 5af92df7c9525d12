"""Parts of the page of the pipeline: cards, titled tables, and the chart of the freshness."""

from typing import Any

from nicegui import ui

from streams.pages.tables import table
from streams.pages.units import number_text

INK = "#8795a0"
"""Colour of axes: to be read on dark and on light."""

LINES = (("p50", "#2a8fbd"), ("p95", "#d08a1d"), ("p99", "#c4483f"))
"""Percentiles and their colours."""


class Card:
    """A number with a word about it."""

    def __init__(self, title: str) -> None:
        with ui.column().classes("twin-panel twin-card"):
            ui.label(title).classes("twin-muted")
            self._number = ui.label().classes("twin-big")
            self._note = ui.label().classes("twin-muted pipe-note")

    def show(self, number: int | None, note: str) -> None:
        """Show another number."""
        self._number.set_text(number_text(number))
        self._note.set_text(note)


def panel(title: str, columns: tuple[tuple[str, str, str], ...], empty: str) -> ui.table:
    """A titled table; its first column tells rows apart."""
    with ui.element("div").classes("twin-panel"):
        ui.label(title).classes("twin-h2")
        return table(columns, columns[0][0], empty)


def chart() -> dict[str, Any]:
    """Options of the chart of percentiles, without its points."""
    axis = {"axisLabel": {"color": INK, "hideOverlap": True}, "axisLine": {"lineStyle": {"color": INK}}}
    return {
        "animation": False,
        "grid": {"left": 56, "right": 12, "top": 28, "bottom": 22},
        "legend": {"top": 0, "right": 0, "textStyle": {"color": INK}, "itemHeight": 8},
        "tooltip": {"trigger": "axis"},
        "xAxis": {"type": "time", "splitNumber": 4, **axis},
        "yAxis": {
            "type": "value",
            "name": "ms, scrape → here",
            "nameTextStyle": {"color": INK, "align": "left"},
            "min": 0,
            "splitLine": {"lineStyle": {"color": INK, "opacity": 0.2}},
            **axis,
        },
        "series": [
            {
                "type": "line",
                "name": name,
                "showSymbol": False,
                "data": [],
                "lineStyle": {"width": 1.5},
                "color": colour,
            }
            for name, colour in LINES
        ],
    }
