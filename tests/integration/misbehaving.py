"""Servers that misbehave, and one scrape of them."""

import asyncio
import random
import socket
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

from aiohttp import web

from streams.collect.fetch import Fetcher
from streams.collect.run import build_source
from streams.collect.scrape import Scraper
from streams.collect.target import Target
from streams.records import Scrape
from streams.rulebook import load_rulebook

PACKS = load_rulebook().packs
TEXT = "text/plain; version=0.0.4"
GARBAGE = random.Random(1).randbytes(10 * 1024 * 1024)

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
Raw = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


def make_target(url: str, kind: str = "exposition", pack: str = "node_exporter", **more) -> Target:
    options = {"interval_s": 1.0, "timeout_s": 0.5, **more}
    return Target(kind, pack, "the target", PACKS[pack], url=url, **options)


async def scrape(target: Target, fetcher: Fetcher, times: int = 1) -> Scrape:
    """The first record of the last of so many scrapes."""
    shipped: list[list[Scrape]] = []

    async def ship(records: list[Scrape]) -> None:
        shipped.append(records)

    scraper = Scraper(build_source(target, fetcher), ship)
    for _ in range(times):
        await scraper.scrape()
    assert len(shipped) == times
    return shipped[-1][0]


@asynccontextmanager
async def serving(handler: Handler, tls: ssl.SSLContext | None = None) -> AsyncIterator[str]:
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", handler)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0, ssl_context=tls)
    await site.start()
    port = runner.addresses[0][1]
    try:
        yield f"https://localhost:{port}/metrics" if tls else f"http://127.0.0.1:{port}/metrics"
    finally:
        await runner.cleanup()


@asynccontextmanager
async def talking(raw: Raw) -> AsyncIterator[str]:
    """A server that reads the request and then does what it likes with the connection."""

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await reader.readuntil(b"\r\n\r\n")
            await raw(reader, writer)
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(handle, "127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/metrics"
    finally:
        server.close()


def answering(body: bytes, content_type: str = TEXT, status: int = 200, **headers: str) -> Handler:
    async def handler(request: web.Request) -> web.Response:
        return web.Response(
            body=body,
            status=status,
            headers={"Content-Type": content_type}
            | {name.replace("_", "-"): value for name, value in headers.items()},
        )

    return handler


def sending(data: bytes) -> Raw:
    async def raw(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(data)
        await writer.drain()

    return raw


def unused_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
        return port
