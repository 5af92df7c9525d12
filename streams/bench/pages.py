"""How soon the table page shows 10,000 rows, and how soon a change in `state` is on its screen."""

import asyncio
import importlib
import shutil
import statistics
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from streams.bench.madeworld import made_world
from streams.bench.runs import DEADLINE_S
from streams.errors import TwinError
from streams.records import State
from streams.settings import Settings

ROWS = 10_000
"""[1] Entities of the page."""

UPDATES_PER_S = 1_000
"""[1/s] Changes of them."""

LOADS = 5
"""[1] Times that the page is loaded, each in a browser that knows nothing yet."""

WATCH_S = 20.0
"""[s] How long changes are watched."""

SETTLE_S = 3.0
"""[s] Before that, until they come evenly."""

WATCH_JS = """() => {
  window.delays = [];
  document.addEventListener("twin-applied", ({ detail }) => {
    const now = Date.now();
    for (const { update } of detail) for (const { data } of update) window.delays.push(now - data.seen_ms);
  });
}"""
"""Notes of each change how old it is when it is on the screen; the clocks are one."""


async def table_page(settings: Settings) -> dict[str, Any]:
    """First rows [ms]; then from `state` to the screen [ms] while 1,000 rows change each second."""
    async with (
        asyncio.timeout(DEADLINE_S),
        _chromium() as browser,
        made_world(settings, "pages", ROWS) as world,
    ):
        first_ms = sorted([await _first_rows_ms(browser, world.url) for _ in range(LOADS)])
        async with world.changing(UPDATES_PER_S, edit=_move):
            delays = sorted(await _delays_ms(browser, world.url))
    if not delays:
        raise TwinError("the page showed no change")
    median_ms, p95_ms = statistics.median(first_ms), delays[int(len(delays) * 0.95)]
    return {
        "first_rows_ms": first_ms,
        "changes": len(delays),
        "p50_ms": delays[len(delays) // 2],
        "p95_ms": p95_ms,
        "max_ms": delays[-1],
        "rows": [
            (
                f"table page with {ROWS:,} rows, empty cache: first rows visible, median of {LOADS}, ms",
                "≤ 1,500",
                f"{median_ms:,.0f} ({first_ms[0]:,.0f} to {first_ms[-1]:,.0f})",
                median_ms <= 1_500,
            ),
            (
                f"change in state → on the screen, {ROWS:,} rows at {UPDATES_PER_S:,} updates/s, p95, ms",
                "≤ 1,000",
                f"{p95_ms:,.0f} (p50 {delays[len(delays) // 2]:,.0f})",
                p95_ms <= 1_000,
            ),
        ],
    }


def _move(state: State) -> None:
    """New values, of the moment in which the record is seen."""
    state["head_times_ms"] = [state["seen_ms"]] * len(state["head_times_ms"])
    state["head_values"] = [value + 0.1 for value in state["head_values"]]


@asynccontextmanager
async def _chromium() -> AsyncIterator[Any]:
    path = shutil.which("chromium")
    if path is None:
        raise TwinError("the pages are measured in chromium, and there is none: apt-get install chromium")
    try:
        playwright = importlib.import_module("playwright.async_api")
    except ImportError as error:
        raise TwinError("the pages are measured with playwright: pip install playwright") from error
    async with playwright.async_playwright() as driver:
        browser = await driver.chromium.launch(executable_path=path, args=["--no-sandbox"])
        try:
            yield browser
        finally:
            await browser.close()


async def _first_rows_ms(browser: Any, url: str) -> float:
    """[ms] From the wish for the page to its first rows."""
    window = await browser.new_context(viewport={"width": 1600, "height": 900})
    page = await window.new_page()
    await page.goto(url, wait_until="commit")
    await page.wait_for_function("performance.getEntriesByName('twin-first-rows').length > 0")
    found: float = await page.evaluate("performance.getEntriesByName('twin-first-rows')[0].startTime")
    await window.close()
    return found


async def _delays_ms(browser: Any, url: str) -> list[float]:
    """[ms] From the change of a row to its being on the screen."""
    page = await browser.new_page(viewport={"width": 1600, "height": 900})
    await page.goto(url, wait_until="commit")
    await page.wait_for_function(f"window.twinTable?.shownCount >= {ROWS}")
    await asyncio.sleep(SETTLE_S)
    await page.evaluate(WATCH_JS)
    await asyncio.sleep(WATCH_S)
    found: list[float] = await page.evaluate("window.delays")
    return found
