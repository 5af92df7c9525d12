"""What an overlay holds: its own records, laid over those of live."""

from collections import Counter
from collections.abc import Iterator, Mapping

from streams.replica.changes import Follower
from streams.replica.held import Held
from streams.replica.holdings import Current, Holdings


class Overlay(Holdings):
    """Holdings of an overlay: `shown` are the entities that differ from live's, `masked` are those of live
    that it does not have.

    Nothing is copied of live, and a message of live costs nothing here unless somebody follows the overlay.
    """

    def __init__(self, world: str, base: Holdings, poisoned: Counter[str] | None = None) -> None:
        super().__init__(world, poisoned)
        self.base = base
        self.masked: dict[bytes, Held] = {}

    def __len__(self) -> int:
        added = sum(self._base_key(key) not in self.base.shown for key in self.shown)
        removed = sum(self._base_key(key) in self.base.shown for key in self.masked)
        return len(self.base) + added - removed

    def find(self, kind: str, id: str) -> tuple[bytes, Held] | None:
        """Kafka key and record of an entity, its own or live's; None when there is none."""
        key = self.key(kind, id)
        if key in self.masked:
            return None
        held = self.shown.get(key)
        return self.base.find(kind, id) if held is None else (key, held)

    def records(self) -> Iterator[tuple[bytes, Held]]:
        """Kafka key and record of all entities: the overlay's own, and live's that it does not change."""
        changed = {self._base_key(key) for key in (*self.shown, *self.masked)}
        yield from list(self.shown.items())
        for key, held in self.base.records():
            if key not in changed:
                yield key, held

    def owner(self, key: bytes) -> Holdings:
        """The overlay or live."""
        return self if key.startswith(self._prefix) else self.base

    def is_empty(self) -> bool:
        """Whether the overlay has no record."""
        return super().is_empty() and not self.masked

    def view(self, key: bytes, *, full: bool = False) -> dict[str, object] | None:
        """The entity record of one of the overlay's keys, be it live's; None when it is not there."""
        if key in self.shown:
            return super().view(key, full=full)
        return None if key in self.masked else self.base.view(self._base_key(key), full=full)

    def mark(self) -> str:
        """A text that is another one after each change here or in live."""
        return f"{self.base.mark()}-{super().mark()}-{len(self.masked)}"

    def keys(self) -> list[bytes]:
        """Kafka keys, by the name of this world, of all entities as they are now."""
        base = (self._own_key(key) for key in self.base.shown)
        return [*self.shown, *(key for key in base if key not in self.shown and key not in self.masked)]

    def current(self, key: bytes) -> Current | None:
        """What is shown of the entity of a key of this world; None when nothing is known of it."""
        masked = self.masked.get(key)
        if masked is not None:
            return Current(masked.partition, masked.offset, self, key, None)
        own = super().current(key)
        below = None if own is not None and own.held is not None else self.base.current(self._base_key(key))
        if own is None or below is None:
            return own or below
        # What the overlay let go of shows live's since then, or since live changed it later.
        return below._replace(offset=max(own.offset, below.offset))

    def changed_since(self, offsets: Mapping[int, int]) -> Iterator[tuple[int, int, bytes, bool]]:
        """What changed here or in live at or after these offsets; see `Holdings`."""
        own = set(self._removed)
        for key in (*self.shown, *self.masked, *self._removed):
            current = None if self._is_hidden(key) else self.current(key)
            if current is not None and current.offset >= offsets.get(current.partition, 0):
                yield current.partition, current.offset, key, current.held is not None
        for partition, offset, base_key, is_there in self.base.changed_since(offsets):
            key = self._own_key(base_key)
            if key not in self.shown and key not in self.masked and key not in own:
                yield partition, offset, key, is_there

    def floor(self, partition: int) -> int:
        """Offset of a partition below which removals may have been forgotten."""
        return max(super().floor(partition), self.base.floor(partition))

    def follow(self, follower: Follower) -> None:
        """Tell a follower of what changes here, and in live where the overlay does not differ."""
        super().follow(follower)
        self.base.watchers.add(self)

    def note_base(self, key: bytes, *, was_there: bool, is_there: bool, partition: int, offset: int) -> None:
        """Tell the followers of a change of live that shows here too."""
        if not self.followers:
            self.base.watchers.discard(self)
            return
        own = self._own_key(key)
        if own not in self.shown and own not in self.masked:
            self._tell_followers(own, was_there, is_there, partition, offset)

    def _own_key(self, base_key: bytes) -> bytes:
        return self._prefix + base_key.partition(b"/")[2]

    def _base_key(self, key: bytes) -> bytes:
        return f"{self.base.world}/".encode() + key[len(self._prefix) :]

    def _tables(self) -> tuple[dict[bytes, Held], ...]:
        return (self.shown, self.hidden, self.masked)

    def _table(self, key: bytes, new: Held) -> dict[bytes, Held]:
        table = super()._table(key, new)
        if table is self.hidden:
            return table
        # That a record is hidden stands at its end; overlays have few records, so all of it is decoded.
        scenario = new.decode()["scenario"]
        return self.masked if scenario is not None and scenario["hidden"] else table

    def _held(self, key: bytes) -> Held | None:
        return super()._held(key) or self.masked.get(key)

    def _is_there(self, key: bytes) -> bool:
        return key in self.shown or (key not in self.masked and self._base_key(key) in self.base.shown)

    def _put(self, key: bytes, new: Held, table: dict[bytes, Held]) -> None:
        for other in self._tables():
            other.pop(key, None)
        table[key] = new
