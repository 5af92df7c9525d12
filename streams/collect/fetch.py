"""One HTTP request to a target: time-outs, caps and redirects, and a clear reason for whatever goes wrong."""

import asyncio
import os
import ssl
import time
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from http import HTTPStatus
from pathlib import Path
from types import SimpleNamespace

import aiohttp
from yarl import URL

from streams.collect.privacy import credentials
from streams.collect.target import Target
from streams.collect.threads import Resolver
from streams.errors import SourceError

CONNECTIONS_PER_SERVER = 8
"""[1] At once; more requests to one server wait for each other, so that we are no burden to it."""

MAX_REDIRECTS = 5
"""[1] Before it counts as a loop."""

EXCERPT = 200
"""[characters] Of a target's own error text in ours."""


@dataclass(frozen=True)
class Answer:
    """The body of an answer, decompressed, and what its head said about it."""

    status: int
    content_type: str
    body: bytes
    whole: bool
    """True when the protocol says where the body ends; otherwise only the connection's end did."""
    received_s: float
    """[s since the epoch] When the last of it came."""


class Fetcher:
    """The HTTP client of all sources."""

    def __init__(self) -> None:
        trace = aiohttp.TraceConfig()
        trace.on_connection_create_end.append(_connected)
        trace.on_connection_reuseconn.append(_connected)
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(
                limit=0,  # a limit over all servers would let slow ones delay the others
                limit_per_host=CONNECTIONS_PER_SERVER,
                resolver=Resolver(),
                keepalive_timeout=60,  # above the usual intervals, so that connections are used again
            ),
            auto_decompress=False,  # done here, where the cap is
            cookie_jar=aiohttp.DummyCookieJar(),
            timeout=aiohttp.ClientTimeout(),
            trace_configs=[trace],
            headers={"User-Agent": "decice-twin-collect"},
        )

    async def close(self) -> None:
        """Close all connections."""
        await self._session.close()

    async def fetch(
        self, target: Target, *, accept: str, url: URL | None = None, form: Mapping[str, str] | None = None
    ) -> Answer:
        """What the target answers to a GET, or to a POST of `form`.

        Raises:
            SourceError: no answer, not a whole one, or another status than 200.
        """
        progress = SimpleNamespace(connected=False, received=None)
        try:
            with _explained():
                async with asyncio.timeout(target.timeout_s):
                    answer = await self._follow(target, url or URL(target.url), accept, form, progress)
        except TimeoutError:
            raise SourceError("timeout", _timeout_text(target.timeout_s, progress)) from None
        if answer.status != HTTPStatus.OK:
            raise SourceError("http_status", _status_text(answer))
        return answer

    async def _follow(
        self, target: Target, url: URL, accept: str, form: Mapping[str, str] | None, progress: SimpleNamespace
    ) -> Answer:
        # Redirects are followed here and not by aiohttp, which would send our own headers (API keys) to
        # any server that a redirect names.
        headers = {"Accept": accept, "Accept-Encoding": "gzip", **credentials(target)}
        origin = url.origin()
        guarded = bool(target.headers or target.bearer_token_file or url.user)
        for _ in range(MAX_REDIRECTS + 1):
            async with self._session.request(
                "GET" if form is None else "POST",
                url,
                data=form,
                headers=headers,
                ssl=_tls_context(target.ca_file) if target.ca_file else True,
                allow_redirects=False,
                trace_request_ctx=progress,
            ) as response:
                location = response.headers.get("Location")
                if response.status not in (301, 302, 303, 307, 308) or not location:
                    return await _read(response, target, progress)
                url = url.join(URL(location))
                if url.scheme not in ("http", "https") or not url.host:
                    raise SourceError("redirect", "redirected to what is not a http or https URL")
                if guarded and url.origin() != origin:
                    raise SourceError(
                        "redirect", f"redirected to {url.origin()}, which the credentials are not for"
                    )
        raise SourceError("redirect", f"more than {MAX_REDIRECTS} redirects: a loop?")


async def _read(response: aiohttp.ClientResponse, target: Target, progress: SimpleNamespace) -> Answer:
    progress.received = 0
    cap = target.caps.body_bytes
    encoding = response.headers.get("Content-Encoding", "identity").lower()
    if encoding not in ("identity", "gzip", "x-gzip", ""):
        raise SourceError("encoding", f"content encoding {encoding!r} is neither gzip nor identity")
    gunzip = Gunzip(cap) if "gzip" in encoding else None
    parts: list[bytes] = []
    size = 0
    async for data in response.content.iter_any():
        progress.received += len(data)
        part = gunzip.feed(data) if gunzip else data
        size += len(part)
        if size > cap:
            raise SourceError("too_large", f"the answer is longer than caps.body_bytes, {cap}")
        parts.append(part)
    if gunzip:
        gunzip.finish()
    return Answer(
        response.status,
        response.headers.get("Content-Type", ""),
        b"".join(parts),
        "Content-Length" in response.headers or "chunked" in response.headers.get("Transfer-Encoding", ""),
        time.time(),
    )


class Gunzip:
    """Decompresses gzip as it comes, never more than just above a cap, however small the input."""

    def __init__(self, cap: int) -> None:
        self._left = cap + 1
        self._stream = zlib.decompressobj(wbits=31)

    def feed(self, data: bytes) -> bytes:
        """What the next bytes of input give.

        Raises:
            SourceError: they are not gzip.
        """
        parts = []
        while data and self._left > 0:
            if self._stream.eof:  # gzip members may follow one another
                self._stream = zlib.decompressobj(wbits=31)
            try:
                part = self._stream.decompress(data, self._left)
            except zlib.error as error:
                raise SourceError("encoding", f"the body is not gzip, as its head says: {error}") from None
            self._left -= len(part)
            parts.append(part)
            data = self._stream.unused_data if self._stream.eof else self._stream.unconsumed_tail
        return b"".join(parts)

    def finish(self) -> None:
        """Raise SourceError when the input ended too soon."""
        if not self._stream.eof:
            raise SourceError("incomplete", "the gzip body ends before its end")


async def _connected(_session: aiohttp.ClientSession, context: SimpleNamespace, _params: object) -> None:
    context.trace_request_ctx.connected = True


@lru_cache(maxsize=64)
def _tls_context(ca_file: Path) -> ssl.SSLContext:
    try:
        return ssl.create_default_context(cafile=ca_file)
    except OSError as error:  # ssl.SSLError is one
        raise SourceError("tls", f"ca_file {ca_file} cannot be used: {error.strerror or error}") from None


def _timeout_text(timeout_s: float, progress: SimpleNamespace) -> str:
    if progress.received is not None:
        return f"the answer was not whole within {timeout_s:g} s: {progress.received} bytes had come"
    return (
        f"no answer within {timeout_s:g} s" if progress.connected else f"no connection within {timeout_s:g} s"
    )


def _status_text(answer: Answer) -> str:
    try:
        phrase = HTTPStatus(answer.status).phrase
    except ValueError:
        phrase = ""
    excerpt = answer.body[: 4 * EXCERPT].decode(errors="replace")[:EXCERPT]
    return f"HTTP {answer.status} {phrase}".strip() + (f": {excerpt}" if excerpt.strip() else "")


@contextmanager
def _explained() -> Iterator[None]:
    # Our own texts, because aiohttp's hold the URL with its secrets.
    try:
        yield
    except aiohttp.ClientConnectorDNSError as error:
        raise SourceError("dns", f"host {error.host} cannot be found: {error.strerror}") from None
    except (aiohttp.ClientConnectorCertificateError, aiohttp.ClientSSLError, ssl.SSLError) as error:
        cause = getattr(error, "certificate_error", None) or getattr(error, "os_error", error)
        raise SourceError("tls", f"TLS: {getattr(cause, 'verify_message', '') or cause}") from None
    except aiohttp.ClientConnectorError as error:
        why = os.strerror(error.errno) if error.errno else error.strerror
        raise SourceError("connect", f"cannot connect to {error.host}:{error.port}: {why}") from None
    except aiohttp.ClientPayloadError:
        raise SourceError("incomplete", "the connection was closed in the middle of the answer") from None
    except (aiohttp.ServerDisconnectedError, aiohttp.ClientOSError, ConnectionError):
        raise SourceError("incomplete", "the connection was closed without an answer") from None
    except aiohttp.InvalidURL:
        raise SourceError("redirect", "redirected to what is not a URL") from None
    except (aiohttp.ClientResponseError, aiohttp.http_exceptions.HttpProcessingError) as error:
        raise SourceError("protocol", f"the answer is not HTTP: {error.message}") from None
    except aiohttp.ClientError as error:
        raise SourceError("connect", f"{type(error).__name__}: {error}") from None
