"""A world as of a moment, read from history: the rules are in docs/history.md."""

import asyncio
import marshal
from collections.abc import Iterable, Iterator, Set
from dataclasses import dataclass
from typing import NamedTuple, Self

from streams.domain.commands import follows_clock, is_overlay
from streams.domain.entity import GAUGE, HISTORY, NAN, OUTCOMES, UNTOLD, new_entity
from streams.domain.keys import entity_key
from streams.domain.overlay import HIDDEN
from streams.domain.show import scenario_of
from streams.domain.times import parse_moment
from streams.errors import TwinError
from streams.records import State
from streams.stores import PastChange, PastTick, Selection, Store

LIVE = "live"
"""The world that overlays lie over."""

NEAR_STEPS = 3
"""[1] Steps before the newest in which most entities have their newest tick, if not in the newest."""

MAX_NAMED = 200
"""[1] Entities whose older ticks are asked for by their ids; of more those of all are."""

Key = tuple[str, str]
"""Kind and id."""


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

    def pack(self) -> bytes:
        """All of it, for this version of Python; quicker made and read than a pickle."""
        return marshal.dumps((*self[:3], tuple(self.change), self.tick and tuple(self.tick)))

    @classmethod
    def unpack(cls, packed: bytes) -> Self:
        """What was packed."""
        world, at_ms, step_ms, change, tick = marshal.loads(packed)  # noqa: S302  # our own bytes
        return cls(world, at_ms, step_ms, PastChange(*change), tick and PastTick(*tick))

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
        return self.change.named_attributes

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
            scenario_of(state)["hidden"] = True
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

    It is sent between processes, and kept, for which thousands of objects would be too many: they are sent
    slowly, and what is live waits for the collector of garbage, which looks at all of them.

    Args:
        at_ms: [ms since the epoch] the moment.
        packed: all entities that were there, packed; of an overlay live's too, and what it hides.
        own: [1] of them those of the world itself.
    """

    world: str
    at_ms: int
    packed: list[bytes]
    own: int

    @property
    def entities(self) -> Iterator[PastEntity]:
        """What is packed."""
        return map(PastEntity.unpack, self.packed)


def moment_in(world: str, text: str, now_ms: int) -> int:
    """[ms since the epoch] The moment of a world that a text names, for who does not know the world's clock.

    Raises:
        ValueError: it is none, or is to come; or the world has a time of its own, and it is told from now.
    """
    if not follows_clock(world) and text.strip().startswith(("-", "now")):
        raise ValueError(
            f"{text!r}: world {world} has a time of its own: give a moment of it, not one from now"
        )
    at_ms = parse_moment(text, now_ms)
    if at_ms > now_ms and follows_clock(world):
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
    names = [LIVE, world] if is_overlay(world) else [world]
    looks = [_Look(store, name, at_ms, remove_after_ms, step_ms) for name in names]
    found = await asyncio.gather(*(look.both() for look in looks))
    if len(names) > 1:
        _check_told(store, world, found[-1][0])
    there = {(one.kind, one.id) for changes, _ in found for one in changes if not one.removed}
    base: dict[Key, PastTick] = {}
    entities: list[PastEntity] = []
    for name, look, (changes, ticks) in zip(names, looks, found, strict=True):
        hides = len(names) > 1 and name == world
        own = {(one.kind, one.id) for one in changes if not one.removed}
        # An entity of an overlay that closed no tick of its own shows live's, of which it was made.
        base |= await look.with_older(ticks, own if hides else there)
        for change in changes:
            if not change.removed:
                tick = base.get((change.kind, change.id))
                entities.append(PastEntity(name, at_ms, step_ms, change, tick))
            elif hides and change.reason == HIDDEN:
                entities.append(PastEntity(name, at_ms, step_ms, change, None))
    packed = [entity.pack() for entity in entities]
    return Past(world, at_ms, packed, sum(entity.world == world for entity in entities))


@dataclass(frozen=True, slots=True)
class _Look:
    """What is asked of the store for one world."""

    store: Store
    world: str
    at_ms: int
    remove_after_ms: int
    step_ms: int

    @property
    def start_ms(self) -> int:
        """[ms since the epoch] The oldest tick that is shown."""
        return max(0, self.at_ms - self.remove_after_ms)

    @property
    def step_start_ms(self) -> int:
        """[ms since the epoch] The newest tick that there can be."""
        return max(self.start_ms, self.at_ms // self.step_ms * self.step_ms)

    async def both(self) -> tuple[list[PastChange], list[PastTick]]:
        """The newest changes, and the ticks of the newest step, read at once."""
        newest = Selection(self.step_start_ms, self.at_ms + 1, self.world)
        whole = Selection(0, self.at_ms + 1, self.world)
        return await asyncio.gather(
            self.store.read_changes(whole, newest=True), self.store.read_ticks(newest)
        )

    async def with_older(self, ticks: list[PastTick], wanted: Set[Key]) -> dict[Key, PastTick]:
        """The newest tick of each entity that is wanted, where it is not among those of the newest step.

        Past the retention of the store the newest mean stands for it.
        """
        found = {(tick.kind, tick.id): tick for tick in ticks}
        end_ms = self.step_start_ms
        for start_ms in (max(self.start_ms, end_ms - NEAR_STEPS * self.step_ms), self.start_ms):
            missing = wanted - found.keys()
            if missing and start_ms < end_ms:
                ids = tuple(sorted({id for _, id in missing})) if len(missing) <= MAX_NAMED else ()
                older = await self.store.read_ticks(Selection(start_ms, end_ms, self.world, ids=ids))
                found = {(tick.kind, tick.id): tick for tick in older} | found
            end_ms = start_ms
        coarse_ms = self.store.coarse_ms
        end_ms = self.at_ms + 1 - (coarse_ms or 0)
        if found or not wanted or coarse_ms is None or end_ms <= self.start_ms:
            return found
        means = await self.store.read_ticks(Selection(self.start_ms, end_ms, self.world, coarse=True))
        return {(tick.kind, tick.id): tick for tick in means}


def _check_told(store: Store, world: str, changes: Iterable[PastChange]) -> None:
    if "text" not in store.holds and any(change.removed for change in changes):
        raise UntoldPastError(
            f"{store.label} holds numbers only: which entities world {world} hid then, and which it left as"
            " live has them, cannot be told; ask for live, or use a store that holds text (InfluxDB, DuckDB,"
            " KairosDB)"
        )
