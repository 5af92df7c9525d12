"""The process of `twin backfill` in which scrapes become ticks, beside the one that fetches and writes."""

import gc
import multiprocessing
import signal
import threading
from dataclasses import dataclass, field
from multiprocessing.connection import wait
from os import _exit

from streams.collect.config import rulebook_of
from streams.domain.backfill import Backfill, Tally
from streams.domain.harmonize import Harmonizer
from streams.domain.twin import Partition
from streams.errors import TwinError
from streams.records import Scrape, Tick
from streams.settings import Settings

Steps = list[tuple[int, list[Scrape]]]
"""The steps of a range: time [ms since the epoch] and scrapes of each."""


@dataclass(frozen=True)
class Job:
    """What is backfilled.

    Args:
        packs: names; none: as the collector.
        interval_ms: [ms] of the targets; 0: their own.
        from_ms: [ms since the epoch] first tick that is written.
        to_ms: [ms since the epoch] last one.
    """

    settings: Settings
    url: str
    packs: tuple[str, ...]
    interval_ms: int
    from_ms: int
    to_ms: int


@dataclass(frozen=True)
class Advanced:
    """What a range gave; the counts are of all ranges so far.

    Args:
        error: why it gave nothing: errors of ours do not survive the way between processes.
    """

    end_ms: int
    ticks: list[Tick] = field(default_factory=list)
    tally: Tally = field(default_factory=Tally)
    error: str = ""


class Work:
    """The twin of one server's past."""

    def __init__(self, job: Job) -> None:
        settings = job.settings
        rulebook = rulebook_of(settings)
        partition = Partition(0, settings.step_ms, settings.remove_after_ms, rulebook.catalogue.ceilings())
        self._backfill = Backfill(
            Harmonizer(rulebook.packs, rulebook.catalogue, 1), partition, job.from_ms, job.to_ms
        )

    def advance(self, end_ms: int, steps: Steps) -> Advanced:
        """The ticks that the next range closes."""
        try:
            for time_ms, scrapes in steps:
                self._backfill.take(scrapes, time_ms)
        except TwinError as error:
            return Advanced(end_ms, error=str(error))
        return Advanced(end_ms, self._backfill.closed(), self._backfill.tally)


class _Child:
    work: Work


def begin(job: Job) -> None:
    """Load the rules, in a process that has just started."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the starter, who ends us
    threading.Thread(target=_end_with_starter, daemon=True).start()
    _Child.work = Work(job)
    # What a range is made of has no cycles, and looking for them takes a sixth of the time.
    gc.freeze()
    gc.disable()


def _end_with_starter() -> None:
    starter = multiprocessing.parent_process()
    assert starter is not None  # noqa: S101  # for the type checker
    wait([starter.sentinel])
    _exit(1)


def advance(end_ms: int, steps: Steps) -> Advanced:
    """The ticks that the next range closes, in this process."""
    found = _Child.work.advance(end_ms, steps)
    gc.collect()
    return found
