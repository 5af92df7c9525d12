"""Reading from KairosDB: each metric by itself, entities by their tags.

What it does (1.3.0) and does not say: windows begin at the start of the query; `limit` counts for each
series, so the newest of each is its last with a limit of one; a filter with no values is no filter.
"""

import asyncio
import json
from collections import defaultdict
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager
from typing import Any, NamedTuple

from streams import stores
from streams.domain.sink import OTHER
from streams.errors import StoreError
from streams.stores import PastChange, PastTick, Selection, Series, Window
from streams.stores.kairosdb.client import KairosClient
from streams.stores.kairosdb.points import CHANGE, QUALITY, decode, encode, metric_name
from streams.stores.limits import LESS, too_much

READS = 4
"""[1] Queries in flight for one read."""

MAX_IDS = 200
"""[1] Most ids in one filter; for more all entities are read and the others left out."""

AGGREGATORS = {"mean": "avg", "min": "min", "max": "max", "last": "last", "sum": "sum", "count": "count"}
"""KairosDB's names of the functions that are exact; its percentiles are estimates."""

ENTITY = ("kind", "id")
TAGS = (*ENTITY, "nodepool_id", "simulated")


class Group(NamedTuple):
    """Values of one metric of the entities with these tags."""

    tags: tuple[str, ...]
    values: list[tuple[int, Any]]


Entity = tuple[str, str]
"""Kind and id."""

Newest = tuple[tuple[str, ...], int, Any]
"""Tags, time in ms and value."""


class KairosReader:
    """The reads of a store."""

    def __init__(self, client: KairosClient, catalogue_fields: Mapping[str, tuple[str, str]]) -> None:
        self._client = client
        self._names = {metric: metric_name(*parts) for metric, parts in catalogue_fields.items()}
        self._metrics = {name: metric for metric, name in self._names.items()}

    async def read(self, selection: Selection, window: Window | None = None) -> list[Series]:
        """Values, or what KairosDB makes of those in each window."""
        if not _is_some(selection):
            return []
        found: list[Series] = []
        points = 0
        async with self._in_time():
            names = await self._names_of(selection.metrics)
            for first in range(0, len(names), READS):
                some = names[first : first + READS]
                read = (
                    self._windows(name, selection, window) if window else self._raw(name, selection)
                    for name in some
                )
                for name, entities in zip(some, await asyncio.gather(*read), strict=True):
                    for (kind, id), (pool, simulated, values) in entities.items():
                        points += len(values)
                        if points > stores.MAX_POINTS:
                            raise too_much()
                        times = [at_ms for at_ms, _ in values]
                        numbers = [float(value) for _, value in values]
                        found.append(Series(kind, id, pool, simulated, self._metric_of(name), times, numbers))
        return sorted(found, key=lambda series: (series.kind, series.id, series.metric))

    async def read_ticks(self, selection: Selection) -> list[PastTick]:
        """The newest tick of each entity, found by its qualities, and the values of that time."""
        if not _is_some(selection):
            return []
        async with self._in_time():
            newest = _newest(await self._groups(QUALITY, selection, TAGS, order="desc", limit=1))
            entities: dict[int, list[Entity]] = defaultdict(list)
            for entity, (_, at_ms, _) in newest.items():
                entities[at_ms].append(entity)
            values: dict[Entity, dict[str, float]] = defaultdict(dict)
            names = await self._names_of(())
            gate = asyncio.Semaphore(READS)

            async def read_at(at_ms: int, some: list[Entity]) -> None:
                ids = tuple({id for _, id in some}) if len(some) <= MAX_IDS else selection.ids
                at = Selection(at_ms, at_ms + 1, selection.world, selection.kinds, ids)
                async with gate:
                    answer = await self._ask(
                        at, at_ms, at_ms, [self._asked(name, at, ENTITY) for name in names]
                    )
                wanted = set(some)
                for name, groups in zip(names, answer, strict=True):
                    metric = self._metric_of(name)
                    for group in groups:
                        if (entity := (group.tags[0], group.tags[1])) in wanted:
                            values[entity][metric] = float(group.values[-1][1])

            await asyncio.gather(*(read_at(at_ms, some) for at_ms, some in entities.items()))
        return [
            _past_tick(tags, at_ms, str(known), values[kind, id])
            for (kind, id), (tags, at_ms, known) in sorted(newest.items())
        ]

    async def read_changes(self, selection: Selection, *, newest: bool) -> list[PastChange]:
        """Changes of status and attributes, and removals."""
        if not _is_some(selection):
            return []
        async with self._in_time():
            if newest:
                groups = await self._groups(CHANGE, selection, TAGS, order="desc", limit=1)
                found = [item for _, item in sorted(_newest(groups).items())]
            else:
                groups = await self._groups(CHANGE, selection, TAGS, limit=stores.MAX_POINTS + 1)
                found = [(group.tags, at_ms, text) for group in groups for at_ms, text in group.values]
                if len(found) > stores.MAX_POINTS:
                    raise too_much()
                found.sort(key=lambda item: (*item[0][:2], item[1]))
        return [_past_change(tags, at_ms, text) for tags, at_ms, text in found]

    async def _raw(self, name: str, selection: Selection) -> dict[Entity, tuple[str, bool, Any]]:
        groups = await self._groups(name, selection, TAGS, limit=stores.MAX_POINTS + 1)
        together: dict[Entity, list[tuple[int, Any]]] = defaultdict(list)
        for group in groups:
            together[group.tags[0], group.tags[1]] += group.values
        return {
            entity: (tags[2], tags[3] == "true", sorted(dict(together[entity]).items()))
            for entity, (tags, _, _) in _newest(groups).items()
        }

    async def _windows(
        self, name: str, selection: Selection, window: Window
    ) -> dict[Entity, tuple[str, bool, Any]]:
        """Values of windows; one that the selection cuts is asked for alone, for its start is another."""
        every = window.every_ms
        first = -(-selection.start_ms // every) * every
        aggregator = {
            "name": AGGREGATORS[window.fn],
            "align_start_time": True,
            "sampling": {"value": every, "unit": "milliseconds"},
        }
        together: dict[Entity, list[tuple[int, Any]]] = defaultdict(list)
        for start, end in (selection.start_ms, min(first, selection.end_ms)), (first, selection.end_ms):
            if start < end:
                part = self._asked(name, selection, ENTITY, aggregators=[aggregator])
                for group in (await self._ask(selection, start, end - 1, [part]))[0]:
                    together[group.tags[0], group.tags[1]] += [
                        (at_ms // every * every, value) for at_ms, value in group.values
                    ]
        if not together:
            return {}
        newest = _newest(await self._groups(name, selection, TAGS, order="desc", limit=1))
        return {
            entity: (newest[entity][0][2], newest[entity][0][3] == "true", values)
            for entity, values in together.items()
            if entity in newest
        }

    async def _groups(self, name: str, selection: Selection, by: tuple[str, ...], **more: Any) -> list[Group]:
        metric = self._asked(name, selection, by, **more)
        return (await self._ask(selection, selection.start_ms, selection.end_ms - 1, [metric]))[0]

    def _asked(self, name: str, selection: Selection, by: tuple[str, ...], **more: Any) -> dict[str, Any]:
        filters = {"world": (selection.world,), "kind": selection.kinds, "id": selection.ids}
        if len(selection.ids) > MAX_IDS:
            del filters["id"]
        return {
            "name": name,
            "tags": {tag: [encode(value) for value in values] for tag, values in filters.items() if values},
            "group_by": [{"name": "tag", "tags": list(by)}],
            **more,
        }

    async def _ask(
        self, selection: Selection, start_ms: int, last_ms: int, metrics: list[dict[str, Any]]
    ) -> list[list[Group]]:
        if not metrics:
            return []
        answer = await self._client.query(
            {"start_absolute": start_ms, "end_absolute": last_ms, "metrics": metrics}
        )
        ids = set(selection.ids) if len(selection.ids) > MAX_IDS else None
        try:
            queries = list(answer["queries"])
            names = [metric["name"] for metric in metrics]
            found = [
                list(_parsed(query["results"], ids, "text" if name in (CHANGE, QUALITY) else "number"))
                for name, query in zip(names, queries, strict=True)
            ]
        except (KeyError, TypeError, IndexError, ValueError) as error:
            raise StoreError(f"{self._client.url} gave an answer that KairosDB does not give") from error
        return found

    async def _names_of(self, metrics: Iterable[str]) -> list[str]:
        """KairosDB's names of these metrics, of all that are of the twin if there are none."""
        if metrics:
            return [self._names.get(metric) or metric_name(OTHER, metric) for metric in sorted(set(metrics))]
        answer = await self._client.get("/api/v1/metricnames")
        try:
            names = {str(name) for name in answer["results"]}
        except (KeyError, TypeError) as error:
            raise StoreError(f"{self._client.url} gave an answer that KairosDB does not give") from error
        return sorted(name for name in names if name in self._metrics or name.startswith(f"{OTHER}."))

    def _metric_of(self, name: str) -> str:
        return self._metrics.get(name) or decode(name.removeprefix(f"{OTHER}."))

    @asynccontextmanager
    async def _in_time(self) -> AsyncIterator[None]:
        try:
            async with asyncio.timeout(stores.READ_TIMEOUT_S):
                yield
        except TimeoutError as error:
            raise StoreError(
                f"{self._client.url} did not answer within {stores.READ_TIMEOUT_S:g} s: {LESS}"
            ) from error


def _is_some(selection: Selection) -> bool:
    return selection.start_ms < selection.end_ms


def _parsed(results: list[Any], ids: set[str] | None, wanted: str) -> Iterable[Group]:
    for result in results:
        if not result["values"]:
            continue
        # Others may write texts into a metric of numbers: KairosDB takes both, and tells them apart.
        if any(by["name"] == "type" and by["type"] != wanted for by in result["group_by"]):
            continue
        (by,) = (by for by in result["group_by"] if by["name"] == "tag")
        tags = tuple(decode(by["group"][tag]) for tag in by["tags"])
        if ids is None or tags[1] in ids:
            yield Group(tags, [(int(at_ms), value) for at_ms, value in result["values"]])


def _newest(groups: Iterable[Group]) -> dict[Entity, Newest]:
    """Tags, time and value of the newest of each entity: what changed its pool has more than one group."""
    found: dict[Entity, Newest] = {}
    for group in groups:
        at_ms, value = max(group.values, key=lambda point: point[0])
        entity = (group.tags[0], group.tags[1])
        if entity not in found or at_ms > found[entity][1]:
            found[entity] = (group.tags, at_ms, value)
    return found


def _past_tick(tags: tuple[str, ...], at_ms: int, known: str, values: dict[str, float]) -> PastTick:
    kind, id, pool, simulated = tags
    digits, _, complete = known.partition(" ")
    names = sorted(values)
    # Fewer or more values than digits: a post was not kept whole, so none can be told whose digit is whose.
    qualities = [int(digit) for digit in digits] if len(digits) == len(names) and digits.isdecimal() else None
    return PastTick(
        kind,
        id,
        pool,
        simulated == "true",
        at_ms,
        complete == "true",
        names,
        [values[name] for name in names],
        qualities,
    )


def _past_change(tags: tuple[str, ...], at_ms: int, text: Any) -> PastChange:
    kind, id, pool, simulated = tags
    try:
        record = json.loads(text)
        parts = record["status"], record["reason"], record["attributes"], record["removed"]
    except (KeyError, TypeError, ValueError) as error:
        raise StoreError(
            f"{CHANGE} of {kind} {id} at {at_ms} ms is not what the twin writes: delete it in KairosDB"
        ) from error
    return PastChange(kind, id, pool, simulated == "true", at_ms, *parts)
