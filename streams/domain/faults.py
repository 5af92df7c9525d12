"""What faults do to values: docs/worlds.md in code."""

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any, Self

from streams.domain.entity import NEVER

DOWN = ("node_down", "link_down")
"""Kinds of fault under which nothing gives values."""

FREEZING = (*DOWN, "sensor_silent", "sensor_stuck")
"""Kinds of fault that need the values from before them."""

CAPACITY = frozenset(
    (
        *("number_of_cores", "mem_total_bytes", "mem_available_bytes", "disk_total_bytes", "disk_free_bytes"),
        *("gpu_count", "gpu_mem_total_bytes", "cpu_allocatable", "mem_allocatable_bytes", "gpu_allocatable"),
    )
)
"""Metrics of which a capacity cut leaves a share."""

USAGE = frozenset(("cpu_usage_percent", "mem_usage_percent", "gpu_usage_percent"))
"""Metrics that grow when the capacity shrinks."""

NETWORK = frozenset(("network_receive_bytes_per_s", "network_transmit_bytes_per_s"))
"""Metrics that a bandwidth limit bounds."""

Limits = Mapping[str, tuple[float, float]]
"""Least and greatest value by metric; the infinities where there is none."""


@dataclass(frozen=True)
class Fault:
    """A fault as it was applied.

    Args:
        entities: pairs of kind and id.
        start_ms: [ms since the epoch] time of the world from which it is active.
        end_ms: until which it is, exclusive; NEVER when it has no end.
        told_ms: time of its event in an overlay, whose entities may be behind; 0 in an isolated world.
        fields: what its kind needs.
    """

    id: str
    kind: str
    entities: tuple[tuple[str, str], ...]
    owner: str
    start_ms: int
    end_ms: int
    told_ms: int
    fields: Mapping[str, Any]

    @classmethod
    def from_body(cls, body: Mapping[str, Any], now_ms: int, told_ms: int = 0) -> Self:
        """The fault of a `fault.start`, or of its record."""
        start_ms = now_ms if body["start_ms"] is None else body["start_ms"]
        end_ms = body["end_ms"]
        if body.get("duration_ms") is not None:
            end_ms = start_ms + body["duration_ms"]
        known = ("fault", "kind", "entities", "owner", "start_ms", "end_ms", "duration_ms", "told_ms")
        return cls(
            body["fault"],
            body["kind"],
            tuple((kind, id) for kind, id in body["entities"]),
            body["owner"],
            start_ms,
            NEVER if end_ms is None else end_ms,
            body.get("told_ms", told_ms),
            {
                name: value
                for name, value in body.items()
                if name not in (*known, "type", "home", "max_entities")
            },
        )

    def to_json(self) -> str:
        """JSON that `from_body` reads."""
        body = {
            "fault": self.id,
            "kind": self.kind,
            "entities": self.entities,
            "owner": self.owner,
            "start_ms": self.start_ms,
            "end_ms": None if self.end_ms == NEVER else self.end_ms,
            "told_ms": self.told_ms,
        }
        return json.dumps(body | dict(self.fields), sort_keys=True, ensure_ascii=False)

    def is_active(self, now_ms: int) -> bool:
        """Whether it is active at a time of an entity."""
        return self.start_ms <= max(now_ms, self.told_ms) and now_ms < self.end_ms

    def has_begun(self, now_ms: int) -> bool:
        """Whether it is active, or was, at a time of an entity."""
        return self.start_ms <= max(now_ms, self.told_ms)

    def concerns(self, metric: str) -> bool:
        """Whether it freezes this metric."""
        if self.kind not in FREEZING:
            return False
        return self.kind in DOWN or not self.fields["metrics"] or metric in self.fields["metrics"]

    @property
    def order(self) -> tuple[int, str]:
        """Faults of an entity apply in this order."""
        return self.start_ms, self.id


def changed_value(
    faults: Iterable[Fault], entity: str, metric: str, value: float, at_ms: int, noise_ms: int, limits: Limits
) -> float:
    """A value after the value faults among `faults`, which are in order and active.

    Args:
        entity: kind/id, percent-encoded.
        at_ms: time at which a ramp is taken.
        noise_ms: time that noise depends on.
        limits: of the catalogue.
    """
    for fault in faults:
        effect = _EFFECTS.get(fault.kind)
        if effect is None or (fault.kind in _METRIC and metric not in fault.fields["metrics"]):
            continue
        changed = effect(fault, _Place(entity, metric, at_ms, noise_ms), value)
        low, high = limits.get(metric, _UNLIMITED)
        changed = min(max(changed, low), high)
        if changed - changed == 0.0:
            value = changed
    return value


def noise(seed: int, entity: str, metric: str, at_ms: int) -> float:
    """A number near a standard normal one, the same for the same arguments: a sum of twelve uniform ones."""
    text = f"{seed}|{entity}|{metric}|{at_ms}".encode()
    digest = blake2b(text, digest_size=48).digest()
    total = sum(int.from_bytes(digest[start : start + 4], "big") for start in range(0, 48, 4))
    return total / 2**32 - 6


def skew_of(faults: Iterable[Fault]) -> int:
    """[ms] What faults add to sample times."""
    return sum(fault.fields["skew_ms"] for fault in faults if fault.kind == "clock_skew")


def freezing_fault(faults: Iterable[Fault], metric: str) -> Fault | None:
    """Of active faults in order, the one that freezes a metric: the last, but `down` before all others."""
    found: Fault | None = None
    for fault in faults:
        if fault.concerns(metric):
            if found is not None and found.kind in DOWN and fault.kind not in DOWN:
                continue
            found = fault
    return found


_METRIC = ("metric_scale", "metric_offset", "metric_fixed", "metric_ramp", "metric_noise")

_UNLIMITED = (float("-inf"), float("inf"))


@dataclass(frozen=True, slots=True)
class _Place:
    entity: str
    metric: str
    at_ms: int
    noise_ms: int


def _ramp(fault: Fault, place: _Place, value: float) -> float:
    return float(value + fault.fields["per_s"] * (place.at_ms - fault.start_ms) / 1000)


def _noise(fault: Fault, place: _Place, value: float) -> float:
    scatter = noise(fault.fields["seed"], place.entity, place.metric, place.noise_ms)
    return float(value + fault.fields["stdev"] * scatter)


def _delay(fault: Fault, place: _Place, value: float) -> float:
    if place.metric != "network_delay_ms":
        return value
    return float(value * fault.fields["factor"] + fault.fields["add_ms"])


def _cut(fault: Fault, place: _Place, value: float) -> float:
    share = fault.fields["share"]
    if place.metric in CAPACITY:
        return float(value * share)
    return min(value / share, 100.0) if place.metric in USAGE else value


def _limit(fault: Fault, place: _Place, value: float) -> float:
    return min(value, fault.fields["bytes_per_s"]) if place.metric in NETWORK else value


_EFFECTS: dict[str, Callable[[Fault, _Place, float], float]] = {
    "metric_scale": lambda fault, _, value: value * fault.fields["factor"],
    "metric_offset": lambda fault, _, value: value + fault.fields["amount"],
    "metric_fixed": lambda fault, _, value: fault.fields["value"],
    "metric_ramp": _ramp,
    "metric_noise": _noise,
    "link_delay": _delay,
    "capacity_cut": _cut,
    "bandwidth_limit": _limit,
}
