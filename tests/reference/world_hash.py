"""The hash of a world's closed ticks: docs/worlds.md, "The hash", word for word."""

import struct
from collections.abc import Mapping
from hashlib import sha256

from tests.reference.model import Values


def reference_hash(ticks: Mapping[tuple[str, int], tuple[bool, Values]], world: str) -> str:
    """SHA-256 of the ticks of a world, which are given by key and tick, as hexadecimal digits."""
    whole = sha256()
    for key, tick_ms in sorted(ticks, key=lambda place: (place[1], place[0])):
        name, _, entity = key.partition("/")
        if name == world and not entity.startswith("_"):
            whole.update(line_of(entity, tick_ms, *ticks[key, tick_ms]).encode())
    return whole.hexdigest()


def line_of(entity: str, tick_ms: int, complete: bool, values: Values) -> str:
    """The text of one tick of an entity."""
    line = f"{tick_ms} {entity} {int(complete)}"
    for metric in sorted(values):
        value, quality = values[metric]
        line += f" {metric}={struct.pack('>d', value).hex()}:{quality}"
    return line + "\n"
