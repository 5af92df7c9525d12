"""Batches on their way into a store: by size or age, some at a time, settled in order, tried until kept."""

import asyncio
import random
from bisect import bisect_right
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

import structlog
from prometheus_client import Counter, Gauge, Histogram

from streams.errors import StoreError
from streams.stores import Refusal, Store

LINGER_S = 1.0
"""[s] After which a batch is written although it is not full; what history may lag behind the twin."""

FIRST_WAIT_S = 0.5
"""[s] Before the second try."""

LONGEST_WAIT_S = 15.0
"""[s] Between two tries, however many there were; how late an end of an outage may be noticed."""

LINES = Counter("twin_sink_lines_total", "Lines (rows with DuckDB) that the history store has kept.")
POSTS = Counter(
    "twin_sink_posts_total", "Batches sent to the history store, by what became of them.", ["outcome"]
)
POST_SECONDS = Histogram(
    "twin_sink_post_seconds",
    "Seconds from sending a batch to the history store's answer, whatever it is.",
    buckets=(0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30),
)
RETRIES = Counter(
    "twin_sink_retries_total", "Batches sent again because the history store was away or refused."
)
AWAY = Gauge("twin_sink_store_away", "1 while batches wait for the history store, else 0.")

M = TypeVar("M")

log = structlog.get_logger()


@dataclass
class Batch(Generic[M]):
    """Items of several messages, and where the items of each message begin."""

    items: list[Any] = field(default_factory=list)
    messages: list[M] = field(default_factory=list)
    starts: list[int] = field(default_factory=list)

    def add(self, message: M, items: list[Any]) -> None:
        """Append the items of a message, which may be none."""
        self.messages.append(message)
        self.starts.append(len(self.items))
        self.items += items

    def message_of(self, index: int) -> M:
        """The message that an item came from."""
        return self.messages[bisect_right(self.starts, index) - 1]


def wait_s(tries: int, retry_after_s: float | None, chance: float) -> float:
    """[s] Before the next try: doubling, half of it by chance (0..1); the store's wish if that is longer."""
    longest: float = min(LONGEST_WAIT_S, FIRST_WAIT_S * 2.0 ** min(tries - 1, 10))
    return max(longest * (0.5 + chance / 2), (retry_after_s or 0.0) * (1.0 + chance / 10))


class Writer(Generic[M]):
    """Gathers items and writes them; `settle` is called for each batch, in order, with what was refused.

    A batch none of whose messages is `wanted` any more is dropped between two tries, and settled with None.
    An error that is no StoreError goes to `crash`: nothing more is written or settled.
    """

    def __init__(
        self,
        store: Store,
        *,
        settle: Callable[[Batch[M], list[Refusal] | None], Awaitable[None]],
        crash: Callable[[BaseException], Awaitable[None]],
        wanted: Callable[[M], bool] = lambda message: True,
        chance: Callable[[], float] = random.random,
    ) -> None:
        self._store = store
        self._settle = settle
        self._crash = crash
        self._wanted = wanted
        self._chance = chance
        self._batch: Batch[M] = Batch()
        self._tasks: list[asyncio.Task[None]] = []
        self._linger: asyncio.TimerHandle | None = None
        self._due = False
        self._broken = False
        self._freed = asyncio.Event()
        self._down = ""

    @property
    def busy(self) -> bool:
        """Whether the store owes an answer."""
        return bool(self._tasks)

    @property
    def trouble(self) -> str:
        """Why the store does not answer as it should; empty when it does."""
        return self._down

    async def add(self, message: M, items: list[Any]) -> None:
        """Take the items of a message; comes back when there is room for those of the next."""
        self._batch.add(message, items)
        if self._linger is None and not self._due:
            self._linger = asyncio.get_running_loop().call_later(LINGER_S, self._is_due)
        while len(self._batch.items) >= self._store.batch_items or self._broken:
            if len(self._tasks) < self._store.batches and not self._broken:
                self._cut()
            else:
                self._freed.clear()
                await self._freed.wait()

    async def close(self) -> None:
        """Give up what is not settled."""
        self._broken = True
        if self._linger:
            self._linger.cancel()
        tasks, self._tasks = self._tasks, []
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _is_due(self) -> None:
        self._linger = None
        if len(self._tasks) < self._store.batches:
            self._cut()
        else:
            self._due = True

    def _cut(self) -> None:
        if self._broken:
            return
        if self._linger:
            self._linger.cancel()
        batch, self._batch, self._linger, self._due = self._batch, Batch(), None, False
        before = self._tasks[-1] if self._tasks else None
        self._tasks.append(asyncio.create_task(self._see_through(batch, before)))

    async def _see_through(self, batch: Batch[M], before: asyncio.Task[None] | None) -> None:
        try:
            refusals = await self._write(batch)
            if before:
                # Offsets are committed up to the highest acknowledged one: never past a batch under way.
                await asyncio.wait([before])
            if not self._broken:
                await self._settle(batch, refusals)
        except Exception as error:  # noqa: BLE001  # a bug: the process must end, and this is a task of its own
            self._broken = True
            await self._crash(error)
        finally:
            me = asyncio.current_task()
            self._tasks = [task for task in self._tasks if task is not me]
        if self._due and self._batch.messages:
            self._cut()
        self._freed.set()

    async def _write(self, batch: Batch[M]) -> list[Refusal] | None:
        tries = 0
        while any(map(self._wanted, batch.messages)):
            if not batch.items:
                return []
            try:
                with POST_SECONDS.time():
                    refusals = await self._store.write(batch.items)
            except StoreError as error:
                tries += 1
                POSTS.labels("failed").inc()
                self._tell(str(error))
                await asyncio.sleep(wait_s(tries, error.retry_after_s, self._chance()))
                RETRIES.inc()
            else:
                POSTS.labels("partial" if refusals else "kept").inc()
                LINES.inc(len(batch.items) - len(refusals))
                self._tell("")
                return refusals
        POSTS.labels("dropped").inc()
        return None

    def _tell(self, trouble: str) -> None:
        if trouble and not self._down:
            log.warning("history store away: its ticks wait", store=self._store.label, error=trouble)
        elif self._down and not trouble:
            log.info("history store back", store=self._store.label)
        elif trouble != self._down:
            log.warning("history store still away", store=self._store.label, error=trouble)
        self._down = trouble
        AWAY.set(bool(trouble))
