"""Where the values of a question are read: in which place of the store, of which entities, and how much."""

from collections.abc import Iterator
from dataclasses import dataclass

from streams import stores
from streams.errors import TooMuchError
from streams.history.query import Facts, HistoryQuery, QueryError, too_much
from streams.stores import PastChange, Selection, Series, Store, Window

LONG_MS = 2 * 86_400_000
"""[ms] From here on means are had from the coarse place, if they can be."""

MAX_HOLES = 8
"""[1] That are filled, the longest first: each is a read."""

IDS_AT_ONCE = 500
"""[1] Ids of one read: each is a part of the store's query."""

Entity = tuple[str, str]
"""Kind and id."""

Key = tuple[str, str, str]
"""Kind, id and metric."""


@dataclass(frozen=True, slots=True)
class Source:
    """Reads values of a question.

    Args:
        coarse_ms: [ms] distance of the means that are read instead of values; None: values are read.
        turn_ms: [ms since the epoch] from here on values are read all the same, as means come late.
        kept_ms: [ms since the epoch] from here on there are values, which fill holes between the means.
        wanted: the entities that are meant, or None for all of the question's kinds and ids.
    """

    store: Store
    query: HistoryQuery
    coarse_ms: int | None = None
    turn_ms: int = 0
    kept_ms: int = 0
    wanted: frozenset[Entity] | None = None

    async def read(self, window: Window | None = None) -> dict[Key, Series]:
        """What `Store.read` answers, of all places and entities; in order of kind, id and metric.

        Raises:
            TooMuchError: with the number that is allowed, and how to ask for less.
            StoreError: the store is away, refuses or is too slow.
        """
        query, found = self.query, dict[Key, Series]()
        if self.coarse_ms is None:
            await self._add(found, query.start_ms, query.end_ms, window)
        else:
            turn_ms = min(max(self.turn_ms, query.start_ms), query.end_ms)
            await self._add(found, query.start_ms, turn_ms, window, coarse=True)
            for start_ms, end_ms in self._holes(found, turn_ms):
                await self._add(found, start_ms, end_ms, window)
            await self._add(found, turn_ms, query.end_ms, window)
        return dict(sorted(found.items()))

    async def _add(
        self,
        found: dict[Key, Series],
        start_ms: int,
        end_ms: int,
        window: Window | None,
        *,
        coarse: bool = False,
    ) -> None:
        if start_ms >= end_ms:
            return
        query = self.query
        count = sum(len(series.values) for series in found.values())
        for ids in self._ids():
            selection = Selection(start_ms, end_ms, query.world, query.kinds, ids, query.metrics, coarse)
            try:
                part = await self.store.read(selection, window)
            except TooMuchError as error:
                raise too_much() from error
            count += sum(len(series.values) for series in part)
            if count > stores.MAX_POINTS:
                raise too_much()
            for series in part:
                if self.wanted is None or (series.kind, series.id) in self.wanted:
                    key = series.kind, series.id, series.metric
                    found[key] = _joined(found[key], series) if key in found else series

    def _holes(self, found: dict[Key, Series], turn_ms: int) -> list[tuple[int, int]]:
        """Ranges in which no entity has a mean, as when history was loaded later, but may have values."""
        start_ms, every_ms = max(self.query.start_ms, self.kept_ms), self.query.every_ms
        if every_ms is None or self.coarse_ms is None or every_ms % self.coarse_ms:
            return []
        present = {at_ms for series in found.values() for at_ms in series.times_ms}
        holes: list[tuple[int, int]] = []
        for window_ms in range(start_ms // every_ms * every_ms, turn_ms, every_ms):
            if window_ms not in present:
                begin_ms, end_ms = max(start_ms, window_ms), min(turn_ms, window_ms + every_ms)
                if holes and holes[-1][1] == begin_ms:
                    begin_ms = holes.pop()[0]
                holes.append((begin_ms, end_ms))
        return sorted(holes, key=lambda hole: hole[0] - hole[1])[:MAX_HOLES]

    def _ids(self) -> Iterator[tuple[str, ...]]:
        ids = self.query.ids
        if self.wanted is not None:
            ids = tuple(sorted({id for _, id in self.wanted}))
        elif not ids:
            yield ()
        for start in range(0, len(ids), IDS_AT_ONCE):
            yield ids[start : start + IDS_AT_ONCE]


async def open_source(store: Store, query: HistoryQuery, facts: Facts) -> Source:
    """The source of a question's values.

    Raises:
        QueryError: it selects by attributes, which the store does not hold.
        TooMuchError, StoreError: as `Store.read_changes`.
    """
    wanted = await find_entities(store, query) if query.labels else None
    coarse_ms = store.coarse_ms if _is_coarse(store, query, facts) else None
    turn_ms = query.end_ms
    if coarse_ms is not None and query.every_ms is not None:
        turn_ms = (facts.now_ms - 2 * coarse_ms) // query.every_ms * query.every_ms
    kept_ms = facts.now_ms - facts.retention_ms if facts.retention_ms else 0
    return Source(store, query, coarse_ms, turn_ms, kept_ms, wanted)


async def find_entities(store: Store, query: HistoryQuery) -> frozenset[Entity]:
    """The entities that have the attributes of a question, or had them when they were removed."""
    unheld = [name for name, _ in query.labels if name != "nodepool" and "text" not in store.holds]
    if unheld:
        raise QueryError(
            "labels",
            f"{store.label} holds numbers only: of attributes it knows nodepool, and not {', '.join(unheld)};"
            " name ids instead",
        )
    found: set[Entity] = set()
    for change in await newest_changes(store, query):
        attributes = attributes_of(change)
        if all(attributes.get(name) == value for name, value in query.labels):
            found.add((change.kind, change.id))
    return frozenset(found)


async def newest_changes(store: Store, query: HistoryQuery) -> list[PastChange]:
    """The newest change of each entity of a question's kinds and ids, before its end."""
    selection = Selection(0, query.end_ms, query.world, query.kinds, query.ids)
    return await store.read_changes(selection, newest=True)


def attributes_of(change: PastChange) -> dict[str, str]:
    """The attributes of an entity after a change, as far as the store holds them."""
    named = change.named_attributes
    # A pool is in itself: it is found by its own name.
    return {"nodepool": change.nodepool, **named} if change.nodepool else named


def _is_coarse(store: Store, query: HistoryQuery, facts: Facts) -> bool:
    if store.coarse_ms is None:
        return False
    if facts.retention_ms and query.start_ms < facts.now_ms - facts.retention_ms:
        return True
    return (
        query.end_ms - query.start_ms > LONG_MS
        and query.function == "mean"
        and query.every_ms is not None
        and query.every_ms % store.coarse_ms == 0
    )


def _joined(first: Series, then: Series) -> Series:
    """A series of other parts of the range, whose pool is that of the newest value."""
    newest = max(first, then, key=lambda one: one.times_ms[-1])
    points = sorted(zip(first.times_ms + then.times_ms, first.values + then.values, strict=True))
    return newest._replace(times_ms=[at for at, _ in points], values=[value for _, value in points])
