"""The replica behind the API: connected again and again until Kafka is there, and watched from then on."""

import asyncio
import time
from collections import deque
from contextlib import suppress
from typing import Any

import structlog
from prometheus_client import Gauge, Histogram
from starlette.requests import HTTPConnection

from streams.domain.near import near_names
from streams.errors import TwinError
from streams.metrics import STALL_S, Progress
from streams.replica.source import StateSource
from streams.replica.view import WorldView
from streams.replica.worlds import Worlds
from streams.settings import Settings
from streams.web.access.principal import LOCAL, Principal, principal_of
from streams.web.problems import ProblemError

RETRY_S = 2.0
"""[s] Between attempts to reach Kafka at start; later the client reconnects by itself."""

WATCH_S = 1.0
"""[s] Between looks at the progress of each partition."""

REMEMBERED_CHANGES = 10_000
"""[1] Newest changes whose time from scrape to here is kept for percentiles."""

RETRY_AFTER_S = 2
"""[s] What a client is told to wait while the replica catches up."""

FRESHNESS = Histogram(
    "twin_web_freshness_seconds",
    "From scrape to the state being seen by this process",
    buckets=(0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0),
)
ENTITIES = Gauge("twin_web_entities_count", "Entities of the live world that are held", ["kind", "status"])
WORLDS = Gauge("twin_web_worlds_count", "Worlds that are held, live included")
POISONED = Gauge("twin_web_poisoned_records_count", "State records that could not be read", ["reason"])


SHOWN_WORLDS = 20
"""[1] Worlds that an error names when none is near."""


class LiveTwin:
    """Holds all worlds, read from the topic once, and says whether they can be relied on.

    `replica` is the view of the world `live`.
    """

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.progress = Progress("web")
        self.worlds = Worlds()
        self.source = StateSource(settings, self.worlds, self._note_seen)
        self.replica = WorldView(self.worlds.live, self.source.offsets, self.source.is_running)
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
        await self.source.stop()

    def view_of(self, world: str, field: str = "world", who: Principal = LOCAL) -> WorldView:
        """The entities of a world that exists: those of the kinds that somebody sees.

        Args:
            world: its name.
            field: where the name stands in the request.
            who: wants to see it; a world that they do not see is not there.

        Raises:
            ProblemError: 404, naming the worlds that there are.
        """
        is_there = who.sees_world(world) and self.worlds.exists(world)
        view = self.source.view_of(world) if is_there else None
        if view is None:
            names = [name for name in self.worlds.names() if who.sees_world(name)]
            near = near_names(world, names)
            shown = ", ".join(names[:SHOWN_WORLDS]) + (" …" if len(names) > SHOWN_WORLDS else "")
            detail = f"there is no world {world!r}: there is {shown or 'none that you see'}"
            raise ProblemError(404, "unknown-world", detail, field=field, near=near)
        return view.of_kinds(who.kinds)

    def is_alive(self) -> bool:
        """False when a bug ended the reading: only a restart helps then."""
        return self._task is None or not self._task.done()

    def why_no_state(self) -> str | None:
        """Why whole-state answers would lack entities; None when they would not."""
        return self._fault or self.source.why_not_ready()

    def ready(self, silent_s: float = STALL_S) -> tuple[bool, dict[str, Any]]:
        """Caught up, and each partition moves on; with the reasons when not.

        Args:
            silent_s: [s] after which Kafka's silence is one.
        """
        reason = self.why_no_state()
        if reason is not None:
            return False, {"reason": reason}
        now_ms = time.time() * 1000
        silent = [
            partition
            for partition, cursor in sorted(self.source.cursors.items())
            if cursor.answered_ms is not None and now_ms - cursor.answered_ms > silent_s * 1000
        ]
        if silent:
            of_some = "" if len(silent) == len(self.source.cursors) else f" for partitions {silent}"
            return False, {"reason": f"Kafka has not answered for {silent_s:.0f} s{of_some}"}
        is_moving, details = self.progress.ready()
        return is_moving, ({"reason": "partitions stand still"} | details if not is_moving else {})

    def export(self) -> None:
        """Bring the gauges up to date, just before they are read."""
        self._watch()
        ENTITIES.clear()
        for key, held in self.worlds.live.records():
            ENTITIES.labels(key.split(b"/", 2)[1].decode(), held.status).inc()
        WORLDS.set(len(self.worlds.names()))
        for reason, count in self.worlds.poisoned.items():
            POISONED.labels(reason).set(count)

    async def _run(self) -> None:
        while True:
            try:
                await self.source.start()
                break
            except TwinError as error:
                if str(error) != self._fault:
                    self._fault = str(error)
                    self._log.warning("no state yet; tries again", error=self._fault)
                await asyncio.sleep(RETRY_S)
        self._fault = None
        self._log.info("reads the state", topic=self.source.topic)
        watching = asyncio.create_task(self._keep_watch())
        try:
            await self.source.wait()
        finally:
            watching.cancel()

    async def _keep_watch(self) -> None:
        while True:
            self._watch()
            await asyncio.sleep(WATCH_S)

    def _watch(self) -> None:
        for partition, cursor in self.source.cursors.items():
            self.progress.set_position(self.source.topic, partition, cursor.position)
            self.progress.set_end(self.source.topic, partition, cursor.highwater or cursor.end)

    def _note_seen(self, delay_ms: int) -> None:
        self.seen_ms.append(delay_ms)
        FRESHNESS.observe(delay_ms / 1000)


def caught_up(request: HTTPConnection) -> LiveTwin:
    """The twin of this app, once it has all entities.

    Raises:
        ProblemError: 503; an answer from half a state would look as if nodes were missing.
    """
    twin: LiveTwin = request.app.state.twin
    reason = twin.why_no_state()
    if reason is not None:
        raise ProblemError(503, "not-ready", reason, headers={"Retry-After": str(RETRY_AFTER_S)})
    return twin


def world_view(request: HTTPConnection, world: str, field: str = "world") -> WorldView:
    """The entities of a world as they are, as far as who asks may see them.

    Raises:
        ProblemError: 404, there is no such world for them; 503, the replica has not caught up.
    """
    return caught_up(request).view_of(world, field, principal_of(request))
