"""The part of `twin check` that asks nobody."""

import os
from pathlib import Path

import pytest
from click.testing import CliRunner

from streams.cli import main
from streams.settings import load_settings
from streams.tools.check import (
    check_access,
    check_files,
    check_schemas,
    check_secrets,
    check_variables,
    without,
)
from streams.tools.findings import Findings


@pytest.fixture(autouse=True)
def no_settings_from_outside(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    # Neither the shell's nor those of a `twin up` that runs on this machine.
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    for name in [name for name in os.environ if name.startswith("TWIN_")]:
        monkeypatch.delenv(name)


def test_a_misspelt_variable_is_a_fault_that_names_the_right_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TWIN_KAFKA_BOOTSTRAP_SERVER", "kafka:9092")
    findings = Findings()

    check_variables(findings)

    assert findings.faults == [
        "settings: TWIN_KAFKA_BOOTSTRAP_SERVER is not a setting; is TWIN_KAFKA_BOOTSTRAP_SERVERS meant?"
    ]


def test_a_foreign_variable_is_no_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    # Kubernetes sets such variables for a Service of the name `twin`.
    monkeypatch.setenv("TWIN_PORT_9092_TCP_ADDR", "10.0.0.1")
    findings = Findings()

    check_variables(findings)

    assert findings.faults == []
    assert ("note", "settings: TWIN_PORT_9092_TCP_ADDR is not a setting, nothing reads it") in findings.lines


def test_files_that_are_not_there_are_all_named(tmp_path: Path) -> None:
    settings = load_settings(
        kafka_security_protocol="SASL_SSL",
        kafka_sasl_username="twin",
        kafka_sasl_password_file=tmp_path / "password",
        kafka_ca_file=tmp_path / "ca.pem",
        history_token_file=tmp_path / "token",
        history_ca_file=tmp_path / "history.pem",
    )
    findings = Findings()

    check_secrets(settings, findings)

    assert len(findings.faults) == 4
    assert all(name in "\n".join(findings.faults) for name in ("password", "ca.pem", "token", "history.pem"))


def test_sasl_without_a_password_is_a_fault() -> None:
    findings = Findings()

    check_secrets(load_settings(kafka_security_protocol="SASL_SSL", kafka_sasl_username="twin"), findings)

    assert findings.faults == [
        "settings: TWIN_KAFKA_SASL_PASSWORD or TWIN_KAFKA_SASL_PASSWORD_FILE is not set"
    ]


def test_schemas_and_rules_of_the_package_have_no_faults() -> None:
    findings = Findings()

    check_schemas(findings)
    _, rulebook = check_files(load_settings(), findings)

    assert findings.faults == []
    assert rulebook is not None


def test_faults_of_config_and_rule_packs_are_named(tmp_path: Path) -> None:
    config = tmp_path / "twin.yaml"
    config.write_text("sources: [{kind: carrier_pigeon}]\n")
    findings = Findings()

    check_files(load_settings(config=config), findings)

    assert len(findings.faults) == 1
    assert findings.faults[0].startswith("config: ")


def test_what_is_wrong_does_not_hide_the_rest(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TWIN_WEB_PORT", "http")
    monkeypatch.setenv("TWIN_TOPIC_PREFIX", "mine")

    settings = without(["TWIN_WEB_PORT: Input should be a valid integer"])

    assert settings is not None
    assert (settings.web_port, settings.topic_prefix) == (8010, "mine")


def test_faults_between_variables_leave_the_defaults() -> None:
    assert without(["TWIN_KAFKA_SASL_USERNAME must be set"]) is not None


def test_exit_code_tells(monkeypatch: pytest.MonkeyPatch) -> None:
    assert CliRunner().invoke(main, ["check"]).exit_code == 0

    monkeypatch.setenv("TWIN_WEB_PORT", "http")
    outcome = CliRunner().invoke(main, ["check"])

    assert outcome.exit_code == 1
    assert "FAULT settings: TWIN_WEB_PORT" in outcome.output
    assert outcome.output.endswith("1 fault\n")


def test_an_address_that_others_reach_needs_a_key(tmp_path: Path) -> None:
    config = tmp_path / "twin.yaml"
    config.write_text(
        "access: {anonymous: [read], keys: [{name: a, sha256: '"
        + "0" * 64
        + "', scopes: [read], expires: 2020-01-01}]}"
    )
    found: list[Findings] = []
    for settings in (
        load_settings(web_host="0.0.0.0"),
        load_settings(),
        load_settings(web_host="0.0.0.0", config=config),
    ):
        found.append(Findings())
        check_access(settings, found[-1])

    assert [len(findings.faults) for findings in found] == [1, 0, 0]
    assert "`twin key NAME` makes one" in found[0].faults[0]
    assert found[1].lines == [("note", "access: nobody needs a key: `twin web` serves 127.0.0.1 alone")]
    assert found[2].lines == [
        ("note", "access: the key a expired at 2020-01-01"),
        ("ok", "access: 1 key; without a key: read"),
    ]


def test_a_file_that_cannot_be_read_is_told_of_once(tmp_path: Path) -> None:
    settings, findings = load_settings(config=tmp_path / "nowhere.yaml"), Findings()

    check_files(settings, findings)
    check_access(settings, findings)

    assert len(findings.faults) == 1
