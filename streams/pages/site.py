"""All pages on the API's application."""

from collections.abc import Collection
from pathlib import Path

import nicegui
from fastapi import FastAPI
from fastapi.middleware.gzip import GZipMiddleware
from nicegui import ui
from starlette.requests import Request
from starlette.routing import Match, Mount
from starlette.types import Receive, Scope, Send

from streams.pages import changes, entity, pipeline, table, topology, worlds  # noqa: F401  # importing a page adds it
from streams.pages.shell import STATIC, THEME_FILES

GZIP_LEVEL = 4
"""[1] AG Grid takes 25 ms so, and is 6 % longer than at 9, which takes 67 ms."""

RECONNECT_S = 10.0
"""[s] A browser that lost its connection finds its page again."""

NO_RESPONSE = "No response returned."
"""What Starlette's middleware, which NiceGUI is behind, says of a page that was cancelled."""


def add_pages(app: FastAPI) -> None:
    """Serve the pages beside the API; once in a process, as NiceGUI has one application."""
    nicegui.app.state.web = app
    nicegui.app.add_static_files(STATIC, Path(__file__).parent / "static")
    for file in THEME_FILES:
        ui.add_head_html(f'<link rel="stylesheet" href="{STATIC}/{file}?v={app.version}">', shared=True)
    ui.run_with(
        app,
        title="DECICE twin",
        favicon=Path(__file__).parent / "static" / "favicon.svg",
        dark=None,
        tailwind=False,
        binding_refresh_interval=None,
        reconnect_timeout=RECONNECT_S,
        show_welcome_message=False,
        gzip_middleware_factory=lambda pages: GZipMiddleware(pages, compresslevel=GZIP_LEVEL),
    )
    # As a mount at / it would answer for each path that the API has with another method.
    api = {path.split("/")[1] for path in app.openapi()["paths"]}
    app.router.routes[-1] = _Pages(api)


class _Pages(Mount):
    """NiceGUI, for all paths but those that begin as one of the API's: what that has not, it says itself."""

    def __init__(self, api: Collection[str]) -> None:
        super().__init__("/", nicegui.app)
        self._api = api

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        """As a mount's."""
        if "path" in scope and scope["path"].split("/")[1] in self._api:
            return Match.NONE, {}
        return super().matches(scope)

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        """As a mount's; a browser that leaves while its page is made is no error."""
        try:
            await super().handle(scope, receive, send)
        except RuntimeError as error:
            if str(error) != NO_RESPONSE or not await Request(scope, receive).is_disconnected():
                raise
