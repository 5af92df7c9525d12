"""The changes of one entity over a range, with the one from which the range begins."""

from streams.domain.commands import is_overlay
from streams.stores import PastChange, Selection, Store

LIVE = "live"
"""The world that overlays lie over."""


async def read_standing(
    store: Store, world: str, kind: str, id: str, start_ms: int, end_ms: int
) -> list[PastChange]:
    """Changes of status and attributes, in order of time: the newest up to the start, and all up to the end.

    An overlay has those of its own only while it differs from live: until then they are live's.

    Raises:
        StoreError: the store is away, refuses or is too slow.
        TooMuchError: there are more than a store may answer.
    """
    own = await _read(store, world, kind, id, start_ms, end_ms)
    if not is_overlay(world):
        return own
    base = await _read(store, LIVE, kind, id, start_ms, end_ms)
    since_ms = own[0].at_ms if own else end_ms
    return [change for change in base if change.at_ms < since_ms] + own


async def _read(store: Store, world: str, kind: str, id: str, start_ms: int, end_ms: int) -> list[PastChange]:
    before = Selection(0, start_ms + 1, world, (kind,), (id,))
    within = Selection(start_ms + 1, max(start_ms + 2, end_ms), world, (kind,), (id,))
    return [
        *await store.read_changes(before, newest=True),
        *await store.read_changes(within, newest=False),
    ]
