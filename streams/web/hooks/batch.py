"""What one delivery tells: changes, the newest of each entity."""

from collections.abc import Collection
from typing import Any

import orjson

MAX_CHANGES = 200
"""[1] Entities of one delivery."""

MAX_BYTES = 256 << 10
"""[B] Of one delivery; an entity that is larger comes alone."""

HEAD_BYTES = 21_000
"""[B] Left for what stands before the changes: a position has up to 20,000."""


class Batch:
    """Collects messages of a stream.

    `position` is that of the last one, `is_snapshot` tells that what was told before does not hold any more.

    Args:
        events: those that are wanted.
    """

    def __init__(self, events: Collection[str]) -> None:
        self.position = ""
        self.is_snapshot = False
        self._events = events
        self._changes: dict[tuple[str, str], tuple[dict[str, Any], int]] = {}
        self._size = 0

    def __len__(self) -> int:
        """[1] Entities."""
        return len(self._changes)

    @property
    def is_news(self) -> bool:
        """Whether it is worth a delivery."""
        return bool(self._changes) or self.is_snapshot

    def fits(self, message: bytes) -> bool:
        """Whether there is room for one more."""
        if not self._changes:
            return True
        return len(self) < MAX_CHANGES and self._size + len(message) <= MAX_BYTES - HEAD_BYTES

    def take(self, message: bytes) -> None:
        """Add a message as a WebSocket has it."""
        told = orjson.loads(message)
        self.position = told["id"]
        name, data = told["event"], told["data"]
        if name == "snapshot":
            self.is_snapshot = True
            self._changes, self._size = {}, 0
        elif name in ("entity", "gone") and name in self._events:
            key = (data["kind"], data["id"])
            _, old = self._changes.pop(key, ({}, 0))
            self._changes[key] = ({"event": name, "data": data}, len(message))
            self._size += len(message) - old

    def body(self, subscription: str, world: str, sequence: int) -> bytes:
        """JSON of the delivery."""
        return orjson.dumps(
            {
                "subscription": subscription,
                "sequence": sequence,
                "world": world,
                "position": self.position,
                "snapshot": self.is_snapshot,
                "changes": [change for change, _ in self._changes.values()],
            }
        )
