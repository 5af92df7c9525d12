"""An entity as it is since one change, read and written once for all who are told of it."""

from typing import Any

import orjson

from streams.domain.keys import split_key
from streams.replica.holdings import Current
from streams.web.encoded import EncodedStates
from streams.web.filters import free_text


class Item:
    """An entity of a world, or that it is gone; `is_there` once it was prepared: its record is readable.

    Args:
        key: Kafka key by the name of the world.
        current: what is shown of it.
        states: write entities.
        rows: write rows.
    """

    __slots__ = (
        "_body",
        "_row",
        "_rows",
        "_states",
        "_text",
        "_view",
        "current",
        "id",
        "is_there",
        "key",
        "kind",
    )

    def __init__(self, key: bytes, current: Current, states: EncodedStates, rows: EncodedStates) -> None:
        self.key = key
        self.current = current
        _, self.kind, self.id = split_key(key.decode())
        self.is_there = current.held is not None
        self._states = states
        self._rows = rows
        self._body: bytes | None = None
        self._row: bytes | None = None
        self._view: dict[str, Any] | None = None
        self._text: str | None = None

    def prepare(self, *, is_row: bool) -> None:
        """Write it as a row, or as an entity."""
        if self.is_there:
            self.is_there = bool(self.row if is_row else self.body)

    @property
    def body(self) -> bytes:
        """JSON of the entity; empty when it is not there."""
        if self._body is None:
            self._body = self._written(self._states)
        return self._body

    @property
    def row(self) -> bytes:
        """JSON of the row; empty when it is not there."""
        if self._row is None:
            self._row = self._written(self._rows)
        return self._row

    @property
    def view(self) -> dict[str, Any]:
        """The entity's view."""
        if self._view is None:
            self._view = orjson.loads(self.body)
        return self._view

    @property
    def text(self) -> str:
        """Its `free_text`."""
        if self._text is None:
            self._text = free_text(self.view)
        return self._text

    def _written(self, forms: EncodedStates) -> bytes:
        _, _, owner, key, held = self.current
        encoded = None if held is None else forms.encoded(owner, key, held)
        return b"" if encoded is None else encoded.body
