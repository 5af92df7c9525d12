"""`twin document`: the twin in the formats of others, out and in."""

import asyncio
import sys
import time
from pathlib import Path
from typing import IO, get_args

import click

from streams.collect.config import rulebook_of
from streams.domain.aggregate import SOURCE
from streams.domain.appendix_a import document_of as appendix_a_of
from streams.domain.decice import Item, document_of, lay_out, part_of
from streams.domain.decice_fields import Fields
from streams.encoding import encode_json
from streams.errors import InvalidMessageError, TwinError
from streams.events.models import Import, Imported
from streams.events.sender import EventSender
from streams.settings import Settings
from streams.tools.opened import opened_twin
from streams.web.posting import SOURCE_PATTERN
from streams.web.reading import DEFAULT_SOURCES, Format, Source, read_import

OWN_STAMP = ("world", "entities", "tick_ms", "complete_share", "oldest_observed_ms")
"""Fields of a snapshot's stamp that a document shows."""

form_option = click.option(
    "--format", "form", type=click.Choice(get_args(Format)), required=True, help="Format of the document."
)


@click.group()
def document() -> None:
    """Write the twin as a document of another system, or read one into it."""


@document.command("export")
@form_option
@click.option("--world", default="live", show_default=True, help="The world to write.")
@click.option(
    "--output", type=click.Path(dir_okay=False, path_type=Path), help="File to write; else standard output."
)
@click.pass_obj
def export_document(settings: Settings, form: Format, world: str, output: Path | None) -> None:
    """Write the twin as it is now, read from Kafka."""
    body = encode_json(asyncio.run(_export(settings, form, world)), indent=2) + b"\n"
    if output is None:
        sys.stdout.buffer.write(body)
        return
    try:
        output.write_bytes(body)
    except OSError as error:
        raise TwinError(f"{output}: cannot be written: {error.strerror}") from error


@document.command("import")
@click.argument("file", type=click.File("rb"))
@form_option
@click.option("--source", help="Whose document it is; else decice or appendix-a.")
@click.option("--simulated", is_flag=True, help="What it says is no measurement.")
@click.option(
    "--mem-unit",
    type=click.Choice(["MiB", "GB"]),
    default="MiB",
    show_default=True,
    help="Unit of mem_total in decice-v2: the PromQL wrapper writes MiB, DECICE's emulator GB.",
)
@click.pass_obj
def import_document(
    settings: Settings,
    file: IO[bytes],
    form: Format,
    source: str | None,
    simulated: bool,
    mem_unit: str,
) -> None:
    """Send a document's values as import events of its time; - is standard input."""
    name = source or DEFAULT_SOURCES[form]
    if not SOURCE_PATTERN.fullmatch(name) or name == SOURCE:
        reason = f"{name!r} must match {SOURCE_PATTERN.pattern}, and be another name than {SOURCE!r}"
        raise click.BadParameter(reason, param_hint="--source")
    now_ms = int(time.time() * 1000)
    try:
        _, _, bodies = read_import(file.read(), form, Source(name, simulated, mem_unit), now_ms)
    except InvalidMessageError as error:
        raise TwinError(str(error)) from error
    samples = asyncio.run(_import(settings, name, bodies))
    click.echo(f"sent {samples} samples of source {name} in {len(bodies)} events")


async def _export(settings: Settings, form: Format, world: str) -> Item:
    catalogue = rulebook_of(settings).catalogue
    async with opened_twin(settings, world) as twin:
        if not len(twin) and world != "live":
            raise TwinError(f"there are no entities in world {world}: is its name right?")
        if form == "appendix-a":
            return appendix_a_of(twin.entities(), Fields(catalogue, "MiB"))
        fields = Fields(catalogue, settings.decice_mem_unit)
        parts = [part for view in twin.entities() if (part := part_of(view, fields)) is not None]
        stamp = {name: value for name, value in twin.stamp().items() if name in OWN_STAMP}
        return document_of(lay_out(parts), stamp)


async def _import(settings: Settings, source: str, bodies: list[bytes]) -> int:
    samples = 0
    async with EventSender(settings) as sender:
        for body in bodies:
            part = Import.model_validate_json(body)
            samples += len(part.series)
            await sender.send(
                [Imported(id="", world="live", at_ms=0, sender=source, type="import", body=part)]
            )
    return samples
