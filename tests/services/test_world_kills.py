"""A scenario gives the same closed ticks, byte for byte, however often the workers are killed."""

import asyncio
import random
import re
import signal
import time
from contextlib import suppress

import aiohttp
import pytest

from streams.domain.worldhash import world_hash
from streams.events import parse_event
from streams.events.sender import EventSender, Sent
from streams.settings import Settings
from streams.tools.worldscan import read_rows
from tests.reference.scenario_log import STEP_MS, Document, scenario_log
from tests.reference.world_hash import reference_hash
from tests.reference.world_logs import log_of_documents
from tests.reference.world_runs import modelled
from tests.services.conftest import MakeSettings, StartRole
from tests.services.roles import Role, run
from tests.services.topiclog import end_offsets
from tests.services.waiting import until
from tests.worlds import catalogue, deadletters, home, taken

pytestmark = pytest.mark.timeout(600)

NODES, STEPS, SEED = 50, 500, 4
KILLS = 3

LOAD = {"partitions": 4, "step_ms": STEP_MS}

SENT_AT_ONCE = 50
"""[1] Events whose answers are awaited together."""


async def test_the_hash_is_the_same_whole_with_three_kills_and_of_the_slow_model(
    make_settings: MakeSettings, role: StartRole
) -> None:
    log = scenario_log(NODES, STEPS, SEED, at_ms=int(time.time() * 1000))

    whole = await make_settings(**LOAD)
    worker = await role("worker", whole)
    await taken(whole, await _send(whole, log), 300)
    await worker.stop()

    killed = await make_settings(**LOAD)
    workers = [await role("worker", killed, supervised=True) for _ in range(2)]
    killing = asyncio.create_task(_kill_owners(killed, workers, await _ticks(whole)))
    sent = await _send(killed, log)
    await killing
    await taken(killed, sent, 300)
    await asyncio.gather(*(one.stop() for one in workers))

    kills = [code for one in workers for code in one.exit_codes]
    assert kills.count(-signal.SIGKILL) == KILLS, kills
    assert set(kills) == {-signal.SIGKILL}, [one.tail() for one in workers]
    rows = await read_rows(whole, "w1")
    assert len({row.tick_ms for row in rows}) >= STEPS
    assert len({row.id for row in rows if row.kind == "node"}) == NODES
    assert await deadletters(whole) == []
    assert world_hash(await read_rows(killed, "w1")) == world_hash(rows)
    assert await _command_says(whole) == world_hash(rows)
    # The slow model takes half a minute.
    assert await asyncio.to_thread(_model_says, log) == world_hash(rows)


def _model_says(log: list[Document]) -> str:
    return reference_hash(modelled(log_of_documents(log), STEP_MS).published, "w1")


async def _command_says(settings: Settings) -> str:
    code, out, err = await run(["world", "hash", "w1"], settings)
    assert code == 0, err
    return out.strip()


async def _send(settings: Settings, log: list[Document]) -> list[Sent]:
    events = [parse_event(document, catalogue()) for document in log]
    sent: list[Sent] = []
    async with EventSender(settings) as sender:
        for first in range(0, len(events), SENT_AT_ONCE):
            sent += await sender.send(events[first : first + SENT_AT_ONCE])
    return sent


async def _ticks(settings: Settings) -> int:
    """Messages in the topic `tick` of the world's partition."""
    return (await end_offsets(settings, "tick"))[home(settings, "w1")]


async def _kill_owners(settings: Settings, workers: list[Role], ticks: int) -> None:
    """Kill whoever has the world's partition, each time when some more of its ticks are there."""
    for kill in range(KILLS):
        due = ticks * (kill + random.uniform(0.2, 0.8)) / (KILLS + 1)

        async def is_due(due: float = due) -> bool:
            return await _ticks(settings) >= due

        await until(is_due, 200, f"{due:.0f} of {ticks} messages of ticks", every_s=0.02)
        await (await _owner(settings, workers)).kill()


async def _owner(settings: Settings, workers: list[Role]) -> Role:
    """The worker that reads observations of the world's partition."""
    pattern = re.compile(
        rf'twin_partition_position_offset{{.*observation.*partition="{home(settings, "w1")}"'
    )
    for worker in workers:
        with suppress(aiohttp.ClientError):  # it was killed, and starts again
            if worker.runs and pattern.search((await worker.get("/metrics"))[1]):
                return worker
    return random.choice([worker for worker in workers if worker.runs] or workers)
