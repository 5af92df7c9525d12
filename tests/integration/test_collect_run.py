"""The collector as a whole, on the embedded broker."""

import asyncio
import itertools
import json
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from zlib import crc32

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition

from streams.collect.run import run_collector
from streams.errors import SettingsError
from streams.kafka import client_options
from streams.records import Scrape
from streams.rulebook import load_rulebook
from streams.schemas import load_codec
from streams.settings import Settings, load_settings
from streams.topics import topics_of
from tests.integration.misbehaving import TEXT, answering, serving, unused_port

RULEBOOK = load_rulebook()
GOOD = answering(b"node_load1 0.5\nnode_other 1\n", TEXT)


@asynccontextmanager
async def collecting(settings: Settings) -> AsyncIterator[asyncio.Event]:
    """A running collector; stopped at the end, which may take no more than three seconds."""
    stop = asyncio.Event()
    task = asyncio.create_task(run_collector(settings, RULEBOOK, stop))
    try:
        yield stop
    finally:
        stop.set()
        began = time.monotonic()
        await task
        assert time.monotonic() - began < 10


@asynccontextmanager
async def reading(settings: Settings) -> AsyncIterator[AIOKafkaConsumer]:
    topics = topics_of(settings)
    consumer = AIOKafkaConsumer(
        **client_options(settings), auto_offset_reset="earliest", fetch_max_wait_ms=20
    )
    await consumer.start()
    consumer.assign([TopicPartition(topics["scrape"], number) for number in range(topics.partitions)])
    try:
        yield consumer
    finally:
        await consumer.stop()


async def next_scrape(
    consumer: AIOKafkaConsumer, source: str, after_ms: float = 0
) -> tuple[Scrape, int, bytes]:
    async with asyncio.timeout(20):
        async for message in consumer:
            record: Scrape = load_codec("scrape").decode(message.value)
            if record["source"] == source and record["scraped_at_ms"] >= after_ms:
                return record, message.partition, message.key
    raise AssertionError


def with_sources(settings: Settings, folder: Path, text: str) -> Settings:
    path = folder / "twin.yaml"
    path.write_text(text)
    return settings.model_copy(update={"config": path})


async def test_scrapes_reach_kafka(settings: Settings, tmp_path: Path) -> None:
    async with serving(GOOD) as url, reading(settings) as consumer:
        nowhere = f"http://127.0.0.1:{unused_port()}/metrics"
        configured = with_sources(
            settings,
            tmp_path,
            f"""
sources:
  - {{kind: exposition, url: {url}, pack: node_exporter, name: direct, interval_s: 1}}
  - {{kind: exposition, url: {nowhere}, pack: node_exporter, name: dead, interval_s: 1}}
  - {{kind: host, interval_s: 1}}
  - {{kind: demo, interval_s: 1}}
""",
        )
        async with collecting(configured):
            record, partition, key = await next_scrape(consumer, "direct")
            dead, _, _ = await next_scrape(consumer, "dead")
            host, _, _ = await next_scrape(consumer, "host")
            demo, _, _ = await next_scrape(consumer, "demo")

    assert key == f"direct/{url}".encode()
    assert partition == crc32(key) % settings.partitions
    assert record["series"] == ["node_load1"]
    assert record["dropped"] == {"unmapped": 1}
    assert dead["error"].startswith("connect: ")
    assert host["series"]
    assert demo["simulated"]


async def test_with_an_interval_of_zero_only_a_cue_makes_it_scrape(
    settings: Settings, tmp_path: Path
) -> None:
    scrapes = 0

    async def counted(request):
        nonlocal scrapes
        scrapes += 1
        return await GOOD(request)

    async with serving(counted) as url, reading(settings) as consumer:
        configured = with_sources(
            settings.model_copy(update={"scrape_interval_s": 0.0}),
            tmp_path,
            f"sources: [{{kind: exposition, url: {url}, pack: node_exporter, name: direct}}]",
        )
        async with collecting(configured):
            await asyncio.sleep(2)
            before = scrapes
            cues = asyncio.create_task(send_cues(settings, {"sources": ["direct"], "reason": "a test"}))
            record, _, _ = await next_scrape(consumer, "direct")
            cues.cancel()

    assert before == 0
    assert scrapes >= 1
    assert record["interval_ms"] == 0


async def send_cues(settings: Settings, body: dict[str, object]) -> None:
    """One a second, because the collector hears only those that come after it began to listen."""
    async with AIOKafkaProducer(**client_options(settings)) as producer:
        for number in itertools.count():
            event = {
                "id": f"cue-{number}",
                "type": "collect.now",
                "world": "live",
                "at_ms": round(time.time() * 1000),
                "sender": "test",
                "body": json.dumps(body),
            }
            for value in (b"malformed", load_codec("event").encode(event)):
                await producer.send_and_wait(topics_of(settings)["event"], value, partition=0)
            await asyncio.sleep(1)


async def test_it_waits_for_kafka_and_can_be_stopped_meanwhile(tmp_path: Path) -> None:
    settings = load_settings(kafka_bootstrap_servers=f"127.0.0.1:{unused_port()}")

    async with collecting(with_sources(settings, tmp_path, "sources: [{kind: host}]")):
        await asyncio.sleep(1.5)


async def test_topics_that_are_not_there_end_it_with_what_to_do(settings: Settings, tmp_path: Path) -> None:
    other = settings.model_copy(update={"topic_prefix": f"{settings.topic_prefix}-none"})

    with pytest.raises(SettingsError, match="twin topics create"):
        await run_collector(
            with_sources(other, tmp_path, "sources: [{kind: host}]"), RULEBOOK, asyncio.Event()
        )
