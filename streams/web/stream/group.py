"""All who want the same entities: what matches is found once for them."""

from collections.abc import Callable
from typing import Protocol

from streams.domain.keys import split_key
from streams.domain.stamp import make_stamp
from streams.encoding import encode_json
from streams.replica.holdings import Current, Holdings
from streams.replica.place import Place
from streams.web.filters import Filter
from streams.web.stream.item import Item
from streams.web.stream.shape import Chunk, Shape, Told
from streams.web.stream.tick import Tick

ItemOf = Callable[[bytes, Current], Item]
"""Makes an item of a key and what is shown of it."""


class Listener(Protocol):
    """Is told of ticks."""

    shape: Shape

    def hear(self, tick: Tick, *, is_empty: bool) -> None:
        """There is a newer tick; `is_empty`: with nothing in it that is wanted."""


class Group:
    """Those who have one filter; `matched` are the keys that match as of `tick`, None before the first."""

    def __init__(self, holdings: Holdings, wanted: Filter, item_of: ItemOf) -> None:
        self.wanted = wanted
        self.matched: set[bytes] = set()
        self.listeners: set[Listener] = set()
        self.tick: Tick | None = None
        self.has_begun = False
        self._holdings = holdings
        self._item_of = item_of
        self._told: list[Told] = []
        self._payloads: dict[Shape, list[Chunk]] = {}
        self._stamp: bytes | None = None

    def matches(self, item: Item) -> bool:
        """Whether an entity that is there is wanted; it was prepared with states if the filter reads."""
        if not self.wanted.may_be(item.kind, item.id):
            return False
        if not self.wanted.reads:
            return True
        return self.wanted.matches(item.view, item.text if self.wanted.needle else "")

    def take(self, tick: Tick) -> None:
        """Find what of a tick is wanted, and tell the listeners."""
        self._told = []
        for key, item in tick.items.items():
            if item.is_there and self.matches(item):
                self.matched.add(key)
                self._told.append((item, None))
            elif key in self.matched:
                self.matched.discard(key)
                self._told.append((item, "filter" if item.is_there else "removed"))
        self.tick = tick
        self._payloads = {}
        self._stamp = None
        for listener in self.listeners:
            listener.hear(tick, is_empty=not self._told)

    def payload(self, shape: Shape) -> list[Chunk]:
        """What those are told who were told all before this tick; the same bytes for all of them."""
        known = self._payloads.get(shape)
        if known is None:
            assert self.tick is not None, "asked before the first tick"  # noqa: S101
            messages = shape.write(self._told, self.tick.id_of, self.tick.start.text.encode())
            known = self._payloads[shape] = list(shape.pack(messages))
        return known

    def stamp(self) -> bytes:
        """JSON of the stamp of what matches."""
        if self._stamp is None:
            assert self.tick is not None, "asked before the first tick"  # noqa: S101
            found = (self._holdings.current(key) for key in self.matched)
            records = (current.held for current in found if current and current.held)
            stamp = make_stamp(self._holdings.world, records, None, self.tick.end.offsets)
            # The oldest time stands in the records, and not all of them are read for this.
            self._stamp = encode_json({k: v for k, v in stamp.items() if k != "oldest_observed_ms"})
        return self._stamp

    def plan(self, since: Place | None, tick: Tick, first: int) -> tuple[list[Told], bool]:
        """What somebody is told who was told all before a place, up to the tick; None: who has nothing.

        Items that are not of the tick are as they are now: see `Client`.

        Returns:
            What is told, partition by partition from the first on, and whether something was left out, which
            changed after the tick and is in the next one.
        """
        ends = tick.end.offsets
        found: list[Told] = []
        is_short = False
        for key in self._candidates(since):
            current = self._holdings.current(key)
            item = tick.items.get(key)
            if current is None or current.offset >= ends.get(current.partition, 0):
                is_short |= item is None
            elif item is None:
                item = self._item_of(key, current)
            if item is None or (since is not None and item.current.offset < _at(since, item)):
                continue
            if key in self.matched and item.is_there:
                found.append((item, None))
            elif since is not None:
                found.append((item, "filter" if item.is_there else "removed"))
        count = max(1, len(ends))
        found.sort(key=lambda told: ((told[0].current.partition - first) % count, told[0].current.offset))
        return found, is_short

    def _candidates(self, since: Place | None) -> list[bytes]:
        if since is None:
            return list(self.matched)
        may_be: Callable[[str, str], bool] = self.wanted.may_be
        return [
            key
            for _, _, key, _ in self._holdings.changed_since(since.offsets)
            if key in self.matched or may_be(*split_key(key.decode())[1:])
        ]


def _at(place: Place, item: Item) -> int:
    return place.offsets.get(item.current.partition, 0)
