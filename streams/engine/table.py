"""The Faust table whose changelog is the topic `state`: batched writes, and restoring in bulk.

A record's value is Avro bytes; a partition's indices (`domain.twin.Partition`) are built from them while
they are restored. Reaches below Faust's public surface: `tests/integration/test_table.py` guards it.
"""

import gc
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable
from typing import Any, cast

import structlog
from faust.tables import Table
from faust.tables.recovery import RebalanceAgain
from faust.types import TP

from streams.domain.ledger import LEDGER_KIND
from streams.domain.twin import Partition
from streams.domain.worlds import is_read_whole
from streams.engine.delivery import OrderlyRecovery
from streams.engine.faust_app import generation_of
from streams.engine.restored import Origin, Refused, read_restored
from streams.errors import InvalidMessageError
from streams.schemas import load_codec, load_state_head
from streams.settings import Settings

log = structlog.get_logger("streams.restore")

Writes = dict[int, list[tuple[bytes | None, bytes | None]]]
"""Records to send by partition, as key and value."""

RECORD_BYTES = 990_000
"""[B] Kafka takes no message above 1,048,588, Faust's producer none above 1,000,000, framing included."""


class TwinTable(Table[bytes, bytes]):
    """Key to Avro bytes of one entity, with the partition objects that index them."""

    app: Any

    def configure(
        self, settings: Settings, new_partition: Callable[[int], Partition], sends_to: tuple[str, ...]
    ) -> None:
        """Say how to connect, how the indices of a partition are made, and which topics the app sends to."""
        self.settings = settings
        self.new_partition = new_partition
        self.sends_to = sends_to
        self.parts: dict[int, Partition] = {}
        self.generation = -1
        self.refused: list[Refused] = []

    async def on_start(self) -> None:
        """Fetch the metadata of all topics, so that no first send fails for want of it."""
        await super().on_start()
        producer = (await self.app.maybe_start_producer())._ensure_producer()
        for name in self.sends_to:
            await producer.partitions_for(name)

    async def on_rebalance(
        self, assigned: set[TP], revoked: set[TP], newly_assigned: set[TP], generation_id: int = 0
    ) -> None:
        """Drop what is no longer ours; everything, when generations passed without this process."""
        await super().on_rebalance(assigned, revoked, newly_assigned, generation_id)
        changelog = self.changelog_topic.get_topic_name()
        ours = {tp.partition for tp in self.app.assignor.assigned_actives() if tp.topic == changelog}
        missed = generation_id != self.generation + 1
        self.generation = generation_id
        self.drop({number for number in self.parts if missed or number not in ours})
        for part in self.parts.values():
            part.epoch = max(part.epoch, generation_id)

    def drop(self, numbers: set[int]) -> None:
        """Forget partitions, without writing."""
        if not numbers:
            return
        store: Any = self.data
        for key in [key for key, number in store._key_partition.items() if number in numbers]:
            store.data.pop(key, None)
            store._key_partition.pop(key, None)
        for number in numbers:
            self.parts.pop(number, None)
            self.app.tables.recovery.active_offsets.pop(
                TP(self.changelog_topic.get_topic_name(), number), None
            )

    def refuse(self, key: bytes, error: InvalidMessageError) -> None:
        """Forget a record that does not decode after all; it goes to the dead letters with the next batch."""
        store: Any = self.data
        value, number = store.data.pop(key), store._key_partition.pop(key)
        topic = self.changelog_topic.get_topic_name()
        self.refused.append(Refused(Origin(topic, number, -1, key, value), error))

    def put(self, number: int, key: bytes | None, value: bytes | None) -> None:
        """Change memory after Kafka has the change."""
        store: Any = self.data
        if value is None:
            store.data.pop(key, None)
            store._key_partition.pop(key, None)
        else:
            store.data[key] = value
            store._key_partition[key] = number

    async def publish(self, writes: Writes) -> None:
        """Write records by partition to `state`, wait for Kafka's answers, then change memory.

        Raises:
            InvalidMessageError: a record is larger than Kafka takes; nothing was changed.
            KafkaError: Kafka did not take a batch.
        """
        topic = self.changelog_topic.get_topic_name()
        offsets = self.app.tables.recovery.active_offsets
        for number, end in await send_batches(self.app, topic, writes):
            offsets[TP(topic, number)] = max(offsets.get(TP(topic, number)) or -1, end)
        for number, records in writes.items():
            if number in self.parts:
                for key, value in records:
                    self.put(number, key, value)


async def send_batches(app: Any, topic: str, writes: Writes) -> list[tuple[int, int]]:
    """Send records in batches of our own, one future a batch; return (partition, last offset) of each.

    Faust's own producer buffer makes one future a message and costs four times as much.

    Raises:
        InvalidMessageError: a record is larger than Kafka takes; nothing was sent.
        KafkaError: Kafka did not take a batch.
    """
    for records in writes.values():
        for key, value in records:
            if len(key or b"") + len(value or b"") > RECORD_BYTES:
                raise InvalidMessageError("too_large", f"a record of {len(value or b'')} bytes for {topic}")
    producer = app.producer._ensure_producer()
    sent: list[tuple[int, Awaitable[Any], int]] = []

    async def send(number: int, batch: Any) -> None:
        sent.append((number, await producer.send_batch(batch, topic, partition=number), batch.record_count()))

    for number, records in writes.items():
        batch = producer.create_batch()
        for key, value in records:
            if batch.append(key=key, value=value, timestamp=None) is None:
                await send(number, batch)
                batch = producer.create_batch()
                # The first record of a batch is taken whatever its size.
                batch.append(key=key, value=value, timestamp=None)
        if batch.record_count():
            await send(number, batch)
    return [(number, (await answer).offset + count - 1) for number, answer, count in sent]


class BulkRecovery(OrderlyRecovery):
    """Restores partitions with a consumer of its own, a hundred times as fast as one by one.

    It ends by position, so a compacted tail does not stall it, and it takes the embedded broker's true end.
    """

    async def _seek_offsets(self, consumer: Any, tps: set[TP], offsets: Counter[TP], title: str) -> None:
        if title == "active":
            for table in cast(dict[str, TwinTable], self.tables).values():
                wanted = {
                    tp for tp in tps if self.tp_to_table[tp] is table and tp.partition not in table.parts
                }
                for tp, end in (await restore(table, wanted)).items():
                    offsets[tp] = max(end - 1, self.active_highwaters[tp])
                for tp in tps - wanted:
                    offsets[tp] = max(offsets[tp] or -1, self.active_highwaters[tp])
        await super()._seek_offsets(consumer, tps, offsets, title)


async def restore(table: TwinTable, wanted: Iterable[TP]) -> dict[TP, int]:
    """Load partitions of `state` into the table and index them; return their ends."""
    partitions = {tp.partition: tp for tp in wanted}
    if not partitions:
        return {}
    generation = table.generation
    found = await read_restored(table.settings, table.changelog_topic.get_topic_name(), partitions)
    if table.generation != generation:
        raise RebalanceAgain  # these may be somebody else's by now
    for number, records in found.records.items():
        part = table.new_partition(number)
        newest = max((epoch for (epoch, _), _ in records.values()), default=-1)
        # Kafka may have forgotten the group and begin its generations anew; epochs never go back.
        part.epoch = max(generation_of(table.app), newest + 1)
        part.restored(max((version for (_, version), _ in records.values()), default=0))
        for key, (_, value) in records.items():
            table.put(number, key, value)
            name = key.decode()
            if f"/{LEDGER_KIND}/" not in name:
                whole = is_read_whole(name)
                part.restore(name, load_codec("state").decode(value) if whole else load_state_head(value))
        table.parts[number] = part
    table.refused += found.refused
    gc.collect()
    # The records live as long as the process; the collector need not look at them again.
    gc.freeze()
    entities = sum(len(records) for records in found.records.values())
    log.info("restored", partitions=len(partitions), entities=entities)
    return {partitions[number]: end for number, end in found.ends.items()}


def new_table(
    app: Any,
    settings: Settings,
    topic: str,
    sends_to: tuple[str, ...],
    new_partition: Callable[[int], Partition],
) -> TwinTable:
    """The table of the worker, and its recovery, installed in the app."""
    changelog = app.topic(
        topic,
        key_type=bytes,
        value_type=bytes,
        key_serializer="raw",
        value_serializer="raw",
        compacting=True,
        acks=False,
        allow_empty=True,
        maxsize=131_072,
        internal=True,
        partitions=settings.partitions,
    )
    table = TwinTable(
        app,
        name="twin",
        key_type=bytes,
        value_type=bytes,
        partitions=settings.partitions,
        changelog_topic=changelog,
        use_partitioner=True,
    )
    table.configure(settings, new_partition, sends_to)
    app.tables.add(table)
    app.tables._recovery = BulkRecovery(app, app.tables, beacon=app.tables.beacon)
    return table
