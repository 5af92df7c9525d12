"""Whole topics as lists: what a test compares with, read up to their true ends."""

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition

from streams.errors import InvalidMessageError
from streams.kafka import client_options
from streams.offsets import true_end_offsets
from streams.records import State, Tick
from streams.schemas import load_codec
from streams.settings import Settings
from streams.topics import topics_of

READ_S = 60.0
"""[s] Enough for a million records."""


@dataclass(frozen=True)
class Message:
    """One message of a topic."""

    partition: int
    offset: int
    key: bytes | None
    value: bytes | None

    def decoded(self, record: str) -> Any:
        """The record in it."""
        return load_codec(record).decode(self.value)


async def read_topic(settings: Settings, record: str) -> list[Message]:
    """All messages that are there now, by partition and offset."""
    messages: list[Message] = []
    async with _consumer(settings, record) as (consumer, partitions):
        await consumer.seek_to_beginning(*partitions)
        ends = await true_end_offsets(consumer, partitions, embedded=settings.embedded)
        behind = {tp for tp in partitions if ends[tp] > await consumer.position(tp)}
        async with asyncio.timeout(READ_S):
            while behind:
                for tp, found in (await consumer.getmany(*behind, timeout_ms=100)).items():
                    messages += [
                        Message(tp.partition, one.offset, one.key, one.value)
                        for one in found
                        if one.offset < ends[tp]
                    ]
                for tp in list(behind):
                    if await consumer.position(tp) >= ends[tp]:
                        behind.remove(tp)
    return sorted(messages, key=lambda message: (message.partition, message.offset))


async def read_records(settings: Settings, record: str) -> list[Any]:
    """All records of a topic that decode, by partition and offset."""
    found = []
    for message in await read_topic(settings, record):
        try:
            found.append(message.decoded(record))
        except InvalidMessageError:
            continue  # a test put it there
    return found


async def end_offsets(settings: Settings, record: str) -> dict[int, int]:
    """Offset after the last message by partition."""
    async with _consumer(settings, record) as (consumer, partitions):
        await consumer.seek_to_beginning(*partitions)
        ends = await true_end_offsets(consumer, partitions, embedded=settings.embedded)
    return {tp.partition: end for tp, end in ends.items()}


async def committed(settings: Settings, role: str, record: str) -> dict[int, int]:
    """Offset by partition up to which the group of a role has acknowledged; 0 where it has nothing."""
    async with _consumer(settings, record, f"{settings.topic_prefix}-{role}") as (consumer, partitions):
        return {tp.partition: await consumer.committed(tp) or 0 for tp in partitions}


@asynccontextmanager
async def producer(settings: Settings) -> AsyncIterator[AIOKafkaProducer]:
    """A producer that waits for Kafka's answers."""
    async with AIOKafkaProducer(**client_options(settings), acks="all", linger_ms=5) as sender:
        yield sender


async def send(
    settings: Settings, record: str, messages: Iterable[tuple[int, bytes | None, bytes]]
) -> list[tuple[int, int]]:
    """Send (partition, key, value) each; return (partition, offset) of each."""
    topic = topics_of(settings)[record]
    async with producer(settings) as sender:
        answers = [
            await sender.send(topic, value, key=key, partition=number) for number, key, value in messages
        ]
        sent = [await answer for answer in answers]
    return [(one.partition, one.offset) for one in sent]


def newest_states(messages: Iterable[Message]) -> dict[str, State]:
    """State of each entity by the rule that all readers follow: highest (epoch, version), or a tombstone."""
    states: dict[str, State] = {}
    for message in messages:
        key = (message.key or b"").decode(errors="replace")
        if message.value is None:
            states.pop(key, None)
            continue
        state: State = message.decoded("state")
        known = states.get(key)
        if known is None or (state["epoch"], state["version"]) >= (known["epoch"], known["version"]):
            states[key] = state
    return states


def tick_rows(ticks: Iterable[Tick]) -> dict[tuple[str, str, str, int], tuple[Any, ...]]:
    """Closed ticks by (world, kind, id, tick): a repeated one must be equal, or this raises."""
    rows: dict[tuple[str, str, str, int], tuple[Any, ...]] = {}
    for tick in ticks:
        start = 0
        for place, size in enumerate(tick["sizes"]):
            stop = start + size
            key = (tick["world"], tick["kinds"][place], tick["ids"][place], tick["ticks_ms"][place])
            row = (
                tick["pools"][place],
                tick["complete"][place],
                tick["simulated"][place],
                tick["versions"][place],
                [tick["names"][metric] for metric in tick["metrics"][start:stop]],
                tick["values"][start:stop],
                tick["qualities"][start:stop],
            )
            start = stop
            assert rows.setdefault(key, row) == row, f"closed tick {key} was published with two contents"
    return rows


def change_rows(ticks: Iterable[Tick]) -> dict[tuple[str, str, str, int], list[tuple[Any, ...]]]:
    """Changes of status and attributes by (world, kind, id, version), without repetitions."""
    names = [name for name in Tick.__annotations__ if name.startswith("change_")]
    rows: dict[tuple[str, str, str, int], list[tuple[Any, ...]]] = defaultdict(list)
    for tick in ticks:
        for row in zip(*(tick[name] for name in names), strict=True):  # type: ignore[literal-required]
            named = dict(zip(names, row, strict=True))
            key = (tick["world"], named["change_kinds"], named["change_ids"], named["change_versions"])
            if row not in rows[key]:
                rows[key].append(row)
    return dict(rows)


@asynccontextmanager
async def _consumer(
    settings: Settings, record: str, group: str | None = None
) -> AsyncIterator[tuple[AIOKafkaConsumer, list[TopicPartition]]]:
    partitions = [
        TopicPartition(topics_of(settings)[record], number) for number in range(settings.partitions)
    ]
    async with AIOKafkaConsumer(
        **client_options(settings), group_id=group, enable_auto_commit=False, fetch_max_wait_ms=100
    ) as consumer:
        consumer.assign(partitions)
        yield consumer, partitions
