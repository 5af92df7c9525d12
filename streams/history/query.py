"""What can be asked of history, and what is answered."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from streams import stores
from streams.domain.near import near_names
from streams.errors import TooMuchError, TwinError
from streams.stores import WINDOW_FUNCTIONS

GROUPS = ("id", "nodepool", "kind")
"""What may share a series."""

MAX_LIMIT = 100_000
"""[1] Most points of one answer: some 3 MB of JSON."""

DEFAULT_LIMIT = 10_000
"""[1] Points of an answer, unless another number is asked for."""

FEWER = "give a larger every, fewer ids or metrics, or a shorter range"
"""How to ask for less."""


class QueryError(TwinError):
    """A question that cannot be answered; `field` is what is wrong, `near` what may have been meant."""

    def __init__(self, field: str, text: str, near: list[str] | None = None) -> None:
        super().__init__(text)
        self.field = field
        self.near = near or []


@dataclass(frozen=True, slots=True)
class HistoryQuery:
    """A question about closed ticks; what is empty means all.

    Args:
        start_ms: [ms since the epoch] first tick.
        end_ms: [ms since the epoch] the tick after the last one.
        labels: names and values of attributes, all of which an entity has after its newest change before end.
        every_ms: [ms] length of windows; None with `fn`: the whole range is one.
        fn: what is made of the values in a window; None without `every`: the values themselves, with: mean.
        group_by: one series for each entity (id), or for all of a kind, or those of it in a pool, together.
        limit: [1] most points of the answer; the next ones are had with its cursor.
        cursor: of the answer before.
    """

    start_ms: int
    end_ms: int
    world: str = "live"
    kinds: tuple[str, ...] = ()
    ids: tuple[str, ...] = ()
    labels: tuple[tuple[str, str], ...] = ()
    metrics: tuple[str, ...] = ()
    every_ms: int | None = None
    fn: str | None = None
    group_by: str = "id"
    limit: int = DEFAULT_LIMIT
    cursor: str = ""

    @property
    def function(self) -> str | None:
        """The function, or that which is meant."""
        return self.fn or (None if self.every_ms is None else "mean")


@dataclass(frozen=True, slots=True)
class Facts:
    """What is to be known beside the store.

    Args:
        units: unit of each metric of the catalogue.
        step_ms: [ms] distance of ticks.
        retention_ms: [ms] how long values are kept, where a store keeps means for longer; 0 = for ever.
        now_ms: [ms since the epoch] now.
    """

    units: Mapping[str, str] = field(default_factory=dict)
    step_ms: int = 5_000
    retention_ms: int = 0
    now_ms: int = 0


class HistorySeries(NamedTuple):
    """Values of one metric of an entity or a group.

    Args:
        id: None of a group.
        nodepool: of the newest value; empty when there is none, or the group is a kind.
        simulated: not measured on a real system; of a group: any of it.
        entities: [1] that are in it.
        times_ms: [ms since the epoch] ticks, or the first moment of each window.
        values: [unit] as many.
    """

    kind: str
    id: str | None
    nodepool: str
    metric: str
    unit: str
    simulated: bool
    entities: int
    times_ms: list[int]
    values: list[float]


@dataclass(frozen=True, slots=True)
class Answer:
    """What history says.

    Args:
        resolution_ms: [ms] distance of the points.
        coarse: they are, or were computed from, means at `Store.coarse_ms`.
        note: what is to be known about it, in sentences; empty when there is nothing.
        next: cursor of what did not fit; None when this is all.
    """

    query: HistoryQuery
    resolution_ms: int
    coarse: bool
    note: str
    series: list[HistorySeries]
    next: str | None = None

    @property
    def points(self) -> int:
        """[1] In all series."""
        return sum(len(one.times_ms) for one in self.series)


def check_query(query: HistoryQuery, facts: Facts) -> None:
    """Raise QueryError unless the question makes sense, or TooMuchError if it must be too much to read."""
    if query.start_ms >= query.end_ms:
        raise QueryError("start", "start must be before end")
    if query.fn is not None and query.fn not in WINDOW_FUNCTIONS:
        near = near_names(query.fn, WINDOW_FUNCTIONS)
        raise QueryError("fn", f"{query.fn!r} is none of {', '.join(WINDOW_FUNCTIONS)}", near)
    if query.group_by not in GROUPS:
        raise QueryError("group_by", f"{query.group_by!r} is none of {', '.join(GROUPS)}")
    if query.group_by != "id" and query.function is None:
        raise QueryError("fn", f"group_by={query.group_by} needs fn: what is to be made of values of many")
    if not 1 <= query.limit <= MAX_LIMIT:
        raise QueryError("limit", f"must be 1 to {MAX_LIMIT:,}: more are had with the cursor of the answer")
    if query.every_ms is not None and query.every_ms < facts.step_ms:
        raise QueryError("every", f"must be at least {facts.step_ms} ms, the distance of ticks")
    windows = 0 if query.every_ms is None else (query.end_ms - query.start_ms) // query.every_ms
    count = windows * max(1, len(query.ids)) * max(1, len(query.metrics))
    if query.group_by == "id" and count > stores.MAX_POINTS:
        raise too_much(count)


def too_much(count: int | None = None) -> TooMuchError:
    """That more values would have to be read than may be."""
    number = f"{count:,}" if count else f"more than {stores.MAX_POINTS:,}"
    return TooMuchError(
        f"{number} values would have to be read, and at most {stores.MAX_POINTS:,} are: {FEWER}"
    )
