"""scrape and event -> harmonize -> observation, or deadletter."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any

from faust.types import TP
from prometheus_client import Counter

from streams.agents.deadletter import DeadLetters
from streams.domain.commands import observations_of
from streams.domain.harmonize import Harmonizer
from streams.domain.imports import scrape_of
from streams.engine.faust_app import BATCH_BYTES, drain, raw_topic
from streams.engine.table import Writes, send_batches
from streams.errors import InvalidMessageError
from streams.events import check_resolved, envelope_of, read_event
from streams.records import Observation, Scrape
from streams.rulebook import RuleBook
from streams.schemas import load_codec
from streams.topics import Topics

MESSAGES = Counter("twin_harmonize_messages_total", "Messages read from scrape and event", ["record"])
UNMAPPED = Counter("twin_harmonize_unmapped_series_total", "Series that no rule maps", ["source"])

Refusal = tuple[str, str]
"""Reason and text of a dead letter."""

BATCH_MESSAGES = 200
"""[1] Most scrapes that are harmonised before Kafka is asked to take them."""


class Progress:
    """How far harmonising is behind: the time that the clock may announce."""

    def __init__(self, app: Any, topics: Topics) -> None:
        self._app, self._topic = app, topics["scrape"]
        self._done: dict[TP, tuple[int, int]] = {}

    def note(self, events: list[Any]) -> None:
        """These are done."""
        for event in events:
            message = event.message
            self._done[message.tp] = (message.offset + 1, int(message.timestamp * 1000))

    def clock_ms(self, now_ms: int) -> int | None:
        """Wall time; where scrapes wait, the time of the newest one that is done; None until that is known.

        A clock that ran ahead of a backlog would find all silent, and remove what the backlog tells of.
        """
        times = [now_ms]
        for tp in self._app.consumer.assignment():
            if tp.topic == self._topic:
                place, time_ms = self._done.get(tp, (0, 0))
                start = self._app.delivery.start(tp)
                end = self._app.consumer.highwater(tp)
                if start is None or end is None:
                    return None
                if max(place, start) < end:
                    times.append(time_ms)
        return min(times) or None


class Harmonizing:
    """What scrapes and events become: observations, by the partition that they are for."""

    def __init__(self, rulebook: RuleBook, partitions: int) -> None:
        self._catalogue = rulebook.catalogue
        self._forms = rulebook.catalogue.forms()
        self._partitions = partitions
        self._harmonizer = Harmonizer(rulebook.packs, rulebook.catalogue, partitions)

    def scrape(self, message: Any, now_ms: int, writes: Writes) -> list[Refusal]:
        """Add the observations of a scrape to `writes`; return what was rejected of it."""
        return self._harmonize(load_codec("scrape").decode(message.value), message, "scrape", now_ms, writes)

    def event(self, message: Any, now_ms: int, writes: Writes) -> list[Refusal]:
        """Add what an event becomes to `writes`; the collector acts on cues, here they are only checked."""
        event = read_event(message.value, self._catalogue)
        check_resolved(event)
        envelope, body = envelope_of(event), event.body.model_dump()
        if event.type == "import":
            return self._harmonize(scrape_of(envelope, body), message, "event", now_ms, writes)
        if event.type == "collect.now":
            return []
        found = observations_of(
            envelope,
            body,
            partitions=self._partitions,
            forms=self._forms,
            partition=message.partition,
            offset=message.offset,
            now_ms=now_ms,
        )
        return [
            refusal
            for partition, observation in found
            for refusal in _add(writes, partition, event.world.encode(), observation)
        ]

    def _harmonize(
        self, scrape: Scrape, message: Any, origin: str, now_ms: int, writes: Writes
    ) -> list[Refusal]:
        result = self._harmonizer.harmonize(
            scrape, origin=origin, partition=message.partition, offset=message.offset, at_ms=now_ms
        )
        refused = [(rejection.reason, rejection.error) for rejection in result.rejected]
        key = f"{scrape['source']}/{scrape['target']}".encode()
        for partition, observation in result.observations:
            refused += _add(writes, partition, key, observation)
        if result.unmapped:
            UNMAPPED.labels(scrape["source"]).inc(sum(result.unmapped.values()))
        return refused


def _add(writes: Writes, partition: int, key: bytes, observation: Observation) -> list[Refusal]:
    value = load_codec("observation").encode(observation)
    if len(value) > BATCH_BYTES:
        ids = ", ".join(observation["ids"][:3])
        return [("too_large", f"an observation of {len(value)} bytes, of {ids[:100]}")]
    writes.setdefault(partition, []).append((key, value))
    return []


def attach(
    app: Any, topics: Topics, harmonizing: Harmonizing, guard: Callable[[Exception], Awaitable[None]]
) -> Progress:
    """Add the harmonize agent to the app."""
    progress = Progress(app, topics)
    letters = DeadLetters(app, topics, "harmonize")

    @app.agent(raw_topic(app, topics["scrape"], topics["event"]), name="harmonize", concurrency=1)  # type: ignore[untyped-decorator]
    async def harmonize(stream: Any) -> None:
        """Maps scrapes to the catalogue's names and units and sends each entity's values to its partition.

        Reads: scrape, event. Writes: observation, deadletter (a scrape that does not decode or names an
        unknown pack; a value that is not finite or out of range; an event that is malformed, unresolved or
        would touch live).
        """
        async for event in stream.noack().events():
            try:
                events = await app.delivery.current(drain(stream, event, BATCH_MESSAGES))
                await _harmonize_batch(app, topics, harmonizing, letters, events)
                progress.note(events)
            except Exception as error:  # noqa: BLE001  # Faust would lose the batch: end the process instead
                await guard(error)
            for done in events:
                done.ack()

    return progress


async def _harmonize_batch(
    app: Any,
    topics: Topics,
    harmonizing: Harmonizing,
    letters: DeadLetters,
    events: list[Any],
) -> None:
    writes: Writes = {}
    refused: list[tuple[Any, str, str]] = []
    for event in events:
        now_ms = int(time.time() * 1000)
        record = topics.record_of(event.message.topic)
        MESSAGES.labels(record).inc()
        try:
            work = harmonizing.event if record == "event" else harmonizing.scrape
            refused += [(event, *refusal) for refusal in work(event.message, now_ms, writes)]
        except InvalidMessageError as error:
            refused.append((event, error.reason, str(error)))
        await asyncio.sleep(0)
    if refused:
        await letters.send_all(refused)
    await send_batches(app, topics["observation"], writes)
