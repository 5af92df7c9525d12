"""uvicorn's protocol, which also tells the application which connection a request came by."""

import asyncio
from typing import Any

from uvicorn.protocols.http.auto import AutoHTTPProtocol

from streams.web.stream.transport import TRANSPORT


class Protocol(AutoHTTPProtocol):  # type: ignore[valid-type, misc]  # h11 or httptools, whichever is there
    """Puts the transport into the state of the scope, so that a stream that is not taken can be cut off."""

    app_state: dict[str, Any]

    def connection_made(self, transport: asyncio.Transport) -> None:
        """A client connected."""
        super().connection_made(transport)
        self.app_state = self.app_state | {TRANSPORT: transport}
