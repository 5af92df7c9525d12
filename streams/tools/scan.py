"""Reads topics from a place to their present end: what `twin ledger` and `twin topics migrate` stand on."""

import asyncio
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Self

from aiokafka import AIOKafkaConsumer, ConsumerRecord, TopicPartition

from streams.cursor import Cursor
from streams.kafka import client_options, kafka_away, or_stopped
from streams.offsets import true_end_offsets
from streams.settings import Settings

POLL_MS = 200
"""[ms] How long one poll waits; a scan ends by position, not by silence."""


class TopicScan:
    """Hands the records of one topic to a function, up to the end that it has when asked, and again later.

    Args:
        settings: where Kafka is; the partitions are those of the settings.
        topic: full name; must exist.
        group: consumer group whose commits `committed` tells; the scan itself never joins it.
    """

    def __init__(self, settings: Settings, topic: str, group: str | None = None) -> None:
        self.topic = topic
        self._partitions = [TopicPartition(topic, number) for number in range(settings.partitions)]
        self._settings, self._group = settings, group
        self._consumer: AIOKafkaConsumer

    async def __aenter__(self) -> Self:
        self._consumer = AIOKafkaConsumer(
            **client_options(self._settings),
            group_id=self._group,
            enable_auto_commit=False,
            auto_offset_reset="none",
            max_partition_fetch_bytes=4 * 1024 * 1024,
        )
        async with or_stopped(self._consumer.stop, kafka_away):
            await self._consumer.start()
            self._consumer.assign(self._partitions)
            for partition, begin in (await self._consumer.beginning_offsets(self._partitions)).items():
                self._consumer.seek(partition, begin)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._consumer.stop()

    async def begins(self) -> dict[int, int]:
        """Oldest offset of each partition."""
        return {
            tp.partition: begin
            for tp, begin in (await self._consumer.beginning_offsets(self._partitions)).items()
        }

    async def ends(self) -> dict[int, int]:
        """Offset after the newest record of each partition."""
        found = await true_end_offsets(self._consumer, self._partitions, embedded=self._settings.embedded)
        return {tp.partition: end for tp, end in found.items()}

    async def committed(self) -> dict[int, int]:
        """What the group has committed, by partition; 0 where it has not."""
        return {tp.partition: await self._consumer.committed(tp) or 0 for tp in self._partitions}

    def seek(self, positions: Mapping[int, int]) -> None:
        """Go on from these offsets."""
        for number, position in positions.items():
            self._consumer.seek(TopicPartition(self.topic, number), position)

    async def read(self, take: Callable[[ConsumerRecord], None]) -> None:
        """Hand over everything from the position up to the end that the topic has now."""
        ends = await self.ends()
        cursors = {
            tp: Cursor(await self._consumer.position(tp), ends[tp.partition]) for tp in self._partitions
        }
        taken_bytes = 0
        behind = {tp for tp, cursor in cursors.items() if cursor.position < cursor.end}
        while behind:
            for records in (await self._consumer.getmany(*behind, timeout_ms=POLL_MS)).values():
                for record in records:
                    take(record)
                    taken_bytes += max(0, record.serialized_value_size)
            for tp in list(behind):
                cursors[tp].observe(
                    await self._consumer.position(tp),
                    self._consumer.highwater(tp),
                    self._consumer.last_poll_timestamp(tp),
                    taken_bytes,
                )
                if cursors[tp].caught_up:
                    behind.remove(tp)
            # A poll that finds records does not suspend.
            await asyncio.sleep(0)
