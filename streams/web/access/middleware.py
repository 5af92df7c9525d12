"""Stands before all of the web role: the API, the pages, their websockets."""

from typing import Any
from urllib.parse import quote

from starlette.datastructures import MutableHeaders
from starlette.exceptions import HTTPException
from starlette.requests import HTTPConnection
from starlette.responses import RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from streams.web.access.access import REFUSED, Access, client_of, wants_page
from streams.web.access.audit import is_write, write_line
from streams.web.access.headers import secure
from streams.web.access.paths import place_of
from streams.web.access.principal import Principal
from streams.web.problems import ProblemError, problem_response

POLICY_VIOLATION = 1008
"""Close code of a websocket (RFC 6455)."""

UNKNOWN = Principal("unknown", way="anonymous")
"""Who shows what is no key."""

REFUSALS = (401, 403, 413, 429)
"""Statuses of who may not, or not so much."""

NO_STORE = {"Cache-Control": "no-store"}
"""What is answered holds for this moment."""

DENIAL = "websocket.http.response"
"""ASGI extension: an HTTP answer instead of a websocket."""


class AccessMiddleware:
    """Authenticates, refuses, limits, writes down, and secures what is answered."""

    def __init__(self, app: ASGIApp, access: Access) -> None:
        self._app = app
        self._access = access

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request or websocket."""
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        connection = HTTPConnection(scope)
        place = place_of(scope["path"])
        try:
            principal = await self._access.admit(connection, place)
        except ProblemError as error:
            await self._refuse(connection, error, receive, send)
            return
        if scope["type"] == "websocket":
            await self._app(scope, receive, send)
            return
        await self._serve(connection, principal, place.body_bytes, receive, send)

    async def _serve(
        self, connection: HTTPConnection, principal: Principal, body_bytes: int, receive: Receive, send: Send
    ) -> None:
        answer = _Answer(send)
        try:
            _check_length(connection, body_bytes)
            await self._app(connection.scope, _limited(receive, body_bytes), answer)
        except HTTPException as error:
            if answer.status or error.status_code != 413:
                raise
            await _send(_too_large(body_bytes), connection, receive, answer)
        except Exception:
            # The log gets the trace from who catches this; the client gets none of it.
            if not answer.status:
                await _send(
                    ProblemError(500, "internal-error", "this is a bug; the log has its trace"),
                    connection,
                    receive,
                    answer,
                )
            raise
        finally:
            self._write_down(connection, principal, answer.status)

    async def _refuse(
        self, connection: HTTPConnection, error: ProblemError, receive: Receive, send: Send
    ) -> None:
        scope = connection.scope
        if scope["type"] == "websocket":
            REFUSED.labels(error.status).inc()
            await receive()
            if DENIAL in scope.get("extensions", {}):
                await problem_response(error, scope["path"])(scope, receive, send)
            else:
                await send({"type": "websocket.close", "code": POLICY_VIOLATION})
            return
        answer = _Answer(send)
        response: Response = problem_response(error, scope["path"])
        if error.status == 401 and wants_page(scope["method"], connection.headers):
            response = RedirectResponse(f"/login?next={quote(_place(scope), safe='')}", 303, NO_STORE)
        await response(scope, receive, answer)
        if error.status != 429:
            principal = scope.get("state", {}).get("principal", UNKNOWN)
            self._write_down(connection, principal, answer.status)

    def _write_down(self, connection: HTTPConnection, principal: Principal, status: int) -> None:
        scope = connection.scope
        if is_write(scope["method"], scope["path"]):
            details: dict[str, Any] = scope.get("state", {}).get("audit", {})
            path = (scope.get("raw_path") or scope["path"].encode()).partition(b"?")[0]
            line = quote(path, safe="/%~:@!$&'()*+,;=")
            write_line(principal, scope["method"], line, status, client_of(connection), details)


class _Answer:
    """Passes an answer on, with what every answer says; knows whether one was begun, by its status."""

    def __init__(self, send: Send) -> None:
        self._send = send
        self.status = 0

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            if self.status in REFUSALS:
                REFUSED.labels(self.status).inc()
            secure(MutableHeaders(raw=message.setdefault("headers", [])))
        await self._send(message)


def _check_length(connection: HTTPConnection, limit: int) -> None:
    said = connection.headers.get("content-length", "")
    if said.isdecimal() and int(said) > limit:
        raise HTTPException(413)


def _limited(receive: Receive, limit: int) -> Receive:
    """Counts what comes, as not everybody says before how much it will be."""
    size = 0

    async def counted() -> Message:
        nonlocal size
        message = await receive()
        size += len(message.get("body", b""))
        if size > limit:
            raise HTTPException(413, _too_large(limit).document["detail"])
        return message

    return counted


def _too_large(limit: int) -> ProblemError:
    return ProblemError(413, "too-large", f"the body is larger than the {limit} bytes that are taken here")


async def _send(error: ProblemError, connection: HTTPConnection, receive: Receive, send: Send) -> None:
    await problem_response(error, connection.scope["path"])(connection.scope, receive, send)


def _place(scope: Scope) -> str:
    query = scope.get("query_string", b"").decode("latin-1")
    return str(scope["path"]) + (f"?{query}" if query else "")
