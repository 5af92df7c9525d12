"""Finds whose key somebody shows."""

import time
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from hmac import compare_digest

from streams.web.access.config import KeyConfig, hash_of
from streams.web.access.principal import Principal, Way
from streams.web.access.require import unauthorized


class Keyring:
    """All keys; what is compared is hashes, each with all, so that the time tells nothing."""

    def __init__(self, keys: Iterable[KeyConfig], now_s: Callable[[], float] = time.time) -> None:
        self._keys = [(key, key.sha256.lower(), _principal(key, "key")) for key in keys]
        self._now_s = now_s

    def find(self, shown: str) -> KeyConfig | None:
        """The key that this text is, be it expired."""
        found: KeyConfig | None = None
        given = hash_of(shown)
        for key, known, _ in self._keys:
            if compare_digest(given, known):
                found = key
        return found

    def named(self, name: str) -> KeyConfig | None:
        """The key of a name."""
        return next((key for key, _, _ in self._keys if key.name == name), None)

    def principal(self, shown: str, what: str, way: Way = "key") -> Principal:
        """Who shows this text.

        Args:
            what: names, in errors, what it was shown in.

        Raises:
            ProblemError: 401; it is no key, or one that expired.
        """
        key = self.find(shown)
        if key is None:
            raise unauthorized(f"{what} has no key that is known here", error="invalid_token")
        if self.is_over(key):
            until = datetime.fromtimestamp(key.expires_s or 0, UTC).isoformat()
            raise unauthorized(f"the key {key.name} expired at {until}", "expired-key", "invalid_token")
        return _principal(key, way)

    def is_over(self, key: KeyConfig) -> bool:
        """Whether a key opens nothing any more."""
        return key.expires_s is not None and self._now_s() >= key.expires_s


def _principal(key: KeyConfig, way: Way) -> Principal:
    return Principal(key.name, frozenset(key.scopes), tuple(key.worlds), tuple(key.kinds), way, key.expires_s)
