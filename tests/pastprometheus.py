"""A made-up Prometheus server with a past that is known in closed form."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

LAG_MS = 1_234
"""[ms] By which samples are older than the multiple of 5 s before which they were taken."""

NODES = ("alpha", "beta")

BORN_MS = 30_000
"""[ms since `since_ms`] When the second node appears."""


@dataclass
class PastPrometheus:
    """Answers range queries of the pack `node_exporter`.

    Args:
        since_ms: [ms since the epoch] first sample.
        fail_after: [1] questions after which it is away; None: never.
        hang_after: [1] questions after which it does not answer any more.
    """

    since_ms: int
    fail_after: int | None = None
    hang_after: int | None = None
    asked: list[str] = field(default_factory=list)
    hanging: asyncio.Event = field(default_factory=asyncio.Event)

    def load(self, node: str, time_ms: float) -> float:
        """The load of a node: a straight line, so that between two samples it is as it was."""
        return (time_ms - self.since_ms) / 1_000_000 + NODES.index(node)

    def born_ms(self, node: str) -> int:
        """[ms since the epoch] First sample of a node."""
        return self.since_ms + BORN_MS * NODES.index(node)

    async def answer(self, request: web.Request) -> web.Response:
        """One question."""
        form: Any = request.query or await request.post()
        self.asked.append(form["query"])
        if self.hang_after is not None and len(self.asked) > self.hang_after:
            self.hanging.set()
            await asyncio.Event().wait()
        if self.fail_after is not None and len(self.asked) > self.fail_after:
            return web.json_response(
                {"status": "error", "errorType": "unavailable", "error": "gone"}, status=403
            )
        start_ms, end_ms, step_ms = (round(float(form[name]) * 1000) for name in ("start", "end", "step"))
        result = [
            {"metric": labels, "values": values}
            for node in NODES
            for labels, value in self._series(form["query"], node)
            if (
                values := [
                    [time_ms / 1000, str(value(_sampled(time_ms)))]
                    for time_ms in range(start_ms, end_ms + 1, step_ms)
                    if _sampled(time_ms) >= self.born_ms(node)
                ]
            )
        ]
        return web.json_response({"status": "success", "data": {"resultType": "matrix", "result": result}})

    def _series(self, query: str, node: str) -> list[tuple[dict[str, str], Any]]:
        labels = {"instance": f"{node}:9100", "job": "node"}
        if query == "timestamp(up)":
            return [(labels, lambda sampled_ms: sampled_ms / 1000)]
        found: list[tuple[dict[str, str], Any]] = []
        if "node_load1" in query:
            found.append(
                ({"__name__": "node_load1", **labels}, lambda sampled_ms: self.load(node, sampled_ms))
            )
        if query.startswith("node_uname_info"):
            name = {"__name__": "node_uname_info", "nodename": node, "machine": "x86_64", "sysname": "Linux"}
            found.append((name | labels, lambda _: 1))
        return found


def _sampled(time_ms: int) -> int:
    return time_ms - time_ms % 5_000 - LAG_MS


@asynccontextmanager
async def serving(server: PastPrometheus) -> AsyncIterator[str]:
    """The server's address."""
    app = web.Application()
    app.router.add_route("*", "/api/v1/query_range", server.answer)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    try:
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()
