"""Reads history by PromQL: values, newest ticks and changes, from VictoriaMetrics or Prometheus."""

import asyncio

from streams.stores import PastChange, PastTick, Selection, Series, Window
from streams.stores.promql.api import Found, bounded, within_time
from streams.stores.promql.join import fold, is_simulated, join, newest_of
from streams.stores.promql.names import (
    REMOVED,
    STATE_SERIES,
    Entity,
    SeriesNames,
    entity_of,
    match,
    selector,
    status_of,
)
from streams.stores.promql.targets import PromSelect
from streams.stores.promql.windows import PromWindows, Server, evaluate

RECENT_MS = 15_000
"""[ms] Where the newest ticks are looked for first: nearly all entities have one there."""

SLICE_MS = 60_000
"""[ms] Ticks of so long a time are read for those that have none there."""

SLICES = 60
"""[1] Parts of a longer time, of which the newest with a tick is found before."""

EARLIEST_MS = 31_536_000_000
"""[ms since the epoch] Nothing newest is looked for before 1971: VictoriaMetrics finds nothing in a range
that begins before 1970, be it by rounding."""

NAME_OF_CHANGES = match("__name__", (STATE_SERIES,))
"""A matcher of the changes."""


class PromReader:
    """Answers the questions of `Store`."""

    def __init__(self, server: Server, names: SeriesNames) -> None:
        self._server = server
        self._names = names
        self._select = PromSelect(server.api)
        self._windows = PromWindows(server, self._select, self._names)

    async def read(self, selection: Selection, window: Window | None = None) -> list[Series]:
        """As `Store.read`."""
        return await within_time(self._server.api.name, self._read(selection, window))

    async def read_ticks(self, selection: Selection) -> list[PastTick]:
        """As `Store.read_ticks`."""
        work = self._newest(selection, self._names.select(()))
        return sorted(newest_of(await within_time(self._server.api.name, work), self._names.metric_of))

    async def read_changes(self, selection: Selection, *, newest: bool) -> list[PastChange]:
        """As `Store.read_changes`."""
        if newest:
            work = self._newest(selection, NAME_OF_CHANGES)
            found = await within_time(self._server.api.name, work)
            moments = [
                (tick.kind, tick.id, tick.tick_ms, tick.nodepool, tick.simulated, tick.values[0])
                for tick in newest_of(found, self._names.metric_of)
            ]
        else:
            work = self._values(selection, NAME_OF_CHANGES)
            moments = [
                (*entity, time_ms, each.labels.get("nodepool_id", ""), is_simulated(each.labels), value)
                for each in await within_time(self._server.api.name, work)
                if (entity := entity_of(each.labels))
                for time_ms, value in zip(each.times_ms, each.values, strict=True)
            ]
        return [
            PastChange(kind, id, pool, simulated, at_ms, status_of(code), "", "{}", code == REMOVED)
            for kind, id, at_ms, pool, simulated, code in sorted(moments)
        ]

    async def _read(self, selection: Selection, window: Window | None) -> list[Series]:
        if selection.end_ms <= selection.start_ms:
            return []
        wanted = set(selection.metrics)
        name = self._names.select(wanted)
        if window and window.every_ms > 1 and await self._server.counts_once():
            series = await self._windows.read(selection, window, name)
        else:
            series, _ = join(await self._values(selection, name), self._names.metric_of)
            series = fold(series, window) if window else series
        return sorted(each for each in series if not wanted or each.metric in wanted)

    async def _values(self, selection: Selection, name: str) -> list[Found]:
        targets = await self._select.targets(selection)
        return bounded(await self._raw(targets, name, selection.start_ms, selection.end_ms))

    async def _raw(self, targets: list[str], name: str, start_ms: int, end_ms: int) -> list[Found]:
        if end_ms <= start_ms:
            return []
        parts = await asyncio.gather(
            *(self._server.raw(selector(name, target), start_ms, end_ms) for target in targets)
        )
        return [each for part in parts for each in part if each.times_ms]

    async def _newest(self, selection: Selection, name: str) -> list[Found]:
        """Series with the newest time of each entity; older ones may be among them."""
        start_ms = max(selection.start_ms, EARLIEST_MS)
        recent_ms = max(start_ms, selection.end_ms - RECENT_MS)
        found = await self._raw(await self._select.targets(selection), name, recent_ms, selection.end_ms)
        if recent_ms <= start_ms:
            return found
        seen = {entity_of(each.labels) for each in found}
        missing = await self._select.entities(selection, name) - seen
        return found + await self._dig(selection, missing, name, start_ms, recent_ms)

    async def _dig(
        self, selection: Selection, entities: set[Entity], name: str, start_ms: int, end_ms: int
    ) -> list[Found]:
        """The same for entities that have nothing newer."""
        if not entities or end_ms <= start_ms:
            return []
        targets = await self._select.targets_of(selection, entities)
        if end_ms - start_ms <= SLICE_MS:
            return await self._raw(targets, name, start_ms, end_ms)
        length_ms = max(SLICE_MS, -(-(end_ms - start_ms) // SLICES))
        slices = -(-(end_ms - start_ms) // length_ms)
        # The first of them may begin before the start: what it has there is not read below.
        asked = [
            evaluate(
                self._server,
                "count without (__name__) (last_over_time(%s))",
                selector(name, target),
                length_ms,
                (end_ms - slices * length_ms, end_ms),
            )
            for target in targets
        ]
        ends: dict[Entity, int] = {}
        for each in (each for part in await asyncio.gather(*asked) for each in part if each.times_ms):
            entity = entity_of(each.labels)
            if entity in entities:
                ends[entity] = max(ends.get(entity, 0), each.times_ms[-1] + 1)
        found: list[Found] = []
        for until_ms in sorted(set(ends.values())):
            some = {entity for entity, end in ends.items() if end == until_ms}
            found += await self._dig(selection, some, name, max(start_ms, until_ms - length_ms), until_ms)
        return found
