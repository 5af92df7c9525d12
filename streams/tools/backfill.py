"""`twin backfill`: a Prometheus server's past, through the same rules and alignment, into history."""

import asyncio
import gc
import json
import multiprocessing
import signal
import time
from collections.abc import AsyncIterator
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, field
from typing import Any

import click

from streams.collect.config import check_url, rulebook_of
from streams.collect.fetch import Fetcher
from streams.collect.pastfetch import PastFetcher, past_targets
from streams.collect.pastscrapes import Answers, PastScrapes
from streams.domain.backfill import WARM_UP_MS, overrun_ms
from streams.domain.times import moment_text
from streams.errors import SourceError, TwinError
from streams.settings import Settings
from streams.stores import Refusal, Store
from streams.stores.writer import Batch, Writer
from streams.tools.backfillchild import Advanced, Job, Steps, advance, begin
from streams.tools.backfillprogress import Progress, show_result
from streams.tools.opened import opened_store
from streams.tools.times import DurationType, MomentType

SWEPT = ("influxdb+", "duckdb:")
"""Stores of which the twin itself sets how long they keep ticks."""


@dataclass
class Result:
    """What a backfill did; counts include what was read before and after the range."""

    advanced: Advanced
    samples: int = 0
    dropped: dict[str, int] = field(default_factory=dict)
    refused_queries: dict[str, str] = field(default_factory=dict)
    refused_items: dict[str, int] = field(default_factory=dict)
    written_ms: int = 0
    """[ms since the epoch] Up to here all is in the store; 0: nothing yet."""
    seconds: float = 0.0

    def document(self) -> dict[str, Any]:
        """As JSON."""
        tally, seconds = self.advanced.tally, max(self.seconds, 1e-9)
        skipped = dict(self.dropped)
        for reason, count in tally.skipped.items():
            skipped[reason] = skipped.get(reason, 0) + count
        return {
            "samples_read": self.samples,
            "samples_mapped": tally.mapped,
            "samples_skipped": dict(sorted(skipped.items())),
            "ticks": tally.ticks,
            "values": tally.values,
            "changes": tally.changes,
            "refused_by_store": self.refused_items,
            "refused_queries": self.refused_queries,
            "written_to_ms": self.written_ms,
            "seconds": round(self.seconds, 3),
            "samples_per_s": round(self.samples / seconds),
        }


def _url(_context: click.Context, _parameter: click.Parameter, value: str) -> str:
    try:
        return check_url(value)
    except ValueError as error:
        raise click.BadParameter(str(error)) from None


@click.command()
@click.option("--prometheus", "url", required=True, callback=_url, help="Server, or what speaks its API.")
@click.option("--from", "from_ms", type=MomentType(), required=True, help="First tick: ISO 8601, or -6h.")
@click.option("--to", "to_ms", type=MomentType(), default="now", show_default=True, help="Last tick.")
@click.option(
    "--step",
    "step_ms",
    type=DurationType(),
    default=0,
    help="Between samples, such as 5s; else as the collector asks.",
)
@click.option("--packs", multiple=True, help="Rule packs; all that fit when none is named. May be repeated.")
@click.option("--json", "as_json", is_flag=True, help="Say what was done as JSON.")
@click.pass_obj
def backfill(
    settings: Settings,
    url: str,
    from_ms: int,
    to_ms: int,
    step_ms: int | None,
    packs: tuple[str, ...],
    as_json: bool,
) -> None:
    """Load a Prometheus server's past into the history store, as if the twin had run then.

    The same rules and alignment as live, world `live`. It can be stopped at any time and run again: what
    is written twice is there once.
    """
    now_ms = int(time.time() * 1000)
    _check_range(settings, from_ms, to_ms, now_ms)
    names = tuple(name for given in packs for name in given.split(",") if name)
    job = Job(settings, url, names, step_ms or 0, from_ms, to_ms)
    run = Run(job, now_ms)
    try:
        asyncio.run(run.run())
    except (KeyboardInterrupt, asyncio.CancelledError):
        click.echo(f"stopped; {_resume(run.result)}", err=True)
        raise SystemExit(130) from None
    except SourceError as error:
        raise TwinError(f"{error}; {_resume(run.result)}") from None
    if as_json:
        click.echo(json.dumps(run.result.document()))
    else:
        show_result(run.result.document())


def _check_range(settings: Settings, from_ms: int, to_ms: int, now_ms: int) -> None:
    if to_ms > now_ms:
        raise click.BadParameter("lies in the future; the past ends now", param_hint="--to")
    if from_ms >= to_ms:
        raise click.BadParameter("is not before --to", param_hint="--from")
    kept_ms = settings.history_retention_ms
    if (settings.history_url or "").startswith(SWEPT) and kept_ms and from_ms < now_ms - kept_ms:
        raise click.BadParameter(
            f"lies before what the store keeps, {settings.history_retention_d:g} days: raise"
            " TWIN_HISTORY_RETENTION_D for all roles (and run `twin sink` once), or begin later",
            param_hint="--from",
        )


def _resume(result: Result) -> str:
    if not result.written_ms:
        return "nothing was written"
    moment = moment_text(result.written_ms // 1000 * 1000)
    return f"all up to {moment} is in the store: run it again, or with --from {moment}"


class Run:
    """One backfill: fetches a range while the one before is computed and the one before that is written."""

    def __init__(self, job: Job, now_ms: int) -> None:
        self._job, self._now_ms = job, now_ms
        self.result = Result(Advanced(0))
        self._unsettled = 0
        self._settled = asyncio.Event()
        self._crash: BaseException | None = None
        self._progress = Progress(job.from_ms, job.to_ms)

    async def run(self) -> None:
        """Do it.

        Raises:
            SourceError: the server is away, or refuses.
            StoreError: the store cannot be prepared.
            TwinError: the process that computes died.
        """
        main = asyncio.current_task()
        assert main is not None  # noqa: S101  # for the type checker
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, main.cancel)
        job, settings = self._job, self._job.settings
        packs = rulebook_of(settings).packs
        targets = past_targets(settings, packs, job.url, job.packs, job.interval_ms)
        step_ms = min(
            (target.interval_ms for target in targets if target.interval_ms), default=settings.step_ms
        )
        fetcher = Fetcher()
        past = PastFetcher(targets, fetcher)
        first_ms = (job.from_ms - WARM_UP_MS) // step_ms * step_ms
        last_ms = min(job.to_ms + overrun_ms(settings.step_ms), self._now_ms)
        started_s = time.monotonic()
        pool = ProcessPoolExecutor(1, multiprocessing.get_context("spawn"), begin, (job,))
        try:
            async with opened_store(settings) as store:
                await store.prepare()
                scrapes = PastScrapes(targets)
                self.result.dropped = scrapes.dropped
                spans = past.spans(first_ms, last_ms, step_ms)
                await self._through(self._ranges(spans, scrapes), pool, store, main)
        except BrokenProcessPool:
            raise TwinError(f"the process that computes ended (memory?); {_resume(self.result)}") from None
        except asyncio.CancelledError:
            if self._crash is not None:
                raise self._crash from None
            raise
        finally:
            self._progress.close()
            await asyncio.to_thread(pool.shutdown, cancel_futures=True)
            await fetcher.close()
            self.result.refused_queries = past.refused
            self.result.seconds = time.monotonic() - started_s

    async def _ranges(
        self, spans: AsyncIterator[Answers], scrapes: PastScrapes
    ) -> AsyncIterator[tuple[int, Steps]]:
        # What an answer is made of has no cycles, and looking for them takes a sixth of the time.
        gc.freeze()
        gc.disable()
        try:
            async for answers in spans:
                steps = await asyncio.to_thread(lambda said: list(scrapes.scrapes(said)), answers)
                self.result.samples = scrapes.samples
                yield answers.span.end_ms, steps
                gc.collect()
        finally:
            gc.enable()
            gc.unfreeze()

    async def _through(
        self,
        ranges: AsyncIterator[tuple[int, Steps]],
        pool: ProcessPoolExecutor,
        store: Store,
        main: asyncio.Task[Any],
    ) -> None:
        async def crash(error: BaseException) -> None:
            self._crash = error
            main.cancel()

        writer: Writer[int] = Writer(store, settle=self._settle, crash=crash)
        loop = asyncio.get_running_loop()
        computing: asyncio.Future[Advanced] | None = None
        following: asyncio.Task[tuple[int, Steps] | None] | None = None
        away: SourceError | None = None
        try:
            steps = await _next(ranges)
            while steps is not None or computing is not None:
                following = asyncio.create_task(_next(ranges)) if steps is not None else None
                found = await computing if computing is not None else None
                computing = loop.run_in_executor(pool, advance, *steps) if steps is not None else None
                if found is not None:
                    await self._write(store, writer, found)
                try:
                    steps = await following if following is not None else None
                except SourceError as error:
                    steps, away = None, error  # what came before it is still written
            while self._unsettled:
                self._settled.clear()
                await self._settled.wait()
            if away is not None:
                raise away
        finally:
            if following is not None:
                following.cancel()
            await writer.close()

    async def _write(self, store: Store, writer: Writer[int], found: Advanced) -> None:
        if found.error:
            raise SourceError("error_body", found.error)
        self.result.advanced = found
        # The last message of a range says, once it is settled, up to when the store has all ticks.
        sure_ms = min(found.end_ms - overrun_ms(self._job.settings.step_ms), self._job.to_ms)
        for place, tick in enumerate(found.ticks, 1):
            self._unsettled += 1
            await writer.add(sure_ms if place == len(found.ticks) else 0, store.convert(tick))
            await asyncio.sleep(0)
        self._progress.show(found.end_ms, self.result.samples, writer.trouble)

    async def _settle(self, batch: Batch[int], refusals: list[Refusal] | None) -> None:
        for refusal in refusals or ():
            count = self.result.refused_items.get(refusal.reason, 0)
            self.result.refused_items[refusal.reason] = count + 1
        newest_ms = max(batch.messages)
        if newest_ms >= self._job.from_ms:
            self.result.written_ms = max(self.result.written_ms, newest_ms)
        self._unsettled -= len(batch.messages)
        self._settled.set()


async def _next(ranges: AsyncIterator[tuple[int, Steps]]) -> tuple[int, Steps] | None:
    return await anext(ranges, None)
