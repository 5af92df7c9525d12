"""`world.load` of a range: history is sent into a world tick by tick, while the API goes on."""

import asyncio
import time
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import structlog

from streams.domain.catalogue import Catalogue
from streams.domain.times import moment_text
from streams.errors import TwinError
from streams.events.models import EVENT, AnyEvent, LoadWorld, WorldLoad
from streams.history.pool import HistoryPool
from streams.history.stepping import Step, each_step, read_steps
from streams.web.fromlive import KINDS, chunked, set_event, within
from streams.web.live import LiveTwin
from streams.web.outbox import Outbox
from streams.web.problems import ProblemError

MAX_RANGE_MS = 86_400_000
"""[ms] Longest range."""

APPEARS_S = 10.0
"""[s] In which a world that was made just before is there."""

LOOK_S = 0.1
"""[s] Between looks whether it is."""

log = structlog.get_logger(__name__)


def check_range(body: LoadWorld, place: str) -> None:
    """Raise ProblemError unless the moments lie behind us, in order, and not too far apart."""
    now_ms = int(time.time() * 1000)
    for name, moment_ms in (("from_ms", body.from_ms), ("to_ms", body.to_ms)):
        if moment_ms is not None and moment_ms > now_ms:
            text = f"{moment_text(moment_ms)} is to come: history ends now"
            raise ProblemError(422, "invalid-event", text, field=f"{place}body.{name}")
    if body.to_ms is not None and not 0 < body.to_ms - body.from_ms <= MAX_RANGE_MS:
        text = f"must be after from_ms, and at most {MAX_RANGE_MS // 3_600_000} h later"
        raise ProblemError(422, "invalid-event", text, field=f"{place}body.to_ms")


class Loads:
    """The ranges of history that are being sent into worlds.

    Args:
        twin: says where the clock of a world is.
        history: None when none is configured.
    """

    def __init__(
        self, twin: LiveTwin, outbox: Outbox, history: HistoryPool | None, catalogue: Catalogue
    ) -> None:
        self._twin = twin
        self._outbox = outbox
        self._history = history
        self._catalogue = catalogue
        self._tasks: set[asyncio.Task[None]] = set()

    def begin(self, event: WorldLoad) -> None:
        """Send what follows the first moment of a range, at the speed that the event asks for."""
        task = asyncio.create_task(self._see_through(event), name=f"history into {event.world}")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def stop(self) -> None:
        """Leave what is under way where it is."""
        for task in list(self._tasks):
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task

    async def _see_through(self, event: WorldLoad) -> None:
        try:
            ticks = await self._send(event)
        except (TwinError, ProblemError) as error:
            log.warning(
                "history was not loaded to its end", world=event.world, load=event.id, error=str(error)
            )
        else:
            log.info("history is loaded", world=event.world, load=event.id, ticks=ticks)

    async def _send(self, event: WorldLoad) -> int:
        clock_ms = await self._clock_ms(event.world)
        body, begun_s, ticks = event.body, time.monotonic(), 0
        end_ms, step_ms = (body.to_ms or body.from_ms) + 1, self._twin.settings.step_ms
        async for step in each_step(self._read, body.from_ms + 1, end_ms, step_ms):
            due_s = begun_s + (step[0] - body.from_ms) / 1000 / body.speed
            await asyncio.sleep(max(0.0, due_s - time.monotonic()))
            await self._outbox.send(list(self._events(event, step, clock_ms + step[0] - body.from_ms)))
            ticks += 1
        return ticks

    async def _read(self, start_ms: int, stop_ms: int) -> list[Step]:
        if self._history is None:
            raise TwinError("TWIN_HISTORY_URL is not set for `twin web`")
        steps: list[Step] = await self._history.run(read_steps, start_ms, stop_ms)
        return steps

    def _events(self, source: WorldLoad, step: Step, at_ms: int) -> Iterator[AnyEvent]:
        """What a world is told of one tick: the values, and that its time is come."""
        entities: list[dict[str, Any]] = [
            {
                "kind": kind,
                "id": id,
                "metrics": {
                    name: within(value, self._catalogue[name])
                    for name, value in values.items()
                    if name in self._catalogue
                },
            }
            for kind, id, values in step[1]
            if kind in KINDS
        ]
        sent = source.model_copy(update={"id": f"{source.id}+{step[0]}"})
        for place, chunk in enumerate(chunked(entities), 1):
            yield set_event(sent, place, chunk, at_ms, "body.from_ms")
        yield EVENT.validate_python(
            {
                "id": f"{sent.id}+advance",
                "type": "world.advance",
                "world": source.world,
                "sender": source.sender,
                "at_ms": source.at_ms,
                "body": {"to_ms": at_ms},
            }
        )

    async def _clock_ms(self, world: str) -> int:
        """[ms since the epoch] The clock of an isolated world, once it is there."""
        deadline_s = time.monotonic() + APPEARS_S
        while True:
            view = self._twin.source.view_of(world)
            record = view.get(("world", world)) if view is not None else None
            if record is not None and "clock_ms" in record["attributes"]:
                return int(record["attributes"]["clock_ms"])
            if time.monotonic() > deadline_s:
                raise TwinError(f"world {world} is not there, or has no clock of its own")
            await asyncio.sleep(LOOK_S)
