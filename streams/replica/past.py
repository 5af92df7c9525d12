"""A world as of a moment as a mapping, like that of now."""

import asyncio
from sys import intern
from typing import Any
from zlib import crc32

from streams.domain.stamp import Stamp
from streams.history.past import Past, PastEntity
from streams.replica.held import Held
from streams.replica.holdings import Holdings
from streams.replica.overlay import Overlay
from streams.replica.view import WorldView
from streams.replica.worlds import Worlds
from streams.schemas import load_codec

SLICE = 500
"""[1] Entities that are taken before others get the event loop: about 2 ms."""


class PastHeld(Held):
    """An entity of the past in the place of a state record; the record is made when it is asked for."""

    __slots__ = ()

    @property
    def entity(self) -> PastEntity:
        """What is known of it; made anew each time, as one that is kept would be ten objects."""
        return PastEntity.unpack(self[-1])

    def decode(self) -> Any:
        """The whole record (a `State`)."""
        return self.entity.state()

    @property
    def value(self) -> bytes:
        """The framed record."""
        return load_codec("state").encode(self.decode())


class PastView(WorldView):
    """All entities of one world as of a moment: what `WorldView` is of now; nothing in it changes.

    Args:
        holdings: the entities.
        at_ms: [ms since the epoch] the moment.
        mark: a text that is another one for other content.
    """

    def __init__(self, holdings: Holdings, at_ms: int, mark: str) -> None:
        super().__init__(holdings, dict, lambda: False)
        self.at_ms = at_ms
        self._mark = mark

    def mark(self) -> str:
        """A text that is another one for another moment or other content."""
        return self._mark + self._tag()

    def stamp(self) -> Stamp:
        """Snapshot stamp; its clock is the moment."""
        return self.stamped(super().stamp())

    def stamped(self, stamp: Stamp) -> Stamp:
        """A stamp of some of the entities, with the moment as its clock also when there are none."""
        return stamp | {"clock_ms": self.at_ms}

    @property
    def tick_ms(self) -> int | None:
        """[ms since the epoch] Newest tick that any entity closed; None when there is none."""
        return max((held.tick_ms for _, held in self.records() if held.tick_ms), default=None)


async def past_view(past: Past) -> PastView:
    """The entities of a past; gives way to others, however many there are."""
    worlds = Worlds([past.world])
    checksum = 0
    for place, packed in enumerate(past.packed, 1):
        entity = PastEntity.unpack(packed)
        holdings = worlds.named(entity.world)
        hides = entity.is_hidden and isinstance(holdings, Overlay)
        table = holdings.masked if hides and isinstance(holdings, Overlay) else holdings.shown
        table[entity.key] = _held(entity, packed)
        checksum = crc32(f"{entity.change.at_ms}{entity.tick and entity.tick.tick_ms}".encode(), checksum)
        if place % SLICE == 0:
            await asyncio.sleep(0)
    return PastView(worlds.named(past.world), past.at_ms, f"{past.at_ms}-{checksum:08x}-{len(past.packed)}")


def _held(entity: PastEntity, packed: bytes) -> PastHeld:
    tick_ms = entity.tick.tick_ms if entity.tick else 0
    return PastHeld(
        epoch=0,
        version=0,
        partition=0,
        status=intern(entity.status),
        seen_ms=entity.at_ms,
        next_tick_ms=tick_ms + entity.step_ms if tick_ms else 0,
        tick_ms=tick_ms,
        complete=entity.complete,
        value=packed,
    )
