"""The records of all worlds that are held, by world."""

from collections import Counter
from collections.abc import Collection, Iterator

from streams.replica.held import Held
from streams.replica.holdings import Holdings
from streams.replica.overlay import Overlay

LIVE = "live"
"""The world that is measured."""

OVERLAY = "live~"
"""How the name of an overlay begins."""


class Worlds:
    """Holdings by world: of all worlds, each from its first record to its last, or of those that are named.

    A world that is named, and live, is there always.
    """

    def __init__(self, names: Collection[str] | None = None) -> None:
        self.poisoned: Counter[str] = Counter()
        self.live = Holdings(LIVE, self.poisoned)
        self._takes_all = names is None
        self._kept = {LIVE, *(names or ())}
        self._by_name: dict[str, Holdings] = {}
        for name in sorted(self._kept):
            self._by_name[name] = self._new(name)
        # A world that is isolated needs nothing of live.
        needs_live = names is None or any(name == LIVE or name.startswith(OVERLAY) for name in names)
        self._by_prefix = {
            name.encode(): holdings
            for name, holdings in self._by_name.items()
            if needs_live or holdings is not self.live
        }

    def __iter__(self) -> Iterator[Holdings]:
        """All that are held."""
        yield from list(self._by_name.values())

    def find(self, world: str) -> Holdings | None:
        """What is held of a world."""
        return self._by_name.get(world)

    def named(self, world: str) -> Holdings:
        """What is held of a world that was named at the beginning."""
        return self._by_name[world]

    def exists(self, world: str) -> bool:
        """Whether it is live, or a world that was created and has not ended."""
        holdings = self._by_name.get(world)
        return world == LIVE or (holdings is not None and holdings.key("world", world) in holdings.shown)

    def names(self) -> list[str]:
        """Live and all worlds that were created and have not ended, in order."""
        return [LIVE, *sorted(name for name in self._by_name if name != LIVE and self.exists(name))]

    def apply(self, key: bytes | None, value: bytes | None, partition: int, offset: int) -> Held | None:
        """Take a record of the topic; return it if it is a new state of an entity of live, or of a world that
        was named."""
        name, slash, _ = (key or b"").partition(b"/")
        if not slash:
            return None
        holdings = self._by_prefix.get(name)
        if holdings is None:
            if self._takes_all and value is not None:
                self._begin(name, key, value, partition, offset)
            return None
        held = holdings.apply(key, value, partition, offset)
        if value is None:
            self._end_if_empty(holdings)
        return held if holdings.world in self._kept else None

    def forget_partition(self, partition: int) -> None:
        """Drop what came from a partition whose log began anew."""
        for holdings in self:
            holdings.forget_partition(partition)
            self._end_if_empty(holdings)

    def end(self, error: BaseException | None) -> None:
        """End the iterations of all who follow."""
        for holdings in self:
            holdings.end(error)

    def _begin(self, name: bytes, key: bytes | None, value: bytes, partition: int, offset: int) -> None:
        try:
            holdings = self._new(name.decode())
        except UnicodeDecodeError as error:
            self.live.count_poisoned(error)
            return
        holdings.apply(key, value, partition, offset)
        if not holdings.is_empty():
            self._by_name[holdings.world] = self._by_prefix[name] = holdings

    def _end_if_empty(self, holdings: Holdings) -> None:
        if holdings.world not in self._kept and holdings.is_empty():
            del self._by_name[holdings.world], self._by_prefix[holdings.world.encode()]
            holdings.end()

    def _new(self, name: str) -> Holdings:
        if name == LIVE:
            return self.live
        return (
            Overlay(name, self.live, self.poisoned)
            if name.startswith(OVERLAY)
            else Holdings(name, self.poisoned)
        )
