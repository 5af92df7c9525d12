"""The manifests in k8s/ against what the code reads and serves."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from streams.settings import Settings, load_settings

FOLDER = Path(__file__).parents[2] / "k8s"
ROLES = ("collect", "worker", "sink", "web")
FIELDS = {f"TWIN_{name.upper()}" for name in Settings.model_fields}


def manifests() -> list[dict[str, Any]]:
    kustomization = yaml.safe_load((FOLDER / "kustomization.yaml").read_text())
    return [
        document
        for name in kustomization["resources"]
        for document in yaml.safe_load_all((FOLDER / name).read_text())
    ]


def pods() -> dict[str, dict[str, Any]]:
    return {
        manifest["metadata"]["name"]: manifest["spec"]["template"]["spec"]
        for manifest in manifests()
        if manifest["kind"] in ("Deployment", "Job")
    }


def container(role: str) -> dict[str, Any]:
    return dict(pods()[f"twin-{role}"]["containers"][0])


def config_data() -> dict[str, str]:
    return dict(next(manifest["data"] for manifest in manifests() if manifest["kind"] == "ConfigMap"))


def test_every_file_is_a_resource() -> None:
    kustomization = yaml.safe_load((FOLDER / "kustomization.yaml").read_text())

    assert sorted(kustomization["resources"]) == sorted(
        path.name for path in FOLDER.glob("*.yaml") if path.name != "kustomization.yaml"
    )


def test_every_role_has_a_deployment_that_runs_its_command() -> None:
    assert {name: pod["containers"][0]["args"] for name, pod in pods().items()} == {
        "twin-topics": ["topics", "create"]
    } | {f"twin-{role}": [role] for role in ROLES}


def test_variables_are_settings() -> None:
    named = set(config_data())
    for pod in pods().values():
        named |= {variable["name"] for variable in pod["containers"][0]["env"]}

    assert named - FIELDS == set()


def test_settings_take_the_values(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in config_data().items():
        assert isinstance(value, str)
        monkeypatch.setenv(name, value)

    assert load_settings().kafka_bootstrap_servers == "kafka:9092"


def test_secrets_are_references() -> None:
    secrets = [variable for pod in pods().values() for variable in pod["containers"][0]["env"]]

    assert all("secretKeyRef" in variable["valueFrom"] for variable in secrets)
    assert not any("TOKEN" in name or "PASSWORD" in name for name in config_data())


def test_who_is_reached_by_others_asks_for_a_key() -> None:
    (key,) = [one for one in container("web")["env"] if one["name"] == "TWIN_INTERNAL_API_KEY"]
    secret = key["valueFrom"]["secretKeyRef"]

    assert not secret.get("optional")
    told = (FOLDER / "kustomization.yaml").read_text()
    assert f"--from-literal={secret['key']}=" in told


@pytest.mark.parametrize("role", ROLES)
def test_probes_ask_for_health(role: str) -> None:
    assert container(role)["livenessProbe"]["httpGet"]["path"] == "/health/live"
    assert container(role)["readinessProbe"]["httpGet"]["path"] == "/health/ready"
    assert container(role)["resources"]["limits"]["memory"]


@pytest.mark.parametrize("role", ROLES)
def test_probes_ask_at_the_port_of_the_image(role: str) -> None:
    variable = "TWIN_WEB_PORT" if role == "web" else "TWIN_METRICS_PORT"
    dockerfile = (FOLDER.parent / "Dockerfile").read_text()

    assert f"{variable}={container(role)['ports'][0]['containerPort']}" in dockerfile


def test_no_service_link_overwrites_a_setting() -> None:
    # Kubernetes gives pods TWIN_WEB_PORT=tcp://… for a Service named twin-web.
    assert all(pod["enableServiceLinks"] is False for pod in pods().values())


def test_no_pod_runs_as_root() -> None:
    for pod in pods().values():
        assert pod["securityContext"]["runAsNonRoot"] is True
        assert pod["containers"][0]["securityContext"]["allowPrivilegeEscalation"] is False
