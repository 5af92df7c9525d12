"""How soon `twin web` answers a DECICE scheduler that asks for the whole twin."""

import asyncio
import time
from typing import Any

import aiohttp

from streams.bench.runs import DEADLINE_S, of_run, process, producer_of, state_reader
from streams.bench.worlds import NODES, feed_live, fill_live
from streams.embedded.broker import free_port
from streams.settings import Settings
from streams.topics import create_topics

PATH = "/api/v2/model_core"
REQUESTS_PER_S = 50.0
"""[1/s] Begun at their time whether the earlier ones were answered or not."""


async def model_core(settings: Settings, seconds: float = 20.0) -> dict[str, Any]:
    """GET the document of 1,000 live nodes that are scraped every 5 s: time to its last byte [ms]."""
    run = of_run(settings, "decice").model_copy(update={"web_port": free_port()})
    await create_topics(run)
    url = f"http://127.0.0.1:{run.web_port}"
    async with (
        process(run, "streams", "worker"),
        process(run, "streams", "web"),
        producer_of(run) as producer,
        state_reader(run) as reader,
        aiohttp.ClientSession(url, connector=aiohttp.TCPConnector(limit=0)) as session,
        asyncio.timeout(DEADLINE_S),
    ):
        await fill_live(run, producer, reader)
        await _until_whole(session)
        feeding = asyncio.create_task(feed_live(run, producer))
        try:
            answers = await _ask(session, seconds)
        finally:
            feeding.cancel()
    times = sorted(took_ms for took_ms, _, _ in answers)
    p99 = times[int(len(times) * 0.99)]
    wrong = sum(status != 200 for _, status, _ in answers)
    return {
        "requests": len(times),
        "not_200": wrong,
        "p50_ms": times[len(times) // 2],
        "p99_ms": p99,
        "max_ms": times[-1],
        "bytes": max(size for _, _, size in answers),
        "rows": [
            (
                f"GET {PATH}, {NODES:,} nodes at {REQUESTS_PER_S:.0f} requests/s, p99, ms",
                "≤ 50",
                f"{p99:.0f} (p50 {times[len(times) // 2]:.0f})" + (f", {wrong} not 200" if wrong else ""),
                p99 <= 50 and not wrong,
            )
        ],
    }


async def _until_whole(session: aiohttp.ClientSession) -> None:
    """Until the document has all nodes."""
    while True:
        try:
            async with session.get(PATH) as answer:
                if answer.status == 200 and _nodes(await answer.json()) >= NODES:
                    return
        except aiohttp.ClientError:
            pass  # it is still starting
        await asyncio.sleep(0.2)


def _nodes(document: dict[str, Any]) -> int:
    return sum(len(pool["nodes"]) for pool in document["vertexpools"])


async def _ask(session: aiohttp.ClientSession, seconds: float) -> list[tuple[float, int, int]]:
    """Time [ms], status and bytes of each answer."""

    async def get(due: float) -> tuple[float, int, int]:
        await asyncio.sleep(max(0.0, due - time.monotonic()))
        async with session.get(PATH) as answer:
            size = len(await answer.read())
            return (time.monotonic() - due) * 1000, answer.status, size

    begin = time.monotonic() + 0.1
    count = int(seconds * REQUESTS_PER_S)
    return await asyncio.gather(*(get(begin + number / REQUESTS_PER_S) for number in range(count)))
