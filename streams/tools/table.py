"""Entities as tables for a terminal: one for each kind, with as many metrics as its width takes."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from rich.cells import cell_len
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from streams.domain.catalogue import Catalogue
from streams.domain.stamp import Stamp
from streams.tools.figures import format_age, format_value, shown_unit

KINDS = ("cluster", "nodepool", "node", "device", "link", "job", "world")
"""Order in which kinds are shown; others follow by name."""

FIRST_METRICS = (
    "cpu_usage_percent",
    "mem_usage_percent",
    "number_of_cores",
    "mem_total_bytes",
    "power_watts",
    "gpu_usage_percent",
    "network_receive_bytes_per_s",
    "network_transmit_bytes_per_s",
    "disk_free_bytes",
    "temperature_celsius",
    "load1",
    "network_delay_ms",
)
"""What a narrow terminal shows; all others follow in the order of the catalogue."""

STYLES = {"up": "green", "degraded": "yellow", "down": "bold red", "unknown": "bright_black"}
"""Colour by status."""

MARKS = {"measured": "", "interpolated": "~", "held": "=", "unknown": ""}
"""Mark by quality; a measured value needs none, and where the store of history holds none, none has one."""

LAGGING_MS = 15_000
"""[ms] A value that is so much older than the newest of its entity shows its own age."""

HEADER_WIDTH = 14
"""[1] Long metric names are broken after an underscore, so that they do not widen their column."""

GAP = 2
"""[1] Blanks between columns."""

REASON_SHARE = 5
"""[1] The reasons of a status get a fifth of the width before the metrics take the rest."""


@dataclass
class Column:
    """One column: header lines, one cell for each entity, and whether numbers stand in it."""

    header: str
    cells: list[Text] = field(default_factory=list)
    is_number: bool = False

    @property
    def width(self) -> int:
        """[1] Of its widest line."""
        lines = [cell_len(line) for line in self.header.split("\n")]
        return max([*lines, *(cell_len(cell.plain) for cell in self.cells)])


@dataclass(frozen=True)
class Tables:
    """Draws entity views.

    Args:
        catalogue: units of the metrics.
        width: [1] characters of the terminal; None for as many as it takes.
        aligned: show the values of the last closed tick instead of the newest ones.
    """

    catalogue: Catalogue
    width: int | None
    aligned: bool = False

    def draw(self, stamp: Stamp, entities: Sequence[Mapping[str, Any]], now_ms: int) -> RenderableType:
        """Everything that is to be shown, with a line about the snapshot before it and a legend after it."""
        by_kind: dict[str, list[Mapping[str, Any]]] = {}
        for entity in entities:
            by_kind.setdefault(entity["kind"], []).append(entity)
        parts: list[RenderableType] = [_stamp_line(stamp, now_ms)]
        legend: set[str] = set()
        for kind in sorted(
            by_kind, key=lambda kind: (KINDS.index(kind) if kind in KINDS else len(KINDS), kind)
        ):
            parts += ["", _title(kind, by_kind[kind]), self._table(by_kind[kind], now_ms, legend)]
        if legend:
            parts += ["", Text("; ".join(sorted(legend)), style="bright_black")]
        return Group(*parts)

    def _table(self, entities: list[Mapping[str, Any]], now_ms: int, legend: set[str]) -> Table:
        first, reason = _fixed_columns(entities, now_ms)
        names = self._metric_names(entities)
        room, least = self.width, 0
        if room is not None:
            least = min(reason.width, room // REASON_SHARE) + GAP if reason else 0
            room -= least + sum(column.width + GAP for column in first)
        shown: list[Column] = []
        for name in names:
            column = self._metric_column(name, entities, legend)
            if room is None or column.width + GAP <= room:
                shown.append(column)
                room = None if room is None else room - column.width - GAP
        if len(shown) < len(names):
            hidden = len(names) - len(shown)
            legend.add(
                f"{hidden} more metric{'s' if hidden > 1 else ''}: make the terminal wider, or use --json"
            )
        columns = first + shown + ([reason] if reason else [])
        table = Table(box=None, padding=(0, GAP, 0, 0), pad_edge=False, header_style="bold")
        for column in columns:
            table.add_column(
                column.header,
                justify="right" if column.is_number else "left",
                no_wrap=True,
                vertical="bottom",
                max_width=max(least - GAP + room, 1) if column is reason and room is not None else None,
            )
        for row in zip(*(column.cells for column in columns), strict=True):
            table.add_row(*row)
        return table

    def _values(self, entity: Mapping[str, Any]) -> Mapping[str, Any]:
        return entity["aligned"]["values"] if self.aligned else entity["metrics"]  # type: ignore[no-any-return]

    def _metric_names(self, entities: Iterable[Mapping[str, Any]]) -> list[str]:
        present = {name for entity in entities for name in self._values(entity)}
        order = [*FIRST_METRICS, *self.catalogue, *sorted(present)]
        return [name for name in dict.fromkeys(order) if name in present]

    def _metric_column(self, name: str, entities: list[Mapping[str, Any]], legend: set[str]) -> Column:
        unit = self.catalogue[name].unit if name in self.catalogue else ""
        column = Column(_broken(name) + f"\n{shown_unit(unit)}", is_number=True)
        for entity in entities:
            column.cells.append(self._cell(name, unit, entity, legend))
        return column

    def _cell(self, name: str, unit: str, entity: Mapping[str, Any], legend: set[str]) -> Text:
        found = self._values(entity).get(name)
        if found is None:
            return Text("-", style="bright_black")
        if self.aligned:
            value, quality, lag_ms = found, entity["aligned"]["qualities"][name], 0
        else:
            value, quality = found["value"], found["quality"]
            lag_ms = _newest_ms(entity, default=0) - found["observed_at_ms"]
        text = Text(format_value(value, unit))
        if MARKS[quality]:
            text.append(MARKS[quality], style="cyan")
            legend.add(f"{MARKS[quality]} {quality}")
        if lag_ms > LAGGING_MS:
            text.append(f" -{format_age(lag_ms)}", style="yellow")
            legend.add("-1m: so much older than the newest value of its entity")
        return text


def _fixed_columns(entities: list[Mapping[str, Any]], now_ms: int) -> tuple[list[Column], Column | None]:
    """Columns before the metrics, and the reasons after them; those without a word are left out."""
    ages = [_newest_ms(entity) for entity in entities]
    columns = [
        Column("id", [Text(printable(entity["id"])) for entity in entities]),
        Column("pool", [Text(printable(entity["attributes"].get("nodepool", ""))) for entity in entities]),
        Column("", [Text("sim" if entity["simulated"] else "", style="magenta") for entity in entities]),
        Column(
            "status", [Text(entity["status"], style=STYLES.get(entity["status"], "")) for entity in entities]
        ),
        Column(
            "age",
            [Text("-" if newest is None else format_age(now_ms - newest)) for newest in ages],
            is_number=True,
        ),
        Column("why", [Text(printable(_why(entity))) for entity in entities]),
    ]
    *first, reason = columns
    has_words = [any(cell.plain for cell in column.cells) for column in columns]
    return [column for column, has in zip(first, has_words, strict=False) if has], reason if has_words[
        -1
    ] else None


def printable(text: str) -> str:
    """Line breaks and what else would not be seen, or move the cursor, escaped as in Python."""
    return text if text.isprintable() else "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)


def _title(kind: str, entities: list[Mapping[str, Any]]) -> Text:
    counts = Counter(entity["status"] for entity in entities)
    title = Text(f"{kind} ({len(entities)}): ", style="bold")
    for place, status in enumerate(status for status in STYLES if counts[status]):
        title.append(", " if place else "").append(f"{counts[status]} {status}", style=STYLES[status])
    return title


def _stamp_line(stamp: Stamp, now_ms: int) -> Text:
    words = [f"world {stamp['world']}", f"{stamp['entities']} entities"]
    if stamp["tick_ms"] is not None and stamp["complete_share"] is not None:
        clock = datetime.fromtimestamp(stamp["tick_ms"] / 1000, UTC).strftime("%H:%M:%S")
        words.append(f"tick {clock} UTC ({format_age(now_ms - stamp['tick_ms'])} ago)")
        words.append(f"{stamp['complete_share']:.0%} complete")
    return Text(", ".join(words))


def _newest_ms(entity: Mapping[str, Any], default: int | None = None) -> Any:
    return max((metric["observed_at_ms"] for metric in entity["metrics"].values()), default=default)


def _broken(name: str) -> str:
    lines = [""]
    for part in name.replace("_", "_\0").split("\0"):
        if lines[-1] and len(lines[-1]) + len(part) > HEADER_WIDTH:
            lines.append("")
        lines[-1] += part
    return "\n".join(lines)


def _why(entity: Mapping[str, Any]) -> str:
    """Why it is not up, or else which faults change it."""
    faults = ", ".join(entity["faults"])
    return str(entity["status_reason"]) or (f"under {faults}" if faults else "")
