"""Ticks as the measurements of DECICE's own twin: units, places, and what is never told."""

import json
from typing import Any

import pytest

from streams.domain.decice_fields import Fields
from streams.domain.decice_lines import DeciceLines
from streams.rulebook import load_rulebook
from tests.unit.test_sink_lines import Line, parse, tick_of

GIB = 1024.0**3


@pytest.fixture(scope="module")
def lines() -> DeciceLines:
    """With the units that DECICE's wrapper has."""
    return DeciceLines(Fields(load_rulebook().catalogue, "MiB"))


def of(
    lines: DeciceLines, rows: list[Any], changes: list[Any] | None = None, world: str = "live"
) -> list[Line]:
    """The parts of the lines of a tick."""
    return [parse(line) for line in lines.to_lines(tick_of(rows, changes, world))]


def test_a_node_has_the_units_of_the_document(lines: DeciceLines) -> None:
    values = {
        "cpu_usage_percent": 31.25,
        "mem_usage_percent": 100.5,
        "mem_total_bytes": 256 * GIB,
        "disk_total_bytes": 5e11,
        "disk_free_bytes": 1e11,
        "network_receive_bytes_per_s": 131_072.0,
        "network_transmit_bytes_per_s": 7.0,
        "number_of_cores": 16.0,
        "power_watts": 41.0,
        "fan_speed_rpm": 900.0,
    }

    ((measurement, tags, fields, at_ms),) = of(lines, [{"id": "ws 01", "pool": "1", "values": values}])

    assert (measurement, tags, at_ms) == ("node", [("name", "ws 01"), ("vertexpool_id", "1")], 5_000)
    found = dict(fields)
    assert json.loads(found.pop("node_info")) == {"fan_speed_rpm": 900.0, "network_transmit_bytes_per_s": 7.0}
    assert found == {
        "id": "ws 01",
        "util": 31.25,
        "mem_util": 100.0,
        "mem_total": 262_144.0,
        "total_disk_gb": 500.0,
        "free_disk_gb": 100.0,
        "network_bandwidth_mbps": 1.0,
        "cpu_cores": 16.0,
        "power_watts": 41.0,
    }


def test_an_absent_value_stays_absent(lines: DeciceLines) -> None:
    rows = [{"values": {"power_watts": 41.0, "cpu_usage_percent": float("nan")}}, {"values": {}}]

    ((_, tags, fields, _),) = of(lines, rows)

    assert tags == [("name", "ws01"), ("vertexpool_id", "unassigned")]
    assert fields == [("id", "ws01"), ("power_watts", 41.0)]


def test_a_change_of_a_node_has_its_attributes(lines: DeciceLines) -> None:
    attributes = {"nodepool": "1", "arch": "x86_64", "node_info": '{"rack": "7 \\"a\\""}', "name": "WS01"}
    change = {"pool": "1", "attributes": json.dumps(attributes), "status": "down", "reason": "silent"}

    ((_, tags, fields, at_ms),) = of(lines, [], [change])

    assert (tags, at_ms) == ([("name", "ws01"), ("vertexpool_id", "1")], 7_000)
    assert [name for name, _ in fields] == ["id", "node_info"]
    assert json.loads(fields[1][1]) == {"rack": '7 "a"', "arch": "x86_64", "status": "down"}


def test_a_device_is_up_unless_it_is_down(lines: DeciceLines) -> None:
    labels = {"attributes": '{"labels": "{\\"site\\": \\"roof\\"}"}'}
    changes = [
        {"kind": "device", "id": "cam-1", "status": "up", **labels},
        {"kind": "device", "id": "cam-2", "status": "down", "attributes": "no JSON"},
    ]
    row = {"kind": "device", "id": "cam-1", "pool": "1", "values": {"temperature_celsius": 21.0}}

    told, up, down = of(lines, [row], changes)

    assert told[0] == "device"
    assert told[2] == [("id", "cam-1"), ("device_info", '{"temperature_celsius": 21.0}')]
    assert dict(up[2])["up"] is True
    assert json.loads(dict(up[2])["labels"]) == {"site": "roof"}
    assert down[2][1:3] == [("up", False), ("labels", "{}")]


def test_pools_have_labels_and_links_delays(lines: DeciceLines) -> None:
    rows = [
        {"kind": "nodepool", "id": "1", "pool": "1", "values": {"power_watts": 1.0}},
        {"kind": "link", "id": "1~2", "values": {"network_delay_ms": 0.8}},
        {"kind": "link", "id": "1~3", "values": {"beard_cm": 1.0}},
    ]
    changes = [
        {"kind": "nodepool", "id": "1", "pool": "1", "attributes": '{"labels": "{\\"a\\": 1}"}'},
        {"kind": "nodepool", "id": "2", "pool": "2"},
        {"kind": "link", "id": "1~2"},
    ]

    assert of(lines, rows, changes) == [
        ("link", [("vertexpool_a_id", "1"), ("vertexpool_b_id", "2")], [("network_delay_ms", 0.8)], 5_000),
        ("vertexpools", [("vertexpool_id", "1")], [("vertexpool_labels", '{"a": 1}')], 7_000),
        ("vertexpools", [("vertexpool_id", "2")], [("vertexpool_labels", "{}")], 7_000),
    ]


def test_what_is_known_of_the_cluster_is_fields(lines: DeciceLines) -> None:
    rows = [
        {"kind": "cluster", "id": "cluster", "values": {"cluster_power_watts": 812.0, "pod_count": 3.0}},
        {"kind": "cluster", "id": "another", "values": {"cluster_power_watts": 1.0}},
        {"kind": "job", "id": "j1", "values": {"cpu_allocated": 1.0}},
    ]
    info = {"carbon_intensity_prediction": {"1h": 152.5}, "n": 2, "ok": True, "site": "A", "none": ""}
    change = {
        "kind": "cluster",
        "id": "cluster",
        "attributes": json.dumps({"cluster_info": json.dumps(info)}),
    }

    assert of(lines, rows, [change]) == [
        ("cluster_info", [], [("cluster_power_watts", 812.0), ("pod_count", 3.0)], 5_000),
        (
            "cluster_info",
            [],
            [("carbon_intensity_prediction", '{"1h": 152.5}'), ("n", 2.0), ("ok", True), ("site", "A")],
            7_000,
        ),
    ]


@pytest.mark.parametrize("world", ["live~storm", "storm"])
def test_other_worlds_are_not_told(lines: DeciceLines, world: str) -> None:
    assert of(lines, [{"values": {"power_watts": 41.0}}], [{}], world) == []


def test_neither_simulated_nor_removed_entities_are_told(lines: DeciceLines) -> None:
    changes = [{"simulated": True}, {"removed": True, "status": ""}]

    assert of(lines, [{"values": {"power_watts": 41.0}, "simulated": True}], changes) == []
