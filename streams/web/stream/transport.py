"""Sends a stream over HTTP or a WebSocket, and cuts off who does not take it."""

import asyncio
import struct
from collections.abc import AsyncIterator, Awaitable, Callable, MutableMapping
from contextlib import AbstractContextManager, asynccontextmanager
from typing import Any

from starlette.types import Receive, Scope, Send

from streams.web.stream.client import Client
from streams.web.stream.desk import MESSAGES

SLOW_S = 30.0
"""[s] Who takes nothing of what waits for them for so long is cut off."""

LINGER_S = 10.0
"""[s] Who was cut off may still read why."""

RETRY_MS = 2_000
"""[ms] When a browser connects again."""

HEADERS = (
    (b"content-type", b"text/event-stream; charset=utf-8"),
    (b"cache-control", b"no-store"),
    (b"x-accel-buffering", b"no"),  # nginx would hold it back
)

CLOSE_CODES = {"world-ended": 1000, "expired": 1008, "error": 1011, "shutdown": 1012, "slow": 1013}
"""Close codes of WebSockets (RFC 6455 and its registry) by the reason of the end."""

TRANSPORT = "twin.transport"
"""Name in the scope's state of the connection's asyncio transport, if the server tells it."""

SLOW = ("slow", f"nothing of what waited was taken for {SLOW_S:.0f} s; connect again to go on")
"""Reason and detail of the end of a stream that was not taken."""


async def send_events(
    joined: AbstractContextManager[Client], scope: Scope, receive: Receive, send: Send
) -> None:
    """Answer a request with the events of a client."""
    await send({"type": "http.response.start", "status": 200, "headers": list(HEADERS)})

    async def send_body(body: bytes) -> None:
        await send({"type": "http.response.body", "body": body, "more_body": True})

    await send_body(b"retry: %d\n\n" % RETRY_MS)
    with joined as client:
        is_taken = await _send_all(client, receive, send_body)
    if is_taken:
        end = client.end()
        await send({"type": "http.response.body", "body": end, "more_body": False})
    elif client.ending is not None:
        end = client.end()
        await _cut(scope, receive, b"%x\r\n%b\r\n0\r\n\r\n" % (len(end), end))


async def send_messages(
    joined: AbstractContextManager[Client], scope: Scope, receive: Receive, send: Send
) -> None:
    """Send the messages of a client to a WebSocket that was accepted."""

    async def send_text(text: bytes) -> None:
        await send({"type": "websocket.send", "text": text.decode()})

    with joined as client:
        is_taken = await _send_all(client, receive, send_text)
    if is_taken:
        await send_text(client.end())
        code, reason = _close(client)
        await send({"type": "websocket.close", "code": code, "reason": reason})
    elif client.ending is not None:
        code, reason = _close(client)
        close = struct.pack(">H", code) + reason.encode()
        await _cut(scope, receive, _frame(1, client.end()) + _frame(8, close))


async def _send_all(client: Client, receive: Receive, send: Callable[[bytes], Awaitable[None]]) -> bool:
    """Send until the end; whether there is somebody who can be told of it."""
    async with _watched(client, receive) as is_gone:
        try:
            async for body, count in client.chunks():
                async with asyncio.timeout(SLOW_S):
                    await send(body)
                MESSAGES.inc(count)
                # Sending what there is room for does not suspend, and others want the event loop too.
                await asyncio.sleep(0)
        except TimeoutError:
            client.finish(*SLOW)
            return False
        except OSError:  # a WebSocket whose client went
            return False
        return not is_gone()


@asynccontextmanager
async def _watched(client: Client, receive: Receive) -> AsyncIterator[Callable[[], bool]]:
    """Ends the stream once its client went; gives whether it did."""

    async def watch() -> None:
        await _until_gone(receive)
        client.leave()

    watching = asyncio.create_task(watch(), name="watch over a stream's client")
    try:
        yield lambda: client.has_left
    finally:
        watching.cancel()


async def _cut(scope: Scope, receive: Receive, last: bytes) -> None:
    """Close a connection that takes nothing, past the server, which would wait for ever.

    What waits and the last words are still sent, should it take them after all.
    """
    state: MutableMapping[str, Any] = scope.get("state", {})
    transport: asyncio.Transport | None = state.get(TRANSPORT)
    if transport is None:
        return
    transport.write(last)
    transport.close()
    try:
        async with asyncio.timeout(LINGER_S):
            await _until_gone(receive)
    except TimeoutError:
        transport.abort()
        await _until_gone(receive)


async def _until_gone(receive: Receive) -> None:
    while (await receive())["type"] not in ("http.disconnect", "websocket.disconnect"):
        pass


def _frame(opcode: int, payload: bytes) -> bytes:
    """A whole frame of a WebSocket's server (RFC 6455, 5.2), of less than 65,536 bytes."""
    size = len(payload)
    head = (
        bytes((0x80 | opcode, size)) if size < 126 else bytes((0x80 | opcode, 126)) + struct.pack(">H", size)
    )
    return head + payload


def _close(client: Client) -> tuple[int, str]:
    """Code and reason of the close of a WebSocket."""
    reason = client.ending.reason if client.ending else "error"
    return CLOSE_CODES[reason], reason
