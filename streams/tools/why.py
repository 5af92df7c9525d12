"""`twin why`: where a value comes from, with every step between the scrape and the screen."""

import asyncio
import sys
from functools import partial
from typing import Any

import click

from streams.collect.config import load_config
from streams.domain.near import near_names
from streams.encoding import encode_json
from streams.errors import TwinError
from streams.history.why import explain
from streams.history.whyanswer import Known
from streams.history.whydocument import document_of
from streams.history.whylog import Subject
from streams.history.whythen import read_past_tick
from streams.replica import TwinReplica
from streams.replica.whose import known_of, subject_of
from streams.rulebook import RuleBook, load_rulebook
from streams.settings import Settings
from streams.stores import PastTick
from streams.tools.history_store import opened_store
from streams.tools.moments import MomentType
from streams.tools.worldscan import WorldScan, unknown_world
from streams.topics import topics_of

READY_S = 30.0
"""[s] For reading the topic from its beginning; 100,000 entities take two."""


@click.command()
@click.argument("entity", metavar="KIND/ID")
@click.argument("metric")
@click.option("--at", "at_ms", type=MomentType(), help="As of this moment: 2026-11-24T03:12:00Z, or -2m.")
@click.option("--world", default="live", show_default=True, help="The world in which it is shown.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_obj
def why(settings: Settings, entity: str, metric: str, at_ms: int | None, world: str, as_json: bool) -> None:
    """Say why KIND/ID shows this value of METRIC: `twin why node/ws01 cpu_usage_percent`.

    Of now it explains the newest value; with --at the value at the last closed tick before that. What the
    topics of Kafka no longer have it says so, and tells what the record or the history store still knows.
    """
    kind, slash, id = entity.partition("/")
    if not (kind and slash and id):
        raise click.BadParameter(f"{entity!r} is not KIND/ID, such as node/ws01", param_hint="KIND/ID")
    book = load_rulebook(load_config(settings.config).rule_packs)
    if metric not in book.catalogue:
        near = near_names(metric, book.catalogue)
        hint = f"did you mean {', '.join(near)}?" if near else "`twin rules show catalogue` lists all"
        raise TwinError(f"there is no metric {metric!r}: {hint}")
    document = asyncio.run(_explain(settings, book, (world, kind, id, metric), at_ms))
    if as_json:
        click.echo(encode_json(document, indent=2 if sys.stdout.isatty() else None))
    else:
        click.echo("\n".join(document["text"]))
    if document["found"] == "nothing":
        raise SystemExit(1)


async def _explain(
    settings: Settings, book: RuleBook, about: tuple[str, str, str, str], at_ms: int | None
) -> dict[str, Any]:
    world, kind, id, metric = about
    async with TwinReplica(settings, world) as twin:
        await twin.ready(READY_S)
        if world != "live" and ("world", world) not in twin:
            async with WorldScan(settings) as scan:
                raise TwinError(unknown_world(world, list(await scan.read())))
        subject = subject_of(twin, kind, id, metric, settings.partitions)
        past = partial(_past, settings, subject) if settings.history_url else None
        known: Known = known_of(twin, subject, settings.step_ms, past)
        near = near_names(id, twin.ids(kind))
    if known.state is None and at_ms is None:
        hint = f": did you mean {', '.join(near)}?" if near else ", now; --at asks for the past"
        raise TwinError(f"there is no {kind} {id!r} in world {world}{hint}")
    found = await explain(settings, book.catalogue, book.packs, subject, at_ms, known)
    return document_of(found, topics_of(settings))


async def _past(settings: Settings, subject: Subject, at_ms: int) -> PastTick | None:
    async with opened_store(settings) as store:
        return await read_past_tick(
            store, subject.world, subject.kind, subject.id, at_ms, round(settings.remove_after_s * 1000)
        )
