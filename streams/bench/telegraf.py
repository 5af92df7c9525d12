"""Telegraf as it reads records from Kafka into InfluxDB best: what the sink is compared with.

It cannot read `tick`, whose messages hold many entities, so it gets the same values as one record a message.
"""

import contextlib
import json
import os
import shutil
import tempfile
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

from aiohttp import web
from aiokafka import AIOKafkaProducer

from streams.errors import TwinError
from streams.records import Tick
from streams.schemas import AvroCodec
from streams.settings import Settings
from streams.stores.influx import InfluxAddress
from streams.topics import topics_of

SCHEMA_ID = 7
"""Any that the registry below answers."""

CONFIGURATION = """
[agent]
  omit_hostname = true
  flush_interval = "1s"
  metric_batch_size = 5000
  metric_buffer_limit = 200000
[[inputs.kafka_consumer]]
  brokers = {brokers}
  topics = [{topic}]
  consumer_group = {group}
  offset = "oldest"
  kafka_version = "3.6.0"
  max_undelivered_messages = 50000
  data_format = "avro"
  avro_schema_registry = {registry}
  avro_measurement = "other"
  avro_tags = ["node_id", "nodepool_id", "simulated", "world"]
  avro_timestamp = "tick_ms"
  avro_timestamp_format = "unix_ms"
[[outputs.influxdb_v2]]
  urls = [{url}]
  token = "$BENCH_TOKEN"
  organization = {org}
  bucket = {bucket}
  content_encoding = "identity"
"""
"""The tuning that was the fastest of those tried; its stock settings reach half of it."""


async def fill_records(run: Settings, producer: AIOKafkaProducer, chunks: Sequence[tuple[int, Tick]]) -> None:
    """Write each row of the ticks as one record into the topic `observation`, which is free here."""
    topic = topics_of(run)["observation"]
    codec = AvroCodec("bench", _schema(chunks[0][1]["names"]), SCHEMA_ID)
    for partition, tick in chunks:
        batch = producer.create_batch()
        names = tick["names"]
        rows = zip(tick["ids"], tick["pools"], tick["ticks_ms"], strict=True)
        for place, (id, pool, tick_ms) in enumerate(rows):
            values = tick["values"][place * len(names) : (place + 1) * len(names)]
            record = dict(zip(names, values, strict=True)) | {
                "node_id": id,
                "nodepool_id": pool,
                "simulated": "true",
                "world": tick["world"],
                "tick_ms": tick_ms,
            }
            batch.append(key=None, value=codec.encode(record), timestamp=None)
        await producer.send_batch(batch, topic, partition=partition)
    await producer.flush()


@contextlib.asynccontextmanager
async def telegraf(
    run: Settings, address: InfluxAddress, names: Sequence[str]
) -> AsyncIterator[tuple[list[str], dict[str, str]]]:
    """Command and environment of a Telegraf for records of these fields, and the schema registry it needs."""
    found, token = shutil.which("telegraf"), run.token
    if not found or not token:
        raise TwinError("no telegraf on the PATH, or no token for InfluxDB")
    async with registry(json.dumps(_schema(names))) as url:
        with tempfile.TemporaryDirectory() as folder:
            quoted = {
                "brokers": (run.kafka_bootstrap_servers or "").split(","),
                "topic": topics_of(run)["observation"],
                "group": f"{run.topic_prefix}-telegraf",
                "registry": url,
                "url": address.url,
                "org": address.org,
                "bucket": address.bucket,
            }
            path = Path(folder) / "telegraf.conf"
            text = CONFIGURATION.format(**{name: json.dumps(value) for name, value in quoted.items()})
            path.write_text(text)
            env = {**os.environ, "GOGC": "400", "BENCH_TOKEN": token.get_secret_value()}
            yield [found, "--quiet", "--config", str(path)], env


@contextlib.asynccontextmanager
async def registry(schema: str) -> AsyncIterator[str]:
    """The part of a schema registry that Telegraf asks, for one schema."""

    async def answer(_request: web.Request) -> web.Response:
        return web.json_response({"schema": schema})

    app = web.Application()
    app.add_routes([web.get(f"/schemas/ids/{SCHEMA_ID}", answer)])
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


def _schema(names: Sequence[str]) -> dict[str, Any]:
    texts = ("node_id", "nodepool_id", "simulated", "world")
    fields = [{"name": name, "type": "string"} for name in texts]
    fields += [{"name": "tick_ms", "type": "long"}]
    fields += [{"name": name, "type": "double"} for name in names]
    return {"type": "record", "name": "Bench", "fields": fields}
