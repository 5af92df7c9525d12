"""Entities as encoded JSON: each version is decoded and encoded once, however often it is asked for."""

import asyncio
from collections.abc import Iterable
from typing import Any, NamedTuple
from weakref import WeakKeyDictionary

from streams.domain.stamp import Stamp, make_stamp
from streams.domain.view import entity_view
from streams.domain.where import Where
from streams.encoding import encode_json
from streams.errors import InvalidMessageError
from streams.replica.held import Held
from streams.replica.holdings import Holdings
from streams.replica.past import PastHeld
from streams.replica.view import WorldView
from streams.web.pastbody import encode_past

MAX_CACHED = 20_000
"""[1] Entities whose JSON is kept: some 50 MB. Those beyond are encoded for each answer."""

SLICE = 50
"""[1] Entities that are decoded and encoded before others get the event loop: about 5 ms."""


class Encoded(NamedTuple):
    """One entity, ready to be sent."""

    held: Held
    body: bytes
    oldest_observed_ms: int | None
    newest_observed_ms: int | None


class Snapshot(NamedTuple):
    """Entities as they were at one moment, sorted by kind and id; `keys` are those of their records."""

    keys: list[bytes]
    entities: list[Encoded]
    stamp: Stamp


class EncodedStates:
    """Snapshots of worlds; an overlay shares what it does not change with live."""

    def __init__(self) -> None:
        self._caches: WeakKeyDictionary[Holdings, dict[bytes, Encoded]] = WeakKeyDictionary()

    async def snapshot(
        self, view: WorldView, keys: Iterable[tuple[str, str]] | None = None, where: Where | None = None
    ) -> Snapshot:
        """The entities of these kinds and ids (None: all) that match; what changes meanwhile does not get
        in."""
        offsets = view.offsets()
        self._forget()
        if keys is None:
            records = list(view.records())
        else:
            records = list({record[0]: record for key in keys if (record := view.find(*key))}.values())
        records.sort(key=lambda record: record[0].partition(b"/")[2])
        found_keys: list[bytes] = []
        found: list[Encoded] = []
        worked = 0
        for key, state in records:
            known = self._cache(view.holdings.owner(key)).get(key)
            if known is None or known.held is not state or (where and where.terms):
                known = self._encode(view, key, state, where)
                worked += 1
                if worked % SLICE == 0:
                    await asyncio.sleep(0)
            if known is not None:
                found_keys.append(key)
                found.append(known)
        oldest = min((e.oldest_observed_ms for e in found if e.oldest_observed_ms is not None), default=None)
        stamp = make_stamp(view.world, (entity.held for entity in found), oldest, offsets)
        return Snapshot(found_keys, found, stamp)

    def _encode(self, world: WorldView, key: bytes, state: Held, where: Where | None) -> Encoded | None:
        if isinstance(state, PastHeld) and not (where and where.terms):
            tick_ms = state.tick_ms or None
            encoded = Encoded(state, encode_past(state.entity), tick_ms, tick_ms)
        else:
            try:
                view = entity_view(state.decode())
            except InvalidMessageError as error:
                world.holdings.count_poisoned(error)
                return None
            if where is not None and not where.matches(view):
                return None
            encoded = _encoded(state, view)
        cache = self._cache(world.holdings.owner(key))
        if key in cache or self._has_room():
            cache[key] = encoded
        return encoded

    def _cache(self, holdings: Holdings) -> dict[bytes, Encoded]:
        """What is kept of a world, for as long as there is the world."""
        return self._caches.setdefault(holdings, {})

    def _has_room(self) -> bool:
        return sum(map(len, self._caches.values())) < MAX_CACHED

    def _forget(self) -> None:
        """Drop what is gone: once for each snapshot, as it looks at all that is kept."""
        for holdings, cache in self._caches.items():
            if len(cache) > len(holdings.shown):
                for key in [key for key in cache if key not in holdings.shown]:
                    del cache[key]


def _encoded(state: Held, view: dict[str, Any]) -> Encoded:
    times_ms = [metric["observed_at_ms"] for metric in view["metrics"].values()]
    return Encoded(state, encode_json(view), min(times_ms, default=None), max(times_ms, default=None))
