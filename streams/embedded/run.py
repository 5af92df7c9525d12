"""One run of `twin up`: what has no address is embedded, then the roles, until somebody stops it."""

import asyncio
import contextlib
import logging
import signal
import socket
import sys
from collections.abc import Callable, Coroutine, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote

from aiokafka.errors import KafkaError

from streams.embedded.broker import HOST, SESSION_TIMEOUT_MS, EmbeddedBroker, free_port
from streams.embedded.firststate import FirstState
from streams.embedded.runtime import announce, variables_of
from streams.embedded.supervisor import Launch, Supervisor, child_environment
from streams.errors import TwinError
from streams.settings import Settings
from streams.topics import RECORDS, create_topics
from streams.web.access.address import check_address

ROLES = ("worker", "collect", "sink", "web")
"""In the order in which they are started."""

DELAYS_S = {"sink": 1.5, "web": 1.5}
"""[s] They leave the processors to the worker and the collector, for which the first state waits."""

GRACE_S = 3.0
"""[s] More, for roles that are about to be ready."""

COMMAND = (sys.executable, "-m", "streams")
"""What runs a role: the same Python, the same package."""

ANY_HOST = frozenset({"", "0.0.0.0", "::"})  # noqa: S104  # compared with, not bound
"""Addresses that mean all interfaces; we ourselves go by loopback."""

PATIENCE_S = 20.0
"""[s] Then it is time to say where to look, whether all is there or not."""

OWN_PORTS = frozenset({"TWIN_METRICS_PORT", "TWIN_LOG_FORMAT"})
"""Variables that hold for one role alone: not announced."""

Tell = Callable[[str, str], None]
"""Takes what a line is about and the line, for the person at the terminal."""


class Run:
    """One run; `sources` are TWIN_* variables that only the collector gets."""

    def __init__(self, settings: Settings, data: Path, sources: Mapping[str, str], tell: Tell) -> None:
        self.settings = settings
        self._data = data
        self._sources = sources
        self._tell = tell

    def until_stopped(self, farewell: Callable[[Settings], None]) -> None:
        """Run until SIGINT, SIGTERM or SIGHUP; `farewell` is called once all is there.

        Raises:
            TwinError: something cannot be started, or a part of it is given up.
        """
        # What the roles meet, they say themselves; what we meet, we say in words of our own.
        logging.getLogger("aiokafka").setLevel(logging.CRITICAL)
        asyncio.run(_until_signal(self._run(farewell)))

    async def _run(self, farewell: Callable[[Settings], None]) -> None:
        check_address(self.settings)
        self.settings = with_web_port(self.settings)
        async with contextlib.AsyncExitStack() as stack:
            ends: list[Callable[[], Coroutine[Any, Any, None]]] = []
            if not self.settings.kafka_bootstrap_servers:
                ends.append(await self._embed_broker(stack))
            else:
                self._tell("broker", f"yours, at {self.settings.kafka_bootstrap_servers}")
            if not self.settings.history_url:
                self._embed_history()
            await self._create_topics()
            announced = variables_of(self.settings)
            announce(self._data, {name: value for name, value in announced.items() if name not in OWN_PORTS})
            first = await stack.enter_async_context(FirstState(self.settings))
            launchers = {role: self._launcher(role, index) for index, role in enumerate(ROLES)}
            self._tell("roles", f"{', '.join(ROLES)} are being started")
            roles = await stack.enter_async_context(
                Supervisor(launchers, self._data / "logs", self._tell, DELAYS_S)
            )
            try:
                await _first_error(
                    roles.wait(), self._story(roles, first, farewell), *(end() for end in ends)
                )
            finally:
                self._tell("stopping", "the roles, then what is embedded")

    async def _embed_broker(
        self, stack: contextlib.AsyncExitStack
    ) -> Callable[[], Coroutine[Any, Any, None]]:
        log = self._data / "logs" / "broker.log"
        broker = await stack.enter_async_context(EmbeddedBroker(log))
        changes: dict[str, Any] = {"kafka_bootstrap_servers": broker.address, "embedded": True}
        if "kafka_session_timeout_ms" not in self.settings.model_fields_set:
            changes["kafka_session_timeout_ms"] = SESSION_TIMEOUT_MS
        self.settings = self.settings.model_copy(update=changes)
        self._tell("broker", f"embedded, in memory, at {broker.address}")

        async def end() -> None:
            await broker.wait()
            raise TwinError(
                f"the embedded broker ended, and its data is gone: see {log}; start `twin up` again"
            )

        return end

    async def _create_topics(self) -> None:
        try:
            created = len(await create_topics(self.settings))
        except KafkaError as error:
            raise TwinError(
                f"Kafka at {self.settings.kafka_bootstrap_servers} does not answer as it should ({error}):"
                f" look at TWIN_KAFKA_*, or unset TWIN_KAFKA_BOOTSTRAP_SERVERS to have a broker embedded"
            ) from error
        there = f", {len(RECORDS) - created} were there" if created < len(RECORDS) else ""
        self._tell("topics", f"{created} created{there}; {self.settings.partitions} partitions each")

    def _embed_history(self) -> None:
        path = self._data / "history.duckdb"
        self.settings = self.settings.model_copy(update={"history_url": f"duckdb://{quote(str(path))}"})
        self._tell("history", f"embedded, DuckDB in {path}")

    def _launcher(self, role: str, index: int) -> Callable[[], Launch]:
        settings = self.settings

        def launch() -> Launch:
            port = (
                settings.metrics_port + index if settings.metrics_port else free_port(settings.metrics_host)
            )
            own = {"TWIN_METRICS_PORT": str(port), "TWIN_LOG_FORMAT": "json"}
            host = settings.metrics_host
            if role == "web":
                host, port = settings.web_host, settings.web_port
            sources = self._sources if role == "collect" else {}
            return Launch(
                [*COMMAND, role],
                child_environment({**variables_of(settings), **own, **sources}),
                loopback(host),
                port,
            )

        return launch

    async def _story(
        self, roles: Supervisor, first: FirstState, farewell: Callable[[Settings], None]
    ) -> None:
        async def role_ready(name: str) -> None:
            await roles.ready(name)
            self._tell(name, "is ready")

        async def state_there() -> None:
            self._tell("state", f"first state: {await first.key()}")

        waits = {name: asyncio.create_task(role_ready(name)) for name in ROLES}
        state = asyncio.create_task(state_there())
        try:
            # The sink may wait long for a history store that is away; the twin is there without it.
            await asyncio.wait([state, waits["web"]], timeout=PATIENCE_S)
            await asyncio.wait(waits.values(), timeout=GRACE_S)
            for name, wait in waits.items():
                if not wait.done():
                    self._tell(name, f"is not ready yet: {roles.why_not(name)}")
            if not state.done():
                self._tell("state", f"none yet: do the sources answer? see {self._data}/logs/collect.log")
            farewell(self.settings)
            await asyncio.gather(state, *waits.values())
        finally:
            for task in (*waits.values(), state):
                task.cancel()


def with_web_port(settings: Settings) -> Settings:
    """The settings with a web port that is free now, chosen where they say 0.

    Raises:
        TwinError: the port is taken, or the address is none of this machine.
    """
    if settings.web_port == 0:
        return settings.model_copy(update={"web_port": free_port(settings.web_host)})
    host, port = settings.web_host, settings.web_port
    try:
        with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((host, port))
    except OSError as error:
        raise TwinError(
            f"the web role cannot listen on {host}:{port} ({error.strerror}):"
            f" set TWIN_WEB_PORT to another port, or to 0 for any free one"
        ) from error
    return settings


def loopback(host: str) -> str:
    """The address by which a server on this machine that listens on `host` is reached."""
    return HOST if host in ANY_HOST else host


async def _until_signal(work: Coroutine[Any, Any, None]) -> None:
    task = asyncio.create_task(work)
    stopped = False

    def stop() -> None:
        # Once: a second Ctrl-C must not interrupt the stopping, which is bounded anyway.
        nonlocal stopped
        if not stopped:
            stopped = True
            task.cancel()

    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) is not signal.SIG_IGN:  # as under nohup
            asyncio.get_running_loop().add_signal_handler(number, stop)
    try:
        await task
    except asyncio.CancelledError:
        if not stopped:
            raise


async def _first_error(*works: Coroutine[Any, Any, None]) -> None:
    tasks = [asyncio.create_task(work) for work in works]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_EXCEPTION)
        for task in done:
            task.result()
    finally:
        for task in tasks:
            task.cancel()
