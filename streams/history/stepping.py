"""Ticks of live in history, one after the other: what a world that history is loaded into is told."""

from streams.stores import Selection, Store

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
