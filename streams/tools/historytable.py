"""Series of history as tables for a terminal, with a sparkline for each."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import isfinite

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from streams.history.query import Answer, HistorySeries
from streams.tools.figures import format_age, format_moment, format_value, shown_unit
from streams.tools.sparkline import sparkline

NUMBERS = ("min", "mean", "max", "last")
"""What is said of each series in numbers."""

GAP = 2
"""[1] Blanks between columns."""

LEAST_SPARK, MOST_SPARK = 10, 60
"""[1] Characters of a sparkline."""

SIMULATED = "sim"
"""Beside what is not measured on a real system."""

MOST_NAME = 30
"""[1] Characters of an id or a metric; a longer one is broken."""

Figures = dict[str, float]
"""`NUMBERS` of a series by their names."""


@dataclass(frozen=True)
class HistoryTables:
    """Draws answers.

    Args:
        width: [1] characters of a line.
        figures: exact `NUMBERS` of each series by kind, id and metric; of others those of the points shown.
    """

    width: int
    figures: dict[tuple[str, str | None, str], Figures]

    def draw(self, answer: Answer) -> RenderableType:
        """Everything that is to be shown: a line about the range, tables, and what is to be known."""
        series = answer.series
        by_metric = len({one.metric for one in series}) <= len({_owner(one) for one in series})
        titles: dict[str, list[HistorySeries]] = {}
        for one in series:
            titles.setdefault(_metric(one) if by_metric else _owner(one), []).append(one)
        parts: list[RenderableType] = [_head(answer)]
        for title, members in titles.items():
            kind = f"{members[0].kind} "
            names = [_owner(one) + _count(one) if by_metric else _metric(one) for one in members]
            parts += ["", Text(kind + title, style="bold"), self._table(answer, members, names)]
        parts += ["", Text(self._legend(answer), style="bright_black")]
        if answer.note:
            parts.append(Text(answer.note, style="yellow"))
        return Group(*parts)

    def _table(self, answer: Answer, members: Sequence[HistorySeries], names: Sequence[str]) -> Table:
        rows = [[_printed(one, self._figures(one)[number]) for number in NUMBERS] for one in members]
        name_width = min(MOST_NAME, max(map(len, names)))
        taken = name_width + sum(
            GAP + max(len(number), *(len(row[place]) for row in rows)) for place, number in enumerate(NUMBERS)
        )
        simulated = any(one.simulated for one in members)
        taken += GAP + len(SIMULATED) if simulated else 0
        room = min(MOST_SPARK, max(LEAST_SPARK, self.width - taken - GAP))
        table = Table(box=None, padding=(0, GAP, 0, 0), pad_edge=False, header_style="bold")
        table.add_column("", max_width=name_width, overflow="fold")
        if simulated:
            table.add_column("")
        for number in NUMBERS:
            table.add_column(number, justify="right", no_wrap=True)
        table.add_column("", width=room, no_wrap=True)
        every_ms = answer.resolution_ms
        start_ms = answer.query.start_ms // every_ms * every_ms
        windows = -(-(answer.query.end_ms - start_ms) // every_ms)
        for one, name, row in zip(members, names, rows, strict=True):
            spark = sparkline(*_finite(one), start_ms, start_ms + windows * every_ms, min(room, windows))
            sim = [Text(SIMULATED if one.simulated else "", style="magenta")] if simulated else []
            table.add_row(Text(name), *sim, *row, Text(spark, style="cyan"))
        return table

    def _figures(self, one: HistorySeries) -> Figures:
        known = self.figures.get((one.kind, one.id, one.metric))
        if known is not None:
            return known
        mean = sum(one.values) / len(one.values)
        return {"min": min(one.values), "mean": mean, "max": max(one.values), "last": one.values[-1]}

    def _legend(self, answer: Answer) -> str:
        query = answer.query
        shown = f"{query.function} of each {_length(query.every_ms or answer.resolution_ms)}"
        whose = "all ticks" if self.figures else "what the line is made of"
        return f"line: {shown}, least to greatest; numbers: of {whose}"


def _head(answer: Answer) -> Text:
    query = answer.query
    start, end = format_moment(query.start_ms), format_moment(query.end_ms)
    if start[:10] == end[:10]:
        end = end[11:]
    words = [
        f"world {query.world}",
        f"{start} to {end} UTC",
        f"resolution {_length(answer.resolution_ms)}",
    ]
    return Text(", ".join(words))


def _owner(one: HistorySeries) -> str:
    """Whose series it is, within its kind."""
    if one.id is not None:
        return _printable(one.id)
    return _printable(f"pool {one.nodepool}") if one.nodepool else "all together"


def _count(one: HistorySeries) -> str:
    return f" ({one.entities})" if one.id is None else ""


def _metric(one: HistorySeries) -> str:
    unit = shown_unit(one.unit)
    return f"{one.metric} [{unit}]" if unit else one.metric


def _printed(one: HistorySeries, value: float) -> str:
    return format_value(value, one.unit) if isfinite(value) else "-"


def _printable(text: str) -> str:
    return text if text.isprintable() else "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)


def _finite(one: HistorySeries) -> tuple[list[int], list[float]]:
    both = [pair for pair in zip(one.times_ms, one.values, strict=True) if isfinite(pair[1])]
    return [at_ms for at_ms, _ in both], [value for _, value in both]


def _length(length_ms: int) -> str:
    return f"{length_ms / 1000:g}s" if length_ms < 60_000 else format_age(length_ms)
