"""A world as of a moment, for commands: read from the history store in their own process."""

import time

from streams.errors import TwinError
from streams.history.past import LIVE, moment_in, read_past
from streams.replica.past import PastView, past_view
from streams.settings import Settings
from streams.tools.opened import opened_store


async def past_of(settings: Settings, world: str, at: str) -> PastView:
    """The entities of a world as of a moment such as `-2m` or `2026-11-24T03:12:00Z`.

    Raises:
        TwinError: the moment is none, or is to come; history knows nothing of the world; the store is away.
    """
    at_ms = read_moment(world, at, int(time.time() * 1000))
    async with opened_store(settings) as store:
        past = await read_past(store, world, at_ms, settings.remove_after_ms, settings.step_ms)
    if not past.own and world != LIVE:
        raise TwinError(
            f"history knows nothing of a world {world} as of then: `twin world list` names those of now"
        )
    return await past_view(past)


def read_moment(world: str, text: str, now_ms: int) -> int:
    """[ms since the epoch] The moment of a world that a text names.

    Raises:
        TwinError: it names none, or one that is to come.
    """
    try:
        return moment_in(world, text, now_ms)
    except ValueError as error:
        raise TwinError(str(error)) from error
