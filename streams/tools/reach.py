"""Whether Kafka, the schema registry, the history store and the sources answer: half of `twin check`."""

import asyncio
import os
import ssl
from pathlib import Path
from typing import Any

import aiohttp
from aiokafka.errors import KafkaError

from streams.collect.config import CollectConfig
from streams.collect.fetch import Fetcher
from streams.collect.privacy import redact
from streams.collect.run import build_source
from streams.collect.target import Target
from streams.collect.targets import load_targets
from streams.errors import SettingsError, SourceError, StoreError
from streams.kafka import client_options
from streams.rulebook import RuleBook
from streams.settings import Settings
from streams.stores import open_store
from streams.stores.duckdb import parse_path
from streams.stores.influx import parse_address
from streams.tools.findings import Findings
from streams.topics import RECORDS, check_topics

ANSWER_S = 10.0
"""[s] For one service to answer; whoever needs longer has a fault as well."""

SOURCES_AT_ONCE = 50
"""[1] Targets that are tried at a time: a thousand of them take seconds and are no storm."""


async def check_kafka(settings: Settings, findings: Findings) -> None:
    """Whether Kafka answers, and whether the topics are there as they should be."""
    if not settings.kafka_bootstrap_servers:
        findings.note(
            "kafka: TWIN_KAFKA_BOOTSTRAP_SERVERS is not set: only `twin up` runs, with a broker of its own"
        )
        return
    try:
        client_options(settings)
        async with asyncio.timeout(ANSWER_S):
            await check_topics(settings)
        findings.ok(
            f"kafka: {settings.kafka_bootstrap_servers}: {len(RECORDS)} topics {settings.topic_prefix}.*"
            f" with {settings.partitions} partitions"
        )
    except SettingsError as error:
        findings.fault("\n".join(f"kafka: {text}" for text in error.faults))
    except (KafkaError, OSError, TimeoutError) as error:
        findings.fault(
            f"kafka: {settings.kafka_bootstrap_servers} does not answer ({_said(error)}): is it running? Are"
            f" TWIN_KAFKA_SECURITY_PROTOCOL={settings.kafka_security_protocol} and its companions right?"
        )


async def check_registry(settings: Settings, findings: Findings) -> None:
    """Whether the schema registry answers, where there is one."""
    if not settings.schema_registry_url:
        return
    status, text = await _get(f"{settings.schema_registry_url.rstrip('/')}/subjects")
    if status == 200:
        findings.ok(f"registry: {settings.schema_registry_url}")
    else:
        findings.fault(f"registry: TWIN_SCHEMA_REGISTRY_URL: {settings.schema_registry_url}: {text}")


async def check_history(settings: Settings, findings: Findings) -> None:
    """Whether the history store answers, and takes the token."""
    url = settings.history_url
    if not url:
        findings.note(
            "history: TWIN_HISTORY_URL is not set: `twin sink` needs one, `twin up` brings a DuckDB file"
        )
    elif url.startswith("duckdb"):
        _check_duckdb(url, findings)
    elif url.startswith("influxdb"):
        await _check_influx(url, settings, findings)
    else:
        await _check_other(settings, findings)


async def _check_other(settings: Settings, findings: Findings) -> None:
    """Of a store in which there is nothing to create, so that its own look at the server changes nothing."""
    try:
        store = open_store(settings, {})
    except SettingsError as error:
        findings.fault(f"history: {error}")
        return
    try:
        async with asyncio.timeout(ANSWER_S):
            await store.prepare()
        findings.ok(f"history: {store.label}")
    except (StoreError, TimeoutError) as error:
        findings.fault(f"history: TWIN_HISTORY_URL: {_said(error)}")
    finally:
        await store.close()


def _check_duckdb(url: str, findings: Findings) -> None:
    try:
        path = parse_path(url)
    except SettingsError as error:
        findings.fault(f"history: {error}")
        return
    place = next(parent for parent in (path, *path.parents) if parent.exists())
    if os.access(place, os.W_OK) and (path == place or place.is_dir()):
        findings.ok(f"history: DuckDB file {path}")
    else:
        findings.fault(f"history: TWIN_HISTORY_URL: {path} cannot be written")


async def _check_influx(url: str, settings: Settings, findings: Findings) -> None:
    try:
        address, token = parse_address(url), settings.token
    except SettingsError as error:
        findings.fault(f"history: {error}")
        return
    if token is None:
        findings.fault("history: TWIN_HISTORY_TOKEN or TWIN_HISTORY_TOKEN_FILE is not set")
        return
    status, text = await _get(
        f"{address.url}/api/v2/buckets",
        params={"org": address.org, "name": address.bucket},
        headers={"Authorization": f"Token {token.get_secret_value()}"},
        ca_file=settings.history_ca_file,
    )
    if status == 200 or (status == 404 and "bucket" in text):
        later = "" if status == 200 else f"; `twin sink` will make bucket {address.bucket}"
        findings.ok(f"history: InfluxDB {address.url}, organisation {address.org}{later}")
    elif status in (401, 403):
        findings.fault(f"history: {address.url} refuses TWIN_HISTORY_TOKEN: {text}")
    else:
        findings.fault(f"history: TWIN_HISTORY_URL: {address.url}: {text}")


async def check_sources(
    settings: Settings, config: CollectConfig, rulebook: RuleBook, findings: Findings
) -> None:
    """Scrape every target once, of all shards; nothing is sent."""
    try:
        targets = load_targets(config, rulebook.packs, settings)
    except SettingsError as error:
        findings.fault("\n".join(f"sources: {text}" for text in error.faults))
        return
    if not targets:
        findings.note(
            "sources: none: set TWIN_PROMETHEUS_URLS, or sources in the file that TWIN_CONFIG names"
        )
    fetcher, places = Fetcher(), asyncio.Semaphore(SOURCES_AT_ONCE)
    try:
        await asyncio.gather(*[_check_source(target, fetcher, places, findings) for target in targets])
    finally:
        await fetcher.close()


async def _check_source(
    target: Target, fetcher: Fetcher, places: asyncio.Semaphore, findings: Findings
) -> None:
    async with places:
        try:
            harvest = await build_source(target, fetcher).collect()
        except SourceError as error:
            findings.fault(f"sources: {target.key}: {redact(str(error), target)}")
            return
    for part, failure in harvest.failures:
        findings.fault(f"sources: {target.key}: {part}: {redact(str(failure), target)}")
    if harvest.series:
        findings.ok(f"sources: {target.key}: {len(harvest.series)} series")
    elif not target.optional:
        findings.fault(
            f"sources: {target.key}: nothing that rule pack {target.pack.name} maps: `twin rules lint`"
        )


async def _get(url: str, ca_file: Path | None = None, **options: Any) -> tuple[int, str]:
    """Status and body of an answer; 0 and the reason when there is none."""
    try:
        timeout = aiohttp.ClientTimeout(ANSWER_S)
        tls = ssl.create_default_context(cafile=ca_file) if ca_file else True
        async with (
            aiohttp.ClientSession(timeout=timeout) as session,
            session.get(url, ssl=tls, **options) as answer,
        ):
            body = " ".join((await answer.text())[:400].split())
            return answer.status, body if answer.status == 200 else f"answers {answer.status}: {body}"
    except (aiohttp.ClientError, OSError, ValueError, TimeoutError) as error:
        return 0, f"does not answer ({_said(error)})"


def _said(error: BaseException) -> str:
    return str(error) or type(error).__name__
