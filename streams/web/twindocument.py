"""Documents of the DECICE data model as encoded JSON, built from what changed, and kept for a moment."""

import asyncio
import json
import time
from collections.abc import Iterable
from functools import cached_property
from hashlib import blake2b
from typing import NamedTuple
from weakref import WeakKeyDictionary

from streams.domain.catalogue import Catalogue
from streams.domain.decice import Item, Part, cluster_info, lay_out, part_of, pool_of
from streams.domain.decice_fields import Fields, MemUnit
from streams.domain.jsontext import read_dict
from streams.domain.latency import Device, Link, Links
from streams.domain.stamp import ALIVE, Stamp, make_stamp
from streams.domain.view import entity_view
from streams.encoding import encode_json
from streams.errors import InvalidMessageError
from streams.replica.held import Held
from streams.replica.holdings import Holdings
from streams.replica.view import WorldView

KEPT_S = 0.25
"""[s] A document is given out for this time, though something changed."""

RENEWED_S = 0.15
"""[s] Whoever asks after this time has the next one built meanwhile: so hardly anybody waits for it."""

MAX_CACHED = 50_000
"""[1] Entities whose objects are kept: some 50 MB. Those beyond are encoded for each document."""

SLICE = 20
"""[1] Entities that are decoded and encoded before others get the event loop: about 2 ms."""


class Cached(NamedTuple):
    """An entity's object, and the record that it was made from; no part for kinds that DECICE has not.

    Args:
        heard_ms: [ms since the epoch] of the newest message of a source; 0 if the entity is not alive, or
            what it is fed by is not scraped.
        messages: a number that grows with each of them.
    """

    held: Held
    part: Part[bytes] | None
    oldest_ms: int | None
    heard_ms: int
    messages: int


class Body(NamedTuple):
    """An answer and its ETag."""

    content: bytes
    tag: str


class TwinDocument:
    """A world at one moment.

    Args:
        taken_s: [s] that moment, by the monotonic clock.
        heard_ms: [ms since the epoch] of each entity that is alive and scraped, when it was heard of.
    """

    def __init__(
        self, mark: str, taken_s: float, parts: list[Part[bytes]], heard_ms: list[int], stamp: Stamp
    ) -> None:
        self.mark = mark
        self.taken_s = taken_s
        self.parts = parts
        self.heard_ms = heard_ms
        self.layout = lay_out(parts)
        self.stamp = stamp

    @property
    def updated_ms(self) -> int:
        """[ms since the epoch] Time of the newest value; 0 when there is none."""
        return self.layout.updated_ms

    @cached_property
    def v2(self) -> Body:
        """The whole document."""
        return _body(b"".join((*self._root, b',"cluster_info":', self._cluster_info, b"}")))

    @cached_property
    def v1(self) -> Body:
        """The whole document without `cluster_info`."""
        return _body(b"".join((*self._root, b"}")))

    @cached_property
    def nodes(self) -> Body:
        """All nodes."""
        return _body(_array(node for pool in self.layout.pools for node in pool.nodes))

    @cached_property
    def nodes_with_pools(self) -> Body:
        """All nodes, each with its pool in `node_info`, which is the last field of a node and never empty."""
        found: list[bytes] = []
        for pool in self.layout.pools:
            end = b',"vertexpool_id":' + encode_json(pool.id) + b"}}"
            found += [node[:-2] + end for node in pool.nodes]
        return _body(_array(found))

    @cached_property
    def links(self) -> Body:
        """All links that have a delay."""
        return _body(self._links)

    @cached_property
    def jobs(self) -> Body:
        """All jobs."""
        return _body(_array(self.layout.jobs))

    @cached_property
    def delays(self) -> Links:
        """Delays between pools."""
        found = []
        for item in map(json.loads, filter(None, self.layout.links)):
            pools = item["vertexpool_a_id"], item["vertexpool_b_id"]
            found.append(Link(*pools, item["network_delay_ms"], round(1000 * item["lastUpdated"])))
        return Links(found)

    @cached_property
    def devices(self) -> list[Device]:
        """All devices, by id."""
        parts = sorted((part for part in self.parts if part.kind == "device"), key=lambda part: part.id)
        return [Device(part.id, json.loads(part.item)["name"], part.pool) for part in parts]

    @property
    def node_pools(self) -> list[tuple[str, str]]:
        """Id and pool of all nodes."""
        return [(part.id, part.pool) for part in self.parts if part.kind == "node"]

    @cached_property
    def _links(self) -> bytes:
        return _array(filter(None, self.layout.links))

    @cached_property
    def _root(self) -> list[bytes]:
        pools: list[bytes] = []
        for pool in self.layout.pools:
            head = pool.own if pool.own is not None else encode_json(pool_of(pool.id, None))
            nodes, devices = _array(pool.nodes), _array(pool.devices)
            pools.append(head[:-1] + b',"nodes":' + nodes + b',"devices":' + devices + b"}")
        updated_s = self.updated_ms / 1000 if self.updated_ms else None
        return [
            b'{"lastUpdated":' + encode_json(updated_s) + b',"vertexpools":',
            _array(pools),
            b',"links":' + self._links + b',"jobs":',
            _array(self.layout.jobs),
        ]

    @cached_property
    def _cluster_info(self) -> bytes:
        clusters = [(id, read_dict(item.decode()) or {}) for id, item in self.layout.clusters]
        # Without the offsets: they would make another document of one that says the same.
        stamp = {name: value for name, value in self.stamp.items() if name not in ("offsets", "clock_ms")}
        return encode_json(cluster_info(clusters, stamp))


class TwinDocuments:
    """The documents of all worlds; an overlay shares what it does not change with live."""

    def __init__(self, catalogue: Catalogue, mem_unit: MemUnit) -> None:
        self._fields = Fields(catalogue, mem_unit)
        self._parts: WeakKeyDictionary[Holdings, dict[bytes, Cached]] = WeakKeyDictionary()
        self._documents: WeakKeyDictionary[Holdings, TwinDocument] = WeakKeyDictionary()
        self._building: WeakKeyDictionary[Holdings, asyncio.Task[TwinDocument]] = WeakKeyDictionary()

    async def of(self, view: WorldView) -> TwinDocument:
        """The document of a world: as it is now, or was at most KEPT_S ago."""
        known = self._documents.get(view.holdings)
        if known is not None and known.mark == view.mark():
            return known
        age_s = KEPT_S if known is None else time.monotonic() - known.taken_s
        if known is not None and age_s < RENEWED_S:
            return known
        building = self._building.get(view.holdings)
        if building is None:
            building = asyncio.create_task(self._renew(view), name=f"DECICE document of {view.world}")
            self._building[view.holdings] = building
        if known is not None and age_s < KEPT_S:
            return known
        return await asyncio.shield(building)  # others wait for it, too

    async def _renew(self, view: WorldView) -> TwinDocument:
        try:
            document = self._documents[view.holdings] = await self._build(view)
        finally:
            del self._building[view.holdings]
        return document

    async def _build(self, view: WorldView) -> TwinDocument:
        mark, taken_s, offsets = view.mark(), time.monotonic(), view.offsets()
        found: list[Cached] = []
        worked = 0
        room = self._room()
        for key, held in list(view.records()):
            cache = self._parts.setdefault(view.holdings.owner(key), {})
            known = cache.get(key)
            if known is None or known.held is not held:
                known = self._encode(view, held, known)
                if known is None:
                    continue
                if key in cache or room > 0:
                    room -= key not in cache
                    cache[key] = known
                worked += 1
                if worked % SLICE == 0:
                    await asyncio.sleep(0)
            found.append(known)
        oldest = min((one.oldest_ms for one in found if one.oldest_ms is not None), default=None)
        stamp = make_stamp(view.world, (one.held for one in found), oldest, offsets)
        parts = [one.part for one in found if one.part is not None]
        return TwinDocument(mark, taken_s, parts, [one.heard_ms for one in found if one.heard_ms], stamp)

    def _encode(self, world: WorldView, held: Held, before: Cached | None) -> Cached | None:
        try:
            state = held.decode()
        except InvalidMessageError as error:
            world.holdings.count_poisoned(error)
            return None
        view = entity_view(state)
        messages = sum(state["origin_offsets"])
        heard_ms = 0
        if held.status in ALIVE and any(target.partition(" ")[2] for target in state["targets"]):
            # What only the clock changed has heard nothing new.
            is_new = before is None or messages != before.messages
            heard_ms = held.seen_ms if before is None or is_new else before.heard_ms
        part = part_of(view, self._fields)
        if part is None:
            return Cached(held, None, None, heard_ms, messages)
        oldest = min((metric["observed_at_ms"] for metric in view["metrics"].values()), default=None)
        encoded: Part[bytes] = Part(part.kind, part.id, part.pool, _encode_item(part), part.updated_ms)
        return Cached(held, encoded, oldest, heard_ms, messages)

    def _room(self) -> int:
        """[1] Entities that may still be kept; those that are gone are not any more."""
        for holdings, cache in self._parts.items():
            if len(cache) > len(holdings.shown):
                for key in [key for key in cache if key not in holdings.shown]:
                    del cache[key]
        return MAX_CACHED - sum(map(len, self._parts.values()))


def _encode_item(part: Part[Item]) -> bytes:
    # DECICE's latency filter fails at a link without a delay, and takes one that is not there for no way.
    if part.kind == "link" and part.item["network_delay_ms"] is None:
        return b""
    return encode_json(part.item)


def _array(items: Iterable[bytes]) -> bytes:
    return b"[" + b",".join(items) + b"]"


def _body(content: bytes) -> Body:
    return Body(content, f'"{blake2b(content, digest_size=12).hexdigest()}"')
