"""The frame around each page: navigation, and which world at which moment is looked at."""

import json
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any
from urllib.parse import quote, urlencode

import nicegui
from fastapi import FastAPI, Request
from nicegui import ui

from streams.domain.commands import is_overlay
from streams.pages.timebar import time_bar
from streams.replica.view import WorldView
from streams.replica.worlds import LIVE
from streams.web.access.principal import Principal, principal_of
from streams.web.live import LiveTwin
from streams.web.moment import view_at
from streams.web.problems import ProblemError

STATIC = "/static/pages"
"""Path of the pages' own files."""

THEME_FILES = ("twin.css",)

PAGES = (
    ("Table", "/", "table_rows"),
    ("Topology", "/topology", "hub"),
    ("Changes", "/changes", "difference"),
    ("Worlds", "/worlds", "public"),
    ("Pipeline", "/pipeline", "conveyor_belt"),
)
"""Title, path and icon of what the navigation leads to."""

WATCH_S = 2.0
"""[s] Between looks at whether records still come."""

DARK_COOKIE = "twin_dark"
"""Name of the cookie that keeps the choice of dark or light; without it the system's choice holds."""

OnMoment = Callable[[], Awaitable[None] | None]
"""Is called when another moment is looked at."""


class View:
    """What one page looks at; its URL says the same.

    Args:
        request: of the page.
    """

    def __init__(self, request: Request) -> None:
        self.web: FastAPI = nicegui.app.state.web
        self.request = Request(dict(request.scope) | {"app": self.web})
        self.twin: LiveTwin = self.web.state.twin
        self.principal: Principal = principal_of(self.request)
        self.path = quote(request.scope["path"], safe="/~:@")
        self.params: dict[str, str] = dict(request.query_params)
        self.world = self.params.get("world") or LIVE
        self._on_moment: list[OnMoment] = []
        self._links: list[tuple[ui.link, str]] = []

    @property
    def at(self) -> str | None:
        """The moment that is looked at, as in the API; None: now."""
        return self.params.get("at") or None

    @property
    def catalogue(self) -> Any:
        """All metrics with their units."""
        return self.web.state.rulebook.catalogue

    def href(self, path: str, **changes: str | None) -> str:
        """A link to another page that keeps the world and the moment."""
        kept = {name: self.params.get(name) for name in ("world", "at")} | changes
        query = urlencode({name: value for name, value in kept.items() if value})
        return f"{path}?{query}" if query else path

    def link(self, path: str) -> ui.link:
        """A link to another page, which goes on to follow the moment that is chosen."""
        link = ui.link(target=self.href(path))
        self._links.append((link, path))
        return link

    def set_params(self, **changes: str | None) -> None:
        """Change the URL in the browser without loading the page again."""
        self.params = {name: value for name, value in (self.params | changes).items() if value}
        for link, path in self._links:
            link.props(f'href="{self.href(path)}"')
        ui.run_javascript(f"history.replaceState(history.state, '', {_changed(changes)})")

    async def entities(self) -> WorldView:
        """The entities of the world, now or as of the moment.

        Raises:
            ProblemError: there is no such world, or the state or the history cannot be read now.
        """
        return await view_at(self.request, self.world, self.at)

    def on_moment(self, callback: OnMoment) -> None:
        """Call this when another moment is chosen; without one the page is loaded again."""
        self._on_moment.append(callback)

    async def go_to(self, at: str | None) -> None:
        """Look at another moment; None: now."""
        self.set_params(at=at)
        if not self._on_moment:
            ui.navigate.reload()
        for callback in self._on_moment:
            result = callback()
            if result is not None:
                await result


@contextmanager
def frame(request: Request, title: str, *, timed: bool = True) -> Iterator[View]:
    """The frame; what is made inside it is the page.

    Args:
        request: of the page.
        title: one of PAGES, or another.
        timed: whether the page can show a past moment.
    """
    view = View(request)
    ui.page_title(f"{title} · {view.world} · DECICE twin")
    dark = ui.dark_mode(_dark_choice(request))
    kind = "live" if view.world == LIVE else "overlay" if is_overlay(view.world) else "isolated"
    ui.query("body").classes(f"world-{kind}" + (" past" if view.at else ""))
    with ui.header().classes("twin-header"):
        with view.link("/").classes("twin-brand"):
            ui.image(f"{STATIC}/favicon.svg").classes("twin-logo")
            ui.label("DECICE twin")
        with ui.row().classes("twin-nav").props('role="navigation"'):
            for name, path, icon in PAGES:
                with view.link(path).classes("twin-link" + (" here" if name == title else "")):
                    ui.icon(icon)
                    ui.label(name)
            with ui.link(target="/docs").classes("twin-link"):
                ui.icon("api")
                ui.label("API")
        ui.space()
        _world_choice(view)
        _dark_button(dark)
        if view.principal.name not in ("local", "anonymous"):
            _account(view.principal)
    _banner(view)
    if timed:
        time_bar(view)
    with ui.element("main").classes("twin-main"):
        try:
            yield view
        except ProblemError as error:
            problem_panel(error)


def problem_panel(error: ProblemError) -> None:
    """Why there is nothing to see, in the words of the API."""
    with ui.column().classes("twin-problem"):
        ui.icon("error_outline").classes("twin-problem-icon")
        ui.label(str(error)).classes("twin-problem-text")


def _world_choice(view: View) -> None:
    names = [name for name in view.twin.worlds.names() if view.principal.sees_world(name)]
    names += [] if view.world in names else [view.world]
    select = ui.select(names, value=view.world, label="World").props("dense options-dense outlined dark")
    select.classes("twin-world")
    select.on_value_change(
        lambda change: ui.run_javascript(
            f"location.assign({_changed({'world': '' if change.value == LIVE else change.value, 'at': ''})})"
        )
    )


def _dark_choice(request: Request) -> bool | None:
    return {"1": True, "0": False}.get(request.cookies.get(DARK_COOKIE, ""))


def _dark_button(dark: ui.dark_mode) -> None:
    async def turn() -> None:
        is_dark = await ui.run_javascript("document.body.classList.contains('body--dark')")
        dark.value = not is_dark
        ui.run_javascript(
            f"document.cookie = '{DARK_COOKIE}={int(not is_dark)};path=/;max-age=31536000;samesite=strict'"
        )

    button = ui.button(icon="contrast", on_click=turn).props(
        'flat round dense color=white aria-label="Dark or light"'
    )
    button.tooltip("Dark or light")


def _account(principal: Principal) -> None:
    with ui.button(principal.name, icon="person").props("flat dense no-caps color=white"), ui.menu():
        ui.menu_item(
            "Log out",
            on_click=lambda: ui.run_javascript(
                "fetch('/logout', {method: 'POST'}).then(() => location.assign('/login'))"
            ),
        )


def _banner(view: View) -> None:
    banner = ui.row().classes("twin-banner")
    banner.props('role="status" aria-live="polite"')
    with banner:
        ui.icon("cloud_off")
        text = ui.label()

    def look() -> None:
        is_ready, details = view.twin.ready()
        banner.set_visibility(not is_ready)
        if not is_ready:
            text.set_text(f"What you see may be old: {details.get('reason', 'the twin is not ready')}")

    look()
    ui.timer(WATCH_S, look)


def _changed(changes: Mapping[str, str | None]) -> str:
    """JavaScript for the page's address with other parameters; what the browser itself put there stays."""
    return (
        "((changes) => { const url = new URL(location.href);"
        " for (const [name, value] of Object.entries(changes))"
        " value ? url.searchParams.set(name, value) : url.searchParams.delete(name);"
        f" return url.href; }})({json.dumps(dict(changes))})"
    )
