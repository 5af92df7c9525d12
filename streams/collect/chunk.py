"""Cuts a harvest into records that are small enough for the stages after it."""

from collections.abc import Iterator
from dataclasses import dataclass

from streams.collect.infos import Infos
from streams.collect.target import Harvest, Target
from streams.domain.grouping import fill
from streams.domain.rules import parse_series
from streams.errors import SourceError
from streams.records import Scrape
from streams.topics import MAX_ENTITIES, MAX_MESSAGE_BYTES

SAMPLE_BYTES = 2 + 8 + 6
"""[B] Of one sample in Avro beside its series: a length, a double and a time."""

HEAD_BYTES = 8192
"""[B] Room for the fields of a record that are not arrays: a URL, reasons."""


@dataclass(frozen=True)
class Cut:
    """Which series, by place, go into each chunk, and the interval [ms] of each chunk."""

    series: list[str]
    intervals_ms: dict[str, int]
    chunks: list[tuple[int, list[int]]]


class Chunker:
    """Makes the records of one target; it remembers the last cut, because series seldom change."""

    def __init__(self, target: Target) -> None:
        self._target = target
        self._cut: Cut | None = None

    def records(self, harvest: Harvest, scraped_at_ms: int, *, with_series: bool = True) -> list[Scrape]:
        """The scrape as chunks that hold whole groups, and a failed record for each part that failed."""
        failed = [self._failed_part(part, error, scraped_at_ms) for part, error in harvest.failures]
        return [*self._chunks(harvest, scraped_at_ms), *failed] if with_series else failed

    def failed(self, error: SourceError, scraped_at_ms: int) -> Scrape:
        """The record of a scrape that failed."""
        record = self._record(scraped_at_ms, self._target.interval_ms)
        record["ok"] = False
        record["error"] = f"{error.reason}: {error}"
        return record

    def _failed_part(self, part: str, error: SourceError, scraped_at_ms: int) -> Scrape:
        record = self.failed(error, scraped_at_ms)
        # A name of its own: it must not count as a failed scrape of what the other parts feed.
        record["target"] = f"{self._target.name}#{part}"
        return record

    def _chunks(self, harvest: Harvest, scraped_at_ms: int) -> list[Scrape]:
        cut = self._cut
        if cut is None or cut.series != harvest.series or cut.intervals_ms != harvest.intervals_ms:
            cut = self._cut = Cut(harvest.series, harvest.intervals_ms, list(self._cut_up(harvest)))
        records = []
        for number, (interval_ms, places) in enumerate(cut.chunks):
            record = self._record(scraped_at_ms, interval_ms)
            record["series"] = [harvest.series[place] for place in places]
            record["values"] = [harvest.values[place] for place in places]
            times_ms = [harvest.times_ms[place] for place in places]
            if any(times_ms):
                record["times_ms"] = [time_ms or scraped_at_ms for time_ms in times_ms]
            if number == 0:  # the counts are of the whole scrape
                record["dropped"] = harvest.dropped
            records.append(record)
        return records

    def _record(self, scraped_at_ms: int, interval_ms: int) -> Scrape:
        target = self._target
        return Scrape(
            source=target.source,
            target=target.name,
            pack=target.pack.name,
            interval_ms=interval_ms,
            scraped_at_ms=scraped_at_ms,
            ok=True,
            error="",
            simulated=target.simulated,
            series=[],
            values=[],
            times_ms=[],
            dropped={},
        )

    def _cut_up(self, harvest: Harvest) -> Iterator[tuple[int, list[int]]]:
        classes: dict[int, dict[str, list[int]]] = {}  # interval -> group -> places
        for place, series in enumerate(harvest.series):
            group = self._target.pack.group_of(series)
            interval_ms = harvest.intervals_ms.get(group, self._target.interval_ms)
            classes.setdefault(interval_ms, {}).setdefault(group, []).append(place)
        if not classes:
            yield self._target.interval_ms, []
            return
        sizes = [len(series.encode()) + SAMPLE_BYTES for series in harvest.series]
        groups_max = max(len(groups) for groups in classes.values())
        fits = groups_max <= MAX_ENTITIES and sum(sizes) <= MAX_MESSAGE_BYTES - HEAD_BYTES
        if len(classes) == 1 and fits:
            yield next(iter(classes)), list(range(len(sizes)))
            return
        infos = Infos(self._target.pack, [parse_series(series) for series in harvest.series])
        for interval_ms, groups in classes.items():
            whole = [sorted({*group, *infos.needed_by(group)}) for group in groups.values()]
            for places in fill(
                whole, sizes, groups_max=MAX_ENTITIES, bytes_max=MAX_MESSAGE_BYTES - HEAD_BYTES
            ):
                yield interval_ms, places
