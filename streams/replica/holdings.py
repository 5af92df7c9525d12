"""What a replica holds: which record of an entity counts, what is removed, and who is told."""

import asyncio
from collections import Counter
from weakref import WeakSet

import structlog

from streams.domain.entity import OUTCOMES
from streams.domain.keys import split_key
from streams.domain.view import entity_view
from streams.errors import InvalidMessageError
from streams.replica.changes import Changes
from streams.replica.held import Held, read_held

REMEMBERED_REMOVALS = 10_000
"""[1] Removed entities whose version is remembered, so that a worker that slept through its own replacement
cannot bring one back."""

SLICE = 100
"""[1] Records that are decoded before others get the event loop: about 3 ms."""

LEAST_VERSION = (-1, -1)
"""Epoch and version of what was never there."""


class Holdings:
    """The newest record of each entity of one world, as bytes, by Kafka key.

    `shown` holds entities, `hidden` the twin's own records (kinds that begin with _), `poisoned` counts by
    reason the records that could not be read.
    """

    def __init__(self, world: str) -> None:
        self.shown: dict[bytes, Held] = {}
        self.hidden: dict[bytes, Held] = {}
        self.poisoned: Counter[str] = Counter()
        self.followers: WeakSet[Changes] = WeakSet()
        self._prefix = f"{world}/".encode()
        self._removed: dict[bytes, tuple[int, int]] = {}
        self._log = structlog.get_logger(__name__)

    def apply(self, key: bytes | None, value: bytes | None, partition: int) -> Held | None:
        """Take a record of the topic; return it if it is a new state of an entity of this world.

        A record with an older (epoch, version) than what is held comes from a worker that was replaced and
        did not know: it is ignored. An unreadable one is counted and changes nothing.
        """
        if key is None or not key.startswith(self._prefix):
            return None
        table = self.hidden if key.startswith(b"_", len(self._prefix)) else self.shown
        old = table.get(key)
        if value is None:
            if old is not None:
                self._remove(key, old)
            return None
        try:
            new = read_held(value, partition)
            if old is None:
                split_key(key.decode())
        except (InvalidMessageError, ValueError) as error:  # ValueError: a key that is not world/kind/id
            self.count_poisoned(error)
            return None
        held_version = (old.epoch, old.version) if old else self._removed.get(key, LEAST_VERSION)
        if (new.epoch, new.version) < held_version:
            return None
        table[key] = new
        self._removed.pop(key, None)
        if table is self.hidden or (old is not None and old.value == new.value):
            return None
        for follower in self.followers:
            follower.put(key, is_new=old is None)
        return new

    def view(self, key: bytes, *, full: bool = False) -> dict[str, object] | None:
        """The entity record as DESIGN section 5 has it; None when it is not held.

        A record whose later fields cannot be read is counted as poisoned, and dropped.
        """
        held = self.shown.get(key)
        if held is None:
            return None
        try:
            return entity_view(held.decode(), full=full)
        except InvalidMessageError as error:
            self.count_poisoned(error)
            self._remove(key, held)
            return None

    async def counts(self) -> dict[tuple[int, str], list[int]]:
        """Samples by partition and source, in the order of OUTCOMES; those of removed entities included.

        All records are decoded (30 ms for 1,000), in slices, so that the event loop goes on.
        """
        sums: dict[tuple[int, str], list[int]] = {}
        records = [*self.shown.values(), *self.hidden.values()]
        for place, held in enumerate(records):
            if place % SLICE == SLICE - 1:
                await asyncio.sleep(0)
            try:
                state = held.decode()
            except InvalidMessageError as error:
                self.count_poisoned(error)
                continue
            counts = state["source_counts"]
            for source, name in enumerate(state["source_names"]):
                total = sums.setdefault((held.partition, name), [0] * len(OUTCOMES))
                for outcome in range(len(OUTCOMES)):
                    total[outcome] += counts[source * len(OUTCOMES) + outcome]
        return sums

    def forget_partition(self, partition: int) -> None:
        """Drop what came from a partition whose log began anew: its versions begin anew too."""
        for table in (self.shown, self.hidden):
            for key in [key for key, held in table.items() if held.partition == partition]:
                self._remove(key, table[key])
        self._removed.clear()

    def count_poisoned(self, error: Exception) -> None:
        """Count a record that cannot be read, and log the first of its kind."""
        reason = error.reason if isinstance(error, InvalidMessageError) else "key"
        self.poisoned[reason] += 1
        if self.poisoned[reason] == 1:
            self._log.warning(
                "a state record cannot be read; more are only counted", reason=reason, error=str(error)
            )

    def _remove(self, key: bytes, old: Held) -> None:
        if self.shown.pop(key, None) is not None:
            for follower in self.followers:
                follower.remove(key)
        else:
            self.hidden.pop(key, None)
        self._removed[key] = (old.epoch, old.version)
        if len(self._removed) > REMEMBERED_REMOVALS:
            del self._removed[next(iter(self._removed))]
