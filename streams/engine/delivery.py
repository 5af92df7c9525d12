"""What Faust hands to the agents: of each partition every message from the committed offset on, in its order.

Faust 0.15.3 by itself loses some at a rebalance: it lets messages flow before it seeks to the committed
offsets, and empties the queues after that, while it remembers what it put into them as read. And a batch that
was fetched before a rebalance may still be in an agent's hands when it is over.
"""

from collections.abc import Mapping
from typing import Any

import structlog
from aiokafka import AIOKafkaConsumer, TopicPartition
from faust.tables.recovery import Recovery
from faust.types import TP

from streams.errors import TwinError
from streams.kafka import client_options
from streams.settings import Settings

log = structlog.get_logger(__name__)

LOOK_MS = 5_000
"""[ms] For the look whether a message exists that was not handed over."""


class Delivery:
    """Which generation of the group the agents work for, and which offset of each partition comes next."""

    def __init__(self, settings: Settings) -> None:
        self.generation = -1
        self._settings = settings
        self._starts: dict[TP, int] = {}
        self._next: dict[TP, int] = {}

    @property
    def is_open(self) -> bool:
        """Whether the partitions are ours: not between their revocation and the next assignment."""
        return self.generation >= 0

    def begin(self, generation: int, starts: Mapping[TP, int]) -> None:
        """Messages of this generation come now, from these offsets on."""
        self.generation = generation
        self._starts, self._next = dict(starts), dict(starts)

    def close(self) -> None:
        """The partitions are taken away; what comes of them after this is not ours to work on."""
        self.generation = -1

    def start(self, tp: TP) -> int | None:
        """Offset from which a partition is read in this generation; None when it is not ours."""
        return self._starts.get(tp)

    def next_offset(self, tp: TP) -> int | None:
        """Offset that an agent takes next; None when the partition is not ours."""
        return self._next.get(tp)

    async def current(self, events: list[Any]) -> list[Any]:
        """The events of this generation; others come again, to whoever has their partitions.

        Raises:
            TwinError: Kafka holds a message that Faust left out; a restart begins from the committed offset.
        """
        ours = [event for event in events if self.is_open and event.message.generation_id == self.generation]
        for event in ours:
            tp, offset = event.message.tp, event.message.offset
            wanted = self._next.get(tp, offset)
            if offset > wanted and await self._exists(tp, wanted, offset):
                raise TwinError(f"{tp.topic}/{tp.partition}: offset {offset} came, {wanted} did not")
            self._next[tp] = max(wanted, offset + 1)
        return ours

    async def _exists(self, tp: TP, wanted: int, came: int) -> bool:
        # Retention and the marks of transactions leave offsets out as well: only Kafka knows.
        partition = TopicPartition(tp.topic, tp.partition)
        async with AIOKafkaConsumer(
            **client_options(self._settings), enable_auto_commit=False, auto_offset_reset="earliest"
        ) as consumer:
            consumer.assign([partition])
            consumer.seek(partition, wanted)
            found = (await consumer.getmany(partition, timeout_ms=LOOK_MS, max_records=1)).get(partition)
        log.warning("offsets left out", topic=tp.topic, partition=tp.partition, wanted=wanted, came=came)
        return not found or found[0].offset < came


class OrderlyRecovery(Recovery):
    """Faust's, but messages flow only when their partitions stand at the committed offsets, and without
    deadlines after which it would do nothing for ever.
    """

    app: Any

    def on_partitions_revoked(self, revoked: set[TP]) -> None:
        """Close the delivery before anything else is done."""
        self.app.delivery.close()
        super().on_partitions_revoked(revoked)

    async def on_recovery_completed(self, generation_id: int = 0) -> None:
        """Let messages flow after tables were restored."""
        self._set_recovery_ended()
        for table in self.tables.values():
            await table.on_recovery_completed(self.actives_for_table[table], self.standbys_for_table[table])
        await self._resume_streams(generation_id)

    async def _resume_streams(self, generation_id: int = 0) -> None:
        app, consumer = self.app, self.app.consumer
        consumer.stop_flow()
        app.flow_control.suspend()
        await app.on_rebalance_complete.send()
        inputs = {TP(*tp) for tp in consumer.assignment() if not self._is_changelog_tp(tp)}
        if app.consumer_generation_id != generation_id:
            return  # the next rebalance is under way, and comes here again
        if inputs:
            await self._wait(self._seek(inputs, generation_id))
        else:
            app.delivery.begin(generation_id, {})
        consumer.resume_partitions(inputs)
        self.completed.set()
        app.flow_control.resume()
        consumer.resume_flow()
        await app._fetcher.maybe_start()
        self.tables.on_actives_ready()
        self.tables.on_standbys_ready()
        app.on_rebalance_end()

    async def _seek(self, inputs: set[TP], generation_id: int) -> None:
        consumer = self.app.consumer
        committed = {TP(*tp): offset for tp, offset in (await consumer.seek_to_committed()).items()}
        earliest = {TP(*tp): offset for tp, offset in (await consumer.earliest_offsets(*inputs)).items()}
        # Without a committed offset Faust would go on after what it has fetched, not at the beginning.
        starts = {tp: max(committed.get(tp) or 0, earliest[tp]) for tp in inputs}
        await consumer.seek_wait(starts)
        for tp, start in starts.items():
            consumer._read_offset[tp] = consumer._committed_offset[tp] = start or None
        self.app.delivery.begin(generation_id, starts)

    async def _wait(self, coro: Any, timeout: Any = None) -> None:  # noqa: ASYNC109  # Faust's signature
        # After Faust's time-out its recovery task ends, and the worker would sit there with nothing to do.
        await super()._wait(coro)
