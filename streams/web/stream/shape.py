"""How what a stream tells is written: as SSE or for a WebSocket; entities, parts of them, or rows."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

import orjson

from streams.domain.where import find
from streams.web.stream.item import Item

ROWS = 200
"""[1] Most rows, or removed entities, of one event."""

CHUNK_BYTES = 60_000
"""[B] What is sent at once, about: what uvicorn lets wait for a client."""

RESTART = b"-"
"""Id of what a snapshot gives: who comes back with it begins anew."""

Told = tuple[Item, str | None]
"""An entity as it is, or why it is gone: `removed` or `filter`."""

Chunk = tuple[bytes, int]
"""What is sent at once, and [1] the messages in it."""


@dataclass(frozen=True, slots=True)
class Shape:
    """What a client wants. `fields` are names as in `where`; empty: whole entities."""

    is_row: bool = False
    fields: tuple[str, ...] = ()
    is_socket: bool = False

    def event(self, name: bytes, id: bytes, data: bytes) -> bytes:
        """One message; `data` is JSON."""
        if self.is_socket:
            return b'{"event":"%b","id":"%b","data":%b}' % (name, id, data)
        return b"event: %b\nid: %b\ndata: %b\n\n" % (name, id, data)

    def entity(self, item: Item) -> bytes:
        """JSON of an entity that can be read."""
        if self.is_row:
            return item.row
        if not self.fields:
            return item.body
        view = item.view
        values = {name: value for name in self.fields if (value := find(view, name)) is not None}
        head = {name: view[name] for name in ("world", "kind", "id", "version")}
        return orjson.dumps(head | {"values": values})

    def write(self, told: Iterable[Told], id_of: Callable[[Item], bytes], start: bytes) -> Iterator[bytes]:
        """Messages that tell of entities, in their order.

        Args:
            told: the entities.
            id_of: the id of what was told up to an entity; is asked in their order.
            start: the id of what was told before.
        """
        if self.is_row:
            yield from self._write_rows(told, id_of, start)
            return
        for item, reason in told:
            if reason is None:
                yield self.event(b"entity", id_of(item), self.entity(item))
            else:
                yield self.event(b"gone", id_of(item), _gone(item, reason))

    def _write_rows(
        self, told: Iterable[Told], id_of: Callable[[Item], bytes], start: bytes
    ) -> Iterator[bytes]:
        rows: list[bytes] = []
        gone: list[bytes] = []
        last = start
        for item, reason in told:
            if reason is None:
                rows.append(self.entity(item))
            else:
                gone.append(_gone(item, reason))
            last = id_of(item)
            if len(rows) == ROWS or len(gone) == ROWS:
                yield from self._flush(rows, gone, start, last)
                start = last
                rows, gone = [], []
        yield from self._flush(rows, gone, start, last)

    def _flush(self, rows: list[bytes], gone: list[bytes], start: bytes, last: bytes) -> Iterator[bytes]:
        if gone:
            # What follows is told for sure only after that: it has the id.
            yield self.event(b"gone", start if rows else last, b"[%b]" % b",".join(gone))
        if rows:
            yield self.event(b"rows", last, b"[%b]" % b",".join(rows))

    def pack(self, messages: Iterable[bytes]) -> Iterator[Chunk]:
        """Messages in chunks; each message of a WebSocket is one."""
        if self.is_socket:
            yield from ((message, 1) for message in messages)
            return
        parts: list[bytes] = []
        size = 0
        for message in messages:
            parts.append(message)
            size += len(message)
            if size >= CHUNK_BYTES:
                yield b"".join(parts), len(parts)
                parts, size = [], 0
        if parts:
            yield b"".join(parts), len(parts)


def _gone(item: Item, reason: str) -> bytes:
    return orjson.dumps({"kind": item.kind, "id": item.id, "reason": reason})
