"""Changes of a replica, for those who follow it; a slow one skips versions and never fills memory."""

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import Any, Protocol, Self

from streams.domain.keys import split_key


class Follower(Protocol):
    """Wants to know what changes in a world."""

    def note(self, key: bytes, *, was_there: bool, is_there: bool, partition: int, offset: int) -> None:
        """Take notice of what a record at an offset changed."""

    def close(self, error: BaseException | None = None) -> None:
        """Nothing changes any more."""


class Watcher(Protocol):
    """Wants to know what changes in the holdings that it lies over."""

    def note_base(self, key: bytes, *, was_there: bool, is_there: bool, partition: int, offset: int) -> None:
        """Take notice of what a record at an offset changed."""


@dataclass(frozen=True, slots=True)
class Change:
    """An entity that changed; `entity` is its view (DESIGN: the entity record), None when it was removed."""

    kind: str
    id: str
    entity: dict[str, Any] | None


class Changes(AsyncIterator[Change]):
    """`async for change in twin.changes()`: each entity that changed since it was last given, in order of
    change.

    Only which entities changed is kept, so that the newest version is what is given and memory is bounded by
    the number of entities. An entity that came and went while nobody looked is not mentioned.
    """

    def __init__(self, view: Callable[[bytes], dict[str, Any] | None]) -> None:
        self._view = view
        self._pending: dict[bytes, bool] = {}  # key: whether the follower was never told of it
        self._wake = asyncio.Event()
        self._error: BaseException | None = None
        self._closed = False

    def __len__(self) -> int:
        """[1] Entities that wait to be given."""
        return len(self._pending)

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Change:
        while not self._pending:
            if self._error is not None:
                raise self._error
            if self._closed:
                raise StopAsyncIteration
            self._wake.clear()
            await self._wake.wait()
        key = next(iter(self._pending))
        del self._pending[key]
        _, kind, id = split_key(key.decode())
        return Change(kind, id, self._view(key))

    def note(self, key: bytes, *, was_there: bool, is_there: bool, partition: int, offset: int) -> None:
        """Take notice of a change."""
        if is_there:
            self.put(key, is_new=not was_there)
        elif was_there:
            self.remove(key)

    def put(self, key: bytes, *, is_new: bool) -> None:
        """Note that the entity of this key changed; `is_new` when the replica did not hold it before."""
        self._pending.setdefault(key, is_new)
        self._wake.set()

    def remove(self, key: bytes) -> None:
        """Note that the entity of this key was removed."""
        if self._pending.get(key):
            del self._pending[key]  # never told of it, so there is nothing to take back
            return
        self._pending[key] = False
        self._wake.set()

    def clear(self) -> None:
        """Skip what is pending, for a follower who has just looked at everything."""
        self._pending.clear()

    def close(self, error: BaseException | None = None) -> None:
        """End the iteration after what is pending, with an error if there is one."""
        self._closed = True
        self._error = error
        self._wake.set()
