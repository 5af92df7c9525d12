"""Each route says what it does, takes and answers."""

from collections.abc import Iterator
from typing import Any

import pytest

from streams.settings import load_settings
from streams.web.app import create_web
from streams.web.problems import MEDIA_TYPE

Operation = dict[str, Any]

REGISTRY = "application/vnd.schemaregistry.v1+json"

PLAIN = ("/health/", "/metrics")
"""For everybody; what is wrong with the process they say in their own words."""


@pytest.fixture(scope="module")
def document() -> dict[str, Any]:
    return create_web(load_settings(kafka_bootstrap_servers="127.0.0.1:1")).openapi()


@pytest.fixture(scope="module")
def operations(document: dict[str, Any]) -> list[tuple[str, Operation]]:
    return [
        (f"{method.upper()} {path}", operation)
        for path, methods in document["paths"].items()
        for method, operation in methods.items()
    ]


def is_plain(name: str) -> bool:
    return name.partition(" ")[2].startswith(PLAIN)


def references(part: Any) -> Iterator[str]:
    if isinstance(part, dict):
        if isinstance(part.get("$ref"), str):
            yield part["$ref"]
        part = list(part.values())
    if isinstance(part, list):
        for one in part:
            yield from references(one)


def test_each_operation_has_summary_description_tag_and_a_name_of_its_own(
    operations: list[tuple[str, Operation]],
) -> None:
    assert len(operations) > 60
    for name, operation in operations:
        by_default = operation["operationId"].replace("_", " ").title()
        assert operation["summary"] not in ("", by_default), name
        assert operation["description"], name
        assert operation["tags"], name
    ids = [operation["operationId"] for _, operation in operations]
    assert len(set(ids)) == len(ids)
    assert all(id.isidentifier() for id in ids)


def test_legacy_routes_are_grouped(operations: list[tuple[str, Operation]]) -> None:
    for name, operation in operations:
        is_legacy = name.partition(" ")[2].startswith(("/api/", "/pool"))
        assert (operation["tags"] == ["DECICE"]) is is_legacy, name


def test_each_parameter_is_described(operations: list[tuple[str, Operation]]) -> None:
    for name, operation in operations:
        for parameter in operation.get("parameters", []):
            assert parameter.get("description"), (name, parameter["name"])


def test_each_body_has_a_shape_or_an_example(operations: list[tuple[str, Operation]]) -> None:
    for name, operation in operations:
        if name.startswith("POST") and name != "POST /pool":
            for media in operation["requestBody"]["content"].values():
                assert media.get("schema") or media.get("examples"), name
            assert "413" in operation["responses"], name


def test_each_answer_has_a_shape(operations: list[tuple[str, Operation]]) -> None:
    for name, operation in operations:
        for status, response in operation["responses"].items():
            if status in ("204", "304"):
                continue
            assert response["description"], (name, status)
            for media_type, media in response["content"].items():
                assert media.get("schema") is not None, (name, status, media_type)
                assert media["schema"] != {} or media_type == "text/plain", (name, status, media_type)


def test_errors_are_problems(operations: list[tuple[str, Operation]]) -> None:
    for name, operation in operations:
        for status, response in operation["responses"].items():
            if status < "400" or is_plain(name):
                continue
            assert set(response["content"]) <= {MEDIA_TYPE, REGISTRY}, (name, status)
        if not is_plain(name):
            assert {"401", "403", "429", "503"} <= set(operation["responses"]), name
            assert [set(one) for one in operation["security"]] == [{"bearer"}, {"key"}, {"session"}], name


def test_each_reference_leads_somewhere(document: dict[str, Any]) -> None:
    for reference in set(references(document)):
        part = document
        for step in reference.removeprefix("#/").split("/"):
            part = part[step]
        assert part, reference
    text = str(document)
    assert "HTTPValidationError" not in text


def test_the_document_is_made_once() -> None:
    app = create_web(load_settings(kafka_bootstrap_servers="127.0.0.1:1"))

    assert app.openapi() is app.openapi()
