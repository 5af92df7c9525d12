"""Serves the API."""

import asyncio
import errno
import gc
import signal
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

import click
import uvicorn
from fastapi import FastAPI

from streams.errors import SettingsError
from streams.kafka import check_access
from streams.rulebook import RuleBook
from streams.settings import Settings
from streams.web.access.address import check_address
from streams.web.app import create_web
from streams.web.stream.protocol import Protocol

GRACE_S = 1
"""[s] For answers under way when the process is told to end; the replica needs another second at most."""

BACKLOG = 2_048
"""[1] Connections that may wait to be accepted."""

UNTAKEN_MS = 40_000
"""[ms] A connection whose other side takes nothing for so long is dropped by the system."""


class Server(uvicorn.Server):
    """Ends with exit code 0 when it is told to; uvicorn's own would send the signal to itself again.

    Args:
        greeting: is printed as soon as it can be told to end.
        on_exit: is called when it is.
    """

    def __init__(self, config: uvicorn.Config, greeting: str, on_exit: Callable[[], None]) -> None:
        super().__init__(config)
        self._greeting = greeting
        self._on_exit = on_exit

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """It is told to end: streams, which go on for ever, end first."""
        self._on_exit()
        super().handle_exit(sig, frame)

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Take SIGTERM and SIGINT as the wish to end."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self.handle_exit, number, None)
        click.echo(self._greeting)
        try:
            yield
        finally:
            for number in (signal.SIGTERM, signal.SIGINT):
                loop.remove_signal_handler(number)


async def run_web(
    settings: Settings,
    rulebook: RuleBook | None = None,
    add_pages: Callable[[FastAPI], None] = lambda _app: None,
) -> None:
    """Serve until SIGTERM or SIGINT.

    Args:
        settings: the address, and where Kafka is.
        rulebook: the metrics that events may name; None: those that come with the twin.
        add_pages: adds what people see to the API.

    Raises:
        SettingsError: the address cannot be listened on, or is reached from elsewhere while there are no
            keys; or no broker is configured.
    """
    await check_access(settings)  # fails now, with the variable's name, not in the background for ever
    listener = listen(settings.web_host, settings.web_port)
    host, port = listener.getsockname()[:2]
    url = f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
    app = create_web(settings, rulebook)
    try:
        check_address(settings, app.state.access.config, host)
    except SettingsError:
        listener.close()
        raise
    add_pages(app)
    server = Server(
        uvicorn.Config(
            app,
            http=Protocol,
            log_config=None,
            access_log=False,
            log_level="warning",
            lifespan="on",
            server_header=False,
            timeout_graceful_shutdown=GRACE_S,
        ),
        f"the twin's API is at {url} (documentation: {url}/docs)",
        app.state.streams.close,
    )
    # What was loaded until now stays: a full collection would look at all of it each time, for 50 ms.
    gc.freeze()
    await server.serve(sockets=[listener])


def listen(host: str, port: int) -> socket.socket:
    """A listening socket; port 0 is any free one.

    Raises:
        SettingsError: naming the variables.
    """
    try:
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        # Without the protocol asyncio leaves Nagle's algorithm on, and small answers take 40 ms more.
        listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if hasattr(socket, "TCP_USER_TIMEOUT"):
            listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, UNTAKEN_MS)
        listener.bind(address)
        listener.listen(BACKLOG)
    except OSError as error:
        hint = "; TWIN_WEB_PORT=0 takes any free port" if error.errno == errno.EADDRINUSE else ""
        raise SettingsError(
            [f"TWIN_WEB_HOST, TWIN_WEB_PORT: cannot listen on {host}:{port}: {error.strerror}{hint}"]
        ) from error
    listener.setblocking(False)
    return listener
