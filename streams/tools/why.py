"""`twin why`: where a value comes from, with every step between the scrape and the screen."""

import asyncio
import time
from functools import partial
from typing import Any

import click

from streams.collect.config import rulebook_of
from streams.domain.near import near_names
from streams.errors import TwinError
from streams.history.why.answer import Known
from streams.history.why.document import document_of
from streams.history.why.explain import explain
from streams.history.why.log import Subject
from streams.history.why.then import read_past_tick
from streams.replica.whose import known_of, subject_of
from streams.rulebook import RuleBook
from streams.settings import Settings
from streams.stores import PastTick
from streams.tools.opened import check_world, opened_store, opened_twin
from streams.tools.output import echo_json
from streams.tools.past import read_moment
from streams.topics import topics_of


@click.command()
@click.argument("entity", metavar="KIND/ID")
@click.argument("metric")
@click.option("--at", metavar="MOMENT", help="As of then: 2026-11-24T03:12:00Z, or -2m.")
@click.option("--world", default="live", show_default=True, help="The world in which it is shown.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_obj
def why(settings: Settings, entity: str, metric: str, at: str | None, world: str, as_json: bool) -> None:
    """Say why KIND/ID shows this value of METRIC: `twin why node/ws01 cpu_usage_percent`.

    Of now it explains the newest value; with --at the value at the last closed tick before that. What the
    topics of Kafka no longer have it says so, and tells what the record or the history store still knows.
    """
    kind, slash, id = entity.partition("/")
    if not (kind and slash and id):
        raise click.BadParameter(f"{entity!r} is not KIND/ID, such as node/ws01", param_hint="KIND/ID")
    book = rulebook_of(settings)
    if metric not in book.catalogue:
        near = near_names(metric, book.catalogue)
        hint = f"did you mean {', '.join(near)}?" if near else "`twin rules show catalogue` lists all"
        raise TwinError(f"there is no metric {metric!r}: {hint}")
    at_ms = None if at is None else read_moment(world, at, int(time.time() * 1000))
    document = asyncio.run(_explain(settings, book, (world, kind, id, metric), at_ms))
    if as_json:
        echo_json(document)
    else:
        click.echo("\n".join(document["text"]))
    if document["found"] == "nothing":
        raise SystemExit(1)


async def _explain(
    settings: Settings, book: RuleBook, about: tuple[str, str, str, str], at_ms: int | None
) -> dict[str, Any]:
    world, kind, id, metric = about
    async with opened_twin(settings, world) as twin:
        await check_world(settings, twin)
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
            store, subject.world, subject.kind, subject.id, at_ms, settings.remove_after_ms
        )
