import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.domain.decice import Item, document_of, lay_out, part_of, with_pool
from streams.domain.decice_fields import Fields, MemUnit
from streams.encoding import encode_json
from streams.rulebook import load_rulebook
from tests.decice_model import TwinV1, TwinV2
from tests.factories import NOW_MS

CATALOGUE = load_rulebook().catalogue
KINDS = ("cluster", "nodepool", "node", "device", "link", "job", "world")


def view(kind: str = "node", id: str = "ws01", **overrides: Any) -> Item:
    """An entity record as the twin's API has it; `metrics` are values by name."""
    metrics = {
        name: {"value": value, "observed_at_ms": NOW_MS, "quality": "measured", "source": "x"}
        for name, value in overrides.pop("metrics", {}).items()
    }
    fixed = {"world": "live", "simulated": False, "status": "up", "status_reason": "", "seen_ms": NOW_MS + 5}
    return {"kind": kind, "id": id, "attributes": {}, "features": {}, "metrics": metrics, **fixed} | overrides


def document(*views: Item, mem_unit: MemUnit = "MiB") -> Item:
    fields = Fields(CATALOGUE, mem_unit)
    parts = [part for one in views if (part := part_of(one, fields)) is not None]
    found = document_of(lay_out(parts), {"tick_ms": NOW_MS})
    TwinV2.model_validate_json(encode_json(found))
    return found


def only_node(*views: Item, mem_unit: MemUnit = "MiB") -> Item:
    (pool,) = document(*views, mem_unit=mem_unit)["vertexpools"]
    (node,) = pool["nodes"]
    found: Item = node
    return found


texts = st.one_of(
    st.text(max_size=10),
    st.sampled_from(
        [
            "null",
            "[]",
            "{}",
            "1e999",
            "NaN",
            '{"a":1e999}',
            '{"a":NaN,"b":[Infinity]}',
            '["x",1]',
            '{"weights":3}',
        ]
    ),
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(max_size=3) | st.floats(allow_nan=False),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(
                st.sampled_from(
                    [
                        "id",
                        "pods",
                        "policies",
                        "required_labels",
                        "weights",
                        "models_weight",
                        "restarts",
                        "info",
                    ]
                ),
                inner,
                max_size=4,
            )
        ),
        max_leaves=8,
    ).map(json.dumps),
)
names = st.sampled_from(
    [
        "nodepool",
        "name",
        "system",
        "node_info",
        "labels",
        "device_info",
        "cluster_info",
        "pods",
        "profile",
        "nodepool_a",
        "nodepool_b",
        "node",
        "phase",
        "namespace",
        "status",
        "metrics",
        "id",
        "other",
    ]
)
metrics = st.dictionaries(
    st.sampled_from([*CATALOGUE, "unheard_of"]),
    st.builds(
        lambda value, time_ms: {
            "value": value,
            "observed_at_ms": time_ms,
            "quality": "measured",
            "source": "s",
        },
        st.floats() | st.sampled_from([0.0, -1.0, 100.0001]),
        st.integers(-5, 1 << 52),
    ),
    max_size=12,
)
views = st.builds(
    lambda kind, id, attributes, metrics, status, simulated, features, seen_ms: {
        "world": "live",
        "kind": kind,
        "id": id,
        "attributes": attributes,
        "metrics": metrics,
        "status": status,
        "status_reason": "",
        "simulated": simulated,
        "features": features,
        "seen_ms": seen_ms,
        "faults": ["f1"] if simulated else [],
    },
    st.sampled_from(KINDS),
    st.text(min_size=1, max_size=8) | st.sampled_from(["a~b", "a~", "~", "cluster"]),
    st.dictionaries(names, texts, max_size=6),
    metrics,
    st.sampled_from(["up", "degraded", "down", "unknown"]),
    st.booleans(),
    st.dictionaries(st.text(max_size=4), st.floats(), max_size=2),
    st.integers(0, 1 << 52),
)


@given(st.lists(views, max_size=8), st.sampled_from(["MiB", "GB"]))
def test_whatever_the_entities_are_the_document_is_valid(entities: list[Item], mem_unit: MemUnit) -> None:
    found = document(*entities, mem_unit=mem_unit)

    TwinV1.model_validate_json(encode_json({name: found[name] for name in found if name != "cluster_info"}))
    nodes = [node for pool in found["vertexpools"] for node in pool["nodes"]]
    assert len(nodes) == sum(entity["kind"] == "node" for entity in entities)


def test_an_empty_twin_is_a_document_and_not_null() -> None:
    assert document() == {
        "lastUpdated": None,
        "vertexpools": [],
        "links": [],
        "jobs": [],
        "cluster_info": {"twin": {"tick_ms": NOW_MS}},
    }


def test_values_are_in_the_units_of_the_wrapper() -> None:
    values = {
        "cpu_usage_percent": 31.2,
        "mem_usage_percent": 40.0,
        "number_of_cores": 16.0,
        "mem_total_bytes": 257_584 * 2.0**20,
        "disk_total_bytes": 502.1e9,
        "disk_free_bytes": 310.2e9,
        "network_receive_bytes_per_s": 0.4 * 2**17,
        "power_watts": 41.0,
    }

    node = only_node(view(metrics=values))

    assert node["metrics"] == {
        "util": 31.2,
        "mem_util": 40.0,
        "network_bandwidth_mbps": 0.4,
        "free_disk_gb": 310.2,
        "total_disk_gb": 502.1,
        "cpu_cores": 16,
        "mem_total": 257_584,
        "power_watts": 41.0,
    }


def test_memory_in_gb_times_1024_is_memory_in_mib() -> None:
    node = only_node(view(metrics={"mem_total_bytes": 257_584 * 2.0**20}), mem_unit="GB")

    assert node["metrics"]["mem_total"] * 1024 == 257_584


def test_absent_values_stay_absent_and_metrics_are_there() -> None:
    node = only_node(view())

    assert set(node["metrics"].values()) == {None}


@pytest.mark.parametrize(
    ("metric", "value", "field", "shown"),
    [
        ("cpu_usage_percent", 100.0001, "util", 100.0),
        ("mem_usage_percent", -0.1, "mem_util", 0.0),
        ("power_watts", -1.0, "power_watts", None),
        ("power_watts", float("nan"), "power_watts", None),
        ("disk_free_bytes", float("inf"), "free_disk_gb", None),
    ],
)
def test_no_value_is_outside_of_what_peers_take(
    metric: str, value: float, field: str, shown: float | None
) -> None:
    assert only_node(view(metrics={metric: value}))["metrics"][field] == shown


def test_everything_else_is_in_node_info() -> None:
    node = only_node(
        view(
            attributes={
                "nodepool": "1",
                "name": "WS01",
                "system": "linux",
                "arch": "x86_64",
                "node_info": '{"rack":"r1","vertexpool_id":"old"}',
                "labels": '{"gpu":"true"}',
            },
            metrics={"gpu_usage_percent": 12.5, "temperature_celsius": 51.0, "load1": float("nan")},
            status="degraded",
            status_reason="stale: load1",
            simulated=True,
            faults=["f1"],
            features={"power_next": 3.0, "bad": float("nan")},
        )
    )

    assert (node["id"], node["name"], node["system"]) == ("ws01", "WS01", "linux")
    assert node["node_info"] == {
        "rack": "r1",
        "labels": {"gpu": "true"},
        "gpu_utilization": 12.5,
        "temperature_celsius": 51.0,
        "arch": "x86_64",
        "status": "degraded",
        "status_reason": "stale: load1",
        "faults": ["f1"],
        "simulated": True,
        "features": {"power_next": 3.0, "bad": None},
    }
    assert with_pool(node, "1")["node_info"] == node["node_info"] | {"vertexpool_id": "1"}


def test_nodes_and_devices_without_a_pool_are_in_unassigned() -> None:
    found = document(view(), view("device", "cam"), view("node", "b", attributes={"nodepool": "2"}))

    assert [(pool["id"], len(pool["nodes"]), len(pool["devices"])) for pool in found["vertexpools"]] == [
        ("2", 1, 0),
        ("unassigned", 1, 1),
    ]


def test_a_pool_has_its_labels_and_a_list_of_them_is_one_of_them() -> None:
    found = document(
        view("nodepool", "1", attributes={"labels": '{"zone":"hall"}'}),
        view("nodepool", "2", attributes={"labels": '["ABC"]'}),
        view("nodepool", "3", attributes={"labels": "no json"}),
    )

    assert [pool["vertexpool_labels"] for pool in found["vertexpools"]] == [
        {"zone": "hall"},
        {"labels": ["ABC"]},
        None,
    ]


def test_links_without_a_delay_or_that_are_down_are_not_there() -> None:
    known = {"network_delay_ms": 0.8}

    found = document(
        view("link", "a~b", metrics=known),
        view("link", "a~c"),
        view("link", "b~c", metrics=known, status="down"),
    )

    assert found["links"] == [
        {
            "vertexpool_a_id": "a",
            "vertexpool_b_id": "b",
            "network_delay_ms": 0.8,
            "lastUpdated": NOW_MS / 1000,
        }
    ]


def test_the_document_is_as_old_as_its_newest_value() -> None:
    late = view(metrics={"load1": 1.0})

    assert document(late, view("node", "b"))["lastUpdated"] == NOW_MS / 1000
    assert document(late | {"seen_ms": NOW_MS - 9_000})["lastUpdated"] == (NOW_MS - 9_000) / 1000


def test_a_job_has_its_pods_policies_and_profile() -> None:
    pods = [
        {
            "id": "p",
            "restarts": True,
            "scheduled": True,
            "more": 1,
            "policies": [{"prefered_labels": ["a", 1]}, 3],
        },
        "no pod",
    ]
    profile = {
        "name": "green",
        "weights": [{"models_name": "power", "models_weight": 101}, {"models_weight": "x"}],
    }

    (job,) = document(
        view("job", "train", attributes={"pods": json.dumps(pods), "profile": json.dumps(profile)})
    )["jobs"]

    assert job["profile"] == {
        "name": "green",
        "weights": [
            {"models_name": "power", "models_weight": 100},
            {"models_name": None, "models_weight": None},
        ],
    }
    (pod,) = job["pods"]
    assert (pod["id"], pod["restarts"], pod["scheduled"], pod["info"]) == ("p", None, True, {})
    assert pod["policies"] == [
        {"required_labels": [], "rejected_labels": [], "prefered_labels": ["a"], "retracted_labels": []}
    ]


def test_a_pod_of_kubernetes_is_a_job_with_itself() -> None:
    attributes = {"type": "pod", "namespace": "ai", "name": "train-0", "node": "ws01", "phase": "Running"}
    values = {"job_restarts": 2.0, "job_cpu_request": 4.0}

    (job,) = document(view("job", "ai/train-0", attributes=attributes, metrics=values))["jobs"]

    (pod,) = job["pods"]
    assert {
        name: pod[name] for name in ("name", "namespace", "node_id", "status", "scheduled", "restarts")
    } == {
        "name": "train-0",
        "namespace": "ai",
        "node_id": "ws01",
        "status": "Running",
        "scheduled": True,
        "restarts": 2,
    }
    assert pod["info"] == {"type": "pod", "job_cpu_request": 4.0}


def test_a_job_of_which_nothing_is_known_has_no_pods() -> None:
    (job,) = document(view("job", "idle", attributes={"pods": ""}))["jobs"]

    assert job == {"id": "idle", "pods": [], "profile": None, "lastUpdated": None}


def test_cluster_info_has_the_fields_of_the_wrapper_and_other_clusters_apart() -> None:
    found = document(
        view(
            "cluster",
            "cluster",
            attributes={"cluster_info": '{"carbon_intensity_prediction":{"1h":152.3},"twin":{"old":1}}'},
            metrics={"cluster_power_watts": 812.0, "available_disk_bytes": 310.2e9},
        ),
        view("cluster", "hpc", metrics={"jobs_running": 3.0}),
    )["cluster_info"]

    assert found == {
        "carbon_intensity_prediction": {"1h": 152.3},
        "cluster_power_watts": 812.0,
        "total_available_disk_gb": 310.2,
        "clusters": {"hpc": {"jobs_running": 3.0}},
        "twin": {"tick_ms": NOW_MS},
    }


@pytest.mark.parametrize("source", ["twin", "history"])
def test_what_the_twin_adds_up_is_in_no_document(source: str) -> None:
    late = NOW_MS + 60_000
    totals: Item = {
        name: {"value": 2.0, "observed_at_ms": late, "quality": "measured", "source": source}
        for name in ("nodes_count", "power_watts")
    }
    cluster = view("cluster", "cluster", metrics={"pod_count": 7})
    pool = view("nodepool", "1")
    without = document(cluster, pool, view(attributes={"nodepool": "1"}))
    cluster["metrics"] |= totals
    pool["metrics"] |= totals

    assert document(cluster, pool, view(attributes={"nodepool": "1"})) == without
    assert without["cluster_info"]["pod_count"] == 7
