"""InfluxDB 2 over HTTP: posts of line protocol, and queries.

Both go through the generated services of influxdb-client, not through its classes for applications: those
compress at gzip's level 9 and on the event loop, and read the CSV of an answer a row at a time.
"""

import asyncio
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote

import aiohttp
from influxdb_client.client.exceptions import InfluxDBError
from influxdb_client.client.influxdb_client_async import InfluxDBClientAsync
from influxdb_client.service.query_service import QueryService
from influxdb_client.service.write_service import WriteService

from streams.errors import SettingsError, StoreError
from streams.settings import Settings
from streams.stores import READ_TIMEOUT_S
from streams.stores.http import (
    CONNECT_TIMEOUT_S,
    MAX_ERROR,
    POST_TIMEOUT_S,
    ca_file_of,
    gzipped,
    retry_after_s,
    split_address,
)
from streams.stores.influx.answers import Table, tables_of
from streams.stores.influx.flux import Node, extern
from streams.stores.influx.refused import Rejected
from streams.stores.limits import too_much

POSTS = 2
"""[1] Posts in flight: with one InfluxDB idles while it is answered; more gain nothing on two cores."""

READS = 4
"""[1] Queries in flight."""

FAULTS = (400, 413, 422)
"""HTTP status of answers that are about what was posted."""

SLACK_ROWS = 10_000
"""[1] Lines of an answer that may be no rows of it."""


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
    parts = split_address(text)
    *before, org, bucket = ["", "", *parts.path.strip("/").split("/")]
    if not parts.hostname or not org or not bucket:
        raise SettingsError(["TWIN_HISTORY_URL: must be influxdb+http://host:8086/<org>/<bucket>"])
    path = "".join(f"/{part}" for part in before if part)
    url = f"{parts.scheme.removeprefix('influxdb+')}://{parts.netloc}{path}"
    return InfluxAddress(url, unquote(org), unquote(bucket))


class InfluxClient:
    """The connections to one InfluxDB, opened when they are needed."""

    def __init__(self, address: InfluxAddress, settings: Settings) -> None:
        token = settings.token
        if token is None:
            raise SettingsError(
                ["TWIN_HISTORY_TOKEN (or TWIN_HISTORY_TOKEN_FILE) is not set, and InfluxDB asks for a token"]
            )
        self.options: dict[str, Any] = {
            "url": address.url,
            "token": token.get_secret_value(),
            "org": address.org,
        }
        if ca_file := ca_file_of(settings):
            self.options["ssl_ca_cert"] = str(ca_file)
        self._address = address
        self._client: InfluxDBClientAsync | None = None

    async def post(self, lines: list[str], bucket: str) -> Rejected | None:
        """Post lines; what InfluxDB did not like about them, or None when it kept them all.

        Raises:
            StoreError: it is away, or refuses for another reason.
        """
        body = await asyncio.to_thread(gzipped, "\n".join(lines))
        try:
            await WriteService(self._api()).post_write_async(
                self._address.org,
                bucket,
                body,
                precision="ms",
                content_encoding="gzip",
                content_type="text/plain; charset=utf-8",
            )
        except InfluxDBError as error:
            status = getattr(error, "status", None) or 0
            if status in FAULTS:
                return Rejected(status, _told(error))
            raise self.refused(error, "write", bucket) from None  # its text holds all headers
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise self.away(error, POST_TIMEOUT_S) from error
        return None

    async def query(self, flux: str, options: dict[str, Node], limit: int | None = None) -> Iterable[Table]:
        """The answer to a query whose text names the options; to be read at once.

        Raises:
            TooMuchError: it has many more than `limit` rows.
            StoreError: InfluxDB is away, refuses, or did not answer within `READ_TIMEOUT_S`.
        """
        asked = {
            "query": flux,
            "type": "flux",
            "extern": extern(options),
            "dialect": {"annotations": ["datatype"], "header": True},
        }
        try:
            async with asyncio.timeout(READ_TIMEOUT_S):
                answer = await QueryService(self._api()).post_query_async(
                    org=self._address.org,
                    query=asked,
                    accept_encoding="identity",  # on one machine compression costs more than it saves
                    _preload_content=False,
                    _return_http_data_only=True,
                )
                async with answer:
                    if answer.status != 200:
                        bucket = options["bucket"]["value"]
                        told = _message(await answer.content.read(MAX_ERROR * 8))
                        raise self._refusal(answer.status, told, answer.headers, "read", bucket)
                    text = await _read(answer.content, limit)
        except InfluxDBError as error:
            raise self.refused(error, "read", options["bucket"]["value"]) from None
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise self.away(error, READ_TIMEOUT_S) from error
        return tables_of(text)

    def _api(self) -> Any:
        if self._client is None:
            # No redirects: a post that is sent elsewhere becomes a GET, and looks like a success.
            self._client = InfluxDBClientAsync(
                **self.options,
                timeout=aiohttp.ClientTimeout(total=POST_TIMEOUT_S, sock_connect=CONNECT_TIMEOUT_S),
                allow_redirects=False,
                connection_pool_maxsize=POSTS + READS,
            )
        return self._client.api_client

    def away(self, error: Exception, limit_s: float = POST_TIMEOUT_S) -> StoreError:
        """What to say when there was no answer."""
        text = str(error) or f"no answer within {limit_s:g} s"
        return StoreError(f"{self._address.url} cannot be reached: {text}")

    def refused(self, error: InfluxDBError, right: str, bucket: str) -> StoreError:
        """What to say of an answer that is an error; never its own text, which holds all headers."""
        status = getattr(error, "status", None) or 0
        if not status:  # no answer, such as one whose certificate is not to be trusted
            return StoreError(f"{self._address.url} cannot be reached: {_told(error)}")
        return self._refusal(status, _told(error), getattr(error, "headers", None) or {}, right, bucket)

    def _refusal(
        self, status: int, told: str, headers: Mapping[str, str], right: str, bucket: str
    ) -> StoreError:
        hints = {
            401: "; check TWIN_HISTORY_TOKEN",
            403: f"; the token needs the right to {right} bucket {bucket}",
            404: f"; create bucket {bucket} in organisation {self._address.org}, or correct TWIN_HISTORY_URL",
        }
        text = f"{self._address.url} answered HTTP {status}: {told}{hints.get(status, '')}"
        return StoreError(text, retry_after_s(headers), status)

    async def close(self) -> None:
        """Close the connections."""
        if self._client is not None:
            client, self._client = self._client, None
            await client.close()


async def _read(content: aiohttp.StreamReader, limit: int | None) -> str:
    chunks: list[bytes] = []
    lines = 0
    async for chunk in content.iter_any():
        chunks.append(chunk)
        lines += chunk.count(b"\n")
        if limit is not None and lines > limit + SLACK_ROWS:  # the rest need not come
            raise too_much()
    return b"".join(chunks).decode()


def _message(body: bytes) -> str:
    # A proxy answers with a page instead of InfluxDB's JSON.
    try:
        return str(json.loads(body)["message"])[: MAX_ERROR * 2]
    except (ValueError, KeyError, TypeError):
        return body[:MAX_ERROR].decode(errors="replace")


def _told(error: InfluxDBError) -> str:
    # A proxy's page instead of InfluxDB's JSON comes as bytes, however long.
    # Without any answer the text is in the reason.
    answer: Any = error.response
    message: Any = error.message if answer is not None else getattr(error, "reason", None) or error.message
    return message if isinstance(message, str) else bytes(message[:MAX_ERROR]).decode(errors="replace")
