"""The twin stage in a bare aiokafka loop, without Faust: what the worker is measured against.

Same domain functions, same batches, same order of acknowledgement; run as `python -m streams.bench.bare`.
"""

import asyncio
import sys
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer

from streams.agents.deadletter import DeadLetters
from streams.agents.twin import BATCH_MESSAGES, TwinStage
from streams.domain.twin import Partition
from streams.engine.faust_app import BATCH_BYTES, DRAIN_BYTES
from streams.engine.table import Writes, send_batches
from streams.kafka import client_options
from streams.rulebook import load_rulebook
from streams.settings import Settings, load_settings
from streams.topics import topics_of


class Plain:
    """Stands in for the worker's delivery and lease: here a group has one member, which is never fenced."""

    holds = True
    is_open = True

    async def current(self, events: list[Any]) -> list[Any]:
        """All events, as they came."""
        return events


class BareTable:
    """Key to Avro bytes in a dictionary; writes go to `state` first."""

    def __init__(self, app: Any, topic: str, parts: dict[int, Partition]) -> None:
        self._app, self._topic, self.parts = app, topic, parts
        self.data = SimpleNamespace(data={})
        self.refused: list[Any] = []

    async def publish(self, writes: Writes) -> None:
        """Write records to `state`, wait for Kafka's answers, then change memory."""
        await send_batches(self._app, self._topic, writes)
        for records in writes.values():
            for key, value in records:
                if value is None:
                    self.data.data.pop(key, None)
                else:
                    self.data.data[key] = value


async def run(settings: Settings) -> None:
    """Apply the topic `observation` until the process is ended."""
    topics = topics_of(settings)
    ceilings = load_rulebook().catalogue.ceilings()
    producer = AIOKafkaProducer(**client_options(settings), acks="all", max_batch_size=BATCH_BYTES)
    consumer = AIOKafkaConsumer(
        topics["observation"],
        **client_options(settings),
        group_id=f"{settings.topic_prefix}-bare",
        enable_auto_commit=False,
        auto_offset_reset="earliest",
    )
    plain = Plain()
    app = SimpleNamespace(
        producer=SimpleNamespace(_ensure_producer=lambda: producer), delivery=plain, lease=plain
    )
    parts = {n: Partition(n, settings.step_ms, 3_600_000, ceilings) for n in range(settings.partitions)}
    table: Any = BareTable(app, topics["state"], parts)
    stage = TwinStage(app, topics, table, DeadLetters(app, topics, "twin"))
    await producer.start()
    await consumer.start()
    try:
        while True:
            found = await consumer.getmany(timeout_ms=1_000, max_records=BATCH_MESSAGES)
            events = [SimpleNamespace(message=message) for messages in found.values() for message in messages]
            for batch in _batches(events):
                await stage.run(batch)
            if events:
                await consumer.commit()
    finally:
        await consumer.stop()
        await producer.stop()


def _batches(events: list[Any]) -> Iterator[list[Any]]:
    """Batches as long as the worker's."""
    batch: list[Any] = []
    size = 0
    for event in events:
        batch.append(event)
        size += len(event.message.value or b"")
        if size >= DRAIN_BYTES:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch


if __name__ == "__main__":
    try:
        asyncio.run(run(load_settings()))
    except KeyboardInterrupt:
        sys.exit(0)
