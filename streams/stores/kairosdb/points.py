"""A tick as KairosDB's data points, and what its tags must not hold.

Format: https://kairosdb.github.io/docs/restapi/AddDataPoints.html (KairosDB 1.3.0).
"""

import json
from collections.abc import Mapping
from functools import lru_cache
from operator import itemgetter
from typing import Any, NamedTuple
from urllib.parse import quote, unquote

from streams.domain.rows import changes_of, check_places, rows_of
from streams.domain.sink import ENTITY_STATE, MAX_SHAPES, MAX_TAG_SETS, OTHER
from streams.records import Tick

QUALITY = "tick.quality"
"""Metric of what is known of a closed tick: a digit for each value, in the order of names, and complete."""

CHANGE = f"{ENTITY_STATE}.record"
"""Metric of changes of status and attributes, and of removals, as a JSON object."""

MAX_STRING = 65_535
"""[B] Longest text of a data point: KairosDB answers 204 to a longer one, and drops it."""

Shape = tuple[str, Any, Any, int]
"""Template of a row, getters of its arguments and of its qualities, and its number of metrics."""


class Points(NamedTuple):
    """Data points of one row or change: JSON objects with commas between them, and how many they are.

    Args:
        fault: why KairosDB cannot hold them; empty when it can.
    """

    text: str
    size: int
    fault: str = ""


def metric_name(measurement: str, field: str) -> str:
    """The name that KairosDB knows a metric by."""
    return f"{encode(measurement)}.{encode(field)}"


def encode(text: str) -> str:
    """A tag value or a part of a name: letters, digits and `_.-~/` as they are, all else percent-encoded.

    KairosDB takes any character when it writes, but a filter that begins with `regex:` is a pattern, and its
    H2 datastore pastes a filter into SQL.
    """
    return quote(text, safe="/~")


def decode(text: str) -> str:
    """The reverse of `encode`."""
    return unquote(text)


class PointFormat:
    """Turns ticks into data points, remembering what one tick has in common with the next."""

    def __init__(self, catalogue_fields: Mapping[str, tuple[str, str]]) -> None:
        self._fields = catalogue_fields
        self._shapes: dict[tuple[tuple[str, ...], tuple[int, ...]], Shape] = {}

    def to_points(self, tick: Tick) -> list[Points]:
        """One item for each row that has a value, and one for each change.

        Raises:
            InvalidMessageError: the columns do not fit together.
        """
        world, names = tick["world"], tuple(tick["names"])
        items: list[Points] = []
        for kind, id, pool, tick_ms, simulated, complete, values, places, qualities in rows_of(tick):
            template, arguments, order, count = self._shapes.get((names, places)) or self._shape(
                names, places
            )
            tags = tags_of(kind, id, pool, world, simulated)
            known = f"{''.join(order(qualities + ' '))}{'true' if complete else 'false'}"
            items.append(Points(template % arguments((*values, tags, tick_ms, known)), count))
        return items + changes_to_points(tick)

    def _shape(self, names: tuple[str, ...], places: tuple[int, ...]) -> Shape:
        check_places(names, places)
        size = len(places)
        parts: list[str] = []
        arguments: list[int] = []
        for index, place in enumerate(places):
            name = metric_name(*self._fields.get(names[place], (OTHER, names[place]))).replace("%", "%%")
            parts.append(f'{{"name":"{name}","type":"double","tags":%s,"datapoints":[[%d,%r]]}}')
            arguments += (size, size + 1, index)
        parts.append(f'{{"name":"{QUALITY}","type":"string","tags":%s,"datapoints":[[%d,"%s"]]}}')
        arguments += (size, size + 1, size + 2)
        # With what stands behind them: the getter of a single place would give no tuple.
        order = (*sorted(range(size), key=lambda index: names[places[index]]), size)
        if len(self._shapes) >= MAX_SHAPES:
            self._shapes.clear()
        shape = (",".join(parts), itemgetter(*arguments), itemgetter(*order), len(parts))
        self._shapes[names, places] = shape
        return shape


def changes_to_points(tick: Tick) -> list[Points]:
    """One data point for each change."""
    items = []
    for kind, id, pool, at_ms, simulated, status, reason, attributes, removed in changes_of(tick):
        record = json.dumps(
            {"status": status, "reason": reason, "attributes": attributes, "removed": removed},
            separators=(",", ":"),
        )
        fault = (
            f"a text of {len(record)} B; KairosDB holds {MAX_STRING} B" if len(record) > MAX_STRING else ""
        )
        tags = tags_of(kind, id, pool, tick["world"], simulated)
        items.append(
            Points(
                f'{{"name":"{CHANGE}","type":"string","tags":{tags},'
                f'"datapoints":[[{at_ms},{json.dumps(record)}]]}}',
                1,
                fault,
            )
        )
    return items


@lru_cache(MAX_TAG_SETS)
def tags_of(kind: str, id: str, pool: str, world: str, simulated: bool) -> str:
    """The tags of an entity as a JSON object; what is empty is left out.

    Beside those of the other stores `kind` and `id`: KairosDB filters and groups by tags of known names only.
    """
    tags = {
        "nodepool_id": pool,
        f"{kind}_id": id,
        "kind": kind,
        "id": id,
        "simulated": "true" if simulated else "false",
        "world": world,
    }
    return json.dumps({encode(key): encode(value) for key, value in sorted(tags.items()) if value})
