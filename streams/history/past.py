"""A world as of a moment, read from history: the rules are in docs/history.md."""

import asyncio
import json
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import chain
from typing import NamedTuple

from streams.domain.entity import GAUGE, HISTORY, NAN, OUTCOMES, UNTOLD, new_entity
from streams.domain.keys import entity_key
from streams.domain.overlay import HIDDEN
from streams.domain.times import parse_moment
from streams.errors import TwinError
from streams.records import Scenario, State
from streams.stores import PastChange, PastTick, Selection, Store

LIVE = "live"
"""The world that overlays lie over."""


class UntoldPastError(TwinError):
    """The past of a world cannot be told from what this store of history holds."""


class PastEntity(NamedTuple):
    """An entity as of a moment.

    Args:
        at_ms: [ms since the epoch] the moment.
        step_ms: [ms] distance of ticks.
        change: its newest change.
        tick: its newest closed tick; None when there is none that is new enough.
    """

    world: str
    at_ms: int
    step_ms: int
    change: PastChange
    tick: PastTick | None

    @property
    def key(self) -> bytes:
        """Kafka key of its record."""
        return entity_key(self.world, self.change.kind, self.change.id).encode()

    @property
    def is_hidden(self) -> bool:
        """Whether all that is known is that an overlay hides live's entity."""
        return self.change.removed

    @property
    def attributes(self) -> dict[str, str]:
        """Attributes; from a store of numbers the pool alone."""
        change = self.change
        try:
            attributes: dict[str, str] = json.loads(change.attributes)
        except ValueError:
            attributes = {}
        if change.nodepool and change.kind != "nodepool":
            attributes.setdefault("nodepool", change.nodepool)
        return attributes

    @property
    def simulated(self) -> bool:
        """Whether a value in it is not measured on a real system."""
        return self.change.simulated or (self.tick is not None and self.tick.simulated)

    @property
    def status(self) -> str:
        """As in the record."""
        return self.change.status or "unknown"

    @property
    def qualities(self) -> list[int]:
        """One for each value of the tick, as in `streams.domain.entity`."""
        if self.tick is None:
            return []
        return [UNTOLD] * len(self.tick.values) if self.tick.qualities is None else self.tick.qualities

    @property
    def complete(self) -> bool:
        """Whether the tick was complete; that a store does not hold it does not make it a worse one."""
        return self.tick is not None and self.tick.complete is not False

    def state(self) -> State:
        """The record that says all that history knows; its values are those of the tick."""
        change, tick = self.change, self.tick
        state = new_entity(self.world, change.kind, change.id)
        state["seen_ms"] = self.at_ms
        if self.is_hidden:
            state["scenario"] = _hidden()
            return state
        state["attributes"], state["simulated"] = self.attributes, self.simulated
        state["status"], state["status_reason"] = self.status, change.reason
        state["status_since_ms"] = change.at_ms
        if tick is not None:
            count = len(tick.names)
            state["tick_ms"], state["next_tick_ms"] = tick.tick_ms, tick.tick_ms + self.step_ms
            state["complete"] = self.complete
            state["aligned_names"], state["head_names"] = list(tick.names), list(tick.names)
            state["aligned_values"], state["head_values"] = list(tick.values), list(tick.values)
            state["aligned_qualities"] = list(self.qualities)
            state["head_sources"], state["head_forms"] = [0] * count, [GAUGE] * count
            state["head_times_ms"] = [tick.tick_ms] * count
            state["head_rates"], state["head_sums"] = [NAN] * count, [NAN] * count
            state["source_names"], state["targets"], state["source_priorities"] = [HISTORY], [""], [0]
            state["source_intervals_ms"], state["source_good_ms"] = [self.step_ms], [tick.tick_ms]
            state["source_failures"], state["source_counts"] = [0], [0] * len(OUTCOMES)
        return state


@dataclass(frozen=True, slots=True)
class Past:
    """A world as of a moment.

    Args:
        at_ms: [ms since the epoch] the moment.
        entities: all that were there; of an overlay live's too, and what it hides.
        own: [1] of them those of the world itself.
    """

    world: str
    at_ms: int
    entities: list[PastEntity]
    own: int


def moment_in(world: str, text: str, now_ms: int) -> int:
    """[ms since the epoch] The moment of a world that a text names, for who does not know the world's clock.

    Raises:
        ValueError: it is none, or is to come; or the world has a time of its own, and it is told from now.
    """
    is_of_clock = world.partition("~")[0] == LIVE
    if not is_of_clock and text.strip().startswith(("-", "now")):
        raise ValueError(
            f"{text!r}: world {world} has a time of its own: give a moment of it, not one from now"
        )
    at_ms = parse_moment(text, now_ms)
    if at_ms > now_ms and is_of_clock:
        raise ValueError(f"{text!r} is to come: there is no past of it yet")
    return max(0, at_ms)


async def read_past(store: Store, world: str, at_ms: int, remove_after_ms: int, step_ms: int) -> Past:
    """A world as of a moment.

    Args:
        store: where history is.
        world: live, an isolated world, or an overlay: then also live as of that moment.
        at_ms: [ms since the epoch] the moment.
        remove_after_ms: [ms] a value that is older is not shown.
        step_ms: [ms] distance of ticks.

    Raises:
        StoreError: the store is away, refuses or is too slow.
        UntoldPastError: it is an overlay that no longer differs somewhere, or hides something, and the store
            cannot hold which.
    """
    names = [LIVE, world] if world.startswith(f"{LIVE}~") else [world]
    looks = [_Look(store, name, at_ms, remove_after_ms) for name in names]
    found = await asyncio.gather(*(look.both() for look in looks))
    base: dict[tuple[str, str], PastTick] = {}
    entities: list[PastEntity] = []
    for name, (changes, ticks) in zip(names, found, strict=True):
        hides = len(names) > 1 and name == world
        if hides:
            _check_told(store, world, changes)
        # An entity of an overlay that closed no tick of its own shows live's, of which it was made.
        base |= {(tick.kind, tick.id): tick for tick in ticks}
        for change in changes:
            if not change.removed:
                tick = base.get((change.kind, change.id))
                entities.append(PastEntity(name, at_ms, step_ms, change, tick))
            elif hides and change.reason == HIDDEN:
                entities.append(PastEntity(name, at_ms, step_ms, change, None))
    return Past(world, at_ms, entities, sum(entity.world == world for entity in entities))


@dataclass(frozen=True, slots=True)
class _Look:
    """What is asked of the store for one world."""

    store: Store
    world: str
    at_ms: int
    remove_after_ms: int

    async def both(self) -> tuple[list[PastChange], list[PastTick]]:
        """The newest changes and the newest ticks, read at once."""
        return await asyncio.gather(self.changes(), self.ticks())

    async def changes(self) -> list[PastChange]:
        """The newest change of each entity; of what is past the retention of the store, its coarse copy."""
        whole = Selection(0, self.at_ms + 1, self.world)
        coarse_ms = self.store.coarse_ms
        if coarse_ms is None:
            return await self.store.read_changes(whole, newest=True)
        # A coarse change has the first moment of its window: one that the moment cuts may be of later.
        old = Selection(0, max(1, self.at_ms - coarse_ms + 1), self.world, coarse=True)
        exact, rough = await asyncio.gather(
            self.store.read_changes(whole, newest=True), self.store.read_changes(old, newest=True)
        )
        newest = {(change.kind, change.id): change for change in chain(rough, exact)}
        return list(newest.values())

    async def ticks(self) -> list[PastTick]:
        """The newest closed tick of each entity; past the retention of the store, the newest mean."""
        start_ms = max(0, self.at_ms - self.remove_after_ms)
        found = await self.store.read_ticks(Selection(start_ms, self.at_ms + 1, self.world))
        coarse_ms = self.store.coarse_ms
        end_ms = self.at_ms + 1 - (coarse_ms or 0)
        if found or coarse_ms is None or end_ms <= start_ms:
            return found
        return await self.store.read_ticks(Selection(start_ms, end_ms, self.world, coarse=True))


def _hidden() -> Scenario:
    return Scenario(
        faults=[],
        names=[],
        values=[],
        times_ms=[],
        frozen_faults=[],
        frozen_names=[],
        frozen_values=[],
        frozen_times_ms=[],
        hidden=True,
    )


def _check_told(store: Store, world: str, changes: Iterable[PastChange]) -> None:
    if "text" not in store.holds and any(change.removed for change in changes):
        raise UntoldPastError(
            f"{store.label} holds numbers only: which entities world {world} hid then, and which it left as"
            " live has them, cannot be told; ask for live, or use a store that holds text (InfluxDB, DuckDB,"
            " KairosDB)"
        )
