"""Processes, topics and clients of one measurement on a broker."""

import asyncio
import contextlib
import os
import signal
import sys
import time
from collections.abc import AsyncIterator

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition

from streams.kafka import client_options
from streams.settings import Settings
from streams.topics import topics_of

DEADLINE_S = 180.0
"""[s] After so long a measurement that does not end is given up."""


def of_run(settings: Settings, name: str, partitions: int = 4) -> Settings:
    """Settings with topics of their own for one measurement."""
    prefix = f"bench-{name}-{int(time.time() * 1000) % 10**9}"
    return settings.model_copy(update={"topic_prefix": prefix, "partitions": partitions, "metrics_port": 0})


def environment(settings: Settings) -> dict[str, str]:
    """The environment of a child process that runs with these settings."""
    told = {
        "TWIN_TOPIC_PREFIX": settings.topic_prefix,
        "TWIN_PARTITIONS": str(settings.partitions),
        "TWIN_METRICS_PORT": "0",
        "TWIN_WEB_PORT": str(settings.web_port),
        "TWIN_KAFKA_SESSION_TIMEOUT_MS": str(settings.kafka_session_timeout_ms),
        "TWIN_KAFKA_BOOTSTRAP_SERVERS": settings.kafka_bootstrap_servers or "",
        "TWIN_EMBEDDED": str(settings.embedded).lower(),
        "TWIN_LOG_LEVEL": "WARNING",
    }
    if settings.config:
        told["TWIN_CONFIG"] = str(settings.config)
    if settings.history_url:
        told["TWIN_HISTORY_URL"] = settings.history_url
    if settings.token:
        told["TWIN_HISTORY_TOKEN"] = settings.token.get_secret_value()
    return {**os.environ, **told}


@contextlib.asynccontextmanager
async def process(settings: Settings, *module: str) -> AsyncIterator[asyncio.subprocess.Process]:
    """`python -m <module>` as a child that is killed at the end."""
    child = await asyncio.create_subprocess_exec(sys.executable, "-m", *module, env=environment(settings))
    try:
        yield child
    finally:
        if child.returncode is None:
            child.send_signal(signal.SIGKILL)
            await child.wait()


@contextlib.asynccontextmanager
async def producer_of(settings: Settings) -> AsyncIterator[AIOKafkaProducer]:
    """A producer that is stopped at the end."""
    producer = AIOKafkaProducer(
        **client_options(settings), acks="all", linger_ms=2, max_batch_size=256 * 1024
    )
    await producer.start()
    try:
        yield producer
    finally:
        await producer.stop()


@contextlib.asynccontextmanager
async def state_reader(settings: Settings) -> AsyncIterator[AIOKafkaConsumer]:
    """A consumer of the whole topic `state`, without a group."""
    consumer = AIOKafkaConsumer(**client_options(settings), enable_auto_commit=False)
    await consumer.start()
    try:
        topic = topics_of(settings)["state"]
        consumer.assign([TopicPartition(topic, number) for number in range(settings.partitions)])
        await consumer.seek_to_beginning()
        yield consumer
    finally:
        await consumer.stop()
