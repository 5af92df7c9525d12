"""One dead letter, and whether it can be sent again."""

from collections.abc import Iterable
from dataclasses import dataclass, replace

from aiokafka import ConsumerRecord

from streams.errors import InvalidMessageError, TwinError
from streams.records import Deadletter
from streams.schemas import load_codec
from streams.topics import Topics

KEPT_BYTES = 512 * 1024
"""[B] Of an original value; a record with more would itself be refused by Kafka."""

REDRIVEN = "twin-redriven"
"""Kafka header: how often a message was sent again out of the dead letters, in decimal digits."""

TARGETS = {"harmonize": ("scrape", "event"), "twin": ("observation",)}
"""Records that a stage reads, and that may be sent to it again, by the stage."""

SHOWN = 60
"""[1] Characters of a topic's name that an error repeats."""


class UnknownLetterError(TwinError):
    """There is no dead letter at `place` (partition:offset); the text says whether there was one."""

    def __init__(self, place: str, text: str) -> None:
        super().__init__(text)
        self.place = place


@dataclass(frozen=True)
class Letter:
    """A dead letter; `error` and `reason` say why it is one.

    Args:
        partition: of the topic `deadletter`; with `offset` its name.
        at_ms: [ms since the epoch, UTC] when it was refused.
        stage: that refused it; empty when this record is no dead letter at all.
        topic: full name of the topic that it came from, with `origin_partition` and `origin_offset`.
        value: original bytes; empty when they were left out to save memory.
        size: [B] of the original bytes that are kept.
        redriven: [1] how often it had been sent again when it was refused.
    """

    partition: int
    offset: int
    at_ms: int
    stage: str
    reason: str
    error: str
    topic: str
    origin_partition: int
    origin_offset: int
    key: bytes
    value: bytes
    size: int
    redriven: int = 0

    @property
    def place(self) -> str:
        """Its name: partition:offset."""
        return f"{self.partition}:{self.offset}"

    @property
    def is_cut(self) -> bool:
        """Whether the original was longer, or may have been."""
        return self.size >= KEPT_BYTES or self.stage == "collect"

    def without_value(self) -> "Letter":
        """The same without its bytes."""
        return replace(self, value=b"")


def read_letter(record: ConsumerRecord) -> Letter:
    """The dead letter in a record of the topic `deadletter`; what is none becomes one that says so."""
    redriven = redriven_count(record.headers)
    try:
        found: Deadletter = load_codec("deadletter").decode(record.value)
    except InvalidMessageError as error:
        return Letter(
            partition=record.partition,
            offset=record.offset,
            at_ms=record.timestamp,
            stage="",
            reason="unreadable",
            error=f"this record is no dead letter: {error}",
            topic=record.topic,
            origin_partition=record.partition,
            origin_offset=record.offset,
            key=record.key or b"",
            value=record.value or b"",
            size=len(record.value or b""),
            redriven=redriven,
        )
    return Letter(
        partition=record.partition,
        offset=record.offset,
        at_ms=found["at_ms"],
        stage=found["stage"],
        reason=found["reason"],
        error=found["error"],
        topic=found["topic"],
        origin_partition=found["partition"],
        origin_offset=found["offset"],
        key=found["key"],
        value=found["value"],
        size=len(found["value"]),
        redriven=redriven,
    )


def redriven_count(headers: Iterable[tuple[str, bytes]] | None) -> int:
    """[1] How often a message was sent again, by its Kafka headers; 0 when they do not say."""
    for name, value in headers or ():
        if name == REDRIVEN and value.isdigit() and len(value) < 9:
            return int(value)
    return 0


def why_not(letter: Letter, topics: Topics) -> str | None:
    """Why a letter cannot be sent again; None when it can."""
    records = TARGETS.get(letter.stage)
    if not letter.stage:
        return "it is no dead letter"
    if records is None:
        stages = " or ".join(TARGETS)
        return f"stage {letter.stage}: only what {stages} refused is sent again"
    if letter.topic not in {topics[record] for record in records}:
        return (
            f"it came from {letter.topic[:SHOWN]!r}: stage {letter.stage} of prefix {topics.prefix} reads"
            f" {' and '.join(topics[record] for record in records)}; look at TWIN_TOPIC_PREFIX"
        )
    if not 0 <= letter.origin_partition < topics.partitions:
        return (
            f"it came from partition {letter.origin_partition}, there are {topics.partitions}:"
            " look at TWIN_PARTITIONS"
        )
    if letter.is_cut:
        return f"only the first {KEPT_BYTES} bytes of it were kept"
    if not letter.size:
        return "it was empty, and would be refused again"
    return None


def parse_place(text: str) -> tuple[int, int]:
    """Partition and offset in partition:offset.

    Raises:
        ValueError: it is no such text.
    """
    partition, colon, offset = text.partition(":")
    digits = (partition, offset)
    if not colon or not all(part.isascii() and part.isdigit() and len(part) < 19 for part in digits):
        raise ValueError(f"{text[:SHOWN]!r} is no partition:offset, such as 3:17")
    return int(partition), int(offset)
