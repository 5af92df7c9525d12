"""The entities of one world as a mapping."""

from collections.abc import Callable, Iterator, Mapping
from copy import copy
from fnmatch import fnmatchcase
from typing import Any, Self
from zlib import crc32

from streams.domain.keys import split_key
from streams.domain.stamp import Stamp, make_stamp
from streams.replica.changes import Changes
from streams.replica.held import Held
from streams.replica.holdings import Holdings


class WorldView(Mapping[tuple[str, str], dict[str, Any]]):
    """All entities of one world: a read-only mapping from (kind, id) to the entity's JSON record.

    In an overlay these are live's, but for those that the overlay changes, adds or hides; what it does not
    change says that its world is live. Records are decoded when they are asked for, so an entity that was
    taken out is yours: it does not change any more.

    Args:
        holdings: the records.
        offsets: gives the next offset to be read, by partition.
        is_followed: whether records still come.
    """

    def __init__(
        self,
        holdings: Holdings,
        offsets: Callable[[], dict[int, int]],
        is_followed: Callable[[], bool] = lambda: True,
    ) -> None:
        self.world = holdings.world
        self._holdings = holdings
        self._offsets = offsets
        self._is_followed = is_followed
        self._kinds: tuple[str, ...] | None = None

    def of_kinds(self, patterns: tuple[str, ...]) -> Self:
        """The same world without the entities of other kinds.

        Args:
            patterns: of the kinds that are seen, as of file names; `*` sees all.
        """
        if "*" in patterns:
            return self
        view = copy(self)
        view._kinds = patterns
        return view

    def sees_kind(self, kind: str) -> bool:
        """Whether entities of a kind are in this view, if there are any."""
        return self._kinds is None or any(fnmatchcase(kind, pattern) for pattern in self._kinds)

    @property
    def sees_all_kinds(self) -> bool:
        """Whether nothing of the world is left out."""
        return self._kinds is None

    def __getitem__(self, key: tuple[str, str]) -> dict[str, Any]:
        return self._view(*key, full=False)

    def __contains__(self, key: object) -> bool:
        return isinstance(key, tuple) and len(key) == 2 and self.find(*key) is not None

    def __iter__(self) -> Iterator[tuple[str, str]]:
        """(kind, id) of all entities; `entities()` gives their records."""
        for key, _ in self.records():
            _, kind, id = split_key(key.decode())
            yield kind, id

    def __len__(self) -> int:
        return len(self._holdings) if self._kinds is None else sum(1 for _ in self.records())

    def entities(self, kind: str | None = None) -> Iterator[dict[str, Any]]:
        """The records of all entities, or of those of one kind."""
        for key, _ in self.records(kind):
            view = self._holdings.owner(key).view(key)
            if view is not None:
                yield view

    def ids(self, kind: str) -> list[str]:
        """Ids of all entities of a kind."""
        return [split_key(key.decode())[2] for key, _ in self.records(kind)]

    def records(self, kind: str | None = None) -> Iterator[tuple[bytes, Held]]:
        """Kafka key and record, as it came, of all entities or of those of one kind.

        The key names the world that the record is of: of an entity that an overlay does not change, live. The
        record stays the same object until the entity changes.
        """
        wanted = f"{kind}/".encode() if kind else b""
        if self._kinds is None:
            for key, held in self._holdings.records():
                if key.startswith(wanted, key.find(b"/") + 1):
                    yield key, held
            return
        seen: dict[bytes, bool] = {}
        for key, held in self._holdings.records():
            part = key.split(b"/", 2)[1]
            if part not in seen:
                seen[part] = self.sees_kind(split_key(key.decode())[1])
            if seen[part] and key.startswith(wanted, key.find(b"/") + 1):
                yield key, held

    def find(self, kind: str, id: str) -> tuple[bytes, Held] | None:
        """Key and record of an entity, as `records` gives them; None when it is not there."""
        return self._holdings.find(kind, id) if self.sees_kind(kind) else None

    def full(self, kind: str, id: str) -> dict[str, Any]:
        """An entity record with its sources, origins and alignment memory; KeyError when it is not there."""
        return self._view(kind, id, full=True)

    def held(self, kind: str, id: str) -> Held:
        """An entity's record as it came; KeyError when it is not there."""
        found = self.find(kind, id)
        if found is None:
            raise KeyError((kind, id))
        return found[1]

    def changes(self) -> Changes:
        """Follow what changes from now on: `async for change in twin.changes()`; see `Changes`.

        In an overlay a change of live is one too, where the overlay does not differ from it.
        """
        follower = Changes(self._holdings.view) if self._kinds is None else _Some(self)
        if not self._is_followed():
            follower.close()
        self._holdings.follow(follower)
        return follower

    def stamp(self) -> Stamp:
        """Snapshot stamp of what is held now; see `make_stamp`.

        The first call decodes all records (50 ms for 1,000 of 12 metrics), later ones those that changed.
        """
        records = list(self.records())
        times_ms = (self._holdings.owner(key).oldest_observed_ms(key, held) for key, held in records)
        oldest = min((time_ms for time_ms in times_ms if time_ms is not None), default=None)
        return make_stamp(self.world, (held for _, held in records), oldest, self.offsets())

    def offsets(self) -> dict[int, int]:
        """Next offset to be read, by partition: all before it is in what is held."""
        return self._offsets()

    def mark(self) -> str:
        """A text that is another one after each change of an entity; the same for all who read the same."""
        return self._holdings.mark() + self._tag()

    @property
    def holdings(self) -> Holdings:
        """The records themselves, as bytes, with the twin's own (kinds that begin with _); of an overlay only
        those that it has itself."""
        return self._holdings

    def _view(self, kind: str, id: str, *, full: bool) -> dict[str, Any]:
        found = self.find(kind, id)
        view = found and self._holdings.owner(found[0]).view(found[0], full=full)
        if not view:
            raise KeyError((kind, id))
        return view

    def _tag(self) -> str:
        return "" if self._kinds is None else f"-{crc32(' '.join(self._kinds).encode()):08x}"


class _Some(Changes):
    """Changes of the kinds of a view."""

    def __init__(self, view: WorldView) -> None:
        super().__init__(view.holdings.view)
        self._sees_kind = view.sees_kind

    def put(self, key: bytes, *, is_new: bool) -> None:
        if self._sees(key):
            super().put(key, is_new=is_new)

    def remove(self, key: bytes) -> None:
        if self._sees(key):
            super().remove(key)

    def _sees(self, key: bytes) -> bool:
        return self._sees_kind(split_key(key.decode())[1])
