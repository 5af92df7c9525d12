"""What faults make of a value, step by step, against what the twin itself shows under them."""

from typing import Any

import pytest

from streams.domain.entity import MEASURED
from streams.domain.faults import Fault
from streams.domain.show import ShownTick, show_newest, show_ticks
from streams.domain.why.faults import Step, steps_of
from streams.records import State
from tests.factories import NOW_MS, make_scenario, make_state

STEP_MS = 5_000
NODE = ("node", "ws01")
METRIC = "cpu_usage_percent"
LIMITS = {METRIC: (0.0, 100.0)}


def fault(id: str, kind: str, start_ms: int = NOW_MS - 60_000, **fields: Any) -> Fault:
    fields = {"metrics": [METRIC], **fields}
    return Fault(id, kind, (NODE,), "ann", start_ms, NOW_MS + 60_000, 0, fields)


def steps(
    state: State | None, faults: list[Fault], value: float | None, at_ms: int, sampled_ms: int | None = None
) -> list[Step]:
    return steps_of(
        state, faults, NODE, METRIC, value, at_ms=at_ms, sampled_ms=sampled_ms, step_ms=STEP_MS, limits=LIMITS
    )


def frozen(*faults: Fault, value: float = 7.0, time_ms: int = NOW_MS - 30_000) -> State:
    return make_state(
        scenario=make_scenario(
            frozen_faults=[one.id for one in faults],
            frozen_names=[METRIC for _ in faults],
            frozen_values=[value for _ in faults],
            frozen_times_ms=[time_ms for _ in faults],
        )
    )


FAULTS = [
    [fault("a", "metric_scale", factor=2.0)],
    [fault("a", "metric_scale", factor=9.0)],
    [fault("a", "metric_offset", amount=3.0), fault("b", "metric_scale", factor=2.0)],
    [fault("a", "metric_ramp", per_s=0.1)],
    [fault("a", "metric_noise", stdev=2.0, seed=4)],
    [fault("a", "metric_fixed", value=1.0), fault("b", "sensor_stuck")],
    [fault("a", "sensor_silent")],
    [fault("a", "node_down")],
    [fault("a", "sensor_silent"), fault("b", "sensor_stuck")],
    [fault("a", "set", metrics={METRIC: (50.0, NOW_MS - 40_000)}), fault("b", "metric_scale", factor=1.5)],
    [fault("a", "metric_scale", start_ms=NOW_MS + 1, factor=2.0)],
]


@pytest.mark.parametrize("faults", FAULTS)
@pytest.mark.parametrize("time_ms", [NOW_MS - 30_000, NOW_MS - 6_000])
def test_the_last_step_is_what_a_tick_shows(faults: list[Fault], time_ms: int) -> None:
    state = frozen(*faults, time_ms=time_ms)
    row = ShownTick(NOW_MS, True, [METRIC], [31.0], [MEASURED])

    found = steps(state, faults, 31.0, NOW_MS)

    shown = show_ticks(state, faults, [row], STEP_MS, LIMITS)
    values = dict(zip(shown[0].names, shown[0].values, strict=True)) if shown else {}
    assert (found[-1].after if found else 31.0) == values.get(METRIC)


@pytest.mark.parametrize("faults", FAULTS)
def test_the_last_step_is_what_the_newest_value_shows(faults: list[Fault]) -> None:
    state = frozen(*faults)
    known = (31.2, NOW_MS - 237)

    found = steps(state, faults, known[0], state["seen_ms"], known[1])

    show_newest(state, faults, state["seen_ms"], LIMITS, closed_ms=0)
    scenario = state["scenario"]
    assert scenario is not None
    shown = dict(zip(scenario["names"], scenario["values"], strict=True)).get(METRIC, known[0])
    assert (found[-1].after if found else known[0]) == shown


def test_each_fault_says_what_it_did() -> None:
    faults = [fault("b", "metric_scale", factor=2.0), fault("a", "metric_offset", amount=3.0)]

    assert steps(None, faults, 10.0, NOW_MS) == [
        Step("a", "metric_offset", "ann", 10.0, 13.0, "amount 3"),
        Step("b", "metric_scale", "ann", 13.0, 26.0, "factor 2"),
    ]


def test_what_changes_nothing_is_not_named() -> None:
    other = fault("a", "metric_scale", metrics=["load1"], factor=2.0)
    elsewhere = fault("b", "set", metrics={"load1": (50.0, NOW_MS)})

    assert steps(None, [other, elsewhere], 10.0, NOW_MS) == []


def test_without_a_value_there_is_nothing_to_change() -> None:
    assert steps(None, [fault("a", "metric_scale", factor=2.0)], None, NOW_MS) == []
    assert steps(None, [fault("a", "sensor_stuck")], None, NOW_MS) == []


def test_a_freezing_fault_that_kept_nothing() -> None:
    empty = make_state(scenario=make_scenario())

    assert steps(empty, [fault("a", "sensor_stuck")], 3.0, NOW_MS) == []
    assert steps(empty, [fault("a", "sensor_silent")], 3.0, NOW_MS)[-1].after is None
    assert steps(None, [fault("a", "sensor_silent")], 3.0, NOW_MS) == [], "nothing is known of what it kept"


def test_a_skew_is_named_though_the_value_stays() -> None:
    found = steps(None, [fault("a", "clock_skew", skew_ms=4_000)], 3.0, NOW_MS)

    assert found == [Step("a", "clock_skew", "ann", 3.0, 3.0, "skew_ms 4000")]
