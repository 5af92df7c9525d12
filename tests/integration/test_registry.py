"""With a schema registry its ids stand on the wire; a small one of our own answers as Confluent's does."""

import json
from collections.abc import AsyncIterator, Iterator

import pytest
from aiohttp import web

from streams import schemas
from streams.errors import TwinError
from streams.registry import use_registry
from streams.schemas import HEADER, load_codec
from streams.settings import Settings
from streams.topics import RECORDS
from tests.factories import make_state

FIRST_ID = 4_711


@pytest.fixture(autouse=True)
def _own_codecs() -> Iterator[None]:
    for cached in (schemas.load_codec, schemas.released_schemas):
        cached.cache_clear()
    yield
    for cached in (schemas.load_codec, schemas.released_schemas):
        cached.cache_clear()


@pytest.fixture
async def registry() -> AsyncIterator[tuple[str, dict[str, dict[str, object]]]]:
    subjects: dict[str, dict[str, object]] = {}

    async def register(request: web.Request) -> web.Response:
        subjects[request.match_info["subject"]] = json.loads((await request.json())["schema"])
        return web.json_response({"id": FIRST_ID + len(subjects) - 1})

    async def refuse(_request: web.Request) -> web.Response:
        return web.json_response({"error_code": 409, "message": "incompatible"}, status=409)

    async def page(_request: web.Request) -> web.Response:
        return web.Response(text="<html>")

    application = web.Application()
    application.router.add_post("/subjects/{subject}/versions", register)
    application.router.add_post("/strict/subjects/{subject}/versions", refuse)
    application.router.add_post("/other/subjects/{subject}/versions", page)
    runner = web.AppRunner(application, access_log=None)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    yield f"http://127.0.0.1:{runner.addresses[0][1]}", subjects
    await runner.cleanup()


def with_registry(url: str) -> Settings:
    return Settings(schema_registry_url=url, kafka_bootstrap_servers="127.0.0.1:1")


async def test_schemas_are_registered_and_their_ids_written(registry: tuple[str, dict[str, object]]) -> None:
    url, subjects = registry
    before = load_codec("state").encode(make_state(id="ws01"))

    await use_registry(with_registry(url))

    assert set(subjects) == {f"twin.{record}.v1-value" for record in RECORDS}
    after = load_codec("state").encode(make_state(id="ws01"))
    assert HEADER.unpack_from(after) == (0, FIRST_ID + RECORDS.index("state"))
    assert load_codec("state").decode(before)["id"] == load_codec("state").decode(after)["id"] == "ws01"


async def test_without_a_registry_the_fingerprint_is_the_id() -> None:
    await use_registry(Settings(kafka_bootstrap_servers="127.0.0.1:1"))

    assert load_codec("state").schema_id == schemas.fingerprint_id(schemas.load_schema("state"))


@pytest.mark.parametrize(
    ("path", "text"), [("/strict", "409.*incompatible"), ("/other", "is no schema registry: '<html>'")]
)
async def test_a_registry_that_refuses_is_told(
    registry: tuple[str, dict[str, object]], path: str, text: str
) -> None:
    with pytest.raises(TwinError, match=text):
        await use_registry(with_registry(registry[0] + path))


async def test_a_registry_that_is_away_is_told_without_its_password() -> None:
    with pytest.raises(TwinError, match="does not answer") as caught:
        await use_registry(with_registry("http://user:hush@127.0.0.1:1"))

    assert "hush" not in str(caught.value)
