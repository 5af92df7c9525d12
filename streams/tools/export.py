"""`twin export`: closed ticks of history as a Parquet or CSV file."""

import asyncio
import time
from dataclasses import replace
from pathlib import Path

import click

from streams import stores
from streams.collect.config import rulebook_of
from streams.errors import TooMuchError
from streams.settings import Settings
from streams.stores import Selection, Store
from streams.stores.columnfile import FORMATS, ColumnFile
from streams.tools.opened import opened_store
from streams.tools.times import MomentType

LONGEST_PART_MS = 3_600_000
"""[ms] Read at a time; one with too many values is halved, one without any may be longer."""


@click.command()
@click.option("--from", "start_ms", type=MomentType(), required=True, help="First tick: ISO 8601 or -30m.")
@click.option("--to", "end_ms", type=MomentType(), default="now", show_default=True, help="Not included.")
@click.option("--world", default="live", show_default=True, help="World whose ticks are meant.")
@click.option("--kind", "kinds", multiple=True, help="Only this kind; may be repeated.")
@click.option("--id", "ids", multiple=True, help="Only this entity; may be repeated.")
@click.option("--metric", "metrics", multiple=True, help="Only this metric; may be repeated.")
@click.option("--format", "format", type=click.Choice(FORMATS), help="Default: what FILE ends in.")
@click.option(
    "--output",
    type=click.Path(dir_okay=False, path_type=Path),
    required=True,
    metavar="FILE",
    help="Replaced when all was read.",
)
@click.pass_obj
def export(
    settings: Settings,
    start_ms: int,
    end_ms: int,
    world: str,
    kinds: tuple[str, ...],
    ids: tuple[str, ...],
    metrics: tuple[str, ...],
    format: str | None,
    output: Path,
) -> None:
    """Write closed ticks of history to a Parquet or CSV file, a row for each value, in order of time.

    Columns: world, kind, id, nodepool, simulated, time (UTC), metric, unit, value. History is read in parts
    of an hour or less; nodepool and simulated are those at the end of each.
    """
    format = format or output.suffix.removeprefix(".").lower()
    if format not in FORMATS:
        raise click.UsageError(f"--format is missing, and {output.name} does not end in .parquet or .csv")
    if end_ms <= start_ms:
        raise click.UsageError("--to must be after --from")
    if not output.absolute().parent.is_dir():
        raise click.UsageError(f"--output: there is no folder {output.parent}")
    selection = Selection(start_ms, end_ms, world, kinds, ids, metrics)
    began_s = time.monotonic()
    count = asyncio.run(_export(settings, selection, format, output))
    click.echo(f"{output}: {count:,} values in {time.monotonic() - began_s:.1f} s")
    if not count:
        click.echo("history has none of them: look at --from, --to and --world", err=True)


async def _export(settings: Settings, selection: Selection, format: str, output: Path) -> int:
    catalogue = rulebook_of(settings).catalogue
    units = catalogue.units()
    async with opened_store(settings) as store:
        with ColumnFile(output, format, units) as file:
            return await export_parts(store, selection, file)


async def export_parts(store: Store, selection: Selection, file: ColumnFile) -> int:
    """[1] Values that were read, part by part, and added to the file.

    Raises:
        TooMuchError: a single millisecond has too many values.
        StoreError: the store is away, or refuses.
    """
    count, part_ms, start_ms = 0, LONGEST_PART_MS, selection.start_ms
    while start_ms < selection.end_ms:
        part = replace(selection, start_ms=start_ms, end_ms=min(start_ms + part_ms, selection.end_ms))
        length_ms = part.end_ms - part.start_ms
        try:
            series = await store.read(part)
        except TooMuchError:
            if length_ms == 1:
                raise
            part_ms = length_ms // 2
            continue
        values = sum(len(one.values) for one in series)
        if values and length_ms > LONGEST_PART_MS:
            part_ms = length_ms // 2
            continue
        # Off the loop: a client of the store keeps its connections alive on it.
        await asyncio.to_thread(file.add, selection.world, series)
        count, start_ms = count + values, part.end_ms
        if not values:
            part_ms *= 2
        elif values < stores.MAX_POINTS // 4:
            part_ms = min(2 * part_ms, LONGEST_PART_MS)
    return count
