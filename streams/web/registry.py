"""The read part of the Confluent schema registry API, for Kafka UIs, Telegraf, Flink and the like.

https://docs.confluent.io/platform/current/schema-registry/develop/api.html
"""

import json
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Path, Request
from fastapi.responses import JSONResponse
from pydantic import Field

from streams.schemas import load_codec, load_schema, released_schemas
from streams.topics import RECORDS, Topics, topics_of
from streams.web.access.require import require
from streams.web.models import Model

MEDIA_TYPE = "application/vnd.schemaregistry.v1+json"


class RegistryResponse(JSONResponse):
    """JSON as registry clients ask for it."""

    media_type = MEDIA_TYPE


class RegistryFault(Model):
    """An error as registry clients read it."""

    error_code: int
    message: str


class Version(Model):
    """A version of a subject."""

    subject: str
    version: int = Field(description="Its number, from 1")
    id: int = Field(description="Id of its schema, as in the framing of each record")
    schema_: str = Field(alias="schema", description="Avro schema, as JSON in a text")


class Schema(Model):
    """A schema."""

    schema_: str = Field(alias="schema", description="Avro schema, as JSON in a text")


class Use(Model):
    """A subject that has a schema, and in which version."""

    subject: str
    version: int


class Compatibility(Model):
    """How schemas may change."""

    compatibilityLevel: str  # noqa: N815  # the registry's word


SchemaId = Path(description="Id of a schema, as in the framing of each record")

UNKNOWN: dict[int | str, dict[str, Any]] = {404: {"model": RegistryFault, "description": "There is none"}}
NO_VERSION: dict[int | str, dict[str, Any]] = {
    422: {"model": RegistryFault, "description": "It is no number of a version"}
}

router = APIRouter(
    tags=["schema registry"], default_response_class=RegistryResponse, dependencies=[Depends(require("read"))]
)


@router.get("/subjects", response_model=list[str], summary="Subjects")
async def get_subjects(request: Request) -> JSONResponse:
    """All subjects: `<topic>-value` of each topic of the twin."""
    return _answer(sorted(_subjects(request)))


@router.get(
    "/subjects/{subject}/versions",
    response_model=list[int],
    responses=UNKNOWN,
    summary="Versions of a subject",
)
async def get_versions(request: Request, subject: str) -> JSONResponse:
    """The versions of a subject."""
    record = _subjects(request).get(subject)
    if record is None:
        return _no_subject(subject)
    return _answer(list(range(1, len(versions_of(record)) + 1)))


@router.get(
    "/subjects/{subject}/versions/{version}",
    response_model=Version,
    responses=UNKNOWN | NO_VERSION,
    summary="One version of a subject",
)
async def get_version(request: Request, subject: str, version: str) -> JSONResponse:
    """A version of a subject's schema; `latest` is the one in use."""
    record = _subjects(request).get(subject)
    if record is None:
        return _no_subject(subject)
    versions = versions_of(record)
    number = len(versions) if version in ("latest", "-1") else int(version) if version.isdecimal() else 0
    if number == 0:
        return _fault(
            422, 42202, f"The specified version '{version}' is not a valid version id. Allowed: 1 …, latest"
        )
    if number > len(versions):
        return _fault(404, 40402, f"Version {number} not found.")
    schema_id, schema = versions[number - 1]
    return _answer({"subject": subject, "version": number, "id": schema_id, "schema": json.dumps(schema)})


@router.get("/schemas/ids/{id}", response_model=Schema, responses=UNKNOWN, summary="A schema by its id")
async def get_schema(id: Annotated[str, SchemaId]) -> JSONResponse:
    """The schema with this id, which stands in the framing of each record."""
    for record in RECORDS:
        for schema_id, schema in versions_of(record):
            if str(schema_id) == id:
                return _answer({"schema": json.dumps(schema)})
    return _fault(404, 40403, f"Schema {id} not found")


@router.get(
    "/schemas/ids/{id}/versions", response_model=list[Use], responses=UNKNOWN, summary="Who uses a schema"
)
async def get_uses(request: Request, id: Annotated[str, SchemaId]) -> JSONResponse:
    """The subjects and versions that have the schema with this id."""
    uses = [
        {"subject": subject, "version": number}
        for subject, record in sorted(_subjects(request).items())
        for number, (schema_id, _) in enumerate(versions_of(record), start=1)
        if str(schema_id) == id
    ]
    return _answer(uses) if uses else _fault(404, 40403, f"Schema {id} not found")


@router.get("/schemas/types", response_model=list[str], summary="Kinds of schemas")
async def get_types() -> JSONResponse:
    """The kinds of schemas."""
    return _answer(["AVRO"])


@router.get("/config", response_model=Compatibility, summary="How schemas may change")
async def get_config() -> JSONResponse:
    """How schemas may change: compatibly both ways, with all released ones."""
    return _answer({"compatibilityLevel": "FULL_TRANSITIVE"})


def _subjects(request: Request) -> dict[str, str]:
    topics: Topics = topics_of(request.app.state.twin.settings)
    return {f"{topics[record]}-value": record for record in RECORDS}


def versions_of(record: str) -> list[tuple[int, Any]]:
    """Id and schema of each version of a record, the oldest first; the one in use is the last."""
    current = load_codec(record).schema_id
    released = [
        (schema_id, {name: part for name, part in schema.items() if not name.startswith("__")})
        for schema_id, schema in released_schemas(record).items()
        if schema_id != current
    ]
    return [*released, (current, load_schema(record))]


def _no_subject(subject: str) -> JSONResponse:
    return _fault(404, 40401, f"Subject '{subject}' not found.")


def _fault(status: int, code: int, message: str) -> JSONResponse:
    # Registry clients read this form, not problem documents.
    return _answer({"error_code": code, "message": message}, status)


def _answer(document: Any, status: int = 200) -> JSONResponse:
    return JSONResponse(document, status_code=status, media_type=MEDIA_TYPE)
