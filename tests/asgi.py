"""Calls an ASGI application without a server or a socket."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote


@dataclass
class Answer:
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def problem(self) -> str:
        """What is behind the last colon of a problem's type."""
        assert self.headers["content-type"] == "application/problem+json", self
        return str(self.json["type"]).rpartition(":")[2]


def scope_of(
    kind: str, method: str, path: str, headers: Mapping[str, str], client: str, scheme: str
) -> dict[str, Any]:
    place, _, query = path.partition("?")
    return {
        "type": kind,
        "method": method,
        "path": unquote(place),
        "raw_path": place.encode(),
        "query_string": query.encode(),
        "root_path": "",
        "scheme": scheme,
        "http_version": "1.1",
        "headers": [
            (name.lower().encode(), value.encode("latin-1"))
            for name, value in ({"host": "127.0.0.1:8010"} | dict(headers)).items()
        ],
        "client": (client, 50_000),
        "server": ("127.0.0.1", 8010),
        "state": {},
    }


async def ask(
    app: Any,
    method: str,
    path: str,
    headers: Mapping[str, str] | None = None,
    body: Sequence[bytes] = (b"",),
    *,
    client: str = "127.0.0.1",
    scheme: str = "http",
) -> Answer:
    """The answer to one request; the body comes in these pieces."""
    pieces = list(body)
    sent: list[dict[str, Any]] = []

    async def receive() -> dict[str, Any]:
        if not pieces:
            return {"type": "http.disconnect"}
        return {"type": "http.request", "body": pieces.pop(0), "more_body": bool(pieces)}

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    scope = scope_of("http", method, path, headers or {}, client, scheme)
    try:
        await app(scope, receive, send)
    except RuntimeError as error:  # what a server logs
        sent.append({"type": "raised", "error": error})
    start = next(message for message in sent if message["type"] == "http.response.start")
    return Answer(
        start["status"],
        {name.decode(): value.decode() for name, value in start["headers"]},
        b"".join(message.get("body", b"") for message in sent if message["type"] == "http.response.body"),
    )


async def open_socket(
    app: Any, path: str, headers: Mapping[str, str] | None = None, *, can_deny: bool = True
) -> list[dict[str, Any]]:
    """What an application says to who opens a websocket and closes it at once."""
    incoming = [{"type": "websocket.connect"}, {"type": "websocket.disconnect", "code": 1000}]
    sent: list[dict[str, Any]] = []

    async def receive() -> dict[str, Any]:
        return incoming.pop(0)

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    scope = scope_of("websocket", "GET", path, headers or {}, "127.0.0.1", "ws")
    del scope["method"]
    if can_deny:
        scope["extensions"] = {"websocket.http.response": {}}
    await app(scope, receive, send)
    return sent
