"""One process that reads history: its loop, and the store that it opens once."""

import asyncio
import gc
import multiprocessing
import pickle
import signal
import threading
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from multiprocessing.connection import wait
from os import _exit, nice
from typing import Any

from streams.errors import StoreError
from streams.logs import configure_logs
from streams.settings import Settings
from streams.stores import Store, open_store

NICENESS = 10
"""[1] Of the process, so that scrapes go on."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a read came to."""

    value: Any = None
    error: Exception | None = None


class _Child:
    """What a process of the pool has: its settings, its loop, and the store once it is open."""

    settings: Settings
    fields: Mapping[str, tuple[str, str]]
    runner: asyncio.Runner | None = None
    store: Store | None = None


def begin(settings: Settings, fields: Mapping[str, tuple[str, str]]) -> None:
    """Remember what the store is opened with, in a process that has just started; opens nothing."""
    nice(NICENESS)
    configure_logs(settings)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the starter, who ends us
    _Child.settings, _Child.fields = settings, fields
    threading.Thread(target=_end_with_starter, daemon=True).start()


def _end_with_starter() -> None:
    starter = multiprocessing.parent_process()
    assert starter is not None  # noqa: S101  # for the type checker
    wait([starter.sentinel])
    _exit(1)


def answer(
    function: Callable[..., Awaitable[Any]], args: tuple[Any, ...], kwargs: dict[str, Any], limit_s: float
) -> Outcome:
    """Run a read to its end; `limit_s` [s] is all that it may take."""
    if _Child.runner is None:
        _Child.runner = asyncio.Runner()
    try:
        return Outcome(value=_Child.runner.run(_read(function, args, kwargs, limit_s)))
    except Exception as error:  # noqa: BLE001  # raised again by whoever asked
        return Outcome(error=_portable(error))


async def _read(
    function: Callable[..., Awaitable[Any]], args: tuple[Any, ...], kwargs: dict[str, Any], limit_s: float
) -> Any:
    if _Child.store is None:
        _Child.store = open_store(_Child.settings, _Child.fields)
        # What is there now stays: the collector need not look at it again, which takes 20 ms each time.
        gc.freeze()
    try:
        async with asyncio.timeout(limit_s) as limit:
            return await function(_Child.store, *args, **kwargs)
    except TimeoutError:
        if not limit.expired():
            raise
        raise StoreError(f"{_Child.store.label} did not answer within {limit_s:g} s") from None


def _portable(error: Exception) -> Exception:
    """The error itself, when it can be sent to another process, or one of its text."""
    try:
        pickle.loads(pickle.dumps(error))  # noqa: S301  # our own bytes
    except Exception:  # noqa: BLE001  # whatever its constructor raises
        return RuntimeError(repr(error))
    return error
