"""The newest tick of each entity, from the rows of many of its series."""

from collections.abc import Iterable
from operator import itemgetter

from streams.domain.sink import TICK_QUALITY, read_marks
from streams.stores import PastTick
from streams.stores.influx.answers import Table
from streams.stores.influx.rows import SOURCE, Entity, Names, Rows

Key = tuple[str, str]
"""Kind and id."""

Texts = dict[tuple[str, str], str]
"""Values as InfluxDB wrote them, by measurement and field."""


class Newest:
    """Gathers rows, and keeps of each entity those of its newest time."""

    def __init__(self, rows: Rows, names: Names) -> None:
        self._rows, self._names = rows, names
        self._found: dict[Key, tuple[int, Entity, Texts]] = {}
        self._metrics: dict[tuple[str, str], str | None] = {}

    def add(self, tables: Iterable[Table]) -> None:
        """Take the rows of an answer."""
        for table in tables:
            if "_value" in table.places:
                self._add(table)

    def _add(self, table: Table) -> None:
        places = table.places
        tags = [name for name in places if name.endswith("_id") or name == "simulated"]
        moment = itemgetter(places["_time"], *(places[name] for name in tags))
        source = itemgetter(*(places[name] for name in SOURCE))
        place = places["_value"]
        found: dict[tuple[str, ...], Texts] = {}
        for row in table.rows:
            whose = moment(row)
            if whose not in found:
                found[whose] = {}
            found[whose][source(row)] = row[place]
        for (at, *own), texts in found.items():
            entity = self._rows.entity(dict(zip(tags, own, strict=True)))
            if entity is None:
                continue
            key, at_ms = (entity.kind, entity.id), self._rows.times[at]
            known = self._found.get(key)
            if known is None or known[0] < at_ms:
                self._found[key] = (at_ms, entity, texts)
            elif known[0] == at_ms:
                known[2].update(texts)

    def ticks(self) -> list[PastTick]:
        """What was found, in order of kind and id."""
        found = self._found
        return [tick for key in sorted(found) if (tick := self._tick(*found[key])) is not None]

    def _tick(self, tick_ms: int, entity: Entity, texts: Texts) -> PastTick | None:
        named = []
        marks: list[tuple[int, str, str]] = []
        for source, text in texts.items():
            field = source[1]
            if field.startswith(TICK_QUALITY):
                marks.append((len(field), field, text))
            elif (name := self._metric(source)) is not None:
                named.append((name, text))
        if not named:
            return None
        named.sort()
        complete, qualities = _read(marks)
        return PastTick(
            *entity,
            tick_ms,
            complete,
            [name for name, _ in named],
            [float(text) for _, text in named],
            # A value that InfluxDB refused has a quality all the same.
            qualities if qualities is not None and len(qualities) == len(named) else None,
        )

    def _metric(self, source: tuple[str, str]) -> str | None:
        if source not in self._metrics:
            self._metrics[source] = self._rows.metric(self._names, *source)
        return self._metrics[source]


def _read(marks: list[tuple[int, str, str]]) -> tuple[bool | None, list[int] | None]:
    """Whether the tick is complete, and its qualities, from their numbers in order of length and name."""
    read = [read_marks(text) for _, _, text in sorted(marks)]
    if not read or None in read:
        return None, None
    told = [part for part in read if part is not None]
    return told[0][0], [quality for part in told for quality in part[1]]
