"""A tick as InfluxDB line protocol, and which ticks are too old to count.

Line protocol: https://docs.influxdata.com/influxdb/v2/reference/syntax/line-protocol/ (InfluxDB 2.7),
with times in ms.
"""

import json
from collections.abc import Mapping
from functools import lru_cache
from operator import itemgetter
from typing import Any

from streams.domain.rows import changes_of, check_places, rows_of
from streams.records import Tick

OTHER = "other"
"""Measurement of a metric that the catalogue does not know; its field is the metric's name."""

ENTITY_STATE = "entity_state"
"""Measurement of changes of status and attributes, and of removals."""

TICK_QUALITY = "tick_quality"
"""Field beside the first values of each row, and no metric: whether the tick is complete, and the qualities
of its values, as `marks_of` packs them."""

MARKED = 25
"""[1] Most values whose qualities one number holds: a double has 53 bits."""

MAX_MARKS = 4_096
"""[1] Different qualities of a row that are remembered as text, about 200 B each."""

MAX_TAG_SETS = 65_536
"""[1] Entities whose tags are remembered, about 300 B each; more are written too, a little slower."""

MAX_SHAPES = 1_024
"""[1] Sets of metrics whose line templates are remembered, a few hundred bytes each."""

MAX_EPOCHS = 16
"""[1] Epochs that are remembered for a partition: more than pass while a message can be delivered again."""

# Neither a tag nor a field key can hold a line break; and a backslash is plain text unless the next character
# is one of those that it escapes, so there is no way to double it.
_KEY = str.maketrans({",": "\\,", "=": "\\=", " ": "\\ ", "\n": "\\n", "\r": "\\r", "\t": "\\t"})
_MEASUREMENT = str.maketrans({",": "\\,", " ": "\\ ", "\n": "\\n", "\r": "\\r", "\t": "\\t"})
_LINE_BREAKS = str.maketrans({"\n": "\\n", "\r": "\\r", "\t": "\\t"})
_STRING = str.maketrans({'"': '\\"', "\\": "\\\\", "\n": "\\\\n", "\r": "\\\\r"})

Shape = tuple[str, Any, Any]
"""Template of a row's lines; getter of its arguments from values + tags, time and marks; one of the
qualities in order of the metrics' names, None when they are in it."""


class LineFormat:
    """Turns ticks into lines, remembering what one tick has in common with the next."""

    def __init__(self, catalogue_fields: Mapping[str, tuple[str, str]]) -> None:
        self._fields = catalogue_fields
        self._shapes: dict[tuple[tuple[str, ...], tuple[int, ...]], Shape] = {}

    def to_lines(self, tick: Tick) -> list[str]:
        """One line for each row and measurement, and one for each change.

        Raises:
            InvalidMessageError: the columns do not fit together, or a quality is none.
        """
        lines: list[str] = []
        world, names = tick["world"], tuple(tick["names"])
        for kind, id, pool, tick_ms, simulated, complete, values, places, qualities in rows_of(tick):
            template, arguments, in_order = self._shapes.get((names, places)) or self._shape(names, places)
            if in_order:
                qualities = "".join(in_order(qualities))
            row = (*values, tags_of(kind, id, pool, world, simulated), tick_ms, marks_of(qualities, complete))
            lines += (template % arguments(row)).split("\n")
        return lines + changes_to_lines(tick) if tick["change_ids"] else lines

    def _shape(self, names: tuple[str, ...], places: tuple[int, ...]) -> Shape:
        check_places(names, places)
        groups: dict[str, list[tuple[str, int]]] = {}
        for index, place in enumerate(places):
            measurement, field = self._fields.get(names[place], (OTHER, names[place]))
            groups.setdefault(escape_measurement(measurement), []).append((escape_key(field), index))
        template, order, size = "", list[int](), len(places)
        for measurement, fields in groups.items():
            parts = ",".join(f"{field.replace('%', '%%')}=%r" for field, _ in fields)
            marks = "" if template else "%s"
            template += "\n" if template else ""
            template += f"{measurement.replace('%', '%%')}%s {parts}{marks} %d"
            order += (size, *(index for _, index in fields), *([size + 2] if marks else []), size + 1)
        by_name = sorted(range(size), key=lambda index: names[places[index]])
        if len(self._shapes) >= MAX_SHAPES:
            self._shapes.clear()
        shape = self._shapes[names, places] = (
            template,
            itemgetter(*order),
            None if by_name == list(range(size)) else itemgetter(*by_name),
        )
        return shape


def to_lines(tick: Tick, catalogue_fields: Mapping[str, tuple[str, str]]) -> list[str]:
    """The lines of one tick; `catalogue_fields` gives measurement and field of each metric."""
    return LineFormat(catalogue_fields).to_lines(tick)


def _text(field: str, value: str) -> str:
    return f'{field}="{value.translate(_STRING)}",' if value else ""


@lru_cache(MAX_MARKS)
def marks_of(qualities: str, complete: bool) -> str:
    """The fields that tell qualities (a digit for each value, in order of metrics' names) and completeness.

    Each number is, in binary from the left: 1, two digits for each value, and whether the tick is complete.
    After 25 values there is another: `tick_quality_2`, and so on.
    """
    parts = [qualities[start : start + MARKED] for start in range(0, len(qualities), MARKED)]
    return "".join(
        f",{TICK_QUALITY}{f'_{number}' if number > 1 else ''}={int('1' + part, 4) * 2 + complete}"
        for number, part in enumerate(parts, start=1)
    )


@lru_cache(MAX_MARKS)
def read_marks(text: str) -> tuple[bool, tuple[int, ...]] | None:
    """Whether a tick is complete, and qualities, from one of the numbers that `marks_of` made; else None."""
    number = float(text)
    if not number.is_integer() or not 2 <= number < 2**53 or int(number).bit_length() % 2:
        return None
    bits = f"{int(number):b}"
    return bits[-1] == "1", tuple(int(bits[at : at + 2], 2) for at in range(1, len(bits) - 1, 2))


def changes_to_lines(tick: Tick) -> list[str]:
    """One line of `entity_state` for each change; empty text, as a removed one's status, is left out.

    The field `record` has all of it once more: to look for the newest change, one series is opened and not
    four. InfluxDB 2.7 gives an empty string to the wrong one of the times around it:
    https://github.com/influxdata/influxdb/issues/26916.
    """
    return [
        f"{ENTITY_STATE}{tags_of(kind, id, pool, tick['world'], simulated)}"
        f" {_text('attributes', attributes)}{_text('reason', reason)}"
        f"{_text('record', record_of(status, reason, attributes, removed=removed))}"
        f"removed={'true' if removed else 'false'}"
        f"{',' if status else ''}{_text('status', status)[:-1]} {at_ms}"
        for kind, id, pool, at_ms, simulated, status, reason, attributes, removed in changes_of(tick)
    ]


def record_of(status: str, reason: str, attributes: str, *, removed: bool) -> str:
    """A change as one text: a JSON list, and the attributes (JSON) after it as they are."""
    return json.dumps([status, reason, removed]) + attributes


def read_record(text: str) -> tuple[str, str, str, bool] | None:
    """Status, reason, attributes and whether it was removed, from what `record_of` made; else None."""
    try:
        told, end = json.JSONDecoder().raw_decode(text)
    except ValueError:
        return None
    if not isinstance(told, list) or [type(one) for one in told] != [str, str, bool]:
        return None
    status, reason, removed = told
    return status, reason, text[end:], removed


@lru_cache(MAX_TAG_SETS)
def tags_of(kind: str, id: str, pool: str, world: str, simulated: bool) -> str:
    """The tags of an entity, sorted by key, each after a comma; what is empty is left out."""
    # A nodepool is its own pool: the same key, once.
    tags = {
        "nodepool_id": pool,
        f"{kind}_id": id,
        "simulated": "true" if simulated else "false",
        "world": world,
    }
    return "".join(f",{escape_key(key)}={escape_key(value)}" for key, value in sorted(tags.items()) if value)


def escape_key(text: str) -> str:
    """A tag key, tag value or field key.

    A backslash at the end would swallow what comes next, and cannot be escaped: it gets a space to swallow.
    """
    escaped = text.translate(_KEY)
    return escaped + "\\ " if escaped.endswith("\\") else escaped


def as_stored(text: str) -> str:
    """What a tag key, tag value or field key has become when it is read again."""
    stored = text.translate(_LINE_BREAKS)
    return stored + " " if stored.endswith("\\") else stored


def escape_measurement(text: str) -> str:
    """The name of a measurement."""
    escaped = text.translate(_MEASUREMENT)
    return escaped + "\\ " if escaped.endswith("\\") else escaped


def escape_string(text: str) -> str:
    """What stands between the quotes of a string field."""
    return text.translate(_STRING)


class Epochs:
    """Where in each partition a new epoch began: what a worker writes after it lost a partition is older."""

    def __init__(self) -> None:
        self._began: dict[int, list[tuple[int, int]]] = {}

    def is_stale(self, partition: int, offset: int, epoch: int) -> bool:
        """Whether a tick lies behind one of a newer epoch; remembers the epoch.

        What is delivered twice gets the same answer twice: the order of offsets counts, not that of calls.
        """
        began = self._began.setdefault(partition, [])
        if any(at < offset and newer > epoch for at, newer in began):
            return True
        if not began or epoch > began[-1][1]:
            began.append((offset, epoch))
            del began[:-MAX_EPOCHS]
        return False
