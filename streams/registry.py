"""With TWIN_SCHEMA_REGISTRY_URL: the schemas are registered there, and its ids stand on the wire."""

import json
from typing import Any

import aiohttp
from yarl import URL

from streams.errors import TwinError
from streams.schemas import load_codec, load_schema, released_sources
from streams.settings import Settings
from streams.topics import RECORDS, topics_of

TIMEOUT = aiohttp.ClientTimeout(total=10)
"""A registry answers in milliseconds; without it no role may start, or its records could not be read."""

CONTENT_TYPE = "application/vnd.schemaregistry.v1+json"
"""Of the Confluent Schema Registry API, https://docs.confluent.io/platform/7.6/schema-registry/develop/api.html"""


async def use_registry(settings: Settings) -> None:
    """Register all schemas, older releases first, and take the registry's ids; without one do nothing.

    The subject of a record is `<topic>-value`. What was written before with fingerprint ids stays readable.

    Raises:
        TwinError: the registry does not answer, or refuses a schema.
    """
    if not settings.schema_registry_url:
        return
    url, topics = URL(settings.schema_registry_url.rstrip("/")), topics_of(settings)
    async with aiohttp.ClientSession(timeout=TIMEOUT) as session:
        for record in RECORDS:
            versions = url / "subjects" / f"{topics[record]}-value" / "versions"
            codec = load_codec(record)
            for schema in released_sources(record):
                codec.also_reads(await _register(session, versions, schema), schema)
            codec.use_id(await _register(session, versions, load_schema(record)))


async def _register(session: aiohttp.ClientSession, versions: URL, schema: dict[str, Any]) -> int:
    shown = versions.with_user(None)
    try:
        body = json.dumps({"schema": json.dumps(schema)})
        async with session.post(versions, data=body, headers={"Content-Type": CONTENT_TYPE}) as answer:
            text = await answer.text()
            if answer.status != 200:
                raise TwinError(f"TWIN_SCHEMA_REGISTRY_URL: {shown} answers {answer.status}: {text[:300]}")
            return int(json.loads(text)["id"])
    except (aiohttp.ClientError, TimeoutError) as error:
        raise TwinError(f"TWIN_SCHEMA_REGISTRY_URL: {shown} does not answer: {error!r}") from error
    except (ValueError, KeyError, TypeError) as error:
        raise TwinError(f"TWIN_SCHEMA_REGISTRY_URL: {shown} is no schema registry: {text[:100]!r}") from error
