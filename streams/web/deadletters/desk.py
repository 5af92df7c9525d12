"""What is asked about dead letters, answered within a time whatever Kafka does."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from streams.deadletters.box import LetterBox
from streams.deadletters.letter import UnknownLetterError, parse_place
from streams.deadletters.redrive import plan, send_all
from streams.deadletters.shown import all_of, outcome_of, summary_of
from streams.deadletters.wanted import Wanted
from streams.domain.times import parse_moment
from streams.errors import SettingsError, TwinError
from streams.settings import Settings
from streams.topics import topics_of
from streams.web.deadletters.models import LettersFilter, LettersQuery, Redrive
from streams.web.problems import ProblemError, invalid

LOOK_S = 10.0
"""[s] For reading letters; Kafka answers in a tenth of that."""

SEND_S = 20.0
"""[s] For sending letters again."""

AT_ONCE = 2
"""[1] Requests that read letters at the same time; each holds up to 1 MiB of each partition."""

KEPT_BYTES = 32 * 1024 * 1024
"""[B] Originals that one request sends again; a filter goes on with its cursor."""

RETRY_AFTER_S = 5
"""[s] What a client is told to wait when Kafka is away."""


class LetterDesk:
    """Answers of the routes, as their models say.

    All raise ProblemError: 422 for what cannot be meant, 503 when Kafka is away.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._topics = topics_of(settings)
        self._turn = asyncio.Semaphore(AT_ONCE)

    async def page(self, query: LettersQuery) -> dict[str, Any]:
        """A page of letters, the newest first."""
        wanted = wanted_of(query)
        async with self._box() as box:
            try:
                page = await box.page(wanted, query.limit, query.cursor)
            except ValueError as error:
                raise invalid("cursor", str(error)) from error
        return {
            "topic": self._topics["deadletter"],
            "letters": [summary_of(letter, self._topics) for letter in page.letters],
            "cursor": page.cursor,
            "scanned": page.scanned,
        }

    async def show(self, partition: int, offset: int) -> dict[str, Any]:
        """All of one letter; 404 when it is not there."""
        async with self._box() as box:
            try:
                letter = await box.letter(partition, offset)
            except UnknownLetterError as error:
                raise ProblemError(404, "unknown-letter", str(error), field="offset") from error
        return all_of(letter, self._topics)

    async def redrive(self, asked: Redrive) -> dict[str, Any]:
        """Send letters again, or say what would be sent."""
        wanted = _wanted_again(asked)
        async with self._box() as box:
            if wanted is None:
                found = await box.letters(map(parse_place, asked.letters))
                cursor = None
            else:
                try:
                    page = await box.page(wanted, asked.cap, asked.cursor, keep_bytes=KEPT_BYTES)
                except ValueError as error:
                    raise invalid("cursor", str(error)) from error
                found, cursor = list(page.letters), page.cursor
        steps = plan(found, self._topics)
        if not asked.dry_run:
            try:
                steps = await send_all(self._settings, steps, SEND_S)
            except TwinError as error:
                raise kafka_away(str(error)) from error
        sent = sum(step.refusal is None for step in steps)
        return {
            "dry_run": asked.dry_run,
            "sent": sent,
            "refused": len(steps) - sent,
            "letters": [outcome_of(step) for step in steps],
            "cursor": cursor,
        }

    @asynccontextmanager
    async def _box(self) -> AsyncIterator[LetterBox]:
        try:
            async with asyncio.timeout(LOOK_S), self._turn, LetterBox(self._settings) as box:
                yield box
        except TimeoutError as error:
            raise kafka_away(f"Kafka did not give the dead letters within {LOOK_S:.0f} s") from error
        except SettingsError as error:
            raise kafka_away(str(error)) from error
        except UnknownLetterError:
            raise
        except TwinError as error:
            raise kafka_away(str(error)) from error


def kafka_away(text: str) -> ProblemError:
    """503: try again later."""
    return ProblemError(503, "kafka-away", text, headers={"Retry-After": str(RETRY_AFTER_S)})


def wanted_of(query: LettersFilter) -> Wanted:
    """The filter in a request; 422 when its moments are none."""
    moments: dict[str, int | None] = {}
    now_ms = int(time.time() * 1000)
    for name, text in (("since", query.since), ("until", query.until)):
        try:
            moments[name] = parse_moment(text, now_ms) if text else None
        except ValueError as error:
            raise invalid(name, str(error)) from error
    return Wanted(query.stage, query.reason, query.topic, moments["since"], moments["until"], text=query.text)


def _wanted_again(asked: Redrive) -> Wanted | None:
    """The filter of what is to be sent again; None when letters are named."""
    if bool(asked.letters) == (asked.filter is not None):
        raise invalid("letters", "give either letters (partition:offset each), or a filter")
    if asked.filter is None:
        return None
    wanted = wanted_of(asked.filter)
    if wanted.is_all():
        raise invalid(
            "filter", "it lets everything through: name a stage, a reason, a topic, a time or a text"
        )
    return wanted
