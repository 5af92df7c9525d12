"""What a simulation says at one step, and the event documents that say it."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from streams.events.models import MAX_SET
from streams.vte.plan import Due

SENDER = "vte"
"""Sender of the events."""

MAX_SET_BYTES = 128 * 1024
"""[B] About the most JSON in one `entity.set`: half of what a message may have."""

METRIC_BYTES = 50
"""[B] About the JSON of one metric."""


class Row(NamedTuple):
    """What an entity is set to; `names` are shared by many rows, `values` go with them."""

    kind: str
    id: str
    attributes: dict[str, str]
    names: tuple[str, ...]
    values: list[float]


@dataclass
class Moment:
    """One step.

    Args:
        create: body of `world.create`, at the beginning.
        due: events of the plan, before what the step sets.
        rows: entities that are set, each once.
        at_ms: [ms since the epoch] time of the rows' samples.
        removed: jobs that are forgotten.
        to_ms: to which the world is advanced then; 0: it is not.
    """

    at_ms: int
    create: dict[str, Any] | None = None
    due: list[Due] = field(default_factory=list)
    rows: list[Row] = field(default_factory=list)
    removed: list[str] = field(default_factory=list)
    to_ms: int = 0

    def events(self) -> Iterator[tuple[str, dict[str, Any]]]:
        """Types and bodies of the events, in their order."""
        yield from self.before()
        for rows in _chunks(self.rows):
            yield "entity.set", {"entities": [_entity(row) for row in rows], "at_ms": self.at_ms}
        yield from self.after()

    def before(self) -> Iterator[tuple[str, dict[str, Any]]]:
        """Events before what the step sets."""
        if self.create is not None:
            yield "world.create", self.create
        yield from self.due

    def after(self) -> Iterator[tuple[str, dict[str, Any]]]:
        """Events after what the step sets."""
        for start in range(0, len(self.removed), MAX_SET):
            ids = self.removed[start : start + MAX_SET]
            yield "entity.remove", {"entities": [{"kind": "job", "id": id} for id in ids]}
        if self.to_ms:
            yield "world.advance", {"to_ms": self.to_ms, "by_ms": None}


def _entity(row: Row) -> dict[str, Any]:
    entity: dict[str, Any] = {"kind": row.kind, "id": row.id}
    if row.attributes:
        entity["attributes"] = row.attributes
    if row.names:
        entity["metrics"] = dict(zip(row.names, row.values, strict=True))
    return entity


def _chunks(rows: list[Row]) -> Iterator[list[Row]]:
    chunk: list[Row] = []
    size = 0
    for row in rows:
        size += 100 + METRIC_BYTES * len(row.names)
        size += sum(len(name) + 2 * len(text) for name, text in row.attributes.items())
        if chunk and (len(chunk) == MAX_SET or size > MAX_SET_BYTES):
            yield chunk
            chunk, size = [], 0
        chunk.append(row)
    if chunk:
        yield chunk
