"""Requests to KairosDB: JSON both ways, answers that are not too long, and errors that say what to do."""

import asyncio
import json
import ssl
import zlib
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import aiohttp

from streams import stores
from streams.errors import SettingsError, StoreError, TooMuchError
from streams.settings import Settings

POST_TIMEOUT_S = 30.0
"""[s] For one post; its H2 datastore takes a second for 5,000 data points, several at first."""

CONNECT_TIMEOUT_S = 5.0
"""[s]"""

CONNECTIONS = 6
"""[1] Most at a time: posts and reads."""

BYTES_PER_POINT = 100
"""[B] Of an answer, for each of `MAX_POINTS`: a value takes 20 to 40, a series once 400."""

LEAST_BYTES = 1 << 20
"""[B] An answer may always have these."""

MAX_ERROR = 500
"""[characters] Of what a server tells."""

GZIP, GZIP_LEVEL = 31, 1
"""zlib's name for gzip framing, and a level that makes a tenth of the bytes in little time."""

NOT_ONE = "; correct TWIN_HISTORY_URL: there is no KairosDB at this address"

HINTS = {
    401: "; check TWIN_HISTORY_TOKEN",
    403: "; check TWIN_HISTORY_TOKEN",
    404: NOT_ONE,
    405: NOT_ONE,
}


@dataclass(frozen=True, slots=True)
class Faults:
    """What KairosDB did not like in a request."""

    status: int
    errors: list[str]


def parse_address(text: str) -> str:
    """The address in kairosdb+http://host:8080; a path stays with it.

    Raises:
        SettingsError: there is no host, or the URL carries a secret.
    """
    parts = urlsplit(text)
    if parts.username or parts.password or parts.query:
        raise SettingsError(
            ["TWIN_HISTORY_URL: holds a user, password or query; a token belongs into TWIN_HISTORY_TOKEN"]
        )
    try:
        usable = bool(parts.hostname) and parts.port != 0
    except ValueError:
        usable = False
    if not usable:
        raise SettingsError(["TWIN_HISTORY_URL: must be kairosdb+http://host:8080"])
    return f"{parts.scheme.removeprefix('kairosdb+')}://{parts.netloc}{parts.path.rstrip('/')}"


class KairosClient:
    """Connections to one KairosDB; must be closed."""

    def __init__(self, url: str, settings: Settings) -> None:
        self.url = url
        self._headers = {}
        if settings.token is not None:
            self._headers["Authorization"] = f"Bearer {settings.token.get_secret_value()}"
        self._tls: ssl.SSLContext | bool = True
        if settings.history_ca_file:
            if not settings.history_ca_file.is_file():
                raise SettingsError([f"TWIN_HISTORY_CA_FILE: {settings.history_ca_file} is not a file"])
            self._tls = ssl.create_default_context(cafile=str(settings.history_ca_file))
        self._session: aiohttp.ClientSession | None = None

    async def get(self, path: str) -> Any:
        """The JSON answer; None when it is no JSON.

        Raises:
            StoreError: KairosDB is away or refuses.
        """
        status, body = await self._ask("GET", path, None, {})
        if isinstance(body, Faults):
            raise self.refused(status, "; ".join(body.errors)[:MAX_ERROR])
        return body

    async def query(self, body: Any) -> Any:
        """The JSON answer to a query.

        Raises:
            TooMuchError: the answer is longer than `MAX_POINTS` values can be.
            StoreError: KairosDB is away or refuses.
        """
        status, answer = await self._ask(
            "POST",
            "/api/v1/datapoints/query",
            json.dumps(body).encode(),
            {"Content-Type": "application/json"},
        )
        if isinstance(answer, Faults):
            raise self.refused(status, "; ".join(answer.errors)[:MAX_ERROR])
        return answer

    async def post_points(self, texts: list[str]) -> Faults | None:
        """Post data points; None when all were taken.

        Raises:
            StoreError: it must be tried again later.
        """
        body = await asyncio.to_thread(_packed, texts)
        status, answer = await self._ask(
            "POST", "/api/v1/datapoints", body, {"Content-Type": "application/gzip"}
        )
        if isinstance(answer, Faults):
            return answer
        if status != 204:
            raise StoreError(
                f"{self.url} answered HTTP {status} to data points, not 204: it is no KairosDB; correct"
                f" TWIN_HISTORY_URL"
            )
        return None

    def refused(self, status: int, told: str, retry_after_s: float | None = None) -> StoreError:
        """The error for an answer of this status."""
        text = f"{self.url} answered HTTP {status}: {told}{HINTS.get(status, '')}"
        return StoreError(text, retry_after_s)

    async def close(self) -> None:
        """Close the connections."""
        if self._session is not None:
            session, self._session = self._session, None
            await session.close()

    async def _ask(self, method: str, path: str, body: bytes | None, headers: dict[str, str]) -> Any:
        """Status and JSON of an answer; of a 400 that KairosDB explains and of a 413 the faults."""
        if self._session is None:
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(limit=CONNECTIONS, ssl=self._tls),
                headers=self._headers,
                timeout=aiohttp.ClientTimeout(total=POST_TIMEOUT_S, sock_connect=CONNECT_TIMEOUT_S),
            )
        try:
            # No redirects: a post that is sent elsewhere becomes a GET, and looks like a success.
            async with self._session.request(
                method, self.url + path, data=body, headers=headers, allow_redirects=False
            ) as answer:
                text = await _read(answer)
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            told = str(error) or f"no answer within {POST_TIMEOUT_S:g} s"
            raise StoreError(f"{self.url} cannot be reached: {told}") from error
        found = _json(text)
        errors = found.get("errors") if isinstance(found, dict) else None
        if answer.status == 413 or (answer.status == 400 and isinstance(errors, list)):
            return answer.status, Faults(answer.status, [str(error) for error in errors or ["too large"]])
        if not 200 <= answer.status < 300:
            told = "; ".join(map(str, errors)) if isinstance(errors, list) else text.decode(errors="replace")
            wish = answer.headers.get("Retry-After", "").strip()
            # KairosDB explains each 400, so this one is of another server.
            told = told[:MAX_ERROR].strip() + (NOT_ONE if answer.status == 400 else "")
            raise self.refused(answer.status, told, float(wish) if wish.isdecimal() else None)
        return answer.status, found


async def _read(answer: aiohttp.ClientResponse) -> bytes:
    limit = max(LEAST_BYTES, BYTES_PER_POINT * stores.MAX_POINTS)
    parts, size = [], 0
    async for part in answer.content.iter_chunked(1 << 16):
        parts.append(part)
        size += len(part)
        if size > limit:
            raise too_much()
    return b"".join(parts)


def too_much() -> TooMuchError:
    """The error for more than `MAX_POINTS` values."""
    return TooMuchError(
        f"more than {stores.MAX_POINTS} values: ask for a shorter time, for fewer entities or metrics, or for"
        f" longer windows"
    )


def _json(text: bytes) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return None


def _packed(texts: list[str]) -> bytes:
    return zlib.compress(f"[{','.join(texts)}]".encode(), GZIP_LEVEL, wbits=GZIP)
