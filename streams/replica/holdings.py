"""What a replica holds of one world: which record of an entity counts, what is removed, and who is told."""

import asyncio
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import NamedTuple
from weakref import WeakSet
from zlib import crc32

import structlog

from streams.domain.entity import OUTCOMES
from streams.domain.keys import entity_key, split_key
from streams.domain.stamp import oldest_observed_ms
from streams.domain.view import entity_view
from streams.errors import InvalidMessageError
from streams.replica.changes import Follower, Watcher
from streams.replica.held import Held, read_held

REMEMBERED_REMOVALS = 10_000
"""[1] Removed entities that are remembered: so that a worker that slept through its own replacement cannot
bring one back, and so that somebody who was away can be told."""

SLICE = 100
"""[1] Records that are decoded before others get the event loop: about 3 ms."""


class Removal(NamedTuple):
    """What is remembered of a removed entity; `epoch` is -1 when it was not held."""

    epoch: int
    partition: int
    offset: int


class Current(NamedTuple):
    """What is shown of an entity since a record at an offset: the record `held` of `key` in `owner`.

    `held` is None when the entity is not there.
    """

    partition: int
    offset: int
    owner: "Holdings"
    key: bytes
    held: Held | None


NEVER = Removal(-1, -1, -1)
"""Of an entity that nobody removed."""


class Holdings:
    """The newest record of each entity of one world, as bytes, by Kafka key.

    `shown` holds entities, `hidden` the twin's own records (kinds that begin with _), `poisoned` counts by
    reason the records that could not be read, `marks` has the offset of the newest change by partition,
    `floors` by partition the offset below which removals may have been forgotten, and `beginnings` counts how
    often a partition began anew.

    What is to be shown is asked of the methods: an overlay shows live's records too.
    """

    def __init__(self, world: str, poisoned: Counter[str] | None = None) -> None:
        self.world = world
        self.shown: dict[bytes, Held] = {}
        self.hidden: dict[bytes, Held] = {}
        self.poisoned: Counter[str] = Counter() if poisoned is None else poisoned
        self.marks: dict[int, int] = {}
        self.floors: dict[int, int] = {}
        self.beginnings = 0
        self.followers: WeakSet[Follower] = WeakSet()
        self.watchers: WeakSet[Watcher] = WeakSet()
        self._prefix = f"{world}/".encode()
        self._removed: dict[bytes, Removal] = {}
        self._observed: dict[bytes, tuple[Held, int | None]] = {}
        self._log = structlog.get_logger(__name__)

    def __len__(self) -> int:
        """[1] Entities that are shown."""
        return len(self.shown)

    def has(self, kind: str, id: str) -> bool:
        """Whether the entity is shown."""
        return self.find(kind, id) is not None

    def find(self, kind: str, id: str) -> tuple[bytes, Held] | None:
        """Kafka key and record of an entity; None when there is none."""
        key = self.key(kind, id)
        held = self.shown.get(key)
        return None if held is None else (key, held)

    def records(self) -> Iterator[tuple[bytes, Held]]:
        """Kafka key and record of all entities as they are now."""
        yield from list(self.shown.items())

    def owner(self, key: bytes) -> "Holdings":
        """The holdings that hold the record of a key that `find` or `records` gave."""
        return self

    def is_empty(self) -> bool:
        """Whether nothing is left of the world."""
        return not (self.shown or self.hidden)

    def key(self, kind: str, id: str) -> bytes:
        """Kafka key of an entity of this world."""
        return entity_key(self.world, kind, id).encode()

    def apply(self, key: bytes | None, value: bytes | None, partition: int, offset: int = -1) -> Held | None:
        """Take a record of the topic; return it if it is a new state of an entity of this world.

        A record with an older (epoch, version) than what is held comes from a worker that was replaced and
        did not know: it is ignored. An unreadable one is counted and changes nothing.
        """
        if key is None or not key.startswith(self._prefix):
            return None
        old = self._held(key)
        if value is None:
            if old is not None:
                self._remove(key, old, offset)
            else:
                self._remember(key, self._removed.get(key, NEVER).epoch, partition, offset)
            return None
        try:
            new = read_held(value, partition, offset)
            if old is None:
                split_key(key.decode())
            table = self._table(key, new)
        except (InvalidMessageError, ValueError) as error:  # ValueError: a key that is not world/kind/id
            self.count_poisoned(error)
            return None
        if old is None:
            # By epoch alone: a world that is made again under its name counts its versions anew.
            if new.epoch < self._removed.get(key, NEVER).epoch:
                return None
        elif old.value == value or (new.epoch, new.version) < (old.epoch, old.version):
            return None
        was_there = self._is_there(key)
        self._put(key, new, table)
        self._removed.pop(key, None)
        if table is self.hidden:
            return None
        self.marks[partition] = offset
        self._tell(key, was_there, partition, offset)
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
            self._remove(key, held, -1)
            return None

    def oldest_observed_ms(self, key: bytes, held: Held) -> int | None:
        """[ms since the epoch, UTC] Time of the oldest value of a record; each is decoded for it once."""
        known = self._observed.get(key)
        if known is None or known[0] is not held:
            view = self.view(key)
            known = (held, oldest_observed_ms([view] if view else []))
            if len(self._observed) > 2 * len(self.shown):
                self._observed = {key: one for key, one in self._observed.items() if key in self.shown}
            self._observed[key] = known
        return known[1]

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

    def keys(self) -> list[bytes]:
        """Kafka keys, by the name of this world, of all entities as they are now."""
        return list(self.shown)

    def current(self, key: bytes) -> Current | None:
        """What is shown of the entity of a key of this world; None when nothing is known of it."""
        held = self.shown.get(key)
        if held is not None:
            return Current(held.partition, held.offset, self, key, held)
        removal = self._removed.get(key)
        return None if removal is None else Current(removal.partition, removal.offset, self, key, None)

    def changed_since(self, offsets: Mapping[int, int]) -> Iterator[tuple[int, int, bytes, bool]]:
        """What changed at or after these offsets by partition: partition and offset of the newest change, key
        and whether the entity is there. Removals below `floor` may be missing."""
        for key, held in self.shown.items():
            if held.offset >= offsets.get(held.partition, 0):
                yield held.partition, held.offset, key, True
        for key, removal in self._removed.items():
            if removal.offset >= offsets.get(removal.partition, 0) and not self._is_hidden(key):
                yield removal.partition, removal.offset, key, False

    def floor(self, partition: int) -> int:
        """Offset of a partition below which removals may have been forgotten."""
        return self.floors.get(partition, 0)

    def follow(self, follower: Follower) -> None:
        """Tell a follower of what changes, for as long as somebody else holds it."""
        self.followers.add(follower)

    def forget_partition(self, partition: int) -> None:
        """Drop what came from a partition whose log began anew: its versions begin anew too."""
        for table in self._tables():
            for key in [key for key, held in table.items() if held.partition == partition]:
                self._remove(key, table[key], -1)
        self.marks.pop(partition, None)
        self.floors.pop(partition, None)
        self._removed = {key: one for key, one in self._removed.items() if one.partition != partition}
        self.beginnings += 1

    def count_poisoned(self, error: Exception) -> None:
        """Count a record that cannot be read, and log the first of its kind."""
        reason = error.reason if isinstance(error, InvalidMessageError) else "key"
        self.poisoned[reason] += 1
        if self.poisoned[reason] == 1:
            self._log.warning(
                "a state record cannot be read; more are only counted", reason=reason, error=str(error)
            )

    def mark(self) -> str:
        """A text that is another one after each change of an entity; the same for all who read the same."""
        marks = ",".join(f"{partition}:{offset}" for partition, offset in sorted(self.marks.items()))
        return f"{crc32(marks.encode()):08x}-{len(self.shown)}"

    def end(self, error: BaseException | None = None) -> None:
        """End the iterations of those who follow."""
        for follower in list(self.followers):
            follower.close(error)

    def _tables(self) -> tuple[dict[bytes, Held], ...]:
        return (self.shown, self.hidden)

    def _table(self, key: bytes, new: Held) -> dict[bytes, Held]:
        """Where a record belongs."""
        return self.hidden if self._is_hidden(key) else self.shown

    def _is_hidden(self, key: bytes) -> bool:
        return key.startswith(b"_", len(self._prefix))

    def _held(self, key: bytes) -> Held | None:
        return self.shown.get(key) or self.hidden.get(key)

    def _is_there(self, key: bytes) -> bool:
        return key in self.shown

    def _put(self, key: bytes, new: Held, table: dict[bytes, Held]) -> None:
        table[key] = new

    def _remove(self, key: bytes, old: Held, offset: int) -> None:
        was_there = self._is_there(key)
        for table in self._tables():
            table.pop(key, None)
        # What turned out to be unreadable was removed by no record.
        at = old.offset if offset < 0 else offset
        self._remember(key, old.epoch, old.partition, at)
        self.marks[old.partition] = offset
        self._tell(key, was_there, old.partition, at)

    def _remember(self, key: bytes, epoch: int, partition: int, offset: int) -> None:
        self._removed.pop(key, None)
        self._removed[key] = Removal(epoch, partition, offset)
        if len(self._removed) > REMEMBERED_REMOVALS:
            oldest = self._removed.pop(next(iter(self._removed)))
            self.floors[oldest.partition] = max(self.floor(oldest.partition), oldest.offset + 1)

    def _tell(self, key: bytes, was_there: bool, partition: int, offset: int) -> None:
        is_there = self._is_there(key)
        self._tell_followers(key, was_there, is_there, partition, offset)
        for overlay in list(self.watchers):
            overlay.note_base(key, was_there=was_there, is_there=is_there, partition=partition, offset=offset)

    def _tell_followers(
        self, key: bytes, was_there: bool, is_there: bool, partition: int, offset: int
    ) -> None:
        for follower in self.followers:
            follower.note(key, was_there=was_there, is_there=is_there, partition=partition, offset=offset)
