"""`twin history` over a DuckDB file."""

import csv
import io
import json
import time
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from streams.cli import main
from tests.history_model import STEP_MS, TICKS
from tests.historyfile import fill

FIRST_MS = int(time.time() * 1000 - 1_800_000) // 60_000 * 60_000
"""[ms since the epoch] The first tick of the load, half an hour ago."""

END_MS = FIRST_MS + TICKS * STEP_MS


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file with the load."""
    path = tmp_path_factory.mktemp("history") / "history.duckdb"
    fill(path, FIRST_MS)
    return path


def run(file: Path, *arguments: str) -> Result:
    return CliRunner().invoke(
        main,
        ["history", *arguments],
        env={"TWIN_HISTORY_URL": f"duckdb://{file}", "TWIN_KAFKA_BOOTSTRAP_SERVERS": "127.0.0.1:9"},
    )


def moments() -> list[str]:
    return ["--from", str(FIRST_MS), "--to", str(END_MS)]


def test_the_command_draws_lines_that_fit(file: Path) -> None:
    result = run(file, "node", *moments())

    assert result.exit_code == 0, result.output
    assert max(len(line) for line in result.output.splitlines()) <= 80
    assert "resolution 5s" in result.output
    assert "nan" not in result.output.lower()
    [line] = [line for line in result.output.splitlines() if line.startswith("load1 ")][:1]
    assert any(block in line for block in "▁▂▃▄▅▆▇█")


def test_the_numbers_of_the_command_are_those_of_all_ticks(file: Path) -> None:
    result = run(file, "nodepool/1", "power_watts", "--every", "1m", *moments())

    [line] = [line for line in result.output.splitlines() if line.startswith("1 ")]
    assert line.split()[1:5] == ["0.00", "12.0", "24.0", "24.0"]


def test_the_command_prints_csv_and_json(file: Path) -> None:
    table = run(file, "node/n.1", "cpu_usage_percent", "--csv", *moments())
    document = run(file, "node/n.1", "cpu_usage_percent", "--json", "--fn", "count", *moments())

    assert len(list(csv.DictReader(io.StringIO(table.output)))) == TICKS
    assert json.loads(document.output)["series"][0]["values"] == [float(TICKS)]


@pytest.mark.parametrize(
    ("arguments", "code", "text"),
    [
        (["node/"], 2, "KIND/ID"),
        (["/x"], 2, "KIND/ID"),
        (["node", "--label", "x"], 2, "NAME=VALUE"),
        (["node", "--from", "-5M"], 2, "months"),
        (["node", "--every", "1s"], 1, "--every"),
        (["node", "--group-by", "kind", "--csv"], 1, "--fn"),
        (["node", "--from", "now", "--to", "-1h"], 1, "--from"),
        (["node", "cpu"], 1, "METRIC"),
        (["nodes"], 1, "it knows link, node, nodepool"),
    ],
)
def test_the_command_says_what_is_wrong(file: Path, arguments: list[str], code: int, text: str) -> None:
    result = run(file, *arguments)

    assert result.exit_code == code, result.output
    assert text in result.output + (result.stderr if result.stderr_bytes else "")
    assert "Traceback" not in result.output
