"""Reads streams in tests: events of a response, messages of a WebSocket, and what a client then has."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import aiohttp

from tests.waiting import DEADLINE_S
from tests.webclient import Client


@dataclass
class Event:
    name: str
    id: str
    data: Any


@dataclass
class Stream:
    """Events of one connection; `has` is what they leave: entities or rows by kind and id."""

    response: aiohttp.ClientResponse | None = None
    socket: aiohttp.ClientWebSocketResponse | None = None
    has: dict[tuple[str, str], Any] = field(default_factory=dict)
    id: str = ""
    _rest: bytes = b""

    async def next(self) -> Event:
        """The next event, heartbeats too; EOFError at the end."""
        async with asyncio.timeout(DEADLINE_S):
            event = await (self._read_socket() if self.socket is not None else self._read_response())
        self._note(event)
        return event

    async def until(self, name: str) -> list[Event]:
        """All events up to the first of this name."""
        events = [await self.next()]
        while events[-1].name != name:
            events.append(await self.next())
        return events

    async def until_has(self, versions: dict[tuple[str, str], int]) -> list[Event]:
        """All events until it has exactly these versions."""
        events: list[Event] = []
        while {key: entity["version"] for key, entity in self.has.items()} != versions:
            events.append(await self.next())
        return events

    async def _read_response(self) -> Event:
        assert self.response is not None
        while b"\n\n" not in self._rest:
            more = await self.response.content.readany()
            if not more:
                raise EOFError
            self._rest += more
        text, _, self._rest = self._rest.partition(b"\n\n")
        lines = dict(line.split(": ", 1) for line in text.decode().split("\n"))
        if "event" not in lines:  # how long to wait before the next connection
            return await self._read_response()
        return Event(lines["event"], lines["id"], json.loads(lines["data"]))

    async def _read_socket(self) -> Event:
        assert self.socket is not None
        message = await self.socket.receive()
        if message.type is not aiohttp.WSMsgType.TEXT:
            raise EOFError
        found = json.loads(message.data)
        assert list(found) == ["event", "id", "data"]
        return Event(*found.values())

    def _note(self, event: Event) -> None:
        if event.name == "snapshot":
            self.has = {}
        elif event.name in ("entity", "rows"):
            for entity in event.data if event.name == "rows" else [event.data]:
                self.has[entity["kind"], entity["id"]] = entity
        elif event.name == "gone":
            for gone in event.data if isinstance(event.data, list) else [event.data]:
                self.has.pop((gone["kind"], gone["id"]), None)
        self.id = event.id


@asynccontextmanager
async def streaming(
    client: Client, last: str | None = None, **params: str | list[str]
) -> AsyncIterator[Stream]:
    """A stream of server-sent events; `last` is the id to go on after."""
    headers = {"Last-Event-ID": last} if last else {}
    timeout = aiohttp.ClientTimeout(total=None, sock_read=DEADLINE_S)
    async with client.session.get(
        f"{client.url}/twin/v1/stream", params=_pairs(params), headers=headers, timeout=timeout
    ) as response:
        assert response.status == 200, await response.text()
        yield Stream(response=response)


@asynccontextmanager
async def talking(client: Client, **params: str | list[str]) -> AsyncIterator[Stream]:
    """The same by a WebSocket."""
    async with client.session.ws_connect(
        f"{client.url}/twin/v1/stream", params=_pairs(params), max_msg_size=0
    ) as socket:
        yield Stream(socket=socket)


def _pairs(params: dict[str, str | list[str]]) -> list[tuple[str, str]]:
    return [
        (name, one)
        for name, value in params.items()
        for one in ([value] if isinstance(value, str) else value)
    ]
