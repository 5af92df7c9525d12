"""How far the topic `state` was read, as a text that whoever goes away can come back with."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple, Protocol, Self
from zlib import crc32

MAX_AGE_MS = 12 * 3_600_000
"""[ms] Who was away longer may have missed a removal: Kafka keeps tombstones for 24 h."""

LONGEST = 20_000
"""[1] Letters of the longest text that is read: some thousand partitions."""


class Record(Protocol):
    """What is looked at of a record of the topic."""

    @property
    def offset(self) -> int:
        """Where it stands in its partition."""

    @property
    def timestamp(self) -> int:
        """[ms since the epoch] Kafka's."""


class Place(NamedTuple):
    """Next offset of each partition, and [ms since the epoch] the newest of the records before them."""

    log: str
    newest_ms: int
    offsets: Mapping[int, int]

    @property
    def head(self) -> str:
        """How the text begins."""
        return f"{self.log}.{self.newest_ms:x}"

    @property
    def text(self) -> str:
        """As `read` reads it."""
        return ".".join((self.head, *map(str, self.offsets.values())))

    @classmethod
    def read(cls, text: str) -> Self | None:
        """The place that a text names; None when it names none."""
        log, *numbers = text.split(".") if text.isascii() and len(text) <= LONGEST else ("",)
        if not log or not numbers or not all(number.isalnum() for number in numbers):
            return None
        try:
            offsets = {partition: int(number) for partition, number in enumerate(numbers[1:])}
            return cls(log, int(numbers[0], 16), offsets)
        except ValueError:
            return None

    def is_beyond(self, other: "Place") -> bool:
        """Whether something before this place lies behind the other, of the same log."""
        return any(offset > other.offsets.get(partition, 0) for partition, offset in self.offsets.items())


class Progress:
    """What was taken of a topic: tells its place, and whether a place is one of this topic as it is now.

    A topic that was made anew has offsets like those of before. Its first record tells: it is younger than
    all that whoever comes back was told of.
    """

    def __init__(self, topic: str) -> None:
        self.newest_ms = 0
        self._topic = topic
        self._firsts: dict[int, tuple[int, int]] = {}
        self._next: dict[int, int] = {}

    def take(self, partition: int, records: Sequence[Record]) -> None:
        """Note records of one partition, in order."""
        if records:
            self._firsts.setdefault(partition, (records[0].offset, records[0].timestamp))
            self._next[partition] = records[-1].offset + 1
            self.newest_ms = max(self.newest_ms, *(record.timestamp for record in records))

    def forget(self, partition: int) -> None:
        """A partition began anew."""
        self._firsts.pop(partition, None)
        self._next.pop(partition, None)

    def place(self, positions: Mapping[int, int]) -> Place:
        """Where all that was taken ends.

        Args:
            positions: next offset to be read, by partition; may lag behind what was taken.
        """
        offsets = {
            partition: max(position, self._next.get(partition, 0))
            for partition, position in sorted(positions.items())
        }
        return Place(f"{crc32(f'{self._topic}/{len(offsets)}'.encode()):08x}", self.newest_ms, offsets)

    def is_known(self, place: Place, now: Place) -> bool:
        """Whether what changed since a place can be told, removals aside that were forgotten."""
        if place.log != now.log or len(place.offsets) != len(now.offsets) or place.is_beyond(now):
            return False
        if now.newest_ms - place.newest_ms > MAX_AGE_MS:
            return False
        return not any(
            place.offsets[partition] > offset and time_ms > place.newest_ms
            for partition, (offset, time_ms) in self._firsts.items()
        )
