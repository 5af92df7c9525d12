"""A world as of a moment, for every route that takes `at`; read once, however many ask for it."""

import asyncio
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable

from fastapi import Request

from streams.domain.commands import follows_clock
from streams.domain.times import moment_text, parse_moment
from streams.history.past import Past, read_past
from streams.replica.past import PastView, past_view
from streams.replica.view import WorldView
from streams.replica.worlds import LIVE, OVERLAY
from streams.settings import Settings
from streams.web.access.principal import principal_of
from streams.web.live import LiveTwin, caught_up, world_view
from streams.web.past import history_of, history_problems
from streams.web.problems import ProblemError, invalid

VIEWS = 16
"""[1] Moments that are kept, and"""

ENTITIES = 50_000
"""[1] the entities in all of them: some 100 MB."""

SETTLED_MS = 120_000
"""[ms] What is older closes no tick any more: a tick waits 60 s at most, and the sink a few."""

FRESH_S = 5.0
"""[s] How long a younger moment is kept."""


class Moments:
    """Pasts that were read lately, by world and moment."""

    def __init__(self, now_s: Callable[[], float] = time.monotonic) -> None:
        self._now_s = now_s
        self._kept: OrderedDict[tuple[str, int], tuple[PastView, int, float]] = OrderedDict()
        self._reading: dict[tuple[str, int], asyncio.Task[tuple[PastView, int]]] = {}

    async def view(
        self, world: str, at_ms: int, now_ms: int, read: Callable[[], Awaitable[Past]]
    ) -> tuple[PastView, int]:
        """A world as of a moment, and [1] entities of its own; read if nobody has done so."""
        key = (world, at_ms)
        kept = self._kept.get(key)
        if kept is not None and self._now_s() < kept[2]:
            self._kept.move_to_end(key)
            return kept[:2]
        reading = self._reading.get(key)
        if reading is None:
            reading = self._reading[key] = asyncio.create_task(_view(read), name=f"past of {world}")
            reading.add_done_callback(lambda task: self._keep(key, now_ms - at_ms, task))
        return await asyncio.shield(reading)  # others wait for it, too

    def _keep(self, key: tuple[str, int], age_ms: int, task: asyncio.Task[tuple[PastView, int]]) -> None:
        del self._reading[key]
        if task.cancelled() or task.exception() is not None:
            return
        until_s = float("inf") if age_ms > SETTLED_MS else self._now_s() + FRESH_S
        self._kept[key] = (*task.result(), until_s)
        self._kept.move_to_end(key)
        while len(self._kept) > VIEWS or (
            len(self._kept) > 1 and sum(len(view) for view, _, _ in self._kept.values()) > ENTITIES
        ):
            self._kept.popitem(last=False)


async def view_at(request: Request, world: str, at: str | None, field: str = "at") -> WorldView:
    """The entities of a world as they are, or as of a moment.

    Args:
        request: who asks.
        world: its name.
        at: the moment (`streams.domain.times.parse_moment`), by the time of the world; None: now.
        field: where the moment stands in the request.

    Raises:
        ProblemError: 404, there is no such world, or was none then; 422, the moment is none or is to come;
            503, the replica or the history is away.
    """
    if at is None:
        return world_view(request, world)
    return await past_at(request, world, moment_of(request, world, at, field))


def check_world(request: Request, world: str, field: str = "world") -> None:
    """Raise 404 unless who asks would see a world, be it there or not."""
    twin: LiveTwin = request.app.state.twin
    who = principal_of(request)
    if not who.sees_world(world):
        twin.view_of(world, field, who)


def moment_of(request: Request, world: str, text: str, field: str = "at") -> int:
    """[ms since the epoch] The moment that a text names, in the time of a world.

    Raises:
        ProblemError: 422, it names none, or one that is to come.
    """
    check_world(request, world)
    now_ms = world_now_ms(request, world)
    try:
        at_ms = parse_moment(text, now_ms)
    except ValueError as error:
        raise invalid(field, str(error)) from error
    if at_ms > now_ms:
        ahead = f"{(at_ms - now_ms) / 1000:g} s after the time of world {world}"
        raise invalid(field, f"{text!r} is to come: it is {ahead}")
    return max(0, at_ms)


def exactly(at_ms: int) -> str:
    """The text that `moment_of` reads as this moment."""
    return f"{at_ms:09}"


async def past_at(request: Request, world: str, at_ms: int) -> PastView:
    """The entities of a world as of a moment; see `view_at`."""
    who = principal_of(request)
    check_world(request, world)
    settings: Settings = request.app.state.twin.settings
    moments: Moments = request.app.state.moments
    pool = history_of(request)

    async def read() -> Past:
        return await pool.run(read_past, world, at_ms, settings.remove_after_ms, step_of(request, world))

    with history_problems():
        view, own = await moments.view(world, at_ms, world_now_ms(request, world), read)
    if not own and world != LIVE:
        _check_was_there(request, world, at_ms)
    return view.of_kinds(who.kinds)


def world_now_ms(request: Request, world: str) -> int:
    """[ms since the epoch] Now, in the time of a world; that of the clock if the world is not there."""
    clock_ms = world_clock_ms(request, world)
    return int(time.time() * 1000) if clock_ms is None else clock_ms


def world_clock_ms(request: Request, world: str) -> int | None:
    """[ms since the epoch] The time of an isolated world that is there; None for others."""
    return None if follows_clock(world) else _number(request, world, "clock_ms")


def step_of(request: Request, world: str) -> int:
    """[ms] Distance of the ticks of a world."""
    settings: Settings = request.app.state.twin.settings
    return (None if follows_clock(world) else _number(request, world, "step_ms")) or settings.step_ms


def _number(request: Request, world: str, name: str) -> int | None:
    twin: LiveTwin = request.app.state.twin
    view = twin.source.view_of(world)
    try:
        return None if view is None else int(view["world", world]["attributes"][name])
    except (KeyError, ValueError):
        return None


def _check_was_there(request: Request, world: str, at_ms: int) -> None:
    """Raise 404 unless the world is there now, and was then as far as is known."""
    twin = caught_up(request)
    created_ms = _number(request, world, "created_ms")
    twin.view_of(world)
    if world.startswith(OVERLAY) and created_ms is not None and at_ms < created_ms:
        raise ProblemError(
            404,
            "unknown-world",
            f"world {world} was made at {moment_text(created_ms)}: before, there is only live",
            field="at",
        )


async def _view(read: Callable[[], Awaitable[Past]]) -> tuple[PastView, int]:
    past = await read()
    return await past_view(past), past.own
