"""The replica behind the API: connected again and again until Kafka is there, and watched from then on."""

import asyncio
import time
from collections import deque
from contextlib import suppress
from typing import Any

import structlog
from prometheus_client import Gauge, Histogram

from streams.errors import TwinError
from streams.metrics import STALL_S, Progress
from streams.replica import TwinReplica
from streams.settings import Settings

RETRY_S = 2.0
"""[s] Between attempts to reach Kafka at start; later the client reconnects by itself."""

WATCH_S = 1.0
"""[s] Between looks at the progress of each partition."""

REMEMBERED_CHANGES = 10_000
"""[1] Newest changes whose time from scrape to here is kept for percentiles."""

FRESHNESS = Histogram(
    "twin_web_freshness_seconds",
    "From scrape to the state being seen by this process",
    buckets=(0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0),
)
ENTITIES = Gauge("twin_web_entities_count", "Entities that are held", ["kind", "status"])
POISONED = Gauge("twin_web_poisoned_records_count", "State records that could not be read", ["reason"])


class LiveTwin:
    """Runs a `TwinReplica` of the world `live` and says whether it can be relied on."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.progress = Progress("web")
        self.replica = TwinReplica(settings, on_seen=self._note_seen)
        self.seen_ms: deque[int] = deque(maxlen=REMEMBERED_CHANGES)
        self._fault: str | None = "not connected to Kafka yet"
        self._task: asyncio.Task[None] | None = None
        self._log = structlog.get_logger(__name__)

    async def start(self) -> None:
        """Begin to connect; does not wait for it, so that liveness can be asked meanwhile."""
        self._task = asyncio.create_task(self._run(), name="replica behind the web role")

    async def stop(self) -> None:
        """Disconnect."""
        if self._task is not None:
            self._task.cancel()
            with suppress(asyncio.CancelledError):
                await self._task
        await self.replica.stop()

    def is_alive(self) -> bool:
        """False when a bug ended the reading: only a restart helps then."""
        return self._task is None or not self._task.done()

    def why_no_state(self) -> str | None:
        """Why whole-state answers would lack entities; None when they would not."""
        return self._fault or self.replica.why_not_ready()

    def ready(self) -> tuple[bool, dict[str, Any]]:
        """Caught up, and each partition moves on; with the reasons when not."""
        reason = self.why_no_state()
        if reason is not None:
            return False, {"reason": reason}
        now_ms = time.time() * 1000
        silent = [
            partition
            for partition, cursor in sorted(self.replica.cursors.items())
            if cursor.answered_ms is not None and now_ms - cursor.answered_ms > STALL_S * 1000
        ]
        if silent:
            return False, {"reason": f"Kafka has not answered for {STALL_S:.0f} s for partitions {silent}"}
        is_moving, details = self.progress.ready()
        return is_moving, ({"reason": "partitions stand still"} | details if not is_moving else {})

    def export(self) -> None:
        """Bring the gauges up to date, just before they are read."""
        self._watch()
        ENTITIES.clear()
        for key, held in self.replica.holdings.shown.items():
            ENTITIES.labels(key.split(b"/", 2)[1].decode(), held.status).inc()
        for reason, count in self.replica.holdings.poisoned.items():
            POISONED.labels(reason).set(count)

    async def _run(self) -> None:
        while True:
            try:
                await self.replica.start()
                break
            except TwinError as error:
                if str(error) != self._fault:
                    self._fault = str(error)
                    self._log.warning("no state yet; tries again", error=self._fault)
                await asyncio.sleep(RETRY_S)
        self._fault = None
        self._log.info("reads the state", topic=self.replica.topic)
        watching = asyncio.create_task(self._keep_watch())
        try:
            await self.replica.wait()
        finally:
            watching.cancel()

    async def _keep_watch(self) -> None:
        while True:
            self._watch()
            await asyncio.sleep(WATCH_S)

    def _watch(self) -> None:
        for partition, cursor in self.replica.cursors.items():
            self.progress.set_position(self.replica.topic, partition, cursor.position)
            self.progress.set_end(self.replica.topic, partition, cursor.highwater or cursor.end)

    def _note_seen(self, delay_ms: int) -> None:
        self.seen_ms.append(delay_ms)
        FRESHNESS.observe(delay_ms / 1000)
