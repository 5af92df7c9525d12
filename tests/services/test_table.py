"""The worker's table on real Kafka: what reaches below Faust's public surface still works."""

import asyncio
import itertools

from aiokafka import AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, RecordsToDelete
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from faust.types import TP

from streams.domain.keys import partition_of
from streams.engine.restored import read_restored
from streams.engine.table import restore
from streams.kafka import client_options
from streams.settings import Settings
from streams.topics import topics_of
from tests.services.topiclog import end_offsets, read_topic, send
from tests.services.waiting import until
from tests.table_cases import (  # noqa: F401  # pytest finds the tests here
    ENTITIES,
    applied,
    bare_table,
    observations,
    record,
    remove,
    running,
    test_batch_that_could_not_be_written_is_applied_after_a_restart,
    test_batched_write_is_in_kafka_and_in_memory_and_its_offsets_are_noted,
    test_message_that_faust_left_out_ends_the_worker,
    test_partitions_that_go_are_dropped_and_come_back_whole,
    test_record_that_is_too_large_is_refused_and_changes_nothing,
    test_restore_reads_large_batches_to_their_ends,
    test_restored_table_holds_the_newest_of_each_key,
    test_worker_without_a_lease_writes_nothing_until_it_has_one,
)

COMPACT_NOW = {
    "cleanup.policy": "compact",
    "min.compaction.lag.ms": "0",
    "max.compaction.lag.ms": "1000",
    "segment.ms": "100",
    "min.cleanable.dirty.ratio": "0.001",
    "delete.retention.ms": "0",
}


async def test_compacted_partition_is_restored_to_its_end(settings: Settings) -> None:
    bare = bare_table(settings)
    topic = topics_of(settings)["state"]
    admin = AIOKafkaAdminClient(**client_options(settings))
    await admin.start()
    try:
        await admin.alter_configs([ConfigResource(ConfigResourceType.TOPIC, topic, COMPACT_NOW)])
    finally:
        await admin.close()
    names = [name for name in ENTITIES if partition_of(f"live/node/{name}", settings.partitions) == 0]
    versions = itertools.count(1)
    newest: dict[bytes, bytes] = {}

    async def compacted() -> bool:
        # A segment is only closed by a record that comes after its time.
        for name in names:
            key, value, home = record(name, version=next(versions))
            await send(settings, "state", [(home, key, value)])
            newest[key] = value
        messages = await read_topic(settings, "state")
        return messages[0].offset > 0 and messages[-1].offset > len(messages)

    await until(compacted, 60, "Kafka has compacted the topic", every_s=0.3)
    await remove(settings, names[-1])  # the tail of the log is no record
    del newest[f"live/node/{names[-1]}".encode()]

    ends = await asyncio.wait_for(restore(bare, [TP(topic, 0)]), 30)

    assert bare.data.data == newest
    assert ends == {TP(topic, 0): await end_of(settings, "state")}


async def test_partition_that_ends_with_the_mark_of_a_transaction_is_restored(
    settings: Settings,
) -> None:
    bare = bare_table(settings)
    topic = topics_of(settings)["state"]
    names = [name for name in ENTITIES if partition_of(f"live/node/{name}", settings.partitions) == 0]
    async with transactional(settings) as producer:
        for name in names:
            async with producer.transaction():
                key, value, home = record(name, version=1)
                await producer.send_and_wait(topic, value, key=key, partition=home)

    await asyncio.wait_for(restore(bare, [TP(topic, 0)]), 30)

    assert len(bare.data.data) == len(names)
    assert await end_of(settings, "state") == 2 * len(names), "each with a mark behind it"


async def test_partition_whose_records_were_deleted_is_restored(settings: Settings) -> None:
    bare = bare_table(settings)
    topic = topics_of(settings)["observation"]
    table = topics_of(settings)["state"]
    await send(settings, "observation", [(0, None, b"x")] * 5)
    admin = AIOKafkaAdminClient(**client_options(settings))
    await admin.start()
    try:
        await admin.delete_records({TopicPartition(topic, 0): RecordsToDelete(5)})
    finally:
        await admin.close()

    assert await asyncio.wait_for(restore(bare, [TP(table, 0)]), 30) == {TP(table, 0): 0}
    found = await asyncio.wait_for(read_restored(settings, topic, [0]), 30)

    assert (found.records, found.ends) == ({0: {}}, {0: 5})


async def test_marks_of_transactions_are_passed_over(settings: Settings) -> None:
    topic = topics_of(settings)["observation"]
    async with running(settings) as worker, transactional(settings) as producer:
        for number in range(3):
            for home, _, value in observations(settings, number):
                async with producer.transaction():
                    await producer.send_and_wait(topic, value, partition=home)
        await until(lambda: applied(worker) == 3 * len(ENTITIES), 30, "all is applied")

        assert worker.is_ready
        assert not worker.app._crashed.is_set()


async def end_of(settings: Settings, record_name: str) -> int:
    return (await end_offsets(settings, record_name))[0]


def transactional(settings: Settings) -> AIOKafkaProducer:
    return AIOKafkaProducer(**client_options(settings), transactional_id=settings.topic_prefix)
