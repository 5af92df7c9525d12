"""Sends the originals of dead letters again: deadletter -> scrape, event or observation."""

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass, replace
from types import TracebackType
from typing import Self

from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError

from streams.deadletters.letter import REDRIVEN, Letter, UnknownLetterError, parse_place, why_not
from streams.errors import TwinError
from streams.kafka import client_options, or_stopped
from streams.settings import Settings
from streams.topics import Topics

REQUEST_BYTES = 1_048_576
"""[B] Most that is sent to a broker at once; twice the largest original."""

STOP_S = 2.0
"""[s] For saying goodbye to a Kafka that may hang."""


@dataclass(frozen=True)
class Step:
    """What becomes of one letter.

    Args:
        place: partition:offset of the letter.
        letter: itself; None when there is no such letter.
        refusal: why it is not sent again; None when it is.
        sent: offset that the original has now; None when it was not sent.
    """

    place: str
    letter: Letter | None
    refusal: str | None = None
    sent: int | None = None

    @property
    def is_due(self) -> bool:
        """Whether it is to be sent, and was not yet."""
        return self.refusal is None and self.sent is None


def plan(letters: Iterable[Letter | UnknownLetterError], topics: Topics) -> list[Step]:
    """What is to be sent, each partition's in the order in which it came, and what is not, with the reason.

    Letters of one message, or with the same bytes, send it once.
    """
    steps: list[Step] = []
    known: dict[tuple[str, int, bytes, bytes], str] = {}
    for letter in sorted(letters, key=_origin):
        if isinstance(letter, UnknownLetterError):
            steps.append(Step(letter.place, None, str(letter)))
            continue
        refusal = why_not(letter, topics)
        content = (letter.topic, letter.origin_partition, letter.key, letter.value)
        if refusal is None and content in known:
            refusal = f"it is the same message as {known[content]}"
        if refusal is None:
            known[content] = letter.place
        steps.append(Step(letter.place, letter, refusal))
    return steps


class Redriver:
    """`async with Redriver(settings) as redriver`: a producer for messages that are sent again.

    Raises:
        TwinError: Kafka does not answer.
    """

    def __init__(self, settings: Settings) -> None:
        self._producer = AIOKafkaProducer(
            **client_options(settings), acks="all", max_request_size=REQUEST_BYTES, enable_idempotence=False
        )

    async def __aenter__(self) -> Self:
        async with or_stopped(self._close, _away):
            await self._producer.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._close()

    async def send(self, step: Step) -> Step:
        """Send one original and wait until Kafka has it; the step says where it is, or why it is not."""
        letter = step.letter
        if not step.is_due or letter is None:
            return step
        try:
            answer = await self._producer.send_and_wait(
                letter.topic,
                letter.value,
                key=letter.key or None,
                partition=letter.origin_partition,
                headers=[(REDRIVEN, str(letter.redriven + 1).encode())],
            )
        except KafkaError as error:
            return replace(step, refusal=f"Kafka did not take it ({error!r})")
        return replace(step, sent=answer.offset)

    async def _close(self) -> None:
        try:
            async with asyncio.timeout(STOP_S):
                await self._producer.stop()
        except (TimeoutError, KafkaError):
            return


async def send_all(settings: Settings, steps: list[Step], within_s: float) -> list[Step]:
    """Send what is due, one after the other; what Kafka did not take in time says so.

    Args:
        within_s: [s] for all of them.

    Raises:
        TwinError: Kafka does not answer at all.
    """
    done: list[Step] = []
    if not any(step.is_due for step in steps):
        return steps
    try:
        async with asyncio.timeout(within_s), Redriver(settings) as redriver:
            for step in steps:
                done.append(await redriver.send(step))  # noqa: PERF401  # what was done has to be known
    except TimeoutError:
        late = f"Kafka did not take it within {within_s:.0f} s of the request; it may have come all the same"
        rest = steps[len(done) :]
        done += [replace(step, refusal=late) if step.is_due else step for step in rest]
    return done


def _origin(letter: Letter | UnknownLetterError) -> tuple[str, int, int, int]:
    if isinstance(letter, UnknownLetterError):
        return "", *parse_place(letter.place), -1
    return letter.topic, letter.origin_partition, letter.origin_offset, letter.offset


def _away(error: KafkaError) -> TwinError:
    return TwinError(f"Kafka does not answer ({error!r}): look at TWIN_KAFKA_*")
