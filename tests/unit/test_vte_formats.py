import json
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from streams.rulebook.file import parse_yaml
from streams.vte.formats import InvalidScenarioError, read, read_scenario
from streams.vte.scenario import scenario_schema
from streams.vte.simulation import Simulation

CASES = Path(__file__).parents[1] / "cases/vte"
EXAMPLE = Path(__file__).parents[2] / "docs/examples/scenario.yaml"


def means(path: Path, node: str) -> dict[str, float]:
    return Simulation(read_scenario(path)).nodes[node].means()


@pytest.mark.parametrize(
    ("file", "format", "counts"),
    [
        ("emulate.yaml", "emulator", (5, 6, 3, 9, 0)),
        ("decice-vte.json", "decice-vte", (1, 2, 0, 0, 2)),
        ("mock-exporter.json", "mock-exporter", (2, 1, 1, 1, 0)),
        ("appendix-a.json", "appendix-a", (3, 6, 0, 3, 1)),
        ("snapshot.json", "decice-v2", (6, 11, 8, 9, 0)),
    ],
)
def test_each_format_is_told_by_its_schema(file: str, format: str, counts: tuple[int, ...]) -> None:
    found = read(CASES / file)

    assert (found.format, tuple(found.scenario.counts().values())) == (format, counts)
    # Our own format, written as JSON, looks like the mock exporter's.
    assert found.others == (("scenario",) if format == "mock-exporter" else ())


@pytest.mark.parametrize(
    ("file", "node", "mem_total", "bandwidth", "disk"),
    [
        ("emulate.yaml", "acnode11.e4red", 251.5 * 2**30, 0.48e6 / 8, 900.1e9),
        ("decice-vte.json", "gpu_node-1", 256 * 2**30, 10_000e6 / 8, 1_000e9),
        ("mock-exporter.json", "ws01", 16_000e6, 80e6 / 8, 500e9),
        ("snapshot.json", "jetson-agx-orin-2", 62_800 * 2**20, 0.03968017012984665 * 2**20 / 8, 60.7922176e9),
    ],
)
def test_units_are_those_of_the_source(
    file: str, node: str, mem_total: float, bandwidth: float, disk: float
) -> None:
    found = means(CASES / file, node)

    assert found["mem_total_bytes"] == pytest.approx(mem_total, rel=1e-12)
    assert found["network_receive_bytes_per_s"] == pytest.approx(bandwidth, rel=1e-12)
    assert found["disk_total_bytes"] == pytest.approx(disk, rel=1e-12)


def test_memory_of_appendix_a_is_in_mib_and_its_labels_are_kept() -> None:
    simulation = Simulation(read_scenario(CASES / "appendix-a.json"))
    set_once = {
        (entity["kind"], entity["id"]): entity
        for document in simulation.setup()
        for entity in document["body"].get("entities", ())
    }

    assert set_once["node", "1"]["metrics"]["mem_total_bytes"] == 8192 * 2**20
    assert set_once["node", "1"]["attributes"]["labels"] == '["Node 1"]'
    assert set_once["nodepool", "1"]["attributes"]["labels"] == '["nodepool 1","ABC"]'
    assert set_once["link", "3~4"]["attributes"] == {"nodepool_a": "3", "nodepool_b": "4"}
    pods = json.loads(set_once["job", "1"]["attributes"]["pods"])
    assert pods[0]["policies"][0]["prefered_labels"] == ["preferred_label 3"]
    assert json.loads(set_once["job", "1"]["attributes"]["profile"])["weights"] == [
        {"models_name": "model1", "models_weight": 0.5}
    ]


def test_tasks_of_a_training_scenario_arrive_when_they_were_submitted() -> None:
    tasks = {task.id: task for task in read_scenario(CASES / "decice-vte.json").jobs.tasks}

    assert (tasks["4b2c"].arrives, tasks["4b2c"].duration) == (5_500, 1_800_000)
    assert tasks["4b2c"].requirements.required_gpu == 0
    assert tasks["9f1d"].requirements.required_gpu == 1
    assert tasks["9f1d"].arrives == 0


def test_absent_power_stays_absent() -> None:
    assert "power_watts" not in read_scenario(CASES / "decice-vte.json").vertexpools[0].nodes[1].catalogue
    assert "mem_total_bytes" not in means_of({"util": 5})


def means_of(metrics: dict[str, Any]) -> dict[str, float]:
    document = {"vertexpools": [{"id": "a", "nodes": [{"name": "n", "metrics": metrics}]}]}
    return Simulation(read_scenario(json.dumps(document), "scenario")).nodes["n"].means()


def test_a_file_that_fits_nothing_says_where_each_schema_failed(tmp_path: Path) -> None:
    path = tmp_path / "s.yaml"
    path.write_text("vertexpools:\n- id: a\n  nodes:\n  - name: n\n    metrics:\n      utl: 3\n")

    with pytest.raises(InvalidScenarioError) as caught:
        read(path)

    text = str(caught.value)
    assert f"scenario (our own): {path}:6: vertexpools.0.nodes.0.metrics.utl: there is no such field" in text
    assert "did you mean util?" in text
    assert f"emulator (the emulator's YAML): {path}:5: vertexpools.0.nodes.0.metrics" in text
    assert all(name in text for name in ("decice-vte", "appendix-a", "decice-v2", "mock-exporter"))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "must be a mapping"),
        ("[1, 2]", "must be a mapping"),
        ("{", ":1: not JSON"),
        ("vertexpools: [", "not YAML"),
        ('{"vertexpools": [], "vertexpools": []}', "'vertexpools' is there twice"),
        ("{}", "vertexpools"),
        ("vertexpools: [{id: a, nodes: [{name: n}, {name: N}]}]", "node 'n' is there twice"),
        (
            "vertexpools: [{id: a}]\nname: x\nlinks: [{vertexpool_a_id: a, vertexpool_b_id: b}]",
            "no vertexpool 'b'",
        ),
        ("vertexpools: [{id: a}]\nstep: 0s\nname: x", "step"),
        (
            "vertexpools: [{id: a}]\nstart: 2025-01-01\nname: x",
            "start: '2025-01-01': a moment needs a time zone",
        ),
        ("vertexpools: [{id: a, nodes: [{name: n, metrics: {util: {mean: .nan}}}]}]", "mean"),
        (
            "vertexpools: [{id: a, nodes: [{name: n, labels: {name: x}}]}]",
            "an attribute that the simulation sets",
        ),
    ],
)
def test_what_is_wrong_is_named(text: str, said: str) -> None:
    with pytest.raises(InvalidScenarioError) as caught:
        read(text)

    assert said in str(caught.value)


@pytest.mark.parametrize(
    ("metrics", "said"),
    [
        ({"util": 101}, "util: 101 is outside of 0 to 100"),
        ({"cpu_cores": -1}, "number_of_cores: -1 is outside"),
        ({"mem_util": {"mean": -3, "stdev": 1}}, "mem_util: -3 is outside"),
    ],
)
def test_a_mean_outside_of_its_range_is_refused(metrics: dict[str, Any], said: str) -> None:
    with pytest.raises(InvalidScenarioError, match=said):
        means_of(metrics)


def test_an_unknown_metric_of_the_catalogue_is_refused_with_a_near_one() -> None:
    scenario = read_scenario("vertexpools: [{id: a, nodes: [{name: n, catalogue: {temperature: 3}}]}]")

    with pytest.raises(InvalidScenarioError, match="did you mean temperature_celsius"):
        Simulation(scenario)


def test_a_format_that_is_asked_for_is_the_only_one_tried() -> None:
    with pytest.raises(InvalidScenarioError, match="'vertexpools' were unexpected"):
        read(CASES / "snapshot.json", "appendix-a")
    with pytest.raises(InvalidScenarioError, match="unknown format 'xml'"):
        read(CASES / "snapshot.json", "xml")


def test_a_document_of_numbers_alone_says_what_else_it_could_be() -> None:
    document = {
        "vertexpools": [{"id": "a", "nodes": [{"id": "n", "name": "n", "metrics": {"mem_total": 100}}]}]
    }

    found = read(json.dumps(document))

    assert found.format == "decice-v2"
    assert "mock-exporter" in found.others


@pytest.mark.parametrize("path", [EXAMPLE, CASES / "emulate.yaml"])
def test_our_json_schema_takes_our_files(path: Path) -> None:
    Draft202012Validator.check_schema(scenario_schema())

    Draft202012Validator(scenario_schema()).validate(parse_yaml(path.read_text()))
    assert read_scenario(path).counts()["nodes"]
