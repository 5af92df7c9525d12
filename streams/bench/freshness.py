"""How fresh states are, and how soon they are again after a worker was killed."""

import asyncio
import time
from collections.abc import Iterator
from typing import Any
from zlib import crc32

import psutil
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer

from streams.bench.load import INTERVAL_MS, observation, scrape
from streams.bench.runs import DEADLINE_S, of_run, process, producer_of, state_reader
from streams.domain.keys import partition_of
from streams.domain.twin import Partition
from streams.errors import TwinError
from streams.records import State
from streams.schemas import load_codec
from streams.settings import Settings
from streams.topics import create_topics, topics_of


async def freshness(settings: Settings, updates_per_s: float, seconds: float) -> dict[str, Any]:
    """Scrape received -> state readable by another process [ms], targets spread over their interval.

    Targets have ten nodes each; afterwards one scrape of 1,000 nodes is timed to its last state. The
    worker's memory is compared between 30 % of the time, when it has settled, and the end.
    """
    run = of_run(settings, "fresh")
    await create_topics(run)
    targets = max(1, int(updates_per_s * INTERVAL_MS / 1000 / 10))
    async with (
        process(run, "streams", "worker") as child,
        producer_of(run) as producer,
        state_reader(run) as reader,
    ):
        await _until_states(run, producer, reader)
        ages: list[float] = []
        memory = [(time.monotonic(), _resident_bytes(child))]
        feeding = asyncio.create_task(_feed(run, producer, targets, seconds))
        while not feeding.done():
            ages += await _ages(reader)
            memory.append((time.monotonic(), _resident_bytes(child)))
        feeding.result()
        settled = next(size for at, size in memory if at >= memory[0][0] + 0.3 * seconds)
        ages.sort()
        burst_ms = await _burst(run, producer, reader)
    if not ages:
        raise TwinError("no state was seen during the measurement of freshness")
    return {
        "updates_per_s": updates_per_s,
        "seconds": seconds,
        "states": len(ages),
        "p50_ms": ages[len(ages) // 2],
        "p95_ms": ages[int(len(ages) * 0.95)],
        "p99_ms": ages[int(len(ages) * 0.99)],
        "max_ms": ages[-1],
        "scrape_of_1000_last_state_ms": burst_ms,
        "resident_bytes": memory[-1][1],
        "resident_growth_percent": 100 * (memory[-1][1] / settled - 1),
    }


def _resident_bytes(child: asyncio.subprocess.Process) -> int:
    return int(psutil.Process(child.pid).memory_info().rss)


async def _send_scrape(run: Settings, producer: AIOKafkaProducer, first: int, count: int, turn: int) -> None:
    record = scrape(first, count, turn, int(time.time() * 1000))
    key = f"{record['source']}/{record['target']}".encode()
    value = load_codec("scrape").encode(record)
    await producer.send(topics_of(run)["scrape"], value, key=key, partition=crc32(key) % run.partitions)


async def _until_states(run: Settings, producer: AIOKafkaProducer, reader: AIOKafkaConsumer) -> None:
    async with asyncio.timeout(DEADLINE_S):
        for turn in range(1, 10_000):
            await _send_scrape(run, producer, 0, 10, turn)
            if await reader.getmany(timeout_ms=500):
                return


async def _feed(run: Settings, producer: AIOKafkaProducer, targets: int, seconds: float) -> None:
    begin = time.monotonic()
    for number in range(int(seconds * 1000 / INTERVAL_MS * targets)):
        due = begin + number * INTERVAL_MS / 1000 / targets
        if (wait := due - time.monotonic()) > 0:
            await asyncio.sleep(wait)
        await _send_scrape(run, producer, 10 * (number % targets), 10, 100 + number // targets)


async def _ages(reader: AIOKafkaConsumer) -> list[float]:
    """[ms] From scrape to now, of the states that came; one in five is decoded."""
    found = await reader.getmany(timeout_ms=50)
    now_ms = time.time() * 1000
    states: Iterator[State] = (
        load_codec("state").decode(message.value) for messages in found.values() for message in messages[::5]
    )
    # Records that the clock alone changed are as old as their newest scrape, and not meant here.
    return [now_ms - state["seen_ms"] for state in states if now_ms - state["seen_ms"] < INTERVAL_MS]


async def _burst(run: Settings, producer: AIOKafkaProducer, reader: AIOKafkaConsumer) -> float:
    await reader.seek_to_end()
    await asyncio.gather(*(reader.position(tp) for tp in reader.assignment()))
    waiting = {f"live/node/bench{node}".encode() for node in range(500_000, 501_000)}
    begin = time.monotonic()
    await _send_scrape(run, producer, 500_000, 1_000, 1)
    async with asyncio.timeout(DEADLINE_S):
        while waiting:
            for messages in (await reader.getmany(timeout_ms=50)).values():
                waiting.difference_update(message.key for message in messages)
    return (time.monotonic() - begin) * 1000


async def restart(settings: Settings, entities: int) -> dict[str, Any]:
    """Kill a worker with -9, start another: seconds to its first state beyond the session time-out."""
    run = of_run(settings.model_copy(update={"kafka_session_timeout_ms": 6_000}), "restart")
    await create_topics(run)
    await _fill_states(run, entities)
    async with producer_of(run) as producer, state_reader(run) as reader:
        async with process(run, "streams", "worker"):
            begin = time.monotonic()
            await reader.seek_to_end()
            await _until_states(run, producer, reader)
            first_s = time.monotonic() - begin
        killed = time.monotonic()
        async with process(run, "streams", "worker"):
            await reader.seek_to_end()
            await _until_states(run, producer, reader)
            seconds = time.monotonic() - killed
    session_s = run.kafka_session_timeout_ms / 1000
    return {
        "entities": entities,
        "start_s": first_s,
        "restart_s": seconds,
        "beyond_session_s": seconds - session_s,
    }


def made_states(entities: int) -> Iterator[tuple[str, State]]:
    """Keys and records of made-up nodes as a worker leaves them."""
    now_ms = int(time.time() * 1000)
    for first in range(0, entities, 100):
        states: dict[str, State] = {}
        part = Partition(0, INTERVAL_MS, 3_600_000, {})
        for turn in range(3):
            part.apply(turn, observation(first, 100, turn, now_ms - 9_000 + turn * 3_000, 0, turn), states)
        for key, state in states.items():
            state["version"] = 0
            yield key, state


async def _fill_states(run: Settings, entities: int) -> None:
    """Write `state` as a worker leaves it."""
    codec, topic = load_codec("state"), topics_of(run)["state"]
    async with producer_of(run) as producer:
        for key, state in made_states(entities):
            home = partition_of(key, run.partitions)
            await producer.send(topic, codec.encode(state), key=key.encode(), partition=home)
        await producer.flush()
