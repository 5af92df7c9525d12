"""Reads all partitions of one topic, without a group: what the replica and `twin tap` stand on."""

import asyncio
from collections.abc import Callable
from contextlib import suppress

import structlog
from aiokafka import AIOKafkaConsumer, ConsumerRecord, TopicPartition
from aiokafka.errors import KafkaError, OffsetOutOfRangeError

from streams.cursor import Cursor
from streams.errors import TwinError
from streams.kafka import client_options, or_stopped
from streams.offsets import true_end_offsets
from streams.settings import Settings

POLL_MS = 100
"""[ms] How long Kafka may hold a fetch back when there is nothing new."""

EMBEDDED_POLL_MS = 100
"""[ms] The same for the embedded broker, which holds it to the end even when something comes."""

MAX_RECORDS = 500
"""[1] Records that are handed on before others get the event loop: about 10 ms of work for a replica."""

FETCH_BYTES = 1_048_576
"""[B] Most of one partition in one answer; well above the largest record."""

RETRY_S = 1.0
"""[s] Pause after Kafka refused a fetch; connections are tried again by the client itself."""

Take = Callable[[list[ConsumerRecord]], None]
"""Takes records of one partition, in order of offset."""

Forget = Callable[[int], None]
"""Forgets what came from a partition, which is read anew."""


class TopicReader:
    """Hands the records of a topic to `take`, first those that are there, then those that come.

    It commits nothing, so any number may run beside each other. A broker that goes away is waited for.

    Args:
        settings: where Kafka is.
        topic: full name.
        take: what is done with records.
        forget: what is done when a partition lost its offsets (its topic was made anew) and is read again.
        from_start: begin with the oldest record; else with what comes after `start`.
        newest: [1] without `from_start`: and with so many records of each partition before that.
    """

    def __init__(
        self,
        settings: Settings,
        topic: str,
        take: Take,
        forget: Forget,
        *,
        from_start: bool = True,
        newest: int = 0,
    ) -> None:
        self.topic = topic
        self.cursors: dict[int, Cursor] = {}
        self.fault: str | None = None
        self.caught_up = asyncio.Event()
        self.task: asyncio.Task[None] | None = None
        self._settings = settings
        self._take = take
        self._forget = forget
        self._from_start = from_start
        self._newest = newest
        self._consumer: AIOKafkaConsumer | None = None
        self._taken_bytes = 0
        self._log = structlog.get_logger(__name__).bind(topic=topic)

    async def start(self) -> None:
        """Connect, find the partitions and begin to read.

        Raises:
            SettingsError: no broker is configured, or its certificates cannot be used.
            TwinError: Kafka does not answer, or the topic does not exist.
        """
        consumer = AIOKafkaConsumer(
            **client_options(self._settings),
            enable_auto_commit=False,
            auto_offset_reset="none",
            isolation_level="read_uncommitted",
            fetch_max_wait_ms=EMBEDDED_POLL_MS if self._settings.embedded else POLL_MS,
            max_partition_fetch_bytes=FETCH_BYTES,
        )
        async with or_stopped(consumer.stop, self._away):
            await consumer.start()
            await self._assign(consumer)
        self._consumer = consumer
        await self._observe(consumer)
        self.task = asyncio.create_task(self._read(consumer), name=f"reader of {self.topic}")

    async def stop(self) -> None:
        """End reading and disconnect; raises what ended the reading before, if anything did."""
        task, self.task = self.task, None
        consumer, self._consumer = self._consumer, None
        try:
            if task is not None:
                task.cancel()
                with suppress(asyncio.CancelledError):
                    await task
        finally:
            if consumer is not None:
                await consumer.stop()

    @property
    def taken_bytes(self) -> int:
        """[B] What was read so far."""
        return self._taken_bytes

    def behind(self) -> str:
        """The partitions that were not read to their end yet, for people."""
        return ", ".join(
            f"partition {partition} at {cursor.position} of {cursor.end}"
            for partition, cursor in sorted(self.cursors.items())
            if not cursor.caught_up
        )

    def _away(self, error: KafkaError) -> TwinError:
        return TwinError(
            f"Kafka at {self._settings.kafka_bootstrap_servers} does not answer: start it, or correct"
            f" TWIN_KAFKA_BOOTSTRAP_SERVERS and what belongs to it ({error})"
        )

    async def _assign(self, consumer: AIOKafkaConsumer) -> None:
        if self.topic not in await consumer.topics():
            raise TwinError(
                f"topic {self.topic} does not exist: run `twin topics create`, or correct TWIN_TOPIC_PREFIX"
            )
        # The partitions are asked of Kafka, not of the settings: a reader need not know TWIN_PARTITIONS.
        first = TopicPartition(self.topic, 0)
        consumer.assign([first])
        await consumer.end_offsets([first])
        partitions = [
            TopicPartition(self.topic, number) for number in consumer.partitions_for_topic(self.topic)
        ]
        consumer.assign(partitions)
        begins = await consumer.beginning_offsets(partitions)
        for partition in partitions:
            consumer.seek(partition, begins[partition])
        if self._from_start:
            ends = await consumer.end_offsets(partitions)
        else:
            ends = await true_end_offsets(consumer, partitions, embedded=self._settings.embedded)
            begins = {tp: min(max(begins[tp], ends[tp] - self._newest), ends[tp]) for tp in partitions}
            for partition in partitions:
                consumer.seek(partition, begins[partition])
        self.cursors = {tp.partition: Cursor(begins[tp], ends[tp]) for tp in sorted(partitions)}

    async def _read(self, consumer: AIOKafkaConsumer) -> None:
        while True:
            try:
                batches = await consumer.getmany(timeout_ms=POLL_MS, max_records=MAX_RECORDS)
            except OffsetOutOfRangeError as error:
                for partition in error.args[0]:
                    await self._begin_again(consumer, partition)
                continue
            except KafkaError as error:
                self._set_fault(str(error))
                await asyncio.sleep(RETRY_S)
                continue
            self._set_fault(None)
            for records in batches.values():
                self._take(records)
                self._taken_bytes += sum(max(0, record.serialized_value_size) for record in records)
            await self._observe(consumer)
            # A poll that finds records does not suspend, and others want the event loop too.
            await asyncio.sleep(0)

    async def _observe(self, consumer: AIOKafkaConsumer) -> None:
        for number, cursor in self.cursors.items():
            partition = TopicPartition(self.topic, number)
            cursor.observe(
                await consumer.position(partition),  # is known since `seek`, so this does not wait
                consumer.highwater(partition),
                consumer.last_poll_timestamp(partition),
                self._taken_bytes,
            )
        if not self.caught_up.is_set() and all(cursor.caught_up for cursor in self.cursors.values()):
            self.caught_up.set()

    async def _begin_again(self, consumer: AIOKafkaConsumer, partition: TopicPartition) -> None:
        self._log.warning("reads a partition anew, as its offsets changed", partition=partition.partition)
        begins = await consumer.beginning_offsets([partition])
        ends = await consumer.end_offsets([partition])
        self._forget(partition.partition)
        self.cursors[partition.partition] = Cursor(begins[partition], ends[partition])
        self.caught_up.clear()
        consumer.seek(partition, begins[partition])

    def _set_fault(self, fault: str | None) -> None:
        if fault != self.fault:
            self.fault = fault
            if fault is not None:
                self._log.warning("Kafka refuses a fetch", error=fault)
