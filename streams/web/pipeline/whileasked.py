"""Work that is done while somebody looks, and ends by itself when nobody does."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress

import structlog

IDLE_S = 30.0
"""[s] After the last question the work ends."""

LOOK_S = 1.0
"""[s] Between looks whether it is to end."""


class WhileAsked:
    """Runs `work` from the first question on, until nothing was asked for a while; then again at the next.

    Args:
        name: of the task.
        work: runs until it is cancelled, and tidies up then.
        idle_s: [s] after the last question.
    """

    def __init__(self, name: str, work: Callable[[], Awaitable[None]], idle_s: float = IDLE_S) -> None:
        self._name = name
        self._work = work
        self._idle_s = idle_s
        self._asked_s = 0.0
        self._task: asyncio.Task[None] | None = None

    @property
    def is_running(self) -> bool:
        """Whether the work is under way."""
        return self._task is not None and not self._task.done()

    def ask(self) -> None:
        """Somebody looks."""
        self._asked_s = time.monotonic()
        if not self.is_running:
            self._task = asyncio.create_task(self._keep(), name=self._name)

    async def stop(self) -> None:
        """End the work now."""
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task

    async def _keep(self) -> None:
        job = asyncio.ensure_future(self._work())
        try:
            while not job.done() and time.monotonic() - self._asked_s < self._idle_s:
                await asyncio.wait({job}, timeout=min(LOOK_S, self._idle_s))
        finally:
            job.cancel()
            (outcome,) = await asyncio.gather(job, return_exceptions=True)
            if isinstance(outcome, Exception):
                structlog.get_logger(__name__).error("ended", work=self._name, exc_info=outcome)
