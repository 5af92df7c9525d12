"""On cue: event -> a scrape at once, for each `collect.now`."""

import asyncio
import json
from collections import deque
from collections.abc import Callable, Collection
from contextlib import suppress

import structlog
from aiokafka import ConsumerRecord
from aiokafka.errors import KafkaError
from prometheus_client import Counter

from streams.errors import InvalidMessageError, TwinError
from streams.reader import TopicReader
from streams.schemas import load_codec
from streams.settings import Settings
from streams.topics import topics_of

EVENT_TYPE = "collect.now"
"""Type of the events that are read here; all others are for the worker."""

IDS_KEPT = 1_000
"""[1] Ids of cues that are remembered: one that is sent twice is one cue."""

RETRY_S = 1.0
"""[s] Between attempts to reach Kafka."""

CUES = Counter("twin_collect_cues_total", "Cues taken")

log = structlog.get_logger()


class CueReader:
    """Reads `event` from its end, without a group: every collector hears all, and acts on its own targets."""

    def __init__(self, settings: Settings, cue: Callable[[Collection[str]], int]) -> None:
        self._settings = settings
        self._cue = cue
        self._ids: deque[str] = deque(maxlen=IDS_KEPT)

    async def run(self) -> None:
        """Read until cancelled; what ends the reading is tried again."""
        topic = topics_of(self._settings)["event"]
        while True:
            reader = TopicReader(
                self._settings, topic, self._take_all, lambda partition: None, from_start=False
            )
            try:
                await reader.start()
                if reader.task:
                    await asyncio.wait([reader.task])
            except TwinError as error:
                log.warning("cues cannot be read; trying again", why=str(error))
            finally:
                with suppress(TwinError, KafkaError):
                    await reader.stop()
            await asyncio.sleep(RETRY_S)

    def _take_all(self, messages: list[ConsumerRecord]) -> None:
        for message in messages:
            self.take(message.value)

    def take(self, data: bytes | None) -> int:
        """Act on an event if it is a cue; return for how many targets. The worker answers the malformed."""
        names = read_cue(data, self._ids)
        if names is None:
            return 0
        CUES.inc()
        count = self._cue(names)
        log.info("scraping on cue", sources=sorted(names) or "all", targets=count)
        return count


def read_cue(data: bytes | None, ids: deque[str]) -> set[str] | None:
    """Names of the sources or targets in a cue, none for all; or None when it is no new cue."""
    try:
        event = load_codec("event").decode(data)
    except InvalidMessageError:
        return None
    if event["type"] != EVENT_TYPE or event["id"] in ids:
        return None
    try:
        body = json.loads(event["body"] or "{}")
        names = body.get("sources", []) if isinstance(body, dict) else None
    except (ValueError, RecursionError):
        return None
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        return None
    ids.append(event["id"])
    return set(names)
