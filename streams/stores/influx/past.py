"""The newest ticks and the changes in InfluxDB.

The newest tick of an entity is found in all values of a few seconds, or else by the one series of qualities
that it has: to look for the newest of each of its dozen series takes ten times as long.
"""

import asyncio
from collections import Counter
from collections.abc import Mapping
from dataclasses import replace

from streams import stores
from streams.domain.sink import ENTITY_STATE, TICK_QUALITY, read_record
from streams.errors import StoreError
from streams.stores import PastChange, PastTick, Selection
from streams.stores.influx.flux import Node, all_of, any_of, differs, equals, matches
from streams.stores.influx.newest import Key, Newest
from streams.stores.influx.rows import NEWEST, Names, Query, Rows, of_entities, of_kind
from streams.stores.limits import too_much

BULK = 0.05
"""[1] A tick that is the newest of so many of the entities is read with others like it, of all entities."""

BULK_SPAN_MS = 30_000
"""[ms] From the tick that most entities have; all ticks between are read too."""

MAX_NAMED = 200
"""[1] Entities that a query for other ticks names; for more it asks for all."""

RECENT_MS = 15_000
"""[ms] Before the end most entities have their newest tick: to read all that is there is the shortest way."""

HALF = "^[a-l]"
"""Measurements that have about half of the metrics."""

VALUES = differs("_measurement", ENTITY_STATE)
"""Condition: values, and the qualities beside them."""


async def read_ticks(query: Query, bucket: str, names: Names, selection: Selection) -> list[PastTick]:
    """As `Store.read_ticks`."""
    look = _Look(query, bucket, names, Rows(selection))
    if selection.coarse:
        return (await look.newest_of_series()).ticks()
    begin_ms = max(selection.start_ms, selection.end_ms - RECENT_MS)
    recent, marked = await asyncio.gather(
        look.all_between(begin_ms, selection.end_ms), look.marked(selection.start_ms, begin_ms)
    )
    ticks = {(tick.kind, tick.id): tick for tick in recent.ticks()}
    if not ticks and not marked and selection.start_ms < begin_ms:  # written before there were qualities
        return (await look.newest_of_series()).ticks()
    bulk, others = _parted({key: at_ms for key, at_ms in marked.items() if key not in ticks})
    for part, found in (
        (bulk, await look.all_between(min(bulk.values()), max(bulk.values()) + 1) if bulk else None),
        (others, await look.of_others(others) if others else None),
    ):
        for tick in found.ticks() if found else ():
            if part.get((tick.kind, tick.id)) == tick.tick_ms:
                ticks[tick.kind, tick.id] = tick
    return [ticks[key] for key in sorted(ticks)]


class _Look:
    """What is asked for the newest ticks of a selection."""

    def __init__(self, query: Query, bucket: str, names: Names, rows: Rows) -> None:
        self._query, self._bucket, self._names, self._rows = query, bucket, names, rows
        self._conditions = of_entities(rows.selection)

    async def all_between(self, start_ms: int, end_ms: int) -> Newest:
        """The newest of all values from `start_ms` to before `end_ms` [ms since the epoch]."""
        newest = Newest(self._rows, self._names)
        halves = [VALUES]
        if not self._rows.selection.ids:  # InfluxDB answers each query on one core
            halves = [all_of([VALUES, matches("_measurement", HALF, holds=holds)]) for holds in (True, False)]
        await asyncio.gather(*(self._add(newest, half, "", (start_ms, end_ms)) for half in halves))
        return newest

    async def newest_of_series(self) -> Newest:
        """The newest value of each series."""
        newest = Newest(self._rows, self._names)
        await self._add(newest, self._names.condition(()), NEWEST)
        return newest

    async def marked(self, start_ms: int, end_ms: int) -> dict[Key, int]:
        """[ms since the epoch] The newest tick of each entity in the range."""
        found: dict[Key, int] = {}
        conditions = [*self._conditions, equals("_field", TICK_QUALITY)]
        for run in await self._rows.ask(
            self._query, self._bucket, conditions, NEWEST, between=(start_ms, end_ms)
        ):
            key = (run.entity.kind, run.entity.id)
            found[key] = max(found.get(key, 0), *run.times_ms)
        return found

    async def of_others(self, others: Mapping[Key, int]) -> Newest:
        """The newest values of entities whose ticks are far from each other."""
        newest = Newest(self._rows, self._names)
        wanted = VALUES
        if len(others) <= MAX_NAMED:
            wanted = all_of([VALUES, any_of(of_kind(kind, (id,)) for kind, id in others)])
        await self._add(newest, wanted, NEWEST, (min(others.values()), max(others.values()) + 1))
        return newest

    async def _add(
        self, newest: Newest, wanted: Node, end: str, between: tuple[int, int] | None = None
    ) -> None:
        conditions = [*self._conditions, wanted]
        newest.add(await self._rows.tables(self._query, self._bucket, conditions, end, between=between))


def _parted(marked: Mapping[Key, int]) -> tuple[dict[Key, int], dict[Key, int]]:
    """Those whose ticks many have, close together; and the others."""
    counts = Counter(marked.values())
    most_ms = counts.most_common(1)[0][0] if counts else 0
    bulk_ms = {
        tick_ms
        for tick_ms, count in counts.items()
        if count >= BULK * len(marked) and abs(tick_ms - most_ms) <= BULK_SPAN_MS
    }
    bulk = {key: tick_ms for key, tick_ms in marked.items() if tick_ms in bulk_ms}
    return bulk, {key: tick_ms for key, tick_ms in marked.items() if key not in bulk}


async def read_changes(
    query: Query, bucket: str, coarse: str, selection: Selection, *, newest: bool
) -> list[PastChange]:
    """As `Store.read_changes`; for the newest it looks beyond the retention of the bucket too."""
    if newest and not selection.coarse:
        found, kept = await asyncio.gather(
            _changes(query, bucket, selection, newest=True), _kept(query, coarse, selection)
        )
        if gone := kept - {key[:2] for key in found}:
            ids = tuple(sorted({id for _, id in gone})) if len(gone) <= MAX_NAMED else selection.ids
            old = await _changes(query, coarse, replace(selection, ids=ids), newest=True)
            found |= {key: change for key, change in old.items() if key[:2] in gone}
    else:
        found = await _changes(query, coarse if selection.coarse else bucket, selection, newest=newest)
    changes = [found[key] for key in sorted(found)]
    if newest:
        return list({(one.kind, one.id): one for one in changes}.values())
    if len(changes) > stores.MAX_POINTS:
        raise too_much("changes")
    return changes


async def _kept(query: Query, coarse: str, selection: Selection) -> set[Key]:
    """The entities of which the coarse bucket has a change; the change itself would take twice as long."""
    try:
        runs = await Rows(selection).ask(query, coarse, _of_changes(selection, "removed"), NEWEST)
    except StoreError as error:
        if error.status == 404:  # a token that may not make it, and nobody who did
            return set()
        raise
    return {(run.entity.kind, run.entity.id) for run in runs}


async def _changes(
    query: Query, bucket: str, selection: Selection, *, newest: bool
) -> dict[tuple[str, str, int], PastChange]:
    runs = await Rows(selection).ask(
        query,
        bucket,
        _of_changes(selection, "record"),
        NEWEST if newest else "",
        limit=None if newest else stores.MAX_POINTS,
    )
    changes: dict[tuple[str, str, int], PastChange] = {}
    for run in runs:
        for at_ms, text in zip(run.times_ms, run.texts, strict=True):
            if (told := read_record(text)) is not None:
                changes[run.entity.kind, run.entity.id, at_ms] = PastChange(*run.entity, at_ms, *told)
    return changes


def _of_changes(selection: Selection, field: str) -> list[Node]:
    """Conditions: one field of changes of the selection's entities."""
    return [*of_entities(selection), equals("_measurement", ENTITY_STATE), equals("_field", field)]
