"""Reads the topic `deadletter` backwards: a page of the newest letters, or some by their places."""

import asyncio
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self, TypeVar

from aiokafka import AIOKafkaConsumer, ConsumerRecord, TopicPartition
from aiokafka.errors import KafkaError, OffsetOutOfRangeError

from streams.deadletters.letter import Letter, UnknownLetterError, parse_place, read_letter
from streams.deadletters.wanted import Wanted
from streams.errors import TwinError
from streams.kafka import client_options, or_stopped
from streams.offsets import true_end_offsets
from streams.settings import Settings
from streams.topics import topics_of

T = TypeVar("T")

WINDOW = 50
"""[1] Letters of a partition that are read at once."""

SCANNED = 5_000
"""[1] Letters that one page looks at; a filter that lets few through goes on with its cursor."""

FETCH_BYTES = 1_048_576
"""[B] Most of one partition in one answer; a letter has half of that at most."""

POLL_MS = 200
"""[ms] How long one poll waits; reading ends by position, not by silence."""

STOP_S = 2.0
"""[s] For saying goodbye to a Kafka that may hang."""


@dataclass
class Page:
    """Letters, the newest first.

    Args:
        cursor: where the next page begins; None when there is none.
        scanned: [1] letters that were looked at.
    """

    letters: list[Letter]
    cursor: str | None
    scanned: int


@dataclass
class _Lane:
    """One partition on the way back to its beginning."""

    begin: int
    before: int
    waiting: list[tuple[Letter, bool]] = field(default_factory=list)

    @property
    def is_read(self) -> bool:
        return self.before <= self.begin

    @property
    def position(self) -> int:
        """Offset before which letters were not given yet."""
        return self.waiting[-1][0].offset + 1 if self.waiting else max(self.before, self.begin)


class LetterBox:
    """`async with LetterBox(settings) as box`: the dead letters as they are now; it commits nothing.

    Raises:
        TwinError: Kafka does not answer, or there is no such topic.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._topics = topics_of(settings)
        self._topic = self._topics["deadletter"]
        self._begins: dict[int, int] = {}
        self._ends: dict[int, int] = {}
        self._consumer: AIOKafkaConsumer

    async def __aenter__(self) -> Self:
        self._consumer = AIOKafkaConsumer(
            **client_options(self._settings),
            enable_auto_commit=False,
            auto_offset_reset="none",
            max_partition_fetch_bytes=FETCH_BYTES,
        )
        async with or_stopped(self._close, _away):
            await self._consumer.start()
            await self._open()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._close()

    async def page(
        self, wanted: Wanted, limit: int, cursor: str | None = None, *, keep_bytes: int = 0
    ) -> Page:
        """The newest letters that are wanted.

        Of two partitions the letter with the later time is first; those of one partition stay in order.

        Args:
            limit: [1] most letters.
            cursor: of the page before.
            keep_bytes: [B] about how much of the letters' own bytes to keep; a page with more ends early.

        Raises:
            ValueError: the cursor is none.
            TwinError: Kafka does not answer.
        """
        lanes = self._lanes(cursor)
        found: list[Letter] = []
        scanned = kept = 0
        while len(found) < limit and scanned < SCANNED and (not keep_bytes or kept < keep_bytes):
            await self._fill(lanes, wanted, keep=bool(keep_bytes))
            ready = [(lane.waiting[-1][0].at_ms, number) for number, lane in lanes.items() if lane.waiting]
            if not ready:
                return Page(found, None, scanned)
            letter, is_wanted = lanes[max(ready)[1]].waiting.pop()
            scanned += 1
            if is_wanted:
                found.append(letter)
                kept += letter.size
        if not any(lane.waiting or not lane.is_read for lane in lanes.values()):
            return Page(found, None, scanned)
        places = ",".join(f"{number}:{lane.position}" for number, lane in sorted(lanes.items()))
        return Page(found, places, scanned)

    async def letters(self, places: Iterable[tuple[int, int]]) -> list[Letter | UnknownLetterError]:
        """Letters by partition and offset, with their bytes, in the order asked; what is missing says so."""
        wanted = list(dict.fromkeys(places))
        found: dict[tuple[int, int], Letter] = {}
        waiting: dict[int, list[int]] = {}
        for number, offset in wanted:
            if self._begins.get(number, 0) <= offset < self._ends.get(number, 0):
                waiting.setdefault(number, []).append(offset)
        while waiting:
            windows = {number: (offset := offsets.pop(), offset + 1) for number, offsets in waiting.items()}
            for number, letters in (await self._read(windows, read_letter)).items():
                found |= {(number, letter.offset): letter for letter in letters}
            waiting = {number: offsets for number, offsets in waiting.items() if offsets}
        return [found.get(place) or self._unknown(*place) for place in wanted]

    async def letter(self, partition: int, offset: int) -> Letter:
        """One letter.

        Raises:
            UnknownLetterError: it is not there.
            TwinError: Kafka does not answer.
        """
        (found,) = await self.letters([(partition, offset)])
        if isinstance(found, UnknownLetterError):
            raise found
        return found

    def _unknown(self, partition: int, offset: int) -> UnknownLetterError:
        place = f"{partition}:{offset}"
        if partition not in self._begins:
            text = f"{self._topic} has partitions 0 to {len(self._begins) - 1}"
        elif offset < self._begins[partition]:
            text = "it was there, and was deleted: Kafka keeps dead letters for 14 days"
        elif offset >= self._ends[partition]:
            text = f"partition {partition} ends before {self._ends[partition]}"
        else:
            text = "it was deleted, or Kafka used the offset for itself"
        return UnknownLetterError(place, f"there is no dead letter {place}: {text}")

    def _lanes(self, cursor: str | None) -> dict[int, _Lane]:
        starts = dict(parse_place(part) for part in cursor.split(",")) if cursor else {}
        unknown = sorted(set(starts) - set(self._begins))
        if unknown:
            raise ValueError(f"partition {unknown[0]} is none of {self._topic}")
        return {
            number: _Lane(begin, min(self._ends[number], starts.get(number, self._ends[number])))
            for number, begin in self._begins.items()
            if self._ends[number] > begin
        }

    async def _fill(self, lanes: Mapping[int, _Lane], wanted: Wanted, *, keep: bool) -> None:
        """Read on wherever nothing waits, so that the newest of all lanes is known."""

        def take(record: ConsumerRecord) -> tuple[Letter, bool]:
            letter = read_letter(record)
            is_wanted = wanted.matches(letter, self._topics)
            return letter if keep and is_wanted else letter.without_value(), is_wanted

        while empty := {n: lane for n, lane in lanes.items() if not lane.waiting and not lane.is_read}:
            windows = {n: (max(lane.begin, lane.before - WINDOW), lane.before) for n, lane in empty.items()}
            read = await self._read(windows, take)
            for number, lane in empty.items():
                lane.before = windows[number][0]
                lane.waiting = read[number]
                if lane.waiting and wanted.is_before(lane.waiting[0][0]):
                    lane.before = lane.begin

    async def _open(self) -> None:
        if self._topic not in await self._consumer.topics():
            raise TwinError(
                f"topic {self._topic} does not exist: run `twin topics create`, or correct TWIN_TOPIC_PREFIX"
            )
        self._consumer.assign([TopicPartition(self._topic, 0)])
        await self._consumer.end_offsets(self._consumer.assignment())
        numbers = self._consumer.partitions_for_topic(self._topic)
        partitions = [TopicPartition(self._topic, number) for number in sorted(numbers)]
        self._consumer.assign(partitions)
        begins = await self._consumer.beginning_offsets(partitions)
        for partition, begin in begins.items():
            self._consumer.seek(partition, begin)
        ends = await true_end_offsets(self._consumer, partitions, embedded=self._settings.embedded)
        self._begins = {tp.partition: begin for tp, begin in begins.items()}
        self._ends = {tp.partition: end for tp, end in ends.items()}

    async def _read(
        self, windows: Mapping[int, tuple[int, int]], take: Callable[[ConsumerRecord], T]
    ) -> dict[int, list[T]]:
        """What `take` makes of the records of each window (from, before), in order of offset."""
        found: dict[int, list[T]] = {number: [] for number in windows}
        behind = {TopicPartition(self._topic, number): end for number, (_, end) in windows.items()}
        # Only these, or the client fetches the others ahead for nothing.
        self._consumer.assign(list(behind))
        for number, (start, _) in windows.items():
            self._consumer.seek(TopicPartition(self._topic, number), start)
        while behind:
            try:
                batches = await self._consumer.getmany(*behind, timeout_ms=POLL_MS)
            except OffsetOutOfRangeError as error:
                await self._skip_deleted(error.args[0], behind)
                continue
            except KafkaError as error:
                raise _away(error) from error
            for partition, records in batches.items():
                end = behind[partition]
                found[partition.partition] += [take(record) for record in records if record.offset < end]
            # By position: the last offsets before the end may be Kafka's own, and are no records.
            positions = {partition: await self._consumer.position(partition) for partition in behind}
            behind = {partition: end for partition, end in behind.items() if positions[partition] < end}
            await asyncio.sleep(0)
        return found

    async def _skip_deleted(
        self, partitions: Iterable[TopicPartition], behind: dict[TopicPartition, int]
    ) -> None:
        """Go on where a partition begins by now: its oldest letters were deleted meanwhile."""
        wanted = [partition for partition in partitions if partition in behind]
        for partition, begin in (await self._consumer.beginning_offsets(wanted)).items():
            self._begins[partition.partition] = begin
            self._consumer.seek(partition, begin)
            if begin >= behind[partition]:
                del behind[partition]

    async def _close(self) -> None:
        try:
            async with asyncio.timeout(STOP_S):
                await self._consumer.stop()
        except (TimeoutError, KafkaError):
            return


def _away(error: KafkaError) -> TwinError:
    return TwinError(f"Kafka does not answer ({error!r}): look at TWIN_KAFKA_*, or try again")
