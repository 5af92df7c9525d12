"""Who asks, and what they may see and do."""

from collections.abc import Iterable
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Literal

from starlette.requests import HTTPConnection

Scope = Literal["read", "events", "admin"]
"""read: what is shown; events: what is sent to the twin; admin: dead letters. None includes another."""

SCOPES: tuple[Scope, ...] = ("read", "events", "admin")
"""All there are."""

Way = Literal["key", "session", "oidc", "anonymous", "local"]
"""How somebody was recognised; `local`: there are no keys, and who reaches loopback may do all."""

ALL = "*"
"""The pattern that everything matches."""


@dataclass(frozen=True)
class Principal:
    """Who asks.

    Args:
        worlds: patterns as of file names: `live~*`, `*`; also `kinds`.
        until_s: [s since the epoch] when what they showed opens nothing any more; None: never.
    """

    name: str
    scopes: frozenset[Scope] = frozenset()
    worlds: tuple[str, ...] = (ALL,)
    kinds: tuple[str, ...] = (ALL,)
    way: Way = "key"
    until_s: float | None = None

    def may(self, scope: Scope) -> bool:
        """Whether they have a scope."""
        return scope in self.scopes

    def sees_world(self, world: str) -> bool:
        """Whether a world is there for them."""
        return _matches(world, self.worlds)

    def sees_kind(self, kind: str) -> bool:
        """Whether entities of a kind are there for them."""
        return _matches(kind, self.kinds)

    @property
    def sees_all_worlds(self) -> bool:
        """Whether no world is hidden from them."""
        return ALL in self.worlds

    @property
    def sees_all_kinds(self) -> bool:
        """Whether no kind is hidden from them."""
        return ALL in self.kinds


LOCAL = Principal("local", frozenset(SCOPES), way="local")
"""Whoever reaches a twin without keys."""


def principal_of(connection: HTTPConnection) -> Principal:
    """Who sent a request, or opened a websocket: as `AccessMiddleware` found; `LOCAL` without it."""
    found: Principal | None = connection.scope.get("state", {}).get("principal")
    if found is None and getattr(connection.app.state, "access", None) is not None:
        raise RuntimeError("a request got past AccessMiddleware")
    return found or LOCAL


def _matches(name: str, patterns: Iterable[str]) -> bool:
    return any(fnmatchcase(name, pattern) for pattern in patterns)
