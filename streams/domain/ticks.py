"""Rows of the topic `tick`, gathered over a batch and cut into messages."""

import json
from dataclasses import dataclass, field

from streams.records import State, Tick

MAX_ROWS = 200
"""[1] Most closed ticks, and most changes, in one message."""


@dataclass
class TickRows:
    """Closed ticks and changes, in the order in which they came about."""

    rows: list[tuple[State, int, bool, int, list[str], list[float], list[int]]] = field(default_factory=list)
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
        self.rows.append((entity, tick_ms, complete, entity["version"], names, values, qualities))

    def add_change(self, entity: State, at_ms: int, removed: bool = False) -> None:
        """A change of status or attributes, or a removal, as the entity is now."""
        self.changes.append(
            {
                "kind": entity["kind"],
                "id": entity["id"],
                "pool": _pool(entity),
                "at_ms": at_ms,
                "simulated": entity["simulated"],
                "version": entity["version"],
                "status": "" if removed else entity["status"],
                "reason": "" if removed else entity["status_reason"],
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
            {row[0]["world"] for row in self.rows} | {str(change["world"]) for change in self.changes}
        )

    def records(self, world: str, epoch: int) -> list[Tick]:
        """The rows of a world as messages of at most 200 rows."""
        rows = [row for row in self.rows if row[0]["world"] == world]
        changes = [change for change in self.changes if change["world"] == world]
        return [
            _record(world, epoch, rows[start : start + MAX_ROWS], changes[start : start + MAX_ROWS])
            for start in range(0, max(len(rows), len(changes)), MAX_ROWS)
        ]

    def record(self, world: str, epoch: int) -> Tick:
        """The rows of a world as one message, however long."""
        rows = [row for row in self.rows if row[0]["world"] == world]
        return _record(world, epoch, rows, [change for change in self.changes if change["world"] == world])


def _pool(entity: State) -> str:
    return entity["id"] if entity["kind"] == "nodepool" else entity["attributes"].get("nodepool", "")


def _record(
    world: str,
    epoch: int,
    rows: list[tuple[State, int, bool, int, list[str], list[float], list[int]]],
    changes: list[dict[str, object]],
) -> Tick:
    places: dict[str, int] = {}
    metrics: list[int] = []
    values: list[float] = []
    qualities: list[int] = []
    for _, _, _, _, names, row_values, row_qualities in rows:
        metrics += [places.setdefault(name, len(places)) for name in names]
        values += row_values
        qualities += row_qualities
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
        kinds=[row[0]["kind"] for row in rows],
        ids=[row[0]["id"] for row in rows],
        pools=[_pool(row[0]) for row in rows],
        ticks_ms=[row[1] for row in rows],
        complete=[row[2] for row in rows],
        simulated=[row[0]["simulated"] for row in rows],
        versions=[row[3] for row in rows],
        sizes=[len(row[4]) for row in rows],
        names=list(places),
        metrics=metrics,
        values=values,
        qualities=qualities,
        **columns,  # type: ignore[typeddict-item]  # ten columns of the same shape
    )
    return tick
