"""An entity record as people and schedulers read it (DESIGN: the entity record in JSON)."""

from typing import Any

from streams.domain.entity import COUNTER, OUTCOMES, QUALITIES, source_ranks
from streams.records import State


def entity_view(state: State, *, full: bool = False) -> dict[str, Any]:
    """The JSON form of a record; `full` adds sources, origins and alignment memory.

    `metrics` has each metric's newest value from its best source that is not silent, or the best of the
    silent ones; a counter appears as its newest rate, and is absent until it has one.
    """
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
        "attributes": state["attributes"],
        "metrics": _metrics(state),
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


def _metrics(state: State) -> dict[str, dict[str, Any]]:
    ranks = source_ranks(state)
    # A source that fell behind by more than two and a half intervals gives way to one that did not.
    behind = [
        state["seen_ms"] - good > 5 * max(interval, 1_000) // 2
        for good, interval in zip(state["source_good_ms"], state["source_intervals_ms"], strict=True)
    ]
    best: dict[str, tuple[tuple[bool, int], dict[str, Any]]] = {}
    for head, name in enumerate(state["head_names"]):
        source = state["head_sources"][head]
        counter = state["head_forms"][head] == COUNTER
        value = state["head_rates" if counter else "head_values"][head]
        if value != value:
            continue
        rank = (behind[source], ranks[source])
        if name not in best or rank < best[name][0]:
            best[name] = (
                rank,
                {
                    "value": value,
                    "observed_at_ms": state["head_times_ms"][head],
                    "quality": "measured",
                    "source": state["source_names"][source],
                },
            )
    return {name: metric for name, (_, metric) in best.items()}


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
