"""Waiting for a condition until a deadline: no test sleeps and hopes."""

import asyncio
import inspect
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

T = TypeVar("T")


async def until(
    condition: Callable[[], T | Awaitable[T]], deadline_s: float, what: str, every_s: float = 0.1
) -> T:
    """What the condition gives as soon as that is true; an AssertionError naming `what` if it never is."""
    end = time.monotonic() + deadline_s
    while True:
        found = condition()
        value = await found if inspect.isawaitable(found) else found
        if value:
            return value  # type: ignore[return-value]  # T of either branch
        if time.monotonic() > end:
            raise AssertionError(f"not within {deadline_s:.0f} s: {what}")
        await asyncio.sleep(every_s)
