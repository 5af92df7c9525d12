"""Reads what the charts of an entity show, through the pool that reads history."""

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass, field

from fastapi import Request

from streams.domain.commands import is_overlay
from streams.domain.times import parse_moment
from streams.history.asking import ask
from streams.history.query import Answer, Facts, HistoryQuery, QueryError
from streams.history.standing import LIVE, read_standing
from streams.pages.plots import POINTS, Point, broken, window_ms
from streams.settings import Settings
from streams.stores import PastChange
from streams.web.moment import step_of
from streams.web.past import history_of, history_problems
from streams.web.problems import invalid

Name = tuple[str, bool]
"""A metric, and whether it is that of live, over which a what-if lies."""


@dataclass
class Lines:
    """Points by line, and what is to be known about them.

    Args:
        distance_ms: [ms] usual distance of two points.
        every_ms: [ms] length of windows; None: the values of the ticks.
    """

    points: dict[Name, list[Point]] = field(default_factory=dict)
    distance_ms: int = 0
    every_ms: int | None = None
    note: str = ""


async def read_lines(
    request: Request, world: str, entity: tuple[str, str], metrics: Sequence[str], start_ms: int, end_ms: int
) -> Lines:
    """Values of an entity over a range, at most some 500 for each line; of an overlay live's beside its own.

    Raises:
        ProblemError: there is no store, it is away, or a metric is unknown to it.
    """
    step_ms = step_of(request, world)
    every_ms = window_ms(end_ms - start_ms, step_ms)
    settings: Settings = request.app.state.twin.settings
    facts = Facts(
        request.app.state.rulebook.catalogue.units(),
        step_ms,
        settings.history_retention_ms,
        int(time.time() * 1000),
    )
    pool = history_of(request)

    async def one(of_world: str) -> Answer:
        query = HistoryQuery(
            start_ms,
            end_ms,
            world=of_world,
            kinds=(entity[0],),
            ids=(entity[1],),
            metrics=tuple(metrics),
            every_ms=every_ms,
            limit=len(metrics) * (POINTS + 10),
        )
        with history_problems():
            try:
                return await pool.run(ask, query, facts)
            except QueryError as error:
                raise invalid(error.field, str(error)) from error

    if not is_overlay(world):
        answers = {False: await one(world)}
    else:
        base, own = await asyncio.gather(one(LIVE), one(world))
        answers = {True: base, False: own}
    return _lines(answers, every_ms)


def _lines(answers: dict[bool, Answer], every_ms: int | None) -> Lines:
    distance_ms = max(answer.resolution_ms for answer in answers.values())
    lines = Lines(distance_ms=distance_ms, every_ms=every_ms)
    for is_base, answer in answers.items():
        for one in answer.series:
            lines.points[one.metric, is_base] = broken(one.times_ms, one.values, distance_ms)
    # That an overlay has no values of its own is no news: what it does not change is live's.
    lines.note = answers.get(True, answers[False]).note
    return lines


async def read_changes(
    request: Request, world: str, entity: tuple[str, str], start_ms: int, end_ms: int
) -> list[PastChange]:
    """Changes of an entity over a range, with the one from which it begins.

    Raises:
        ProblemError: there is no store, or it is away.
    """
    pool = history_of(request)
    with history_problems():
        return await pool.run(read_standing, world, *entity, start_ms, end_ms)


def moment_or_none(text: str | None, now_ms: int) -> int | None:
    """[ms since the epoch] The moment that is looked at; None: now, or none that can be meant.

    What is wrong with it the page says where it reads the entities.
    """
    try:
        return parse_moment(text, now_ms) if text else None
    except ValueError:
        return None
