"""What one partition tells the pools of its nodes: absolute partials, at its clock messages."""

from collections.abc import Iterator
from dataclasses import dataclass, field

from streams.domain.aggregate import (
    CLUSTER,
    COLUMNS,
    PRIORITY,
    SOURCE,
    add_up,
    bounded_tick,
    is_urgent,
    oldest_tick,
    row_of,
    sums_of,
    tick_of,
)
from streams.domain.keys import entity_key, partition_of
from streams.domain.observation import new_observation
from streams.domain.world import PAUSE_ENTITIES, Turn
from streams.records import Observation, State

NODES = "live/node/"
"""What the keys of nodes begin with."""

LEARNED = 500
"""[1] Nodes of which a restart knows nothing are read in slices of this size, one at each clock message."""

LATEST_STEPS = 2
"""[steps] A sum that changed waits for its tick to move no longer than this; a count waits for nothing."""

REFRESH_MS = 10_000
"""[ms] What did not change is told again after this time, so that it does not count as silent."""

INTERVAL_MS = 20_000
"""[ms] Least interval of the totals; its hold is longer than slow ticks and REFRESH_MS together."""

MAX_POOLS = 200
"""[1] Most pools in one message."""

Partial = tuple[str, str, int, tuple[float, ...]]
"""Kind, id, tick [ms] and sums."""


@dataclass
class _Telling:
    """When something was told last [ms], of which tick [ms], and whether it changed since."""

    at_ms: int = 0
    tick_ms: int = 0
    is_changed: bool = True
    is_urgent: bool = True

    def change(self, *, urgent: bool) -> None:
        """It changed."""
        self.is_changed = True
        self.is_urgent |= urgent

    def is_due(self, tick_ms: int, at_ms: int, step_ms: int) -> bool:
        """Whether it is to be told now."""
        since_ms = at_ms - self.at_ms
        has_moved = tick_ms > self.tick_ms or since_ms >= LATEST_STEPS * step_ms
        return self.is_urgent or since_ms >= REFRESH_MS or (self.is_changed and has_moved)

    def done(self, tick_ms: int, at_ms: int) -> None:
        """It was told."""
        self.at_ms, self.tick_ms, self.is_changed, self.is_urgent = at_ms, tick_ms, False, False


@dataclass
class _Pool:
    """The nodes of one pool in this partition.

    Args:
        rows: what each node gives, by key.
        sums: of the rows; None when they changed since.
        tick_ms: likewise.
    """

    telling: _Telling = field(default_factory=_Telling)
    rows: dict[str, bytes] = field(default_factory=dict)
    sums: tuple[float, ...] | None = None
    tick_ms: int | None = None

    def change(self, *, urgent: bool) -> None:
        """Rows changed."""
        self.sums = self.tick_ms = None
        self.telling.change(urgent=urgent)

    def current_tick(self) -> int:
        """[ms since the epoch] Tick of the rows."""
        if self.tick_ms is None:
            self.tick_ms = tick_of(self.rows.values())
        return self.tick_ms

    def current_sums(self) -> tuple[float, ...]:
        """Sums of the rows."""
        if self.sums is None:
            self.sums = sums_of(self.rows.values())
        return self.sums


@dataclass
class Sender:
    """All nodes of live in one partition, by pool; it follows from their records, which are learnt lazily.

    What is told follows from the log up to its clock message alone. So nothing is told while records are
    ahead of the log, as they are after a worker ended between its writes and its commit.

    Args:
        number: of the partition.
        partitions: [1] of the topic.
        ahead: offset below which messages may be in the records already, as restored.
    """

    number: int
    partitions: int
    step_ms: int
    ahead: int = 0
    _unknown: dict[str, None] = field(default_factory=dict)
    _pool_of: dict[str, str] = field(default_factory=dict)
    _pools: dict[str, _Pool] = field(default_factory=dict)
    _whole: _Telling = field(default_factory=_Telling)
    _has_told: bool = False

    def restore(self, key: str) -> None:
        """A record is in the table already."""
        if key.startswith(NODES):
            self._unknown[key] = None

    def note(self, key: str, entity: State) -> None:
        """A node changed."""
        self._unknown.pop(key, None)
        name, row = entity["attributes"].get("nodepool", ""), row_of(entity, self.step_ms)
        if self._pool_of.get(key) != name:
            self.forget(key)
            self._pool_of[key] = name
        pool = self._pools.get(name)
        if pool is None:
            pool = self._pools[name] = _Pool()
        known = pool.rows.get(key)
        if known != row:
            pool.rows[key] = row
            self._change(pool, urgent=is_urgent(known, row))

    def forget(self, key: str) -> None:
        """A node is gone, or leaves its pool."""
        self._unknown.pop(key, None)
        name = self._pool_of.pop(key, None)
        if name is not None:
            del self._pools[name].rows[key]
            self._change(self._pools[name], urgent=True)

    def clock(self, turn: Turn) -> Iterator[None]:
        """Add to the changes what is to be told at a clock message; yields now and then."""
        yield from self._learn(turn)
        if self._unknown or turn.offset + 1 < self.ahead:
            return
        told: list[Partial] = []
        for name, pool in sorted(self._pools.items()):
            tick_ms = bounded_tick(pool.current_tick(), turn.at_ms, self.step_ms)
            if pool.telling.is_due(tick_ms, turn.at_ms, self.step_ms):
                pool.telling.done(tick_ms, turn.at_ms)
                told.append(("nodepool", name, tick_ms, pool.current_sums()))
                yield
        yield from self._tell_whole(turn, told)
        self._send(turn, told)
        for name in [name for name, pool in self._pools.items() if not pool.rows]:
            del self._pools[name]

    def _learn(self, turn: Turn) -> Iterator[None]:
        unknown = [key for key, _ in zip(self._unknown, range(LEARNED), strict=False)]
        for place, key in enumerate(unknown):
            entity = turn.states.get(key)
            if entity is None:
                self.forget(key)  # its record did not decode
            else:
                self.note(key, entity)
            if place % PAUSE_ENTITIES == PAUSE_ENTITIES - 1:
                yield

    def _tell_whole(self, turn: Turn, told: list[Partial]) -> Iterator[None]:
        if not self._pools:
            return
        oldest = oldest_tick(pool.current_tick() for pool in self._pools.values())
        tick_ms = bounded_tick(oldest, turn.at_ms, self.step_ms)
        if self._whole.is_due(tick_ms, turn.at_ms, self.step_ms):
            self._whole.done(tick_ms, turn.at_ms)
            sums = []
            for pool in self._pools.values():
                sums.append(pool.current_sums())
                yield
            told.append(("cluster", CLUSTER, tick_ms, add_up(sums)))

    def _change(self, pool: _Pool, *, urgent: bool) -> None:
        pool.change(urgent=urgent)
        self._whole.change(urgent=urgent)

    def _send(self, turn: Turn, told: list[Partial]) -> None:
        homes: dict[int, list[Partial]] = {}
        for partial in told:
            kind, id = partial[:2]
            if id:  # nodes that name no pool count for the whole alone
                homes.setdefault(partition_of(entity_key("live", kind, id), self.partitions), []).append(
                    partial
                )
        for home, partials in sorted(homes.items()):
            for start in range(0, len(partials), MAX_POOLS):
                message = self._message("partial", turn)
                _put(message, partials[start : start + MAX_POOLS])
                turn.changes.partials.append((home, message))
        if not self._has_told:
            # A pool that lost its last node here, while nobody could tell, is not among what was told.
            ends = [(home, self._message("partial_end", turn)) for home in range(self.partitions)]
            turn.changes.partials += ends
        self._has_told = True

    def _message(self, type: str, turn: Turn) -> Observation:
        message = new_observation(type, turn.at_ms)
        message["source"], message["priority"] = SOURCE, PRIORITY
        message["interval_ms"] = max(INTERVAL_MS, 4 * self.step_ms)
        message["scraped_at_ms"] = turn.at_ms
        message["origin_topic"], message["origin_partition"] = "observation", self.number
        message["origin_offset"] = turn.offset
        return message


def _put(message: Observation, partials: list[Partial]) -> None:
    message["kinds"] = [kind for kind, _, _, _ in partials]
    message["ids"] = [id for _, id, _, _ in partials]
    message["sizes"] = [len(COLUMNS)] * len(partials)
    message["attributes"] = [{} for _ in partials]
    message["names"], message["forms"] = list(COLUMNS), [0] * len(COLUMNS)
    message["metrics"] = list(range(len(COLUMNS))) * len(partials)
    message["values"] = [value for _, _, _, sums in partials for value in sums]
    message["times_ms"] = [tick_ms for _, _, tick_ms, _ in partials]
