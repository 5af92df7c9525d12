"""The records that a batch of observations touches, decoded once, before they are written together."""

from collections.abc import Iterator, MutableMapping
from typing import Any

from streams.domain.changes import Changes
from streams.domain.entity import REJECTED, add_source, new_entity
from streams.domain.keys import split_key
from streams.engine.table import TwinTable
from streams.errors import InvalidMessageError
from streams.records import State
from streams.schemas import load_codec

KEPT_FIELDS = (
    *("due_ms", "targets", "version", "epoch", "seen_ms", "source_names", "source_priorities"),
    *("source_intervals_ms", "source_good_ms", "source_failures", "origins", "origin_offsets"),
)
"""What a record has of its sources also when it grew too large for the rest: the indices follow from it."""


class Working(MutableMapping[str, State]):
    """The records that a batch touches, decoded once; None stands for one that was removed."""

    def __init__(self, table: TwinTable) -> None:
        self._table = table
        self._records: dict[str, State | None] = {}

    def get(self, key: str, default: Any = None) -> Any:
        """The record, or the default when there is none; one that does not decode counts as none."""
        if key in self._records:
            record = self._records[key]
            return default if record is None else record
        record = self._stored(key)
        if record is not None:
            self._records[key] = record
        return default if record is None else record

    def __getitem__(self, key: str) -> State:
        record: State | None = self.get(key)
        if record is None:
            raise KeyError(key)
        return record

    def __setitem__(self, key: str, record: State) -> None:
        self._records[key] = record

    def __delitem__(self, key: str) -> None:
        self._records[key] = None

    def __iter__(self) -> Iterator[str]:
        return iter(self._records)

    def __len__(self) -> int:
        return len(self._records)

    def give_up(self, key: str, entity: State, changes: Changes) -> State:
        """The record from before the batch, with the samples that came since counted as rejected."""
        before: State = self._stored(key) or new_entity(*split_key(key))
        for place, name in enumerate(entity["source_names"]):
            source = add_source(before, name)
            counts = before["source_counts"]
            came = sum(entity["source_counts"][5 * place : 5 * place + 5]) - sum(
                counts[5 * source : 5 * source + 5]
            )
            counts[5 * source + REJECTED] += came
        for name in KEPT_FIELDS:
            before[name] = entity[name]  # type: ignore[literal-required]
        whose = (entity["world"], entity["kind"], entity["id"])
        ticks = changes.ticks
        ticks.rows = [row for row in ticks.rows if row.entity is not entity]
        ticks.changes = [row for row in ticks.changes if (row["world"], row["kind"], row["id"]) != whose]
        self._records[key] = before
        return before

    def _stored(self, key: str) -> State | None:
        value = self._table.data.data.get(key.encode())
        if value is None:
            return None
        try:
            record: State = load_codec("state").decode(value)
        except InvalidMessageError as error:
            self._table.refuse(key.encode(), error)
            return None
        return record
