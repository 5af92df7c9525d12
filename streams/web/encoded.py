"""Entities as encoded JSON: each version is decoded and encoded once, however often it is asked for."""

import asyncio
from collections.abc import Iterable
from typing import NamedTuple

from streams.domain.stamp import Stamp, make_stamp
from streams.domain.view import entity_view
from streams.domain.where import Where
from streams.encoding import encode_json
from streams.errors import InvalidMessageError
from streams.replica import TwinReplica
from streams.replica.held import Held

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
    """Entities as they were at one moment, sorted by key."""

    keys: list[bytes]
    entities: list[Encoded]
    stamp: Stamp


class EncodedStates:
    """Snapshots of a replica."""

    def __init__(self, replica: TwinReplica) -> None:
        self._replica = replica
        self._cache: dict[bytes, Encoded] = {}

    async def snapshot(self, keys: Iterable[bytes] | None = None, where: Where | None = None) -> Snapshot:
        """The entities of these keys (None: all) that match; what changes meanwhile does not get in."""
        shown = self._replica.holdings.shown
        offsets = self._replica.offsets()
        wanted = sorted(shown if keys is None else (key for key in keys if key in shown))
        held = [shown[key] for key in wanted]
        found_keys: list[bytes] = []
        found: list[Encoded] = []
        worked = 0
        for key, state in zip(wanted, held, strict=True):
            known = self._cache.get(key)
            if known is None or known.held is not state or (where and where.terms):
                known = self._encode(key, state, where)
                worked += 1
                if worked % SLICE == 0:
                    await asyncio.sleep(0)
            if known is not None:
                found_keys.append(key)
                found.append(known)
        oldest = min((e.oldest_observed_ms for e in found if e.oldest_observed_ms is not None), default=None)
        stamp = make_stamp(self._replica.world, (entity.held for entity in found), oldest, offsets)
        return Snapshot(found_keys, found, stamp)

    def _encode(self, key: bytes, state: Held, where: Where | None) -> Encoded | None:
        try:
            view = entity_view(state.decode())
        except InvalidMessageError as error:
            self._replica.holdings.count_poisoned(error)
            return None
        if where is not None and not where.matches(view):
            return None
        times_ms = [metric["observed_at_ms"] for metric in view["metrics"].values()]
        encoded = Encoded(state, encode_json(view), min(times_ms, default=None), max(times_ms, default=None))
        if key in self._cache or self._has_room():
            self._cache[key] = encoded
        return encoded

    def _has_room(self) -> bool:
        if len(self._cache) >= MAX_CACHED:
            shown = self._replica.holdings.shown
            for key in [key for key in self._cache if key not in shown]:
                del self._cache[key]
        return len(self._cache) < MAX_CACHED
