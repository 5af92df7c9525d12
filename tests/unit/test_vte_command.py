import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from streams.events import parse_event
from streams.rulebook import load_rulebook
from streams.settings import Settings, load_settings
from streams.tools.vte import vte
from streams.vte.engine import WorldEngine
from streams.vte.export import export_scenario
from streams.vte.formats import read_scenario
from streams.vte.moment import Moment
from streams.vte.simulation import Simulation

CASES = Path(__file__).parents[1] / "cases/vte"
EXAMPLE = Path(__file__).parents[2] / "docs/examples/scenario.yaml"
CATALOGUE = load_rulebook().catalogue


@pytest.fixture
def settings(monkeypatch: pytest.MonkeyPatch) -> Settings:
    monkeypatch.delenv("TWIN_CONFIG", raising=False)
    return load_settings()


def run(settings: Settings, *words: str) -> Result:
    return CliRunner().invoke(vte, words, obj=settings)


def test_a_run_is_written_as_json_lines_that_continue_a_load(settings: Settings, tmp_path: Path) -> None:
    loaded, ran = tmp_path / "load.jsonl", tmp_path / "run.jsonl"

    first = run(settings, "load", str(EXAMPLE), "--world", "w1", "--out", str(loaded))
    second = run(settings, "run", str(EXAMPLE), "--world", "w1", "--steps", "5", "--out", str(ran))

    assert (first.exit_code, second.exit_code) == (0, 0), second.output
    setup, all = loaded.read_text().splitlines(), ran.read_text().splitlines()
    assert all[: len(setup)] == setup
    assert json.loads(all[-1])["body"] == {"to_ms": 1_735_689_625_000, "by_ms": None}
    for line in all:
        parse_event(json.loads(line), CATALOGUE)


def test_a_run_goes_to_stdout_alone(settings: Settings) -> None:
    ran = run(settings, "run", str(EXAMPLE), "--world", "w1", "--steps", "2", "--out", "-", "--seed", "4")

    assert all(json.loads(line)["world"] == "w1" for line in ran.stdout.splitlines())
    assert "step 2 of 2" in ran.stderr


@pytest.mark.parametrize("world", ["live", "live~w1", "W1", "a/b", "", "x" * 64])
def test_a_bad_name_of_a_world_is_refused_at_once(settings: Settings, world: str) -> None:
    ran = run(settings, "run", str(EXAMPLE), "--world", world, "--steps", "2")

    assert ran.exit_code == 2
    assert "such as w1" in ran.stderr


@pytest.mark.parametrize(
    ("option", "value", "said"),
    [
        ("--speed", "fast", "write 10x, 0.5x, or max"),
        ("--speed", "0x", "write 10x, 0.5x, or max"),
        ("--step", "5 parsecs", "is no length of time"),
        ("--steps", "0", "x>=1"),
        ("--format", "xml", "is not one of"),
    ],
)
def test_a_bad_option_says_what_to_write(settings: Settings, option: str, value: str, said: str) -> None:
    ran = run(settings, "run", str(EXAMPLE), "--world", "w1", "--steps", "2", option, value)

    assert ran.exit_code == 2
    assert said in ran.stderr


def test_a_file_that_could_be_two_formats_says_so(settings: Settings, tmp_path: Path) -> None:
    ran = run(settings, "load", str(CASES / "mock-exporter.json"), "--world", "w1", "--out", "-")

    assert "read as mock-exporter; also fits scenario: --format says it" in ran.stderr


def test_the_schema_of_scenarios_is_printed(settings: Settings) -> None:
    assert json.loads(run(settings, "schema").stdout)["title"] == "Scenario"


def exported(path: Path, steps: int) -> tuple[dict[str, Any], list[str], Simulation]:
    simulation = Simulation(read_scenario(path), 1, world="w1")
    engine = WorldEngine(CATALOGUE, "w1", lazily=False)
    moments: list[Moment] = [simulation.begin(), *(simulation.advance({}) for _ in range(steps))]
    for moment in moments:
        engine.apply(moment)
    found = export_scenario(engine.views(), simulation.now_ms, CATALOGUE)
    return found.document, found.left_out, simulation


def test_an_exported_world_is_read_again_as_it_was(tmp_path: Path) -> None:
    document, left_out, simulation = exported(CASES / "decice-vte.json", 3)
    path = tmp_path / "again.json"
    path.write_text(json.dumps(document))

    again = Simulation(read_scenario(path), 1, world="w1")

    assert left_out == []
    assert again.start_ms == simulation.now_ms
    assert {task.id: task.requirements for task in again.scenario.jobs.tasks} == {
        task.id: task.requirements for task in simulation.scenario.jobs.tasks
    }
    for id, node in simulation.nodes.items():
        assert again.nodes[id].means() == pytest.approx(node.means(), rel=1e-12)
    assert again._attributes["node", "gpu_node-1"] == simulation._attributes["node", "gpu_node-1"]
    assert document["cluster"]["vertexpools"][0]["vertexpool_labels"] == {"location": "edge"}


def test_an_export_has_links_and_tasks_and_leaves_nodes_out_that_are_down() -> None:
    document, left_out, _ = exported(EXAMPLE, 30)

    assert left_out == ["cloud-1", "cloud-2"]
    assert {(link["vertexpool_a_id"], link["vertexpool_b_id"]) for link in document["cluster"]["links"]} == {
        *(("edge", "cloud"), ("cloud", "cloud"))
    }
    task = document["tasks"][0]
    assert task["id"] == "camera-model"  # of the highest priority
    assert task["requirements"] == {"required_cpu": 8, "required_memory": 16_384, "required_gpu": "1"}
    assert (task["submission_time"], task["time_limit"]) == (1_735_689_620.0, 600.0)
    assert document["tasks"] == document["workloads"]
