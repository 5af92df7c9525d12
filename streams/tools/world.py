"""`twin world`: lists worlds, hashes their closed ticks, drops them."""

import asyncio
import json
import time
from itertools import groupby
from typing import Any

import click
from rich.table import Table

from streams.domain.worldhash import world_hash
from streams.errors import TwinError
from streams.events.models import EVENT
from streams.events.sender import EventSender
from streams.settings import Settings
from streams.tools.figures import format_age
from streams.tools.output import new_console
from streams.tools.worldscan import WorldCount, WorldScan, read_rows, unknown_world
from streams.topics import check_topics

DROP_S = 15.0
"""[s] In which a worker that runs has dropped a world of 20,000 entities."""

LOOK_AGAIN_S = 0.2
"""[s] Between looks at a world that is being dropped."""


@click.group()
def world() -> None:
    """List worlds, hash their closed ticks, drop them."""


@world.command("list")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_obj
def list_worlds(settings: Settings, as_json: bool) -> None:
    """List the worlds with their owners, clocks, entities and what is left of their time."""
    worlds = asyncio.run(_read(settings))
    if as_json:
        click.echo(json.dumps([_document(name, count) for name, count in worlds.items()], indent=2))
    elif worlds:
        new_console().print(_table(worlds))
    else:
        click.echo("There are no worlds, and nothing in live: is TWIN_TOPIC_PREFIX right?", err=True)


@world.command("hash")
@click.argument("name")
@click.option("--ticks", is_flag=True, help="One line for each tick: its time [ms] and its own hash.")
@click.pass_obj
def hash_world(settings: Settings, name: str, ticks: bool) -> None:
    """Print a SHA-256 over all closed ticks of world NAME that Kafka still has (7 days).

    The same events give the same hash, however many workers there were and however often they were killed.
    """
    rows = asyncio.run(_rows(settings, name))
    if ticks:
        for tick_ms, of_tick in groupby(sorted(rows, key=lambda row: row[:3]), key=lambda row: row.tick_ms):
            click.echo(f"{tick_ms} {world_hash(of_tick)}")
        return
    entities, times = len({row[1:3] for row in rows}), len({row.tick_ms for row in rows})
    click.echo(f"world {name}: {len(rows)} closed ticks: {entities} entities, {times} times", err=True)
    click.echo(world_hash(rows))


@world.command("drop")
@click.argument("name")
@click.pass_obj
def drop_world(settings: Settings, name: str) -> None:
    """End world NAME: nothing of it remains but its closed ticks in the log."""
    if name == "live":
        raise TwinError("live is the real system: it cannot be dropped")
    before = asyncio.run(_drop(settings, name))
    click.echo(f"dropped {name}: {before.entities} entities, {len(before.faults)} faults")


async def _read(settings: Settings) -> dict[str, WorldCount]:
    await check_topics(settings)
    async with WorldScan(settings) as scan:
        return await scan.read()


async def _rows(settings: Settings, name: str) -> list[Any]:
    await check_topics(settings)
    return list(await read_rows(settings, name))


async def _drop(settings: Settings, name: str) -> WorldCount:
    await check_topics(settings)
    async with WorldScan(settings) as scan, EventSender(settings) as sender:
        worlds = await scan.read()
        if name not in worlds:
            raise TwinError(unknown_world(name, [world for world in worlds if world != "live"]))
        await sender.send([EVENT.validate_python({"type": "world.drop", "world": name})])
        deadline = time.monotonic() + DROP_S
        while name in await scan.read():
            if time.monotonic() > deadline:
                raise TwinError(
                    f"world.drop of {name} is in Kafka, but the world was still there after {DROP_S:.0f} s:"
                    " does `twin worker` run? `twin tap deadletter --from-start` shows what was refused"
                )
            await asyncio.sleep(LOOK_AGAIN_S)
        return worlds[name]


def _document(name: str, count: WorldCount) -> dict[str, Any]:
    attributes: dict[str, Any] = dict(count.record["attributes"]) if count.record else {}
    for number in ("created_ms", "max_entities", "step_ms", "clock_ms"):
        if attributes.get(number):
            attributes[number] = int(attributes[number])
    if attributes.get("ttl_s"):
        attributes["ttl_s"] = float(attributes["ttl_s"])
    return {"world": name, **attributes, "entities": count.entities, "faults": sorted(count.faults)}


def _table(worlds: dict[str, WorldCount]) -> Table:
    table = Table("world", "owner", "base", "entities", "faults", "clock", "ends in", "reason", box=None)
    now_ms = time.time() * 1000
    for name, count in worlds.items():
        made, ttl_s = count.attribute("created_ms"), count.attribute("ttl_s")
        ends = format_age(int(made) + 1000 * float(ttl_s) - now_ms) if made and ttl_s else ""
        table.add_row(
            name,
            count.attribute("owner"),
            count.attribute("base"),
            str(count.entities),
            str(len(count.faults)),
            count.attribute("clock_ms"),
            ends,
            count.attribute("reason"),
        )
    return table
