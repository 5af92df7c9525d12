"""Tells all who follow one world at one pace what changed in it."""

import asyncio
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import orjson
import structlog

from streams.replica.holdings import Current, Holdings
from streams.replica.place import Place
from streams.web.encoded import EncodedStates
from streams.web.filters import Filter
from streams.web.stream.client import Client
from streams.web.stream.group import Group
from streams.web.stream.item import Item
from streams.web.stream.shape import Shape
from streams.web.stream.tick import Tick

BEAT_S = 5.0
"""[s] Between heartbeats."""

LEAST_PAUSE_S = 0.02
"""[s] For others, however long a tick took."""

SLICE_S = 0.005
"""[s] Of work before others get the event loop."""


@dataclass(frozen=True)
class Feed:
    """What a hub needs of the process around it.

    Args:
        place: how far the log was read.
        is_known: whether what changed since a place, up to another one, can be told.
        is_whole: whether what is held is whole.
        fault: why nothing may come; None when all is well.
        pause_s: [s] from tick to tick at least.
        states: JSON of entities.
        rows: JSON of rows.
    """

    place: Callable[[], Place]
    is_known: Callable[[Place, Place], bool]
    is_whole: Callable[[], bool]
    fault: Callable[[], str | None]
    pause_s: Callable[[], float]
    states: EncodedStates
    rows: EncodedStates


class Hub:
    """Follows one world; see `Client`.

    Args:
        holdings: the world.
        feed: what is around.
        pause_s: [s] from tick to tick at least.
    """

    def __init__(self, holdings: Holdings, feed: Feed, pause_s: float = 0.0) -> None:
        self.holdings = holdings
        self.groups: dict[Filter, Group] = {}
        self.clients: set[Client] = set()
        self.beats = 0
        self._feed = feed
        self._pause_s = pause_s
        self._pending: dict[bytes, tuple[int, int]] = {}
        self._number = 0
        self._place = feed.place()
        self._beginnings = holdings.beginnings
        self._heartbeat = b""
        self._wake = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        holdings.follow(self)

    def start(self) -> None:
        """Begin to tell."""
        self._task = asyncio.create_task(self._run(), name=f"streams of {self.holdings.world}")
        self._task.add_done_callback(self._note_end)

    def stop(self) -> None:
        """Tell nothing more."""
        self.holdings.followers.discard(self)
        if self._task is not None:
            self._task.cancel()

    def join(self, wanted: Filter, shape: Shape, place: Place | None) -> Client:
        """Somebody follows; `place` is up to where they were told all, None: nothing."""
        if place is not None and not self._feed.is_known(place, self._feed.place()):
            place = None
        group = self.groups.get(wanted)
        if group is None:
            group = self.groups[wanted] = Group(self.holdings, wanted, self._item)
        client = Client(self, group, shape, place)
        group.listeners.add(client)
        self.clients.add(client)
        if not group.has_begun or place is not None:
            self._wake.set()
        return client

    def leave(self, client: Client) -> None:
        """Somebody follows no more."""
        self.clients.discard(client)
        for wanted, group in self.groups.items():
            if client in group.listeners:
                group.listeners.discard(client)
                if not group.listeners:
                    del self.groups[wanted]
                return

    def note(self, key: bytes, *, was_there: bool, is_there: bool, partition: int, offset: int) -> None:
        """Take notice of a change."""
        self._pending[key] = (partition, offset)
        self._wake.set()

    def close(self, error: BaseException | None = None) -> None:
        """The world ended, or nothing of it comes any more."""
        world = self.holdings.world
        if error is None and world != "live":
            self.finish("world-ended", f"the world {world} was dropped")
        else:
            self.finish("shutdown", "the server ends; connect again")

    def finish(self, reason: str, detail: str) -> None:
        """End all streams."""
        for client in self.clients:
            client.finish(reason, detail)

    def can_tell(self, since: Place) -> bool:
        """Whether all that changed since a place is known."""
        return self._feed.is_known(since, self._place) and all(
            not offset or offset >= self.holdings.floor(partition)
            for partition, offset in since.offsets.items()
        )

    def is_still(self, item: Item) -> bool:
        """Whether an item is still as it was found."""
        return self.holdings.current(item.key) == item.current

    def heartbeat(self) -> bytes:
        """JSON of a heartbeat."""
        return self._heartbeat

    async def tick(self) -> None:
        """Tell what changed since the last tick."""
        if self._beginnings != self.holdings.beginnings:
            self._begin_anew()
        await self._begin([group for group in self.groups.values() if not group.has_begun])
        place = self._feed.place()
        pending, self._pending = self._pending, {}
        items = [
            self._item(key, self.holdings.current(key) or Current(*at, self.holdings, key, None))
            for key, at in pending.items()
        ]
        items.sort(key=lambda item: item.current[:2])
        self._number += 1
        tick = Tick(self._number, self._place, place, {item.key: item for item in items})
        self._place = place
        await self._prepare(items)
        turns = _Turns()
        for group in list(self.groups.values()):
            if group.has_begun:
                group.take(tick)
                await turns.give_way()

    def _item(self, key: bytes, current: Current) -> Item:
        return Item(key, current, self._feed.states, self._feed.rows)

    async def _run(self) -> None:
        loop = asyncio.get_running_loop()
        beat_s = loop.time() + BEAT_S
        while True:
            await self._until(beat_s)
            self._wake.clear()
            if loop.time() >= beat_s:
                self._beat()
                beat_s = loop.time() + BEAT_S
            if self._feed.is_whole():
                next_s = loop.time() + max(self._pause_s, self._feed.pause_s())
                await self.tick()
                await asyncio.sleep(max(LEAST_PAUSE_S, next_s - loop.time()))

    async def _until(self, end_s: float) -> None:
        """Wait until there is something to tell, or for the time of the loop."""
        try:
            async with asyncio.timeout_at(end_s):
                await self._wake.wait()
        except TimeoutError:
            return

    def _beat(self) -> None:
        seen_ms = (held.seen_ms for _, held in self.holdings.records())
        self._heartbeat = orjson.dumps(
            {
                "now_ms": int(time.time() * 1000),
                "clock_ms": max(seen_ms, default=None),
                "fault": self._feed.fault(),
            }
        )
        self.beats += 1
        for client in self.clients:
            client.wake()

    def _begin_anew(self) -> None:
        self._beginnings = self.holdings.beginnings
        for group in self.groups.values():
            group.has_begun = False
            group.tick = None
            group.matched = set()
        for client in self.clients:
            client.forget()

    async def _begin(self, groups: list[Group]) -> None:
        """Find what matches now; what changes meanwhile is in the tick that follows."""
        turns = _Turns()
        for key in self.holdings.keys() if groups else []:
            current = self.holdings.current(key)
            if current is None or current.held is None:
                continue
            item = self._item(key, current)
            wanted = [group for group in groups if group.wanted.may_be(item.kind, item.id)]
            if any(group.wanted.reads for group in wanted):
                item.prepare(is_row=False)
            if item.is_there:
                for group in wanted:
                    if not group.wanted.reads or group.matches(item):
                        group.matched.add(key)
            await turns.give_way()
        for group in groups:
            group.has_begun = True

    async def _prepare(self, items: Iterable[Item]) -> None:
        forms = {client.shape.is_row for client in self.clients}
        forms |= {False for wanted in self.groups if wanted.reads}
        turns = _Turns()
        for item in items:
            for is_row in forms:
                item.prepare(is_row=is_row)
            await turns.give_way()

    def _note_end(self, task: asyncio.Task[None]) -> None:
        if not task.cancelled() and (error := task.exception()) is not None:
            structlog.get_logger(__name__).error("streams of a world ended by a bug", exc_info=error)
            self.finish("error", "this is a bug; the log has its trace")


class _Turns:
    """Gives the event loop back now and then."""

    def __init__(self) -> None:
        self._end_s = time.monotonic() + SLICE_S

    async def give_way(self) -> None:
        if time.monotonic() > self._end_s:
            await asyncio.sleep(0)
            self._end_s = time.monotonic() + SLICE_S
