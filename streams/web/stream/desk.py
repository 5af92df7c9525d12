"""All streams of the process: which worlds are followed, how many may, and their end."""

import asyncio
import time
from collections.abc import Iterator
from contextlib import contextmanager

from prometheus_client import Counter, Gauge

from streams.replica.place import Place
from streams.replica.view import WorldView
from streams.web.encoded import EncodedStates
from streams.web.filters import Filter
from streams.web.live import LiveTwin
from streams.web.problems import ProblemError
from streams.web.stream.client import Client
from streams.web.stream.hub import Feed, Hub
from streams.web.stream.shape import Shape

MAX_STREAMS = 2_000
"""[1] Streams of one process."""

RETRY_AFTER_S = 30
"""[s] What a client is told to wait when there are too many."""

PAUSE_S, PAUSE_OF_ONE_S = 0.02, 0.00023
"""[s] Between ticks, and more for each stream: a quarter of a second with 1,000."""

RATES = (0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 20.0)
"""[1/s] The paces that there are beside the fastest: those who want about the same share the work."""

SILENT_S = 8.0
"""[s] After so long without an answer of Kafka people are told that nothing comes; it answers ten times a
second."""

OPEN = Gauge("twin_web_streams_open_count", "Streams that are open", ["transport"])
MESSAGES = Counter("twin_web_stream_messages", "Messages of streams that were sent")
ENDED = Counter("twin_web_streams_ended", "Streams that ended; left: the client went", ["reason"])


class StreamDesk:
    """Brings clients and worlds together."""

    def __init__(self, twin: LiveTwin, states: EncodedStates, rows: EncodedStates) -> None:
        self.open = 0
        self._twin = twin
        self._hubs: dict[tuple[int, float], Hub] = {}
        self._is_closed = False
        self._fault: tuple[float, str | None] = (0.0, None)
        source = twin.source
        self._feed = Feed(
            place=source.place,
            is_known=source.progress.is_known,
            is_whole=lambda: twin.why_no_state() is None,
            fault=self._why_silent,
            pause_s=lambda: PAUSE_S + PAUSE_OF_ONE_S * self.open,
            states=states,
            rows=rows,
        )

    def check_room(self) -> None:
        """Raise 503 when no more streams can be served."""
        if self._is_closed:
            raise ProblemError(503, "shutdown", "the server ends", headers={"Retry-After": "2"})
        if self.open >= MAX_STREAMS:
            raise ProblemError(
                503,
                "too-many",
                f"there are {self.open} streams, and no more than {MAX_STREAMS} are served by one process",
                headers={"Retry-After": str(RETRY_AFTER_S)},
            )

    def is_ahead(self, place: Place) -> bool:
        """Whether a place, of this log, lies beyond what was read of it here."""
        now = self._feed.place()
        return place.log == now.log and place.is_beyond(now)

    @contextmanager
    def joined(
        self,
        view: WorldView,
        wanted: Filter,
        shape: Shape,
        max_rate: float | None,
        place: Place | None,
        until_s: float | None = None,
    ) -> Iterator[Client]:
        """Somebody who follows a world.

        Args:
            view: the world.
            wanted: what they want of it.
            shape: how.
            max_rate: [1/s] how often at most; None: as often as it is good for.
            place: up to where they were told all; None: nothing.
            until_s: [s since the epoch] when they may follow no longer; None: never.
        """
        hub = self._hub(view, max_rate)
        transport = "websocket" if shape.is_socket else "sse"
        client = hub.join(wanted, shape, place)
        self.open += 1
        OPEN.labels(transport).inc()
        if self._is_closed:
            client.finish(*SHUTDOWN)
        expiry = None
        if until_s is not None:
            left_s = max(0.0, until_s - time.time())
            expiry = asyncio.get_running_loop().call_later(left_s, client.finish, *EXPIRED)
        try:
            yield client
        finally:
            if expiry is not None:
                expiry.cancel()
            self.open -= 1
            OPEN.labels(transport).dec()
            ENDED.labels(client.ending.reason if client.ending else "left").inc()
            hub.leave(client)
            self._stop_unused()

    def close(self) -> None:
        """End all streams, as the process is told to end."""
        self._is_closed = True
        for hub in self._hubs.values():
            hub.finish(*SHUTDOWN)

    async def stop(self) -> None:
        """The same, at the end of the application."""
        self.close()
        for hub in self._hubs.values():
            hub.stop()
        self._hubs.clear()

    def _hub(self, view: WorldView, max_rate: float | None) -> Hub:
        rate = 0.0 if max_rate is None else max((one for one in RATES if one <= max_rate), default=RATES[0])
        key = (id(view.holdings), rate)
        hub = self._hubs.get(key)
        if hub is None:
            hub = self._hubs[key] = Hub(view.holdings, self._feed, 1 / rate if rate else 0.0)
            hub.start()
        return hub

    def _stop_unused(self) -> None:
        for key, hub in list(self._hubs.items()):
            if not hub.clients:
                hub.stop()
                del self._hubs[key]

    def _why_silent(self) -> str | None:
        """Looked up once a second at most, as each hub asks."""
        now_s = time.monotonic()
        if now_s - self._fault[0] > 1:
            is_ready, details = self._twin.ready(SILENT_S)
            self._fault = (now_s, None if is_ready else str(details["reason"]))
        return self._fault[1]


SHUTDOWN = ("shutdown", "the server ends; connect again")
"""Reason and detail of the end of a stream at the end of the process."""

EXPIRED = ("expired", "the key, the login or the token is no longer valid; connect again with another")
"""Reason and detail of the end of a stream of who was let in for a time."""
