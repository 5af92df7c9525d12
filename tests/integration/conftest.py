"""One embedded broker for all integration tests; topics of its own for each test."""

import os
import secrets
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
from aiokafka import ConsumerRecord

from streams.embedded.broker import SESSION_TIMEOUT_MS, EmbeddedBroker
from streams.reader import TopicReader
from streams.settings import Settings, load_settings
from streams.topics import create_topics, topics_of
from tests.services.roles import Role
from tests.worlds import deadletters

PARTITIONS = 4
"""[1] Enough for keys to differ, few enough for speed."""


@pytest.fixture(autouse=True)
def no_settings_from_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the developer's shell names (a real Kafka, perhaps) is not what these tests run on."""
    for name in [name for name in os.environ if name.startswith("TWIN_")]:
        monkeypatch.delenv(name)


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def broker(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[EmbeddedBroker]:
    """A running embedded broker."""
    async with EmbeddedBroker(tmp_path_factory.mktemp("broker") / "broker.log") as running:
        yield running


@pytest_asyncio.fixture
async def settings(broker: EmbeddedBroker, no_settings_from_outside: None) -> Settings:
    """Settings for that broker, with a prefix that nobody used before and its topics created."""
    fresh = load_settings(
        kafka_bootstrap_servers=broker.address,
        kafka_session_timeout_ms=SESSION_TIMEOUT_MS,
        topic_prefix=f"test-{secrets.token_hex(6)}",
        partitions=PARTITIONS,
        embedded=True,
    )
    await create_topics(fresh)
    return fresh


@pytest_asyncio.fixture
async def worker(settings: Settings, tmp_path: Path) -> AsyncIterator[Role]:
    """A worker that is ready."""
    role = Role("worker", settings, tmp_path / "worker.log")
    await role.start()
    try:
        await role.ready()
        yield role
    finally:
        await role.close()
        # Shown when the test fails.
        sys.stdout.write(f"{role.tail()}\n{await deadletters(settings)}\n")


@pytest_asyncio.fixture
async def topic(settings: Settings) -> AsyncIterator[list[ConsumerRecord]]:
    """What is in the topic of events, as it comes."""
    records: list[ConsumerRecord] = []
    reader = TopicReader(settings, topics_of(settings)["event"], records.extend, lambda _: None)
    await reader.start()
    yield records
    await reader.stop()
