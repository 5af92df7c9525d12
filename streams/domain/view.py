"""An entity record as people and schedulers read it (DESIGN: the entity record in JSON)."""

from typing import Any

from streams.domain.entity import HISTORY, OUTCOMES, QUALITIES
from streams.domain.newest import head_value, newest_heads
from streams.records import Scenario, State


def entity_view(state: State, *, full: bool = False) -> dict[str, Any]:
    """The JSON form of a record; `full` adds sources, origins and alignment memory.

    `metrics` has each metric's newest value from its best source that is not silent, or the best of the
    silent ones; a counter appears as its newest rate, and is absent until it has one. Those of an entity of
    the past are of its tick, with the tick's quality.

    In a scenario the values that its faults and `entity.set` gave are laid over: NaN takes a metric away, and
    one that no source has is of source "scenario". `faults` names those that change the entity now; there are
    none in the live world. Whether a record is hidden is not looked at: a replica does not show those.
    """
    scenario = state["scenario"]
    view: dict[str, Any] = {
        "world": state["world"],
        "kind": state["kind"],
        "id": state["id"],
        "simulated": state["simulated"],
        "version": state["version"],
        "epoch": state["epoch"],
        "status": state["status"],
        "status_since_ms": state["status_since_ms"],
        "status_reason": state["status_reason"],
        "faults": list(scenario["faults"]) if scenario else [],
        "attributes": state["attributes"],
        "metrics": _metrics(state, scenario),
        "aligned": {
            "tick_ms": state["tick_ms"],
            "complete": state["complete"],
            "values": dict(zip(state["aligned_names"], state["aligned_values"], strict=True)),
            "qualities": {
                name: QUALITIES[quality]
                for name, quality in zip(state["aligned_names"], state["aligned_qualities"], strict=True)
            },
        },
        "features": state["features"],
        "counts": {
            outcome: sum(state["source_counts"][place :: len(OUTCOMES)])
            for place, outcome in enumerate(OUTCOMES)
        },
        "seen_ms": state["seen_ms"],
    }
    if full:
        view["sources"] = _sources(state)
        view["origins"] = dict(zip(state["origins"], state["origin_offsets"], strict=True))
        view["alignment"] = {
            "next_tick_ms": state["next_tick_ms"],
            "due_ms": state["due_ms"],
            "open_values": len(state["open_values"]),
        }
    return view


def _metrics(state: State, scenario: Scenario | None) -> dict[str, dict[str, Any]]:
    metrics: dict[str, dict[str, Any]] = {
        name: {
            "value": head_value(state, head),
            "observed_at_ms": state["head_times_ms"][head],
            "quality": "measured",
            "source": state["source_names"][state["head_sources"][head]],
        }
        for name, head in newest_heads(state).items()
    }
    if HISTORY in state["source_names"]:
        for name, quality in zip(state["aligned_names"], state["aligned_qualities"], strict=True):
            if metrics.get(name, {}).get("source") == HISTORY:
                metrics[name]["quality"] = QUALITIES[quality]
    if scenario is None:
        return metrics
    for name, value, time_ms in zip(scenario["names"], scenario["values"], scenario["times_ms"], strict=True):
        if value != value:
            metrics.pop(name, None)
            continue
        metric = metrics.setdefault(name, {"quality": "measured", "source": "scenario"})
        metric["value"], metric["observed_at_ms"] = value, time_ms
    return metrics


def _sources(state: State) -> dict[str, dict[str, Any]]:
    return {
        name: {
            "priority": state["source_priorities"][s],
            "interval_ms": state["source_intervals_ms"][s],
            "good_ms": state["source_good_ms"][s],
            "failures": state["source_failures"][s],
            "target": state["targets"][s].partition(" ")[2],
            "counts": dict(zip(OUTCOMES, state["source_counts"][5 * s : 5 * s + 5], strict=True)),
        }
        for s, name in enumerate(state["source_names"])
    }
