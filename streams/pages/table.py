"""The table of all entities."""

from collections import Counter

from fastapi import Request
from nicegui import ui

from streams.domain.commands import follows_clock
from streams.pages.livegrid import LiveGrid
from streams.pages.shell import View, frame
from streams.web.problems import ProblemError
from streams.web.state import KINDS

COUNT_S = 3.0
"""[s] Between counts of the entities by kind."""


@ui.page("/")
async def show(request: Request) -> None:
    """One row an entity."""
    with frame(request, "Table") as view:
        grid = LiveGrid(
            view.world,
            view.at,
            has_clock=not follows_clock(view.world),
            metrics=view.catalogue,
            kinds=KINDS,
        )
        view.on_moment(lambda: grid.look_at(view.at))
        told: Counter[str] | None = None

        async def count() -> None:
            nonlocal told
            counts = await _counts(view)
            if counts is not None and counts != told:
                told = counts
                grid.set_counts(counts)

        ui.timer(COUNT_S, count)


async def _counts(view: View) -> Counter[str] | None:
    """How many entities of each kind there are; None when that is not known now: the stream says why."""
    try:
        entities = await view.entities()
    except ProblemError:
        return None
    return Counter(key.split(b"/", 2)[1].decode() for key, _ in entities.records())
