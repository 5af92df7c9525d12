"""Closed ticks made up for tests of the sink, and the dead letters that come of bad ones."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterable
from typing import Any

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition

from streams.kafka import client_options
from streams.records import Deadletter, Tick
from streams.schemas import load_codec
from streams.settings import Settings
from streams.topics import topics_of

METRICS = ("cpu_usage_percent", "mem_usage_percent", "mem_total_bytes", "beard_cm")
"""Metrics of each row: two of one measurement, and one that the catalogue does not know."""


def value_of(metric: int, node: int, tick_ms: int) -> float:
    """What a row holds: another value for each metric, node and tick."""
    return metric + node / 1_000 + tick_ms % 10_000_000 / 10.0


def ticks_of(ids: Iterable[str], tick_ms: int, *, epoch: int = 1, changed: bool = False) -> Tick:
    """One closed tick of each node, and for each a change of status if wanted."""
    nodes = list(ids)
    size = len(METRICS)
    tick: Any = {column: [] for column in Tick.__annotations__}
    tick |= {
        "world": "live",
        "epoch": epoch,
        "kinds": ["node"] * len(nodes),
        "ids": nodes,
        "pools": ["1"] * len(nodes),
        "ticks_ms": [tick_ms] * len(nodes),
        "complete": [True] * len(nodes),
        "simulated": [False] * len(nodes),
        "versions": [1] * len(nodes),
        "sizes": [size] * len(nodes),
        "names": list(METRICS),
        "metrics": list(range(size)) * len(nodes),
        "values": [value_of(metric, node, tick_ms) for node in range(len(nodes)) for metric in range(size)],
        "qualities": [0] * (size * len(nodes)),
    }
    for id in nodes if changed else ():
        change = {
            "kinds": "node",
            "ids": id,
            "pools": "1",
            "at_ms": tick_ms,
            "simulated": False,
            "versions": 1,
        }
        change |= {"statuses": "up", "reasons": "", "attributes": '{"arch": "x86_64"}', "removed": False}
        for column, value in change.items():
            tick[f"change_{column}"].append(value)
    return tick  # type: ignore[no-any-return]


@contextlib.asynccontextmanager
async def producer_of(settings: Settings) -> AsyncIterator[AIOKafkaProducer]:
    """A producer that is stopped at the end."""
    producer = AIOKafkaProducer(**client_options(settings))
    await producer.start()
    try:
        yield producer
    finally:
        await producer.stop()


async def send(
    producer: AIOKafkaProducer, settings: Settings, value: Tick | bytes, partition: int = 0
) -> None:
    """Write a tick, or any bytes, into the topic `tick`."""
    data = value if isinstance(value, bytes) else load_codec("tick").encode(value)
    await producer.send_and_wait(topics_of(settings)["tick"], data, partition=partition)


async def dead_letters(settings: Settings, count: int, deadline_s: float = 20.0) -> list[Deadletter]:
    """The first dead letters of all partitions."""
    consumer = AIOKafkaConsumer(
        **client_options(settings), enable_auto_commit=False, auto_offset_reset="earliest"
    )
    await consumer.start()
    try:
        topic = topics_of(settings)["deadletter"]
        consumer.assign([TopicPartition(topic, number) for number in range(settings.partitions)])
        await consumer.seek_to_beginning()
        found: list[Deadletter] = []
        async with asyncio.timeout(deadline_s):
            while len(found) < count:
                for messages in (await consumer.getmany(timeout_ms=200)).values():
                    found += [load_codec("deadletter").decode(message.value) for message in messages]
        return found
    finally:
        await consumer.stop()
