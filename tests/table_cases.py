"""What must hold of the parts of Faust below its public surface that the worker stands on.

The same tests run on the embedded broker and on real Kafka (test_table.py in `integration` and `services`);
a new version of Faust or aiokafka that breaks one of these parts fails here.
"""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import chain
from typing import Any

import pytest
from aiokafka import AIOKafkaProducer
from faust.types import TP

from streams.app import create_app
from streams.domain.keys import entity_key, partition_of
from streams.domain.observation import new_observation
from streams.domain.twin import Partition
from streams.engine import faust_app
from streams.engine.faust_app import BATCH_BYTES, new_app
from streams.engine.table import TwinTable, new_table, restore
from streams.errors import InvalidMessageError
from streams.kafka import client_options
from streams.records import Observation, State
from streams.rulebook import load_rulebook
from streams.schemas import load_codec
from streams.settings import Settings
from streams.topics import topics_of
from tests.factories import make_state
from tests.services.replaying import assert_equal_to_replay
from tests.services.topiclog import read_topic, send
from tests.services.waiting import until

ENTITIES = [f"n{number}" for number in range(40)]


class Worker:
    """A worker's app in this process: `async with running(settings) as worker`."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.app = create_app(settings, load_rulebook())
        self.table: TwinTable = self.app.twin_table
        self.state = topics_of(settings)["state"]

    @property
    def is_ready(self) -> bool:
        """Whether it has partitions and works on them."""
        return bool(self.app.delivery.is_open and not self.app.rebalancing and self.table.parts)

    def homes(self) -> set[int]:
        """Partitions of the keys in memory."""
        return {partition_of(key.decode(), self.settings.partitions) for key in self.table.data.data}

    async def crashed(self) -> BaseException:
        """Wait until it gave up; why."""
        await asyncio.wait_for(self.app._crashed.wait(), 30)
        reason: BaseException = self.app.crash_reason
        return reason


@asynccontextmanager
async def running(settings: Settings, *, ready: bool = True) -> AsyncIterator[Worker]:
    """A worker that is stopped at the end as it would be by SIGTERM."""
    worker = Worker(settings)
    worker.app.in_worker = True
    starting = asyncio.create_task(worker.app.start())
    try:
        if ready:
            await until(lambda: worker.is_ready, 60, "the worker has partitions")
        yield worker
    finally:
        await faust_app._stop(worker.app, [starting])
        await asyncio.gather(starting, return_exceptions=True)


def bare_table(settings: Settings) -> TwinTable:
    """A table whose app does not run; for reading it needs none."""
    app = new_app(settings, "worker")
    return new_table(
        app,
        settings,
        topics_of(settings)["state"],
        (),
        lambda number: Partition(number, settings.step_ms, 3_600_000, {}),
    )


async def test_batched_write_is_in_kafka_and_in_memory_and_its_offsets_are_noted(settings: Settings) -> None:
    async with running(settings) as worker:
        records = [record(name, version=1) for name in ENTITIES]
        # More than one batch for each partition.
        big = [record(name, version=2, attributes={"a": "x" * 40_000}) for name in ENTITIES]
        writes: dict[int, list[tuple[bytes | None, bytes | None]]] = {}
        for key, value, home in records + big:
            writes.setdefault(home, []).append((key, value))

        await worker.table.publish(writes)

        offsets = dict(worker.app.tables.recovery.active_offsets)
        memory = dict(worker.table.data.data)
        homes = dict(worker.table.data._key_partition)
    messages = await read_topic(settings, "state")
    for home, sent in writes.items():
        written = [message for message in messages if message.partition == home]
        assert [(message.key, message.value) for message in written] == sent
        assert offsets[TP(topics_of(settings)["state"], home)] == written[-1].offset
    assert memory == {key: value for key, value, _ in big}
    assert homes == {key: home for key, _, home in big}


async def test_record_that_is_too_large_is_refused_and_changes_nothing(settings: Settings) -> None:
    async with running(settings) as worker:
        key, value, home = record("n0", version=1, attributes={"a": "x" * 1_000_000})

        with pytest.raises(InvalidMessageError, match="bytes for") as caught:
            await worker.table.publish({home: [(b"live/node/before", b"it"), (key, value)]})

        assert caught.value.reason == "too_large"
        assert worker.table.data.data == {}
    assert [message for message in await read_topic(settings, "state") if message.key == key] == []


async def test_restored_table_holds_the_newest_of_each_key(settings: Settings) -> None:
    bare = bare_table(settings)
    expected: dict[bytes, bytes] = {}
    messages = []
    for version in range(1, 30):
        for name in ENTITIES[: 1 + version]:
            key, value, home = record(name, version=version, due_ms=1_000 * version)
            messages.append((home, key, value))
            expected[key] = value
    key, stale, home = record("n1", version=200, epoch=2)
    messages.append((home, key, stale))  # of a worker that slept: an older epoch, whatever its version
    await send(settings, "state", messages)
    await remove(settings, "n2")
    del expected[b"live/node/n2"]

    ends = await restore(bare, [TP(topics_of(settings)["state"], n) for n in range(settings.partitions)])

    assert bare.data.data == expected
    assert {part.number for part in bare.parts.values()} == set(range(settings.partitions))
    assert sorted(chain.from_iterable(part.live.keys() for part in bare.parts.values())) == sorted(
        key.decode() for key in expected
    )
    assert sum(ends.values()) == len(messages) + 1


async def test_restore_reads_large_batches_to_their_ends(settings: Settings) -> None:
    bare = bare_table(settings)
    # The embedded broker names an end that is short by the newest batch; see `true_end_offsets`.
    topic = topics_of(settings)["state"]
    many = [record(f"m{number}", version=1) for number in range(2_400)]
    records = [(key, value) for key, value, home in many if home == 0][:600]
    async with AIOKafkaProducer(**client_options(settings), max_batch_size=BATCH_BYTES) as producer:
        for start in range(0, len(records), 200):
            batch = producer.create_batch()
            for key, value in records[start : start + 200]:
                assert batch.append(key=key, value=value, timestamp=None)
            await (await producer.send_batch(batch, topic, partition=0))

    await restore(bare, [TP(topic, 0)])

    assert bare.data.data == dict(records)


async def test_partitions_that_go_are_dropped_and_come_back_whole(settings: Settings) -> None:
    await observe(settings, rounds=3)
    async with running(settings) as first:
        await until(lambda: nodes(first) == keys(), 30, "all entities are there")
        async with running(settings) as second:
            await until(
                lambda: len(first.table.parts) + len(second.table.parts) == settings.partitions,
                60,
                "the partitions are shared",
            )
            assert first.table.parts.keys().isdisjoint(second.table.parts)
            assert first.homes() <= set(first.table.parts)
            assert second.homes() <= set(second.table.parts)
            assert nodes(first) | nodes(second) == keys()
            await observe(settings, rounds=3, first=3)
        await until(
            lambda: len(first.table.parts) == settings.partitions, 60, "all are the first one's again"
        )
        await until(lambda: first.is_ready, 60, "it works")
        await until(lambda: applied(first) == 6 * len(ENTITIES), 30, "all is applied")
    await assert_equal_to_replay(settings)


async def test_batch_that_could_not_be_written_is_applied_after_a_restart(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    publish = TwinTable.publish

    async def fail(self: TwinTable, writes: Any) -> None:
        raise ConnectionError("a test says so")

    await observe(settings, rounds=3)
    monkeypatch.setattr(TwinTable, "publish", fail)
    async with running(settings, ready=False) as worker:
        reason = await worker.crashed()
    assert "a test says so" in repr(reason)
    assert await read_topic(settings, "state") == []

    monkeypatch.setattr(TwinTable, "publish", publish)
    async with running(settings) as worker:
        await until(lambda: applied(worker) == 3 * len(ENTITIES), 30, "all is applied")
    await assert_equal_to_replay(settings)


async def test_worker_without_a_lease_writes_nothing_until_it_has_one(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with running(settings) as worker:
        lease = worker.app.lease
        await until(lambda: lease.holds, 10, "the group knows the worker")
        looked = asyncio.Event()
        held = False

        class Held:
            @property
            def holds(self) -> bool:
                looked.set()
                return held

        worker.app.lease = Held()
        await observe(settings, rounds=1)
        await asyncio.wait_for(looked.wait(), 30)
        before = await read_topic(settings, "state")
        held = True
        await until(lambda: applied(worker) == len(ENTITIES), 30, "all is applied")

    assert before == []


async def test_message_that_faust_left_out_ends_the_worker(settings: Settings) -> None:
    tp = TP(topics_of(settings)["observation"], 0)
    async with running(settings) as worker:
        await until(lambda: worker.app.delivery.next_offset(tp), 30, "a clock message was read")

        worker.app.delivery._next[tp] = 0  # as if it had not
        reason = await worker.crashed()

    assert "0 did not" in str(reason)


def record(name: str, **fields: Any) -> tuple[bytes, bytes, int]:
    state: State = make_state(id=name, **fields)
    key = entity_key("live", "node", name)
    return key.encode(), load_codec("state").encode(state), partition_of(key, 4)


async def remove(settings: Settings, name: str) -> None:
    key = entity_key("live", "node", name)
    async with AIOKafkaProducer(**client_options(settings)) as producer:
        await producer.send_and_wait(
            topics_of(settings)["state"], None, key=key.encode(), partition=partition_of(key, 4)
        )


def nodes(worker: Worker) -> set[bytes]:
    """Keys in memory but those of what the twin adds up over the nodes."""
    return {key for key in worker.table.data.data if key.startswith(b"live/node/")}


def keys() -> set[bytes]:
    return {entity_key("live", "node", name).encode() for name in ENTITIES}


def applied(worker: Worker) -> int:
    decode = load_codec("state").decode
    return sum(decode(value)["source_counts"][0] for value in worker.table.data.data.values())


async def observe(settings: Settings, rounds: int, first: int = 0) -> None:
    """One sample of each entity in each round."""
    for number in range(first, first + rounds):
        await send(settings, "observation", observations(settings, number))


def observations(settings: Settings, number: int) -> list[tuple[int, None, bytes]]:
    """One sample of each entity, as messages for each partition."""
    at_ms = int(time.time() * 1000) - 60_000 + 1_000 * number
    messages = []
    for home in range(settings.partitions):
        names = [name for name in ENTITIES if partition_of(f"live/node/{name}", settings.partitions) == home]
        observation: Observation = new_observation("clock", at_ms)
        observation.update(
            type="values",
            source="test",
            target="http://test",
            interval_ms=1_000,
            scraped_at_ms=at_ms,
            origin_topic="scrape",
            origin_partition=home,
            origin_offset=number,
            kinds=["node"] * len(names),
            ids=names,
            sizes=[1] * len(names),
            attributes=[{}] * len(names),
            names=["load1"],
            forms=[0],
            metrics=[0] * len(names),
            values=[float(number)] * len(names),
            times_ms=[at_ms] * len(names),
        )
        messages.append((home, None, load_codec("observation").encode(observation)))
    return messages
