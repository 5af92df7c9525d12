"""What the topics `state` and `tick` say about worlds: what `twin world` prints."""

import time
from collections import Counter
from dataclasses import dataclass, field

from aiokafka import ConsumerRecord

from streams.domain.commands import is_overlay
from streams.domain.keys import split_key
from streams.domain.near import near_names
from streams.domain.ticks import ClosedRow, closed_rows
from streams.domain.worlds import is_own_kind
from streams.errors import InvalidMessageError, TwinError
from streams.records import State, Tick
from streams.schemas import load_codec
from streams.settings import Settings
from streams.tools.scan import TopicScan
from streams.topics import topics_of

SKEW_MS = 60_000
"""[ms] By which the clock of whoever creates a world may be ahead of a worker's."""


@dataclass
class WorldCount:
    """A world: its record, and how many keys of which kind it has. `live` has no record."""

    record: State | None = None
    kinds: Counter[str] = field(default_factory=Counter)
    faults: set[str] = field(default_factory=set)

    @property
    def entities(self) -> int:
        """Entities, without the twin's own records and that of the world."""
        return sum(count for kind, count in self.kinds.items() if not is_own_kind(kind))

    def attribute(self, name: str) -> str:
        """What the world's record says; empty where there is none."""
        return self.record["attributes"].get(name, "") if self.record else ""


class WorldScan:
    """The worlds that the topic `state` has; use `read` again to see what became of them."""

    def __init__(self, settings: Settings) -> None:
        self.scan = TopicScan(settings, topics_of(settings)["state"])
        self._records: dict[str, State] = {}
        self._keys: dict[str, tuple[str, str, str]] = {}

    async def __aenter__(self) -> "WorldScan":
        await self.scan.__aenter__()
        return self

    async def __aexit__(self, *error: object) -> None:
        await self.scan.__aexit__(None, None, None)

    async def read(self) -> dict[str, WorldCount]:
        """All worlds that have a record or an entity, by name."""
        await self.scan.read(self._take)
        worlds: dict[str, WorldCount] = {}
        for world, kind, id in self._keys.values():
            count = worlds.setdefault(world, WorldCount(self._records.get(world)))
            count.kinds[kind] += 1
            if kind == "_fault":
                count.faults.add(id.partition(":")[2])  # an overlay has a copy in each partition
        return dict(sorted(worlds.items(), key=lambda item: (item[0] != "live", item[0])))

    def _take(self, message: ConsumerRecord) -> None:
        key = (message.key or b"").decode(errors="replace")
        try:
            world, kind, id = split_key(key)
        except ValueError:
            return  # no entity's key
        if kind == "world" and not self._take_world(world, message.value):
            return
        if message.value is None:
            self._keys.pop(key, None)
        else:
            self._keys[key] = world, kind, id

    def _take_world(self, world: str, value: bytes | None) -> bool:
        """Take a world's record; whether it is newer than what is known."""
        if value is None:
            self._records.pop(world, None)
            return True
        try:
            state: State = load_codec("state").decode(value)
        except InvalidMessageError:
            return False
        known = self._records.get(world)
        if known and (state["epoch"], state["version"]) < (known["epoch"], known["version"]):
            return False
        self._records[world] = state
        return True


class RowScan:
    """The closed ticks of one world, each once.

    Args:
        from_ms: [ms since the epoch] messages from before it are those of an earlier world of that name.
    """

    def __init__(self, world: str, from_ms: int = 0) -> None:
        self.world = world
        self._from_ms = from_ms
        self._ended_version = 0
        self._is_ended = False
        self._rows: dict[tuple[int, str, str], tuple[int, ClosedRow]] = {}
        self.differing: set[tuple[int, str, str]] = set()

    def rows(self) -> list[ClosedRow]:
        """All rows.

        Raises:
            TwinError: a row came twice with two contents.
        """
        if self.differing:
            shown = ", ".join(f"{kind}/{id} at {tick_ms}" for tick_ms, kind, id in sorted(self.differing)[:5])
            raise TwinError(
                f"world {self.world}: {len(self.differing)} closed ticks are in the topic with two contents:"
                f" {shown}; that is a fault of the twin, or two worlds had this name: use another one"
            )
        return [row for _, row in self._rows.values()]

    def take(self, message: ConsumerRecord) -> None:
        """Take a message of the topic `tick`."""
        try:
            tick: Tick = load_codec("tick").decode(message.value)
        except InvalidMessageError:
            return  # not a record, so it says nothing
        if tick["world"] != self.world or message.timestamp < self._from_ms:
            return
        for version, row in closed_rows(tick):
            if version <= self._ended_version:
                continue  # of an earlier world of this name, sent again
            self._begin_anew()
            if row.kind.startswith("_"):
                continue
            known = self._rows.get(row[:3])
            if known is None or known[0] < version:
                self._rows[row[:3]] = version, row  # of an entity that was removed and came back
            elif known[0] == version and known[1] != row:
                self.differing.add(row[:3])
        self._take_end(tick)

    def _begin_anew(self) -> None:
        """Forget an earlier world of this name, once there is a later one."""
        if self._is_ended:
            self._is_ended = False
            self._rows.clear()
            self.differing.clear()

    def _take_end(self, tick: Tick) -> None:
        """Note the end of a world of this name; an overlay's partitions tell no common order."""
        for kind, removed, version in zip(
            tick["change_kinds"], tick["change_removed"], tick["change_versions"], strict=True
        ):
            if kind == "world" and removed and not is_overlay(self.world):
                self._is_ended = self._is_ended or version > self._ended_version
                self._ended_version = max(self._ended_version, version)


async def read_rows(settings: Settings, world: str) -> list[ClosedRow]:
    """The closed ticks of a world that the topic `tick` has now, each once.

    Raises:
        TwinError: there is no such world, or a tick was closed twice with two contents.
    """
    async with WorldScan(settings) as scan:
        worlds = await scan.read()
    known = worlds.get(world)
    rows = RowScan(world, _begin_ms(known) if known else 0)
    async with TopicScan(settings, topics_of(settings)["tick"]) as ticks:
        await ticks.read(rows.take)
    found = rows.rows()
    if not found and known is None:
        raise TwinError(unknown_world(world, list(worlds)))
    return found


def _begin_ms(world: WorldCount) -> int:
    """From when on messages are those of a world; 0 where its record does not say, or cannot be right."""
    created_ms = int(world.attribute("created_ms") or 0)
    return created_ms - SKEW_MS if created_ms < time.time() * 1000 else 0


def unknown_world(world: str, worlds: list[str]) -> str:
    """That there is no such world, and which there are."""
    near = near_names(world, worlds)
    there = f"there are {', '.join(worlds)}" if worlds else "there are none: is the prefix right?"
    hint = f"; did you mean {near[0]}?" if near else ""
    return f"there is no world {world!r}: {there}{hint}"
