"""`twin events`: checks files of events and sends them."""

import asyncio
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import islice
from typing import IO

import click

from streams.collect.config import rulebook_of
from streams.domain.catalogue import Catalogue
from streams.errors import InvalidMessageError, TwinError
from streams.events import InvalidEventError, check_resolved, parse_event
from streams.events.models import AnyEvent
from streams.events.sender import EventSender, encode_event, stamped
from streams.settings import Settings
from streams.tools.eventfile import open_events, read_documents
from streams.tools.scan import TopicScan
from streams.topics import check_topics, topics_of

BATCH = 100
"""[1] Events whose answers are waited for together: 25 MiB of the largest."""

LOOK_AGAIN_S = 0.1
"""[s] Between looks at what the workers have acknowledged."""

file_argument = click.argument(
    "name", metavar="FILE|-", type=click.Path(exists=True, dir_okay=False, allow_dash=True)
)


@dataclass
class Linted:
    """What is in a file of events, and how much of it is wrong."""

    faults: int = 0
    types: Counter[str] = field(default_factory=Counter)
    worlds: Counter[str] = field(default_factory=Counter)
    unnamed: int = 0
    unresolved: int = 0
    ids: dict[tuple[str, str], str] = field(default_factory=dict)


@click.group()
def events() -> None:
    """Check files of events and send them.

    FILE holds events as POST /twin/v1/events takes them: one JSON object or an array of them, one object a
    line (JSON Lines, of any length), or the same as YAML; - is stdin.
    """


@events.command("lint")
@file_argument
@click.pass_obj
def lint_events(settings: Settings, name: str) -> None:
    """Say what is wrong with the events of FILE; exit code 1 if anything is."""
    with open_events(name) as file:
        found = lint(name, file, _catalogue(settings), for_kafka=False)
    if found.faults:
        raise SystemExit(1)
    counts = ", ".join(f"{count} {type}" for type, count in sorted(found.types.items()))
    click.echo(f"{name}: ok: {sum(found.types.values())} events: {counts}")
    if found.unresolved:
        click.echo(
            f"{found.unresolved} of them need what only a replica knows: POST them to /twin/v1/events;"
            " `twin events send` does not take them"
        )


@events.command("send")
@file_argument
@click.option("--wait", "wait_s", type=float, help="[s] Wait so long until the twin has taken all of them.")
@click.pass_obj
def send_events(settings: Settings, name: str, wait_s: float | None) -> None:
    """Send the events of FILE in their order; none is sent when one is wrong.

    An event with an id changes nothing when it is sent again; those without an id get a new one each time.
    What its world cannot do becomes a dead letter: `twin tap deadletter --from-start`.
    """
    catalogue = _catalogue(settings)
    with open_events(name) as file:
        found = lint(name, file, catalogue, for_kafka=True)
        if found.faults:
            raise TwinError(f"{name}: {found.faults} faults: nothing was sent")
        asyncio.run(_send(settings, name, file, catalogue, wait_s))
    worlds = ", ".join(f"{world} ({count})" for world, count in sorted(found.worlds.items()))
    click.echo(f"sent {sum(found.worlds.values())} events to {worlds}")
    if found.unnamed:
        click.echo(f"{found.unnamed} of them had no id: sending the file again does them again")


def lint(name: str, file: IO[bytes], catalogue: Catalogue, *, for_kafka: bool) -> Linted:
    """Print each fault of a file on stderr as `FILE:line-or-index: field: what`.

    Args:
        for_kafka: what only `twin web` can resolve is a fault.
    """
    found = Linted()
    for document in read_documents(name, file):
        faults = [("", document.fault)] if document.fault else []
        if not faults:
            try:
                event = parse_event(document.content, catalogue)
                faults = _faults_of(event, f"{name}:{document.place}", found, for_kafka=for_kafka)
            except InvalidEventError as error:
                faults = error.faults
        for place, text in faults:
            click.echo(f"{name}:{document.place}: {f'{place}: ' if place else ''}{text}", err=True)
        found.faults += len(faults)
    return found


def _faults_of(event: AnyEvent, place: str, found: Linted, *, for_kafka: bool) -> list[tuple[str, str]]:
    """What is wrong with an event beside its shape; what is right is counted."""
    found.types[event.type] += 1
    found.worlds[event.world] += 1
    found.unnamed += not event.id
    faults = []
    if event.id:
        earlier = found.ids.setdefault((event.world, event.id), place)
        if earlier != place:
            faults.append(("id", f"{event.id!r} is that of {earlier} too: a repeated id changes nothing"))
    try:
        check_resolved(event)
    except InvalidEventError as error:
        is_for_web = error.reason == "unresolved" and not for_kafka
        found.unresolved += is_for_web
        faults += [] if is_for_web else error.faults
    try:
        encode_event(stamped(event))
    except InvalidMessageError as error:
        faults.append(("", str(error)))
    return faults


async def _send(
    settings: Settings, name: str, file: IO[bytes], catalogue: Catalogue, wait_s: float | None
) -> None:
    await check_topics(settings)
    sent = 0
    ends: dict[int, int] = {}
    async with EventSender(settings) as sender:
        parsed = _parsed(name, file, catalogue)
        try:
            while batch := list(islice(parsed, BATCH)):
                for place in await sender.send(batch):
                    sent += 1
                    ends[place.partition] = place.offset + 1
        except TwinError as error:
            raise TwinError(f"the first {sent} events are in Kafka, later ones perhaps: {error}") from error
    if wait_s is not None:
        await _wait(settings, ends, wait_s)


async def _wait(settings: Settings, ends: dict[int, int], wait_s: float) -> None:
    """Wait until workers have acknowledged the events, and then what they sent on because of them."""
    topics, group = topics_of(settings), f"{settings.topic_prefix}-worker"
    async with (
        TopicScan(settings, topics["event"], group) as sent,
        TopicScan(settings, topics["observation"], group) as harmonised,
    ):
        try:
            async with asyncio.timeout(wait_s):
                await _acknowledged(sent, ends)
                await _acknowledged(harmonised, await harmonised.ends())
        except TimeoutError:
            raise TwinError(
                f"all are in Kafka, but were not taken within {wait_s:g} s: does `twin worker` run?"
            ) from None


async def _acknowledged(scan: TopicScan, ends: dict[int, int]) -> None:
    while True:
        committed = await scan.committed()
        if all(committed[number] >= end for number, end in ends.items()):
            return
        await asyncio.sleep(LOOK_AGAIN_S)


def _parsed(name: str, file: IO[bytes], catalogue: Catalogue) -> Iterator[AnyEvent]:
    for document in read_documents(name, file):
        yield parse_event(document.content, catalogue)


def _catalogue(settings: Settings) -> Catalogue:
    return rulebook_of(settings).catalogue
