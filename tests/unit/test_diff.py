from typing import Any

import pytest

from streams.domain.diff import Difference, Thresholds, parse_beyond


def view(id: str = "ws01", **overrides: Any) -> dict[str, Any]:
    """An entity's JSON, as far as a comparison looks at it; metrics are given as numbers."""
    metrics = overrides.pop("metrics", {"cpu_usage_percent": 50.0})
    fields: dict[str, Any] = {
        "kind": "node",
        "id": id,
        "status": "up",
        "status_since_ms": 7,
        "status_reason": "",
        "attributes": {"nodepool": "1"},
        "metrics": {name: {"value": value, "observed_at_ms": 5} for name, value in metrics.items()},
    }
    return fields | overrides


def compared(
    before: dict[str, Any] | None, after: dict[str, Any] | None, thresholds: Thresholds | None = None
) -> Difference:
    difference = Difference()
    difference.compare(before, after, thresholds or Thresholds())
    return difference


def test_nothing_differs_from_itself() -> None:
    assert compared(view(), view()) == Difference()
    assert compared(None, None) == Difference()


def test_what_came_and_went_is_told_as_it_was() -> None:
    whole = {"kind": "node", "id": "ws01", "status": "up", "reason": "", "attributes": {"nodepool": "1"}}

    assert compared(None, view()) == Difference(added=[whole])
    assert compared(view(), None) == Difference(removed=[whole])


def test_a_status_is_told_with_both_reasons() -> None:
    down = view(status="down", status_reason="silent", status_since_ms=9)

    assert compared(view(), down).statuses == [
        {
            "kind": "node",
            "id": "ws01",
            "before": {"status": "up", "reason": ""},
            "after": {"status": "down", "reason": "silent"},
            "since_ms": 9,
        }
    ]
    assert compared(down, view(status="down", status_reason="other")) == Difference()


def test_attributes_that_change_come_and_go() -> None:
    before = view(attributes={"arch": "x86_64", "nodepool": "1", "rack": "4"})
    after = view(attributes={"nodepool": "2", "rack": "4", "zone": "hall"})

    assert [(one["name"], one["before"], one["after"]) for one in compared(before, after).attributes] == [
        ("arch", "x86_64", None),
        ("nodepool", "1", "2"),
        ("zone", None, "hall"),
    ]


@pytest.mark.parametrize(
    ("thresholds", "before", "after", "is_told"),
    [
        (Thresholds(), 50.0, 55.0, False),
        (Thresholds(), 50.0, 55.1, True),
        (Thresholds(), 50.0, 44.9, True),
        (Thresholds(), -50.0, -55.1, True),
        (Thresholds(), 0.0, 0.0, False),
        (Thresholds(), 0.0, 1e-9, True),
        (Thresholds(ratio=0), 50.0, 50.0, False),
        (Thresholds(ratio=0), 50.0, 50.0001, True),
        (Thresholds({"cpu_usage_percent": 10}), 50.0, 60.0, False),
        (Thresholds({"cpu_usage_percent": 10}), 50.0, 60.1, True),
        (Thresholds({"cpu_usage_percent": 10}), 1.0, 9.0, False),
        (Thresholds({"power_watts": 10}), 1.0, 9.0, True),
        (Thresholds({"cpu_usage_percent": 0}, 5.0), 1.0, 1.5, True),
    ],
)
def test_a_metric_is_told_beyond_its_threshold(
    thresholds: Thresholds, before: float, after: float, is_told: bool
) -> None:
    old, new = (view(metrics={"cpu_usage_percent": value}) for value in (before, after))

    assert bool(compared(old, new, thresholds).metrics) is is_told


def test_a_metric_is_told_with_both_values_and_their_times() -> None:
    after = view(metrics={"cpu_usage_percent": 80.0})
    after["metrics"]["cpu_usage_percent"]["observed_at_ms"] = 6

    assert compared(view(), after).metrics == [
        {
            "kind": "node",
            "id": "ws01",
            "metric": "cpu_usage_percent",
            "before": 50.0,
            "after": 80.0,
            "difference": 30.0,
            "before_at_ms": 5,
            "after_at_ms": 6,
        }
    ]


def test_a_metric_that_came_or_went_is_told_whatever_the_threshold() -> None:
    found = compared(
        view(metrics={"load1": 0.0}),
        view(metrics={"load5": 0.0}),
        Thresholds({"load1": 1e9, "load5": 1e9}),
    )

    assert [
        (one["metric"], one["before"], one["after"], one["difference"], one["before_at_ms"])
        for one in found.metrics
    ] == [("load1", 0.0, None, None, 5), ("load5", None, 0.0, None, None)]


def test_thresholds_are_read() -> None:
    assert parse_beyond([]) == {}
    assert parse_beyond(["cpu_usage_percent:10, power_watts:0.5", "a:b:0"]) == {
        "cpu_usage_percent": 10.0,
        "power_watts": 0.5,
        "a:b": 0.0,
    }


@pytest.mark.parametrize("text", ["", "cpu", "cpu:", ":1", "cpu:x", "cpu:nan", "cpu:inf", "cpu:-1", "cpu:1,"])
def test_a_wrong_threshold_is_named(text: str) -> None:
    with pytest.raises(ValueError, match=r"is no threshold: write METRIC:NUMBER"):
        parse_beyond([text])
