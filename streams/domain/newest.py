"""Which head gives the newest value of a metric, and what an entity shows."""

from streams.domain.entity import COUNTER, source_ranks
from streams.records import State


def newest_heads(state: State) -> dict[str, int]:
    """Head of each metric: of the best source that is not behind, or the best of those that are.

    A counter without a rate has none.
    """
    ranks = source_ranks(state)
    behind = [is_behind(state, source) for source in range(len(ranks))]
    best: dict[str, tuple[tuple[bool, int], int]] = {}
    for head, name in enumerate(state["head_names"]):
        value = head_value(state, head)
        if value != value:
            continue
        source = state["head_sources"][head]
        rank = (behind[source], ranks[source])
        if name not in best or rank < best[name][0]:
            best[name] = (rank, head)
    return {name: head for name, (_, head) in best.items()}


def is_behind(state: State, source: int) -> bool:
    """Whether a source fell behind by more than two and a half intervals: then others go before it."""
    silent_ms = state["seen_ms"] - state["source_good_ms"][source]
    return silent_ms > 5 * max(state["source_intervals_ms"][source], 1_000) // 2


def head_value(state: State, head: int) -> float:
    """Newest value of a head; of a counter its newest rate, NaN when there is none."""
    return state["head_rates" if state["head_forms"][head] == COUNTER else "head_values"][head]


def shown_values(state: State) -> dict[str, tuple[float, int]]:
    """Value and sample time [ms] of each metric as the entity shows it, its faults included."""
    shown = {
        name: (head_value(state, head), state["head_times_ms"][head])
        for name, head in newest_heads(state).items()
    }
    scenario = state["scenario"]
    if scenario is not None:
        for name, value, time_ms in zip(
            scenario["names"], scenario["values"], scenario["times_ms"], strict=True
        ):
            if value == value:
                shown[name] = (value, time_ms)
            else:
                shown.pop(name, None)
    return shown
