"""The columns of a message of the topic `tick`, as the rows and changes that stores write."""

from collections.abc import Iterator, Mapping, Sequence
from itertools import compress
from math import isfinite
from typing import Any, NamedTuple

from streams.errors import InvalidMessageError
from streams.records import Tick

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

_DIGITS = b"0123" + bytes(252)
"""Digit of each quality; what is none becomes a zero byte."""

Row = tuple[str, str, str, int, bool, bool, list[float], tuple[int, ...], str]
"""Kind, id, nodepool, tick [ms], simulated, complete; and of the metrics that have a value these, the places
of their names, and a digit for the quality of each."""


class Change(NamedTuple):
    """A change of status or attributes, or a removal."""

    kind: str
    id: str
    pool: str
    at_ms: int
    simulated: bool
    status: str
    reason: str
    attributes: str
    removed: bool


def rows_of(tick: Tick) -> Iterator[Row]:
    """The rows of a message that have a value; what is no number is left out.

    Raises:
        InvalidMessageError: the columns do not fit together, or a quality is none.
    """
    check_columns(tick)
    values, metrics, digits = tick["values"], tick["metrics"], digits_of(tick["qualities"])
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
        row, places, qualities = values[start:end], tuple(metrics[start:end]), digits[start:end]
        if not finite:
            good = [isfinite(value) for value in row]
            row, places = list(compress(row, good)), tuple(compress(places, good))
            qualities = "".join(compress(qualities, good))
        if row:
            yield kind, id, pool, tick_ms, simulated, complete, row, places, qualities


def changes_of(tick: Tick) -> Iterator[Change]:
    """The changes in a message whose columns fit together."""
    return map(
        Change,
        tick["change_kinds"],
        tick["change_ids"],
        tick["change_pools"],
        tick["change_at_ms"],
        tick["change_simulated"],
        tick["change_statuses"],
        tick["change_reasons"],
        tick["change_attributes"],
        tick["change_removed"],
    )


def check_places(names: Sequence[str], places: Sequence[int]) -> None:
    """Raise InvalidMessageError unless each place is that of a name."""
    if places and not 0 <= min(places) <= max(places) < len(names):
        raise InvalidMessageError("columns", f"metrics points beyond the {len(names)} names")


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
        raise InvalidMessageError("columns", "qualities holds a number that is none: they are 0 to 3")
    return digits.decode("ascii")


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
