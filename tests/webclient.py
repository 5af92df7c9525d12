"""A web role that runs in the test's own loop, and a client that checks its answers against its schemas."""

import asyncio
import io
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import Any

import aiohttp
import uvicorn
from jsonschema import Draft202012Validator

from streams.settings import Settings
from streams.web.app import create_web
from streams.web.run import listen
from streams.web.stream.protocol import Protocol
from tests.waiting import DEADLINE_S, until


@dataclass
class Answer:
    status: int
    headers: Any
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


@dataclass
class Client:
    """Asks one running server, and checks whatever it answers against the schemas that it gives."""

    url: str
    session: aiohttp.ClientSession
    schemas: dict[str, Any]

    async def get(self, path: str, schema: str | None = None, **options: Any) -> Answer:
        async with self.session.get(self.url + path, **options) as response:
            answer = Answer(response.status, response.headers, await response.read())
        if answer.headers.get("Content-Type") == "application/problem+json":
            self.check(answer, "problem")
        elif schema is not None:
            assert answer.status in (200, 503), answer
            self.check(answer, schema)
        return answer

    async def post(self, path: str, document: Any, headers: dict[str, str] | None = None) -> Answer:
        """Post JSON."""
        return await self.send(
            path, json.dumps(document).encode(), {"Content-Type": "application/json"} | (headers or {})
        )

    async def send(self, path: str, body: bytes, headers: dict[str, str]) -> Answer:
        """Post a body as it is."""
        async with self.session.post(self.url + path, data=io.BytesIO(body), headers=headers) as response:
            answer = Answer(response.status, response.headers, await response.read())
        if answer.headers.get("Content-Type") == "application/problem+json":
            self.check(answer, "problem")
        return answer

    def check(self, answer: Answer, schema: str) -> None:
        Draft202012Validator(self.schemas[schema]).validate(answer.json)


@asynccontextmanager
async def serving(settings: Settings, key: str | None = None) -> AsyncIterator[Client]:
    """The web role, and a client that has a key."""
    listener = listen("127.0.0.1", 0)
    server = uvicorn.Server(
        uvicorn.Config(create_web(settings), http=Protocol, log_config=None, lifespan="on")
    )
    task = asyncio.create_task(server.serve(sockets=[listener]))
    try:
        await until(lambda: server.started)
        headers = {} if key is None else {"Authorization": f"Bearer {key}"}
        async with aiohttp.ClientSession(headers=headers) as session:
            client = Client(f"http://127.0.0.1:{listener.getsockname()[1]}", session, {})
            client.schemas = (await client.get("/twin/v1/schemas")).json["schemas"]
            yield client
    finally:
        server.should_exit = True
        await task


@asynccontextmanager
async def other_client(client: Client, key: str | None = None) -> AsyncIterator[Client]:
    """Another client of the same server, with another key or none."""
    headers = {} if key is None else {"Authorization": f"Bearer {key}"}
    async with aiohttp.ClientSession(headers=headers) as session:
        yield replace(client, session=session)


async def ready(client: Client) -> None:
    await eventually(client, "/health/ready", lambda answer: answer.status == 200)


async def eventually(client: Client, path: str, holds: Callable[[Answer], bool], **options: Any) -> Answer:
    """The first answer for which it holds."""
    async with asyncio.timeout(DEADLINE_S):
        while not holds(answer := await client.get(path, **options)):  # noqa: ASYNC110  # HTTP has no event
            await asyncio.sleep(0.02)
    return answer


def ids(answer: Answer) -> list[str]:
    assert answer.status == 200, answer
    return [entity["id"] for entity in answer.json["entities"]]
