"""History in InfluxDB 2: line protocol through influxdb-client.

The posts go through the client's generated `WriteService`, as those of its `WriteApiAsync` do, but not
through that class: it compresses at gzip's level 9 and on the event loop, which costs more than the rest.
"""

import asyncio
import contextlib
import threading
import time
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import unquote, urlsplit

import aiohttp
import urllib3
from influxdb_client.client.exceptions import InfluxDBError
from influxdb_client.client.influxdb_client import InfluxDBClient
from influxdb_client.client.influxdb_client_async import InfluxDBClientAsync
from influxdb_client.service.write_service import WriteService

from streams.domain.sink import LineFormat
from streams.errors import SettingsError, StoreError
from streams.records import Tick
from streams.settings import Settings
from streams.stores import Refusal
from streams.stores.influx_setup import SetUp
from streams.stores.partial import MAX_ERROR, Rejected, post_all

POSTS = 2
"""[1] Posts in flight: with one InfluxDB idles while it is answered; more gain nothing on two cores."""

POST_TIMEOUT_S = 30.0
"""[s] For one post; InfluxDB takes about 0.1 s for 5,000 lines, but stalls while it compacts."""

CONNECT_TIMEOUT_S = 5.0
"""[s]"""

GZIP = 31
"""zlib's name for gzip framing with the largest window."""

GZIP_LEVEL = 1
"""A third of the bytes of no compression; higher levels cost more time than the bytes are worth."""

FAULTS = (400, 413, 422)
"""HTTP status of answers that are about what was posted."""


@dataclass(frozen=True)
class InfluxAddress:
    """Where InfluxDB is, and which organisation and bucket there."""

    url: str
    org: str
    bucket: str


def parse_address(text: str) -> InfluxAddress:
    """Parts of influxdb+http://host:8086/<org>/<bucket>; a path before these stays with the address.

    Raises:
        SettingsError: a part is missing, or the URL carries a secret.
    """
    parts = urlsplit(text)
    if parts.username or parts.password or parts.query:
        raise SettingsError(
            ["TWIN_HISTORY_URL: holds a user, password or query; the token belongs into TWIN_HISTORY_TOKEN"]
        )
    *before, org, bucket = ["", "", *parts.path.strip("/").split("/")]
    if not parts.hostname or not org or not bucket:
        raise SettingsError(["TWIN_HISTORY_URL: must be influxdb+http://host:8086/<org>/<bucket>"])
    path = "".join(f"/{part}" for part in before if part)
    url = f"{parts.scheme.removeprefix('influxdb+')}://{parts.netloc}{path}"
    return InfluxAddress(url, unquote(org), unquote(bucket))


class InfluxStore:
    """Writes lines into a bucket, which it makes if it may, with one at 5 minutes beside it."""

    batch_items = 5_000
    batches = POSTS + 1  # one is compressed while the others are on their way

    def __init__(
        self, address: InfluxAddress, settings: Settings, catalogue_fields: Mapping[str, tuple[str, str]]
    ) -> None:
        token = settings.token
        if token is None:
            raise SettingsError(
                ["TWIN_HISTORY_TOKEN (or TWIN_HISTORY_TOKEN_FILE) is not set, and InfluxDB asks for a token"]
            )
        self.label = f"InfluxDB at {address.url}, bucket {address.bucket} of {address.org}"
        self.convert_tick = LineFormat(catalogue_fields).to_lines
        self._address = address
        self._settings = settings
        self._options: dict[str, Any] = {
            "url": address.url,
            "token": token.get_secret_value(),
            "org": address.org,
        }
        if settings.history_ca_file:
            if not settings.history_ca_file.is_file():
                raise SettingsError([f"TWIN_HISTORY_CA_FILE: {settings.history_ca_file} is not a file"])
            self._options["ssl_ca_cert"] = str(settings.history_ca_file)
        self._client: InfluxDBClientAsync | None = None
        self._prepared = False
        self._preparing = asyncio.Lock()

    async def prepare(self) -> None:
        """Create the buckets and the task that are missing."""
        async with self._preparing:
            if not self._prepared:
                await _on_daemon_thread(self._set_up)
                self._prepared = True

    def _set_up(self) -> None:
        # The client's buckets and tasks exist only without asyncio.
        with InfluxDBClient(**self._options, timeout=int(POST_TIMEOUT_S * 1000)) as client:
            try:
                SetUp(client, self._address.org, self._settings).run(self._address.bucket)
            except InfluxDBError as error:
                raise self._store_error(error) from None  # its text holds all headers
            except (urllib3.exceptions.HTTPError, OSError) as error:
                raise self._away(error) from error

    def convert(self, tick: Tick) -> list[str]:
        """The lines of a tick."""
        return self.convert_tick(tick)

    def show(self, item: str) -> bytes:
        """The line itself."""
        return item.encode()

    async def write(self, items: list[str]) -> list[Refusal]:
        """Post the lines; return those that InfluxDB refuses by themselves."""
        if not self._prepared:
            await self.prepare()
        return await post_all(items, self._post)

    async def _post(self, lines: list[str]) -> Rejected | None:
        body = await asyncio.to_thread(_gzip, lines)
        try:
            await self._service().post_write_async(
                self._address.org,
                self._address.bucket,
                body,
                precision="ms",
                content_encoding="gzip",
                content_type="text/plain; charset=utf-8",
            )
        except InfluxDBError as error:
            status = getattr(error, "status", None) or 0
            if status in FAULTS:
                return Rejected(status, _told(error))
            # The bucket or the right to it may have been taken away: look again, and say so.
            self._prepared = self._prepared and status not in (401, 403, 404)
            raise self._store_error(error) from None  # its text holds all headers
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise self._away(error) from error
        return None

    def _service(self) -> WriteService:
        if self._client is None:
            # No redirects: a post that is sent elsewhere becomes a GET, and looks like a success.
            self._client = InfluxDBClientAsync(
                **self._options,
                timeout=aiohttp.ClientTimeout(total=POST_TIMEOUT_S, sock_connect=CONNECT_TIMEOUT_S),
                allow_redirects=False,
                connection_pool_maxsize=POSTS,
            )
        return WriteService(self._client.api_client)

    def _away(self, error: Exception) -> StoreError:
        text = str(error) or f"no answer within {POST_TIMEOUT_S:g} s"
        return StoreError(f"{self._address.url} cannot be reached: {text}")

    def _store_error(self, error: InfluxDBError) -> StoreError:
        status = getattr(error, "status", None) or 0
        if not status:  # no answer, such as one whose certificate is not to be trusted
            return StoreError(f"{self._address.url} cannot be reached: {_told(error)}")
        told = f"{self._address.url} answered HTTP {status}: {_told(error)}"
        bucket, org = self._address.bucket, self._address.org
        hints = {
            401: "; check TWIN_HISTORY_TOKEN",
            403: f"; the token needs the right to write bucket {bucket}",
            404: f"; create bucket {bucket} in organisation {org}, or correct TWIN_HISTORY_URL",
        }
        return StoreError(told + hints.get(status, ""), retry_after_s(getattr(error, "headers", None) or {}))

    async def close(self) -> None:
        """Close the connections."""
        if self._client is not None:
            client, self._client = self._client, None
            await client.close()


def retry_after_s(headers: Mapping[str, str], now_s: float | None = None) -> float | None:
    """[s] What Retry-After asks for, as seconds or as a date; None when it is absent or nonsense."""
    text = headers.get("Retry-After", "").strip()
    if not text:
        return None
    if text.isdigit():
        return float(text)
    try:
        return max(0.0, parsedate_to_datetime(text).timestamp() - (time.time() if now_s is None else now_s))
    except ValueError:
        return None


async def _on_daemon_thread(work: Callable[[], None]) -> None:
    """Run blocking work where a stop of the process does not wait for it, however long a server hangs."""
    loop = asyncio.get_running_loop()
    done: asyncio.Future[None] = loop.create_future()

    def settle(error: Exception | None) -> None:
        if done.done():  # cancelled
            return
        if error:
            done.set_exception(error)
        else:
            done.set_result(None)

    def run() -> None:
        caught: Exception | None = None
        try:
            work()
        except Exception as error:  # noqa: BLE001  # raised again where it is awaited
            caught = error
        with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits any more
            loop.call_soon_threadsafe(settle, caught)

    threading.Thread(target=run, name="influxdb-set-up", daemon=True).start()
    await done


def _told(error: InfluxDBError) -> str:
    # A proxy's page instead of InfluxDB's JSON comes as bytes, however long.
    # Without any answer the text is in the reason.
    answer: Any = error.response
    message: Any = error.message if answer is not None else getattr(error, "reason", None) or error.message
    return message if isinstance(message, str) else bytes(message[:MAX_ERROR]).decode(errors="replace")


def _gzip(lines: list[str]) -> bytes:
    return zlib.compress("\n".join(lines).encode(), GZIP_LEVEL, wbits=GZIP)
