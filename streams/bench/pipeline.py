"""The worker on a real broker: updates a second beside a bare loop, freshness, restart to fresh."""

import asyncio
import contextlib
import os
import signal
import sys
import time
from collections.abc import AsyncIterator, Iterator
from itertools import repeat
from statistics import median
from typing import Any
from zlib import crc32

import psutil
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition

from streams.bench.load import INTERVAL_MS, observation, scrape
from streams.domain.twin import Partition
from streams.errors import TwinError
from streams.kafka import client_options
from streams.records import State
from streams.schemas import load_codec, load_state_head
from streams.settings import Settings
from streams.topics import create_topics, topics_of

DEADLINE_S = 180.0
"""[s] After so long a measurement that does not end is given up."""

NODES = 1_000
"""[1] Nodes of the throughput measurement."""


def of_run(settings: Settings, name: str, partitions: int = 4) -> Settings:
    """Settings with topics of their own for one measurement."""
    prefix = f"bench-{name}-{int(time.time() * 1000) % 10**9}"
    return settings.model_copy(update={"topic_prefix": prefix, "partitions": partitions, "metrics_port": 0})


def environment(settings: Settings) -> dict[str, str]:
    """The environment of a child process that runs with these settings."""
    told = {
        "TWIN_TOPIC_PREFIX": settings.topic_prefix,
        "TWIN_PARTITIONS": str(settings.partitions),
        "TWIN_METRICS_PORT": "0",
        "TWIN_KAFKA_SESSION_TIMEOUT_MS": str(settings.kafka_session_timeout_ms),
        "TWIN_KAFKA_BOOTSTRAP_SERVERS": settings.kafka_bootstrap_servers or "",
        "TWIN_EMBEDDED": str(settings.embedded).lower(),
        "TWIN_LOG_LEVEL": "WARNING",
    }
    if settings.config:
        told["TWIN_CONFIG"] = str(settings.config)
    return {**os.environ, **told}


@contextlib.asynccontextmanager
async def process(settings: Settings, *module: str) -> AsyncIterator[asyncio.subprocess.Process]:
    """`python -m <module>` as a child that is killed at the end."""
    child = await asyncio.create_subprocess_exec(sys.executable, "-m", *module, env=environment(settings))
    try:
        yield child
    finally:
        if child.returncode is None:
            child.send_signal(signal.SIGKILL)
            await child.wait()


@contextlib.asynccontextmanager
async def producer_of(settings: Settings) -> AsyncIterator[AIOKafkaProducer]:
    """A producer that is stopped at the end."""
    producer = AIOKafkaProducer(
        **client_options(settings), acks="all", linger_ms=2, max_batch_size=256 * 1024
    )
    await producer.start()
    try:
        yield producer
    finally:
        await producer.stop()


@contextlib.asynccontextmanager
async def state_reader(settings: Settings) -> AsyncIterator[AIOKafkaConsumer]:
    """A consumer of the whole topic `state`, without a group."""
    consumer = AIOKafkaConsumer(**client_options(settings), enable_auto_commit=False)
    await consumer.start()
    try:
        topic = topics_of(settings)["state"]
        consumer.assign([TopicPartition(topic, number) for number in range(settings.partitions)])
        await consumer.seek_to_beginning()
        yield consumer
    finally:
        await consumer.stop()


async def throughput(settings: Settings, per_message: int, turns: int, rounds: int = 3) -> dict[str, Any]:
    """Updates a second of the worker and of the bare loop, in turn, on logs of the same content.

    Args:
        per_message: entities of one observation.
        turns: scrapes of each of the 1,000 nodes.
    """
    worker: list[float] = []
    bare: list[float] = []
    for number in range(rounds):
        order = [("streams", "worker"), ("streams.bench.bare",)]
        for module in order if number % 2 == 0 else order[::-1]:
            run = of_run(settings, module[-1].rpartition(".")[2])
            (worker if module[-1] == "worker" else bare).append(
                await _drain_log(run, module, per_message, turns)
            )
    return {
        "worker_updates_per_s": median(worker),
        "bare_updates_per_s": median(bare),
        "ratio": median(w / b for w, b in zip(worker, bare, strict=True)),
        "raw": {"worker": worker, "bare": bare},
    }


async def _drain_log(run: Settings, module: tuple[str, ...], per_message: int, turns: int) -> float:
    """Fill `observation`, let a process apply it all, and return its updates a second."""
    await create_topics(run)
    ends = await _fill(run, per_message, turns)
    seen: list[tuple[int, int, int]] = []
    async with process(run, *module) as child, state_reader(run) as reader:
        waiting = dict(ends)
        async with asyncio.timeout(DEADLINE_S):
            while waiting:
                if child.returncode is not None:
                    raise TwinError(f"{module[-1]} ended with {child.returncode} while it was measured")
                for tp, messages in (await reader.getmany(timeout_ms=200)).items():
                    versions = [int(load_state_head(message.value)["version"]) for message in messages]
                    seen += zip((m.timestamp for m in messages), repeat(tp.partition), versions)
                    if max(versions) >= waiting.get(tp.partition, 1 << 62):
                        del waiting[tp.partition]
    return _rate(seen, ends, per_message)


def _rate(seen: list[tuple[int, int, int]], ends: dict[int, int], per_message: int) -> float:
    """Updates a second, from when all partitions had begun to when all were at their ends.

    A version is one more than the offset of a message, so it says how many messages are done.

    Args:
        seen: (time [ms], partition, version) of each record.
    """
    begun = max(min(at for at, number, _ in seen if number == each) for each in ends)
    done = {
        each: max(version for at, number, version in seen if number == each and at <= begun) for each in ends
    }
    ended = max(at for at, number, version in seen if version <= ends[number])
    return sum(ends[each] - done[each] for each in ends) * per_message / (ended - begun) * 1000


async def _fill(run: Settings, per_message: int, turns: int) -> dict[int, int]:
    """Write the log; return the end of each partition."""
    encode, topic = load_codec("observation").encode, topics_of(run)["observation"]
    begin_ms = int(time.time() * 1000) - turns * INTERVAL_MS
    ends = dict.fromkeys(range(run.partitions), 0)
    share = NODES // run.partitions
    async with producer_of(run) as producer:
        for turn in range(turns):
            for number in range(run.partitions):
                for first in range(number * share, (number + 1) * share, per_message):
                    count = min(per_message, (number + 1) * share - first)
                    message = observation(
                        first, count, turn, begin_ms + turn * INTERVAL_MS, number, ends[number]
                    )
                    await producer.send(topic, encode(message), partition=number)
                    ends[number] += 1
        await producer.flush()
    return ends


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


async def _fill_states(run: Settings, entities: int) -> None:
    """Write `state` as a worker leaves it."""
    codec, topic = load_codec("state"), topics_of(run)["state"]
    now_ms = int(time.time() * 1000)
    async with producer_of(run) as producer:
        for first in range(0, entities, 100):
            states: dict[str, State] = {}
            number = first // 100 % run.partitions
            part = Partition(number, INTERVAL_MS, 3_600_000, {})
            for turn in range(3):
                part.apply(
                    turn, observation(first, 100, turn, now_ms - 9_000 + turn * 3_000, 0, turn), states
                )
            for key, state in states.items():
                state["version"] = 0
                await producer.send(topic, codec.encode(state), key=key.encode(), partition=number)
        await producer.flush()
