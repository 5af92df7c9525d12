"""Requests to KairosDB: JSON both ways, answers that are not too long, and errors that say what to do."""

import asyncio
import json
from dataclasses import dataclass
from typing import Any

from streams import stores
from streams.errors import StoreError
from streams.settings import Settings
from streams.stores.http import MAX_ERROR, POST_TIMEOUT_S, HttpServer, gzipped

CONNECTIONS = 6
"""[1] Most at a time: posts and reads."""

BYTES_PER_POINT = 100
"""[B] Of an answer, for each of `MAX_POINTS`: a value takes 20 to 40, a series once 400."""

LEAST_BYTES = 1 << 20
"""[B] An answer may always have these."""

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


class KairosClient:
    """Connections to one KairosDB; must be closed."""

    def __init__(self, url: str, settings: Settings) -> None:
        self.url = url
        self._server = HttpServer(
            url,
            url,
            settings,
            CONNECTIONS,
            lambda: max(LEAST_BYTES, BYTES_PER_POINT * stores.MAX_POINTS),
        )

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
        body = await asyncio.to_thread(gzipped, f"[{','.join(texts)}]")
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
        await self._server.close()

    async def _ask(self, method: str, path: str, body: bytes | None, headers: dict[str, str]) -> Any:
        """Status and JSON of an answer; of a 400 that KairosDB explains and of a 413 the faults."""
        answer = await self._server.request(method, path, POST_TIMEOUT_S, data=body, headers=headers)
        found = _json(answer.body)
        errors = found.get("errors") if isinstance(found, dict) else None
        if answer.status == 413 or (answer.status == 400 and isinstance(errors, list)):
            return answer.status, Faults(answer.status, [str(error) for error in errors or ["too large"]])
        if not 200 <= answer.status < 300:
            said = answer.body.decode(errors="replace")
            told = "; ".join(map(str, errors)) if isinstance(errors, list) else said
            # KairosDB explains each 400, so this one is of another server.
            told = told[:MAX_ERROR].strip() + (NOT_ONE if answer.status == 400 else "")
            raise self.refused(answer.status, told, answer.retry_after_s)
        return answer.status, found


def _json(text: bytes) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return None
