"""`twin diff`: what changed between two moments."""

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import click
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from streams.collect.config import rulebook_of
from streams.domain.catalogue import Catalogue
from streams.domain.diff import RATIO, Difference, Thresholds, parse_beyond
from streams.errors import TwinError
from streams.replica.diff import Comparison, compare
from streams.settings import Settings
from streams.tools.figures import format_moment, format_value, shown_unit
from streams.tools.opened import opened_twin
from streams.tools.output import echo_json, new_console
from streams.tools.past import past_of, read_moment
from streams.tools.table import STYLES

NOW = "now"
"""What --to says for the newest state."""


@dataclass(frozen=True)
class Asked:
    """Which moments are compared, in what, and by which thresholds."""

    start: str
    end: str
    world: str
    kinds: tuple[str, ...]
    thresholds: Thresholds


def _parse(_ctx: click.Context, _param: click.Parameter, values: tuple[str, ...]) -> dict[str, float]:
    try:
        return parse_beyond(values)
    except ValueError as error:
        raise click.BadParameter(str(error)) from error


@click.command()
@click.option("--from", "start", required=True, metavar="MOMENT", help="2026-11-24T03:12:00Z, or -30m.")
@click.option("--to", "end", default=NOW, show_default=True, metavar="MOMENT", help="now: the newest state.")
@click.option("--kind", "kinds", multiple=True, help="Only this kind: node, link, …; may be repeated.")
@click.option("--world", default="live", show_default=True, help="The world.")
@click.option(
    "--beyond",
    multiple=True,
    callback=_parse,
    metavar="METRIC:NUMBER",
    help="Show changes of this metric by more than this, in its unit; may be repeated.",
)
@click.option(
    "--ratio",
    type=click.FloatRange(min=0),
    default=RATIO,
    show_default=True,
    help="Show changes of all other metrics by more than this part of their former value.",
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_obj
def diff(
    settings: Settings,
    start: str,
    end: str,
    kinds: tuple[str, ...],
    world: str,
    beyond: dict[str, float],
    ratio: float,
    as_json: bool,
) -> None:
    """Show what came, went and changed between two moments."""
    asked = Asked(start, end.strip(), world, kinds, Thresholds(beyond, ratio))
    found = asyncio.run(_compare(settings, asked))
    if as_json:
        document = {
            "world": world,
            "before": found.before,
            "after": found.after,
            "beyond": beyond,
            "ratio": ratio,
            **vars(found.difference),
        }
        echo_json(document)
        return
    new_console().print(draw(found, rulebook_of(settings).catalogue))


async def _compare(settings: Settings, asked: Asked) -> Comparison:
    now_ms = int(time.time() * 1000)
    start_ms = read_moment(asked.world, asked.start, now_ms)
    if asked.end != NOW and start_ms > read_moment(asked.world, asked.end, now_ms):
        raise TwinError(f"--from {asked.start} is later than --to {asked.end}")
    before = await past_of(settings, asked.world, asked.start)
    if asked.end != NOW:
        after = await past_of(settings, asked.world, asked.end)
        return await compare(before, after, asked.kinds, asked.thresholds)
    async with opened_twin(settings, asked.world) as twin:
        return await compare(before, twin, asked.kinds, asked.thresholds)


def draw(found: Comparison, catalogue: Catalogue) -> RenderableType:
    """All that differs, as tables with a line about the moments before them."""
    difference = found.difference
    sides = ", ".join(
        f"{stamp['entities']} entities {_when(stamp['clock_ms'])}" for stamp in (found.before, found.after)
    )
    parts: list[RenderableType] = [Text(f"world {found.before['world']}: {sides}")]
    for title, style, entities in (
        ("added", "green", difference.added),
        ("removed", "red", difference.removed),
    ):
        rows = [[_name(one), one["status"], one["reason"]] for one in entities]
        parts += _table(f"{title} ({len(rows)})", style, ("", "status", "why"), rows)
    parts += _table(
        f"status ({len(difference.statuses)})",
        "bold",
        ("", "before", "after", "why"),
        [
            [
                _name(one),
                _status(one["before"]),
                _status(one["after"]),
                one["after"]["reason"] or one["before"]["reason"],
            ]
            for one in difference.statuses
        ],
    )
    parts += _table(
        f"attributes ({len(difference.attributes)})",
        "bold",
        ("", "attribute", "before", "after"),
        [
            [_name(one), one["name"], _shown(one["before"]), _shown(one["after"])]
            for one in difference.attributes
        ],
    )
    parts += _metrics(difference, catalogue)
    if len(parts) == 1:
        parts.append("Nothing differs by more than the thresholds.")
    return Group(*parts)


def _metrics(difference: Difference, catalogue: Catalogue) -> list[RenderableType]:
    rows: list[list[Text | str]] = []
    for one in difference.metrics:
        unit = catalogue[one["metric"]].unit if one["metric"] in catalogue else ""
        before, after, change = (
            "-" if value is None else format_value(value, unit)
            for value in (one["before"], one["after"], one["difference"])
        )
        grows = one["difference"] is not None and one["difference"] > 0
        shown = Text(("+" if grows else "") + change, style="yellow" if grows else "cyan")
        rows.append([_name(one), one["metric"], before, after, shown, shown_unit(unit)])
    headers = ("", "metric", "before", "after", "difference", "")
    return _table(f"metrics ({len(rows)})", "bold", headers, rows, numbers=(2, 3, 4))


def _table(
    title: str,
    style: str,
    headers: Sequence[str],
    rows: Sequence[Sequence[Text | str]],
    numbers: Sequence[int] = (),
) -> list[RenderableType]:
    if not rows:
        return []
    table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False, header_style="bold")
    for place, header in enumerate(headers):
        table.add_column(header, justify="right" if place in numbers else "left")
    for row in rows:
        table.add_row(*(cell if isinstance(cell, Text) else Text(cell) for cell in row))
    return ["", Text(title, style=style), table]


def _name(one: dict[str, Any]) -> str:
    return f"{one['kind']}/{one['id']}"


def _status(standing: dict[str, str]) -> Text:
    return Text(standing["status"], style=STYLES.get(standing["status"], ""))


def _shown(text: str | None) -> str:
    return "-" if text is None else text


def _when(clock_ms: int | None) -> str:
    if clock_ms is None:
        return "now"
    return f"at {format_moment(clock_ms)} UTC"
