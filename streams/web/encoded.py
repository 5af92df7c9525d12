"""Entities as encoded JSON: each version is decoded and encoded once, however often it is asked for."""

import asyncio
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple, Protocol
from weakref import WeakKeyDictionary

import orjson

from streams.domain.stamp import Stamp, make_stamp
from streams.domain.view import entity_view
from streams.errors import InvalidMessageError
from streams.records import State
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


class Wanted(Protocol):
    """Chooses among entities."""

    @property
    def reads(self) -> bool:
        """Whether it chooses by what is in an entity."""

    def matches(self, view: dict[str, Any]) -> bool:
        """Whether an entity view is chosen."""


Form = Callable[[State, dict[str, Any]], dict[str, Any]]
"""What goes out of an entity, by its record and its view."""


class EncodedStates:
    """Snapshots of worlds; an overlay shares what it does not change with live.

    Args:
        form: None: the entity's view goes out.
    """

    def __init__(self, form: Form | None = None) -> None:
        self._form = form
        self._caches: WeakKeyDictionary[Holdings, dict[bytes, Encoded]] = WeakKeyDictionary()

    async def snapshot(
        self,
        view: WorldView,
        keys: Iterable[tuple[str, str]] | None = None,
        wanted: Wanted | None = None,
    ) -> Snapshot:
        """The entities of these kinds and ids (None: all) that are wanted; what changes meanwhile does not
        get in. Only views can be chosen among by what is in them."""
        if keys is None:
            records = list(view.records())
        else:
            records = list({record[0]: record for key in keys if (record := view.find(*key))}.values())
        records.sort(key=lambda record: record[0].partition(b"/")[2])
        return await self._snapshot(
            view, records, view.offsets(), wanted if wanted and wanted.reads else None
        )

    async def again(self, view: WorldView, snapshot: Snapshot) -> Snapshot:
        """The entities of a snapshot that others made, as they were then."""
        records = [(key, one.held) for key, one in zip(snapshot.keys, snapshot.entities, strict=True)]
        offsets = {int(partition): offset for partition, offset in snapshot.stamp["offsets"].items()}
        return await self._snapshot(view, records, offsets, None)

    def encoded(self, holdings: Holdings, key: bytes, held: Held) -> Encoded | None:
        """One entity; None when its record is unreadable, which is counted.

        Args:
            holdings: that have the record.
            key: of the record.
            held: the record.
        """
        cache = self._cache(holdings)
        known = cache.get(key)
        if known is not None and known.held is held:
            return known
        encoded = self._fresh(holdings, held)
        if encoded is not None and (key in cache or self._has_room()):
            cache[key] = encoded
        return encoded

    def _fresh(self, holdings: Holdings, held: Held) -> Encoded | None:
        if isinstance(held, PastHeld) and self._form is None:
            tick_ms = held.tick_ms or None
            return Encoded(held, encode_past(held.entity), tick_ms, tick_ms)
        try:
            return self._encode(held)
        except InvalidMessageError as error:
            holdings.count_poisoned(error)
            return None

    async def _snapshot(
        self,
        view: WorldView,
        records: list[tuple[bytes, Held]],
        offsets: dict[int, int],
        wanted: Wanted | None,
    ) -> Snapshot:
        self._forget()
        found_keys: list[bytes] = []
        found: list[Encoded] = []
        worked = 0
        owner, cache, has_room = None, {}, False
        for key, held in records:
            if (whose := view.holdings.owner(key)) is not owner:
                owner, cache = whose, self._cache(whose)
            known = cache.get(key)
            is_kept = known is not None and known.held is held
            if not is_kept or wanted is not None:
                if worked % SLICE == 0:
                    await asyncio.sleep(0)
                    has_room = self._has_room()
                worked += 1
            if not is_kept:
                known = self._fresh(whose, held)
                if known is not None and (has_room or key in cache):
                    cache[key] = known
            if known is not None and (wanted is None or wanted.matches(orjson.loads(known.body))):
                found_keys.append(key)
                found.append(known)
        oldest = min((e.oldest_observed_ms for e in found if e.oldest_observed_ms is not None), default=None)
        stamp = make_stamp(view.world, (entity.held for entity in found), oldest, offsets)
        return Snapshot(found_keys, found, stamp)

    def _encode(self, held: Held) -> Encoded:
        state = held.decode()
        view = entity_view(state)
        times_ms = [metric["observed_at_ms"] for metric in view["metrics"].values()]
        # Numbers that JSON cannot write become null.
        body = orjson.dumps(view if self._form is None else self._form(state, view))
        return Encoded(held, body, min(times_ms, default=None), max(times_ms, default=None))

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
