import asyncio
import logging
import time
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from aiokafka import AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from fastavro import parse_schema, schemaless_writer
from pydantic import SecretStr

from streams.domain.keys import entity_key, partition_of
from streams.errors import SettingsError, TwinError
from streams.kafka import client_options
from streams.replica import TwinReplica
from streams.schemas import HEADER, load_codec, load_schema
from streams.settings import Settings
from streams.topics import topics_of
from tests.factories import make_state
from tests.services.conftest import MakeSettings, StartRole
from tests.services.stack import control
from tests.services.waiting import until
from tests.statewriter import StateWriter

LOG = logging.getLogger(__name__)

READY_S = 30.0
"""[s] The issue's bound for restart and `ready()`."""

ENTITIES = 1_000
UPDATES = 720
"""An hour of updates every five seconds."""

BATCH_BYTES = 262_144
NAMES = [
    *("cpu_usage_percent", "mem_usage_percent", "number_of_cores", "mem_total_bytes", "disk_total_bytes"),
    *("disk_free_bytes", "network_receive_bytes_per_s", "network_transmit_bytes_per_s", "power_watts"),
    *("load1", "temperature_celsius", "gpu_usage_percent"),
]


@pytest.fixture
def sasl_ssl(services: dict[str, Any]) -> dict[str, Any]:
    """Settings of the listener with TLS and a password."""
    facts = services["kafka"]["sasl_ssl"]
    return {
        "kafka_bootstrap_servers": facts["bootstrap_servers"],
        "kafka_security_protocol": "SASL_SSL",
        "kafka_sasl_mechanism": "PLAIN",
        "kafka_sasl_username": facts["username"],
        "kafka_sasl_password": SecretStr(facts["password"]),
        "kafka_ca_file": Path(facts["ca_file"]),
    }


@pytest.mark.parametrize("mechanism", ["PLAIN", "SCRAM-SHA-512"])
async def test_sasl_ssl(make_settings: MakeSettings, sasl_ssl: dict[str, Any], mechanism: Any) -> None:
    settings = await make_settings(**(sasl_ssl | {"kafka_sasl_mechanism": mechanism}))
    async with StateWriter(settings) as writer:
        await writer.put(make_state(id="ws01"))
        async with TwinReplica(settings) as twin:
            await twin.ready(READY_S)
            assert twin["node", "ws01"]["status"] == "up"

            await writer.put(make_state(id="ws01", version=13, status="down"))
            await until(lambda: twin["node", "ws01"]["status"] == "down", READY_S, "the change is seen")


async def test_the_web_role_over_sasl_ssl(
    make_settings: MakeSettings, sasl_ssl: dict[str, Any], role: StartRole
) -> None:
    settings = await make_settings(**sasl_ssl)
    async with StateWriter(settings) as writer:
        await writer.put(make_state(id="ws01"))

    web = await role("web", settings)

    assert (await web.get("/twin/v1/entities/node/ws01"))[0] == 200


@pytest.mark.parametrize(
    "wrong",
    [
        {"kafka_sasl_password": SecretStr("wrong")},
        {"kafka_sasl_username": "nobody"},
        {"kafka_ca_file": None},  # the system's authorities did not sign this one
    ],
    ids=["password", "user", "authority"],
)
async def test_wrong_credentials_are_an_error_of_ours_without_the_secret(
    make_settings: MakeSettings, sasl_ssl: dict[str, Any], wrong: dict[str, Any]
) -> None:
    settings = (await make_settings(**sasl_ssl)).model_copy(update=wrong)

    with pytest.raises(TwinError, match="TWIN_KAFKA_BOOTSTRAP_SERVERS") as caught:
        async with TwinReplica(settings):
            pass

    assert sasl_ssl["kafka_sasl_password"].get_secret_value() not in str(caught.value)


async def test_a_certificate_that_is_not_there_names_its_variable(
    settings: Settings, sasl_ssl: dict[str, Any], tmp_path: Path
) -> None:
    broken = settings.model_copy(update=sasl_ssl | {"kafka_ca_file": tmp_path / "none.pem"})

    with pytest.raises(SettingsError, match="TWIN_KAFKA_CA_FILE"):
        async with TwinReplica(broken):
            pass


async def test_a_topic_that_ends_without_a_record_is_caught_up(settings: Settings) -> None:
    # The end of a transaction takes an offset and is no record, as is whatever compaction removed.
    topic = topics_of(settings)["state"]
    producer = AIOKafkaProducer(
        **client_options(settings),
        transactional_id=settings.topic_prefix,
        acks="all",
        enable_idempotence=True,
    )
    await producer.start()
    try:
        async with producer.transaction():
            for number in range(20):
                key = entity_key("live", "node", f"n{number}")
                value = load_codec("state").encode(make_state(id=f"n{number}"))
                await producer.send(topic, value, key.encode(), partition_of(key, settings.partitions))
    finally:
        await producer.stop()

    async def read_to_the_end() -> int:
        async with TwinReplica(settings) as twin:
            await twin.ready(READY_S)
            assert len(twin) == 20
            return sum(twin.offsets().values())

    async def is_marked() -> bool:
        return await read_to_the_end() == 20 + settings.partitions

    await until(is_marked, READY_S, "Kafka wrote the ends of the transaction, which it does afterwards")


async def test_ready_on_a_topic_whose_records_were_compacted_away(make_settings: MakeSettings) -> None:
    settings = await make_settings(partitions=1)
    topic = topics_of(settings)["state"]
    await remake_topic(settings, topic, {"segment.ms": "100", "min.cleanable.dirty.ratio": "0.01"})
    async with StateWriter(settings) as writer:
        for version in range(30):
            await writer.put(*(make_state(id=f"n{number}", version=version) for number in range(10)))
            await asyncio.sleep(0.02)
        for number in range(9):
            await writer.remove("live", "node", f"n{number}")
        await asyncio.sleep(0.2)
        await writer.remove("live", "node", "never-there")

        async def records() -> tuple[int, int]:
            async with TwinReplica(settings) as twin:
                seen = count_taken(twin)
                await twin.ready(READY_S)
                assert list(twin) == [("node", "n9")]
                return seen[0], twin.offsets()[0]

        async def compacted() -> int:
            count, offset = await records()
            return offset if count <= 100 else 0

        offset = await until(compacted, 60.0, "most records were compacted away", every_s=0.5)
    assert offset == 30 * 10 + 9 + 1  # offsets go on, whatever was compacted


@pytest.mark.timeout(400)
async def test_ready_after_an_hour_of_updates_of_a_thousand_entities(make_settings: MakeSettings) -> None:
    settings = await make_settings(partitions=12)
    began_s = time.monotonic()
    await write_an_hour(settings)
    written_s = time.monotonic() - began_s

    began_s = time.monotonic()
    async with TwinReplica(settings) as twin:
        seen = count_taken(twin)
        await twin.ready(READY_S)
        ready_s = time.monotonic() - began_s

        assert len(twin) == ENTITIES
        assert all(held.version == UPDATES for held in twin.holdings.shown.values())
    LOG.info("written in %.1f s; %d records read, ready in %.2f s", written_s, seen[0], ready_s)
    assert ready_s < READY_S


async def test_a_hundred_thousand_entities_are_loaded_within_seconds(make_settings: MakeSettings) -> None:
    settings = await make_settings(partitions=12)
    async with StateWriter(settings) as writer:
        body = load_codec("state").encode(full_state("x"))
        for number in range(100_000):
            key = entity_key("live", "node", f"n{number}")
            await writer.send(key.encode(), body, partition_of(key, 12))
        await writer.flush()

    began_s = time.monotonic()
    async with TwinReplica(settings) as twin:
        await twin.ready(READY_S)
        ready_s = time.monotonic() - began_s

        assert len(twin) == 100_000
    LOG.info("ready in %.2f s", ready_s)
    assert ready_s < READY_S


def count_taken(twin: TwinReplica) -> list[int]:
    """A counter of the records that reach the replica."""
    counter = [0]
    reader = twin._source._reader
    take = reader._take

    def counting(records: list[Any]) -> None:
        counter[0] += len(records)
        take(records)

    reader._take = counting
    return counter


def full_state(name: str) -> Any:
    """A record of 12 metrics, as large as those of a real node."""
    count = len(NAMES)
    return make_state(
        id=name,
        aligned_names=sorted(NAMES),
        aligned_values=[1.5] * count,
        aligned_qualities=[0] * count,
        head_names=NAMES,
        head_sources=[0] * count,
        head_forms=[0] * count,
        head_values=[2.5] * count,
        head_times_ms=[1_751_552_584_763] * count,
        head_rates=[0.0] * count,
        head_sums=[0.0] * count,
    )


async def write_an_hour(settings: Settings) -> None:
    """All updates of the past hour with their own times, so that Kafka rolls and compacts as it would."""
    topic = topics_of(settings)["state"]
    start_ms = int(time.time() * 1000) - UPDATES * 5_000
    keys = [entity_key("live", "node", f"n{number}") for number in range(ENTITIES)]
    by_partition: dict[int, list[int]] = {}
    for number, key in enumerate(keys):
        by_partition.setdefault(partition_of(key, settings.partitions), []).append(number)
    bodies = [tail_of(full_state(f"n{number}")) for number in range(ENTITIES)]
    producer = AIOKafkaProducer(
        **client_options(settings), acks="all", max_batch_size=BATCH_BYTES, max_request_size=4 * BATCH_BYTES
    )
    await producer.start()
    under_way: list[Any] = []

    async def send(batch: Any, partition: int) -> None:
        under_way.append(await producer.send_batch(batch, topic, partition=partition))
        if len(under_way) > 50:
            await asyncio.gather(*under_way)
            under_way.clear()

    try:
        for partition, numbers in by_partition.items():
            batch = producer.create_batch()
            for update in range(1, UPDATES + 1):
                head = head_of(update)
                at_ms = start_ms + update * 5_000
                for number in numbers:
                    key, value = keys[number].encode(), head + bodies[number]
                    if batch.append(key=key, value=value, timestamp=at_ms) is None:
                        await send(batch, partition)
                        batch = producer.create_batch()
                        batch.append(key=key, value=value, timestamp=at_ms)
            await send(batch, partition)
        await asyncio.gather(*under_way)
    finally:
        await producer.stop()


def head_of(version: int) -> bytes:
    """Framing and first four fields of a record: Avro writes fields one after the other."""
    codec = load_codec("state")
    schema = parse_schema(codec.schema | {"fields": codec.schema["fields"][:4]})
    out = BytesIO()
    out.write(HEADER.pack(0, codec.schema_id))
    first = {"due_ms": 1, "targets": ["node_exporter ws01:9100"], "version": version, "epoch": 1}
    schemaless_writer(out, schema, first)
    return out.getvalue()


def tail_of(state: Any) -> bytes:
    """All further fields."""
    schema = load_schema("state")
    out = BytesIO()
    schemaless_writer(out, parse_schema(schema | {"fields": schema["fields"][4:]}), state)
    return out.getvalue()


async def remake_topic(settings: Settings, topic: str, config: dict[str, str]) -> None:
    """The topic again, compacted within seconds and without a memory of removals."""
    admin = AIOKafkaAdminClient(**client_options(settings))
    await admin.start()
    try:
        await admin.delete_topics([topic])
        new = NewTopic(
            topic,
            num_partitions=settings.partitions,
            replication_factor=1,
            topic_configs={
                "cleanup.policy": "compact",
                "delete.retention.ms": "0",
                "min.compaction.lag.ms": "0",
            }
            | config,
        )

        async def is_created() -> bool:
            return (await admin.create_topics([new])).topic_errors[0][1] == 0

        async def is_led() -> bool:
            partitions = (await admin.describe_topics([topic]))[0]["partitions"]
            return bool(partitions) and all(partition["leader"] >= 0 for partition in partitions)

        # Kafka deletes in the background, and refuses the name until then.
        await until(is_created, READY_S, "the topic is made again")
        await until(is_led, READY_S, "it has a leader")
    finally:
        await admin.close()


@pytest.mark.timeout(300)
async def test_it_goes_on_after_kafka_stalled_and_was_restarted(settings: Settings) -> None:
    async with TwinReplica(settings) as twin:
        changes = twin.changes()
        async with StateWriter(settings) as writer:
            await writer.put(*(make_state(id=f"n{number}", version=1) for number in range(50)))
        await until(lambda: len(twin) == 50, READY_S, "all are seen")

        control.pause(["kafka"])
        try:
            await asyncio.sleep(5)
        finally:
            control.resume(["kafka"])
        await asyncio.to_thread(control.restart, ["kafka"])
        changes.clear()
        async with StateWriter(settings) as writer:
            await writer.put(*(make_state(id=f"n{number}", version=2) for number in range(50)))

        changed = {(await asyncio.wait_for(anext(changes), READY_S)).id for _ in range(50)}
        assert changed == {f"n{number}" for number in range(50)}
        assert {held.version for held in twin.holdings.shown.values()} == {2}
