"""A world in which a part of live's log is played again (docs/history.md, "Replay")."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from streams.domain.keys import entity_key, partition_of, split_key
from streams.domain.ledger import ledger_key
from streams.domain.live import Live
from streams.domain.world import Turn, World
from streams.errors import InvalidMessageError
from streams.records import Observation, State

BASE = "replay"
"""What the record of such a world names as its base."""


@dataclass
class Replay(World):
    """A replay: whole in one partition, but each partition of live keeps its own clock in it, its lane."""

    step_ms: int = 0
    partitions: int = 0
    clock_ms: int = 0
    lanes: dict[int, Live] = field(default_factory=dict)

    def read(self, record: State) -> None:
        """Take over what the world's record says."""
        super().read(record)
        self.step_ms = int(record["attributes"]["step_ms"])
        self.partitions = int(record["attributes"]["partitions"])
        self.clock_ms = int(record["attributes"]["clock_ms"])

    def add_entity(self, key: str, state: Mapping[str, object]) -> None:
        """Index an entity's record that is in the table already."""
        _, kind, id = split_key(key)
        self._lane(partition_of(entity_key("live", kind, id), self.partitions)).restore(key, state)

    def all_keys(self) -> set[str]:
        """Keys of all records that the world may have."""
        keys = {ledger_key(number, self.name) for number in self.lanes}
        return self.keys.union(keys, *(lane.keys() for lane in self.lanes.values()))

    def play(self, turn: Turn, message: Observation) -> Iterator[None]:
        """Apply a message of live's log.

        Raises:
            InvalidMessageError: it does not say of which partition it is, or there would be too many
                entities.
        """
        number = message["lane"]
        if not 0 <= number < self.partitions:
            raise InvalidMessageError(
                "lane", f"lane: {number} is none of the {self.partitions} partitions that {self.name} replays"
            )
        lane = self._lane(number)
        self._check_room(message, lane)
        self.clock_ms = max(self.clock_ms, message["at_ms"])
        return lane.steps(turn, message)

    def _check_room(self, message: Observation, lane: Live) -> None:
        known, named = lane.keys(), zip(message["kinds"], message["ids"], strict=True)
        fresh = sum(entity_key(self.name, kind, id) not in known for kind, id in named)
        count = fresh and fresh + sum(len(each.keys()) for each in self.lanes.values())
        if count > self.max_entities:
            raise InvalidMessageError(
                "too_many_entities",
                f"ids: world {self.name} would have {count} entities, more than max_entities"
                f" {self.max_entities}",
            )

    def _lane(self, number: int) -> Live:
        lane = self.lanes.get(number)
        if lane is None:
            lane = self.lanes[number] = Live(
                self.name, number, self.step_ms, self.rules.remove_after_ms, self.rules.ceilings
            )
        return lane
