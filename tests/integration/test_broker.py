"""The embedded broker: that it comes up, what it answers, and that it never stays behind."""

import asyncio
import os
import signal
import sys
import time
from pathlib import Path

import psutil
import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, ConsumerRecord, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient

from streams.embedded import broker as broker_module
from streams.embedded.broker import EmbeddedBroker, free_port
from streams.errors import SettingsError, TwinError
from streams.kafka import client_options
from streams.offsets import true_end_offsets
from streams.settings import Settings, load_settings
from streams.topics import RECORDS, check_topics, create_topics, topics_of


async def test_topics_are_created_once_with_their_partitions(broker: EmbeddedBroker) -> None:
    settings = load_settings(
        kafka_bootstrap_servers=broker.address, topic_prefix="created", partitions=12, embedded=True
    )

    created = await create_topics(settings)
    again = await create_topics(settings)
    await check_topics(settings)

    assert created == [topics_of(settings)[record] for record in RECORDS]
    assert again == []
    with pytest.raises(SettingsError, match="TWIN_PARTITIONS"):
        await create_topics(settings.model_copy(update={"partitions": 3}))


async def test_admin_client_sees_topics_partitions_and_groups(settings: Settings) -> None:
    topic = topics_of(settings)["tick"]
    admin = AIOKafkaAdminClient(**client_options(settings))
    await admin.start()
    try:
        listed = await admin.list_topics()
        described = await admin.describe_topics([topic])
    finally:
        await admin.close()

    assert topic in listed
    assert sorted(partition["partition"] for partition in described[0]["partitions"]) == [0, 1, 2, 3]


async def test_group_reads_all_partitions_and_remembers_its_offsets(settings: Settings) -> None:
    topic = topics_of(settings)["tick"]
    await _send(settings, topic, [(number % 4, [b"one"]) for number in range(8)])

    async with _member(settings, topic) as consumer:
        read = 0
        async with asyncio.timeout(20):
            while read < 8:
                read += sum(map(len, (await consumer.getmany(timeout_ms=100)).values()))
        await consumer.commit()
    async with _member(settings, topic) as consumer:
        committed = [await consumer.committed(partition) for partition in consumer.assignment()]

    assert committed == [2, 2, 2, 2]


async def test_true_end_offsets_see_the_whole_last_batch(settings: Settings) -> None:
    topic = topics_of(settings)["state"]
    partitions = [TopicPartition(topic, number) for number in range(4)]
    await _send(settings, topic, [(0, [b"a"] * 10), (0, [b"b"] * 7), (1, [b"c"]), (2, [b"d"] * 300)])

    async with AIOKafkaConsumer(**client_options(settings), enable_auto_commit=False) as consumer:
        consumer.assign(partitions)
        for partition in partitions:
            consumer.seek(partition, 0)
        said = await consumer.end_offsets(partitions)
        ends = await true_end_offsets(consumer, partitions, embedded=True)
        positions = [await consumer.position(partition) for partition in partitions]

    assert list(said.values()) == [11, 1, 1, 0], "tansu has learned it: drop true_end_offsets"
    assert ends == dict(zip(partitions, [17, 1, 300, 0], strict=True))
    assert positions == [0, 0, 0, 0]


async def test_true_end_offsets_see_what_came_after_an_earlier_fetch(settings: Settings) -> None:
    topic = topics_of(settings)["state"]
    partition = TopicPartition(topic, 3)
    async with AIOKafkaConsumer(**client_options(settings), enable_auto_commit=False) as consumer:
        consumer.assign([partition])
        consumer.seek(partition, 0)
        for round_ in range(1, 6):
            await _send(settings, topic, [(3, [b"x"] * 25)])
            assert await true_end_offsets(consumer, [partition], embedded=True) == {partition: round_ * 25}
        read: list[ConsumerRecord] = []
        async with asyncio.timeout(20):
            while len(read) < 125:
                read += (await consumer.getmany(partition, timeout_ms=100)).get(partition, [])

    assert [record.offset for record in read] == list(range(125))


async def test_taken_port_is_answered_by_another_port(
    broker: EmbeddedBroker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    taken = int(broker.address.rpartition(":")[2])
    ports = iter([taken, taken, free_port()])
    monkeypatch.setattr(broker_module, "free_port", lambda: next(ports))

    async with EmbeddedBroker(tmp_path / "broker.log") as second:
        assert second.address != broker.address


async def test_broker_that_cannot_start_says_where_to_look(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(broker_module, "broker_binary", lambda: Path("/bin/false"))

    with pytest.raises(TwinError, match=r"broker\.log"):
        await EmbeddedBroker(tmp_path / "broker.log").start()


async def test_stop_ends_the_process(tmp_path: Path) -> None:
    async with EmbeddedBroker(tmp_path / "broker.log") as broker:
        pid = broker.pid
        assert psutil.Process(pid).is_running()

    assert not psutil.pid_exists(pid)
    assert "ready" in (tmp_path / "broker.log").read_text()


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
async def test_broker_ends_when_its_parent_is_killed(tmp_path: Path, number: signal.Signals) -> None:
    script = (
        "import asyncio, sys, pathlib\n"
        "from streams.embedded.broker import EmbeddedBroker\n"
        "async def main():\n"
        "    async with EmbeddedBroker(pathlib.Path(sys.argv[1])) as broker:\n"
        "        print(broker.pid, flush=True)\n"
        "        await asyncio.sleep(60)\n"
        "asyncio.run(main())\n"
    )
    parent = await asyncio.create_subprocess_exec(
        sys.executable, "-c", script, str(tmp_path / "broker.log"), stdout=asyncio.subprocess.PIPE
    )
    assert parent.stdout is not None
    broker_pid = int(await asyncio.wait_for(parent.stdout.readline(), 20))

    os.kill(parent.pid, number)
    await parent.wait()

    assert _ended_within(broker_pid, 5.0)


def _ended_within(pid: int, deadline_s: float) -> bool:
    deadline = time.monotonic() + deadline_s
    while time.monotonic() < deadline:
        try:
            if psutil.Process(pid).status() == psutil.STATUS_ZOMBIE:
                return True  # nobody collected it, but it has ended
        except psutil.NoSuchProcess:
            return True
        time.sleep(0.02)
    return False


def _member(settings: Settings, topic: str) -> AIOKafkaConsumer:
    return AIOKafkaConsumer(
        topic,
        **client_options(settings),
        group_id=f"{settings.topic_prefix}-group",
        session_timeout_ms=settings.kafka_session_timeout_ms,
        heartbeat_interval_ms=settings.kafka_session_timeout_ms // 4,
        auto_offset_reset="earliest",
        enable_auto_commit=False,
    )


async def _send(settings: Settings, topic: str, batches: list[tuple[int, list[bytes]]]) -> None:
    async with AIOKafkaProducer(**client_options(settings)) as producer:
        for partition, values in batches:
            batch = producer.create_batch()
            for value in values:
                assert batch.append(key=None, value=value, timestamp=None)
            await (await producer.send_batch(batch, topic, partition=partition))
