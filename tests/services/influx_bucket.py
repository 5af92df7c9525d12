"""Buckets of tests in the real InfluxDB: removed with all that a store makes beside them."""

import asyncio

from influxdb_client.client.influxdb_client import InfluxDBClient

from streams.settings import Settings
from streams.stores.influx import parse_address


def client_of(settings: Settings) -> InfluxDBClient:
    """A client of the InfluxDB that the settings name."""
    assert settings.history_url
    assert settings.token
    address = parse_address(settings.history_url)
    return InfluxDBClient(address.url, settings.token.get_secret_value(), org=address.org, timeout=30_000)


async def drop(settings: Settings) -> None:
    """Remove the bucket, the one at 5 minutes, and the task, which would run for ever."""
    await asyncio.to_thread(_drop, settings)


def _drop(settings: Settings) -> None:
    assert settings.history_url
    bucket = parse_address(settings.history_url).bucket
    with client_of(settings) as client:
        buckets, tasks = client.buckets_api(), client.tasks_api()
        for task in tasks.find_tasks(name=f"twin: {bucket} to {bucket}_5m"):
            tasks.delete_task(task.id)
        for name in (bucket, f"{bucket}_5m"):
            if found := buckets.find_bucket_by_name(name):
                buckets.delete_bucket(found)
