"""HTTP client of VictoriaMetrics and Prometheus: answers of the Prometheus HTTP API, and errors that help.

https://prometheus.io/docs/prometheus/latest/querying/api/ (2.42 and 3).
"""

import asyncio
import json
from collections.abc import Awaitable, Mapping
from math import isfinite
from typing import Any, NamedTuple, TypeVar

from streams import stores
from streams.errors import StoreError
from streams.settings import Settings
from streams.stores.http import MAX_ERROR, POST_TIMEOUT_S, Answer, HttpServer
from streams.stores.limits import LESS, too_much

CONNECTIONS = 4
"""[1] Requests under way at a time; the servers work on one query with all their processors."""

POINT_BYTES = 48
"""[B] More than a value with its time takes in an answer."""

SPARE_BYTES = 64 * 2**20
"""[B] For the labels in an answer."""

T = TypeVar("T")


class Found(NamedTuple):
    """A series of an answer, its name among the labels."""

    labels: dict[str, str]
    times_ms: list[int]
    values: list[float]


def said_in(answer: Answer) -> str:
    """The error in an answer, as text."""
    try:
        said = json.loads(answer.body)["error"]
    except (ValueError, KeyError, TypeError):
        said = answer.body[: 2 * MAX_ERROR].decode(errors="replace")
    return " ".join(str(said).split())[:MAX_ERROR]


class PromApi:
    """One server; `hints` say what to do about a status of an answer."""

    def __init__(self, name: str, url: str, settings: Settings, hints: Mapping[int, str]) -> None:
        self.name = f"{name} at {url}"
        self._server = HttpServer(
            self.name,
            url,
            settings,
            CONNECTIONS,
            lambda: stores.MAX_POINTS * POINT_BYTES + SPARE_BYTES,
        )
        self._hints = {
            401: "check TWIN_HISTORY_TOKEN",
            403: "TWIN_HISTORY_TOKEN gives no right to this",
            422: "it is beyond what the server reads for one query: " + LESS,
            **hints,
        }

    async def post(self, path: str, body: bytes, headers: Mapping[str, str]) -> Answer:
        """Send samples; the answer, which may be about them.

        Raises:
            StoreError: there was no answer.
        """
        return await self._server.request("POST", path, POST_TIMEOUT_S, data=body, headers=headers)

    async def ask(self, path: str, form: Mapping[str, str], *, get: bool = False) -> Any:
        """The data of an answer to a query, which is a POST unless the path takes none.

        Raises:
            TooMuchError: it is larger than `MAX_POINTS` allows.
            StoreError: there was none, or an error.
        """
        answer = await self.fetch(path, form, get=get)
        try:
            document = json.loads(answer.body)
            if document["status"] == "success":
                return document["data"]
        except (ValueError, KeyError, TypeError, RecursionError):
            pass
        raise StoreError(f"{self.name} did not answer {path} as Prometheus does: {said_in(answer)}")

    async def fetch(self, path: str, form: Mapping[str, str], *, get: bool = False) -> Answer:
        """As `ask`, but the answer as it came."""
        if get:
            answer = await self._server.request("GET", path, stores.READ_TIMEOUT_S, params=form)
        else:
            answer = await self._server.request("POST", path, stores.READ_TIMEOUT_S, data=form)
        if answer.status != 200:
            raise self.error(answer)
        return answer

    def error(self, answer: Answer) -> StoreError:
        """What an answer means that is no success."""
        hint = self._hints.get(answer.status)
        if 300 <= answer.status < 400:
            hint = "it is elsewhere: put its true address into TWIN_HISTORY_URL"
        told = f"{self.name} answered HTTP {answer.status}: {said_in(answer)}"
        return StoreError(told + (f"; {hint}" if hint else ""), answer.retry_after_s)

    async def close(self) -> None:
        """Close the connections."""
        await self._server.close()


def bounded(found: list[Found]) -> list[Found]:
    """The same series; TooMuchError when they hold more values than an answer may."""
    if sum(len(each.times_ms) for each in found) > stores.MAX_POINTS:
        raise too_much()
    return found


def seconds(time_ms: int) -> str:
    """[s since the epoch] A time as the servers take it; there is none before 1970.

    VictoriaMetrics takes 0 for "not said", and cuts what follows the milliseconds, of which a binary fraction
    may be a little less.
    """
    whole, rest = divmod(max(time_ms, 1), 1000)
    return f"{whole}.{rest:03d}2"


async def within_time(name: str, work: Awaitable[T]) -> T:
    """What a read of several requests gives, unless it takes longer than a read may.

    Raises:
        StoreError: it did.
    """
    try:
        async with asyncio.timeout(stores.READ_TIMEOUT_S):
            return await work
    except TimeoutError as error:
        raise StoreError(f"{name}: no answer within {stores.READ_TIMEOUT_S:g} s; {LESS}") from error


def found_of(data: Any) -> list[Found]:
    """The series of a matrix; what is no number is left out.

    Raises:
        StoreError: it is none.
    """
    try:
        series = []
        for item in data["result"]:
            points = [(float(time_s), float(text)) for time_s, text in item.get("values", ())]
            good = [(round(time_s * 1000), value) for time_s, value in points if isfinite(value)]
            series.append(Found(item["metric"], [time for time, _ in good], [value for _, value in good]))
        return series
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise StoreError(f"the answer of the history store is no range vector: {error!r}") from error


def found_in_lines(body: bytes) -> list[Found]:
    """The series of VictoriaMetrics' export, one JSON document a line.

    Raises:
        StoreError: it is none.
    """
    try:
        series = []
        for line in body.splitlines():
            item = json.loads(line)
            times, values = item["timestamps"], item["values"]
            if None in values or any(isinstance(value, str) for value in values):
                good = [isinstance(value, int | float) for value in values]
                times = [time for time, fits in zip(times, good, strict=True) if fits]
                values = [value for value, fits in zip(values, good, strict=True) if fits]
            series.append(Found(item["metric"], times, [float(value) for value in values]))
        return series
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise StoreError(f"the export of the history store cannot be read: {error!r}") from error
