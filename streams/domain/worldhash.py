"""The hash of a world: SHA-256 over its closed ticks (docs/worlds.md, "The hash")."""

import struct
from collections.abc import Iterable, Sequence
from hashlib import sha256

from streams.domain.keys import entity_key

Row = tuple[int, str, str, bool, Sequence[str], Sequence[float], Sequence[int]]
"""Tick [ms], kind, id, complete, and names, values and qualities of the metrics that have a value."""


def world_hash(rows: Iterable[Row]) -> str:
    """SHA-256, in hexadecimal, over closed ticks in any order; each entity's tick is there once."""
    lines = []
    for tick_ms, kind, id, complete, names, values, qualities in rows:
        if not kind.startswith("_"):
            key = entity_key("", kind, id)[1:]
            lines.append((tick_ms, key, _line(tick_ms, key, complete, names, values, qualities)))
    lines.sort()
    found = sha256()
    for _, _, line in lines:
        found.update(line)
    return found.hexdigest()


def _line(
    tick_ms: int,
    key: str,
    complete: bool,
    names: Sequence[str],
    values: Sequence[float],
    qualities: Sequence[int],
) -> bytes:
    cells = [
        f" {name}={struct.pack('>d', value).hex()}:{quality}"
        for name, value, quality in sorted(zip(names, values, qualities, strict=True))
    ]
    return f"{tick_ms} {key} {int(complete)}{''.join(cells)}\n".encode()
