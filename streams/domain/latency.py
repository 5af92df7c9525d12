"""Delay from nodes to devices over the links between their pools, by the rules of DECICE's latency filter."""

from collections.abc import Iterable, Sequence
from typing import NamedTuple


class Link(NamedTuple):
    """A link that is not down, its delay [ms], and the time of that [ms since the epoch]."""

    a: str
    b: str
    delay_ms: float
    observed_ms: int


class Device(NamedTuple):
    """A device; its pool is empty when it is in none."""

    id: str
    name: str
    pool: str


class Delay(NamedTuple):
    """From one node to all devices together.

    Args:
        pool: of the node; empty when it is in none.
        total_ms: [ms] sum of the delays; None when there is no way to one of them.
        oldest_ms: [ms since the epoch] time of the oldest delay in it; None when no link was needed.
    """

    node: str
    pool: str
    total_ms: float | None
    oldest_ms: int | None


class Links:
    """Delays between pools: links have no direction, and the first of a pair counts."""

    def __init__(self, links: Iterable[Link]) -> None:
        self._found: dict[tuple[str, str], tuple[float, int]] = {}
        for a, b, delay_ms, observed_ms in links:
            self._found.setdefault(_pair(a, b), (delay_ms, observed_ms))

    def total(self, pool: str, pools: Sequence[str | None]) -> tuple[float | None, int | None]:
        """[ms] Sum of the delays from a pool to others, and the time of the oldest of them.

        Within a pool it is 0. What is in no pool (an empty text, or None) is nowhere: even to another such
        there is no way.
        """
        total = 0.0
        oldest_ms: int | None = None
        for other in pools:
            if pool and pool == other:
                continue
            between = self._found.get(_pair(pool, other)) if pool and other else None
            if between is None:
                return None, None
            total += between[0]
            oldest_ms = between[1] if oldest_ms is None else min(oldest_ms, between[1])
        return total, oldest_ms


def delays(
    nodes: Iterable[tuple[str, str]], pools: Sequence[str | None], links: Links, max_ms: float | None
) -> list[Delay]:
    """Delay of each node to devices in these pools (None: unknown), the nearest first.

    Args:
        nodes: pairs of an id and a pool.
        max_ms: [ms] nodes with more, or without a way, are left out; None leaves none out.
    """
    known: dict[str, tuple[float | None, int | None]] = {}
    found = []
    for node, pool in nodes:
        if pool not in known:
            known[pool] = links.total(pool, pools)
        total_ms, oldest_ms = known[pool]
        if max_ms is None or (total_ms is not None and total_ms <= max_ms):
            found.append(Delay(node, pool, total_ms, oldest_ms))
    return sorted(found, key=lambda delay: (delay.total_ms is None, delay.total_ms or 0.0, delay.node))


def find_devices(names: Iterable[str], devices: Sequence[Device]) -> dict[str, Device | None]:
    """Devices by their names, or else their ids; of several of one name the first counts."""
    by_id = {device.id: device for device in devices}
    by_name = {device.name: device for device in reversed(devices)}
    return {name: by_name.get(name) or by_id.get(name) for name in names}


def _pair(a: str, b: str) -> tuple[str, str]:
    return (a, b) if a <= b else (b, a)
