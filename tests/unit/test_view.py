"""A record as people read it."""

from typing import Any

from streams.domain.view import entity_view
from streams.records import State
from tests.factories import NAN, NOW_MS, make_scenario, make_state


def test_the_record_has_the_fields_of_the_contract() -> None:
    view = entity_view(make_state())

    assert {name: view[name] for name in ("world", "kind", "id", "status", "version", "epoch")} == {
        "world": "live",
        "kind": "node",
        "id": "ws01",
        "status": "up",
        "version": 12,
        "epoch": 3,
    }
    assert view["metrics"]["cpu_usage_percent"] == {
        "value": 31.2,
        "observed_at_ms": NOW_MS - 237,
        "quality": "measured",
        "source": "node_exporter",
    }
    assert view["aligned"] == {
        "tick_ms": NOW_MS - 5_000,
        "complete": True,
        "values": {"cpu_usage_percent": 30.9, "mem_total_bytes": 270_000_000_000.0},
        "qualities": {"cpu_usage_percent": "interpolated", "mem_total_bytes": "held"},
    }
    assert view["counts"] == {"applied": 40, "duplicate": 0, "late": 0, "conflict": 0, "rejected": 0}


def test_a_counter_appears_as_its_rate() -> None:
    assert entity_view(make_state())["metrics"]["network_receive_bytes_per_s"]["value"] == 1_536.5


def test_a_counter_without_a_rate_stays_absent() -> None:
    view = entity_view(make_state(head_rates=[NAN, NAN, NAN]))

    assert "network_receive_bytes_per_s" not in view["metrics"]


def test_counts_of_all_sources_are_added_up() -> None:
    view = entity_view(two_sources())

    assert view["counts"] == {"applied": 11, "duplicate": 22, "late": 33, "conflict": 44, "rejected": 55}


def two_sources(**overrides: Any) -> State:
    """Both give the same metric; the second one has the better priority."""
    fields: dict[str, Any] = {
        "head_names": ["load1", "load1"],
        "head_sources": [0, 1],
        "head_forms": [0, 0],
        "head_values": [1.0, 2.0],
        "head_times_ms": [NOW_MS - 237, NOW_MS - 300],
        "head_rates": [NAN, NAN],
        "head_sums": [NAN, NAN],
        "source_names": ["slurm", "node_exporter"],
        "targets": ["slurm http://a:1", "node_exporter b:1"],
        "source_priorities": [50, 10],
        "source_intervals_ms": [5_000, 5_000],
        "source_good_ms": [NOW_MS - 237, NOW_MS - 300],
        "source_failures": [0, 1],
        "source_counts": [1, 2, 3, 4, 5, 10, 20, 30, 40, 50],
    }
    return make_state(**fields | overrides)


def test_the_best_source_gives_the_value() -> None:
    metric = entity_view(two_sources())["metrics"]["load1"]

    assert (metric["value"], metric["source"]) == (2.0, "node_exporter")


def test_the_best_source_gives_the_value_in_whatever_order_heads_stand() -> None:
    metric = entity_view(two_sources(source_priorities=[10, 50]))["metrics"]["load1"]

    assert (metric["value"], metric["source"]) == (1.0, "slurm")


def test_a_silent_source_gives_way() -> None:
    state = two_sources(source_good_ms=[NOW_MS - 237, NOW_MS - 60_000])

    assert entity_view(state)["metrics"]["load1"]["source"] == "slurm"


def test_sources_and_memory_are_shown_on_demand() -> None:
    view = entity_view(two_sources(), full=True)

    assert "sources" not in entity_view(two_sources())
    assert view["sources"]["node_exporter"] == {
        "priority": 10,
        "interval_ms": 5_000,
        "good_ms": NOW_MS - 300,
        "failures": 1,
        "target": "b:1",
        "counts": {"applied": 10, "duplicate": 20, "late": 30, "conflict": 40, "rejected": 50},
    }
    assert view["origins"] == {"twin.scrape.v1/3": 11}
    assert view["alignment"] == {"next_tick_ms": NOW_MS, "due_ms": NOW_MS + 10_000, "open_values": 0}


def test_live_records_have_no_faults() -> None:
    assert entity_view(make_state())["faults"] == []


def test_values_of_a_scenario_lie_over_those_of_heads_which_keep_their_source() -> None:
    laid = make_scenario(faults=["f2", "f1"], names=["cpu_usage_percent"], values=[99.0], times_ms=[NOW_MS])

    view = entity_view(make_state(scenario=laid))

    assert view["faults"] == ["f2", "f1"]
    assert view["metrics"]["cpu_usage_percent"] == {
        "value": 99.0,
        "observed_at_ms": NOW_MS,
        "quality": "measured",
        "source": "node_exporter",
    }
    assert view["metrics"]["mem_total_bytes"]["value"] == 270_000_000_000.0


def test_a_value_of_a_scenario_that_is_nan_takes_the_metric_away() -> None:
    names = ["cpu_usage_percent", "power_watts"]

    view = entity_view(
        make_state(scenario=make_scenario(names=names, values=[NAN, NAN], times_ms=[NOW_MS] * 2))
    )

    assert set(view["metrics"]) == {"mem_total_bytes", "network_receive_bytes_per_s"}


def test_a_metric_that_no_source_has_is_the_scenarios() -> None:
    laid = make_scenario(names=["power_watts"], values=[0.0], times_ms=[NOW_MS])

    assert entity_view(make_state(scenario=laid))["metrics"]["power_watts"] == {
        "value": 0.0,
        "observed_at_ms": NOW_MS,
        "quality": "measured",
        "source": "scenario",
    }


def test_a_view_can_be_changed_without_changing_the_record() -> None:
    state = make_state(scenario=make_scenario(faults=["f1"]))

    entity_view(state)["faults"].append("f2")

    assert state["scenario"] is not None
    assert state["scenario"]["faults"] == ["f1"]


def test_values_of_the_past_have_the_quality_of_their_tick() -> None:
    state = make_state(
        source_names=["history"],
        head_names=["cpu_usage_percent", "load1"],
        head_sources=[0, 0],
        head_forms=[0, 0],
        head_values=[1.0, NAN],
        head_times_ms=[5, 5],
        head_rates=[NAN, NAN],
        head_sums=[NAN, NAN],
        aligned_names=["cpu_usage_percent", "load1"],
        aligned_values=[1.0, NAN],
        aligned_qualities=[2, 3],
    )

    view = entity_view(state)

    assert {name: one["quality"] for name, one in view["metrics"].items()} == {"cpu_usage_percent": "held"}
    assert view["aligned"]["qualities"]["load1"] == "unknown"
