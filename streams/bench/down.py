"""How soon a dead target is `down` in `state`."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from aiohttp import web
from aiokafka import AIOKafkaConsumer

from streams.bench.runs import DEADLINE_S, of_run, process, state_reader
from streams.schemas import load_codec
from streams.settings import Settings
from streams.topics import create_topics

INTERVAL_S = 2.0
"""[s] Scrape interval of the target; its time-out is half of it."""

ANSWERS = 5
"""[1] Scrapes that the target answers before it dies."""


async def dead_target(settings: Settings) -> dict[str, Any]:
    """Seconds from the last answer of a target to `down`, and how many there may be."""
    with TemporaryDirectory() as folder:
        answered: list[float] = []
        async with _exporter(answered) as (runner, port):
            config = Path(folder) / "twin.yaml"
            config.write_text(
                f"sources:\n  - {{kind: exposition, url: 'http://127.0.0.1:{port}/metrics',"
                f" pack: node_exporter, interval_s: {INTERVAL_S}}}\n"
            )
            run = of_run(settings, "down").model_copy(update={"config": config})
            await create_topics(run)
            async with (
                process(run, "streams", "worker"),
                process(run, "streams", "collect"),
                state_reader(run) as reader,
                asyncio.timeout(DEADLINE_S),
            ):
                while await _status(reader) != "up" or len(answered) < ANSWERS:
                    pass
                await runner.cleanup()
                while await _status(reader) != "down":
                    pass
                return {
                    "seconds": time.monotonic() - answered[-1],
                    "limit_s": 2 * INTERVAL_S + INTERVAL_S / 2 + 1,
                }


async def _status(reader: AIOKafkaConsumer) -> str:
    """Status in the newest state that came; empty when none did."""
    found = [message for messages in (await reader.getmany(timeout_ms=50)).values() for message in messages]
    return str(load_codec("state").decode(found[-1].value)["status"]) if found else ""


@contextlib.asynccontextmanager
async def _exporter(answered: list[float]) -> AsyncIterator[tuple[web.AppRunner, int]]:
    async def metrics(_request: web.Request) -> web.Response:
        answered.append(time.monotonic())
        return web.Response(
            text='node_uname_info{nodename="benchhost",machine="x86_64",sysname="Linux"} 1\nnode_load1 0.5\n'
        )

    application = web.Application()
    application.router.add_get("/metrics", metrics)
    runner = web.AppRunner(application, access_log=None)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        yield runner, int(runner.addresses[0][1])
    finally:
        await runner.cleanup()
