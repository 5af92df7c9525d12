"""What a stage could not take -> deadletter."""

import time
from typing import Any

import structlog
from prometheus_client import Counter

from streams.deadletters.letter import KEPT_BYTES, REDRIVEN, redriven_count
from streams.errors import InvalidMessageError
from streams.records import Deadletter
from streams.schemas import load_codec
from streams.topics import Topics

log = structlog.get_logger(__name__)

DEAD = Counter(
    "twin_deadletters_total", "Messages, or parts of one, that a stage could not take", ["stage", "reason"]
)


def deadletter(stage: str, event: Any, reason: str, error: str) -> Deadletter:
    """The dead letter of a Faust event, at the present time."""
    message = event.message
    return Deadletter(
        stage=stage,
        reason=reason,
        error=error,
        at_ms=int(time.time() * 1000),
        topic=message.topic,
        partition=message.partition,
        offset=message.offset,
        key=message.key or b"",
        value=(message.value or b"")[:KEPT_BYTES],
    )


class DeadLetters:
    """Sends the dead letters of one stage; logs a reason when it is new."""

    def __init__(self, app: Any, topics: Topics, stage: str) -> None:
        self._app, self._topics, self._stage = app, topics, stage
        self._known: set[str] = set()

    async def send(self, event: Any, error: InvalidMessageError) -> None:
        """One dead letter for an event; returns when Kafka has it."""
        await self.send_all([(event, error.reason, str(error))])

    async def send_all(self, refused: list[tuple[Any, str, str]]) -> None:
        """Dead letters for (event, reason, error) each; returns when Kafka has them."""
        records: list[tuple[int, bytes | None, bytes, int]] = []
        for event, reason, error in refused:
            DEAD.labels(self._stage, reason).inc()
            if reason not in self._known:
                self._known.add(reason)
                log.warning(
                    "dead letter", stage=self._stage, reason=reason, error=error, topic=event.message.topic
                )
            record = deadletter(self._stage, event, reason, error)
            partition = event.message.partition % self._topics.partitions
            # A part of a message, as the sink has them, is never sent again.
            redriven = redriven_count(getattr(event.message, "headers", None))
            value = load_codec("deadletter").encode(record)
            records.append((partition, event.message.key, value, redriven))
        producer = self._app.producer._ensure_producer()
        for partition, key, value, redriven in records:
            headers = [(REDRIVEN, str(redriven).encode())] if redriven else None
            # Not in a batch of ours, which holds less than the longest dead letter.
            await producer.send_and_wait(
                self._topics["deadletter"], value, key=key, partition=partition, headers=headers
            )
