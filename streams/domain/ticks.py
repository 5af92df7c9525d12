"""Rows of the topic `tick`, gathered over a batch and cut into messages."""

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

from streams.records import State, Tick

MAX_ROWS = 200
"""[1] Most closed ticks, and most changes, in one message."""


class TickRow(NamedTuple):
    """One closed tick; what can change of the entity is kept as it was when the tick closed."""

    entity: State
    pool: str
    simulated: bool
    version: int
    tick_ms: int
    complete: bool
    names: list[str]
    values: list[float]
    qualities: list[int]


class ClosedRow(NamedTuple):
    """A closed tick of an entity, as the topic has it and the hash of a world takes it."""

    tick_ms: int
    kind: str
    id: str
    complete: bool
    names: list[str]
    values: list[float]
    qualities: list[int]


def closed_rows(tick: Tick) -> Iterator[tuple[int, ClosedRow]]:
    """Version and content of each closed tick in a message."""
    stop = 0
    for place, size in enumerate(tick["sizes"]):
        start, stop = stop, stop + size
        yield (
            tick["versions"][place],
            ClosedRow(
                tick["ticks_ms"][place],
                tick["kinds"][place],
                tick["ids"][place],
                tick["complete"][place],
                [tick["names"][metric] for metric in tick["metrics"][start:stop]],
                tick["values"][start:stop],
                tick["qualities"][start:stop],
            ),
        )


@dataclass
class TickRows:
    """Closed ticks and changes, in the order in which they came about."""

    rows: list["TickRow"] = field(default_factory=list)
    changes: list[dict[str, object]] = field(default_factory=list)

    def add(
        self,
        entity: State,
        tick_ms: int,
        complete: bool,
        names: list[str],
        values: list[float],
        qualities: list[int],
    ) -> None:
        """One closed tick of an entity."""
        row = TickRow(
            entity,
            _pool(entity),
            entity["simulated"],
            entity["version"],
            tick_ms,
            complete,
            names,
            values,
            qualities,
        )
        self.rows.append(row)

    def add_change(self, entity: State, at_ms: int, removed: bool = False, reason: str = "") -> None:
        """A change of status or attributes, or a removal and the reason for it, as the entity is now."""
        self.changes.append(
            {
                "kind": entity["kind"],
                "id": entity["id"],
                "pool": _pool(entity),
                "at_ms": at_ms,
                "simulated": entity["simulated"],
                "version": entity["version"],
                "status": "" if removed else entity["status"],
                "reason": reason if removed else entity["status_reason"],
                "attributes": json.dumps(entity["attributes"], sort_keys=True, ensure_ascii=False),
                "removed": removed,
                "world": entity["world"],
            }
        )

    def __bool__(self) -> bool:
        return bool(self.rows or self.changes)

    def worlds(self) -> list[str]:
        """Worlds of which there are rows."""
        return sorted(
            {row.entity["world"] for row in self.rows} | {str(change["world"]) for change in self.changes}
        )

    def records(self, world: str, epoch: int) -> list[Tick]:
        """The rows of a world as messages of at most 200 rows."""
        rows = [row for row in self.rows if row.entity["world"] == world]
        changes = [change for change in self.changes if change["world"] == world]
        return [
            _record(world, epoch, rows[start : start + MAX_ROWS], changes[start : start + MAX_ROWS])
            for start in range(0, max(len(rows), len(changes)), MAX_ROWS)
        ]

    def record(self, world: str, epoch: int) -> Tick:
        """The rows of a world as one message, however long."""
        rows = [row for row in self.rows if row.entity["world"] == world]
        return _record(world, epoch, rows, [change for change in self.changes if change["world"] == world])


def _pool(entity: State) -> str:
    return entity["id"] if entity["kind"] == "nodepool" else entity["attributes"].get("nodepool", "")


def _record(
    world: str,
    epoch: int,
    rows: list[TickRow],
    changes: list[dict[str, object]],
) -> Tick:
    places: dict[str, int] = {}
    metrics: list[int] = []
    values: list[float] = []
    qualities: list[int] = []
    for row in rows:
        metrics += [places.setdefault(name, len(places)) for name in row.names]
        values += row.values
        qualities += row.qualities
    columns = {
        f"change_{plural}": [change[name] for change in changes]
        for name, plural in (
            ("kind", "kinds"),
            ("id", "ids"),
            ("pool", "pools"),
            ("at_ms", "at_ms"),
            ("simulated", "simulated"),
            ("version", "versions"),
            ("status", "statuses"),
            ("reason", "reasons"),
            ("attributes", "attributes"),
            ("removed", "removed"),
        )
    }
    tick: Tick = Tick(
        world=world,
        epoch=epoch,
        kinds=[row.entity["kind"] for row in rows],
        ids=[row.entity["id"] for row in rows],
        pools=[row.pool for row in rows],
        ticks_ms=[row.tick_ms for row in rows],
        complete=[row.complete for row in rows],
        simulated=[row.simulated for row in rows],
        versions=[row.version for row in rows],
        sizes=[len(row.names) for row in rows],
        names=list(places),
        metrics=metrics,
        values=values,
        qualities=qualities,
        **columns,  # type: ignore[typeddict-item]  # ten columns of the same shape
    )
    return tick
