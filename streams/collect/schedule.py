"""When each target is scraped: on its interval with a phase of its own, or on cue."""

import asyncio
import math
from collections.abc import Awaitable, Callable, Collection, Sequence
from contextlib import suppress

from prometheus_client import Counter

from streams.collect.shard import fraction
from streams.collect.target import Target

FIRST_PER_S = 100
"""[1/s] Targets that begin in each second after the start, so that many do not begin in one burst."""

SKIPPED = Counter(
    "twin_collect_skipped_scrapes_total", "Scrapes left out: the one before was not over", ["source"]
)


class Schedule:
    """One task for each target, so that a slow one delays none of the others."""

    def __init__(self, targets: Sequence[Target], scrape: Callable[[Target], Awaitable[None]]) -> None:
        self._targets = targets
        self._scrape = scrape
        self._cues = {target.key: asyncio.Event() for target in targets}
        self._spread_s = max(1.0, len(targets) / FIRST_PER_S)

    async def run(self, wall_s: float) -> None:
        """Scrape until cancelled; `wall_s` [s since the epoch] is now, phases are counted from the epoch."""
        loop_s = asyncio.get_running_loop().time()
        async with asyncio.TaskGroup() as tasks:
            for target in self._targets:
                tasks.create_task(self._follow(target, loop_s, wall_s))
            await asyncio.Event().wait()  # a shard may have no targets

    def cue(self, names: Collection[str] = ()) -> int:
        """Have targets scraped at once, by the names of sources or targets, none: all; return how many.

        A target that is being scraped at this moment is scraped once more, so that what is shipped is
        always younger than the cue.
        """
        wanted = [
            target for target in self._targets if not names or target.source in names or target.name in names
        ]
        for target in wanted:
            self._cues[target.key].set()
        return len(wanted)

    async def _follow(self, target: Target, loop_s: float, wall_s: float) -> None:
        loop = asyncio.get_running_loop()
        cue = self._cues[target.key]
        due = first_s = None
        if target.interval_s:
            first_s = loop_s + fraction(target.key) * min(target.interval_s, self._spread_s)
            due = first_s
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout_at(due):
                    await cue.wait()
            cue.clear()
            was_due = due is not None and loop.time() >= due
            await self._scrape(target)
            if due is None or not was_due:
                continue
            if due == first_s:
                due = second_due(target, due, loop_s - wall_s)
            else:
                due += target.interval_s
            late = math.ceil((loop.time() - due) / target.interval_s)
            if late > 0:
                SKIPPED.labels(target.source).inc(late)
                due += late * target.interval_s


def second_due(target: Target, first_s: float, epoch_s: float) -> float:
    """[s] First moment of the target's phase at least half an interval after its first scrape.

    The first scrape comes soon after the start; from the second on a target keeps its phase, which is the
    same after a restart. `epoch_s` is the epoch on the loop's clock.
    """
    interval_s = target.interval_s
    phase_s = epoch_s + fraction(target.key) * interval_s
    return phase_s + math.ceil((first_s + interval_s / 2 - phase_s) / interval_s) * interval_s
