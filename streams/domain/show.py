"""What an entity shows under its faults: newest values, closed ticks and status (docs/worlds.md)."""

from collections.abc import Sequence
from typing import NamedTuple

from streams.domain.entity import HELD, NAN, hold_ms
from streams.domain.faults import (
    DOWN,
    FREEZING,
    Fault,
    Limits,
    changed_value,
    freezing_fault,
    skew_of,
)
from streams.domain.keys import entity_key
from streams.domain.newest import head_value, newest_heads, shown_values
from streams.domain.settle import Settled
from streams.records import Scenario, State


class ShownTick(NamedTuple):
    """A closed tick as it is shown."""

    tick_ms: int
    complete: bool
    names: list[str]
    values: list[float]
    qualities: list[int]


def aligned_tick(entity: State) -> ShownTick:
    """The newest closed tick, as the entity shows it."""
    return ShownTick(
        entity["tick_ms"],
        entity["complete"],
        entity["aligned_names"],
        entity["aligned_values"],
        entity["aligned_qualities"],
    )


def align_to(entity: State, row: ShownTick) -> None:
    """Show a tick as the newest closed one."""
    entity["tick_ms"], entity["complete"] = row.tick_ms, row.complete
    entity["aligned_names"], entity["aligned_values"] = row.names, row.values
    entity["aligned_qualities"] = row.qualities


def ticks_of(settled: Settled) -> list[ShownTick]:
    """The ticks that closed, as they are without faults."""
    return [
        ShownTick(tick, tick <= settled.complete_ms, names, values, qualities)
        for tick, names, values, qualities in settled.closed
    ]


def unfrozen(entity: State, faults: Sequence[Fault], now_ms: int) -> list[Fault]:
    """Faults that have begun and need what the entity shows, but did not keep it yet."""
    scenario = entity["scenario"]
    known = set(scenario["frozen_faults"]) if scenario else set()
    return [
        fault
        for fault in faults
        if fault.kind in FREEZING and fault.has_begun(now_ms) and fault.id not in known
    ]


def freeze(entity: State, faults: Sequence[Fault], now_ms: int) -> None:
    """Keep what the entity shows for those active faults that need it and did not keep it yet."""
    waiting = unfrozen(entity, faults, now_ms)
    if not waiting:
        return
    shown = shown_values(entity)
    scenario = scenario_of(entity)
    for fault in waiting:
        # A metric without a name marks that the fault was here, whatever there was to keep.
        kept = [("", (0.0, 0)), *((name, one) for name, one in shown.items() if fault.concerns(name))]
        for name, (value, time_ms) in kept:
            scenario["frozen_faults"].append(fault.id)
            scenario["frozen_names"].append(name)
            scenario["frozen_values"].append(value)
            scenario["frozen_times_ms"].append(time_ms)


def show_newest(
    entity: State, faults: Sequence[Fault], now_ms: int, limits: Limits, closed_ms: int | None = None
) -> None:
    """Lay the faults that are active now over the newest values, and forget what ended ones froze.

    Args:
        closed_ms: ticks up to here are closed, so that what ended by then is over; now, unless it is given.
    """
    active = [fault for fault in faults if fault.is_active(now_ms)]
    kept = {fault.id for fault in faults if fault.end_ms > (now_ms if closed_ms is None else closed_ms)}
    if not active and not kept:
        entity["scenario"] = None
        return
    scenario = scenario_of(entity)
    forget_frozen(scenario, kept)
    scenario["faults"] = [fault.id for fault in active]
    scenario["hidden"] = any(fault.kind == "remove" for fault in active)
    scenario["names"], scenario["values"], scenario["times_ms"] = [], [], []
    known = {
        name: (head_value(entity, head), entity["head_times_ms"][head])
        for name, head in newest_heads(entity).items()
    }
    for name, (value, time_ms) in _set_values(active, known).items():
        shown = _shown_value(entity, active, name, value, time_ms, now_ms, limits)
        if shown != known.get(name):
            scenario["names"].append(name)
            scenario["values"].append(shown[0])
            scenario["times_ms"].append(shown[1])


def show_ticks(
    entity: State, faults: Sequence[Fault], rows: Sequence[ShownTick], step_ms: int, limits: Limits
) -> list[ShownTick]:
    """The ticks as the faults that are active at each show them; `entity` is as it was before them."""
    shown = []
    last_ms = entity["tick_ms"]
    hold = widest_hold(entity, step_ms)
    for row in rows:
        active = [fault for fault in faults if fault.is_active(row.tick_ms)]
        changed = _shown_tick(entity, active, row, hold, limits) if active else row
        if changed is None or not changed.names:
            continue
        skew_ms = skew_of(active)
        tick_ms = row.tick_ms + step_ms * ((2 * skew_ms + step_ms) // (2 * step_ms))
        if tick_ms > last_ms:
            shown.append(changed._replace(tick_ms=tick_ms))
            last_ms = tick_ms
    return shown


def judge(
    entity: State, faults: Sequence[Fault], now_ms: int, status: str, reason: str, step_ms: int
) -> tuple[str, str]:
    """Status and reason under the active faults, where `status` and `reason` are those without them."""
    active = [fault for fault in faults if fault.is_active(now_ms)]
    downs = [fault for fault in active if fault.kind in DOWN]
    if downs:
        return "down", f"fault {downs[-1].id}: {downs[-1].kind}"
    silencing = [fault for fault in active if fault.kind == "sensor_silent"]
    if not silencing or status not in ("up", "degraded"):
        return status, reason
    names = set(entity["head_names"])
    stale = {name for name in names if _is_silenced(entity, active, name, now_ms, step_ms)}
    if stale and stale == names:
        return "down", f"fault {silencing[-1].id}: sensor_silent"
    return ("degraded", "stale: " + ", ".join(sorted(stale))) if stale else (status, reason)


def scenario_of(entity: State) -> Scenario:
    """What faults changed of an entity; an empty one is put there when there is none."""
    scenario = entity["scenario"]
    if scenario is None:
        scenario = entity["scenario"] = Scenario(
            faults=[],
            names=[],
            values=[],
            times_ms=[],
            frozen_faults=[],
            frozen_names=[],
            frozen_values=[],
            frozen_times_ms=[],
            hidden=False,
        )
    return scenario


def begin_anew(entity: State) -> None:
    """Forget ticks, what is frozen and since when the status is: live has another entity there, or none."""
    align_to(entity, ShownTick(0, False, [], [], []))
    forget_frozen(scenario_of(entity), set())
    entity["status_since_ms"] = 0


def widest_hold(entity: State, step_ms: int) -> int:
    """[ms] Largest hold of the sources of an entity."""
    return max((hold_ms(interval, step_ms) for interval in entity["source_intervals_ms"]), default=0)


def next_stale_ms(entity: State, active: Sequence[Fault], step_ms: int, now_ms: int) -> list[int]:
    """[ms] When values that a silent sensor froze become stale after now."""
    scenario = scenario_of(entity)
    hold = widest_hold(entity, step_ms)
    silencing = {fault.id for fault in active if fault.kind == "sensor_silent"}
    return [
        time_ms + hold + 1
        for fault, time_ms in zip(scenario["frozen_faults"], scenario["frozen_times_ms"], strict=True)
        if fault in silencing and time_ms + hold >= now_ms
    ]


def _set_values(active: Sequence[Fault], known: dict[str, tuple[float, int]]) -> dict[str, tuple[float, int]]:
    """The newest values, those included that an `entity.set` of an overlay gave."""
    values = dict(known)
    for fault in active:
        if fault.kind == "set":
            values |= {name: (value, time) for name, (value, time) in fault.fields["metrics"].items()}
    return values


def _shown_value(
    entity: State,
    active: Sequence[Fault],
    name: str,
    value: float,
    time_ms: int,
    now_ms: int,
    limits: Limits,
) -> tuple[float, int]:
    changed = changed_value(active, _name_of(entity), name, value, now_ms, time_ms, limits)
    fault = freezing_fault(active, name)
    if fault is not None:
        kept = _frozen(entity, fault.id, name)
        if fault.kind == "sensor_stuck":
            changed = kept[0] if kept else changed
        else:
            changed, time_ms = kept or (NAN, time_ms)
    return changed, time_ms + skew_of(active)


def _shown_tick(
    entity: State, active: Sequence[Fault], row: ShownTick, hold: int, limits: Limits
) -> ShownTick | None:
    if any(fault.kind in DOWN for fault in active):
        return None
    tick_ms, where = row.tick_ms, _name_of(entity)
    given = {name: (value, HELD) for name, (value, _) in _set_values(active, {}).items()}
    found = dict(zip(row.names, zip(row.values, row.qualities, strict=True), strict=True)) | given
    shown: dict[str, tuple[float, int]] = {}
    for name, (value, quality) in found.items():
        changed = changed_value(active, where, name, value, tick_ms, tick_ms, limits)
        fault = freezing_fault(active, name)
        if fault is not None:
            kept = _frozen(entity, fault.id, name)
            if fault.kind == "sensor_stuck":
                changed = kept[0] if kept else changed
            elif kept is None or tick_ms - kept[1] > hold:
                continue
            else:
                changed, quality = kept[0], HELD
        shown[name] = (changed, quality)
    return ShownTick(
        tick_ms,
        row.complete,
        list(shown),
        [value for value, _ in shown.values()],
        [quality for _, quality in shown.values()],
    )


def _frozen(entity: State, fault: str, name: str) -> tuple[float, int] | None:
    scenario = scenario_of(entity)
    for place, (other, metric) in enumerate(
        zip(scenario["frozen_faults"], scenario["frozen_names"], strict=True)
    ):
        if other == fault and metric == name:
            return scenario["frozen_values"][place], scenario["frozen_times_ms"][place]
    return None


def forget_frozen(scenario: Scenario, kept: set[str]) -> None:
    """Forget what faults froze, but for those that are named."""
    places = [place for place, fault in enumerate(scenario["frozen_faults"]) if fault in kept]
    if len(places) == len(scenario["frozen_faults"]):
        return
    scenario["frozen_names"] = [scenario["frozen_names"][place] for place in places]
    scenario["frozen_values"] = [scenario["frozen_values"][place] for place in places]
    scenario["frozen_times_ms"] = [scenario["frozen_times_ms"][place] for place in places]
    scenario["frozen_faults"] = [scenario["frozen_faults"][place] for place in places]


def _is_silenced(entity: State, active: Sequence[Fault], name: str, now_ms: int, step_ms: int) -> bool:
    fault = freezing_fault(active, name)
    if fault is None or fault.kind != "sensor_silent":
        return False
    kept = _frozen(entity, fault.id, name)
    return kept is None or now_ms - kept[1] > widest_hold(entity, step_ms)


def _name_of(entity: State) -> str:
    return entity_key("", entity["kind"], entity["id"])[1:]
