"""One look at Kafka: where the topics begin and end, and what the consumer groups have committed."""

import asyncio
import time
from dataclasses import dataclass, field
from typing import Any

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import KafkaError

from streams.kafka import client_options
from streams.settings import Settings
from streams.topics import RECORDS, topics_of

GROUPS = {"worker": ("scrape", "event", "observation"), "sink": ("tick",)}
"""Records that the group of each role reads: `<prefix>-<role>`."""

STOP_S = 1.0
"""[s] For saying goodbye to a Kafka that may hang."""


@dataclass
class Looked:
    """What one look found, by topic and partition.

    Args:
        at_ms: [ms since the epoch] when.
        committed: offset by role and partition; None where the group has committed none.
        faults: why nothing is known of the group of a role.
    """

    at_ms: int
    begins: dict[TopicPartition, int] = field(default_factory=dict)
    ends: dict[TopicPartition, int] = field(default_factory=dict)
    committed: dict[str, dict[TopicPartition, int | None]] = field(default_factory=dict)
    faults: dict[str, str] = field(default_factory=dict)

    def counts(self) -> dict[str, int]:
        """[1] Sum of the end offsets by topic: it grows with each record."""
        counts: dict[str, int] = {}
        for partition, end in self.ends.items():
            counts[partition.topic] = counts.get(partition.topic, 0) + end
        return counts

    def lag(self, partition: TopicPartition, committed: int | None) -> int:
        """[1] Records that a group has not read; without a commit all that are there."""
        return max(0, self.ends[partition] - max(committed or 0, self.begins.get(partition, 0)))


class KafkaLook:
    """Looks again and again over the same connections; who calls it bounds the time.

    Only `Kafka` away raises: a KafkaError. After any error the connections are made anew.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._names = topics_of(settings)
        self._consumer: AIOKafkaConsumer | None = None
        self._admin: AIOKafkaAdminClient | None = None

    async def look(self) -> Looked:
        """What Kafka says now."""
        consumer, admin = await self._connected()
        looked = Looked(int(time.time() * 1000))
        partitions = await self._partitions(admin)
        if partitions:
            looked.begins = await consumer.beginning_offsets(partitions)
            looked.ends = await consumer.end_offsets(partitions)
        for role, records in GROUPS.items():
            topics = {self._names[record] for record in records}
            wanted = [partition for partition in partitions if partition.topic in topics]
            try:
                looked.committed[role] = await self._commits(admin, role, wanted)
            except (KafkaError, AttributeError) as error:
                # AttributeError: aiokafka 0.14.0 trips over its own answer when the group has an error.
                looked.faults[role] = f"Kafka does not say what it has read ({error!r})"
        if self._settings.embedded:
            _correct_ends(looked)
        return looked

    async def close(self) -> None:
        """Disconnect."""
        consumer, self._consumer = self._consumer, None
        admin, self._admin = self._admin, None
        for stop in (consumer.stop if consumer else None, admin.close if admin else None):
            try:
                async with asyncio.timeout(STOP_S):
                    if stop is not None:
                        await stop()
            except (TimeoutError, KafkaError):
                continue

    async def _connected(self) -> tuple[Any, Any]:
        if self._consumer is None or self._admin is None:
            await self.close()
            self._consumer = AIOKafkaConsumer(**client_options(self._settings), enable_auto_commit=False)
            self._admin = AIOKafkaAdminClient(**client_options(self._settings))
            await self._consumer.start()
            await self._admin.start()
        return self._consumer, self._admin

    async def _partitions(self, admin: AIOKafkaAdminClient) -> list[TopicPartition]:
        # What is not there is not asked for: some brokers would create it.
        present = {self._names[record] for record in RECORDS} & set(await admin.list_topics())
        described = await admin.describe_topics(sorted(present)) if present else []
        return [
            TopicPartition(topic["topic"], number)
            for topic in described
            for number in sorted(partition["partition"] for partition in topic["partitions"])
        ]

    async def _commits(
        self, admin: AIOKafkaAdminClient, role: str, wanted: list[TopicPartition]
    ) -> dict[TopicPartition, int | None]:
        if not wanted:
            return {}
        # By name: the embedded broker's answer about all partitions of a group cannot be read.
        found = await admin.list_consumer_group_offsets(
            f"{self._settings.topic_prefix}-{role}", partitions=wanted
        )
        offsets = {partition: found[partition].offset for partition in wanted if partition in found}
        return {tp: offset if (offset := offsets.get(tp, -1)) >= 0 else None for tp in wanted}


def _correct_ends(looked: Looked) -> None:
    """The embedded broker names the base of the newest batch + 1; what was read lies before the end."""
    for commits in looked.committed.values():
        for partition, offset in commits.items():
            looked.ends[partition] = max(looked.ends[partition], offset or 0)
