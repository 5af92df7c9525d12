"""Rows of InfluxDB as what the twin wrote: whose they are, and which metric."""

from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping
from operator import itemgetter
from typing import Any, NamedTuple

from streams.domain.sink import ENTITY_STATE, OTHER, TICK_QUALITY, as_stored
from streams.stores import Selection
from streams.stores.influx.answers import Table, Times
from streams.stores.influx.flux import (
    Node,
    absent,
    all_of,
    any_of,
    differs,
    equals,
    matches,
    moment,
    predicate,
    present,
    text,
)
from streams.stores.limits import too_much

KINDS = ("cluster", "nodepool", "node", "device", "link", "job", "world")
"""Kinds whose tags are looked at when a selection names ids but no kind."""

SOURCE = ("_measurement", "_field")
"""Columns that say which metric a row is of."""

SELECTED = "from(bucket: bucket) |> range(start: start, stop: stop) |> filter(fn: wanted)"
"""Beginning of each query."""

GROUPED = ' |> group(columns: ["_measurement", "_field"]) |> drop(columns: ["_start", "_stop", "world"])'
"""End of each query. An answer of few tables is written in a third of the time of one of thousands; these can
be merged, because a field has one type. The columns that nobody needs are a third of the answer."""

NEWEST = " |> last()"
"""The newest row of each series; 0.2 ms for each one of numbers."""

Query = Callable[[str, dict[str, Node], int | None], Awaitable[Iterable[Table]]]
"""Asks a text with its options. Raises StoreError, or TooMuchError when the answer has more rows."""


class Entity(NamedTuple):
    """Whose a row is."""

    kind: str
    id: str
    nodepool: str
    simulated: bool


class Run(NamedTuple):
    """Rows of one series of an answer.

    Args:
        times_ms: [ms since the epoch].
        texts: values as InfluxDB wrote them.
    """

    entity: Entity
    measurement: str
    field: str
    times_ms: list[int]
    texts: list[str]


class Names:
    """Names of metrics from measurements and fields, and back."""

    def __init__(self, catalogue_fields: Mapping[str, tuple[str, str]]) -> None:
        self._fields = catalogue_fields
        self._names = {(place[0], place[1]): name for name, place in catalogue_fields.items()}

    def name(self, measurement: str, field: str) -> str | None:
        """The metric; None for what the twin did not write, and for qualities."""
        if measurement == OTHER:
            return None if field.startswith(TICK_QUALITY) else field
        return self._names.get((measurement, field))

    def condition(self, metrics: tuple[str, ...]) -> Node:
        """That a row holds a value of one of the metrics, or of any when there are none."""
        if not metrics:
            return all_of(
                [differs("_measurement", ENTITY_STATE), matches("_field", f"^{TICK_QUALITY}", holds=False)]
            )
        return any_of(
            all_of([equals("_measurement", measurement), equals("_field", as_stored(field))])
            for measurement, field in (self._fields.get(name, (OTHER, name)) for name in metrics)
        )


def of_entities(selection: Selection) -> list[Node]:
    """Conditions: the world, and the kinds and ids where the selection names some."""
    conditions = [equals("world", as_stored(selection.world))]
    kinds = selection.kinds or (KINDS if selection.ids else ())
    if kinds:
        conditions.append(any_of(of_kind(kind, selection.ids) for kind in kinds))
    return conditions


def of_kind(kind: str, ids: tuple[str, ...]) -> Node:
    """That a row is of an entity of that kind, and of one of the ids when there are some."""
    tag = as_stored(f"{kind}_id")
    condition = any_of(equals(tag, as_stored(id)) for id in ids) if ids else present(tag)
    if kind != "nodepool":
        return condition
    # What is in a pool names the pool too.
    return all_of([condition, *(absent(f"{other}_id") for other in KINDS if other != kind)])


class Rows:
    """The rows of tables that are of the selection."""

    def __init__(self, selection: Selection) -> None:
        self.selection = selection
        # Line protocol cannot hold every text: whoever asks by the true one is answered with the true one.
        self._true = {
            as_stored(name): name for name in (*selection.ids, *selection.kinds, *selection.metrics)
        }
        self.times = Times()

    def of(self, tables: Iterable[Table]) -> list[Run]:
        """What the entities of the selection have."""
        return [run for table in tables if "_value" in table.places for run in self._runs(table)]

    def _runs(self, table: Table) -> Iterator[Run]:
        places, times = table.places, self.times
        tags = [name for name in places if name.endswith("_id") or name == "simulated"]
        series = itemgetter(*(places[name] for name in (*SOURCE, *tags)))
        point = itemgetter(places["_time"], places["_value"])
        found: dict[tuple[str, ...], tuple[list[int], list[str]]] = {}
        for row in table.rows:
            key = series(row)
            if key not in found:
                found[key] = ([], [])
            times_ms, texts = found[key]
            at, value = point(row)
            times_ms.append(times[at])
            texts.append(value)
        entities: dict[tuple[str, ...], Entity | None] = {}
        for (measurement, field, *own), (times_ms, texts) in found.items():
            whose = tuple(own)
            if whose not in entities:
                entities[whose] = self.entity(dict(zip(tags, own, strict=True)))
            if (entity := entities[whose]) is not None:
                yield Run(entity, measurement, field, times_ms, texts)

    def metric(self, names: Names, measurement: str, field: str) -> str | None:
        """The metric of some rows."""
        name = names.name(measurement, field)
        return name if name is None else self._true.get(name, name)

    async def ask(
        self,
        query: Query,
        bucket: str,
        conditions: list[Node],
        end: str = "",
        *,
        between: tuple[int, int] | None = None,
        limit: int | None = None,
        options: Mapping[str, Node] | None = None,
    ) -> list[Run]:
        """The rows for which the conditions hold, or what the end makes of them; see `tables`."""
        tables = await self.tables(
            query, bucket, conditions, end, between=between, limit=limit, options=options
        )
        runs = self.of(tables)
        if limit is not None and sum(len(run.texts) for run in runs) > limit:
            raise too_much()
        return runs

    async def tables(
        self,
        query: Query,
        bucket: str,
        conditions: list[Node],
        end: str = "",
        *,
        between: tuple[int, int] | None = None,
        limit: int | None = None,
        options: Mapping[str, Node] | None = None,
    ) -> Iterable[Table]:
        """The same as it comes, also of entities that are not of the selection.

        Args:
            between: [ms since the epoch] range, end not included, where it is not that of the selection.
            limit: [1] most rows.
            options: what the end names.
        """
        start_ms, end_ms = between or (self.selection.start_ms, self.selection.end_ms)
        if start_ms >= end_ms:
            return ()
        given = {
            "bucket": text(bucket),
            "start": moment(start_ms),
            "stop": moment(end_ms),
            "wanted": predicate(all_of(conditions)),
        }
        return await query(SELECTED + end + GROUPED, given | dict(options or {}), limit)

    def entity(self, tags: dict[str, Any]) -> Entity | None:
        """Whose rows with these tags are; None when it is not of the selection."""
        nodepool = tags.pop("nodepool_id", "")
        simulated = tags.pop("simulated", "") == "true"
        own = [(name.removesuffix("_id"), id) for name, id in tags.items() if id]
        if len(own) > 1 or not (own or nodepool):
            return None
        kind, id = own[0] if own else ("nodepool", nodepool)
        kind, id = self._true.get(kind, kind), self._true.get(id, id)
        selection = self.selection
        if (selection.kinds and kind not in selection.kinds) or (selection.ids and id not in selection.ids):
            return None
        return Entity(kind, id, nodepool, simulated)
