"""The newest records of `scrape`, followed while somebody looks: what each source and target said last."""

import asyncio
from collections import deque
from dataclasses import dataclass
from typing import Any

from aiokafka import ConsumerRecord

from streams.errors import InvalidMessageError, TwinError
from streams.reader import TopicReader
from streams.schemas import load_scrape_head
from streams.settings import Settings
from streams.topics import topics_of
from streams.web.pipeline.whileasked import WhileAsked

NEWEST = 200
"""[1] Records of each partition that are read first; what scrapes more seldom appears at its next scrape."""

RETRY_S = 2.0
"""[s] Between attempts to reach Kafka."""

TARGETS_MAX = 10_000
"""[1] Targets that are remembered; the one that was silent longest is forgotten."""

SIZES = 500
"""[1] Newest records whose mean size is told."""

FIRST_S = 3.0
"""[s] That the first question waits for the newest records."""


@dataclass
class Scraped:
    """What a target's newest scrapes say.

    Args:
        interval_ms: [ms] 0: on cue.
        scraped_at_ms: [ms since the epoch] the newest scrape; its chunks have the same.
        sent_ms: [ms since the epoch] when its last chunk was sent to Kafka.
        series: [1] of the newest scrape that was ok.
        scrapes: [1] that were seen, and how many of them failed.
        failed_in_row: [1] since the last that was ok.
    """

    source: str
    target: str
    pack: str
    interval_ms: int
    scraped_at_ms: int = -1
    sent_ms: int = 0
    duration_ms: int | None = None
    ok: bool = False
    error: str = ""
    simulated: bool = False
    series: int = 0
    chunks: int = 0
    ok_ms: int | None = None
    scrapes: int = 0
    failed: int = 0
    failed_in_row: int = 0

    def note(self, head: dict[str, Any], sent_ms: int) -> None:
        """Take one record of this target."""
        at_ms, ok = head["scraped_at_ms"], head["ok"]
        if at_ms < self.scraped_at_ms:
            return
        if at_ms > self.scraped_at_ms:
            self.scrapes += 1
            self.chunks, self.series = 0, self.series if not ok else 0
            self.failed += not ok
            self.failed_in_row = 0 if ok else self.failed_in_row + 1
        self.scraped_at_ms, self.sent_ms, self.ok = at_ms, sent_ms, ok
        self.pack, self.error = head["pack"], head["error"]
        self.interval_ms, self.simulated = head["interval_ms"], head["simulated"]
        self.duration_ms = None if head["duration_ms"] < 0 else head["duration_ms"]
        self.chunks += 1
        if ok:
            self.ok_ms = at_ms
            self.series += head["series_count"]


class ScrapeTail:
    """Follows `scrape` while somebody looks; `targets` has what each said last."""

    def __init__(self, settings: Settings) -> None:
        self.topic = topics_of(settings)["scrape"]
        self.targets: dict[tuple[str, str], Scraped] = {}
        self.fault: str | None = None
        self.unreadable = 0
        self._settings = settings
        self._sizes: deque[int] = deque(maxlen=SIZES)
        self._keeper = WhileAsked("follows the scrapes", self._run)
        self._caught_up = asyncio.Event()
        self._next: dict[int, int] = {}

    async def ask(self) -> None:
        """Somebody looks: follow the topic; waits a little until the newest records were read."""
        if not self._keeper.is_running:
            self._caught_up.clear()
        self._keeper.ask()
        try:
            async with asyncio.timeout(FIRST_S):
                await self._caught_up.wait()
        except TimeoutError:
            self.fault = self.fault or "the newest scrapes were not read yet"

    async def stop(self) -> None:
        """Disconnect."""
        await self._keeper.stop()

    def mean_bytes(self) -> float | None:
        """[B] Of the newest records; None when there are none."""
        return sum(self._sizes) / len(self._sizes) if self._sizes else None

    def take(self, records: list[ConsumerRecord]) -> None:
        """Note what records say of their targets."""
        for record in records:
            if record.offset < self._next.get(record.partition, 0):
                continue  # was read when somebody looked before
            self._next[record.partition] = record.offset + 1
            self._sizes.append(len(record.value or b""))
            try:
                head = load_scrape_head(record.value or b"")
            except InvalidMessageError:
                self.unreadable += 1
                continue
            key = (head["source"], head["target"])
            # Out and in again: the first of them is the one that was silent longest.
            known = self.targets.pop(key, None) or Scraped(*key, head["pack"], head["interval_ms"])
            known.note(head, record.timestamp)
            self.targets[key] = known
        while len(self.targets) > TARGETS_MAX:
            del self.targets[next(iter(self.targets))]

    async def _run(self) -> None:
        while True:
            reader = TopicReader(
                self._settings, self.topic, self.take, self._forget, from_start=False, newest=NEWEST
            )
            try:
                await reader.start()
            except TwinError as error:
                self.fault = str(error)
                self._caught_up.set()
                await asyncio.sleep(RETRY_S)
                continue
            for partition, cursor in reader.cursors.items():
                if cursor.end < self._next.get(partition, 0):
                    self._forget(partition)
            try:
                await reader.caught_up.wait()
                self.fault = None
                self._caught_up.set()
                if reader.task is not None:
                    await asyncio.wait({reader.task})
            finally:
                await reader.stop()

    def _forget(self, partition: int) -> None:
        self._next.pop(partition, None)  # the topic was made anew
