"""How often somebody may ask: a bucket of tokens for each."""

import time
from collections.abc import Callable
from ipaddress import IPv6Address, ip_address
from math import ceil

from streams.web.access.config import RateConfig
from streams.web.problems import ProblemError

KEPT = 10_000
"""[1] Buckets that are remembered; who is forgotten begins with a full one."""


class Buckets:
    """A bucket for each name: it holds `burst` requests and gets `per_s` a second."""

    def __init__(self, rate: RateConfig, now_s: Callable[[], float] = time.monotonic) -> None:
        self._rate = rate
        self._now_s = now_s
        self._left: dict[str, tuple[float, float]] = {}

    def take(self, name: str) -> None:
        """Take one request from a bucket.

        Raises:
            ProblemError: 429, it is empty; Retry-After says when it has one again.
        """
        now_s = self._now_s()
        left, at_s = self._left.pop(name, (float(self._rate.burst), now_s))
        left = min(self._rate.burst, left + (now_s - at_s) * self._rate.per_s)
        is_empty = left < 1
        self._left[name] = (left if is_empty else left - 1, now_s)
        if len(self._left) > KEPT:
            del self._left[next(iter(self._left))]  # who has not asked for longest
        if is_empty:
            wait_s = ceil((1 - left) / self._rate.per_s)
            detail = f"more than {self._rate.per_s:g} requests a second: ask again in {wait_s} s"
            raise ProblemError(429, "too-many-requests", detail, headers={"Retry-After": str(wait_s)})


def bucket_of(address: str) -> str:
    """The bucket of an address: of IPv6, that of its /64, as who has one has all of it."""
    try:
        parsed = ip_address(address)
    except ValueError:
        return address
    if isinstance(parsed, IPv6Address):
        return str(parsed.ipv4_mapped or IPv6Address(int(parsed) >> 64 << 64))
    return str(parsed)
