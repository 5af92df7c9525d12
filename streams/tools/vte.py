"""`twin vte`: scenarios into worlds, and worlds into scenarios."""

import asyncio
import json
import re
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import click

from streams.collect.config import rulebook_of
from streams.domain.catalogue import Catalogue
from streams.domain.commands import follows_clock
from streams.encoding import encode_json
from streams.errors import TwinError
from streams.events import parse_event
from streams.events.models import WORLD_PATTERN
from streams.events.sender import EventSender
from streams.replica import TwinReplica
from streams.replica.view import WorldView
from streams.settings import Settings
from streams.tools.opened import opened_twin
from streams.tools.past import past_of
from streams.tools.times import ScenarioDurationType, SpeedType
from streams.tools.vteprogress import Progress
from streams.vte.export import export_scenario
from streams.vte.formats import FORMATS, Read, read
from streams.vte.scenario import scenario_schema
from streams.vte.simulation import Simulation

BATCH_EVENTS = 50
"""[1] Events whose answers are waited for together when there is no time to keep."""


def _world_name(_ctx: click.Context, _param: click.Parameter, value: str) -> str:
    if follows_clock(value):
        raise click.BadParameter(f"{value}: a scenario needs an isolated world, such as w1")
    if not re.fullmatch(WORLD_PATTERN, value):
        raise click.BadParameter(f"{value!r}: lower-case letters, digits, . _ -; at most 63, such as w1")
    return value


scenario_argument = click.argument(
    "scenario", type=click.Path(exists=True, dir_okay=False, path_type=Path), metavar="SCENARIO"
)
world_option = click.option(
    "--world", required=True, callback=_world_name, help="Name of the isolated world, such as w1."
)
format_option = click.option(
    "--format", "form", type=click.Choice(list(FORMATS)), help="Format of SCENARIO; else its schema says it."
)
step_option = click.option(
    "--step", type=ScenarioDurationType(), help="Length of a step, such as 5s; else the scenario's."
)
ttl_option = click.option(
    "--ttl", type=ScenarioDurationType(), default="1h", show_default=True, help="Life of the world."
)
out_option = click.option(
    "--out",
    type=click.Path(dir_okay=False, allow_dash=True),
    help="Write the events as JSON Lines (for `twin events send`) instead of sending them; - is stdout.",
)


@click.group()
def vte() -> None:
    """Scenarios for training: into worlds, step by step, and out of them.

    SCENARIO is our own YAML (docs/scenarios.md), the DECICE emulator's YAML, a scenario of the DECICE
    training environment, a simulation of the mock exporter, Appendix A of D2.2, or a snapshot of the twin.
    """


@vte.command("load")
@scenario_argument
@world_option
@format_option
@step_option
@ttl_option
@out_option
@click.pass_obj
def load_scenario(
    settings: Settings,
    scenario: Path,
    world: str,
    form: str | None,
    step: int | None,
    ttl: int,
    out: str | None,
) -> None:
    """Create a world and set everything that SCENARIO has, once; `twin vte run` goes on from there."""
    catalogue = _catalogue(settings)
    found = _read(scenario, form)
    simulation = Simulation(found.scenario, 0, step, world=world, ttl_s=ttl / 1_000, catalogue=catalogue)
    setup = simulation.setup()
    if out:
        with _writer(out) as write:
            write(setup)
    else:
        asyncio.run(_send(settings, setup, catalogue))
    click.echo(f"{'wrote' if out else 'loaded'} {_counts(found)} for world {world}", err=out == "-")


@vte.command("run")
@scenario_argument
@world_option
@click.option("--steps", type=click.IntRange(1), required=True, help="How many steps.")
@step_option
@click.option("--seed", type=int, default=0, show_default=True, help="The same seed gives the same events.")
@click.option(
    "--speed", type=SpeedType(), default="max", show_default=True, help="Of the world's time: 10x, or max."
)
@format_option
@ttl_option
@out_option
@click.pass_obj
def run_scenario(
    settings: Settings,
    scenario: Path,
    world: str,
    steps: int,
    step: int | None,
    seed: int,
    speed: float,
    form: str | None,
    ttl: int,
    out: str | None,
) -> None:
    """Simulate SCENARIO in a world; jobs are placed on the first node that they fit on.

    The same command with more --steps goes on where it ended: events that came before change nothing.
    """
    catalogue = _catalogue(settings)
    found = _read(scenario, form)
    simulation = Simulation(found.scenario, seed, step, world=world, ttl_s=ttl / 1_000, catalogue=catalogue)
    progress = Progress(simulation, steps)
    try:
        if out:
            with _writer(out) as write:
                for documents in _documents(simulation, steps):
                    write(documents)
                    progress.count(documents)
        else:
            asyncio.run(_run(settings, simulation, steps, speed, catalogue, progress))
    except KeyboardInterrupt:
        progress.end()
        click.echo(f"stopped: {progress.told()}; the same command goes on where this one ended", err=True)
        sys.exit(130)
    progress.end()
    click.echo(f"{_counts(found)}: {progress.told()}", err=out == "-")


@vte.command("export")
@click.option("--world", required=True, help="The world to export: live, w1, live~w1.")
@click.option("--at", metavar="MOMENT", help="As of then, from history: 2026-11-24T03:12:00Z, or -2m.")
@click.option(
    "--output", type=click.Path(dir_okay=False, path_type=Path), help="File to write; else standard output."
)
@click.pass_obj
def export_world(settings: Settings, world: str, at: str | None, output: Path | None) -> None:
    """Write a world as a scenario of the DECICE training environment, with tasks and links."""
    body = asyncio.run(_export(settings, world, at))
    if output is None:
        click.echo(body)
        return
    try:
        output.write_text(body + "\n", encoding="utf-8")
    except OSError as error:
        raise TwinError(f"{output}: cannot be written: {error.strerror}") from error


@vte.command("schema")
def print_schema() -> None:
    """Print the JSON Schema of our own scenario files."""
    click.echo(json.dumps(scenario_schema(), indent=2))


async def _send(settings: Settings, documents: list[dict[str, Any]], catalogue: Catalogue) -> None:
    async with EventSender(settings) as sender:
        await sender.send([parse_event(document, catalogue) for document in documents])


async def _run(
    settings: Settings,
    simulation: Simulation,
    steps: int,
    speed: float,
    catalogue: Catalogue,
    progress: Progress,
) -> None:
    async with EventSender(settings) as sender:
        begun_s = time.monotonic()
        waiting: list[Any] = []
        for number, documents in enumerate(_documents(simulation, steps)):
            if speed:
                due_s = begun_s + number * simulation.step_ms / 1_000 / speed
                await asyncio.sleep(max(0.0, due_s - time.monotonic()))
            waiting += (parse_event(document, catalogue) for document in documents)
            if speed or len(waiting) >= BATCH_EVENTS or number == steps:
                await sender.send(waiting)
                waiting = []
            progress.count(documents)


def _documents(simulation: Simulation, steps: int) -> Iterator[list[dict[str, Any]]]:
    yield simulation.setup()
    for _ in range(steps):
        yield simulation.step()


async def _export(settings: Settings, world: str, at: str | None) -> str:
    if at is not None:
        past = await past_of(settings, world, at)
        return _exported(settings, world, past, past.at_ms)
    async with opened_twin(settings, world) as twin:
        return _exported(settings, world, twin, _clock_ms(twin))


def _exported(settings: Settings, world: str, twin: WorldView, at_ms: int) -> str:
    if not len(twin):
        raise TwinError(f"there are no entities in world {world}; `twin world list` shows the worlds")
    exported = export_scenario(twin.entities(), at_ms, _catalogue(settings))
    if exported.left_out:
        click.echo(f"left out as they are down: {', '.join(exported.left_out)}", err=True)
    return encode_json(exported.document, indent=2).decode()


def _clock_ms(twin: TwinReplica) -> int:
    """[ms since the epoch] The clock of an isolated world; of others the newest that an entity was told."""
    record = twin.get(("world", twin.world))
    if record is not None and "clock_ms" in record["attributes"]:
        return int(record["attributes"]["clock_ms"])
    return twin.stamp()["clock_ms"] or 0


def _read(scenario: Path, form: str | None) -> Read:
    found = read(scenario, form or "")
    if found.others:
        others = ", ".join(found.others)
        click.echo(f"{scenario}: read as {found.format}; also fits {others}: --format says it", err=True)
    return found


def _counts(found: Read) -> str:
    counts = ", ".join(f"{count} {name}" for name, count in found.scenario.counts().items())
    return f"{counts} (read as {found.format}: {FORMATS[found.format]})"


@contextmanager
def _writer(out: str) -> Iterator[Callable[[list[dict[str, Any]]], None]]:
    file: IO[str]
    try:
        with click.open_file(out, "w", encoding="utf-8") as file:
            yield lambda documents: file.writelines(
                json.dumps(document, separators=(",", ":"), ensure_ascii=False) + "\n"
                for document in documents
            )
    except OSError as error:
        raise TwinError(f"{out}: cannot be written: {error.strerror}") from error


def _catalogue(settings: Settings) -> Catalogue:
    return rulebook_of(settings).catalogue
