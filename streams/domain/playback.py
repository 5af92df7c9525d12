"""A part of live's log, played in one process: its closed ticks and their hash (docs/history.md)."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from streams.domain.changes import Changes
from streams.domain.live import Live
from streams.domain.observation import check_observation
from streams.domain.settle import WAIT_MAX_MS
from streams.domain.world import Turn
from streams.domain.worldhash import Row, world_hash
from streams.errors import InvalidMessageError
from streams.records import Observation, State


def is_played(message: Observation) -> bool:
    """Whether a message of the log changed live: scenarios and what does not fit together did not."""
    if message["world"] != "live" or message["type"] == "event":
        return False
    try:
        check_observation(message)
    except InvalidMessageError:
        return False
    return True


class Lanes:
    """How far the clock of each partition is, and when all have closed the ticks up to a time.

    Args:
        partitions: [1] of the log.
        to_ms: [ms since the epoch] last tick that is wanted.
        step_ms: [ms] distance of ticks.
    """

    def __init__(self, partitions: int, to_ms: int, step_ms: int) -> None:
        self._waiting = set(range(partitions))
        self._closed_ms = to_ms + WAIT_MAX_MS + step_ms

    def note(self, lane: int, message: Observation) -> bool:
        """Take notice of a message; True when all partitions are past the time."""
        if message["type"] == "clock" and message["at_ms"] > self._closed_ms:
            self._waiting.discard(lane)
        return not self._waiting


@dataclass
class Playback:
    """Plays messages of live's log, partition by partition.

    Args:
        from_ms: [ms since the epoch] first tick that is kept; what comes before fills the memory.
        to_ms: [ms since the epoch] last one.
    """

    from_ms: int
    to_ms: int
    step_ms: int
    remove_after_ms: int
    ceilings: Mapping[str, float]
    rows: list[Row] = field(default_factory=list)
    _lanes: dict[int, tuple[Live, dict[str, State]]] = field(default_factory=dict)
    _played: int = 0

    def play(self, message: Observation) -> None:
        """Apply the next message, of the partition that its `lane` says."""
        number = message["lane"]
        if number not in self._lanes:
            live = Live("live", number, self.step_ms, self.remove_after_ms, self.ceilings)
            self._lanes[number] = live, {}
        live, states = self._lanes[number]
        changes = Changes()
        for _ in live.steps(Turn(self._played, 1, message["at_ms"], states, changes), message):
            pass
        self._played += 1
        self.rows += self._wanted(changes)

    def hash(self) -> str:
        """SHA-256 of the ticks that are kept."""
        return world_hash(self.rows)

    def _wanted(self, changes: Changes) -> Iterator[Row]:
        for row in changes.ticks.rows:
            if self.from_ms <= row.tick_ms <= self.to_ms:
                entity = row.entity
                yield (
                    row.tick_ms,
                    entity["kind"],
                    entity["id"],
                    row.complete,
                    row.names,
                    row.values,
                    row.qualities,
                )
