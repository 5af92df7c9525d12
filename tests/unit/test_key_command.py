"""`twin key`."""

from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner

from streams.settings import load_settings
from streams.tools.key import key
from streams.web.access.config import load_access
from streams.web.access.keys import Keyring


def test_what_is_printed_is_a_key_and_what_opens_it(tmp_path: Path) -> None:
    options = ["ops", "--scope", "events", "--scope", "read", "--world", "live~*", "--kind", "node"]
    result = CliRunner().invoke(key, [*options, "--expires", "2999-01-01"])
    text, _, section = result.output.partition("\n")
    path = tmp_path / "twin.yaml"
    path.write_text(section)

    who = Keyring(load_access(load_settings(config=path)).keys).principal(text, "it")

    assert result.exit_code == 0
    assert (who.name, who.scopes, who.worlds, who.kinds) == (
        "ops",
        {"events", "read"},
        ("live~*",),
        ("node",),
    )
    assert text not in section
    assert len(text) >= 43


def test_each_key_is_another_and_reads_if_nothing_is_said() -> None:
    outputs = [CliRunner().invoke(key, ["a"]).output for _ in range(2)]

    assert outputs[0] != outputs[1]
    entry = yaml.safe_load(outputs[0].partition("\n")[2])["access"]["keys"][0]
    assert (entry["scopes"], entry["worlds"], entry["kinds"]) == (["read"], ["*"], ["*"])


@pytest.mark.parametrize(
    "options",
    [
        ["internal"],
        ["local"],
        [""],
        ["a b"],
        ["a" * 64],
        ["a", "--world", ""],
        ["a", "--scope", "write"],
        ["a", "--expires", "soon"],
    ],
)
def test_what_cannot_be_a_key_is_refused(options: list[str]) -> None:
    result = CliRunner().invoke(key, options)

    assert result.exit_code == 2
    assert "Invalid value" in result.output
