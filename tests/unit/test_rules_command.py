import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from streams.settings import Settings
from streams.tools.rules import rules
from tests.rulepacks import write_pack

CASES = Path(__file__).parent.parent / "cases" / "rules"
EXPORTER = str(CASES / "node_exporter" / "exporter" / "input.prom")


def run(*words: str) -> Result:
    return CliRunner().invoke(rules, words, obj=Settings.model_construct(config=None))


def test_the_packs_the_rules_of_one_and_the_catalogue_are_shown() -> None:
    packs, pack, catalogue = run("show"), run("show", "slurm"), run("show", "catalogue")

    assert "node_exporter" in packs.output
    assert "slurm_queue_running" in pack.output
    assert "query slurm: " in pack.output
    assert "cpu_usage.cpu_usage_percent" in catalogue.output
    assert run("show", "nope").exit_code == 2


def test_a_dry_run_of_a_file_prints_samples_and_attributes() -> None:
    result = run("dry-run", "--target", EXPORTER)

    assert result.exit_code == 0, result.output
    assert "exposition, pack node_exporter" in result.output.replace("\n", " ")
    rows = [line.split() for line in result.output.splitlines()]
    assert ["node", "ws01", "temperature_celsius", "51", "°C", "gauge"] in [row[:6] for row in rows]
    assert "arch=x86_64" in result.output


def test_a_dry_run_can_print_the_observations() -> None:
    result = run("dry-run", "--target", EXPORTER, "--json")

    (observation,) = json.loads(result.stdout)
    assert observation["ids"] == ["ws01"]


@pytest.mark.parametrize(
    ("case", "found"),
    [
        ("decice_v2/testbed/input.json", "JSON document, pack decice_v2"),
        ("dcgm/two_gpus/input.prom", "exposition, pack dcgm"),
        ("slurm/vpenso/input.prom", "exposition, pack slurm"),
        ("kube_state_metrics/exporter/input.prom", "exposition, pack kube_state_metrics"),
        ("decice/watmon/input.prom", "exposition, pack decice"),
        ("host/laptop/input.prom", "exposition, pack host"),
        ("power/jetson/input.prom", "exposition, pack power"),
    ],
)
def test_the_pack_that_fits_is_found(case: str, found: str) -> None:
    assert found in run("dry-run", "--target", str(CASES / case)).output


def test_an_answer_of_a_prometheus_server_is_read(tmp_path: Path) -> None:
    answers = json.loads((CASES / "dcgm" / "kubernetes" / "input.promql.json").read_text())
    path = tmp_path / "answer.json"
    path.write_text(json.dumps(answers["dcgm"]))

    result = run("dry-run", "--target", str(path))

    assert "Prometheus answer, pack dcgm" in result.output
    assert "rejected (range): node ws02: gpu_power_watts" in result.output


def test_lint_of_a_sound_scrape_ends_with_0() -> None:
    result = run("lint", EXPORTER)

    assert result.exit_code == 0, result.output
    assert "unknown metric: go_goroutines: 1 series" in result.output
    assert "unmapped series: node_network_receive_bytes_total: 4 of 6 series" in result.output
    assert "not given: up: would need up" in result.output


def test_lint_of_a_scrape_with_faults_ends_with_1() -> None:
    result = run(
        "lint", str(CASES / "node_exporter" / "bad_values" / "input.prom"), "--pack", "node_exporter"
    )

    assert result.exit_code == 1
    assert "fault, range: node ws03: load15 = -1.0 is not within 0 … ∞" in result.output
    assert "fault, division: node ws03: mem_usage_percent" in result.output


def test_lint_lists_everything_only_when_asked(tmp_path: Path) -> None:
    path = tmp_path / "many.prom"
    path.write_text('node_load1{node="a"} 1\n' + "".join(f"other_{n} 1\n" for n in range(50)))

    short, whole = run("lint", str(path)), run("lint", str(path), "--all")

    assert "unknown metric: 30 more (--all lists them)" in short.output
    assert "other_49" in whole.output


def test_packs_of_the_user_are_used(tmp_path: Path) -> None:
    pack = write_pack(tmp_path, "rules: [{metric: load1, series: my_load_mb}]\n")
    scrape = tmp_path / "scrape.prom"
    scrape.write_text('my_load_mb{node="a"} 1\n')

    result = run("lint", str(scrape), "--rules", str(pack))

    assert result.exit_code == 1
    assert "fault, unit: my_load_mb: its name says MB" in result.output


@pytest.mark.parametrize(
    ("content", "why"),
    [
        ("", "the answer is empty"),
        ("what is this", "line 1 is not a sample"),
        ("my_own_metric 1\n", "no rule pack finds a sample in it; name one with --pack"),
        ('{"some": "document"}', "a JSON document, but of no pack"),
        ('{"status": "error", "errorType": "bad_data", "error": "parse error"}', "bad_data: parse error"),
    ],
)
def test_what_cannot_be_mapped_is_explained(tmp_path: Path, content: str, why: str) -> None:
    path = tmp_path / "file"
    path.write_text(content)

    result = run("dry-run", "--target", str(path))

    assert result.exit_code != 0
    assert str(result.exception).startswith(f"{path}: ")
    assert why in str(result.exception)


@pytest.mark.parametrize(
    ("place", "why"),
    [("/no/such/file", "cannot be read: No such file"), ("ftp://x/", "must be a URL that begins")],
)
def test_what_cannot_be_read_is_explained(place: str, why: str) -> None:
    assert why in str(run("lint", place).exception)


def test_an_unknown_pack_is_wrong_usage() -> None:
    result = run("lint", EXPORTER, "--pack", "nope")

    assert result.exit_code == 2
    assert "unknown rule pack 'nope'; there are dcgm, decice" in result.output
