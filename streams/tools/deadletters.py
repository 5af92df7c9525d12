"""`twin deadletters`: list what stages could not take, look into it, and send it again."""

import asyncio
import sys
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any, TypeVar

import click
from rich.table import Table
from rich.text import Text

from streams.deadletters.box import LetterBox
from streams.deadletters.letter import Letter, UnknownLetterError, parse_place
from streams.deadletters.redrive import Step, plan, send_all
from streams.deadletters.shown import all_of, outcome_of, summary_of
from streams.deadletters.wanted import Wanted
from streams.errors import TwinError
from streams.settings import Settings
from streams.tools.figures import format_age, format_moment, format_value
from streams.tools.output import echo_json, new_console
from streams.tools.table import printable
from streams.tools.times import MomentType
from streams.topics import RECORDS, topics_of

LOOK_S = 30.0
"""[s] For reading letters."""

SEND_S = 60.0
"""[s] For sending letters again."""

KEPT_BYTES = 64 * 1024 * 1024
"""[B] Originals that are sent again at once; the command goes on until all are."""

F = TypeVar("F", bound=Callable[..., Any])


class PlaceType(click.ParamType):
    """partition:offset of a letter."""

    name = "partition:offset"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[int, int]:
        """The two numbers."""
        if isinstance(value, tuple):
            return value
        try:
            return parse_place(value)
        except ValueError as error:
            self.fail(str(error), param, ctx)


def filters(command: F) -> F:
    """The options that say which letters."""
    for option in (
        click.option("--text", default="", help="Contained in error, reason, key or bytes."),
        click.option("--until", "until_ms", type=MomentType(), help="Refused before then."),
        click.option("--since", "since_ms", type=MomentType(), help="Refused then or later, such as -2h."),
        click.option("--topic", default="", help=f"It came from: {', '.join(RECORDS)}, or a full name."),
        click.option("--reason", default="", help="Short name of the reason."),
        click.option("--stage", default="", help="Refused by: collect, harmonize, twin or sink."),
    ):
        command = option(command)
    return command


@click.group()
def deadletters() -> None:
    """List what stages could not take, look into it, and send it again (docs/operations.md)."""


@deadletters.command("list")
@filters
@click.option("--limit", type=click.IntRange(1, 10_000), default=50, show_default=True, help="Most letters.")
@click.option("--json", "as_json", is_flag=True, help="One JSON line for each letter.")
@click.pass_obj
def list_letters(settings: Settings, /, limit: int, as_json: bool, **wanted: Any) -> None:
    """Show dead letters, the newest first."""
    letters, is_all = asyncio.run(_page(settings, Wanted(**wanted), limit))
    topics = topics_of(settings)
    if as_json:
        for letter in letters:
            echo_json(summary_of(letter, topics))
        return
    if not letters:
        click.echo("no dead letters" + ("" if Wanted(**wanted).is_all() else " that match"))
        return
    table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False, header_style="bold")
    for name in ("letter", "age", "stage", "reason", "from", "bytes", "error"):
        table.add_column(
            name, no_wrap=name != "error", justify="right" if name in ("age", "bytes") else "left"
        )
    now_ms = int(time.time() * 1000)
    for letter in letters:
        again = f" ({letter.redriven} × again)" if letter.redriven else ""
        table.add_row(
            letter.place,
            format_age(now_ms - letter.at_ms),
            printable(letter.stage) or "?",
            printable(letter.reason) + again,
            f"{topics.record_of(printable(letter.topic))} {letter.origin_partition}:{letter.origin_offset}",
            format_value(letter.size, "B"),
            Text(printable(letter.error)),
        )
    console = new_console()
    console.print(table)
    if not is_all:
        console.print("there are older ones: --limit, --until or a filter show them", style="bright_black")


@deadletters.command()
@click.argument("place", type=PlaceType(), metavar="PARTITION:OFFSET")
@click.option("--json", "as_json", is_flag=True, help="All of it as one JSON document.")
@click.option("--bytes", "as_bytes", is_flag=True, help="Only the original bytes, as they are.")
@click.pass_obj
def show(settings: Settings, place: tuple[int, int], as_json: bool, as_bytes: bool) -> None:
    """Show one dead letter: where it came from, why it was refused, and what it says."""
    letter = asyncio.run(_letter(settings, place))
    if as_bytes:
        sys.stdout.buffer.write(letter.value)
        return
    document = all_of(letter, topics_of(settings))
    if as_json:
        echo_json(document)
        return
    for name, value in (
        ("letter", letter.place),
        ("refused", f"{format_moment(letter.at_ms)} UTC by {letter.stage or '?'}: {letter.reason}"),
        ("error", letter.error),
        ("from", f"{letter.topic}/{letter.origin_partition} at {letter.origin_offset}"),
        ("key", document["key"]),
        ("bytes", f"{letter.size}" + (" (cut)" if letter.is_cut else "")),
        ("again", f"{letter.redriven} times before; {document['refusal'] or 'it can be sent again'}"),
    ):
        click.echo(f"{name:8} {printable(str(value))}")
    click.echo(f"\n{document['value_hex']}")
    if document["decoded_as"]:
        click.echo(f"\nas {document['decoded_as']}:")
        echo_json(document["decoded"])
    if document["decode_error"]:
        click.echo(f"\nit does not decode: {document['decode_error']}")


@deadletters.command()
@click.argument("places", nargs=-1, type=PlaceType(), metavar="[PARTITION:OFFSET]...")
@filters
@click.option(
    "--cap", type=click.IntRange(1, 10_000), default=100, show_default=True, help="Most, by filter."
)
@click.option("--dry-run", is_flag=True, help="Only say what would be sent.")
@click.option("--json", "as_json", is_flag=True, help="One JSON line for each letter.")
@click.pass_obj
def redrive(
    settings: Settings,
    /,
    places: tuple[tuple[int, int], ...],
    cap: int,
    dry_run: bool,
    as_json: bool,
    **wanted: Any,
) -> None:
    """Send the originals of dead letters again, to the topic and partition that they came from.

    Name letters, or give a filter: then the newest that match, `--cap` at most. Exit code 1 when some that
    were named, or that Kafka should have taken, were not sent.
    """
    if bool(places) != Wanted(**wanted).is_all():
        raise click.UsageError("give either letters (partition:offset each), or a filter such as --reason")
    steps, is_all = asyncio.run(
        _redrive(settings, places, None if places else Wanted(**wanted), cap, dry_run=dry_run)
    )
    for step in steps:
        if as_json:
            echo_json(outcome_of(step))
        else:
            click.echo(f"{step.place}: {_outcome(step, dry_run=dry_run)}")
    sent = sum(step.refusal is None for step in steps)
    if not as_json:
        click.echo(f"{sent} {'would be ' if dry_run else ''}sent again, {len(steps) - sent} not")
        if not is_all:
            click.echo("there are older ones that may match: go on with --until, or with a larger --cap")
    if sent < len(steps) and (places or not sent):
        raise SystemExit(1)


def _outcome(step: Step, *, dry_run: bool) -> str:
    letter = step.letter
    if step.refusal is not None or letter is None:
        return f"not sent: {printable(step.refusal or '')}"
    there = f"{letter.topic}/{letter.origin_partition}"
    return f"would go to {there}" if dry_run else f"{there} at {step.sent}"


@asynccontextmanager
async def _box(settings: Settings) -> AsyncIterator[LetterBox]:
    try:
        async with asyncio.timeout(LOOK_S), LetterBox(settings) as box:
            yield box
    except TimeoutError as error:
        raise TwinError(
            f"Kafka did not give the dead letters within {LOOK_S:.0f} s: try `twin check`"
        ) from error


async def _page(settings: Settings, wanted: Wanted, limit: int) -> tuple[list[Letter], bool]:
    """Letters, and whether there are no more."""
    found: list[Letter] = []
    cursor: str | None = None
    async with _box(settings) as box:
        while True:
            page = await box.page(wanted, limit - len(found), cursor)
            found, cursor = found + page.letters, page.cursor
            if cursor is None or len(found) >= limit:
                return found, cursor is None


async def _letter(settings: Settings, place: tuple[int, int]) -> Letter:
    async with _box(settings) as box:
        return await box.letter(*place)


async def _redrive(
    settings: Settings,
    places: tuple[tuple[int, int], ...],
    wanted: Wanted | None,
    cap: int,
    *,
    dry_run: bool,
) -> tuple[list[Step], bool]:
    found: list[Letter | UnknownLetterError] = []
    cursor: str | None = None
    async with _box(settings) as box:
        if wanted is None:
            found = await box.letters(places)
        while wanted is not None:
            kept = sum(letter.size for letter in found if isinstance(letter, Letter))
            page = await box.page(wanted, cap - len(found), cursor, keep_bytes=max(1, KEPT_BYTES - kept))
            found, cursor = [*found, *page.letters], page.cursor
            if cursor is None or len(found) >= cap or kept >= KEPT_BYTES:
                break
    steps = plan(found, topics_of(settings))
    return steps if dry_run else await send_all(settings, steps, SEND_S), cursor is None
