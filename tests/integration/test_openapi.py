"""The OpenAPI document is whole, and what it says is what the running API does."""

import asyncio
import re
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
import yaml

from streams.settings import Settings
from streams.web.access.config import hash_of
from tests.factories import make_state
from tests.historyfile import fill
from tests.services.roles import Role
from tests.statewriter import StateWriter
from tests.webclient import Client, ready, serving

KEY = "alles"

CONFIG = Path(__file__).with_name("schemathesis.toml")

FIRST_MS = int(time.time() * 1000 - 1_800_000) // 60_000 * 60_000
"""[ms since the epoch] The first tick of the past, half an hour ago."""

MAX_S = 75
"""[s] For fuzzing; what is not tried by then is not."""

LIMIT_S = 400.0
"""[s] The phases before have no such limit, and the machine may be busy."""


@pytest_asyncio.fixture
async def client(settings: Settings, worker: Role, tmp_path: Path) -> AsyncIterator[Client]:
    """Asks a web role with keys, a history and some entities, beside a worker."""
    history = tmp_path / "history.duckdb"
    await asyncio.to_thread(fill, history, FIRST_MS)
    config = tmp_path / "twin.yaml"
    key = {"name": "all", "sha256": hash_of(KEY), "scopes": ["read", "events", "admin"]}
    config.write_text(yaml.safe_dump({"access": {"keys": [key], "rate": {"per_s": 10_000, "burst": 10_000}}}))
    closed = settings.model_copy(update={"config": config, "history_url": f"duckdb://{history}"})
    async with StateWriter(closed) as writer, serving(closed, KEY) as client:
        await writer.put(make_state(id="ws01"), make_state(id="1~2", kind="link"))
        await ready(client)
        yield client


@pytest.mark.timeout(LIMIT_S + 60)
async def test_schemathesis_finds_nothing(client: Client) -> None:
    process = await asyncio.create_subprocess_exec(
        str(Path(sys.executable).with_name("schemathesis")),
        "--config-file",
        str(CONFIG),
        "--no-color",
        "run",
        f"{client.url}/openapi.json",
        "--max-time",
        str(MAX_S),
        "--header",
        f"Authorization: Bearer {KEY}",
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    try:
        async with asyncio.timeout(LIMIT_S):
            output, _ = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
    text = output.decode()
    sys.stdout.write(text)

    assert process.returncode == 0, text[-20_000:]


async def test_swagger_loads_nothing_from_elsewhere(client: Client) -> None:
    answer = await client.get("/docs")
    page = answer.body.decode()

    assert answer.status == 200
    assert re.findall(r"(?:https?:)?//[a-z0-9.-]+\.[a-z]+", page) == []
    links = re.findall(r'(?:src|href)="([^"]*)"', page)
    assert len(links) == 3
    for link in links:
        assert (await client.get(link)).status == 200
    assert "script-src 'self'" in answer.headers["Content-Security-Policy"]


async def test_a_wrong_method_is_told_all_that_there_are(client: Client) -> None:
    async def allowed(path: str) -> tuple[int, str | None]:
        async with client.session.put(client.url + path) as response:
            return response.status, response.headers.get("Allow")

    assert await allowed("/api/v2/model_core/") == (405, "GET, POST")
    assert await allowed("/api/v2/model_core") == (405, "GET, POST")
    assert await allowed("/twin/v1/subscriptions/x") == (405, "DELETE, GET")
    assert await allowed("/twin/v1/state") == (405, "GET")
