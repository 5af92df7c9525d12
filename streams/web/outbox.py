"""The way of events into Kafka; connects for the first one, so that the API starts without Kafka."""

import asyncio
from collections.abc import Sequence
from contextlib import suppress

from streams.errors import InvalidMessageError, TwinError
from streams.events.models import AnyEvent
from streams.events.sender import EventSender, Sent
from streams.settings import Settings
from streams.topics import topics_of
from streams.web.problems import ProblemError

SEND_S = 10.0
"""[s] In which Kafka must take the events of one request."""

RETRY_AFTER_S = 2
"""[s] What a client is told to wait when Kafka is away."""


class Outbox:
    """Sends events, and says in problem documents why it cannot."""

    def __init__(self, settings: Settings) -> None:
        self.topic = topics_of(settings)["event"]
        self._sender = EventSender(settings)
        self._starting: asyncio.Task[None] | None = None

    async def send(self, events: Sequence[AnyEvent]) -> list[Sent]:
        """Send events in their order, and wait until Kafka has them.

        Raises:
            ProblemError: 422, one is too large and nothing was sent; 503, Kafka does not take them.
        """
        try:
            async with asyncio.timeout(SEND_S):
                await self._start()
                return await self._sender.send(events)
        except TimeoutError:
            text = f"Kafka did not take the events within {SEND_S:.0f} s"
        except InvalidMessageError as error:
            raise ProblemError(422, "too-large", str(error)) from error
        except TwinError as error:
            text = str(error)
        raise ProblemError(
            503,
            "kafka-away",
            f"{text}; some may have been taken: send all again with their ids, repeated ones change nothing",
            headers={"Retry-After": str(RETRY_AFTER_S)},
        )

    async def stop(self) -> None:
        """Disconnect."""
        if self._starting is not None:
            self._starting.cancel()
            with suppress(asyncio.CancelledError, TwinError):
                await self._starting
        await self._sender.stop()

    async def _start(self) -> None:
        # Requests that come meanwhile wait for the same attempt; one that gives up does not end it.
        if self._starting is None or (self._starting.done() and not _succeeded(self._starting)):
            self._starting = asyncio.create_task(self._sender.start(), name="sender of events")
        await asyncio.shield(self._starting)


def _succeeded(task: asyncio.Task[None]) -> bool:
    return not task.cancelled() and task.exception() is None
