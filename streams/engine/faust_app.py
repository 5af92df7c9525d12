"""The Faust app that the worker and the sink share, and how such an app runs as a process.

Faust 0.15.3 and aiokafka 0.14.0 are pinned as a pair; what here reaches below their public surface is
covered by tests that fail when either changes.
"""

import asyncio
import logging
import signal
from collections.abc import Callable
from pathlib import Path
from tempfile import gettempdir
from typing import Any

import faust
from faust.auth import SASLCredentials
from faust.transport.drivers import aiokafka as driver
from faust.types.auth import SASLMechanism
from yarl import URL

from streams.engine.delivery import Delivery, OrderlyRecovery
from streams.engine.lease import Lease
from streams.errors import TwinError
from streams.kafka import REQUEST_TIMEOUT_MS, client_options, tls_context
from streams.settings import Settings

EMBEDDED_SESSION_MS = 2_000
"""[ms] The embedded broker holds a JoinGroup for half the session timeout."""

EMBEDDED_FETCH_WAIT_MS = 100
"""[ms] The embedded broker does not end a fetch when data comes, so the driver's 1.5 s would be latency;
but it cuts a reply off after this time, and with many small batches 20 ms is too short to read them."""

BATCH_BYTES = 320 * 1024
"""[B] A batch of states; larger than the largest record that we send."""

DRAIN_BYTES = 512 * 1024
"""[B] About 2,000 entities of 12 metrics, a tenth of a second of work, so that what waits stays fresh."""

STOP_TIMEOUT_S = 4.0
"""[s] After so long a stop that does not end is cut short; whatever is not committed is delivered again."""


def new_app(settings: Settings, role: str) -> Any:
    """A Faust app of the group `<prefix>-<role>` that declares no topics and serves no web page."""
    session_s = (EMBEDDED_SESSION_MS if settings.embedded else settings.kafka_session_timeout_ms) / 1000
    app = faust.App(
        f"{settings.topic_prefix}-{role}",
        broker=_broker_urls(settings),
        broker_credentials=_credentials(settings),
        ssl_context=tls_context(settings) if settings.kafka_security_protocol == "SSL" else None,
        store="memory://",
        datadir=Path(gettempdir()) / f"faust-{settings.topic_prefix}-{role}",  # made by Faust, stays empty
        web_enabled=False,
        topic_allow_declare=False,
        topic_disable_leader=True,
        topic_partitions=settings.partitions,
        table_standby_replicas=0,
        autodiscover=False,
        consumer_auto_offset_reset="earliest",
        broker_session_timeout=session_s,
        broker_heartbeat_interval=session_s / 4,
        broker_max_poll_interval=settings.kafka_max_poll_interval_ms / 1000,
        broker_request_timeout=max(90.0, session_s),
        broker_rebalance_timeout=max(30.0, session_s),
        broker_commit_interval=1.0,
        producer_acks=-1,
        producer_linger=0,
        producer_max_batch_size=BATCH_BYTES,
        producer_request_timeout=REQUEST_TIMEOUT_MS / 1000,
        stream_wait_empty=False,
        stream_recovery_delay=0.0,
        # It compares with ends that the embedded broker states too low; nothing is persisted here anyway.
        recovery_consistency_check=False,
        stream_buffer_maxsize=4_096,
        worker_redirect_stdouts=False,
    )
    app.conf.loghandlers = []
    ours: Any = app
    ours.delivery = Delivery(settings)
    ours.lease = Lease(session_s)
    ours.tables._recovery = OrderlyRecovery(app, ours.tables, beacon=ours.tables.beacon)
    ours.transport.Consumer = EmbeddedConsumer if settings.embedded else LeasedConsumer
    return app


class LeasedConsumerThread(driver.AIOKafkaConsumerThread):
    """Consumer thread whose heartbeats the app's lease follows."""

    app: Any

    async def on_start(self) -> None:
        """Start, and follow the heartbeats."""
        await super().on_start()
        self.app.lease.watch(self._ensure_consumer()._coordinator)


class LeasedConsumer(driver.Consumer):
    """Consumer that uses it."""

    def _new_consumer_thread(self) -> driver.AIOKafkaConsumerThread:
        return LeasedConsumerThread(self, loop=self.loop, beacon=self.beacon)


class EmbeddedConsumerThread(LeasedConsumerThread):
    """The same, whose fetches on the embedded broker end soon."""

    def _create_worker_consumer(self, transport: Any) -> Any:
        consumer = super()._create_worker_consumer(transport)
        consumer._fetch_max_wait_ms = EMBEDDED_FETCH_WAIT_MS
        return consumer


class EmbeddedConsumer(driver.Consumer):
    """Consumer that uses it."""

    def _new_consumer_thread(self) -> driver.AIOKafkaConsumerThread:
        return EmbeddedConsumerThread(self, loop=self.loop, beacon=self.beacon)


def generation_of(app: Any) -> int:
    """Generation of the consumer group that this process last joined."""
    return int(app.consumer_generation_id)


def raw_topic(app: Any, *names: str) -> Any:
    """Topics that deliver bytes: a value that does not decode must reach the stage, not end the agent."""
    return app.topic(
        *names,
        key_type=bytes,
        value_type=bytes,
        key_serializer="raw",
        value_serializer="raw",
        allow_empty=True,
    )


def drain(stream: Any, first: Any, most: int) -> list[Any]:
    """The event that came and those that wait behind it: `most` at most, and no more than a batch's bytes."""
    events, size = [first], len(first.message.value or b"")
    queue = stream.channel.queue
    while len(events) < most and size < DRAIN_BYTES and not queue.empty():
        events.append(queue.get_nowait())
        size += len(events[-1].message.value or b"")
    return events


def run_app(app: Any, beside: Callable[[asyncio.Event], Any] | None = None) -> None:
    """Run an app until SIGINT or SIGTERM.

    Args:
        beside: coroutine function that runs beside it until its argument is set, such as the metrics server.

    Raises:
        TwinError: the app crashed; the process should end with 1 and be started again.
    """
    asyncio.run(_run(app, beside))


async def _run(app: Any, beside: Callable[[asyncio.Event], Any] | None) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    app.in_worker = True
    task = asyncio.create_task(beside(stop)) if beside else None
    started = asyncio.create_task(app.start())
    stopped = asyncio.create_task(stop.wait())
    crashed = asyncio.create_task(app._crashed.wait())
    watched: set[asyncio.Task[Any]] = {stopped, crashed} | ({task} if task else set())
    try:
        await asyncio.wait({started, *watched}, return_when=asyncio.FIRST_COMPLETED)
        if started.done():
            await started
            await asyncio.wait(watched, return_when=asyncio.FIRST_COMPLETED)
        if task and task.done():
            await task
        if app._crashed.is_set():
            raise TwinError(
                f"{app.conf.id} stopped, and starts again from what Kafka holds: {app.crash_reason!r}"
            )
    finally:
        stop.set()
        await _stop(app, [job for job in (task, started, stopped, crashed) if job])


async def _stop(app: Any, tasks: list[asyncio.Task[Any]]) -> None:
    try:
        async with asyncio.timeout(STOP_TIMEOUT_S):
            await app.stop()
            await asyncio.gather(*tasks[:1], return_exceptions=True)
    except TimeoutError:
        logging.getLogger(__name__).warning("stopped before everything was tidied up")
    for task in tasks:
        task.cancel()


def _broker_urls(settings: Settings) -> list[URL]:
    servers = client_options(settings)["bootstrap_servers"].split(",")
    return [URL(f"kafka://{server.strip()}") for server in servers]


def _credentials(settings: Settings) -> SASLCredentials | None:
    if not settings.kafka_security_protocol.startswith("SASL"):
        return None
    options = client_options(settings)
    return SASLCredentials(
        username=options["sasl_plain_username"],
        password=options["sasl_plain_password"],
        mechanism=SASLMechanism(settings.kafka_sasl_mechanism),
        ssl_context=options.get("ssl_context"),
    )
