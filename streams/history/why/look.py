"""Looks into single partitions of the topics, within bounds: what explains a value stands there."""

import asyncio
from collections.abc import AsyncIterator
from time import monotonic
from types import TracebackType
from typing import Self

from aiokafka import AIOKafkaConsumer, ConsumerRecord, TopicPartition
from aiokafka.errors import KafkaError, OffsetOutOfRangeError

from streams.errors import TwinError
from streams.kafka import client_options, kafka_away, or_stopped
from streams.offsets import true_end_offsets
from streams.settings import Settings
from streams.topics import topics_of

BYTES_MAX = 64 * 1024 * 1024
"""[B] That one look reads at most: minutes of a partition with thousands of entities."""

SECONDS_MAX = 8.0
"""[s] That one look takes at most."""

POLL_MS = 100
"""[ms] How long Kafka may hold a fetch back; the embedded broker needs as much to find anything."""

FETCH_BYTES = 1_048_576
"""[B] Most of a partition in one answer."""

RECORDS = 200
"""[1] Handed over before others get the event loop."""

PROBES = 20
"""[1] Looks for the place of a time: as many as halving a million offsets takes."""

NEAR = 100
"""[1] Offsets that are rather read than searched."""


class LogLook:
    """`async with LogLook(settings) as log:` reads what it is asked for, until its bounds are reached.

    `is_spent` tells that they were: then what is not found may be there all the same.
    """

    def __init__(
        self, settings: Settings, bytes_max: int = BYTES_MAX, seconds_max: float = SECONDS_MAX
    ) -> None:
        self.is_spent = False
        self.read_bytes = 0
        self._settings = settings
        self._topics = topics_of(settings)
        self._bytes_max = bytes_max
        self._deadline = monotonic() + seconds_max
        self._bounds: dict[TopicPartition, tuple[int, int]] = {}
        self._consumer: AIOKafkaConsumer

    async def __aenter__(self) -> Self:
        self._consumer = AIOKafkaConsumer(
            **client_options(self._settings),
            enable_auto_commit=False,
            auto_offset_reset="none",
            fetch_max_wait_ms=POLL_MS,
            max_partition_fetch_bytes=FETCH_BYTES,
        )
        async with or_stopped(self._consumer.stop, kafka_away):
            await self._consumer.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        # aiokafka lets a consumer that never ran be stopped only after the loop had a turn.
        await asyncio.sleep(0)
        await self._consumer.stop()

    def topic(self, record: str) -> str:
        """Full name of the topic of a record."""
        return self._topics[record]

    async def bounds(self, record: str, partition: int) -> tuple[int, int]:
        """Oldest offset of a partition, and the one after the newest; both 0 when there is no such one."""
        tp = TopicPartition(self._topics[record], partition)
        if tp not in self._bounds:
            try:
                self._consumer.assign([tp])
                begins = await self._consumer.beginning_offsets([tp])
                self._consumer.seek(tp, begins[tp])
                ends = await true_end_offsets(self._consumer, [tp], embedded=self._settings.embedded)
            except KafkaError:
                return 0, 0
            self._bounds[tp] = begins[tp], ends[tp]
        return self._bounds[tp]

    async def message(self, record: str, partition: int, offset: int) -> ConsumerRecord | None:
        """The message at an offset; None when it is not there any more."""
        begin, end = await self.bounds(record, partition)
        if not begin <= offset < end:
            return None
        async for found in self.messages(record, partition, offset, offset + 1):
            return found
        return None

    async def messages(
        self, record: str, partition: int, start: int, stop: int
    ) -> AsyncIterator[ConsumerRecord]:
        """The messages from an offset up to another, as far as they are there and the bounds allow."""
        begin, end = await self.bounds(record, partition)
        position, stop = max(start, begin), min(stop, end)
        tp = TopicPartition(self._topics[record], partition)
        if position >= stop:
            return
        self._consumer.assign([tp])
        self._consumer.seek(tp, position)
        while position < stop:
            if self.read_bytes >= self._bytes_max or monotonic() >= self._deadline:
                self.is_spent = True
                return
            try:
                batches = await self._consumer.getmany(tp, timeout_ms=POLL_MS, max_records=RECORDS)
            except OffsetOutOfRangeError:
                return  # retention was faster
            except KafkaError as error:
                raise TwinError(f"Kafka: {error}; try `twin check`") from error
            for found in batches.get(tp, ()):
                if found.offset >= stop:
                    return
                self.read_bytes += max(0, found.serialized_value_size)
                position = found.offset + 1
                yield found
            position = max(position, await self._consumer.position(tp))
            # A poll that finds records does not suspend, and others want the event loop too.
            await asyncio.sleep(0)

    async def offset_at(self, record: str, partition: int, time_ms: int) -> int:
        """An offset at or somewhat before the first message that was sent at a time or later."""
        begin, end = await self.bounds(record, partition)
        if end - begin <= NEAR:
            return begin
        if not self._settings.embedded:
            tp = TopicPartition(self._topics[record], partition)
            found = await self._consumer.offsets_for_times({tp: time_ms})
            return found[tp].offset if found.get(tp) else end
        return await self._search(record, partition, time_ms)

    async def _search(self, record: str, partition: int, time_ms: int) -> int:
        """The embedded broker cannot tell the offset of a time: guess by the times around it."""
        low, high = await self.bounds(record, partition)
        first, last = await self._time(record, partition, low), await self._time(record, partition, high - 1)
        if time_ms <= first:
            return low
        if time_ms > last:
            return high
        for probe in range(PROBES):
            if high - low <= NEAR:
                break
            share = (time_ms - first) / max(1, last - first)
            # Every third look halves what is left, for messages that are not spread evenly.
            guess = (low + high) // 2 if probe % 3 == 2 else low + round((high - low) * share) - NEAR // 2
            guess = min(max(guess, low + 1), high - 1)
            there = await self._time(record, partition, guess)
            if there < time_ms:
                low, first = guess, there
            else:
                high, last = guess, there
        return low

    async def _time(self, record: str, partition: int, offset: int) -> int:
        async for found in self.messages(record, partition, offset, offset + NEAR):
            return int(found.timestamp)
        return 0
