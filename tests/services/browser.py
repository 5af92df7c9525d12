"""The pages in a real browser: a `twin web` with states of the test's own, and Chromium beside it.

A test that fails leaves a picture of each of its pages in `.screenshots/`, as those do that ask for one.
"""

import shutil
import time
from collections.abc import AsyncIterator, Awaitable, Iterable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import pytest
import pytest_asyncio
from playwright.async_api import Browser, ConsoleMessage, Page, async_playwright, expect

from streams.records import State
from streams.settings import Settings
from tests.factories import NAN, encode_state, make_state
from tests.services.roles import FAILED, Role
from tests.statewriter import StateWriter

if TYPE_CHECKING:
    from tests.services.conftest import MakeSettings, StartRole

SCREENSHOTS = Path(__file__).parents[2] / ".screenshots"
"""Where pictures are kept; git ignores it."""

DEADLINE_MS = 30_000
"""[ms] For whatever a page shall show: tenths of a second alone, much more beside other load."""

SIZE = {"width": 1600, "height": 900}
"""[px] Of the window."""

expect.set_options(timeout=DEADLINE_MS)


@dataclass
class Site:
    """A running `twin web`, and a way to fill `state` without a worker."""

    settings: Settings
    web: Role
    writer: StateWriter

    @property
    def url(self) -> str:
        """Without a slash at the end."""
        return f"http://127.0.0.1:{self.web.port}"

    async def put(self, *states: State) -> None:
        """Write state records, as a worker would."""
        await self.writer.put(*states)


class MakeSite(Protocol):
    """Starts a `twin web` on topics of its own, with these states in them."""

    def __call__(self, states: Iterable[State] = (), **overrides: Any) -> Awaitable[Site]:
        """Each override is a field of Settings."""


class OpenPage(Protocol):
    """Opens a page in a window of its own."""

    def __call__(self, url: str, *, dark: bool = False, **context: Any) -> Awaitable[Page]:
        """`context`: further options of playwright's new_context, such as viewport."""


def fresh_state(**overrides: Any) -> State:
    """A record as the factory's, but of now; its interval is so long that no test sees it late."""
    now_ms = int(time.time() * 1000)
    heads = len(overrides.get("head_names", ["", "", ""]))
    times: dict[str, Any] = {
        "seen_ms": now_ms,
        "status_since_ms": now_ms - 3_600_000,
        "source_intervals_ms": [600_000],
        "head_times_ms": [now_ms] * heads,
        "tick_ms": now_ms // 5_000 * 5_000 - 5_000,
        "next_tick_ms": now_ms // 5_000 * 5_000,
        "due_ms": now_ms + 10_000,
    }
    return make_state(**(times | overrides))


def metrics(**values: float) -> dict[str, Any]:
    """Fields of a record that has these metrics, all of them gauges."""
    size = len(values)
    return {
        "head_names": list(values),
        "head_values": list(values.values()),
        "head_sources": [0] * size,
        "head_forms": [0] * size,
        "head_rates": [NAN] * size,
        "head_sums": [NAN] * size,
        "aligned_names": list(values),
        "aligned_values": list(values.values()),
        "aligned_qualities": [0] * size,
    }


def nodes(count: int, **overrides: Any) -> list[State]:
    """States of nodes n0, n1, …, in four pools, with five metrics that differ."""
    return [
        fresh_state(
            id=f"n{number}",
            attributes={"nodepool": f"pool-{number % 4}", "arch": "x86_64"},
            **metrics(
                cpu_usage_percent=float(number % 100),
                mem_usage_percent=20.0 + number % 60,
                mem_total_bytes=64.0 * 2**30,
                power_watts=100.0 + number % 300,
                temperature_celsius=40.0 + number % 30,
            ),
            **overrides,
        )
        for number in range(count)
    ]


@pytest_asyncio.fixture
async def make_site(make_settings: "MakeSettings", role: "StartRole") -> AsyncIterator[MakeSite]:
    """A factory of sites on the real Kafka."""
    async with AsyncExitStack() as stack:

        async def make(states: Iterable[State] = (), **overrides: Any) -> Site:
            settings = await make_settings(**overrides)
            writer = await stack.enter_async_context(StateWriter(settings))
            await fill(writer, settings, states)
            return Site(settings, await role("web", settings), writer)

        yield make


async def fill(writer: StateWriter, settings: Settings, states: Iterable[State]) -> None:
    """Write many states."""
    for state in states:
        await writer.send(*encode_state(state, settings.partitions))
    await writer.flush()


@pytest_asyncio.fixture
async def browser() -> AsyncIterator[Browser]:
    """Debian's Chromium; without it the test fails."""
    path = shutil.which("chromium")
    if path is None:
        pytest.fail("there is no chromium: apt-get install chromium", pytrace=False)
    async with async_playwright() as playwright:
        started = await playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        try:
            yield started
        finally:
            await started.close()


@pytest_asyncio.fixture
async def open_page(browser: Browser, request: pytest.FixtureRequest) -> AsyncIterator[OpenPage]:
    """Opens pages; whatever their scripts complain of, but for a network that is away, fails the test."""
    pages: list[Page] = []
    complaints: list[str] = []

    def note(message: ConsoleMessage) -> None:
        is_of_network = message.text.startswith(("Failed to load resource", "WebSocket connection to"))
        if message.type in ("error", "warning") and not is_of_network:
            complaints.append(f"{message.type}: {message.text}")

    async def open_(url: str, *, dark: bool = False, **context: Any) -> Page:
        options: dict[str, Any] = {"viewport": SIZE, "color_scheme": "dark" if dark else "light"}
        window = await browser.new_context(**(options | context))
        page = await window.new_page()
        page.set_default_timeout(DEADLINE_MS)
        page.on("console", note)
        page.on("pageerror", lambda error: complaints.append(str(error)))
        pages.append(page)
        await page.goto(url, wait_until="commit")
        return page

    yield open_
    if request.node.stash.get(FAILED, False):
        for number, page in enumerate(pages):
            await keep_picture(page, f"failed-{request.node.name}-{number}")
    assert not complaints, complaints


async def keep_picture(page: Page, name: str) -> None:
    """Keep a picture of what is seen in `.screenshots/`."""
    SCREENSHOTS.mkdir(exist_ok=True)
    await page.screenshot(path=SCREENSHOTS / f"{name}.png")
