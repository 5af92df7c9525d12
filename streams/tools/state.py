"""`twin state`: the twin as a table or as JSON."""

import asyncio
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import click
from rich.console import Console
from rich.live import Live

from streams.collect.config import rulebook_of
from streams.domain.near import near_names
from streams.domain.stamp import Stamp, make_stamp, oldest_observed_ms
from streams.domain.where import InvalidWhereError, Where, find, parse_where
from streams.replica import TwinReplica
from streams.replica.past import PastView
from streams.replica.view import WorldView
from streams.settings import Settings
from streams.tools.opened import check_world, opened_twin
from streams.tools.output import echo_json, new_console
from streams.tools.past import past_of
from streams.tools.table import Tables

REFRESH_S = 0.5
"""[s] Least time between two pictures of --watch, and"""

AGE_S = 1.0
"""[s] the most, as ages grow without any change."""


@dataclass(frozen=True)
class Selection:
    """What is asked for."""

    kinds: tuple[str, ...]
    ids: tuple[str, ...]
    where: Where

    def of(self, twin: WorldView) -> Iterator[dict[str, Any]]:
        """The entities that match, by kind and id."""
        for kind, id in sorted(twin):
            if (not self.kinds or kind in self.kinds) and (not self.ids or id in self.ids):
                with suppress(KeyError):  # an unreadable record; it is counted
                    entity = twin[kind, id]
                    if self.where.matches(entity):
                        yield entity


def _parse(_ctx: click.Context, _param: click.Parameter, values: tuple[str, ...]) -> Where:
    try:
        return parse_where(" ".join(values))
    except InvalidWhereError as error:
        raise click.BadParameter(str(error)) from error


@click.command()
@click.option("--kind", "kinds", multiple=True, help="Only this kind: node, link, …; may be repeated.")
@click.option("--id", "ids", multiple=True, help="Only this id; may be repeated.")
@click.option(
    "--world",
    default="live",
    show_default=True,
    help="The world to show: an isolated one, or live~NAME: live with what differs laid over it.",
)
@click.option(
    "--where",
    multiple=True,
    callback=_parse,
    metavar="FILTER",
    help="Terms that must all match, such as 'status!=up cpu_usage_percent>80'; operators = != > >= < <="
    " and ~ (contains); names are fields, metrics and attributes.",
)
@click.option("--at", metavar="MOMENT", help="As of then, from history: 2026-11-24T03:12:00Z, or -2m.")
@click.option("--aligned", is_flag=True, help="Values of the last closed tick, with their quality.")
@click.option("--json", "as_json", is_flag=True, help="Print {stamp, entities} as JSON.")
@click.option("--watch", is_flag=True, help="Keep the table up to date until Ctrl-C.")
@click.pass_obj
def state(
    settings: Settings,
    kinds: tuple[str, ...],
    ids: tuple[str, ...],
    world: str,
    where: Where,
    at: str | None,
    aligned: bool,
    as_json: bool,
    watch: bool,
) -> None:
    """Show the state of the twin: status, age and newest values of all entities, now or as of a moment."""
    if watch and at:
        raise click.UsageError("--watch is of now: the past does not change")
    if watch and as_json:
        raise click.UsageError("--watch draws tables; for a stream of JSON use `twin tap state`")
    if watch and not sys.stdout.isatty():
        raise click.UsageError("--watch needs a terminal; for a stream of changes use `twin tap state`")
    selection = Selection(kinds, ids, where)
    show = Show(selection, aligned, as_json, watch)
    with suppress(KeyboardInterrupt):  # how one ends --watch
        sys.exit(asyncio.run(_show(settings, world, at, show)))


@dataclass(frozen=True)
class Show:
    """What is shown, and how."""

    selection: Selection
    aligned: bool
    as_json: bool
    watch: bool


async def _show(settings: Settings, world: str, at: str | None, show: Show) -> int:
    if at is not None:
        return await _draw(settings, await past_of(settings, world, at), show)
    async with opened_twin(settings, world) as twin:
        await check_world(settings, twin)
        return await _draw(settings, twin, show)


async def _draw(settings: Settings, twin: WorldView, show: Show) -> int:
    if show.as_json:
        stamp, entities = _snapshot(twin, show.selection)
        echo_json({"stamp": stamp, "entities": entities})
        return 0
    console = new_console()
    catalogue = rulebook_of(settings).catalogue
    tables = Tables(catalogue, console.width if console.is_terminal else None, show.aligned)
    if show.watch:
        await _watch(twin, show.selection, tables, console)
        return 0
    stamp, entities = _snapshot(twin, show.selection)
    if entities:
        console.print(tables.draw(stamp, entities, _now_ms(twin)))
    else:
        click.echo(_why_nothing(twin, show.selection), err=True)
    return 0 if len(twin) else 1


async def _watch(twin: WorldView, selection: Selection, tables: Tables, console: Console) -> None:
    changes = twin.changes()
    with Live(console=console, screen=True, auto_refresh=False) as live:
        while True:
            stamp, entities = _snapshot(twin, selection)
            tables = Tables(tables.catalogue, console.width, tables.aligned)  # it may have been resized
            live.update(tables.draw(stamp, entities, _now_ms(twin)), refresh=True)
            with suppress(TimeoutError):
                async with asyncio.timeout(AGE_S):
                    await anext(changes)
            changes.clear()  # the next picture shows all of them
            await asyncio.sleep(REFRESH_S)


def _snapshot(twin: WorldView, selection: Selection) -> tuple[Stamp, list[dict[str, Any]]]:
    entities = list(selection.of(twin))
    held = [twin.held(entity["kind"], entity["id"]) for entity in entities]
    stamp = make_stamp(twin.world, held, oldest_observed_ms(entities), twin.offsets())
    return twin.stamped(stamp) if isinstance(twin, PastView) else stamp, entities


def _now_ms(twin: WorldView) -> int:
    """Now, against which ages are shown: an isolated world has a time of its own, and the past its moment."""
    if isinstance(twin, PastView):
        return twin.at_ms
    if ("world", twin.world) in twin:
        clock_ms = twin["world", twin.world]["attributes"].get("clock_ms")
        if clock_ms is not None:
            return int(clock_ms)
    return int(time.time() * 1000)


def _why_nothing(twin: WorldView, selection: Selection) -> str:
    """What to check when there is nothing to show."""
    return "\n".join(_why_no_match(twin, selection) if len(twin) else _why_empty(twin))


def _why_empty(twin: WorldView) -> list[str]:
    if isinstance(twin, PastView):
        return [
            f"History has no entities of world {twin.world} as of then. Check that",
            "  - the twin ran then, and its `twin sink` wrote into the store of this TWIN_HISTORY_URL",
            "  - it is not longer ago than that store keeps",
        ]
    topic = f" (topic {twin.topic})" if isinstance(twin, TwinReplica) else ""
    return [
        f"There are no entities in world {twin.world}{topic}. Check that",
        "  - `twin collect` and `twin worker` run, or `twin up`, which runs all",
        "  - they have the TWIN_KAFKA_BOOTSTRAP_SERVERS and TWIN_TOPIC_PREFIX of this command",
        "  - scrapes arrive (`twin tap scrape`) and are not refused (`twin tap deadletter --from-start`)",
        "`twin check` looks at all of it.",
    ]


def _why_no_match(twin: WorldView, selection: Selection) -> list[str]:
    entities = list(twin.entities())
    kinds = sorted({entity["kind"] for entity in entities})
    ids = [entity["id"] for entity in entities if not selection.kinds or entity["kind"] in selection.kinds]
    names = sorted({name for entity in entities for name in _names(entity)})
    return [
        f"None of the {len(entities)} entities in world {twin.world} matches.",
        *(
            f"There is no kind {kind}: there are {', '.join(kinds)}."
            for kind in selection.kinds
            if kind not in kinds
        ),
        *(f"There is no id {id}.{_did_you_mean(id, ids)}" for id in selection.ids if id not in ids),
        *(
            f"No entity has {term.name}.{_did_you_mean(term.name, names)}"
            for term in selection.where.terms
            if not any(find(entity, term.name) is not None for entity in entities)
        ),
    ]


def _did_you_mean(wrong: str, names: list[str]) -> str:
    near = near_names(wrong, names)
    return f" Did you mean {', '.join(near)}?" if near else ""


def _names(entity: dict[str, Any]) -> Iterator[str]:
    yield from (name for name, value in entity.items() if not isinstance(value, dict))
    for part in ("metrics", "attributes", "features"):
        yield from entity[part]
