"""What faults do to one value, one metric, one entity: docs/worlds.md, "Faults", word for word.

It shares no code with `streams.domain`.
"""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import Any

from tests.reference.model import HELD, Values

FOREVER = 10**18
DOWN = ("node_down", "link_down")
FREEZING = ("node_down", "link_down", "sensor_silent", "sensor_stuck")
OF_METRICS = ("metric_scale", "metric_offset", "metric_fixed", "metric_ramp", "metric_noise")
CAPACITY = (
    *("number_of_cores", "mem_total_bytes", "mem_available_bytes", "disk_total_bytes", "disk_free_bytes"),
    *("gpu_count", "gpu_mem_total_bytes", "cpu_allocatable", "mem_allocatable_bytes", "gpu_allocatable"),
)
USAGE = ("cpu_usage_percent", "mem_usage_percent", "gpu_usage_percent")
RATES = ("network_receive_bytes_per_s", "network_transmit_bytes_per_s")

Shown = dict[str, tuple[float, int]]
"""Value and time by metric, as `metrics` has them."""
Limits = Mapping[str, tuple[float, float]]


@dataclass
class Fault:
    """One fault; `frozen` has what each of its entities showed before it, once it is frozen."""

    id: str
    kind: str
    entities: list[tuple[str, str]]
    start_ms: int
    end_ms: int
    fields: Mapping[str, Any]
    frozen: dict[str, Shown] = field(default_factory=dict)

    def is_active(self, x_ms: int) -> bool:
        return self.start_ms <= x_ms < self.end_ms

    def freezes(self, metric: str) -> bool:
        if self.kind in DOWN:
            return True
        return self.kind in FREEZING and (not self.fields["metrics"] or metric in self.fields["metrics"])


def changed(
    faults: Iterable[Fault],
    name: str,
    metric: str,
    value: float,
    ramp_ms: int,
    noise_ms: int,
    limits: Limits,
) -> float:
    """A value after the value faults among the active ones; `name` is <kind>/<id percent-encoded>."""
    for fault in faults:
        least, greatest = limits.get(metric, (-math.inf, math.inf))
        new = min(max(effect(fault, name, metric, value, ramp_ms, noise_ms), least), greatest)
        if math.isfinite(new):
            value = new
    return value


def effect(fault: Fault, name: str, metric: str, v: float, ramp_ms: int, noise_ms: int) -> float:
    """v' of the table, before its limits."""
    fields = fault.fields
    if fault.kind in OF_METRICS and metric in fields["metrics"]:
        if fault.kind == "metric_scale":
            return v * fields["factor"]
        if fault.kind == "metric_offset":
            return v + fields["amount"]
        if fault.kind == "metric_fixed":
            return fields["value"]
        if fault.kind == "metric_ramp":
            return v + fields["per_s"] * (ramp_ms - fault.start_ms) / 1000
        return v + fields["stdev"] * g(fields["seed"], name, metric, noise_ms)
    if fault.kind == "link_delay" and metric == "network_delay_ms":
        return v * fields["factor"] + fields["add_ms"]
    if fault.kind == "capacity_cut" and metric in CAPACITY:
        return v * fields["share"]
    if fault.kind == "capacity_cut" and metric in USAGE:
        return min(v / fields["share"], 100.0)
    if fault.kind == "bandwidth_limit" and metric in RATES:
        return min(v, fields["bytes_per_s"])
    return v


def g(seed: int, name: str, metric: str, x_ms: int) -> float:
    """The noise."""
    digest = blake2b(f"{seed}|{name}|{metric}|{x_ms}".encode(), digest_size=48).hexdigest()
    return sum(int(digest[place : place + 8], 16) for place in range(0, 96, 8)) / 2.0**32 - 6


def counting(faults: Iterable[Fault], metric: str) -> Fault | None:
    """Of the active faults in order that freeze a metric the one that counts."""
    freezing = [fault for fault in faults if fault.freezes(metric)]
    down = [fault for fault in freezing if fault.kind in DOWN]
    return (down or freezing or [None])[-1]


def skew_ms(faults: Iterable[Fault]) -> int:
    """Skews of several faults are added up."""
    return sum(fault.fields["skew_ms"] for fault in faults if fault.kind == "clock_skew")


def newest_values(
    known: Shown, faults: list[Fault], key: str, name: str, now_ms: int, limits: Limits
) -> Shown:
    """What `metrics` shows, of what is known; the faults are those that are active at now, in order."""
    shown = {}
    for metric, (value, time_ms) in known.items():
        new = changed(faults, name, metric, value, now_ms, time_ms, limits)
        fault = counting(faults, metric)
        if fault is not None:
            frozen = fault.frozen.get(key, {}).get(metric)
            if fault.kind == "sensor_stuck":
                new = new if frozen is None else frozen[0]
            elif frozen is None:
                continue
            else:
                new, time_ms = frozen
        shown[metric] = (new, time_ms + skew_ms(faults))
    return shown


def tick_values(
    values: Values, faults: list[Fault], key: str, name: str, tick_ms: int, hold_ms: int, limits: Limits
) -> Values:
    """What a tick shows; the faults are those that are active at it, in order."""
    shown = {}
    for metric, (value, quality) in values.items():
        fault = counting(faults, metric)
        frozen = fault and fault.frozen.get(key, {}).get(metric)
        if fault is None or (fault.kind == "sensor_stuck" and frozen is None):
            new = changed(faults, name, metric, value, tick_ms, tick_ms, limits)
            shown[metric] = (new, quality)
        elif fault.kind == "sensor_stuck":
            shown[metric] = (frozen[0], quality)
        elif fault.kind == "sensor_silent" and frozen and tick_ms - frozen[1] <= hold_ms:
            shown[metric] = (frozen[0], HELD)
    return shown
