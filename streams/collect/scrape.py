"""One scrape of one target, from the source to records: whatever goes wrong is a record too."""

import time
from collections.abc import Awaitable, Callable

import structlog
from prometheus_client import Counter, Gauge, Histogram

from streams.collect.chunk import Chunker
from streams.collect.limits import limit
from streams.collect.privacy import redact
from streams.collect.target import Harvest, Source, Target
from streams.collect.threads import in_thread
from streams.errors import SourceError
from streams.records import Scrape

Ship = Callable[[list[Scrape]], Awaitable[None]]
"""Takes the records of one scrape on their way; never fails for lack of Kafka."""

SCRAPES = Counter("twin_collect_scrapes_total", "Scrapes by outcome: ok or why not", ["source", "outcome"])
SECONDS = Histogram(
    "twin_collect_scrape_seconds",
    "Duration of a scrape",
    ["source"],
    buckets=(0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2, 5, 10),
)
SAMPLES = Counter("twin_collect_samples_total", "Samples shipped", ["source"])
DROPPED = Counter("twin_collect_dropped_series_total", "Series not shipped, by reason", ["source", "reason"])
LAST_GOOD = Gauge("twin_collect_last_success_timestamp_seconds", "Last good scrape", ["source", "target"])

LARGE_HARVEST = 2_000
"""[1] From so many series on they are checked and cut up in a thread, so that other targets need not wait."""

log = structlog.get_logger()


class Scraper:
    """Scrapes one target again and again."""

    def __init__(self, source: Source, ship: Ship, wall_s: Callable[[], float] = time.time) -> None:
        self._source = source
        self._ship = ship
        self._wall_s = wall_s
        self._chunker = Chunker(source.target)
        self._outcome = "ok"

    async def scrape(self) -> None:
        """Scrape once and ship what came, or why nothing did."""
        target = self._source.target
        began_s = time.monotonic()
        with SECONDS.labels(target.source).time():
            try:
                harvest = await self._source.collect()
                scraped_s = harvest.scraped_s or self._wall_s()
                records = await self._records(harvest, scraped_s)
                outcome, why = "ok", ""
                LAST_GOOD.labels(target.source, target.name).set(scraped_s)
                self._count(target, harvest)
            except SourceError as error:
                outcome, why = error.reason, redact(str(error), target)
                records = [self._chunker.failed(SourceError(outcome, why), round(self._wall_s() * 1000))]
            except Exception as error:
                # A fault of ours that one target's answer brings out must not end the scrapes of the others.
                outcome, why = "internal", f"{type(error).__name__}, a fault of the collector: see its log"
                records = [self._chunker.failed(SourceError(outcome, why), round(self._wall_s() * 1000))]
                if outcome != self._outcome:
                    log.exception("a scrape brought out a fault of the collector", target=target.key)
        SCRAPES.labels(target.source, outcome).inc()
        self._log_change(target, outcome, why)
        duration_ms = round((time.monotonic() - began_s) * 1000)
        for record in records:
            record["duration_ms"] = duration_ms
        await self._ship(records)

    async def _records(self, harvest: Harvest, scraped_s: float) -> list[Scrape]:
        target = self._source.target
        harvest.failures = [
            (part, SourceError(error.reason, redact(str(error), target))) for part, error in harvest.failures
        ]
        for _, error in harvest.failures:
            SCRAPES.labels(target.source, f"part_{error.reason}").inc()

        def make() -> list[Scrape]:
            limit(harvest, target.caps)
            nothing_new = not harvest.series and (target.optional or "repeated" in harvest.dropped)
            return self._chunker.records(harvest, round(scraped_s * 1000), with_series=not nothing_new)

        return await in_thread(make) if len(harvest.series) > LARGE_HARVEST else make()

    def _count(self, target: Target, harvest: Harvest) -> None:
        SAMPLES.labels(target.source).inc(len(harvest.series))
        for reason, count in harvest.dropped.items():
            DROPPED.labels(target.source, reason).inc(count)

    def _log_change(self, target: Target, outcome: str, why: str) -> None:
        if outcome != self._outcome:
            if outcome == "ok":
                log.info("a target answers again", source=target.source, target=target.name)
            else:
                log.warning(
                    "a target fails", source=target.source, target=target.name, reason=outcome, why=why
                )
            self._outcome = outcome
