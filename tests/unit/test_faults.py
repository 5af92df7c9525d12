"""What each kind of fault shows, with values worked out by hand (docs/worlds.md)."""

from typing import Any

import pytest

from streams.domain.faults import noise
from tests.reference.faulted import g
from tests.reference.world_cases import Case

LINK = {"kind": "link", "ids": ["p~q"]}


@pytest.fixture
def case() -> Case:
    """A world with a node that was set at 0."""
    made = Case()
    made.create()
    made.set(power_watts=100.0, cpu_usage_percent=60.0, number_of_cores=32.0)
    return made


@pytest.mark.parametrize(
    ("kind", "fields", "metric", "value"),
    [
        ("metric_scale", {"metrics": ["power_watts"], "factor": 1.5}, "power_watts", 150.0),
        ("metric_offset", {"metrics": ["power_watts"], "amount": -0.5}, "power_watts", 99.5),
        ("metric_offset", {"metrics": ["power_watts"], "amount": -500.0}, "power_watts", 0.0),
        ("metric_fixed", {"metrics": ["power_watts"], "value": 7.0}, "power_watts", 7.0),
        ("metric_fixed", {"metrics": ["load1"], "value": 7.0}, "power_watts", 100.0),
        ("metric_scale", {"metrics": ["cpu_usage_percent"], "factor": 1e308}, "cpu_usage_percent", 100.0),
        ("capacity_cut", {"share": 0.5}, "number_of_cores", 16.0),
        ("capacity_cut", {"share": 0.5}, "cpu_usage_percent", 100.0),
        ("capacity_cut", {"share": 0.75}, "cpu_usage_percent", 80.0),
        ("capacity_cut", {"share": 0.5}, "power_watts", 100.0),
        ("link_delay", {"factor": 2.0}, "power_watts", 100.0),
        ("bandwidth_limit", {"bytes_per_s": 5.0}, "power_watts", 100.0),
    ],
)
def test_value_fault_changes_newest_value_and_ticks(
    case: Case, kind: str, fields: dict[str, Any], metric: str, value: float
) -> None:
    case.fault(kind, **fields)
    case.advance(5_000)

    assert case.metrics()[metric] == (value, 0)
    assert case.row(5_000)[metric] == (value, 2)


def test_link_is_slower_and_its_bandwidth_limited(case: Case) -> None:
    metrics = {"network_delay_ms": 4.0, "network_receive_bytes_per_s": 9.0}
    case.tell("entity.set", entities=[{"kind": "link", "id": "p~q", "metrics": metrics}])
    case.fault("link_delay", selector=LINK, factor=1.5, add_ms=2.0)
    case.fault("bandwidth_limit", fault="g", selector=LINK, bytes_per_s=5.0)

    assert case.metrics("w1/link/p~q") == {
        "network_delay_ms": (8.0, 0),
        "network_receive_bytes_per_s": (5.0, 0),
    }


def test_value_that_is_not_finite_is_not_shown(case: Case) -> None:
    case.set(anomaly_ae_score=1e300)
    case.fault("metric_scale", metrics=["anomaly_ae_score"], factor=1e300)

    assert case.metrics()["anomaly_ae_score"] == (1e300, 1)


def test_ramp_grows_with_now_and_with_ticks(case: Case) -> None:
    case.fault("metric_ramp", metrics=["power_watts"], per_s=2.0)
    case.advance(6_000)

    assert case.metrics()["power_watts"] == (112.0, 0)
    assert case.row(5_000)["power_watts"] == (110.0, 2)


def test_noise_is_that_of_the_model_and_near_a_normal_one(case: Case) -> None:
    case.fault("metric_noise", metrics=["power_watts"], stdev=2.0, seed=5)

    assert case.metrics()["power_watts"][0] == 100.0 + 2.0 * g(5, "node/a", "power_watts", 1_700_000_000_000)
    samples = [noise(1, "node/a", "x", at) for at in range(2_000)]
    assert samples == [g(1, "node/a", "x", at) for at in range(2_000)]
    assert abs(sum(samples) / 2_000) < 0.1
    assert 0.9 < sum(one * one for one in samples) / 2_000 < 1.1


def test_faults_apply_in_order_of_start_and_id(case: Case) -> None:
    case.fault("metric_scale", fault="b", metrics=["power_watts"], factor=2.0)
    case.fault("metric_offset", fault="a", metrics=["power_watts"], amount=1.0)
    assert case.metrics()["power_watts"] == (202.0, 0)

    case.fault("metric_fixed", fault="z", metrics=["power_watts"], value=10.0, start_ms=-1)

    assert case.metrics()["power_watts"] == (22.0, 0)
    assert case.view("w1/node/a")["faults"] == ["z", "a", "b"]


def test_fault_ends_by_itself_and_everything_is_as_it_would_have_been(case: Case) -> None:
    case.fault("node_down", start_ms=5_000, duration_ms=10_000)
    case.advance(5_000)
    assert case.status() == ("down", "fault f: node_down")
    case.set(power_watts=300.0)
    assert case.metrics()["power_watts"] == (100.0, 0)

    case.advance(20_000)

    assert [bool(case.row(at)) for at in (0, 5_000, 10_000, 15_000)] == [True, False, False, True]
    assert case.metrics()["power_watts"] == (300.0, 5_000)
    assert case.status() == ("up", "")
    assert case.states["w1/node/a"]["scenario"] is None
    assert not [key for key in case.states if "/_fault/" in key]


def test_silent_sensor_holds_its_value_and_is_stale_then(case: Case) -> None:
    for at in range(0, 20_001, 5_000):
        case.tell(
            "entity.set",
            entities=[{"kind": "node", "id": "m", "metrics": {"load1": at / 1000, "power_watts": 1.0}}],
            interval_ms=5_000,
        )
        if at == 0:
            case.fault("sensor_silent", selector={"kind": "node", "ids": ["m"]}, metrics=["load1"])
        case.advance(at + 5_000)

    assert case.metrics("w1/node/m")["load1"] == (0.0, 0)
    assert [case.row(at, "w1/node/m").get("load1") for at in (10_000, 15_000, 20_000)] == [
        (0.0, 2),
        (0.0, 2),
        None,
    ]
    assert case.status("w1/node/m") == ("degraded", "stale: load1")
    case.fault("sensor_silent", fault="all", selector={"kind": "node", "ids": ["m"]}, start_ms=0)
    case.advance(45_000)
    entities = [{"kind": "node", "id": "m", "metrics": {"load1": 5.0}}]
    case.tell("entity.set", entities=entities, interval_ms=5_000)
    assert case.status("w1/node/m") == ("down", "fault f: sensor_silent")


def test_stuck_sensor_gives_its_value_with_new_times(case: Case) -> None:
    case.fault("sensor_stuck", metrics=["power_watts", "load1"])
    case.advance(5_000)
    case.set(power_watts=300.0, load1=3.0)
    case.advance(10_000)

    assert case.metrics()["power_watts"] == (100.0, 5_000)
    assert case.metrics()["load1"] == (3.0, 5_000)  # there was none to be stuck at
    assert case.row(10_000)["power_watts"] == (100.0, 2)


def test_last_freezing_fault_counts_but_down_before_all(case: Case) -> None:
    case.fault("sensor_silent", fault="a")
    case.fault("sensor_stuck", fault="b")
    case.advance(5_000)
    case.set(power_watts=300.0)
    assert case.metrics()["power_watts"] == (100.0, 5_000)

    case.fault("node_down", fault="0", start_ms=0)
    case.advance(10_000)

    assert case.metrics()["power_watts"] == (100.0, 5_000)
    assert case.row(10_000) == {}


def test_skewed_clock_moves_sample_times_and_ticks(case: Case) -> None:
    case.fault("clock_skew", skew_ms=7_000)
    case.fault("clock_skew", fault="g", skew_ms=1_000)

    case.advance(5_000)

    assert case.metrics()["power_watts"] == (100.0, 8_000)
    # 8 s are nearer to two steps than to one.
    assert [case.row(at) != {} for at in (0, 5_000, 10_000, 15_000)] == [False, False, True, True]


def test_tick_that_is_not_above_the_newest_is_not_shown(case: Case) -> None:
    case.fault("clock_skew", skew_ms=10_000, duration_ms=5_000)
    case.advance(5_000)
    assert case.states["w1/node/a"]["tick_ms"] == 1_700_000_010_000

    case.advance(10_000)
    case.advance(15_000)

    assert [case.row(at) != {} for at in (5_000, 10_000, 15_000)] == [False, True, True]
    assert case.row(10_000)["power_watts"] == (100.0, 0)


def test_fault_within_one_advance_changes_its_ticks() -> None:
    case = Case()
    case.create()
    case.set(power_watts=100.0)
    case.fault("sensor_silent", start_ms=6_000, end_ms=12_000)

    case.advance(15_000)

    assert case.row(10_000)["power_watts"] == (100.0, 2)
    assert case.status() == ("up", "")


def test_value_set_ahead_of_the_clock_does_not_forget_what_is_frozen(case: Case) -> None:
    case.fault("sensor_silent", duration_ms=12_000)
    case.tell("entity.set", entities=[{"kind": "node", "id": "a", "metrics": {"load1": 1.0}}], at_ms=None)
    entities = [{"kind": "node", "id": "a", "metrics": {"power_watts": 5.0}}]
    case.tell("entity.set", entities=entities, at_ms=1_700_000_013_000)

    case.advance(15_000)

    assert case.row(10_000)["power_watts"] == (100.0, 2)
    assert case.row(15_000)["power_watts"] == (5.0, 2)
