"""A part of a topic by time: its records of all partitions, in order of time."""

import heapq
from collections import deque
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self

from aiokafka import AIOKafkaConsumer, ConsumerRecord, TopicPartition
from aiokafka.errors import KafkaError

from streams.domain.entity import NEVER
from streams.errors import TwinError
from streams.kafka import client_options, kafka_away, or_stopped
from streams.offsets import true_end_offsets
from streams.settings import Settings
from streams.topics import topics_of

POLL_MS = 200
"""[ms] How long one poll waits; a slice ends by position, not by silence."""

FETCH_BYTES = 1_048_576
"""[B] Most of one partition in one answer: what of each is held while others are behind."""


@dataclass
class _Lane:
    """One partition on its way to its end."""

    position: int
    end: int
    waiting: deque[ConsumerRecord] = field(default_factory=deque)

    @property
    def is_read(self) -> bool:
        """Whether nothing more has to be fetched."""
        return self.position >= self.end


class TopicSlice:
    """The records of a topic from a time on, up to the end that it has when it is opened.

    By the times that Kafka keeps for the records: when each was sent. Of two at the same time the one of the
    lower partition is first; those of one partition stay in order.

    Args:
        settings: where Kafka is.
        record: name of the record, such as observation.
        from_ms: [ms since the epoch] records that were sent before are left out.
        to_ms: [ms since the epoch] records that were sent after are left out, if any were.
    """

    def __init__(self, settings: Settings, record: str, from_ms: int, to_ms: int) -> None:
        self.topic = topics_of(settings)[record]
        self.from_ms = from_ms
        self.to_ms = to_ms
        self.lost_ms: int | None = None
        """[ms since the epoch] Up to where records of some partition were deleted; None when none were."""
        self.begins_ms: int | None = None
        """[ms since the epoch] Where the topic begins, if that is after `from_ms` in all partitions."""
        self._settings = settings
        self._lanes: dict[TopicPartition, _Lane] = {}
        self._consumer: AIOKafkaConsumer

    async def __aenter__(self) -> Self:
        self._consumer = AIOKafkaConsumer(
            **client_options(self._settings),
            enable_auto_commit=False,
            auto_offset_reset="earliest",
            max_partition_fetch_bytes=FETCH_BYTES,
        )
        async with or_stopped(self._consumer.stop, kafka_away):
            await self._consumer.start()
            await self._open()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._consumer.stop()

    @property
    def partitions(self) -> int:
        """[1] Partitions of the topic."""
        return len(self._lanes)

    async def _open(self) -> None:
        if self.topic not in await self._consumer.topics():
            raise TwinError(
                f"topic {self.topic} does not exist: run `twin topics create`, or correct TWIN_TOPIC_PREFIX"
            )
        self._consumer.assign([TopicPartition(self.topic, 0)])
        await self._consumer.end_offsets(self._consumer.assignment())
        numbers = self._consumer.partitions_for_topic(self.topic)
        partitions = [TopicPartition(self.topic, number) for number in sorted(numbers)]
        self._consumer.assign(partitions)
        begins = await self._consumer.beginning_offsets(partitions)
        for partition, begin in begins.items():
            self._consumer.seek(partition, begin)
        ends = await true_end_offsets(self._consumer, partitions, embedded=self._settings.embedded)
        starts = begins if self._settings.embedded else await self._starts(partitions, ends)
        for partition in partitions:
            self._consumer.seek(partition, starts[partition])
            self._lanes[partition] = _Lane(starts[partition], ends[partition])
        if begins == ends:
            self.begins_ms = NEVER
        await self._find_begin(begins, {tp for tp in partitions if begins[tp] == starts[tp] < ends[tp]})

    async def _starts(
        self, partitions: list[TopicPartition], ends: dict[TopicPartition, int]
    ) -> dict[TopicPartition, int]:
        """By the index of times; the embedded broker's is wrong, so there all is read."""
        found = await self._consumer.offsets_for_times(dict.fromkeys(partitions, self.from_ms))
        return {tp: found[tp].offset if found.get(tp) else ends[tp] for tp in partitions}

    async def _find_begin(self, begins: dict[TopicPartition, int], whole: set[TopicPartition]) -> None:
        """Where the partitions begin that are read from their beginning."""
        for partition in sorted(whole):
            while not self._lanes[partition].waiting and not self._lanes[partition].is_read:
                await self._fetch([partition])
        firsts = {tp: self._lanes[tp].waiting[0].timestamp for tp in sorted(whole) if self._lanes[tp].waiting}
        late = {tp: time_ms for tp, time_ms in firsts.items() if time_ms > self.from_ms}
        self.lost_ms = max((time_ms for tp, time_ms in late.items() if begins[tp]), default=None)
        filled = sum(lane.end > lane.position or bool(lane.waiting) for lane in self._lanes.values())
        if late and len(late) == filled:
            self.begins_ms = min(late.values())

    async def records(self) -> AsyncIterator[ConsumerRecord]:
        """All of them, in order of time."""
        ready: list[tuple[int, int, TopicPartition]] = []
        empty = set(self._lanes)
        while True:
            for partition in sorted(empty):
                lane = self._lanes[partition]
                if lane.waiting:
                    heapq.heappush(ready, (lane.waiting[0].timestamp, partition.partition, partition))
                    empty.discard(partition)
                elif lane.is_read:
                    empty.discard(partition)
            if empty:
                await self._fetch(sorted(empty))
                continue
            if not ready:
                return
            time_ms, _, partition = heapq.heappop(ready)
            record = self._lanes[partition].waiting.popleft()
            empty.add(partition)
            if self.from_ms <= time_ms <= self.to_ms:
                yield record

    async def _fetch(self, partitions: list[TopicPartition]) -> None:
        try:
            batches = await self._consumer.getmany(*partitions, timeout_ms=POLL_MS)
        except KafkaError as error:
            raise TwinError(f"Kafka does not answer: {error!r}; try again") from error
        for partition, records in batches.items():
            lane = self._lanes[partition]
            lane.waiting.extend(record for record in records if record.offset < lane.end)
        for partition in partitions:
            lane = self._lanes[partition]
            lane.position = await self._consumer.position(partition)
            if lane.waiting and lane.waiting[-1].timestamp > self.to_ms:
                lane.end = lane.position
