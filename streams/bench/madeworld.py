"""A `twin web` with made-up nodes in `state`, which nobody changes but the measurement."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable, Sequence

import aiohttp
from aiokafka import AIOKafkaProducer

from streams.bench.freshness import made_states
from streams.bench.runs import of_run, process, producer_of
from streams.domain.keys import partition_of
from streams.embedded.broker import free_port
from streams.errors import TwinError
from streams.records import State
from streams.schemas import load_codec
from streams.settings import Settings
from streams.topics import create_topics, topics_of

START_S = 60.0
"""[s] For `twin web` to answer."""

Edit = Callable[[State], None]
"""Changes a record."""


class MadeWorld:
    """The nodes, and the web role that shows them.

    Args:
        run: settings of the measurement; `url` is the address of the web role, without a slash at the end.
        web: the process.
        states: records by key.
    """

    def __init__(
        self,
        run: Settings,
        web: asyncio.subprocess.Process,
        producer: AIOKafkaProducer,
        states: dict[str, State],
    ) -> None:
        self.run, self.web, self.states = run, web, states
        self.url = f"http://127.0.0.1:{run.web_port}"
        self._producer, self._topic = producer, topics_of(run)["state"]

    async def fill(self) -> None:
        """Write all records, and wait until the web role has them."""
        for key in self.states:
            await self._send(key)
        await self._producer.flush()
        await until_ready(self.url, self.web)

    @contextlib.asynccontextmanager
    async def changing(
        self, per_s: float, keys: Sequence[str] = (), edit: Edit = lambda _: None
    ) -> AsyncIterator[None]:
        """Change one record after the other meanwhile, so many a second.

        Args:
            keys: in this order; none: in that of the states.
            edit: what else changes than the version and when it was seen.
        """
        feeding = asyncio.create_task(self._feed(per_s, keys or list(self.states), edit))
        try:
            yield
        finally:
            feeding.cancel()
            await asyncio.gather(feeding, return_exceptions=True)

    async def _feed(self, per_s: float, keys: Sequence[str], edit: Edit) -> None:
        number, begun_s = 0, time.monotonic()
        while True:
            if (wait_s := begun_s + number / per_s - time.monotonic()) > 0:
                await asyncio.sleep(wait_s)
            state = self.states[keys[number % len(keys)]]
            state["version"] += 1
            state["seen_ms"] = int(time.time() * 1000)
            edit(state)
            await self._send(keys[number % len(keys)])
            number += 1

    async def _send(self, key: str) -> None:
        value, home = load_codec("state").encode(self.states[key]), partition_of(key, self.run.partitions)
        await self._producer.send(self._topic, value, key=key.encode(), partition=home)


@contextlib.asynccontextmanager
async def made_world(
    settings: Settings, name: str, nodes: int, edit: Callable[[int, State], None] = lambda number, state: None
) -> AsyncIterator[MadeWorld]:
    """A world of so many nodes; `edit` may change each of them, by its number, before it is written."""
    run = of_run(settings, name).model_copy(update={"web_port": free_port()})
    await create_topics(run)
    states = dict(made_states(nodes))
    for number, state in enumerate(states.values()):
        edit(number, state)
    async with producer_of(run) as producer, process(run, "streams", "web") as web:
        world = MadeWorld(run, web, producer, states)
        await world.fill()
        yield world


async def until_ready(url: str, web: asyncio.subprocess.Process) -> None:
    """Return once a web role has all that is in the topic.

    Raises:
        TwinError: it ended.
    """
    async with asyncio.timeout(START_S), aiohttp.ClientSession(url) as session:
        while True:
            if web.returncode is not None:
                raise TwinError(f"twin web ended with {web.returncode} while it was measured")
            with contextlib.suppress(aiohttp.ClientError):
                async with session.get("/health/ready") as answer:
                    if answer.status == 200:
                        return
            await asyncio.sleep(0.2)
