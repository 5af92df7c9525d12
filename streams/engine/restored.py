"""The newest record of each key in partitions of `state`, read in bulk by a consumer of its own."""

from collections.abc import Iterable
from dataclasses import dataclass, field

import structlog
from aiokafka import AIOKafkaConsumer, ConsumerRecord, TopicPartition

from streams.domain.keys import partition_of
from streams.errors import InvalidMessageError
from streams.kafka import client_options
from streams.offsets import true_end_offsets
from streams.schemas import HEADER, load_codec, load_state_head, released_schemas
from streams.settings import Settings

log = structlog.get_logger("streams.restore")

POLL_MS = 200
"""[ms] How long one poll waits; reading ends by position, not by silence."""

FETCH_BYTES = 4 * 1024 * 1024
"""[B] Most of one partition in one answer."""


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a record lies, and what it is; an offset of -1 is one that nobody remembers."""

    topic: str
    partition: int
    offset: int
    key: bytes
    value: bytes


@dataclass(frozen=True, slots=True)
class Refused:
    """A record that is not a state; a dead letter takes it as it takes an event."""

    message: Origin
    error: InvalidMessageError


@dataclass
class Restored:
    """What partitions of `state` hold.

    Args:
        records: age (epoch, version) and value by partition and key.
        ends: offset after the last one that was read, by partition.
    """

    records: dict[int, dict[bytes, tuple[tuple[int, int], bytes]]]
    ends: dict[int, int] = field(default_factory=dict)
    refused: list[Refused] = field(default_factory=list)

    def take(self, messages: Iterable[ConsumerRecord], partitions: int) -> None:
        """Keep what is newer than what is known; of a key, what was refused does not hide what was good.

        What came of a key after something refused answers that: it was reported by who wrote that.
        """
        for message in messages:
            records = self.records[message.partition]
            if message.value is None:
                records.pop(message.key, None)
                self._forgive(message.key)
                continue
            try:
                age = _age(message, partitions)
            except InvalidMessageError as error:
                where = (message.topic, message.partition, message.offset)
                self.refused.append(Refused(Origin(*where, message.key, message.value), error))
                continue
            self._forgive(message.key)
            if message.key not in records or age >= records[message.key][0]:
                records[message.key] = (age, message.value)

    def _forgive(self, key: bytes) -> None:
        if self.refused:
            self.refused = [one for one in self.refused if one.message.key != key]


async def read_restored(settings: Settings, topic: str, numbers: Iterable[int]) -> Restored:
    """Read partitions of `state` from their beginnings to their ends."""
    partitions = [TopicPartition(topic, number) for number in sorted(numbers)]
    found = Restored({number: {} for _, number in partitions})
    if not partitions:
        return found
    consumer = AIOKafkaConsumer(
        **client_options(settings),
        enable_auto_commit=False,
        auto_offset_reset="earliest",
        max_partition_fetch_bytes=FETCH_BYTES,
        fetch_max_wait_ms=POLL_MS,
    )
    await consumer.start()
    try:
        consumer.assign(partitions)
        await consumer.seek_to_beginning(*partitions)
        ends = await true_end_offsets(consumer, partitions, embedded=settings.embedded)
        behind = {tp for tp in partitions if await consumer.position(tp) < ends[tp]}
        while behind:
            for messages in (await consumer.getmany(timeout_ms=POLL_MS)).values():
                found.take(messages, settings.partitions)
            for tp in list(behind):
                if await consumer.position(tp) >= ends[tp]:
                    behind.remove(tp)
                    consumer.pause(tp)
    finally:
        await consumer.stop()
    found.ends = {tp.partition: end for tp, end in ends.items()}
    if found.refused:
        log.warning("not all are states", refused=len(found.refused), first=str(found.refused[0].error))
    return found


def _age(message: ConsumerRecord, partitions: int) -> tuple[int, int]:
    """Epoch and version of a record; only its beginning is decoded.

    Raises:
        InvalidMessageError: no state, or one with a key that no entity of this partition has.
    """
    try:
        key = message.key.decode()
        kind = key.split("/")[1:-1]
    except (AttributeError, UnicodeDecodeError):
        raise InvalidMessageError("key", f"{message.key!r} is not the key of an entity") from None
    # The twin's own records stand in the partition that they are about.
    is_own = len(kind) == 1 and kind[0].startswith("_")
    if len(kind) != 1 or (not is_own and partition_of(key, partitions) != message.partition):
        raise InvalidMessageError("key", f"{key!r} is not the key of an entity of this partition")
    head = load_state_head(message.value)
    id = HEADER.unpack_from(message.value)[1]
    if id != load_codec("state").schema_id and id not in released_schemas("state"):
        raise InvalidMessageError("schema_id", f"schema id {id} is not one of record state")
    return head["epoch"], head["version"]
