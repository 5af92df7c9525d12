"""The snapshot stamp: what a whole-state answer was built from."""

from collections.abc import Iterable, Mapping
from typing import Any, Protocol, TypedDict

ALIVE = ("up", "degraded")
"""Statuses whose ticks count: one that is down closes none, and would hold the stamp's tick for an hour."""


class Stamp(TypedDict):
    """See `make_stamp`; None stands for what no entity tells."""

    world: str
    entities: int
    tick_ms: int | None
    clock_ms: int | None
    complete_share: float | None
    oldest_observed_ms: int | None
    offsets: dict[str, int]


class Summary(Protocol):
    """The fields of an entity record that a stamp needs; read-only, so that a named tuple has them."""

    @property
    def status(self) -> str:
        """As in the record."""

    @property
    def seen_ms(self) -> int:
        """As in the record."""

    @property
    def next_tick_ms(self) -> int:
        """As in the record."""

    @property
    def tick_ms(self) -> int:
        """As in the record."""

    @property
    def complete(self) -> bool:
        """As in the record."""


def make_stamp(
    world: str, entities: Iterable[Summary], oldest_observed_ms: int | None, offsets: Mapping[int, int]
) -> Stamp:
    """Stamp a snapshot.

    `tick_ms` is the newest tick that every alive and complete entity has closed: up to there `aligned` values
    of different entities may be compared. `complete_share` is how many of the entities that ever had a sample
    these are. `clock_ms` is the newest time of a scrape or of the clock that any entity was told of,
    `oldest_observed_ms` the time of the oldest value in `metrics`, `offsets` the next offset by partition.
    """
    count = measured = complete = clock_ms = 0
    tick_ms: int | None = None
    for entity in entities:
        count += 1
        clock_ms = max(clock_ms, entity.seen_ms)
        if entity.next_tick_ms or entity.tick_ms:
            measured += 1
            if entity.complete and entity.tick_ms and entity.status in ALIVE:
                complete += 1
                tick_ms = entity.tick_ms if tick_ms is None else min(tick_ms, entity.tick_ms)
    return Stamp(
        world=world,
        entities=count,
        tick_ms=tick_ms,
        clock_ms=clock_ms or None,
        complete_share=complete / measured if measured else None,
        oldest_observed_ms=oldest_observed_ms,
        offsets={str(partition): offset for partition, offset in sorted(offsets.items())},
    )


def oldest_observed_ms(views: Iterable[Mapping[str, Any]]) -> int | None:
    """[ms since the epoch, UTC] Time of the oldest value among the `metrics` of entity views."""
    return min(
        (metric["observed_at_ms"] for view in views for metric in view["metrics"].values()), default=None
    )
