"""Records to Kafka: they wait in a bounded queue while it is away, and in order of each partition."""

import asyncio
import time
from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Protocol
from zlib import crc32

import structlog
from aiokafka.errors import KafkaError, MessageSizeTooLargeError, RecordTooLargeError
from prometheus_client import Counter, Gauge

from streams.records import Deadletter, Scrape
from streams.schemas import load_codec
from streams.topics import Topics

QUEUE_BYTES = 64 * 1024 * 1024
"""[B] Of encoded records that wait; minutes of a large collector, and no more memory than that."""

ROUND_BYTES = 512 * 1024
"""[B] Sent to a partition at once: below Kafka's limit of 1 MiB for a batch."""

RETRY_S = (0.1, 5.0)
"""[s] First and longest pause after a refusal; it doubles."""

KEPT_BYTES = (512 * 1024, 16 * 1024)
"""[B] Of a refused record in its dead letter, and where even that is refused."""

TOO_LARGE = (MessageSizeTooLargeError, RecordTooLargeError)
"""What Kafka says of a record that it will never take."""

QUEUED = Gauge("twin_collect_queue_records", "Records that wait for Kafka")
QUEUED_BYTES = Gauge("twin_collect_queue_bytes", "Their size")
LOST = Counter("twin_collect_lost_records_total", "Records lost, by reason", ["reason"])
REFUSED = Counter(
    "twin_collect_refused_records_total", "Records that Kafka refused as too large, now dead letters"
)
SHIPPED = Counter("twin_collect_shipped_records_total", "Records that Kafka has")

log = structlog.get_logger()


class Producer(Protocol):
    """What is used of aiokafka's producer."""

    async def send(self, topic: str, value: bytes, key: bytes, partition: int) -> "asyncio.Future[Any]":
        """Put a record into a batch; the future tells whether Kafka has it."""
        ...


@dataclass(frozen=True, eq=False)
class Item:
    """An encoded record on its way."""

    key: bytes
    value: bytes


class Shipper:
    """One lane for each partition, so that one without a leader holds up no other, and the order stays."""

    def __init__(self, producer: Producer, topics: Topics, queue_bytes: int = QUEUE_BYTES) -> None:
        self._producer = producer
        self._topics = topics
        self._queue_bytes = queue_bytes
        self._waiting = 0
        self._waiting_bytes = 0
        self._lanes: list[deque[Item]] = [deque() for _ in range(topics.partitions)]
        self._wake = [asyncio.Event() for _ in self._lanes]
        self._empty = asyncio.Event()
        self._empty.set()
        self._failing: set[int] = set()
        self._is_refused = False
        self._is_losing = False

    @property
    def is_delivering(self) -> bool:
        """False while Kafka refuses records or does not answer."""
        return not self._failing

    @property
    def waiting(self) -> int:
        """[1] Records that Kafka does not have yet."""
        return self._waiting

    async def ship(self, records: Sequence[Scrape]) -> None:
        """Queue records; when the queue is full the oldest of the longest lane are dropped and counted."""
        codec = load_codec("scrape")
        for record in records:
            key = f"{record['source']}/{record['target']}".encode()
            lane = crc32(key) % len(self._lanes)
            self._lanes[lane].append(Item(key, codec.encode(record)))
            self._waiting += 1
            self._waiting_bytes += len(self._lanes[lane][-1].value)
            self._wake[lane].set()
            self._empty.clear()
        self._drop_oldest()
        self._export()

    async def run(self) -> None:
        """Send until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            for lane in range(len(self._lanes)):
                tasks.create_task(self._run_lane(lane))

    async def flush(self, timeout_s: float) -> int:
        """Wait until all is sent, or for so long; return how many records are still there."""
        with suppress(TimeoutError):
            async with asyncio.timeout(timeout_s):
                await self._empty.wait()
        return self.waiting

    async def _run_lane(self, lane: int) -> None:
        pause_s = RETRY_S[0]
        while True:
            await self._wake[lane].wait()
            items = self._take_round(lane)
            try:
                error = await self._send(lane, items)
            finally:  # also when cancelled: what is left is counted as lost, not forgotten
                self._put_back(lane, items)
            self._note(lane, error)
            if error is None:
                pause_s = RETRY_S[0]
            else:
                await asyncio.sleep(pause_s)
                pause_s = min(2 * pause_s, RETRY_S[1])

    def _take_round(self, lane: int) -> list[Item]:
        items: list[Item] = []
        size = 0
        while self._lanes[lane] and (not items or size + len(self._lanes[lane][0].value) <= ROUND_BYTES):
            items.append(self._lanes[lane].popleft())
            size += len(items[-1].value)
        return items

    def _put_back(self, lane: int, items: list[Item]) -> None:
        """Items that Kafka does not have go before those that came since."""
        self._lanes[lane].extendleft(reversed(items))
        if not self._lanes[lane]:
            self._wake[lane].clear()
        if not self._waiting:
            self._empty.set()
        self._export()

    async def _send(self, lane: int, items: list[Item]) -> KafkaError | None:
        """Send in order; what Kafka has is taken out of `items`. Returns why something is left."""
        topic = self._topics["scrape"]
        sent: list[tuple[Item, asyncio.Future[Any]]] = []
        failure: KafkaError | None = None
        was_alone = len(items) == 1
        for item in list(items):
            try:
                sent.append((item, await self._producer.send(topic, item.value, item.key, lane)))
            except KafkaError as error:
                failure = error
                break
        answers = await asyncio.gather(*(future for _, future in sent), return_exceptions=True)
        for (item, _), answer in zip(sent, answers, strict=True):
            if isinstance(answer, KafkaError):
                failure = failure or answer
            elif isinstance(answer, BaseException):
                raise answer
            else:
                self._settle(items, item)
        if not isinstance(failure, TOO_LARGE):
            return failure
        if was_alone:
            return await self._bury(lane, items, failure)
        # Kafka refuses a batch as a whole: which record it was shows when each goes alone.
        for item in list(items):
            alone = [item]
            failure = await self._send(lane, alone)
            if alone:
                return failure
            items.remove(item)
        return None

    def _settle(self, items: list[Item], item: Item) -> None:
        items.remove(item)
        self._waiting -= 1
        self._waiting_bytes -= len(item.value)
        SHIPPED.inc()

    async def _bury(self, lane: int, items: list[Item], refusal: KafkaError) -> KafkaError | None:
        """The record that Kafka refused goes to the dead letters, cut if need be."""
        item = items[0]
        text = f"Kafka refused a record of {len(item.value)} bytes as too large ({type(refusal).__name__})"
        for kept in KEPT_BYTES:
            letter = Deadletter(
                stage="collect",
                reason="too_large",
                error=text,
                at_ms=round(time.time() * 1000),
                topic=self._topics["scrape"],
                partition=lane,
                offset=-1,
                key=item.key,
                value=item.value[:kept],
            )
            value = load_codec("deadletter").encode(letter)
            try:
                await (await self._producer.send(self._topics["deadletter"], value, item.key, lane))
            except TOO_LARGE:
                continue
            except KafkaError as error:
                return error
            break
        else:
            LOST.labels("too_large").inc()
        log.error("a record is a dead letter", key=item.key.decode(errors="replace"), why=text)
        REFUSED.inc()
        items.clear()
        self._waiting -= 1
        self._waiting_bytes -= len(item.value)
        return None

    def _drop_oldest(self) -> None:
        is_losing = self._waiting_bytes > self._queue_bytes
        while self._waiting_bytes > self._queue_bytes and (longest := max(self._lanes, key=len)):
            self._waiting_bytes -= len(longest.popleft().value)
            self._waiting -= 1
            LOST.labels("queue_full").inc()
        if is_losing and not self._is_losing:
            log.error("the queue to Kafka is full: the oldest scrapes are dropped", bytes=self._queue_bytes)
            self._is_losing = True

    def _note(self, lane: int, error: KafkaError | None) -> None:
        if error is None:
            self._failing.discard(lane)
            if not self._failing and self._is_refused:
                self._is_refused = self._is_losing = False
                log.info("Kafka takes records again")
            return
        self._failing.add(lane)
        if not self._is_refused:
            self._is_refused = True
            log.warning("Kafka takes no records: scrapes wait", why=f"{type(error).__name__}: {error}")

    def _export(self) -> None:
        QUEUED.set(self._waiting)
        QUEUED_BYTES.set(self._waiting_bytes)
