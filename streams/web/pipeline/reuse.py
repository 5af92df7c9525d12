"""Answers that cost much, given again while they are young against what they cost."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Hashable
from dataclasses import dataclass, field
from typing import Any

SHARE = 0.05
"""[1] Of the time that making the answers may take: one that took 200 ms is given for 4 s."""

LONGEST_S = 30.0
"""[s] For which one is given again at most."""

KEPT = 50
"""[1] Answers that are kept; beyond, the one that was made first is dropped."""


@dataclass
class _Kept:
    turn: asyncio.Lock = field(default_factory=asyncio.Lock)
    answer: Any = None
    until_s: float = 0.0


class Reused:
    """Keeps answers; those who ask meanwhile wait for the same one."""

    def __init__(self, share: float = SHARE, clock: Callable[[], float] = time.monotonic) -> None:
        self._share = share
        self._clock = clock
        self._kept: dict[Hashable, _Kept] = {}

    async def get(self, key: Hashable, make: Callable[[], Awaitable[Any]]) -> Any:
        """The answer of a key; what `make` raises is raised, and not kept."""
        kept = self._kept.setdefault(key, _Kept())
        if len(self._kept) > KEPT:
            del self._kept[next(iter(self._kept))]
        async with kept.turn:
            began_s = self._clock()
            if began_s >= kept.until_s:
                kept.answer = await make()
                now_s = self._clock()
                kept.until_s = now_s + min(LONGEST_S, (now_s - began_s) / self._share)
            return kept.answer
