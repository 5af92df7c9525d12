"""A made-up Prometheus server with nodes of twelve series each: `python -m streams.bench.pastserver NODES`.

It answers range queries of the rule pack `node_exporter`, all others with nothing, as fast as it can: what
it says is put together from texts that were made before. It prints its port.
"""

import asyncio
import json
import re
import sys
from functools import lru_cache

from aiohttp import web

from streams.rulebook import load_rulebook

PLAIN = (
    *("node_memory_MemTotal_bytes", "node_memory_MemAvailable_bytes", "node_load1", "node_load5"),
    *("node_filesystem_size_bytes", "node_filesystem_avail_bytes", "up", "node_uname_info"),
)
"""Series that keep their names in an answer."""

COMPUTED = (
    *("node_cpu_busy_seconds", "node_cpu_count"),
    *("node_network_received_bytes", "node_network_transmitted_bytes"),
)
"""Queries whose answers have no name."""

COUNTERS = ("node_cpu_busy_seconds", "node_network_received_bytes", "node_network_transmitted_bytes")

SHAPES = 50
"""[1] Nodes of this distance have the same values, so that texts are made once for all of them."""


class Past:
    """What the server has."""

    def __init__(self, nodes: int) -> None:
        self._nodes = nodes
        self._asked = {
            query.promql: [
                name
                for name in (*PLAIN, *COMPUTED)
                if (name in COMPUTED and query.name == name) or _selects(query.promql, name)
            ]
            for query in load_rulebook().packs["node_exporter"].queries
        }

    def answer(self, query: str, start_ms: int, end_ms: int, step_ms: int) -> bytes:
        """The body for one query."""
        if query == "timestamp(up)":
            names = ["timestamp"]
        else:
            names = self._asked.get(query, [])
        span = start_ms, end_ms, step_ms
        parts = [
            f'{{"metric":{self._labels(name, node)},"values":[{_values(name, node % SHAPES, *span)}]}}'
            for name in names
            for node in range(self._nodes)
        ]
        return (
            '{"status":"success","data":{"resultType":"matrix","result":[' + ",".join(parts) + "]}}"
        ).encode()

    def _labels(self, name: str, node: int) -> str:
        labels = {"instance": f"node{node:04}:9100", "job": "node"}
        if name in PLAIN:
            labels["__name__"] = name
        if name == "node_uname_info":
            labels |= {"nodename": f"node{node:04}", "machine": "x86_64", "sysname": "Linux"}
        if name.startswith("node_filesystem"):
            labels |= {"mountpoint": "/", "fstype": "ext4", "device": "/dev/sda1"}
        return json.dumps(labels)


def _selects(promql: str, name: str) -> bool:
    return name in PLAIN and re.search(rf"\b{name}\b", promql) is not None


@lru_cache(maxsize=10_000)
def _values(name: str, shape: int, start_ms: int, end_ms: int, step_ms: int) -> str:
    return ",".join(
        f'[{time_ms / 1000:g},"{_value(name, shape, time_ms)}"]'
        if time_ms % 1000
        else f'[{time_ms // 1000},"{_value(name, shape, time_ms)}"]'
        for time_ms in range(start_ms, end_ms + 1, step_ms)
    )


def _value(name: str, shape: int, time_ms: int) -> str:
    sampled_ms = time_ms - time_ms % 5_000 - 37 * shape
    turn = sampled_ms // 5_000 % 1_000_000
    if name == "timestamp":
        return f"{sampled_ms / 1000:.3f}"
    if name in ("up", "node_uname_info"):
        return "1"
    if name == "node_cpu_count":
        return "16"
    if name in COUNTERS:
        return f"{turn * (3.7 + shape):.3f}"
    if name == "node_memory_MemAvailable_bytes":
        return str(20_000_000_000 + (turn * 7919 + shape) % 1_000_000_007)
    if name.startswith("node_load"):
        return f"{(turn * 13 + shape * 7) % 50 / 10:.2f}"
    return "64000000000"


async def serve(nodes: int) -> None:
    """Answer until the process is ended."""
    past = Past(nodes)

    async def query_range(request: web.Request) -> web.Response:
        form = request.query or await request.post()
        start_ms, end_ms, step_ms = (
            round(float(str(form[name])) * 1000) for name in ("start", "end", "step")
        )
        body = past.answer(str(form["query"]), start_ms, end_ms, step_ms)
        return web.Response(body=body, content_type="application/json")

    app = web.Application()
    app.router.add_route("*", "/api/v1/query_range", query_range)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    sys.stdout.write(f"{runner.addresses[0][1]}\n")
    sys.stdout.flush()
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(serve(int(sys.argv[1])))
