"""A server's past through the rules and the alignment, as the log of its scrapes would have gone."""

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from streams.domain.changes import Changes
from streams.domain.entity import OUTCOMES
from streams.domain.harmonize import Harmonizer
from streams.domain.observation import new_observation
from streams.domain.settle import WAIT_MAX_MS
from streams.domain.ticks import TickRows
from streams.domain.twin import Partition
from streams.records import Scrape, State, Tick

CLOCK_MS = 1_000
"""[ms] Between two clock messages, as the worker sends them."""

WARM_UP_MS = 300_000
"""[ms] Before the range: longer than anything is held or waited for, so that its first ticks are right."""


def overrun_ms(step_ms: int) -> int:
    """[ms] After the range: until its last ticks have closed."""
    return WAIT_MAX_MS + 2 * step_ms


@dataclass
class Tally:
    """[1] What became of the samples, summed over the range and what is around it.

    Args:
        mapped: samples that the rules made.
        ticks: closed ticks in the range, one for each entity and time.
        values: in these ticks.
        changes: of status and attributes in the range.
        skipped: samples that gave nothing, by reason.
    """

    mapped: int = 0
    ticks: int = 0
    values: int = 0
    changes: int = 0
    skipped: dict[str, int] = field(default_factory=dict)

    def skip(self, reason: str, count: int) -> None:
        """Count samples that gave nothing."""
        if count:
            self.skipped[reason] = self.skipped.get(reason, 0) + count


class Backfill:
    """One partition of `live` that nobody else sees, and of it the ticks and changes in [from, to].

    Args:
        from_ms: [ms since the epoch] first tick that is given out.
        to_ms: [ms since the epoch] last one.
    """

    def __init__(self, harmonizer: Harmonizer, partition: Partition, from_ms: int, to_ms: int) -> None:
        self._harmonizer, self._partition = harmonizer, partition
        self._from_ms, self._to_ms = from_ms, to_ms
        self._states: dict[str, State] = {}
        self._offset = 0
        self._clock_ms = 0
        self._changes = Changes()
        self._earlier: dict[tuple[object, object], dict[str, object]] | None = {}
        self.tally = Tally()

    def take(self, scrapes: Iterable[Scrape], at_ms: int) -> None:
        """Apply the scrapes that came at a time, behind the clock messages up to it.

        Raises:
            InvalidMessageError: a scrape is of no known pack.
        """
        self._clock_to(at_ms - CLOCK_MS)
        for scrape in scrapes:
            found = self._harmonizer.harmonize(scrape, partition=0, offset=self._offset, at_ms=at_ms)
            for reason, count in ((refused.reason, refused.count) for refused in found.rejected):
                self.tally.skip(reason, count)
            self.tally.skip("no rule", sum(found.unmapped.values()))
            for _, message in found.observations:
                self.tally.mapped += len(message["values"])
                self._apply(message)
        self._clock_to(at_ms)

    def _clock_to(self, at_ms: int) -> None:
        clock_ms = self._clock_ms + CLOCK_MS if self._clock_ms else at_ms
        while clock_ms <= at_ms:
            self._clock_ms = clock_ms
            self._apply(new_observation("clock", clock_ms))
            clock_ms += CLOCK_MS

    def _apply(self, message: Any) -> None:
        deque(self._partition.steps(self._offset, message, self._states, self._changes), maxlen=0)
        self._offset += 1

    def closed(self) -> list[Tick]:
        """What has come about since the last call, in the range, as messages of at most 200 rows."""
        changes, self._changes = self._changes, Changes()
        for counts in changes.outcomes.values():
            for outcome, count in zip(OUTCOMES[1:], counts[1:], strict=True):
                self.tally.skip(outcome, count)
        rows = [row for row in changes.ticks.rows if self._from_ms <= row.tick_ms <= self._to_ms]
        told = self._told(changes.ticks.changes)
        self.tally.ticks += len(rows)
        self.tally.values += sum(len(row.values) for row in rows)
        self.tally.changes += len(told)
        return TickRows(rows, told).records("live", 0)

    def _told(self, changes: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """Changes in the range; before the first of them what was told earlier, as of the first moment.

        Without that nobody could find what an entity was like before its first change in the range.
        """
        told = [change for change in changes if self._from_ms <= change["at_ms"] <= self._to_ms]
        if self._earlier is None:
            return told
        for change in changes:
            if change["at_ms"] < self._from_ms:
                self._earlier[change["kind"], change["id"]] = change
        if self._clock_ms < self._from_ms:
            return told
        anew = {(change["kind"], change["id"]) for change in told if change["at_ms"] == self._from_ms}
        earlier, self._earlier = self._earlier, None
        return [
            change | {"at_ms": self._from_ms}
            for name, change in earlier.items()
            if name not in anew and not change["removed"]
        ] + told
