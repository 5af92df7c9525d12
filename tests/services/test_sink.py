"""The sink on real Kafka and real InfluxDB: values, refused lines, and an outage while sinks come and go."""

import asyncio
import contextlib
import ssl
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from aiokafka.admin import AIOKafkaAdminClient
from influxdb_client.client.influxdb_client import InfluxDBClient
from influxdb_client.client.write_api import SYNCHRONOUS
from influxdb_client.rest import ApiException
from urllib3.exceptions import HTTPError

from streams.errors import StoreError
from streams.kafka import client_options
from streams.settings import Settings
from streams.stores.influx import InfluxAddress, InfluxStore, parse_address
from tests.closed_ticks import METRICS, dead_letters, producer_of, send, ticks_of, value_of
from tests.services.conftest import MakeSettings, StartRole
from tests.services.stack.kafka.certificates import CA_FILE, KEY_STORE
from tests.services.waiting import until

STACK = Path(__file__).parent / "stack"

NODES = 30
"""[1] In each message of the outage: enough for all that the sink may hold to be full before its end."""

FIELDS = len(METRICS) + 1
"""[1] Of a row: its values, and their qualities."""

CHANGE_FIELDS = 4
"""[1] Of a change without a reason."""

NASTY = ["plain", "a b", "a,b", "a=b", 'a"b', "a\\b", "a\\,b", "ä漢", "%d%", "#x", "a\nb", "ends\\"]
"""Ids with all that line protocol escapes."""

STORED = {"a\nb": "a\\nb", "ends\\": "ends\\ "}
"""What becomes of those that it cannot hold."""


def now_ms() -> int:
    """[ms] A tick of a moment ago: InfluxDB takes none beyond its retention."""
    return int(time.time()) // 5 * 5_000 - 600_000


class Influx:
    """The bucket of a test."""

    def __init__(self, settings: Settings, bucket: str = "") -> None:
        assert settings.history_url
        assert settings.token
        address = parse_address(settings.history_url)
        self.bucket = bucket or address.bucket
        self.client = InfluxDBClient(
            address.url, settings.token.get_secret_value(), org=address.org, timeout=30_000
        )

    async def values(self, field: str = "") -> dict[tuple[str, str, int], Any]:
        """Each value by node, field and time in ms."""
        rows = await self._query(self._flux(field))
        found = {
            (row["node_id"], row["_field"], round(row["_time"].timestamp() * 1000)): row["_value"]
            for row in rows
        }
        assert len(found) == len(rows)
        return found

    async def has(
        self, count: int, field: str = "", deadline_s: float = 60.0
    ) -> dict[tuple[str, str, int], Any]:
        """The values, once there are so many."""
        flux = self._flux(field) + " |> count() |> group() |> sum()"

        async def enough() -> bool:
            return sum(row["_value"] for row in await self._query(flux)) >= count

        await until(enough, deadline_s, f"{count} values of {field or 'all fields'}", every_s=0.5)
        return await self.values(field)

    def drop(self) -> None:
        """Remove all that the sink made, above all the task, which would run for ever."""
        buckets, tasks = self.client.buckets_api(), self.client.tasks_api()
        for task in tasks.find_tasks(name=f"twin: {self.bucket} to {self.bucket}_5m"):
            tasks.delete_task(task.id)
        for name in (self.bucket, f"{self.bucket}_5m"):
            if found := buckets.find_bucket_by_name(name):
                buckets.delete_bucket(found)
        self.client.close()

    def _flux(self, field: str) -> str:
        wanted = f' and r._field == "{field}"' if field else ""
        return (
            f'from(bucket: "{self.bucket}") |> range(start: -1d)'
            f" |> filter(fn: (r) => exists r.node_id{wanted})"
        )

    async def _query(self, flux: str) -> list[Any]:
        """The rows of an answer; none while there is no bucket, or no server."""
        try:
            tables = await asyncio.to_thread(self.client.query_api().query, flux)
        except (ApiException, HTTPError) as error:
            if getattr(error, "status", None) not in (None, 404):
                raise
            return []
        return [record for table in tables for record in table.records]


@pytest.fixture
async def sink_settings(make_settings: MakeSettings, influx: dict[str, Any]) -> Settings:
    """Settings with a bucket that is not there yet."""
    return await make_settings(**influx)


@pytest.fixture
async def bucket(sink_settings: Settings) -> AsyncIterator[Influx]:
    """A client of that bucket."""
    influx = Influx(sink_settings)
    yield influx
    await asyncio.to_thread(influx.drop)


async def test_ticks_are_in_influxdb_as_they_were_closed(
    sink_settings: Settings, bucket: Influx, role: StartRole
) -> None:
    begin_ms = now_ms()
    async with producer_of(sink_settings) as producer:
        for partition in range(sink_settings.partitions):
            ids = [f"{id}{partition}" if not id.endswith("\\") else f"{partition}{id}" for id in NASTY]
            for turn in range(20):
                tick = ticks_of(ids, begin_ms + turn * 5_000, changed=turn == 0)
                await send(producer, sink_settings, tick, partition)
    sink = await role("sink", sink_settings)

    values = await bucket.has(sink_settings.partitions * len(NASTY) * (20 * FIELDS + CHANGE_FIELDS))

    for partition in range(sink_settings.partitions):
        for node, id in enumerate(NASTY):
            shown = f"{partition}ends\\ " if id.endswith("\\") else STORED.get(id, id) + str(partition)
            at_ms = begin_ms + 35_000
            for metric, name in enumerate(METRICS):
                assert values[shown, name, at_ms] == value_of(metric, node, at_ms)
            assert values[shown, "attributes", begin_ms] == '{"arch": "x86_64"}'
            assert values[shown, "record", begin_ms] == '["up", "", false]{"arch": "x86_64"}'
            assert values[shown, "removed", begin_ms] is False
    assert len(values) == sink_settings.partitions * len(NASTY) * (20 * FIELDS + CHANGE_FIELDS)
    assert await sink.stop() == 0
    assert sink_settings.token
    assert sink_settings.token.get_secret_value() not in sink.tail(10_000)


async def test_refused_lines_are_dead_letters_and_the_rest_is_kept(
    sink_settings: Settings, bucket: Influx, role: StartRole
) -> None:
    sink = await role("sink", sink_settings)
    begin_ms = now_ms()
    async with producer_of(sink_settings) as producer:
        await send(producer, sink_settings, ticks_of(["first"], begin_ms))
        await bucket.has(FIELDS)
        # A field has one type in a shard for ever.
        line = f'other,node_id=x odd="text" {begin_ms}'
        with bucket.client.write_api(write_options=SYNCHRONOUS) as api:
            await asyncio.to_thread(api.write, bucket.bucket, record=line, write_precision="ms")
        odd = ticks_of(["a", "b"], begin_ms)
        odd["names"][METRICS.index("beard_cm")] = "odd"
        await send(producer, sink_settings, odd, 1)
        await send(producer, sink_settings, ticks_of(["old"], 5_000), 1)
        await send(producer, sink_settings, b"poison", 2)
        await send(producer, sink_settings, ticks_of(["last"], begin_ms), 1)

        values = await bucket.has(FIELDS + 2 * (FIELDS - 1) + FIELDS + 1)

    letters = {letter["reason"]: letter for letter in await dead_letters(sink_settings, 3)}
    assert set(letters) == {"field_type_conflict", "beyond_retention", "framing"}
    assert {letter["stage"] for letter in letters.values()} == {"sink"}
    conflict = letters["field_type_conflict"]
    assert (conflict["partition"], conflict["offset"]) == (1, 0)
    assert [line.split(b" ")[0] for line in conflict["value"].split(b"\n")] == [
        b"other,node_id=a,nodepool_id=1,simulated=false,world=live",
        b"other,node_id=b,nodepool_id=1,simulated=false,world=live",
    ]
    assert "already exists as type string" in conflict["error"]
    assert len(letters["beyond_retention"]["value"].split(b"\n")) == 3
    assert {id for id, _, _ in values} == {"first", "a", "b", "last", "x"}
    await until(
        lambda: _has_committed(sink_settings, 1, 3), 20.0, "the offsets behind the bad lines are committed"
    )
    await sink.ready()


async def test_buckets_and_task_are_there(sink_settings: Settings, bucket: Influx, role: StartRole) -> None:
    begin_ms = now_ms() // 300_000 * 300_000
    async with producer_of(sink_settings) as producer:
        for turn in range(60):
            await send(producer, sink_settings, ticks_of(["a"], begin_ms + turn * 5_000, changed=turn == 0))
    await role("sink", sink_settings)
    await bucket.has(60 * FIELDS + CHANGE_FIELDS)

    flux = await until(lambda: _task(bucket), 20.0, "the task")

    # The task itself runs every five minutes; here its text is run once, as InfluxDB would.
    await asyncio.to_thread(bucket.client.query_api().query, flux.partition("\n\n")[2])
    coarse = Influx(sink_settings, f"{bucket.bucket}_5m")
    values = await coarse.has(len(METRICS) + CHANGE_FIELDS)
    mean = sum(value_of(2, 0, begin_ms + turn * 5_000) for turn in range(60)) / 60
    assert values["a", "mem_total_bytes", begin_ms] == pytest.approx(mean)
    assert values["a", "status", begin_ms] == "up"


async def _task(bucket: Influx) -> str:
    name = f"twin: {bucket.bucket} to {bucket.bucket}_5m"
    tasks = await asyncio.to_thread(bucket.client.tasks_api().find_tasks, name=name)
    return str(tasks[0].flux) if len(tasks) == 1 else ""


@pytest.mark.timeout(600)
@pytest.mark.parametrize(("outage_s", "poll_s"), [(30, 5), (180, 30)])
async def test_every_tick_is_there_once_after_an_outage(
    sink_settings: Settings, bucket: Influx, role: StartRole, outage_s: int, poll_s: int
) -> None:
    more = {"kafka_max_poll_interval_ms": poll_s * 1000, "kafka_session_timeout_ms": 6_000}
    settings = Settings.model_validate({**sink_settings.model_dump(exclude_unset=True), **more})
    first = await role("sink", settings)
    done = asyncio.Event()
    begin_ms = now_ms() - 20 * 3_600_000  # five ticks of 5 s are written in each second
    writing = asyncio.create_task(_write_until(done, settings, begin_ms))
    await bucket.has(100)
    await asyncio.to_thread(_stack, "stop")
    try:
        await asyncio.sleep(outage_s * 0.2)
        second = await role("sink", settings, ready=False)
        await until(lambda: _members(settings, 2), 30.0, "both sinks are in the group")
        await asyncio.sleep(outage_s * 0.2)
        await first.kill()
        (last,) = await until(lambda: _members(settings, 1), 40.0, "the killed sink is out of the group")
        end = time.monotonic() + max(outage_s * 0.6, poll_s * 2.0)
        while time.monotonic() < end:
            # It waits for longer than max_poll_interval, and must not leave and join again.
            assert await _members(settings, 1) == [last]
            await asyncio.sleep(0.5)
    finally:
        await asyncio.to_thread(_stack, "start")
    done.set()
    turns = await writing

    field = METRICS[2]
    values = await bucket.has(turns * settings.partitions * NODES, field, deadline_s=90.0)

    expected = {
        (f"p{partition}n{node}", field, at_ms): value_of(2, node, at_ms)
        for at_ms in range(begin_ms, begin_ms + turns * 5_000, 5_000)
        for partition in range(settings.partitions)
        for node in range(NODES)
    }
    assert values == expected
    for partition in range(settings.partitions):
        await until(lambda place=partition: _has_committed(settings, place, turns), 20.0, "all is committed")
    await second.ready()


async def _write_until(done: asyncio.Event, settings: Settings, begin_ms: int) -> int:
    """Write a tick of some nodes into each partition, five times a second; return how many."""
    turn = 0
    async with producer_of(settings) as producer:
        while not done.is_set():
            for partition in range(settings.partitions):
                ids = [f"p{partition}n{node}" for node in range(NODES)]
                await send(producer, settings, ticks_of(ids, begin_ms + turn * 5_000), partition)
            turn += 1
            await asyncio.sleep(0.2)
    return turn


def _stack(command: str) -> None:
    subprocess.run(
        [sys.executable, str(STACK), command, "influxdb"], check=True, capture_output=True, timeout=120
    )


async def _members(settings: Settings, count: int) -> list[str]:
    """The members of the sink's group, when it is stable and they are so many."""
    admin = AIOKafkaAdminClient(**client_options(settings))
    await admin.start()
    try:
        (answer,) = await admin.describe_consumer_groups([f"{settings.topic_prefix}-sink"])
    finally:
        await admin.close()
    _, _, state, _, _, members, *_ = answer.groups[0]
    return [member[0] for member in members] if state == "Stable" and len(members) == count else []


async def _has_committed(settings: Settings, partition: int, offset: int) -> bool:
    admin = AIOKafkaAdminClient(**client_options(settings))
    await admin.start()
    try:
        offsets = await admin.list_consumer_group_offsets(f"{settings.topic_prefix}-sink")
    finally:
        await admin.close()
    return any(tp.partition == partition and found.offset >= offset for tp, found in offsets.items())


async def test_tls_is_verified(sink_settings: Settings, bucket: Influx) -> None:
    assert sink_settings.history_url
    plain = parse_address(sink_settings.history_url)
    async with _behind_tls(plain.url) as port:
        address = InfluxAddress(f"https://127.0.0.1:{port}", plain.org, plain.bucket)
        for known in (False, True):
            values = sink_settings.model_dump(exclude_unset=True)
            settings = Settings.model_validate({**values, "history_ca_file": CA_FILE if known else None})
            store = InfluxStore(address, settings, {})
            lines = store.convert(ticks_of(["a"], now_ms()))
            try:
                if known:
                    assert await store.write(lines) == []
                else:
                    with pytest.raises(StoreError, match="certificate verify failed"):
                        await store.write(lines)
                    store._prepared = True
                    with pytest.raises(StoreError, match="certificate verify failed"):
                        await store.write(lines)
            finally:
                await store.close()

    assert len(await bucket.has(FIELDS)) == FIELDS


@contextlib.asynccontextmanager
async def _behind_tls(url: str) -> AsyncIterator[int]:
    """The port of a TLS end before a server, with a certificate of the stack's own authority."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(KEY_STORE)
    host, port = url.removeprefix("http://").split(":")

    async def pump(source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while data := await source.read(65_536):
                target.write(data)
                await target.drain()
        target.close()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        back_reader, back_writer = await asyncio.open_connection(host, int(port))
        await asyncio.gather(pump(reader, back_writer), pump(back_reader, writer))

    server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=context)
    try:
        yield int(server.sockets[0].getsockname()[1])
    finally:
        server.close()
