"""docker-compose.yml and the Dockerfile against the compose specification and what the code reads."""

import json
import re
import subprocess
import tomllib
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import yaml
from jsonschema import Draft202012Validator

from streams.cli import main
from streams.errors import SettingsError
from streams.settings import Settings, load_settings
from streams.web.access.address import check_address
from streams.web.access.config import load_access

CHECKOUT = Path(__file__).parents[2]
ROLES = {"collect", "worker", "sink", "web"}


@pytest.fixture(scope="module")
def compose() -> dict[str, Any]:
    return dict(yaml.safe_load((CHECKOUT / "docker-compose.yml").read_text()))


@pytest.fixture(scope="module")
def dockerfile() -> str:
    return (CHECKOUT / "Dockerfile").read_text()


def image_environment(dockerfile: str) -> dict[str, str]:
    return dict(re.findall(r"^\s+(TWIN_\w+)=(\S+)", dockerfile, flags=re.MULTILINE))


def interpolated(environment: dict[str, str]) -> dict[str, str]:
    return {
        name: re.sub(r"\$\{(\w+):\?[^}]*\}", r"secret-of-\1", value) for name, value in environment.items()
    }


def test_file_follows_the_compose_specification(compose: dict[str, Any]) -> None:
    # The schema of github.com/compose-spec/compose-spec (Apache-2.0), in the wheel of check-jsonschema.
    carrier = find_spec("check_jsonschema")  # not imported: it needs a newer click than Faust takes
    assert carrier is not None
    assert carrier.origin is not None
    schema = Path(carrier.origin).parent / "builtin_schemas" / "vendor" / "compose-spec.json"

    faults = [
        error.message for error in Draft202012Validator(json.loads(schema.read_text())).iter_errors(compose)
    ]

    assert faults == []


def test_services_are_the_roles_and_what_they_need(compose: dict[str, Any]) -> None:
    assert set(compose["services"]) == ROLES | {"kafka", "influxdb", "prometheus", "node-exporter", "topics"}


def test_each_role_runs_the_command_of_its_name(compose: dict[str, Any]) -> None:
    assert {role: compose["services"][role]["command"] for role in ROLES} == {role: [role] for role in ROLES}
    assert ROLES | {"topics"} <= set(main.list_commands(None))  # type: ignore[arg-type]  # the group needs no context


def test_each_image_has_a_version(compose: dict[str, Any]) -> None:
    images = {name: service["image"] for name, service in compose["services"].items()}

    assert images["kafka"] == "apache/kafka:4.0.0"
    assert images["influxdb"].startswith("influxdb:2.7.")
    assert all(re.search(r":v?\d+\.\d+\.\d+$", image) for image in images.values())


def test_own_image_has_the_version_of_the_project(compose: dict[str, Any]) -> None:
    version = tomllib.loads((CHECKOUT / "pyproject.toml").read_text())["project"]["version"]

    assert {compose["services"][name]["image"] for name in ROLES | {"topics"}} == {
        f"decice-twin-stream:{version}"
    }


def test_every_port_is_published_on_loopback_alone(compose: dict[str, Any]) -> None:
    ports = [port for service in compose["services"].values() for port in service.get("ports", [])]

    assert ports
    assert all(port.startswith("127.0.0.1:") for port in ports)


def test_variables_are_settings(compose: dict[str, Any], dockerfile: str) -> None:
    fields = {f"TWIN_{name.upper()}" for name in Settings.model_fields}
    named = set(image_environment(dockerfile))
    for name in ROLES | {"topics"}:
        named |= set(compose["services"][name]["environment"])

    assert named - fields == set()


@pytest.mark.parametrize("role", sorted(ROLES | {"topics"}))
def test_settings_take_the_variables(
    role: str, compose: dict[str, Any], dockerfile: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    environment = image_environment(dockerfile) | interpolated(compose["services"][role]["environment"])
    for name, value in environment.items():
        monkeypatch.setenv(name, value)

    settings = load_settings()

    assert settings.kafka_bootstrap_servers == "kafka:19092"


def test_addresses_name_services_and_their_ports(compose: dict[str, Any]) -> None:
    listens = {"kafka": 19092, "influxdb": 8086, "prometheus": 9090, "node-exporter": 9100}
    text = (
        json.dumps([compose["services"][role]["environment"] for role in ROLES])
        + compose["configs"]["prometheus"]["content"]
    )

    named = set(re.findall(r"(kafka|influxdb|prometheus|node-exporter):(\d+)", text))

    assert named == {(name, str(port)) for name, port in listens.items()}


def test_history_is_the_bucket_that_influxdb_is_set_up_with(compose: dict[str, Any]) -> None:
    made = compose["services"]["influxdb"]["environment"]

    for role in ("sink", "web"):
        read = compose["services"][role]["environment"]
        organisation, bucket = read["TWIN_HISTORY_URL"].split("/")[-2:]
        assert (organisation, bucket) == (
            made["DOCKER_INFLUXDB_INIT_ORG"],
            made["DOCKER_INFLUXDB_INIT_BUCKET"],
        )
        assert read["TWIN_HISTORY_TOKEN"] == made["DOCKER_INFLUXDB_INIT_ADMIN_TOKEN"]


def test_secrets_come_from_outside_or_not_at_all(compose: dict[str, Any]) -> None:
    secret = re.compile(r"TOKEN|PASSWORD|SECRET|API_KEY")
    values = [
        str(value)
        for service in compose["services"].values()
        for name, value in service.get("environment", {}).items()
        if secret.search(name)
    ]

    assert values
    assert all(re.fullmatch(r"\$\{\w+:\?[^}]+\}", value) for value in values)


def test_who_is_reached_by_others_asks_for_a_key(
    compose: dict[str, Any], dockerfile: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    environment = image_environment(dockerfile) | interpolated(compose["services"]["web"]["environment"])
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    settings = load_settings()

    check_address(settings)

    assert settings.web_host == "0.0.0.0"
    assert not load_access(settings).is_open
    with pytest.raises(SettingsError, match="twin key"):
        check_address(settings.model_copy(update={"internal_api_key": None}))


def test_every_secret_is_made(compose: dict[str, Any], tmp_path: Path) -> None:
    needed = set(re.findall(r"\$\{(\w+):\?", (CHECKOUT / "docker-compose.yml").read_text()))
    (tmp_path / ".env").write_text("INFLUXDB_PASSWORD=kept")

    for _ in range(2):
        subprocess.run(["make", "-s", "-f", str(CHECKOUT / "Makefile"), "secrets"], cwd=tmp_path, check=True)

    lines = (tmp_path / ".env").read_text().split()
    made = dict(line.split("=", 1) for line in lines)
    assert len(lines) == len(made)
    assert needed == set(made)
    assert made["INFLUXDB_PASSWORD"] == "kept"
    assert all(len(value) > 20 for name, value in made.items() if name != "INFLUXDB_PASSWORD")


def test_health_is_checked(compose: dict[str, Any], dockerfile: str) -> None:
    for name in ("kafka", "influxdb", "prometheus", "node-exporter"):
        assert compose["services"][name]["healthcheck"]["test"][0] == "CMD"
    for name in ROLES:
        assert "healthcheck" not in compose["services"][name]
    assert "HEALTHCHECK" in dockerfile
    assert "/health/ready" in dockerfile


def test_health_check_of_the_image_is_python(dockerfile: str) -> None:
    # The shell form's line continuations are Docker's: what is left must compile.
    check = re.search(r"HEALTHCHECK .* CMD (\[.*?\])$", dockerfile.replace("\\\n", ""), flags=re.MULTILINE)
    assert check is not None

    program = json.loads(check[1])

    assert program[:2] == ["python", "-c"]
    compile(program[2], "HEALTHCHECK", "exec")


def test_image_runs_as_nobody_in_particular(dockerfile: str) -> None:
    last_stage = dockerfile.rsplit("FROM ", 1)[1]

    assert "USER 10001:10001" in last_stage
    assert 'ENTRYPOINT ["twin"]' in last_stage


def test_image_locks_what_it_installs(dockerfile: str) -> None:
    installs = re.findall(r"pip install (.*)", dockerfile)

    assert installs
    assert all("--no-deps" in line for line in installs)
    assert all("--require-hashes" in line for line in installs if "-r " in line)


def test_image_is_made_of_files_that_are_there(dockerfile: str) -> None:
    copied = [
        word
        for line in re.findall(r"^COPY (?!--from)(.*) \S+$", dockerfile, re.MULTILINE)
        for word in line.split()
    ]
    allowed = {
        line[1:] for line in (CHECKOUT / ".dockerignore").read_text().splitlines() if line.startswith("!")
    }

    assert set(copied) == allowed
    assert all((CHECKOUT / name).exists() for name in copied)
