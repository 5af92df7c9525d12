"""The collect role: reads the configuration, waits for Kafka, scrapes until it is stopped."""

import asyncio
import resource
import signal
import time
from collections.abc import Iterable
from contextlib import AsyncExitStack, suppress
from typing import Any

import click
import structlog
from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError

from streams.collect.config import load_config, rulebook_of
from streams.collect.cue import CueReader
from streams.collect.demo import DemoSource
from streams.collect.exposition import ExpositionSource
from streams.collect.fetch import Fetcher
from streams.collect.host import HostSource
from streams.collect.json_api import JsonSource
from streams.collect.prometheus import PrometheusSource
from streams.collect.schedule import Schedule
from streams.collect.scrape import Scraper
from streams.collect.shard import is_ours
from streams.collect.ship import ROUND_BYTES, Shipper
from streams.collect.target import Source, Target
from streams.collect.targets import load_targets
from streams.errors import SettingsError
from streams.kafka import check_access, client_options
from streams.metrics import serve
from streams.rulebook import RuleBook
from streams.settings import Settings
from streams.topics import check_topics, topics_of

KAFKA_RETRY_S = 1.0
"""[s] Between attempts to reach Kafka at start."""

FLUSH_S = 1.0
"""[s] For what is on its way when the role is stopped; it has to be over within three seconds."""

CLOSE_S = 0.4
"""[s] For each task and connection to end."""

MAX_REQUEST_BYTES = 1_048_576
"""[B] Kafka's own limit, unless its operators set another."""

log = structlog.get_logger()


@click.command()
@click.pass_obj
def collect(settings: Settings) -> None:
    """Scrape the sources into the topic `scrape`, until it is stopped."""
    rulebook = rulebook_of(settings)
    asyncio.run(run_collector(settings, rulebook))


async def run_collector(settings: Settings, rulebook: RuleBook, stop: asyncio.Event | None = None) -> None:
    """Scrape until `stop` is set, or SIGTERM or SIGINT comes; then flush and end within three seconds.

    Raises:
        SettingsError: the configuration has faults, or the topics are not as the settings say.
    """
    stop = stop or _stop_on_signals()
    targets = our_targets(settings, rulebook)
    _allow_many_connections()
    async with AsyncExitStack() as stack:
        producer = await _first(_connect(settings), stop)
        if producer is None:
            return
        stack.push_async_callback(_quietly, producer.stop)
        fetcher = Fetcher()
        stack.push_async_callback(_quietly, fetcher.close)
        shipper = Shipper(producer, topics_of(settings))
        scrapers = {target.key: Scraper(build_source(target, fetcher), shipper.ship) for target in targets}
        schedule = Schedule(targets, lambda target: scrapers[target.key].scrape())
        server = await serve(settings, lambda: _ready(shipper, targets))
        stack.push_async_callback(_quietly, server.close)
        shipping = asyncio.create_task(shipper.run())
        scraping = [
            asyncio.create_task(schedule.run(time.time())),
            asyncio.create_task(CueReader(settings, schedule.cue).run()),
        ]
        try:
            log.info("scraping", targets=len(targets), shard=settings.shard)
            await _first_of([shipping, *scraping, asyncio.create_task(stop.wait())])
        finally:
            await _cancel(scraping)
            if left := await shipper.flush(FLUSH_S):
                log.error("ends with records that Kafka does not have", records=left)
            await _cancel([shipping])
    log.info("stopped")


def our_targets(settings: Settings, rulebook: RuleBook) -> list[Target]:
    """The targets of this collector, by TWIN_SHARD.

    Raises:
        SettingsError: the configuration has faults, or names nothing to scrape.
    """
    targets = load_targets(load_config(settings.config), rulebook.packs, settings)
    if not targets:
        raise SettingsError(
            ["nothing to scrape: set TWIN_PROMETHEUS_URLS, or name a file with sources in TWIN_CONFIG"]
        )
    return [target for target in targets if is_ours(target.key, settings.shard)]


def build_source(target: Target, fetcher: Fetcher) -> Source:
    """The source of a target's kind."""
    match target.kind:
        case "prometheus":
            return PrometheusSource(target, fetcher)
        case "exposition":
            return ExpositionSource(target, fetcher)
        case "json":
            return JsonSource(target, fetcher)
        case "host":
            return HostSource(target)
        case "demo":
            return DemoSource(target)
    raise SettingsError([f"unknown kind of source: {target.kind}"])


async def _connect(settings: Settings) -> AIOKafkaProducer:
    said = ""
    while True:
        producer = AIOKafkaProducer(
            **client_options(settings),
            acks="all",
            linger_ms=5,
            max_request_size=MAX_REQUEST_BYTES,
            max_batch_size=ROUND_BYTES,
        )
        try:
            await check_access(settings)
            await producer.start()
            await check_topics(settings)
        except KafkaError as error:
            await producer.stop()
            why = f"{type(error).__name__}: {error}"
            if why != said:
                log.warning("waiting for Kafka", servers=settings.kafka_bootstrap_servers, why=why)
                said = why
            await asyncio.sleep(KAFKA_RETRY_S)
        except BaseException:
            await producer.stop()
            raise
        else:
            return producer


def _ready(shipper: Shipper, targets: list[Target]) -> tuple[bool, dict[str, Any]]:
    return shipper.is_delivering, {"targets": len(targets), "waiting_records": shipper.waiting}


def _stop_on_signals() -> asyncio.Event:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    return stop


def _allow_many_connections() -> None:
    # Each target keeps a connection, and the usual limit of 1,024 open files is meant for select().
    with suppress(ValueError, OSError):
        _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


async def _first(work: Any, stop: asyncio.Event) -> Any:
    """What the work gives, or None when it is stopped before."""
    working = asyncio.create_task(work)
    stopping = asyncio.create_task(stop.wait())
    await asyncio.wait([working, stopping], return_when=asyncio.FIRST_COMPLETED)
    stopping.cancel()
    if not working.done():
        await _cancel([working])
        return None
    return await working


async def _first_of(tasks: list[asyncio.Task[Any]]) -> None:
    """Wait until one ends; raise what it raised."""
    done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    tasks[-1].cancel()
    for task in done:
        task.result()


async def _cancel(tasks: Iterable[asyncio.Task[Any]]) -> None:
    tasks = list(tasks)
    for task in tasks:
        task.cancel()
    ended, _ = await asyncio.wait(tasks, timeout=CLOSE_S)
    for task in ended:
        if not task.cancelled() and (error := task.exception()):
            log.debug("ended with an error", why=repr(error))


async def _quietly(close: Any) -> None:
    with suppress(TimeoutError, KafkaError):
        async with asyncio.timeout(CLOSE_S):
            await close()
