"""Sends events to their topic: each to the partition that keeps its world in order."""

import time
from collections.abc import Sequence
from types import TracebackType
from typing import NamedTuple, Self
from uuid import uuid4

from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError

from streams.domain.keys import event_partition
from streams.errors import InvalidMessageError, TwinError
from streams.events import event_record
from streams.events.models import AnyEvent
from streams.kafka import client_options, kafka_away, or_stopped
from streams.registry import use_registry
from streams.schemas import load_codec
from streams.settings import Settings
from streams.topics import MAX_MESSAGE_BYTES, topics_of

REQUEST_BYTES = 1_048_576
"""[B] Most that is sent to a broker at once."""


class Sent(NamedTuple):
    """Where an event is now."""

    id: str
    partition: int
    offset: int


class EventSender:
    """A producer of the topic `event`; events are in Kafka when `send` returns."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._topic = topics_of(settings)["event"]
        self._producer: AIOKafkaProducer | None = None

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()

    async def start(self) -> None:
        """Connect.

        Raises:
            TwinError: Kafka does not answer.
        """
        await use_registry(self._settings)
        producer = AIOKafkaProducer(
            **client_options(self._settings), acks="all", linger_ms=2, max_request_size=REQUEST_BYTES
        )
        async with or_stopped(producer.stop, kafka_away):
            await producer.start()
        self._producer = producer

    async def stop(self) -> None:
        """Disconnect."""
        if self._producer is not None:
            await self._producer.stop()

    async def send(self, events: Sequence[AnyEvent]) -> list[Sent]:
        """Send events in their order, and wait until Kafka has them.

        Those without an id get one, those without a time are made now.

        Raises:
            InvalidMessageError: an event is larger than a message may be; nothing was sent.
            TwinError: Kafka does not take them.
        """
        if self._producer is None:
            raise TwinError("the sender is not started: use `async with EventSender(settings) as sender`")
        messages = [(event, encode_event(event)) for event in map(stamped, events)]
        try:
            answers = [
                (event.id, await self._producer.send(self._topic, value, key, self._partition(event)))
                for event, (key, value) in messages
            ]
            return [Sent(id, (found := await answer).partition, found.offset) for id, answer in answers]
        except KafkaError as error:
            raise TwinError(f"Kafka does not take events ({error!r}); try again") from error

    def _partition(self, event: AnyEvent) -> int:
        return event_partition(event.world, event.sender, self._settings.partitions)


def stamped(event: AnyEvent) -> AnyEvent:
    """The event with an id and a time."""
    if event.id and event.at_ms:
        return event
    now_ms = int(time.time() * 1000)
    return event.model_copy(update={"id": event.id or str(uuid4()), "at_ms": event.at_ms or now_ms})


def encode_event(event: AnyEvent) -> tuple[bytes, bytes]:
    """Key and value of the message of an event.

    Raises:
        InvalidMessageError: it is larger than a message may be.
    """
    value = load_codec("event").encode(event_record(event))
    if len(value) > MAX_MESSAGE_BYTES:
        raise InvalidMessageError(
            "too_large",
            f"event {event.id}: {len(value)} bytes are more than {MAX_MESSAGE_BYTES}; use several events",
        )
    return (event.sender if event.world == "live" else event.world).encode(), value
