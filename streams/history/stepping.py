"""Ticks of live in history, one after the other: what a world that history is loaded into is told."""

from collections.abc import AsyncIterator, Awaitable, Callable

from streams.errors import TooMuchError
from streams.stores import Selection, Store

STRETCH_MS = 120_000
"""[ms] Of history that is read at once; less where that is too much."""

Step = tuple[int, list[tuple[str, str, dict[str, float]]]]
"""Tick [ms since the epoch], and kind, id and values by metric of each entity that closed it."""


async def read_steps(store: Store, start_ms: int, end_ms: int) -> list[Step]:
    """The ticks of live within [start, end), in order.

    Raises:
        TooMuchError: there are more values than one answer may have.
        StoreError: the store is away, refuses or is too slow.
    """
    ticks: dict[int, dict[tuple[str, str], dict[str, float]]] = {}
    for series in await store.read(Selection(start_ms, end_ms)):
        for tick_ms, value in zip(series.times_ms, series.values, strict=True):
            entities = ticks.setdefault(tick_ms, {})
            entities.setdefault((series.kind, series.id), {})[series.metric] = value
    return [
        (tick_ms, [(kind, id, values) for (kind, id), values in sorted(entities.items())])
        for tick_ms, entities in sorted(ticks.items())
    ]


async def each_step(
    read: Callable[[int, int], Awaitable[list[Step]]], start_ms: int, end_ms: int, step_ms: int
) -> AsyncIterator[Step]:
    """The ticks within [start, end), stretch by stretch.

    Args:
        read: gives those between two moments, as `read_steps` does.
        step_ms: [ms] distance of ticks.

    Raises:
        TooMuchError: one step has more values than one answer may have.
        StoreError: the store is away, refuses or is too slow.
    """
    stretch_ms = STRETCH_MS
    while start_ms < end_ms:
        stop_ms = min(end_ms, start_ms + stretch_ms)
        try:
            steps = await read(start_ms, stop_ms)
        except TooMuchError:
            if stretch_ms <= step_ms:
                raise
            stretch_ms //= 2
            continue
        for step in steps:
            yield step
        start_ms = stop_ms
