"""`twin topics migrate` on real Kafka."""

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, ConsumerRecord
from aiokafka.admin import AIOKafkaAdminClient

from streams.domain.keys import partition_of
from streams.errors import SettingsError, TwinError
from streams.kafka import client_options
from streams.records import State
from streams.schemas import load_codec
from streams.settings import Settings
from streams.tools.scan import TopicScan
from streams.tools.topics import move
from streams.topics import RECORDS, topics_of
from tests.factories import encode_state, make_state
from tests.services.conftest import MakeSettings


@pytest_asyncio.fixture
async def source(make_settings: MakeSettings) -> Settings:
    """A prefix of its own with six partitions, empty."""
    return await make_settings(partitions=6)


@pytest_asyncio.fixture
async def target(source: Settings) -> AsyncIterator[Settings]:
    """A prefix that has no topics."""
    settings = source.model_copy(update={"topic_prefix": f"{source.topic_prefix}-new", "partitions": 9})
    yield settings
    admin = AIOKafkaAdminClient(**client_options(settings))
    await admin.start()
    await admin.delete_topics([topics_of(settings)[record] for record in RECORDS])
    await admin.close()


async def send(settings: Settings, record: str, messages: list[tuple[bytes, bytes | None, int]]) -> None:
    async with AIOKafkaProducer(**client_options(settings)) as producer:
        for key, value, partition in messages:
            await producer.send_and_wait(topics_of(settings)[record], value, key=key, partition=partition)


async def states(settings: Settings) -> dict[str, tuple[int, State]]:
    """Partition and record of each key."""
    found: dict[str, tuple[int, State]] = {}

    def take(record: ConsumerRecord) -> None:
        found[record.key.decode()] = (record.partition, load_codec("state").decode(record.value))

    async with TopicScan(settings, topics_of(settings)["state"]) as scan:
        await scan.read(take)
    return found


async def test_newest_records_go_to_their_new_partitions(source: Settings, target: Settings) -> None:
    many = [encode_state(make_state(id=f"n{number}"), 6) for number in range(50)]
    newer = encode_state(make_state(id="n7", version=13, status="down"), 6)
    older = encode_state(make_state(id="n7", version=11), 6)
    gone = encode_state(make_state(id="n8"), 6)
    await send(
        source, "state", [*many, newer, older, (gone[0], None, gone[2]), (b"live/node/x", b"garbage", 0)]
    )

    copied, skipped = await move(source, target)

    found = await states(target)
    assert (copied, skipped) == (49, 1)
    assert set(found) == {f"live/node/n{number}" for number in range(50) if number != 8}
    assert all(partition == partition_of(key, 9) for key, (partition, _) in found.items())
    assert all(record["version"] == 0 and record["origins"] == [] for _, record in found.values())
    assert found["live/node/n7"][1]["status"] == "down"


async def test_a_prefix_with_records_is_refused(source: Settings, target: Settings) -> None:
    await send(source, "state", [encode_state(make_state(), 6)])
    await move(source, target)

    with pytest.raises(TwinError, match="holds records already"):
        await move(source, target)


async def test_the_present_prefix_is_refused(source: Settings) -> None:
    with pytest.raises(SettingsError, match="present prefix"):
        await move(source, source.model_copy(update={"partitions": 9}))


async def test_messages_that_wait_are_not_left_behind_unasked(source: Settings, target: Settings) -> None:
    await send(source, "scrape", [(b"host/ws01", b"a scrape", 3)])

    with pytest.raises(TwinError, match=r"scrape\.v1: 1 messages wait for `twin worker`"):
        await move(source, target)
    assert await move(source, target, abandon=True) == (0, 0)


async def test_a_running_worker_is_refused(source: Settings, target: Settings) -> None:
    consumer = AIOKafkaConsumer(
        topics_of(source)["observation"], **client_options(source), group_id=f"{source.topic_prefix}-worker"
    )
    async with consumer:
        await consumer.getmany(timeout_ms=1_000)

        with pytest.raises(TwinError, match=r"-worker is running \(1 members\)"):
            await move(source, target)
