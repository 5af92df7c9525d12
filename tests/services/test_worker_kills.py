"""Workers that are killed, paused and restarted at random: the log alone decides what the twin says."""

import asyncio
import contextlib
import random
import signal
from collections import Counter
from collections.abc import AsyncIterator

import pytest

from streams.settings import Settings
from tests.services.conftest import MakeSettings, StartRole
from tests.services.load import Fleet, send_backlog, send_observations, send_scrapes
from tests.services.replaying import (
    assert_equal_to_replay,
    counted_samples,
    entities,
    outcomes,
    recorded_samples,
)
from tests.services.roles import Role, paused
from tests.services.topiclog import committed, read_topic
from tests.services.waiting import until

pytestmark = pytest.mark.timeout(300)

KILLS = 10

LOAD = {"partitions": 12, "step_ms": 500}
"""Short steps, so that in half a minute each entity closes many ticks."""

REMOVAL = {"remove_after_s": 8.0}
"""So that in that time some entities are removed and come back."""


@pytest.mark.parametrize(
    "kills", [KILLS, pytest.param(200, marks=[pytest.mark.soak, pytest.mark.timeout(3_600)])]
)
async def test_kills_leave_no_trace_in_states_and_ticks(
    make_settings: MakeSettings, role: StartRole, kills: int
) -> None:
    settings = await make_settings(**LOAD, **REMOVAL)
    fleet = Fleet(settings, entities=500, interval_ms=500, seed=random.randrange(1_000))
    workers = [await role("worker", settings, supervised=True) for _ in range(2)]

    async with _flow(send_observations(fleet, stop := asyncio.Event(), 3_600)) as flow:
        await _kill_at_random(workers, kills)
        stop.set()
        ends = await flow
    await _applied(settings, "observation", ends)
    await _stop(workers)

    result = await assert_equal_to_replay(settings)
    assert len(entities(result.states)) > 450
    assert sum(recorded_samples(result.states).values()) == fleet.sent_samples
    assert min(outcomes(result.states).values()) > 0, "the load has every outcome"


async def test_ten_kills_lose_no_scrape(make_settings: MakeSettings, role: StartRole) -> None:
    settings = await make_settings(**LOAD)
    workers = [await role("worker", settings, supervised=True) for _ in range(2)]

    async with _flow(send_scrapes(settings, 20, 25, 500, stop := asyncio.Event(), 120)) as flow:
        await _kill_at_random(workers)
        stop.set()
        samples, ends = await flow
    await _applied(settings, "scrape", ends)
    await _applied(settings, "observation", await _ends_without_clock(settings))
    await _stop(workers)

    result = await assert_equal_to_replay(settings)
    nodes = [key for key in entities(result.states) if "/node/" in key]
    assert len(nodes) == 500
    assert recorded_samples(result.states) == Counter(prom=samples)
    assert counted_samples(await read_topic(settings, "observation")) == {"prom": samples}


async def test_kills_amid_a_backlog_lose_nothing(make_settings: MakeSettings, role: StartRole) -> None:
    # More than the queues hold, so that Faust has to hold partitions back when it is killed.
    settings = await make_settings(**LOAD)
    fleet = Fleet(settings, entities=300, interval_ms=500, seed=random.randrange(1_000), chunk=1)
    ends = await send_backlog(fleet, rounds=60)
    workers = [await role("worker", settings, supervised=True) for _ in range(2)]

    await _kill_at_random(workers, kills=3)
    await _applied(settings, "observation", ends)
    await _stop(workers)

    result = await assert_equal_to_replay(settings)
    assert sum(recorded_samples(result.states).values()) == fleet.sent_samples


async def test_worker_that_sleeps_through_a_rebalance_does_no_harm(
    make_settings: MakeSettings, role: StartRole
) -> None:
    session_ms = 6_000
    settings = await make_settings(**LOAD, **REMOVAL, kafka_session_timeout_ms=session_ms)
    fleet = Fleet(settings, entities=500, interval_ms=500, seed=random.randrange(1_000))
    workers = [await role("worker", settings, supervised=True) for _ in range(2)]

    async with _flow(send_observations(fleet, stop := asyncio.Event(), 120)) as flow:
        await asyncio.sleep(2)  # into full flow
        async with paused(workers[0]):
            await asyncio.sleep(2 * session_ms / 1000)
        for worker in workers:
            await worker.ready()
        await asyncio.sleep(2)  # in which both work again
        stop.set()
        ends = await flow
    await _applied(settings, "observation", ends)
    await _stop(workers)

    result = await assert_equal_to_replay(settings)
    assert sum(recorded_samples(result.states).values()) == fleet.sent_samples


async def _kill_at_random(workers: list[Role], kills: int = KILLS) -> None:
    for _ in range(kills):
        await asyncio.sleep(random.uniform(0.5, 4.0))
        await random.choice(workers).kill()
    for worker in workers:
        await worker.ready()


async def _applied(settings: Settings, record: str, ends: dict[int, int]) -> None:
    """Wait until the workers acknowledged everything up to these offsets."""

    async def done() -> bool:
        offsets = await committed(settings, "worker", record)
        return all(offsets[number] >= end for number, end in ends.items())

    await until(done, 60, f"all of {record} is acknowledged", every_s=0.5)


async def _ends_without_clock(settings: Settings) -> dict[int, int]:
    return {
        message.partition: message.offset + 1
        for message in await read_topic(settings, "observation")
        if message.decoded("observation")["type"] != "clock"
    }


async def _stop(workers: list[Role]) -> None:
    """Stop them; none may have ended by itself."""
    await asyncio.gather(*(worker.stop() for worker in workers))
    for worker in workers:
        assert set(worker.exit_codes) <= {-signal.SIGKILL}, worker.tail()


@contextlib.asynccontextmanager
async def _flow(coroutine) -> AsyncIterator[asyncio.Task]:  # type: ignore[no-untyped-def,type-arg]
    task = asyncio.create_task(coroutine)
    try:
        yield task
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
