"""A server of history over HTTP: its address, its answers within bounds, and errors that say where it is."""

import ssl
import time
import zlib
from collections.abc import Callable, Mapping
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import SplitResult, urlsplit

import aiohttp

from streams.errors import SettingsError, StoreError
from streams.settings import Settings
from streams.stores.limits import too_much

CONNECT_TIMEOUT_S = 5.0
"""[s]"""

POST_TIMEOUT_S = 30.0
"""[s] For one post: servers stall while they compact, and KairosDB takes several seconds at first."""

MAX_ERROR = 500
"""[characters] Of what a server says."""

GZIP = 31
"""zlib's name for gzip framing with the largest window."""

GZIP_LEVEL = 1
"""A third of the bytes of no compression or less; higher levels cost more time than the bytes are worth."""


class Answer(NamedTuple):
    """What a server said."""

    status: int
    body: bytes
    retry_after_s: float | None


class HttpServer:
    """The connections to one server, opened when they are needed; must be closed.

    Args:
        name: what errors call it.
        url: where it is, without a secret.
        settings: with the token, and the certificate to trust.
        connections: [1] most requests under way at a time.
        most_bytes: [B] of an answer.
    """

    def __init__(
        self, name: str, url: str, settings: Settings, connections: int, most_bytes: Callable[[], int]
    ) -> None:
        self.name = name
        self._url = url
        self._headers = {}
        if settings.token is not None:
            self._headers["Authorization"] = f"Bearer {settings.token.get_secret_value()}"
        self._ca_file = ca_file_of(settings)
        self._connections = connections
        self._most_bytes = most_bytes
        self._session: aiohttp.ClientSession | None = None

    async def request(self, method: str, path: str, timeout_s: float, **more: Any) -> Answer:
        """The answer to a request, whatever it says.

        Raises:
            TooMuchError: it is too long.
            StoreError: there was none.
        """
        timeout = aiohttp.ClientTimeout(total=timeout_s, sock_connect=CONNECT_TIMEOUT_S)
        try:
            # No redirects: a post that is sent elsewhere becomes a GET, and looks like a success.
            async with self._open().request(
                method, self._url + path, timeout=timeout, allow_redirects=False, **more
            ) as response:
                body = await self._body(response)
                return Answer(response.status, body, retry_after_s(response.headers))
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            text = str(error) or f"no answer within {timeout_s:g} s"
            raise StoreError(f"{self.name} cannot be reached: {text}") from error

    async def _body(self, response: aiohttp.ClientResponse) -> bytes:
        most = self._most_bytes()
        parts, size = [], 0
        async for part in response.content.iter_any():
            size += len(part)
            if size > most:
                raise too_much()
            parts.append(part)
        return b"".join(parts)

    def _open(self) -> aiohttp.ClientSession:
        if self._session is None:
            context: ssl.SSLContext | bool = True
            if self._ca_file:
                try:
                    context = ssl.create_default_context(cafile=self._ca_file)
                except ssl.SSLError as error:
                    raise StoreError(f"TWIN_HISTORY_CA_FILE: {self._ca_file}: {error}") from error
            self._session = aiohttp.ClientSession(
                headers=self._headers, connector=aiohttp.TCPConnector(limit=self._connections, ssl=context)
            )
        return self._session

    async def close(self) -> None:
        """Close the connections."""
        if self._session is not None:
            session, self._session = self._session, None
            await session.close()


def parse_address(text: str, scheme: str) -> str:
    """The http or https URL in <scheme>+http://host:port; a path stays.

    Raises:
        SettingsError: there is no host, or the URL carries a secret.
    """
    parts = split_address(text)
    try:
        usable = bool(parts.hostname) and parts.port != 0
    except ValueError:
        usable = False
    if not usable:
        raise SettingsError([f"TWIN_HISTORY_URL: must be {scheme}+http://host:port"])
    return f"{parts.scheme.removeprefix(scheme + '+')}://{parts.netloc}{parts.path.rstrip('/')}"


def split_address(text: str) -> SplitResult:
    """The parts of TWIN_HISTORY_URL.

    Raises:
        SettingsError: it carries a secret.
    """
    parts = urlsplit(text)
    if parts.username or parts.password or parts.query:
        raise SettingsError(
            ["TWIN_HISTORY_URL: holds a user, password or query; a token belongs into TWIN_HISTORY_TOKEN"]
        )
    return parts


def ca_file_of(settings: Settings) -> Path | None:
    """The certificates to trust besides the system's.

    Raises:
        SettingsError: there is no such file.
    """
    path = settings.history_ca_file
    if path and not path.is_file():
        raise SettingsError([f"TWIN_HISTORY_CA_FILE: {path} is not a file"])
    return path


def retry_after_s(headers: Mapping[str, str], now_s: float | None = None) -> float | None:
    """[s] What Retry-After asks for, as seconds or as a date; None when it is absent or nonsense."""
    text = headers.get("Retry-After", "").strip()
    if not text:
        return None
    if text.isdecimal():
        return float(text)
    try:
        return max(0.0, parsedate_to_datetime(text).timestamp() - (time.time() if now_s is None else now_s))
    except ValueError:
        return None


def gzipped(text: str) -> bytes:
    """A body of a post; takes a while, so call it in a thread."""
    return zlib.compress(text.encode(), GZIP_LEVEL, wbits=GZIP)
