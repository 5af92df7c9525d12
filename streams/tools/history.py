"""`twin history`: what was, as tables with sparklines, as CSV or as JSON."""

import asyncio
import sys
import time
from dataclasses import replace
from typing import Any

import click

from streams.collect.config import rulebook_of
from streams.domain.commands import follows_clock
from streams.errors import TwinError
from streams.history.asking import ask_all
from streams.history.formats import CSV, JSON, encode
from streams.history.query import GROUPS, Answer, Facts, HistoryQuery, QueryError
from streams.settings import Settings
from streams.stores import WINDOW_FUNCTIONS, Store
from streams.tools.historytable import NUMBERS, Figures, HistoryTables
from streams.tools.opened import opened_store
from streams.tools.output import new_console
from streams.tools.times import DurationType, MomentType

WIDTH = 80
"""[1] Characters of a line where there is no terminal."""

LINE_POINTS = 60
"""[1] About as many windows as a line has characters."""

ROUND_MS = (
    *(5_000, 10_000, 15_000, 30_000, 60_000, 120_000, 300_000, 600_000, 900_000, 1_800_000),
    *(3_600_000, 7_200_000, 10_800_000, 21_600_000, 43_200_000, 86_400_000, 604_800_000),
)
"""[ms] Lengths of windows that people count in."""

LEAST_STEP_MS = 100
"""[ms] Least distance of ticks of an isolated world, which has its own."""

OPTIONS = {"start": "--from", "end": "--to", "labels": "--label", "group_by": "--group-by"}
"""What a field of a question is called here, where it is not --field."""


@click.command()
@click.argument("target", metavar="KIND[/ID]")
@click.argument("metrics", nargs=-1, metavar="[METRIC]...")
@click.option("--from", "start_ms", type=MomentType(), default="-1h", show_default=True, help="First tick.")
@click.option(
    "--to", "end_ms", type=MomentType(), default="now", show_default=True, help="After the last tick."
)
@click.option("--every", "every_ms", type=DurationType(), help="Length of windows, such as 5m.")
@click.option(
    "--fn",
    type=click.Choice(WINDOW_FUNCTIONS),
    help="What is made of the values in a window; sum adds up all ticks in it.",
)
@click.option(
    "--group-by",
    type=click.Choice(GROUPS),
    default="id",
    show_default=True,
    help="One line for each entity, or for all of a kind in a pool, or of a kind, together.",
)
@click.option(
    "--label",
    "labels",
    multiple=True,
    metavar="NAME=VALUE",
    help="Only entities with this attribute, by their newest change before --to; may be repeated.",
)
@click.option("--world", default="live", show_default=True, help="The world; its history outlives it.")
@click.option("--csv", "form", flag_value=CSV, help="Print a row for each point.")
@click.option("--json", "form", flag_value=JSON, help="Print the answer as the API gives it, all of it.")
@click.pass_obj
def history(
    settings: Settings,
    /,
    target: str,
    metrics: tuple[str, ...],
    labels: tuple[str, ...],
    form: str | None,
    **rest: Any,
) -> None:
    """Show what was: values of KIND, or of the entity KIND/ID, over time.

    Moments are ISO 8601 with a zone, now, or a while ago: -30m (units ms, s, m, h, d, w). Without --every,
    --csv and --json have each tick, or with --fn one value for the range; tables choose windows that fit.
    """
    kind, slash, id = target.partition("/")
    if not kind or (slash and not id):
        raise click.UsageError(f"{target!r} is not KIND or KIND/ID, as in node or node/ws01")
    query = HistoryQuery(
        kinds=(kind,),
        ids=(id,) if id else (),
        metrics=tuple(dict.fromkeys(metrics)),
        labels=tuple(_label(text) for text in labels),
        **rest,
    )
    try:
        sys.exit(asyncio.run(_show(settings, query, form)))
    except QueryError as error:
        option = OPTIONS.get(error.field, "METRIC" if error.field == "metrics" else f"--{error.field}")
        raise TwinError(f"{option}: {error}") from None


def _label(text: str) -> tuple[str, str]:
    name, sign, value = text.partition("=")
    if not name or not sign:
        raise click.UsageError(f"--label {text!r} is not NAME=VALUE, as in nodepool=1")
    return name, value


async def _show(settings: Settings, query: HistoryQuery, form: str | None) -> int:
    facts = _facts(settings, query)
    async with opened_store(settings) as store:
        if form is not None:
            sys.stdout.buffer.write(encode(await ask_all(store, query, facts), form))
            if form == JSON:
                click.echo()
            return 0
        if query.every_ms is None:
            query = replace(query, every_ms=max(facts.step_ms, _round(query.end_ms - query.start_ms)))
        answer = await ask_all(store, query, facts)
        if not answer.series:
            click.echo(answer.note, err=True)
            return 1
        figures = await _figures(store, answer, facts) if query.group_by == "id" else {}
    console = new_console(WIDTH)
    console.print(HistoryTables(console.width, figures).draw(answer))
    return 0


def _facts(settings: Settings, query: HistoryQuery) -> Facts:
    catalogue = rulebook_of(settings).catalogue
    return Facts(
        catalogue.units(),
        settings.step_ms if follows_clock(query.world) else LEAST_STEP_MS,
        settings.history_retention_ms,
        int(time.time() * 1000),
    )


def _round(range_ms: int) -> int:
    """A length of which the range has about as many as a line has characters."""
    wanted_ms = range_ms / LINE_POINTS
    return next((round_ms for round_ms in ROUND_MS if round_ms >= wanted_ms), ROUND_MS[-1])


async def _figures(store: Store, answer: Answer, facts: Facts) -> dict[tuple[str, str | None, str], Figures]:
    """Numbers of all ticks of each series, whatever is shown of it."""
    found: dict[tuple[str, str | None, str], Figures] = {}
    for number in NUMBERS:
        whole = replace(answer.query, every_ms=None, fn=number)
        for one in (await ask_all(store, whole, facts)).series:
            found.setdefault((one.kind, one.id, one.metric), {})[number] = one.values[-1]
    return {key: figures for key, figures in found.items() if len(figures) == len(NUMBERS)}
