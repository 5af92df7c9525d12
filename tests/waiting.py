"""Waiting with a deadline."""

import asyncio
from collections.abc import Callable

DEADLINE_S = 20.0
"""[s] Far longer than anything here takes on a busy machine."""


async def until(condition: Callable[[], object], deadline_s: float = DEADLINE_S) -> None:
    """Return as soon as the condition holds; TimeoutError when it does not in time."""
    async with asyncio.timeout(deadline_s):
        while not condition():  # noqa: ASYNC110  # nothing tells of what is waited for
            await asyncio.sleep(0.01)
