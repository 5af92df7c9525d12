"""Compares a world at one moment with itself at another."""

import asyncio
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

from streams.domain.diff import Difference, Thresholds
from streams.domain.stamp import Stamp, make_stamp, oldest_observed_ms
from streams.replica.held import Held
from streams.replica.past import PastView
from streams.replica.view import WorldView

SLICE = 25
"""[1] Entities that are compared before others get the event loop: about 3 ms."""


@dataclass
class Comparison:
    """What differs, the stamps of both sides, and the names of all metrics that were seen."""

    difference: Difference
    before: Stamp
    after: Stamp
    metrics: set[str] = field(default_factory=set)


async def compare(
    before: WorldView, after: WorldView, kinds: Collection[str], thresholds: Thresholds
) -> Comparison:
    """What differs between two views of a world, in order of kind and id; no kinds are all."""
    difference = Difference()
    sides = (_Side(before), _Side(after))
    # The record of a world itself is not history.
    keys = {key for view in (before, after) for key in view if key[0] != "world"}
    for place, key in enumerate(sorted(keys), 1):
        if not kinds or key[0] in kinds:
            old, new = (side.look(key) for side in sides)
            difference.compare(old, new, thresholds)
        if place % SLICE == 0:
            await asyncio.sleep(0)
    return Comparison(
        difference, sides[0].stamp(), sides[1].stamp(), {name for side in sides for name in side.metrics}
    )


class _Side:
    """One of the two views, and what was looked at in it."""

    def __init__(self, view: WorldView) -> None:
        self._view = view
        self._offsets = view.offsets()
        self._held: list[Held] = []
        self._oldest_ms: list[int] = []
        self.metrics: set[str] = set()

    def look(self, key: tuple[str, str]) -> Mapping[str, Any] | None:
        found = self._view.find(*key)
        entity = self._view.get(key)
        if found is None or entity is None:
            return None
        self._held.append(found[1])
        oldest_ms = oldest_observed_ms([entity])
        if oldest_ms is not None:
            self._oldest_ms.append(oldest_ms)
        self.metrics.update(entity["metrics"])
        return entity

    def stamp(self) -> Stamp:
        stamp = make_stamp(self._view.world, self._held, min(self._oldest_ms, default=None), self._offsets)
        return self._view.stamped(stamp) if isinstance(self._view, PastView) else stamp
