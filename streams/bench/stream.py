"""How soon 1,000 clients of the stream are told of a change, by one `twin web`, and that its memory stays."""

import asyncio
import json
import random
import statistics
import sys
from typing import Any
from urllib.parse import urlencode

import psutil

from streams.bench.madeworld import MadeWorld, made_world
from streams.domain.keys import split_key
from streams.errors import TwinError
from streams.records import State
from streams.settings import Settings

NODES = 1_000
"""[1] Entities of the world."""

CLIENTS = 1_000
"""[1] Each has a filter of its own."""

RACKS = 10
"""[1] A filter lets one of them through."""

CHANGES_PER_S = 100
"""[1/s] In all."""

SECONDS = 60.0
"""[s] Length of the measurement."""

WARM_S = 10.0
"""[s] Of it at the beginning, in which memory may still grow."""

DEADLINE_S = 400.0
"""[s] After so long it is given up."""


async def stream_delivery(settings: Settings) -> dict[str, Any]:
    """From the making of a record to its arrival at each client that wants it [ms]."""
    async with asyncio.timeout(DEADLINE_S), made_world(settings, "stream", NODES, _place) as world:
        clients = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "streams.bench.streamclients", str(world.run.web_port), str(SECONDS)),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            limit=1 << 28,
        )
        try:
            found, memory = await _measure(world, clients)
        finally:
            if clients.returncode is None:
                clients.kill()
                await clients.wait()
    return _result(found, memory)


def _place(number: int, state: State) -> None:
    state["attributes"] = {"rack": f"r{number % RACKS}", "nodepool": str(number % 4)}


async def _measure(
    world: MadeWorld, clients: asyncio.subprocess.Process
) -> tuple[dict[str, Any], dict[str, Any]]:
    assert clients.stdin is not None  # noqa: S101  # it is a pipe
    assert clients.stdout is not None  # noqa: S101  # it is a pipe
    keys, web = list(world.states), psutil.Process(world.web.pid)
    clients.stdin.write("\n".join(_paths(keys)).encode())
    clients.stdin.close()
    random.Random(3).shuffle(keys)
    async with world.changing(CHANGES_PER_S, keys):
        if await clients.stdout.readline() != b"live\n":
            raise TwinError("the clients ended before they had their snapshots")
        cpu = web.cpu_times()
        watching = asyncio.create_task(_watch(web))
        found = json.loads(await clients.stdout.readline())
        watching.cancel()
        now = web.cpu_times()
    resident = (await asyncio.gather(watching, return_exceptions=True))[0]
    assert isinstance(resident, list)  # noqa: S101
    cpu_share = (now.user + now.system - cpu.user - cpu.system) / SECONDS
    return found, {"resident_mib": resident, "web_cpu_share": cpu_share}


async def _watch(web: psutil.Process) -> list[float]:
    """[MiB] Of the process, each second, until it is told to end."""
    resident: list[float] = []
    try:
        while True:
            resident.append(web.memory_info().rss / 2**20)
            await asyncio.sleep(1)
    except asyncio.CancelledError:
        return resident


def _paths(keys: list[str]) -> list[str]:
    """Half want a hundred ids each, half a rack and a value that all have: a tenth of all, either way."""
    chance = random.Random(7)
    ids = [split_key(key)[2] for key in keys]
    found: list[list[tuple[str, str]]] = []
    for number in range(CLIENTS):
        if number % 2:
            found.append([("id", id) for id in chance.sample(ids, NODES // RACKS)])
        else:
            found.append([("where", f"attributes.rack=r{number % RACKS} mem_total_bytes>{number}")])
    return [f"/twin/v1/stream?{urlencode(params)}" for params in found]


def _result(found: dict[str, Any], memory: dict[str, Any]) -> dict[str, Any]:
    delays = found.pop("delays_ms")
    if not delays:
        raise TwinError("no client was told of a change")
    p95_ms = delays[int(len(delays) * 0.95)]
    resident = memory["resident_mib"][int(WARM_S) :]
    quarter = max(1, len(resident) // 4)
    first, last = statistics.mean(resident[:quarter]), statistics.mean(resident[-quarter:])
    growth = 100 * (last / first - 1)
    per_s = len(delays) / SECONDS
    what = f"{CLIENTS:,} streams, each with a filter that lets a tenth through, {CHANGES_PER_S} changes/s"
    reached = p95_ms <= 1_000 and not found["lost"]
    lost = f", {found['lost']} lost" if found["lost"] else ""
    return {
        **found,
        **memory,
        "p50_ms": delays[len(delays) // 2],
        "p95_ms": p95_ms,
        "p99_ms": delays[int(len(delays) * 0.99)],
        "max_ms": delays[-1],
        "delivered_per_s": per_s,
        "rows": [
            (
                f"{what}: delivery p95, ms",
                "≤ 1,000",
                f"{p95_ms:,.0f} (p50 {delays[len(delays) // 2]:,.0f}; {per_s:,.0f} messages/s){lost}",
                reached,
            ),
            (
                f"growth of that web role's memory in {len(resident)} s, %",
                "≤ 2",
                f"{growth:.1f} ({last:.0f} MiB)",
                growth <= 2,
            ),
        ],
    }
