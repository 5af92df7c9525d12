"""A tick as InfluxDB line protocol, and which ticks are too old to count.

Line protocol: https://docs.influxdata.com/influxdb/v2/reference/syntax/line-protocol/ (InfluxDB 2.7),
with times in ms.
"""

from collections.abc import Mapping, Sequence
from functools import lru_cache
from itertools import compress
from math import isfinite
from operator import itemgetter
from typing import Any

from streams.errors import InvalidMessageError
from streams.records import Tick

OTHER = "other"
"""Measurement of a metric that the catalogue does not know; its field is the metric's name."""

ENTITY_STATE = "entity_state"
"""Measurement of changes of status and attributes, and of removals."""

TICK = "tick"
"""Measurement that has each closed tick once: whether it is complete, and the qualities of its values."""

MAX_TAG_SETS = 65_536
"""[1] Entities whose tags are remembered, about 300 B each; more are written too, a little slower."""

MAX_SHAPES = 1_024
"""[1] Sets of metrics whose line templates are remembered, a few hundred bytes each."""

MAX_EPOCHS = 16
"""[1] Epochs that are remembered for a partition: more than pass while a message can be delivered again."""

ROW_COLUMNS = ("ids", "pools", "ticks_ms", "simulated", "complete", "sizes")
CHANGE_COLUMNS = (
    "change_ids",
    "change_pools",
    "change_at_ms",
    "change_simulated",
    "change_statuses",
    "change_reasons",
    "change_attributes",
    "change_removed",
)

# Neither a tag nor a field key can hold a line break; and a backslash is plain text unless the next character
# is one of those that it escapes, so there is no way to double it.
_KEY = str.maketrans({",": "\\,", "=": "\\=", " ": "\\ ", "\n": "\\n", "\r": "\\r", "\t": "\\t"})
_MEASUREMENT = str.maketrans({",": "\\,", " ": "\\ ", "\n": "\\n", "\r": "\\r", "\t": "\\t"})
_LINE_BREAKS = str.maketrans({"\n": "\\n", "\r": "\\r", "\t": "\\t"})
_STRING = str.maketrans({'"': '\\"', "\\": "\\\\", "\n": "\\\\n", "\r": "\\\\r"})

_DIGITS = bytes(range(48, 58)) + bytes(246)
"""Digit of each quality; what is none becomes a zero byte."""

Shape = tuple[str, Any, Any]
"""Template of a row's lines; getter of its arguments from values + tags, time, complete and qualities; one
of the qualities in order of the metrics' names, None when they are in it."""


class LineFormat:
    """Turns ticks into lines, remembering what one tick has in common with the next."""

    def __init__(self, catalogue_fields: Mapping[str, tuple[str, str]]) -> None:
        self._fields = catalogue_fields
        self._shapes: dict[tuple[tuple[str, ...], tuple[int, ...]], Shape] = {}

    def to_lines(self, tick: Tick) -> list[str]:
        """One line for each row and measurement, one of `tick` for each row, and one for each change.

        Raises:
            InvalidMessageError: the columns do not fit together, or a quality is none.
        """
        check_columns(tick)
        lines: list[str] = []
        world, values, metrics, names = tick["world"], tick["values"], tick["metrics"], tuple(tick["names"])
        digits = digits_of(tick["qualities"])
        # One sum over all values costs a hundredth of a look at each.
        finite = isfinite(sum(values))
        end = 0
        for kind, id, pool, tick_ms, simulated, complete, size in zip(
            tick["kinds"],
            tick["ids"],
            tick["pools"],
            tick["ticks_ms"],
            tick["simulated"],
            tick["complete"],
            tick["sizes"],
            strict=True,
        ):
            start, end = end, end + size
            row: list[Any] = values[start:end]
            places, qualities = tuple(metrics[start:end]), digits[start:end]
            if not finite:
                good = [isfinite(value) for value in row]
                row, places = list(compress(row, good)), tuple(compress(places, good))
                qualities = "".join(compress(qualities, good))
            if not row:
                continue
            template, arguments, in_order = self._shapes.get((names, places)) or self._shape(names, places)
            if in_order:
                qualities = "".join(in_order(qualities))
            row += (
                tags_of(kind, id, pool, world, simulated),
                tick_ms,
                "true" if complete else "false",
                qualities,
            )
            lines += (template % arguments(row)).split("\n")
        return lines + changes_to_lines(tick) if tick["change_ids"] else lines

    def _shape(self, names: tuple[str, ...], places: tuple[int, ...]) -> Shape:
        if min(places) < 0 or max(places) >= len(names):
            raise InvalidMessageError("columns", f"metrics points beyond the {len(names)} names")
        groups: dict[str, list[tuple[str, int]]] = {}
        for index, place in enumerate(places):
            measurement, field = self._fields.get(names[place], (OTHER, names[place]))
            groups.setdefault(escape_measurement(measurement), []).append((escape_key(field), index))
        template = "\n".join(
            measurement.replace("%", "%%")
            + "%s "
            + ",".join(f"{field.replace('%', '%%')}=%r" for field, _ in fields)
            + " %d"
            for measurement, fields in groups.items()
        )
        template += f'\n{TICK}%s complete=%s,quality="%s" %d'
        size = len(places)
        order: list[int] = []
        for fields in groups.values():
            order += (size, *(index for _, index in fields), size + 1)
        order += (size, size + 2, size + 3, size + 1)
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


def digits_of(qualities: Sequence[int]) -> str:
    """A digit for each quality.

    Raises:
        InvalidMessageError: one is not in 0..9.
    """
    try:
        digits = bytes(qualities).translate(_DIGITS)
    except ValueError:
        digits = b"\0"
    if 0 in digits:
        raise InvalidMessageError("columns", "qualities holds a number that is none: they are 0 to 9")
    return digits.decode("ascii")


def changes_to_lines(tick: Tick) -> list[str]:
    """One line of `entity_state` for each change; empty text, as a removed one's status, is left out.

    InfluxDB 2.7 gives an empty string to the wrong one of the times around it:
    https://github.com/influxdata/influxdb/issues/26916.
    """
    return [
        f"{ENTITY_STATE}{tags_of(kind, id, pool, tick['world'], simulated)}"
        f" {_text('attributes', attributes)}{_text('reason', reason)}removed={'true' if removed else 'false'}"
        f"{',' if status else ''}{_text('status', status)[:-1]} {at_ms}"
        for kind, id, pool, at_ms, simulated, status, reason, attributes, removed in zip(
            tick["change_kinds"],
            tick["change_ids"],
            tick["change_pools"],
            tick["change_at_ms"],
            tick["change_simulated"],
            tick["change_statuses"],
            tick["change_reasons"],
            tick["change_attributes"],
            tick["change_removed"],
            strict=True,
        )
    ]


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


def check_columns(tick: Tick) -> None:
    """Raise InvalidMessageError unless all columns of a tick are as long as they must be."""
    columns: Mapping[str, Any] = tick
    for first, others in (("kinds", ROW_COLUMNS), ("change_kinds", CHANGE_COLUMNS)):
        for other in others:
            if len(columns[other]) != len(columns[first]):
                raise InvalidMessageError(
                    "columns", f"{other} has {len(columns[other])} items, {first} {len(columns[first])}"
                )
    sizes = tick["sizes"]
    if (
        sum(sizes) != len(tick["values"])
        or min(sizes, default=0) < 0
        or len(tick["metrics"]) != len(tick["values"])
        or len(tick["qualities"]) != len(tick["values"])
    ):
        raise InvalidMessageError(
            "columns",
            f"sizes say {sum(sizes)}; there are {len(tick['values'])} values, {len(tick['metrics'])} metrics,"
            f" {len(tick['qualities'])} qualities",
        )


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
