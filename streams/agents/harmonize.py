"""scrape and event -> harmonize -> observation, or deadletter."""

import asyncio
import json
import time
from collections.abc import Awaitable, Callable
from typing import Any

from faust.types import TP
from prometheus_client import Counter

from streams.agents.deadletter import DeadLetters
from streams.domain.harmonize import Harmonizer
from streams.engine.faust_app import BATCH_BYTES, drain, raw_topic
from streams.engine.table import Writes, send_batches
from streams.errors import InvalidMessageError
from streams.schemas import load_codec
from streams.topics import Topics

MESSAGES = Counter("twin_harmonize_messages_total", "Messages read from scrape and event", ["record"])
UNMAPPED = Counter("twin_harmonize_unmapped_series_total", "Series that no rule maps", ["source"])

BATCH_MESSAGES = 200
"""[1] Most scrapes that are harmonised before Kafka is asked to take them."""

EVENT_TYPES = ("collect.now",)
"""Types of event that this release knows; the collector acts on them, here they are only checked."""


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


def attach(
    app: Any, topics: Topics, harmonizer: Harmonizer, guard: Callable[[Exception], Awaitable[None]]
) -> Progress:
    """Add the harmonize agent to the app."""
    progress = Progress(app, topics)
    letters = DeadLetters(app, topics, "harmonize")

    @app.agent(raw_topic(app, topics["scrape"], topics["event"]), name="harmonize", concurrency=1)  # type: ignore[untyped-decorator]
    async def harmonize(stream: Any) -> None:
        """Maps scrapes to the catalogue's names and units and sends each entity's values to its partition.

        Reads: scrape, event. Writes: observation, deadletter (a scrape that does not decode or names an
        unknown pack; a value that is not finite or out of range; a malformed event).
        """
        async for event in stream.noack().events():
            try:
                events = await app.delivery.current(drain(stream, event, BATCH_MESSAGES))
                await _harmonize_batch(app, topics, harmonizer, letters, events)
                progress.note(events)
            except Exception as error:  # noqa: BLE001  # Faust would lose the batch: end the process instead
                await guard(error)
            for done in events:
                done.ack()

    return progress


async def _harmonize_batch(
    app: Any,
    topics: Topics,
    harmonizer: Harmonizer,
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
            if record == "event":
                check_event(event.message.value)
            else:
                refused += [
                    (event, *refusal) for refusal in _harmonize(harmonizer, event.message, now_ms, writes)
                ]
        except InvalidMessageError as error:
            refused.append((event, error.reason, str(error)))
        await asyncio.sleep(0)
    if refused:
        await letters.send_all(refused)
    await send_batches(app, topics["observation"], writes)


def _harmonize(harmonizer: Harmonizer, message: Any, now_ms: int, writes: Writes) -> list[tuple[str, str]]:
    """Add the observations of a scrape to `writes`; return what was rejected of it."""
    scrape = load_codec("scrape").decode(message.value)
    result = harmonizer.harmonize(scrape, partition=message.partition, offset=message.offset, at_ms=now_ms)
    refused = [(rejection.reason, rejection.error) for rejection in result.rejected]
    key = f"{scrape['source']}/{scrape['target']}".encode()
    encode = load_codec("observation").encode
    for partition, observation in result.observations:
        value = encode(observation)
        if len(value) > BATCH_BYTES:
            ids = ", ".join(observation["ids"][:3])
            refused.append(("too_large", f"an observation of {len(value)} bytes, of {ids[:100]}"))
        else:
            writes.setdefault(partition, []).append((key, value))
    if result.unmapped:
        UNMAPPED.labels(scrape["source"]).inc(sum(result.unmapped.values()))
    return refused


def check_event(value: bytes | None) -> None:
    """Raise InvalidMessageError unless the bytes are an event of a known type with a well-formed body."""
    event = load_codec("event").decode(value)
    if event["type"] not in EVENT_TYPES:
        raise InvalidMessageError(
            "event_type", f"type: {event['type']!r} is not one of {', '.join(EVENT_TYPES)}"
        )
    try:
        body = json.loads(event["body"])
    except ValueError as error:
        raise InvalidMessageError("event_body", f"body: not JSON: {error}") from error
    sources = body.get("sources", []) if isinstance(body, dict) else None
    if not isinstance(sources, list) or not all(isinstance(source, str) for source in sources):
        raise InvalidMessageError("event_body", "body: must be an object whose `sources` is a list of names")
