"""What the OpenAPI document says of all routes, in one place; FastAPI knows the rest."""

from collections.abc import Iterator
from copy import deepcopy
from functools import cache
from typing import Any, cast

from fastapi import FastAPI
from fastapi.routing import APIRoute
from fastapi.utils import deep_dict_update

from streams.web.problems import MEDIA_TYPE
from streams.web.reading import Format, document_schema

JSON = "application/json"

SCHEMAS = "#/components/schemas/"
"""Where references to shapes begin."""

DOCUMENTS: dict[Format, str] = {"decice-v2": "Document.DeciceV2", "appendix-a": "Document.AppendixA"}
"""Names of the shapes of documents."""

TAGS = [
    {
        "name": "twin",
        "description": "The state of all worlds, its past and its changes; events that change it",
    },
    {"name": "pipeline", "description": "How the twin itself does: topics, lag, sources"},
    {"name": "dead letters", "description": "Messages that no stage could take; they need the scope admin"},
    {"name": "operation", "description": "Probes and metrics; for everybody"},
    {"name": "schema registry", "description": "The read part of the Confluent schema registry API"},
    {
        "name": "DECICE",
        "description": "Routes as DECICE's own twin has them, for its schedulers and for its PromQL wrapper;"
        " new programs use those of `twin`. /api/v1 and /api are the same, /api/v2 adds cluster_info",
    },
]
"""Groups of routes, in the order of the page."""

PARAMETERS = {
    "kind": ("Kind of the entity: cluster, nodepool, node, device, link, job or world", "node"),
    "id": ("Its id, percent-encoded: a slash in it is %2F", "ws01"),
    "ts": ("A moment: ISO 8601 with a zone, or a while before now: -30m (s, m, h, d, w)", "-5m"),
    "subject": ("Name of a subject: <topic>-value", "twin.state.v1-value"),
    "version": ("Number of a version, the first is 1; or latest", "latest"),
}
"""Parts of paths: what they are, with an example."""

HEADERS: dict[str, dict[str, Any]] = {
    "ETag": {"description": "Send it as If-None-Match", "schema": {"type": "string"}},
    "Age": {
        "description": "[s] Age of the newest value; absent where there is none",
        "schema": {"type": "integer", "minimum": 0},
    },
    "Retry-After": {
        "description": "[s] How long to wait; absent where that does not help",
        "schema": {"type": "integer", "minimum": 0},
    },
    "WWW-Authenticate": {"description": "Bearer (RFC 6750)", "schema": {"type": "string"}},
    "Twin-Tick": {
        "description": "Time of the tick, ISO 8601",
        "schema": {"type": "string", "format": "date-time"},
    },
    "Twin-Every-Ms": {
        "description": "[ms] Distance of the snapshots",
        "schema": {"type": "integer", "minimum": 1},
    },
}
"""Headers of answers."""

IF_NONE_MATCH = {
    "name": "If-None-Match",
    "in": "header",
    "required": False,
    "description": "ETag of an answer before: 304 until something changed",
    "schema": {"type": "string"},
    "example": 'W/"0-0"',
}

REFUSALS = {
    "401": ("No key, or a wrong one", "WWW-Authenticate"),
    "403": ("The key has not the scope, or not the world or kind", None),
    "429": ("Too many requests for this key or address", "Retry-After"),
    "503": ("Kafka, the history store or the OIDC issuer is away, or nothing is known yet", "Retry-After"),
}
"""What every route may answer that is not for everybody, and a header of it."""

TOO_LARGE = "The body is larger than the route takes (docs/security.md)"

EXAMPLE = {
    "type": "urn:decice-twin:unknown-entity",
    "title": "Unknown entity",
    "status": 404,
    "detail": "there is no node 'ws1' in world live; did you mean ws01?",
    "instance": "/twin/v1/entities/node/ws1",
    "field": "id",
    "near": ["ws01"],
}


def sends(*headers: str) -> dict[str, Any]:
    """For `openapi_extra`: the answer has these headers."""
    return {"responses": {"200": {"headers": {name: HEADERS[name] for name in headers}}}}


ETAG: dict[str, Any] = {
    "parameters": [IF_NONE_MATCH],
    "responses": sends("ETag")["responses"]
    | {"304": {"description": "Nothing changed since", "headers": {"ETag": HEADERS["ETag"]}}},
}
"""For `openapi_extra`: the answer has an ETag."""


def takes(form: Format, examples: dict[str, Any]) -> dict[str, Any]:
    """For `openapi_extra`: the body is a document of a format, which the route reads itself."""
    content = {JSON: {"schema": ref(DOCUMENTS[form]), "examples": _examples(examples)}}
    return {"requestBody": {"required": True, "content": content}}


def takes_any_of(schema: dict[str, Any], examples: dict[str, Any]) -> dict[str, Any]:
    """For `openapi_extra`: the body has this shape, and the route reads it itself."""
    return {
        "requestBody": {
            "required": True,
            "content": {JSON: {"schema": schema, "examples": _examples(examples)}},
        }
    }


def gives(schema: dict[str, Any], description: str = "As it says", status: int = 200) -> dict[str, Any]:
    """For `openapi_extra`: JSON of this shape, which the route writes itself."""
    return {"responses": {str(status): {"description": description, "content": {JSON: {"schema": schema}}}}}


def merged(*parts: dict[str, Any]) -> dict[str, Any]:
    """Several of these in one."""
    found: dict[str, Any] = {}
    for part in parts:
        deep_dict_update(found, deepcopy(part))
    return found


def ref(name: str) -> dict[str, Any]:
    """A reference to a shape."""
    return {"$ref": SCHEMAS + name}


def described(app: FastAPI, schemas: dict[str, Any]) -> None:
    """Have an application give the whole document.

    Args:
        app: it has all its routes.
        schemas: shapes that its routes refer to and FastAPI does not know.
    """
    describe = app.openapi

    def openapi() -> dict[str, Any]:
        is_new = app.openapi_schema is None
        document = describe()
        if is_new:
            complete(document, schemas)
        return document

    app.openapi = openapi  # type: ignore[method-assign]  # how FastAPI has it extended


def operation_id(route: APIRoute) -> str:
    """Name of a route for programs that write clients: that of its function."""
    return route.name


def complete(document: dict[str, Any], schemas: dict[str, Any]) -> None:
    """Write into the document what FastAPI does not know."""
    document["tags"] = TAGS
    known: dict[str, Any] = document["components"]["schemas"]
    known |= schemas | {name: _component(form, name) for form, name in DOCUMENTS.items()}
    for name in ("HTTPValidationError", "ValidationError"):
        known.pop(name, None)  # every error is a problem
    for operations in document["paths"].values():
        for operation in operations.values():
            _complete_operation(operation)


@cache
def _component(form: Format, name: str) -> dict[str, Any]:
    """A document's shape, its references leading to where it stands here."""
    schema = {key: part for key, part in document_schema(form).items() if not key.startswith("$s")}
    schema.pop("$id", None)
    return cast(dict[str, Any], _moved(schema, f"{SCHEMAS}{name}/$defs/"))


def _moved(part: Any, place: str) -> Any:
    if isinstance(part, list):
        return [_moved(one, place) for one in part]
    if not isinstance(part, dict):
        return part
    return {
        key: value.replace("#/$defs/", place)
        if key == "$ref" and isinstance(value, str)
        else _moved(value, place)
        for key, value in part.items()
    }


def _complete_operation(operation: dict[str, Any]) -> None:
    responses: dict[str, Any] = operation["responses"]
    if operation.get("security"):
        for status, (text, _) in REFUSALS.items():
            responses.setdefault(status, {"description": text})
    if "requestBody" in operation:
        responses.setdefault("413", {"description": TOO_LARGE})
    if not _may_be_invalid(operation):
        responses.pop("422", None)
    for status, response in responses.items():
        if status >= "400":
            _complete_error(status, response)
    for parameter in operation.get("parameters", []):
        if parameter["in"] == "path":
            known = PARAMETERS.get(parameter["name"])
            if known is not None and "description" not in parameter:
                parameter |= {"description": known[0], "example": known[1]}
                parameter["schema"].setdefault("minLength", 1)
    operation["responses"] = dict(sorted(responses.items()))


def _may_be_invalid(operation: dict[str, Any]) -> bool:
    """Whether 422 can come: not of FastAPI's own, where each parameter is any text in a path."""
    found = operation["responses"].get("422", {})
    is_own = any(ref("HTTPValidationError") == shape for shape in _shapes(found))
    parameters = operation.get("parameters", [])
    return (
        not is_own
        or "requestBody" in operation
        or any(parameter["in"] != "path" or parameter["name"] == "ts" for parameter in parameters)
    )


def _complete_error(status: str, response: dict[str, Any]) -> None:
    shapes = list(_shapes(response))
    problems = [ref("Problem"), ref("HTTPValidationError")]
    if not shapes or any(shape in problems for shape in shapes):
        response["content"] = {MEDIA_TYPE: {"schema": ref("Problem"), "example": EXAMPLE}}
    if response["description"] == "Validation Error":
        response["description"] = "A parameter is wrong"
    header = REFUSALS.get(status, ("", None))[1]
    if header is not None:
        response.setdefault("headers", {})[header] = HEADERS[header]


def _shapes(response: dict[str, Any]) -> Iterator[dict[str, Any]]:
    for media in response.get("content", {}).values():
        yield media.get("schema", {})


def _examples(values: dict[str, Any]) -> dict[str, Any]:
    return {name: {"value": value} for name, value in values.items()}
