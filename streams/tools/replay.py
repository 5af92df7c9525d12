"""`twin record` and `twin replay`: a part of live's log, kept in a file or played again."""

import asyncio
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path

import click

from streams.collect.config import rulebook_of
from streams.domain.playback import Playback
from streams.domain.settle import WAIT_MAX_MS
from streams.domain.times import moment_text
from streams.domain.worldhash import Row, world_hash
from streams.errors import TwinError
from streams.history.livelog import opened_log, read_closed
from streams.history.pastlog import past_messages
from streams.history.recording import About, opened_recording, written_recording
from streams.records import Observation
from streams.settings import Settings
from streams.tools.opened import opened_store
from streams.tools.replayworld import ReplayWorld
from streams.tools.times import MomentType, ScenarioDurationType, SpeedType
from streams.topics import check_topics

CLOSED_MS = WAIT_MAX_MS + 30_000
"""[ms] After which a tick is closed, and its message in Kafka."""

from_option = click.option("--from", "from_ms", type=MomentType(), help="First tick: ISO 8601 or -30m.")
to_option = click.option("--to", "to_ms", type=MomentType(), help="Last tick.")
warm_option = click.option(
    "--warm-up",
    "warm_ms",
    type=ScenarioDurationType(),
    help="Where to begin before --from; by default TWIN_REMOVE_AFTER_S, the longest that the twin remembers.",
)


@dataclass
class Part:
    """Messages of live's log, and what is needed to play them."""

    about: About
    messages: AsyncIterator[Observation]
    lost_ms: int | None = None
    begins_ms: int | None = None
    is_history: bool = False
    first_ms: int = 0
    last_ms: int = 0

    def reaches(self, ticks: int) -> bool:
        """Whether what made the ticks of the range is there; live closed so many, as far as Kafka knows.

        A log that begins within the range may be that of a twin that began then.
        """
        from_ms = self.about.from_ms
        return (self.lost_ms or 0) <= from_ms and (ticks > 0 or (self.begins_ms or 0) <= from_ms)


@click.command()
@click.argument("file", type=click.Path(dir_okay=False, path_type=Path))
@from_option
@to_option
@warm_option
@click.pass_obj
def record(
    settings: Settings, file: Path, from_ms: int | None, to_ms: int | None, warm_ms: int | None
) -> None:
    """Write what the twin was told from --from to --to into FILE, with the hash of the ticks that it closed.

    `twin replay --file FILE` plays it on any machine: a bug report is a file and a hash.
    """
    asyncio.run(_record(settings, file, _range(from_ms, to_ms), warm_ms))


@click.command()
@from_option
@to_option
@warm_option
@click.option(
    "--file", type=click.Path(exists=True, dir_okay=False, path_type=Path), help="Of `twin record`."
)
@click.option("--world", help="Play into this world, for all to watch; else in this process, for the hash.")
@click.option("--speed", type=SpeedType(), default="max", show_default=True, help="10x, 0.5x, or max.")
@click.option(
    "--ttl", type=ScenarioDurationType(), default="1h", show_default=True, help="Life of the world."
)
@click.pass_obj
def replay(
    settings: Settings,
    from_ms: int | None,
    to_ms: int | None,
    warm_ms: int | None,
    file: Path | None,
    world: str | None,
    speed: float,
    ttl: int,
) -> None:
    """Play what the twin was told from --from to --to again, and compare the hash of the ticks with live's.

    The log is in Kafka for a day. Where it no longer reaches, `--world` plays the ticks of history.
    """
    if file is not None and (from_ms is not None or to_ms is not None):
        raise click.UsageError("--file has its own range: leave out --from and --to")
    span = None if file is not None else _range(from_ms, to_ms)
    asyncio.run(_replay(settings, span, warm_ms, file, world, speed, ttl))


async def _record(settings: Settings, file: Path, span: tuple[int, int], warm_ms: int | None) -> None:
    await check_topics(settings)
    rows = await read_closed(settings, "live", *span)
    messages = 0
    async with _of_log(settings, span, warm_ms) as part:
        _tell_lost(part, rows)
        about = replace(part.about, ticks=len(rows), hash=world_hash(rows))
        with written_recording(file, about) as write:
            async for message in part.messages:
                write(message)
                messages += 1
    click.echo(f"{file}: {messages:,} messages; {len(rows):,} ticks of live", err=True)
    click.echo(about.hash)


async def _replay(
    settings: Settings,
    span: tuple[int, int] | None,
    warm_ms: int | None,
    file: Path | None,
    world: str | None,
    speed: float,
    ttl_ms: int,
) -> None:
    rows: Sequence[Row] | None = None
    if file is not None:
        source = _of_file(file)
    else:
        await check_topics(settings)
        assert span is not None  # noqa: S101  # for the type checker: one of the two is given
        rows = await read_closed(settings, "live", *span)
        source = _of_log(settings, span, warm_ms)
    async with AsyncExitStack() as stack:
        part = await stack.enter_async_context(source)
        if rows is not None and world is not None and not part.reaches(len(rows)):
            part = await stack.enter_async_context(_of_history(settings, part.about))
            rows = None
        _tell_lost(part, rows)
        begun_s = time.monotonic()
        if world is None:
            found = await _play_here(part, speed)
        else:
            found = await _play_into(settings, part, world, speed, ttl_ms)
        took_s = time.monotonic() - begun_s
        about = part.about
        live_hash = about.hash if rows is None else world_hash(rows)
        live_ticks = about.ticks if rows is None else len(rows)
    _tell_result(part, found, live_ticks, live_hash, took_s)


def _tell_result(part: Part, found: Sequence[Row], live_ticks: int, live_hash: str, took_s: float) -> None:
    about, range_s = part.about, (part.last_ms - part.first_ms) / 1000
    click.echo(
        f"{moment_text(about.from_ms)} to {moment_text(about.to_ms)}: {len(found):,} ticks; {range_s:,.0f} s"
        f" of log in {took_s:.1f} s, {range_s / max(took_s, 0.001):.1f} times as fast as it was",
        err=True,
    )
    own_hash = world_hash(found)
    if not found and not live_ticks:
        raise TwinError("there are no ticks in that range: does the twin run, and since when?")
    click.echo(own_hash)
    if part.is_history:
        click.echo("from history, so its hash is its own", err=True)
        return
    if own_hash == live_hash:
        click.echo("the same as live's", err=True)
        return
    raise TwinError(
        f"not the same as live's: {live_ticks:,} ticks, {live_hash}. Did the memory begin too late"
        " (--warm-up), or was the twin of another release, other rules or other settings?"
    )


async def _play_here(part: Part, speed: float) -> Sequence[Row]:
    about = part.about
    playback = Playback(about.from_ms, about.to_ms, about.step_ms, about.remove_after_ms, about.ceilings)
    async for message in _paced(part, speed):
        playback.play(message)
    return playback.rows


async def _play_into(settings: Settings, part: Part, world: str, speed: float, ttl_ms: int) -> Sequence[Row]:
    about, begun_ms = part.about, int(time.time() * 1000)
    async with ReplayWorld(
        settings,
        world,
        partitions=about.partitions,
        step_ms=about.step_ms,
        begin_ms=about.begin_ms,
        ttl_ms=ttl_ms,
    ) as target:
        async for message in _paced(part, speed):
            await target.play(message)
        await target.finish()
    return await read_closed(settings, world, about.from_ms, about.to_ms, sent_ms=begun_ms)


async def _paced(part: Part, speed: float) -> AsyncIterator[Observation]:
    """The messages, those of the range no faster than at the speed; what fills the memory comes at once."""
    begun_s = None
    async for message in part.messages:
        part.first_ms = part.first_ms or message["at_ms"]
        part.last_ms = max(part.last_ms, message["at_ms"])
        ahead_ms = message["at_ms"] - part.about.from_ms
        if speed and ahead_ms > 0:
            begun_s = time.monotonic() if begun_s is None else begun_s
            await asyncio.sleep(max(0.0, begun_s + ahead_ms / 1000 / speed - time.monotonic()))
        yield message


@asynccontextmanager
async def _of_log(settings: Settings, span: tuple[int, int], warm_ms: int | None) -> AsyncIterator[Part]:
    from_ms, to_ms = span
    remove_after_ms = settings.remove_after_ms
    begin_ms = from_ms - (remove_after_ms if warm_ms is None else warm_ms)
    catalogue = rulebook_of(settings).catalogue
    async with opened_log(settings, begin_ms, to_ms) as log:
        about = About(
            from_ms,
            to_ms,
            begin_ms,
            settings.step_ms,
            remove_after_ms,
            log.partitions,
            catalogue.ceilings(),
            release=version("decice-twin-stream"),
        )
        yield Part(about, log.messages(), log.lost_ms, log.begins_ms)


@asynccontextmanager
async def _of_history(settings: Settings, about: About) -> AsyncIterator[Part]:
    click.echo("the log no longer reaches back to that range: plays the ticks of history", err=True)
    async with opened_store(settings) as store:
        messages = past_messages(store, about.from_ms, about.to_ms, about.step_ms)
        yield Part(replace(about, begin_ms=about.from_ms, partitions=1), messages, is_history=True)


@asynccontextmanager
async def _of_file(file: Path) -> AsyncIterator[Part]:
    with opened_recording(file) as (about, messages):
        yield Part(about, _each(messages))


async def _each(messages: Iterator[Observation]) -> AsyncIterator[Observation]:
    for message in messages:
        yield message


def _range(from_ms: int | None, to_ms: int | None) -> tuple[int, int]:
    closed_ms = int(time.time() * 1000) - CLOSED_MS
    if from_ms is None:
        raise click.UsageError("--from is missing: the first tick, as ISO 8601 or -30m")
    if to_ms is None:
        to_ms = closed_ms
    elif to_ms > closed_ms:
        raise TwinError(
            f"--to: ticks after {moment_text(closed_ms)} may not be closed yet: give that or an earlier time"
        )
    if from_ms > to_ms:
        raise TwinError(f"--from: {moment_text(from_ms)} is after the end, {moment_text(to_ms)}")
    return from_ms, to_ms


def _tell_lost(part: Part, rows: Sequence[Row] | None) -> None:
    if rows is not None and not part.reaches(len(rows)):
        raise TwinError(
            "the log does not reach back to --from, so there is no hash to compare with: begin later, or give"
            " --world, which plays the ticks of history"
        )
    if part.lost_ms is not None:
        click.echo(
            f"Kafka has deleted what the twin was told before {moment_text(part.lost_ms)}: the memory is"
            " filled from there, so what the twin remembered for longer is missing, and the hash may differ",
            err=True,
        )
