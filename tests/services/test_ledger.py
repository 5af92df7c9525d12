"""`twin ledger` beside a real worker, and on a log whose beginning Kafka has deleted."""

from pathlib import Path

import pytest
from aiokafka import AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, RecordsToDelete

from streams.domain.keys import partition_of
from streams.errors import TwinError
from streams.kafka import client_options
from streams.records import Observation
from streams.schemas import load_codec
from streams.settings import Settings
from streams.tools.ledger import count_samples
from streams.tools.ledger_report import Report
from streams.topics import topics_of
from tests.reference.messages import values
from tests.services.conftest import StartRole
from tests.services.waiting import until

T = 1_751_552_585_000
NODES = [f"n{number}" for number in range(40)]


def observed(offset: int, ids: list[str]) -> Observation:
    """Two samples for each node."""
    at_ms = T + 5_000 * offset
    readings = {("node", id): [("load1", 1.0, at_ms), ("power_watts", 5.0, at_ms)] for id in ids}
    return values(
        at_ms,
        "node_exporter",
        (0, offset),
        readings,
        forms={"power_watts": 0},
        interval_ms=5_000,
        scraped_at_ms=at_ms,
    )


async def send(settings: Settings, offsets: range) -> None:
    """Send an observation of every node for each offset of a scrape."""
    encode = load_codec("observation").encode
    homes: dict[int, list[str]] = {}
    for node in NODES:
        homes.setdefault(partition_of(f"live/node/{node}", settings.partitions), []).append(node)
    async with AIOKafkaProducer(**client_options(settings)) as producer:
        for offset in offsets:
            for partition, ids in homes.items():
                value = encode(observed(offset, ids))
                await producer.send_and_wait(topics_of(settings)["observation"], value, partition=partition)


async def delete_beginning(settings: Settings) -> None:
    """What retention does after a day: all but the newest messages go."""
    topic = topics_of(settings)["observation"]
    admin = AIOKafkaAdminClient(**client_options(settings))
    await admin.start()
    try:
        partitions = [TopicPartition(topic, number) for number in range(settings.partitions)]
        await admin.delete_records({partition: RecordsToDelete(5) for partition in partitions})
    finally:
        await admin.close()


async def all_counted(settings: Settings) -> Report | None:
    """The report, once nothing is in flight."""
    report = await count_samples(settings, wait_s=0)
    return report if report.is_balanced and not any(row.waiting for row in report.rows) else None


async def test_a_log_is_counted_beyond_its_retention(
    settings: Settings, role: StartRole, tmp_path: Path
) -> None:
    file = tmp_path / "ledger.json"
    await send(settings, range(20))
    await role("worker", settings)
    report = await until(lambda: all_counted(settings), 30, "the worker has applied everything")
    assert sum(row.counted for row in report.rows) == 20 * 2 * len(NODES)

    await delete_beginning(settings)
    with pytest.raises(TwinError, match="lost its beginning"):
        await count_samples(settings, wait_s=0)

    baseline = await count_samples(settings, save=file, wait_s=20)
    assert baseline.is_balanced
    assert baseline.baseline
    await send(settings, range(20, 30))
    report = await count_samples(settings, checkpoint=file, save=file, wait_s=20)
    assert report.is_balanced
    assert not report.baseline
    assert sum(row.counted + row.waiting for row in report.rows) == 30 * 2 * len(NODES)
