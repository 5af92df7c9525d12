"""Writes state records to Kafka for tests, as a worker would."""

import asyncio
from types import TracebackType
from typing import Self

from aiokafka import AIOKafkaProducer

from streams.domain.keys import entity_key, partition_of
from streams.kafka import client_options
from streams.records import State
from streams.settings import Settings
from streams.topics import topics_of
from tests.factories import encode_state

MAX_UNDER_WAY = 5_000
"""[1] Records that are sent before their answers are awaited."""


class StateWriter:
    """`async with StateWriter(settings) as writer: await writer.put(make_state())`."""

    def __init__(self, settings: Settings, topic: str | None = None) -> None:
        self.topic = topic or topics_of(settings)["state"]
        self._partitions = settings.partitions
        self._producer = AIOKafkaProducer(
            **client_options(settings), acks="all", linger_ms=5, max_batch_size=262_144
        )
        self._under_way: list[asyncio.Future[object]] = []

    async def __aenter__(self) -> Self:
        await self._producer.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._producer.stop()

    async def put(self, *states: State) -> None:
        """Write records and wait until they are there."""
        for state in states:
            await self.send(*encode_state(state, self._partitions))
        await self.flush()

    async def remove(self, world: str, kind: str, id: str) -> None:
        """Write a tombstone."""
        key = entity_key(world, kind, id)
        await self.send(key.encode(), None, partition_of(key, self._partitions))
        await self.flush()

    async def send(self, key: bytes | None, value: bytes | None, partition: int) -> None:
        """Write a record; `flush` waits for it."""
        self._under_way.append(await self._producer.send(self.topic, value, key, partition))
        if len(self._under_way) >= MAX_UNDER_WAY:
            await self.flush()

    async def flush(self) -> None:
        """Wait until all records are there."""
        sent, self._under_way = self._under_way, []
        await asyncio.gather(*sent)
