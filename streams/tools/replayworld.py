"""A world of its own into which a part of live's log, or of history, is played."""

import asyncio
import time
from collections import deque
from types import TracebackType
from typing import Any, Self

from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError

from streams.domain.keys import entity_key, partition_of
from streams.domain.replay import BASE
from streams.errors import TwinError
from streams.events.models import EVENT
from streams.events.sender import EventSender
from streams.kafka import client_options, kafka_away, or_stopped
from streams.records import Observation
from streams.replica.replica import TwinReplica
from streams.schemas import load_codec
from streams.settings import Settings
from streams.topics import topics_of

ANSWER_S = 20.0
"""[s] For a worker to make the world, and later to play what it was sent last."""

LOOK_AGAIN_S = 0.05
"""[s] Between looks at how far the worker is."""

AHEAD = 2_000
"""[1] Most entities in messages that the worker has yet to play, a third of a second of its work: live's own
must not wait behind more."""

BATCH_MESSAGES = 50
"""[1] Messages between two looks at what Kafka answered."""

REASON = "replay of what the twin was told"


class ReplayWorld:
    """Sends messages of live's log into a replay, no faster than its worker plays them.

    Args:
        name: of the world, which must be new.
        partitions: [1] of the log that is played.
        step_ms: [ms] distance of ticks.
        begin_ms: [ms since the epoch] where its clock begins.
        ttl_ms: [ms] life of the world.
    """

    def __init__(
        self, settings: Settings, name: str, *, partitions: int, step_ms: int, begin_ms: int, ttl_ms: int
    ) -> None:
        self.name = name
        self._settings = settings
        self._body = {
            "owner": "twin replay",
            "reason": REASON,
            "base": BASE,
            "partitions": partitions,
            "step_ms": step_ms,
            "clock_ms": begin_ms,
            "ttl_s": ttl_ms / 1000,
        }
        self._home = partition_of(entity_key(name, "world", name), settings.partitions)
        self._topic = topics_of(settings)["observation"]
        self._twin = TwinReplica(settings, name)
        self._answers: list[tuple[Any, int]] = []
        self._ahead: deque[tuple[int, int]] = deque()
        self._clock_offset = -1

    async def __aenter__(self) -> Self:
        await self._twin.start()
        async with or_stopped(self._twin.stop, kafka_away):
            await self._create()
            self._producer = AIOKafkaProducer(**client_options(self._settings), acks="all", linger_ms=5)
            await self._producer.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            await self._producer.stop()
        finally:
            await self._twin.stop()

    async def _create(self) -> None:
        await self._twin.ready(ANSWER_S)
        if ("world", self.name) in self._twin:
            raise TwinError(f"--world: there is a world {self.name!r}: take another name, or drop it first")
        event = {"type": "world.create", "world": self.name, "body": self._body}
        async with EventSender(self._settings) as sender:
            await sender.send([EVENT.validate_python(event)])
        deadline_s = time.monotonic() + ANSWER_S
        while ("world", self.name) not in self._twin:
            if time.monotonic() > deadline_s:
                raise TwinError(
                    f"world {self.name} was not made within {ANSWER_S:.0f} s: does `twin worker` run?"
                    " `twin tap deadletter` shows what was refused"
                )
            await asyncio.sleep(LOOK_AGAIN_S)

    async def play(self, message: Observation) -> None:
        """Send the next message; comes back when there is room for more.

        Raises:
            TwinError: Kafka is away, or the worker does not go on.
        """
        own = message | {"world": self.name, "simulated": True, "event_id": ""}
        try:
            answer = await self._producer.send(
                self._topic,
                load_codec("observation").encode(own),
                self.name.encode(),
                self._home,
            )
        except KafkaError as error:
            raise self._refused(error) from error
        self._answers.append((answer, -1 if message["type"] == "clock" else len(message["ids"])))
        if len(self._answers) >= BATCH_MESSAGES:
            await self._settle()
            await self._wait_for(AHEAD)

    async def finish(self) -> None:
        """Wait until the worker has played all, as far as the last clock message says."""
        await self._settle()
        await self._wait_for(0)

    async def _settle(self) -> None:
        answers, self._answers = self._answers, []
        for answer, entities in answers:
            try:
                offset = (await answer).offset
            except KafkaError as error:
                raise self._refused(error) from error
            self._ahead.append((offset, max(entities, 0)))
            if entities < 0:
                self._clock_offset = offset

    async def _wait_for(self, ahead: int) -> None:
        """Wait until the worker has no more than so many entities to play before the last clock message."""
        deadline_s, before = time.monotonic() + ANSWER_S, -1
        while True:
            played = self._played()
            while self._ahead and self._ahead[0][0] < played:
                self._ahead.popleft()
            left = sum(entities for _, entities in self._ahead)
            if played > self._clock_offset or (ahead and left <= ahead):
                return
            if played > before:
                before, deadline_s = played, time.monotonic() + ANSWER_S
            if time.monotonic() > deadline_s:
                raise TwinError(
                    f"world {self.name} has not gone on for {ANSWER_S:.0f} s: does `twin worker` run? Was the"
                    " world dropped? `twin tap deadletter` shows what was refused"
                )
            await asyncio.sleep(LOOK_AGAIN_S)

    def _played(self) -> int:
        """Offset after the last clock message that the worker has played."""
        record = self._twin.get(("world", self.name))
        return int(record["version"]) if record else -1

    def _refused(self, error: KafkaError) -> TwinError:
        return TwinError(f"Kafka does not take the replay ({error!r}); drop the world and try again")
