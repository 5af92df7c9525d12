"""What faults and edits of a world made of one value, one after the other (docs/worlds.md)."""

from collections.abc import Sequence
from typing import NamedTuple

from streams.domain.faults import DOWN, Fault, Limits, changed_value, freezing_fault
from streams.domain.keys import entity_key
from streams.domain.show import widest_hold
from streams.records import State

SHOWN_FIELDS = ("factor", "amount", "value", "per_s", "stdev", "add_ms", "share", "bytes_per_s", "skew_ms")
"""Numbers of a fault that say what it does."""


class Step(NamedTuple):
    """What one fault did.

    Args:
        before: the value without it; None when there was none.
        after: the value with it; None when it takes the value away.
        doing: the numbers that it does it with, such as "factor 2".
    """

    fault: str
    kind: str
    owner: str
    before: float | None
    after: float | None
    doing: str


def steps_of(
    state: State | None,
    faults: Sequence[Fault],
    entity: tuple[str, str],
    metric: str,
    value: float | None,
    *,
    at_ms: int,
    sampled_ms: int | None,
    step_ms: int,
    limits: Limits,
) -> list[Step]:
    """What each fault that is active at a time made of a value, without those that changed nothing.

    Args:
        state: the record in the world, which has what was frozen.
        at_ms: [ms since the epoch] the tick, or the newest time that the entity was told of.
        sampled_ms: [ms since the epoch] time of the newest sample; None: it is the value of a tick.
    """
    active = sorted((fault for fault in faults if fault.is_active(at_ms)), key=lambda fault: fault.order)
    steps: list[Step] = []
    for fault in active:
        if fault.kind == "set" and metric in fault.fields["metrics"]:
            given = float(fault.fields["metrics"][metric][0])
            steps.append(_step(fault, value, given))
            value = given
    where, noise_ms = entity_key("", *entity)[1:], at_ms if sampled_ms is None else sampled_ms
    for fault in active:
        if value is None:
            break
        changed = changed_value([fault], where, metric, value, at_ms, noise_ms, limits)
        if changed != value:
            steps.append(_step(fault, value, changed))
            value = changed
    freezing = freezing_fault(active, metric)
    if freezing is not None:
        tick_ms = at_ms if sampled_ms is None else None
        kept = _frozen(state, freezing, metric, value, tick_ms, step_ms)
        if kept != value:
            steps.append(_step(freezing, value, kept))
            value = kept
    return steps + [_step(fault, value, value) for fault in active if fault.kind == "clock_skew"]


def _step(fault: Fault, before: float | None, after: float | None) -> Step:
    doing = ", ".join(
        f"{name} {fault.fields[name]:g}"
        for name in SHOWN_FIELDS
        if isinstance(fault.fields.get(name), int | float)
    )
    return Step(fault.id, fault.kind, fault.owner, before, after, doing)


def _frozen(
    state: State | None, fault: Fault, metric: str, value: float | None, tick_ms: int | None, step_ms: int
) -> float | None:
    """What a freezing fault shows instead of a value, newest or at a tick."""
    scenario = state["scenario"] if state is not None else None
    if tick_ms is not None and (fault.kind in DOWN or value is None):
        return None
    if state is None or scenario is None:
        return value
    times = zip(scenario["frozen_values"], scenario["frozen_times_ms"], strict=True)
    names = zip(scenario["frozen_faults"], scenario["frozen_names"], strict=True)
    frozen = dict(zip(names, times, strict=True)).get((fault.id, metric))
    if frozen is None:
        return value if fault.kind == "sensor_stuck" else None
    is_late = tick_ms is not None and tick_ms - frozen[1] > widest_hold(state, step_ms)
    return None if fault.kind == "sensor_silent" and is_late else frozen[0]
