"""Reads history in processes of their own, so that the slowest store never holds up what is live."""

import asyncio
import multiprocessing
import time
from collections.abc import Awaitable, Callable, Mapping
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from functools import partial
from typing import Any, Concatenate, ParamSpec, TypeVar, cast

import structlog
from prometheus_client import Gauge, Histogram

from streams.errors import StoreError, TwinError
from streams.history.child import Outcome, answer, begin
from streams.settings import Settings
from streams.stores import READ_TIMEOUT_S, Store

PROCESSES = 2
"""[1] Reads that run at a time; one that is slow leaves the other."""

QUEUE = 32
"""[1] Reads that may wait; whoever comes then hears at once that it is too much."""

WAIT_S = READ_TIMEOUT_S
"""[s] For a turn: nobody who asks over HTTP waits much longer."""

GRACE_S = 5.0
"""[s] More than a read takes at most; then it is stopped from outside."""

KILL_S = 5.0
"""[s] For a child to end the read by itself before the child is ended."""

READ_SECONDS = Histogram(
    "twin_web_history_seconds",
    "From a question about history to its answer, waiting for a turn included.",
    ["outcome"],
    buckets=(0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60),
)
WAITING = Gauge("twin_web_history_waiting_count", "Questions about history that wait for a turn")

P = ParamSpec("P")
T = TypeVar("T")

Read = Callable[Concatenate[Store, P], Awaitable[T]]
"""A coroutine function of a module: it is found by its name in the other process."""

log = structlog.get_logger(__name__)


class HistoryBusyError(TwinError):
    """Too many reads wait already."""


class HistoryPool:
    """Runs reads against a store that each of its processes opens once; the first read starts a process.

    Args:
        settings: where the store is.
        fields: InfluxDB measurement and field of each metric of the catalogue.
        limit_s: [s] for one read, once it has its turn.
    """

    def __init__(
        self,
        settings: Settings,
        fields: Mapping[str, tuple[str, str]],
        limit_s: float = READ_TIMEOUT_S + GRACE_S,
        wait_s: float = WAIT_S,
    ) -> None:
        self._limit_s = limit_s
        self._wait_s = wait_s
        self._seats = [_Seat(settings, dict(fields)) for _ in range(PROCESSES)]
        self._free = list(reversed(self._seats))
        self._queue: list[asyncio.Future[_Seat]] = []
        self._running: set[asyncio.Task[Any]] = set()
        self._is_closed = False

    async def run(self, function: Read[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """What the function answers; arguments and answer are pickled on their way.

        A read whose caller goes away is not stopped, but nobody waits for it.

        Raises:
            HistoryBusyError: too many wait already, or there was no turn in time.
            StoreError: the store is away, refuses, or took too long; or the process died.
            TooMuchError: the answer would be too large.
        """
        begun_s, outcome_name = time.monotonic(), "failed"
        try:
            value = await self._run(function, args, kwargs)
            outcome_name = "answered"
        finally:
            READ_SECONDS.labels(outcome_name).observe(time.monotonic() - begun_s)
        return cast(T, value)

    async def _run(self, function: Read[..., T], args: Any, kwargs: Any) -> Any:
        seat = await self._seat()
        work = partial(answer, function, args, kwargs, self._limit_s)
        task = asyncio.create_task(self._sit(seat, work))
        self._running.add(task)
        task.add_done_callback(self._running.discard)
        task.add_done_callback(_note)
        outcome = await asyncio.shield(task)
        if outcome.error is not None:
            raise outcome.error
        return outcome.value

    async def close(self) -> None:
        """End the processes, whatever they are doing; who waits for a read gets a StoreError."""
        self._is_closed = True
        for waiting in self._queue:
            if not waiting.done():
                waiting.set_exception(_closing())
        await asyncio.gather(*(seat.end() for seat in self._seats))
        await asyncio.gather(*self._running, return_exceptions=True)

    async def _seat(self) -> "_Seat":
        if self._is_closed:
            raise _closing()
        if self._free:
            return self._free.pop()
        if len(self._queue) >= QUEUE:
            raise HistoryBusyError(f"{QUEUE} questions about history wait already: ask again later")
        place: asyncio.Future[_Seat] = asyncio.get_running_loop().create_future()
        self._queue.append(place)
        WAITING.inc()
        try:
            async with asyncio.timeout(self._wait_s):
                return await place
        except BaseException as error:
            # It may have been given a seat in the same turn of the loop in which it stopped waiting for one.
            if place.done() and not place.cancelled() and place.exception() is None:
                self._give_up(place.result())
            if isinstance(error, TimeoutError):
                raise HistoryBusyError(
                    f"others' questions about history took all of {self._wait_s:g} s: ask again later"
                ) from None
            raise
        finally:
            WAITING.dec()
            if place in self._queue:
                self._queue.remove(place)

    def _give_up(self, seat: "_Seat") -> None:
        while self._queue:
            place = self._queue.pop(0)
            if not place.done():
                place.set_result(seat)
                return
        self._free.append(seat)

    async def _sit(self, seat: "_Seat", work: Callable[[], Outcome]) -> Outcome:
        try:
            if self._is_closed:
                raise _closing()
            async with asyncio.timeout(self._limit_s + KILL_S):
                return await asyncio.wrap_future(seat.submit(work))
        except TimeoutError:
            await seat.end()
            log.warning("a read of history hung, and its process was ended", limit_s=self._limit_s)
            raise StoreError(f"the history store did not answer within {self._limit_s:g} s") from None
        except BrokenProcessPool:
            await seat.end()
            if self._is_closed:
                raise _closing() from None
            log.warning("a process that reads history died; the next read starts another")
            raise StoreError("the process that read history died: ask again, and for less") from None
        finally:
            self._give_up(seat)


class _Seat:
    """One process, which is started for its first read, and again after it died."""

    def __init__(self, settings: Settings, fields: dict[str, tuple[str, str]]) -> None:
        self._settings = settings
        self._fields = fields
        self._executor: ProcessPoolExecutor | None = None
        self._ended: list[ProcessPoolExecutor] = []

    def submit(self, work: Callable[[], Outcome]) -> Future[Outcome]:
        """Begin a read."""
        if self._executor is not None:
            try:
                return self._executor.submit(work)
            except BrokenProcessPool:  # it died while nobody asked for anything
                self._kill()
        self._executor = ProcessPoolExecutor(
            1, multiprocessing.get_context("spawn"), begin, (self._settings, self._fields)
        )
        return self._executor.submit(work)

    async def end(self) -> None:
        """End the process at once, and wait for that (milliseconds); the read in it ends as broken."""
        self._kill()
        while self._ended:
            await asyncio.to_thread(self._ended.pop().shutdown, wait=True, cancel_futures=True)

    def _kill(self) -> None:
        if self._executor is not None:
            # As `kill_workers` of Python 3.14 does.
            for process in list((self._executor._processes or {}).values()):
                process.kill()
            self._ended.append(self._executor)
            self._executor = None


def _closing() -> StoreError:
    return StoreError("this server is being stopped")


def _note(task: asyncio.Task[Any]) -> None:
    # Nobody may be left to hear of it; otherwise asyncio would complain.
    if not task.cancelled():
        task.exception()
