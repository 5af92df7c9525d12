"""Live's log of a range of time: the messages that made its ticks, and the ticks that it closed."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from aiokafka import ConsumerRecord

from streams.domain.entity import NEVER
from streams.domain.playback import Lanes, is_played
from streams.domain.ticks import ClosedRow, closed_rows
from streams.errors import InvalidMessageError, TwinError
from streams.history.slice import TopicSlice
from streams.records import Observation, Tick
from streams.schemas import load_codec
from streams.settings import Settings

SLACK_MS = 60_000
"""[ms] By which the clocks of those who send may differ, and a sample may lie ahead."""

LATEST_MS = 600_000
"""[ms] After its time a tick is in Kafka, unless the twin itself stood still for longer."""

AFTERWARDS_MS = 86_400_000
"""[ms] After the range what closes its ticks may come: a worker that was away has a backlog first."""


@dataclass
class LiveLog:
    """What of live's log is there for the ticks of a range, with the time before that fills the memory.

    Args:
        to_ms: [ms since the epoch] last tick.
        lost_ms: [ms since the epoch] up to where Kafka has deleted messages that are wanted; None: none.
        begins_ms: [ms since the epoch] where the log begins, if that is later than is wanted; else None.
        partitions: [1] of the log.
    """

    to_ms: int
    partitions: int
    lost_ms: int | None
    begins_ms: int | None
    _slice: TopicSlice
    _step_ms: int

    async def messages(self) -> AsyncIterator[Observation]:
        """The messages in order of time, each with its partition as `lane`."""
        lanes = Lanes(self.partitions, self.to_ms, self._step_ms)
        async for record in self._slice.records():
            message = _decode(record)
            if message is None:
                continue
            message["lane"] = record.partition
            yield message
            if lanes.note(record.partition, message):
                return


@asynccontextmanager
async def opened_log(settings: Settings, begin_ms: int, to_ms: int) -> AsyncIterator[LiveLog]:
    """Live's log.

    Args:
        begin_ms: [ms since the epoch] where messages begin.
        to_ms: [ms since the epoch] last tick that they are to close.

    Raises:
        TwinError: Kafka does not answer, or there is no such topic.
    """
    async with TopicSlice(settings, "observation", begin_ms, to_ms + AFTERWARDS_MS) as slice:
        yield LiveLog(to_ms, slice.partitions, slice.lost_ms, slice.begins_ms, slice, settings.step_ms)


async def read_closed(
    settings: Settings, world: str, from_ms: int, to_ms: int, sent_ms: int | None = None
) -> list[ClosedRow]:
    """Ticks of a range that a world closed, as the topic `tick` has them: each once, the newest version.

    Args:
        sent_ms: [ms since the epoch] since when they were sent, of a world with a time of its own.

    Raises:
        TwinError: Kafka does not answer; or a tick is there twice with two contents.
    """
    found: dict[tuple[int, str, str], tuple[int, ClosedRow]] = {}
    first_ms = from_ms if sent_ms is None else sent_ms
    last_ms = to_ms + LATEST_MS if sent_ms is None else NEVER
    async with TopicSlice(settings, "tick", first_ms - SLACK_MS, last_ms) as slice:
        async for record in slice.records():
            try:
                tick: Tick = load_codec("tick").decode(record.value)
            except InvalidMessageError:
                continue
            if tick["world"] == world:
                _take_rows(found, tick, from_ms, to_ms)
    return [row for _, row in found.values()]


def _take_rows(
    found: dict[tuple[int, str, str], tuple[int, ClosedRow]], tick: Tick, from_ms: int, to_ms: int
) -> None:
    for version, row in closed_rows(tick):
        if not from_ms <= row.tick_ms <= to_ms or row.kind.startswith("_"):
            continue
        known = found.get(row[:3])
        if known is not None and known[0] == version and known[1] != row:
            raise TwinError(
                f"{row.kind}/{row.id} at {row.tick_ms} is in the topic tick with two contents: a fault of the"
                " twin"
            )
        if known is None or known[0] <= version:
            found[row[:3]] = version, row


def _decode(record: ConsumerRecord) -> Observation | None:
    try:
        message: Observation = load_codec("observation").decode(record.value)
    except InvalidMessageError:
        return None  # the worker made a dead letter of it
    return message if is_played(message) else None
