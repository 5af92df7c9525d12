"""/metrics and /health of the roles that have no web server, and progress per partition."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import structlog
from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST, Gauge, generate_latest

from streams.errors import SettingsError
from streams.settings import Settings

STALL_S = 30.0
"""[s] A partition that stands still this long while its end moves on is at fault: longer than a rebalance
or a broker's restart, shorter than anybody would wait before looking."""

Readiness = Callable[[], tuple[bool, dict[str, Any]]]
"""Whether the role does its work now, and what to show beside that: the reasons when it does not."""

POSITION = Gauge("twin_partition_position_offset", "Next offset to be read", ["role", "topic", "partition"])
LAG = Gauge("twin_partition_lag_records", "End offset less position", ["role", "topic", "partition"])


@dataclass(slots=True)
class _Partition:
    position: int | None = None
    end: int = 0
    behind_since: float | None = None  # when the end moved on for the first time since the position last did


class Progress:
    """Position against end offset for each partition of a role, as gauges and as readiness.

    A partition whose position stands still is only at fault once its end moves: on a compacted topic the
    position can rest below the end for ever, because the last records before it were compacted away.
    """

    def __init__(
        self, role: str, stall_s: float = STALL_S, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.role = role
        self._stall_s = stall_s
        self._clock = clock
        self._partitions: dict[tuple[str, int], _Partition] = {}

    def set_position(self, topic: str, partition: int, position: int) -> None:
        """Note the next offset to be read."""
        state = self._partitions.setdefault((topic, partition), _Partition())
        if state.position != position:
            state.position = position
            state.behind_since = None
            self._export(topic, partition, state)

    def set_end(self, topic: str, partition: int, end: int) -> None:
        """Note the end offset (high watermark) that the broker named."""
        state = self._partitions.setdefault((topic, partition), _Partition())
        if state.end != end:
            state.end = end
            if state.behind_since is None and (state.position is None or state.position < end):
                state.behind_since = self._clock()
            self._export(topic, partition, state)

    def known(self) -> set[tuple[str, int]]:
        """Topics and partitions that are watched."""
        return set(self._partitions)

    def forget(self, topic: str, partition: int) -> None:
        """Drop a partition that was taken away, so that it is not missed."""
        if self._partitions.pop((topic, partition), None) is not None:
            for gauge in (POSITION, LAG):
                gauge.remove(self.role, topic, str(partition))

    def lag(self) -> int:
        """[1] Records between positions and ends, of all partitions."""
        return sum(max(0, state.end - (state.position or 0)) for state in self._partitions.values())

    def ready(self) -> tuple[bool, dict[str, Any]]:
        """False with the partitions that stand still, each with its reason."""
        now = self._clock()
        stalled = {
            f"{topic}/{partition}": f"at {state.position} of {state.end} for {now - state.behind_since:.0f} s"
            for (topic, partition), state in sorted(self._partitions.items())
            if state.behind_since is not None and now - state.behind_since > self._stall_s
        }
        return not stalled, {"stalled": stalled} if stalled else {}

    def _export(self, topic: str, partition: int, state: _Partition) -> None:
        POSITION.labels(self.role, topic, str(partition)).set(state.position or 0)
        LAG.labels(self.role, topic, str(partition)).set(max(0, state.end - (state.position or 0)))


class MetricsServer:
    """The HTTP server behind `serve`."""

    def __init__(self, host: str, port: int, ready: Readiness) -> None:
        self._host = host
        self._wanted_port = port
        self._ready = ready
        self._runner: web.AppRunner | None = None
        self.port = 0

    @property
    def url(self) -> str:
        """Address of the server, without a path."""
        host = f"[{self._host}]" if ":" in self._host else self._host
        return f"http://{host}:{self.port}"

    async def start(self) -> int:
        """Listen; return the port, which the system chose if 0 was wanted.

        Raises:
            SettingsError: the address cannot be listened on.
        """
        app = web.Application()
        app.add_routes(
            [
                web.get("/metrics", self._get_metrics),
                web.get("/health/live", self._get_live),
                web.get("/health/ready", self._get_ready),
            ]
        )
        runner = web.AppRunner(app, access_log=None, handle_signals=False, shutdown_timeout=1.0)
        await runner.setup()
        site = web.TCPSite(runner, self._host, self._wanted_port)
        try:
            await site.start()
        except OSError as error:
            await runner.cleanup()
            raise SettingsError(
                [
                    f"TWIN_METRICS_HOST, TWIN_METRICS_PORT: cannot listen on {self._host}:{self._wanted_port}"
                    f" ({error.strerror}); TWIN_METRICS_PORT=0 takes any free port"
                ]
            ) from error
        self._runner = runner
        self.port = int(runner.addresses[0][1])
        return self.port

    async def close(self) -> None:
        """Stop listening; does nothing when it never started."""
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None

    async def _get_metrics(self, _request: web.Request) -> web.Response:
        return web.Response(body=generate_latest(), headers={"Content-Type": CONTENT_TYPE_LATEST})

    async def _get_live(self, _request: web.Request) -> web.Response:
        return web.json_response({"status": "live"})

    async def _get_ready(self, _request: web.Request) -> web.Response:
        is_ready, details = self._ready()
        body = {"status": "ready" if is_ready else "not ready"} | details
        return web.json_response(body, status=200 if is_ready else 503)


async def serve(settings: Settings, ready: Readiness) -> MetricsServer:
    """Serve on the settings' metrics_host and metrics_port; log the URL; `await server.close()` ends it."""
    server = MetricsServer(settings.metrics_host, settings.metrics_port, ready)
    await server.start()
    structlog.get_logger().info("metrics are served", url=f"{server.url}/metrics")
    return server
