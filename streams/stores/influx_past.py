"""The newest ticks and the changes in InfluxDB.

The newest tick of an entity is found by the one series of `tick` that it has, and its values are read at just
that moment: to look for the newest of each of its dozen series takes ten times as long.
"""

import asyncio
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import NamedTuple

from streams import stores
from streams.domain.sink import ENTITY_STATE, TICK
from streams.errors import StoreError
from streams.stores import PastChange, PastTick, Selection
from streams.stores.flux import any_of, differs, equals, matches
from streams.stores.influx_csv import too_much
from streams.stores.influx_rows import NEWEST, Entity, Names, Query, Rows, Run, of_entities, of_kind

BULK = 0.05
"""[1] A tick that is the newest of so many of the entities is read with others like it, of all entities."""

BULK_SPAN_MS = 30_000
"""[ms] From the tick that most entities have; all ticks between are read too."""

MAX_NAMED = 200
"""[1] Entities that a query for other ticks names; for more it asks for all."""

RECENT_MS = 20_000
"""[ms] Before the end most entities have their newest tick: to read all of `tick` costs less than `last`."""

HALF = "^[a-l]"
"""Measurements that have about half of the metrics."""

OF_A_TICK = (
    differs("_measurement", ENTITY_STATE),
    any_of([differs("_measurement", TICK), equals("_field", "quality")]),
)
"""Conditions: values, and their qualities."""

FIELDS = 4
"""[1] Of a change; each is a row."""

Key = tuple[str, str]
"""Kind and id."""


class Found(NamedTuple):
    """The newest tick of an entity."""

    tick_ms: int
    complete: bool
    entity: Entity


async def read_ticks(query: Query, bucket: str, names: Names, selection: Selection) -> list[PastTick]:
    """As `Store.read_ticks`."""
    if selection.coarse:
        return await _without_tick(query, bucket, names, selection)
    rows = Rows(selection)
    begin_ms = max(selection.start_ms, selection.end_ms - RECENT_MS)
    found = await _newest(query, bucket, rows, (begin_ms, selection.end_ms), "")
    bulk, others = _parted(found)
    runs, old = await asyncio.gather(
        _at_ticks(query, bucket, rows, bulk),
        _newest(query, bucket, rows, (selection.start_ms, begin_ms), NEWEST),
    )
    if not found and not old:
        return await _without_tick(query, bucket, names, selection)
    others |= {key: one for key, one in old.items() if key not in found}
    return _ticks(rows, names, bulk | others, runs + await _of_others(query, bucket, rows, others))


def _ticks(rows: Rows, names: Names, found: Mapping[Key, Found], runs: Iterable[Run]) -> list[PastTick]:
    values: dict[Key, dict[str, float]] = {key: {} for key in found}
    qualities: dict[Key, list[int]] = {}
    for run in runs:
        key = (run.entity.kind, run.entity.id)
        if key not in found or found[key].tick_ms not in run.times_ms:
            continue
        text = run.texts[run.times_ms.index(found[key].tick_ms)]
        if run.measurement == TICK:
            qualities[key] = [int(digit) for digit in text]
        elif (metric := rows.metric(names, run)) is not None:
            values[key][metric] = float(text)
    return [
        _tick(one.entity, one.tick_ms, one.complete, values[key], qualities.get(key))
        for key, one in sorted(found.items())
        if values[key]
    ]


async def _newest(
    query: Query, bucket: str, rows: Rows, between: tuple[int, int], end: str
) -> dict[Key, Found]:
    conditions = [*of_entities(rows.selection), equals("_measurement", TICK), equals("_field", "complete")]
    found: dict[Key, Found] = {}
    for run in await rows.ask(query, bucket, conditions, end, between=between):
        key = (run.entity.kind, run.entity.id)
        tick_ms, text = max(zip(run.times_ms, run.texts, strict=True))
        if key not in found or found[key].tick_ms < tick_ms:
            found[key] = Found(tick_ms, text == "true", run.entity)
    return found


async def _at_ticks(query: Query, bucket: str, rows: Rows, bulk: Mapping[Key, Found]) -> list[Run]:
    """All between the first and the last of the ticks; in two queries, as InfluxDB reads each on one core."""
    if not bulk:
        return []
    moments = [one.tick_ms for one in bulk.values()]
    conditions = [*of_entities(rows.selection), *OF_A_TICK]
    between = (min(moments), max(moments) + 1)
    if len(bulk) < MAX_NAMED:
        return await rows.ask(query, bucket, conditions, between=between)
    halves = await asyncio.gather(
        *(
            rows.ask(query, bucket, [*conditions, half], between=between)
            for half in (matches("_measurement", HALF), matches("_measurement", HALF, holds=False))
        )
    )
    return halves[0] + halves[1]


async def _of_others(query: Query, bucket: str, rows: Rows, others: Mapping[Key, Found]) -> list[Run]:
    if not others:
        return []
    moments = [one.tick_ms for one in others.values()]
    conditions = [*of_entities(rows.selection), *OF_A_TICK]
    if len(others) <= MAX_NAMED:
        conditions.append(any_of(of_kind(kind, (id,)) for kind, id in others))
    between = (min(moments), max(moments) + 1)
    return await rows.ask(query, bucket, conditions, NEWEST, between=between)


def _parted(found: Mapping[Key, Found]) -> tuple[dict[Key, Found], dict[Key, Found]]:
    """Those whose ticks many have, close together; and the others."""
    counts = Counter(one.tick_ms for one in found.values())
    most_ms = counts.most_common(1)[0][0] if counts else 0
    bulk_ms = {
        tick_ms
        for tick_ms, count in counts.items()
        if count >= BULK * len(found) and abs(tick_ms - most_ms) <= BULK_SPAN_MS
    }
    bulk = {key: one for key, one in found.items() if one.tick_ms in bulk_ms}
    return bulk, {key: one for key, one in found.items() if key not in bulk}


async def _without_tick(query: Query, bucket: str, names: Names, selection: Selection) -> list[PastTick]:
    """From the values alone: of the coarse bucket, and of what was written before there was `tick`."""
    rows = Rows(selection)
    conditions = [*of_entities(selection), names.condition(())]
    newest: dict[Key, tuple[int, Entity, dict[str, float]]] = {}
    for run in await rows.ask(query, bucket, conditions, NEWEST):
        metric = rows.metric(names, run)
        key = (run.entity.kind, run.entity.id)
        at_ms = newest[key][0] if key in newest else -1
        if metric is None or run.times_ms[-1] < at_ms:
            continue
        if run.times_ms[-1] > at_ms:
            newest[key] = (run.times_ms[-1], run.entity, {})
        newest[key][2][metric] = float(run.texts[-1])
    return [_tick(entity, at_ms, None, values, None) for _, (at_ms, entity, values) in sorted(newest.items())]


def _tick(
    entity: Entity, tick_ms: int, complete: bool | None, values: dict[str, float], marks: list[int] | None
) -> PastTick:
    names = sorted(values)
    # A value that InfluxDB refused has a quality all the same.
    qualities = marks if marks is not None and len(marks) == len(names) else None
    return PastTick(*entity, tick_ms, complete, names, [values[name] for name in names], qualities)


async def read_changes(
    query: Query, bucket: str, coarse: str, selection: Selection, *, newest: bool
) -> list[PastChange]:
    """As `Store.read_changes`; for the newest it looks beyond the retention of the bucket too."""
    if newest and not selection.coarse:
        near, far = await asyncio.gather(
            _changes(query, bucket, selection, newest=True), _old(query, coarse, selection)
        )
        found = far | near
    else:
        found = await _changes(query, coarse if selection.coarse else bucket, selection, newest=newest)
    changes = [found[key] for key in sorted(found)]
    if newest:
        return list({(one.kind, one.id): one for one in changes}.values())
    if len(changes) > stores.MAX_POINTS:
        raise too_much(stores.MAX_POINTS)
    return changes


async def _old(query: Query, coarse: str, selection: Selection) -> dict[tuple[str, str, int], PastChange]:
    try:
        return await _changes(query, coarse, replace(selection, coarse=True), newest=True)
    except StoreError as error:
        if error.status == 404:  # a token that may not make it, and nobody who did
            return {}
        raise


async def _changes(
    query: Query, bucket: str, selection: Selection, *, newest: bool
) -> dict[tuple[str, str, int], PastChange]:
    conditions = [*of_entities(selection), equals("_measurement", ENTITY_STATE)]
    runs = await Rows(selection).ask(
        query,
        bucket,
        conditions,
        NEWEST if newest else "",
        limit=None if newest else stores.MAX_POINTS * FIELDS,
    )
    fields: dict[tuple[str, str, int], tuple[Entity, dict[str, str]]] = {}
    for run in runs:
        for at_ms, text in zip(run.times_ms, run.texts, strict=True):
            key = (run.entity.kind, run.entity.id, at_ms)
            fields.setdefault(key, (run.entity, {}))[1][run.field] = text
    return {
        key: PastChange(
            *entity,
            key[2],
            told.get("status", ""),
            told.get("reason", ""),
            told.get("attributes", "{}"),
            told.get("removed") == "true",
        )
        for key, (entity, told) in fields.items()
        if "removed" in told  # which each change has; the newest reason may be that of an older one
    }
