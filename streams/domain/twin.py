"""Observations to entity records and closed ticks, for one partition."""

from collections.abc import Iterator, Mapping, MutableMapping
from dataclasses import dataclass, field

from streams.domain.aggregate_sender import Sender
from streams.domain.changes import Changes
from streams.domain.faults import Limits
from streams.domain.live import Live
from streams.domain.world import Rules, Turn
from streams.domain.worlds import Worlds
from streams.records import Observation, State


@dataclass
class Partition:
    """The twin of one partition: `live`, and the scenario worlds.

    Args:
        number: of the partition.
        ceilings: greatest rate of a counter by metric [unit of the catalogue].
        epoch: generation of the consumer group, written into every record.
        limits: least and greatest value by metric [unit of the catalogue], for what faults make of values.
        lazily: isolated worlds settle only the entities that need it: for one process without history.
        partitions: [1] of the topic; 0: pools are not told of their nodes.
    """

    number: int
    step_ms: int
    remove_after_ms: int
    ceilings: Mapping[str, float]
    epoch: int = 0
    limits: Limits = field(default_factory=dict)
    lazily: bool = False
    partitions: int = 0

    def __post_init__(self) -> None:
        rules = Rules(
            self.number, self.step_ms, self.remove_after_ms, self.ceilings, self.limits, self.lazily
        )
        self.worlds = Worlds(rules)
        sender = Sender(self.number, self.partitions, self.step_ms) if self.partitions else None
        self.live = Live(
            "live", self.number, self.step_ms, self.remove_after_ms, self.ceilings, self.worlds, sender
        )

    def restore(self, key: str, state: Mapping[str, object]) -> None:
        """Index a record that is in the table already; `due_ms` and `targets` are all that is read of it.

        Where `is_read_whole` says so it is the whole record.
        """
        (self.live if key.startswith("live/") else self.worlds).restore(key, state)

    def restored(self, version: int) -> None:
        """The newest version among the restored records, ledgers too: so far they may be ahead of the log."""
        if self.live.sender is not None:
            self.live.sender.ahead = version

    def apply(self, offset: int, message: Observation, states: MutableMapping[str, State]) -> Changes:
        """Apply one message of the log to the records, in place."""
        changes = Changes()
        for _ in self.steps(offset, message, states, changes):
            pass
        return changes

    def steps(
        self, offset: int, message: Observation, states: MutableMapping[str, State], changes: Changes
    ) -> Iterator[None]:
        """`apply` that yields every 50 entities, and adds to changes that are given."""
        turn = Turn(offset, self.epoch, message["at_ms"], states, changes)
        if message["world"] != "live" or message["type"] == "event":
            return self.worlds.steps(turn, message)
        if message["type"] == "clock":
            return self._clock(turn, message)
        return self.live.steps(turn, message)

    def _clock(self, turn: Turn, message: Observation) -> Iterator[None]:
        yield from self.live.steps(turn, message)
        yield from self.worlds.clock(turn)
