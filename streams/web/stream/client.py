"""What one client of a stream is told, at its own pace."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from typing import NamedTuple, Protocol

import orjson

from streams.replica.place import Place
from streams.web.stream.group import Group
from streams.web.stream.item import Item
from streams.web.stream.shape import RESTART, Chunk, Shape, Told
from streams.web.stream.tick import Steps, Tick


class Ending(NamedTuple):
    """Why a stream ends: a word for programs, a sentence for people."""

    reason: str
    detail: str


class World(Protocol):
    """What a client asks of the world that it follows."""

    beats: int

    def can_tell(self, since: Place) -> bool:
        """Whether all that changed since a place is known."""

    def is_still(self, item: Item) -> bool:
        """Whether an item is still as it was found."""

    def heartbeat(self) -> bytes:
        """JSON of a heartbeat."""


class Client:
    """Follows one group.

    Who was told all up to the tick before is given the same bytes as all others. Anybody else (who begins,
    comes back, or took too long) is given what changed since the place up to which they were told all. What
    of it changes once more before it is sent is left out, as it comes with a later tick: so all that waits
    for a slow client are keys, and each id says exactly what was told.

    Args:
        world: what is followed.
        group: who wants the same.
        shape: how it is written.
        place: up to where they were told all; None: nothing.
    """

    def __init__(self, world: World, group: Group, shape: Shape, place: Place | None) -> None:
        self.shape = shape
        self.place = place
        self.ending: Ending | None = None
        self.has_left = False
        self._world = world
        self._group = group
        self._number = -1
        self._is_live = False
        self._has_snapshot = False
        self._plans = 0
        self._beats = world.beats
        self._is_busy = False
        self._wake = asyncio.Event()

    def hear(self, tick: Tick, *, is_empty: bool) -> None:
        """There is a newer tick; `is_empty`: with nothing in it that is wanted."""
        if is_empty and self._is_live and not self._is_busy and self._number == tick.number - 1:
            self.place, self._number = tick.end, tick.number
        else:
            self._wake.set()

    def wake(self) -> None:
        """There is a heartbeat."""
        self._wake.set()

    def forget(self) -> None:
        """What was told does not hold any more: begin anew."""
        self.place = None
        self._number = -1
        self._is_live = False

    def finish(self, reason: str, detail: str) -> None:
        """End the stream, once what is being sent is."""
        if self.ending is None:
            self.ending = Ending(reason, detail)
        self._wake.set()

    def leave(self) -> None:
        """Whoever it is told went away."""
        self.has_left = True
        self._wake.set()

    async def chunks(self) -> AsyncIterator[Chunk]:
        """What is to be sent, one after the other, until the end."""
        while self._goes_on():
            work = self.work()
            if work is None:
                self._wake.clear()
                await self._wake.wait()
                continue
            self._is_busy = True
            for chunk in work:
                yield chunk
                if not self._goes_on():
                    return
            self._is_busy = False

    def end(self) -> bytes:
        """The last message."""
        assert self.ending is not None, "it goes on"  # noqa: S101
        return self.shape.event(b"end", self._id(), orjson.dumps(self.ending._asdict()))

    def work(self) -> Iterator[Chunk] | None:
        """What is to be sent now, chunk by chunk; None: nothing, until `hear` or `wake` is called."""
        tick = self._group.tick
        if tick is not None and self._number != tick.number and not self._is_ahead(tick):
            if self._is_live and self._number == tick.number - 1:
                return self._next(tick)
            return self._catch_up(tick)
        if self._beats != self._world.beats:
            self._beats = self._world.beats
            return iter([(self.shape.event(b"heartbeat", self._id(), self._world.heartbeat()), 1)])
        return None

    def _goes_on(self) -> bool:
        return self.ending is None and not self.has_left

    def _is_ahead(self, tick: Tick) -> bool:
        """Whether they were told more, by another server, than this one has yet."""
        return self._number < 0 and self.place is not None and self.place.is_beyond(tick.end)

    def _next(self, tick: Tick) -> Iterator[Chunk]:
        yield from self._group.payload(self.shape)
        self.place, self._number = tick.end, tick.number

    def _catch_up(self, tick: Tick) -> Iterator[Chunk]:
        since = self.place if self.place is not None and self._world.can_tell(self.place) else None
        first = self._plans % max(1, len(tick.end.offsets))
        told, is_short = self._group.plan(since, tick, first)
        if since is None:
            self._is_live, self._has_snapshot, self._plans = False, True, 0
            data = b'{"stamp":%b,"entities":%d}' % (self._group.stamp(), len(self._group.matched))
            yield self.shape.event(b"snapshot", RESTART, data), 1
        id_of: Callable[[Item], bytes] = _restart
        start = RESTART
        if since is not None and (self._is_live or not self._has_snapshot):
            id_of, start = Steps(since, tick.end, first).id_of, since.text.encode()
        yield from self.shape.pack(self.shape.write(self._still(told, tick), id_of, start))
        self.place, self._number = tick.end, tick.number
        self._plans += 1
        if not self._is_live and (self._plans > 1 or not is_short):
            self._is_live = True
            yield self.shape.event(b"live", self._id(), b'{"stamp":%b}' % self._group.stamp()), 1

    def _still(self, told: list[Told], tick: Tick) -> Iterator[Told]:
        """Of what is told, that which did not change since; what is of the tick is told as it was then."""
        for item, reason in told:
            if item is tick.items.get(item.key):
                yield item, reason
            elif self._world.is_still(item):
                item.prepare(is_row=self.shape.is_row)
                if item.is_there == (reason != "removed"):
                    yield item, reason

    def _id(self) -> bytes:
        if self.place is None or (self._has_snapshot and not self._is_live):
            return RESTART
        return self.place.text.encode()


def _restart(_item: Item) -> bytes:
    return RESTART
