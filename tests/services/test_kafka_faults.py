"""Kafka restarted, killed and stalled in full flow, and topics that are quite new: nothing is lost."""

import asyncio
import json
from collections import Counter

import pytest

from streams.settings import Settings
from tests.services import roles
from tests.services.conftest import MakeSettings, StartRole
from tests.services.load import SAMPLES_OF_A_NODE, send_scrapes
from tests.services.replaying import assert_equal_to_replay, counted_samples, recorded_samples
from tests.services.stack import control
from tests.services.topiclog import committed, read_topic
from tests.services.waiting import until

pytestmark = pytest.mark.timeout(240)

NODES = 10
"""[1] Nodes of each of 10 targets; with two scrapes a second 200 updates a second."""

STALL_S = 5.0
"""[s] Longer than the group's session here: Kafka throws all out when it goes on."""


async def restart() -> None:
    await asyncio.to_thread(control.restart, ["kafka"])


async def kill() -> None:
    await asyncio.to_thread(control.kill, ["kafka"])
    await asyncio.to_thread(control.start, ["kafka"])


async def stall() -> None:
    control.pause(["kafka"])
    try:
        await asyncio.sleep(STALL_S)
    finally:
        control.resume(["kafka"])


@pytest.mark.parametrize("fault", [restart, kill, stall])
async def test_fault_of_kafka_in_full_flow_loses_nothing(
    make_settings: MakeSettings, role: StartRole, fault: object
) -> None:
    settings = await make_settings(partitions=12, step_ms=500)
    workers = [await role("worker", settings, supervised=True) for _ in range(2)]

    stop = asyncio.Event()
    flow = asyncio.create_task(send_scrapes(settings, 10, NODES, 500, stop, 120))
    await asyncio.sleep(3)  # into full flow
    await fault()  # type: ignore[operator]
    await asyncio.sleep(3)  # and out of it
    stop.set()
    _, ends = await flow
    await _applied(settings, ends)
    for worker in workers:
        await worker.ready()
    code, out, err = await roles.run(["ledger", "--json"], settings)
    await asyncio.gather(*(worker.stop() for worker in workers))

    assert code == 0, out + err
    assert json.loads(out)["balanced"]
    assert all(exit_code == 1 for worker in workers for exit_code in worker.exit_codes), (
        "1 asks for a restart"
    )
    result = await assert_equal_to_replay(settings)
    assert recorded_samples(result.states) == await _samples_sent(settings)


async def test_first_messages_of_fresh_topics_are_applied(
    make_settings: MakeSettings, role: StartRole
) -> None:
    for _ in range(2):
        settings = await make_settings(partitions=12, step_ms=500)
        stop = asyncio.Event()
        flow = asyncio.create_task(send_scrapes(settings, 24, 2, 500, stop, 60))
        worker = await role("worker", settings)
        await asyncio.sleep(1)
        stop.set()
        _, ends = await flow
        await _applied(settings, ends)
        await worker.stop()

        result = await assert_equal_to_replay(settings)
        assert recorded_samples(result.states) == await _samples_sent(settings)


async def _samples_sent(settings: Settings) -> Counter[str]:
    """What the scrapes in the log give: a producer that got no answer may have sent one twice."""
    samples: Counter[str] = Counter()
    for message in await read_topic(settings, "scrape"):
        scrape = message.decoded("scrape")
        samples[scrape["source"]] += len(scrape["series"]) // 5 * SAMPLES_OF_A_NODE
    assert samples == counted_samples(await read_topic(settings, "observation"))
    return samples


async def _applied(settings: Settings, ends: dict[int, int]) -> None:
    """Wait until all scrapes, and all observations of them, are acknowledged."""
    await _acknowledged(settings, "scrape", ends)
    observed = {
        message.partition: message.offset + 1
        for message in await read_topic(settings, "observation")
        if message.decoded("observation")["type"] != "clock"
    }
    await _acknowledged(settings, "observation", observed)


async def _acknowledged(settings: Settings, record: str, ends: dict[int, int]) -> None:
    async def done() -> bool:
        offsets = await committed(settings, "worker", record)
        return all(offsets[number] >= end for number, end in ends.items())

    await until(done, 90, f"all of {record} is acknowledged", every_s=0.5)
