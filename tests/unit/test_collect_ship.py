"""The way to Kafka, with a producer that fails on demand."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress

import pytest
from aiokafka.errors import KafkaConnectionError, KafkaError, MessageSizeTooLargeError

from streams.collect import ship
from streams.collect.ship import Shipper
from streams.records import Scrape
from streams.schemas import load_codec
from streams.topics import Topics

TOPICS = Topics("t", 4)


class FakeProducer:
    """Keeps what it was sent; `refuse` says which records fail, and how."""

    def __init__(self) -> None:
        self.records: list[tuple[str, bytes, bytes, int]] = []
        self.refuse: Callable[[str, bytes], KafkaError | None] = lambda topic, value: None

    async def send(self, topic: str, value: bytes, key: bytes, partition: int) -> asyncio.Future[None]:
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        error = self.refuse(topic, value)
        if error is None:
            self.records.append((topic, value, key, partition))
            future.set_result(None)
        else:
            future.set_exception(error)
        return future

    def sent(self, topic: str = "t.scrape.v1") -> list[bytes]:
        return [value for name, value, _, _ in self.records if name == topic]


def scrape(target: str, number: int, series: int = 0) -> Scrape:
    return Scrape(
        source="s",
        target=target,
        pack="p",
        interval_ms=5000,
        scraped_at_ms=number,
        ok=True,
        error="",
        simulated=False,
        series=["x" * 1000] * series,
        values=[0.0] * series,
        times_ms=[],
        dropped={},
    )


@asynccontextmanager
async def running(shipper: Shipper) -> AsyncIterator[None]:
    task = asyncio.create_task(shipper.run())
    try:
        yield
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


@pytest.fixture(autouse=True)
def _short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ship, "RETRY_S", (0.001, 0.002))


def numbers(values: list[bytes]) -> list[int]:
    return [load_codec("scrape").decode(value)["scraped_at_ms"] for value in values]


async def test_records_of_a_target_go_to_one_partition_in_order() -> None:
    producer = FakeProducer()
    shipper = Shipper(producer, TOPICS)

    async with running(shipper):
        for number in range(50):
            await shipper.ship([scrape("a", number), scrape("b", number)])
        left = await shipper.flush(1.0)

    assert left == 0
    for key in (b"s/a", b"s/b"):
        mine = [record for record in producer.records if record[2] == key]
        assert numbers([value for _, value, _, _ in mine]) == list(range(50))
        assert len({partition for _, _, _, partition in mine}) == 1


async def test_records_wait_while_kafka_is_away_and_none_is_lost_or_sent_twice() -> None:
    producer = FakeProducer()
    shipper = Shipper(producer, TOPICS)
    producer.refuse = lambda topic, value: KafkaConnectionError("away")

    async with running(shipper):
        for number in range(20):
            await shipper.ship([scrape("a", number)])
            await asyncio.sleep(0.001)
        assert not shipper.is_delivering
        assert shipper.waiting == 20
        producer.refuse = lambda topic, value: None
        await shipper.flush(1.0)
        delivering = shipper.is_delivering

    assert delivering
    assert numbers(producer.sent()) == list(range(20))


async def test_a_full_queue_drops_the_oldest_and_counts_them() -> None:
    before = ship.LOST.labels("queue_full")._value.get()
    shipper = Shipper(FakeProducer(), TOPICS, queue_bytes=10_500)

    for number in range(20):
        await shipper.ship([scrape("a", number, series=1)])

    assert shipper.waiting == 10
    assert ship.LOST.labels("queue_full")._value.get() - before == 10
    async with running(shipper):
        assert await shipper.flush(1.0) == 0
    assert numbers(shipper._producer.sent()) == list(range(10, 20))  # type: ignore[attr-defined]


async def test_flush_gives_up_and_says_how_many_are_left() -> None:
    producer = FakeProducer()
    producer.refuse = lambda topic, value: KafkaConnectionError("away")
    shipper = Shipper(producer, TOPICS)

    async with running(shipper):
        await shipper.ship([scrape("a", 1), scrape("b", 2)])
        left = await shipper.flush(0.05)

    assert left == 2


async def test_a_record_that_is_too_large_is_a_dead_letter_and_the_others_go_on() -> None:
    producer = FakeProducer()
    producer.refuse = lambda topic, value: MessageSizeTooLargeError() if len(value) > 100_000 else None
    shipper = Shipper(producer, TOPICS)
    large = scrape("a", 1, series=700)

    async with running(shipper):
        await shipper.ship([scrape("a", 0), large, scrape("a", 2)])
        await shipper.flush(1.0)

    assert numbers(producer.sent()) == [0, 2]
    (letter,) = [load_codec("deadletter").decode(value) for value in producer.sent("t.deadletter.v1")]
    encoded = load_codec("scrape").encode(large)
    assert letter["stage"] == "collect"
    assert letter["reason"] == "too_large"
    assert f"{len(encoded)} bytes" in letter["error"]
    assert letter["topic"] == "t.scrape.v1"
    assert letter["key"] == b"s/a"
    assert letter["value"] == encoded[: 16 * 1024]
    assert shipper.waiting == 0


async def test_a_batch_that_is_refused_as_a_whole_is_sent_record_by_record() -> None:
    producer = FakeProducer()
    refused = False

    def refuse(topic: str, value: bytes) -> KafkaError | None:
        nonlocal refused
        if not refused and numbers([value]) == [3]:
            refused = True
            return MessageSizeTooLargeError()
        return None

    producer.refuse = refuse
    shipper = Shipper(producer, TOPICS)
    await shipper.ship([scrape("a", number) for number in range(6)])

    async with running(shipper):
        await shipper.flush(1.0)

    assert sorted(numbers(producer.sent())) == list(range(6))
    assert producer.sent("t.deadletter.v1") == []
