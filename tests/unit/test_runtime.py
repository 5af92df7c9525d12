"""How a running `twin up` is found, and that one that has ended is not."""

import subprocess
from pathlib import Path

import pytest
from pydantic import SecretStr

from streams.embedded.runtime import ENV_FILE, announce, claim, default_data_dir, find_running, variables_of
from streams.errors import TwinError
from streams.settings import load_settings

VARIABLES = {"TWIN_KAFKA_BOOTSTRAP_SERVERS": "127.0.0.1:1", "TWIN_HISTORY_URL": "duckdb:///a b'c"}


def test_running_one_is_found_with_its_variables(tmp_path: Path) -> None:
    with claim(tmp_path):
        announce(tmp_path, VARIABLES)

        assert find_running(tmp_path) == VARIABLES


def test_nothing_is_found_before_and_after(tmp_path: Path) -> None:
    before = find_running(tmp_path)
    with claim(tmp_path):
        starting = find_running(tmp_path)
        announce(tmp_path, VARIABLES)

    assert (before, starting, find_running(tmp_path)) == (None, None, None)
    assert not (tmp_path / ENV_FILE).exists()


def test_files_that_a_killed_one_left_are_not_believed(tmp_path: Path) -> None:
    (tmp_path / "lock").write_text("1\n")
    announce(tmp_path, VARIABLES)

    assert find_running(tmp_path) is None


def test_second_one_in_a_folder_is_told_about_the_first(tmp_path: Path) -> None:
    with claim(tmp_path), pytest.raises(TwinError, match="runs already"), claim(tmp_path):
        pass


def test_folder_can_be_claimed_again(tmp_path: Path) -> None:
    for _ in range(2):
        with claim(tmp_path / "new"):
            pass


def test_folder_that_cannot_be_made_is_an_error_with_advice(tmp_path: Path) -> None:
    (tmp_path / "file").touch()

    with pytest.raises(TwinError, match="--data"), claim(tmp_path / "file" / "folder"):
        pass


def test_env_file_survives_a_shell(tmp_path: Path) -> None:
    announce(tmp_path, VARIABLES)

    shell = subprocess.run(
        ["sh", "-c", '. "$0"; printf %s "$TWIN_HISTORY_URL"', tmp_path / ENV_FILE],
        capture_output=True,
        check=True,
        text=True,
    )

    assert shell.stdout == VARIABLES["TWIN_HISTORY_URL"]
    assert (tmp_path / ENV_FILE).stat().st_mode & 0o077 == 0


def test_secrets_are_not_announced(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TWIN_HISTORY_TOKEN", "hush")
    settings = load_settings(
        embedded=True, kafka_sasl_password=SecretStr("hush"), config=Path("twin.yaml"), partitions=3
    )

    assert variables_of(settings) == {
        "TWIN_EMBEDDED": "true",
        "TWIN_CONFIG": str(Path.cwd() / "twin.yaml"),
        "TWIN_PARTITIONS": "3",
    }


def test_default_folder_follows_xdg(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    named = default_data_dir()
    monkeypatch.delenv("XDG_STATE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))

    assert named == tmp_path / "twin"
    assert default_data_dir() == tmp_path / ".local" / "state" / "twin"
