"""The read part of the Confluent schema registry API, for Kafka UIs, Telegraf, Flink and the like.

https://docs.confluent.io/platform/current/schema-registry/develop/api.html
"""

import json
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse

from streams.schemas import load_codec, load_schema, released_schemas
from streams.topics import RECORDS, Topics, topics_of

MEDIA_TYPE = "application/vnd.schemaregistry.v1+json"

router = APIRouter(tags=["schema registry"], default_response_class=JSONResponse)


@router.get("/subjects")
async def get_subjects(request: Request) -> JSONResponse:
    """All subjects: `<topic>-value` of each topic of the twin."""
    return _answer(sorted(_subjects(request)))


@router.get("/subjects/{subject}/versions")
async def get_versions(request: Request, subject: str) -> JSONResponse:
    """The versions of a subject."""
    record = _subjects(request).get(subject)
    if record is None:
        return _no_subject(subject)
    return _answer(list(range(1, len(_versions(record)) + 1)))


@router.get("/subjects/{subject}/versions/{version}")
async def get_version(request: Request, subject: str, version: str) -> JSONResponse:
    """A version of a subject's schema; `latest` is the one in use."""
    record = _subjects(request).get(subject)
    if record is None:
        return _no_subject(subject)
    versions = _versions(record)
    number = len(versions) if version in ("latest", "-1") else int(version) if version.isdecimal() else 0
    if number == 0:
        return _fault(
            422, 42202, f"The specified version '{version}' is not a valid version id. Allowed: 1 …, latest"
        )
    if number > len(versions):
        return _fault(404, 40402, f"Version {number} not found.")
    schema_id, schema = versions[number - 1]
    return _answer({"subject": subject, "version": number, "id": schema_id, "schema": json.dumps(schema)})


@router.get("/schemas/ids/{id}")
async def get_schema(id: str) -> JSONResponse:
    """The schema with this id, which stands in the framing of each record."""
    for record in RECORDS:
        for schema_id, schema in _versions(record):
            if str(schema_id) == id:
                return _answer({"schema": json.dumps(schema)})
    return _fault(404, 40403, f"Schema {id} not found")


@router.get("/schemas/ids/{id}/versions")
async def get_uses(request: Request, id: str) -> JSONResponse:
    """The subjects and versions that have the schema with this id."""
    uses = [
        {"subject": subject, "version": number}
        for subject, record in sorted(_subjects(request).items())
        for number, (schema_id, _) in enumerate(_versions(record), start=1)
        if str(schema_id) == id
    ]
    return _answer(uses) if uses else _fault(404, 40403, f"Schema {id} not found")


@router.get("/schemas/types")
async def get_types() -> JSONResponse:
    """The kinds of schemas."""
    return _answer(["AVRO"])


@router.get("/config")
async def get_config() -> JSONResponse:
    """How schemas may change: compatibly both ways, with all released ones."""
    return _answer({"compatibilityLevel": "FULL_TRANSITIVE"})


def _subjects(request: Request) -> dict[str, str]:
    topics: Topics = topics_of(request.app.state.twin.settings)
    return {f"{topics[record]}-value": record for record in RECORDS}


def _versions(record: str) -> list[tuple[int, Any]]:
    """Id and schema of each version, the oldest first; the one in use is the last."""
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
