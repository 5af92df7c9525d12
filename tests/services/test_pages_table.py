"""The table page in Chromium, on a real `twin web` and real Kafka."""

import csv
import io
import json
import os
import re
import signal
import time
from pathlib import Path

from playwright.async_api import Locator, Page, expect

from streams.embedded.broker import EmbeddedBroker
from streams.metrics import STALL_S
from streams.records import Tick
from streams.settings import load_settings
from streams.stores.duckdb import DuckStore
from streams.topics import create_topics
from tests.factories import make_scenario
from tests.history_model import Row, change_of, tick_of
from tests.services.browser import (
    DEADLINE_MS,
    MakeSite,
    OpenPage,
    fresh_state,
    keep_picture,
    metrics,
    nodes,
)
from tests.services.conftest import StartRole
from tests.services.waiting import until
from tests.statewriter import StateWriter

DEADLINE_S = DEADLINE_MS / 1000

STALL_MS = STALL_S * 1000 + DEADLINE_MS
"""[ms] Until a broker that does not answer is said to be away."""


def row(page: Page, id: str, kind: str = "node") -> Locator:
    """Its first part: columns that are pinned are a part of their own."""
    return page.locator(f'.tw-grid .ag-row[row-id="{kind}/{id}"]').first


def cell(page: Page, id: str, column: str, kind: str = "node") -> Locator:
    return page.locator(f'.tw-grid .ag-row[row-id="{kind}/{id}"] [col-id="{column}"]')


def counts(page: Page) -> Locator:
    return page.locator(".tw-total")


async def loaded(page: Page, shown: int, of: int | None = None) -> None:
    text = f"{shown:,} of {shown if of is None else of:,} "
    await expect(counts(page)).to_contain_text(text)
    await expect(page.locator(".tw-stream")).to_have_text("live")


async def shown_ids(page: Page) -> list[str]:
    """Ids in the order of the grid."""
    return await page.evaluate(
        "() => { const ids = []; twinTable.api.forEachNodeAfterFilterAndSort((n) => ids.push(n.data.id));"
        " return ids; }"
    )


async def columns(page: Page) -> list[str]:
    return await page.evaluate("() => twinTable.api.getAllDisplayedColumns().map((c) => c.getColId())")


async def test_entities_are_rows_with_units_marks_and_badges(
    make_site: MakeSite, open_page: OpenPage
) -> None:
    now_ms = int(time.time() * 1000)
    gauges = metrics(cpu_usage_percent=31.25, mem_total_bytes=64.0 * 2**30, power_watts=1234.5, up=1.0)
    plain = fresh_state(id="n1", **gauges)
    odd = fresh_state(
        id="n2",
        simulated=True,
        status="degraded",
        status_reason="power_watts is stale",
        scenario=make_scenario(faults=["outage"]),
        **(gauges | {"aligned_qualities": [1, 2, 0, 0]}),
    )
    old = fresh_state(
        id="n3", source_intervals_ms=[10_000], **(gauges | {"head_times_ms": [now_ms - 7_200_000] * 4})
    )
    dead = fresh_state(id="n4", status="down", status_reason="no answer for 10 s", **gauges)
    link = fresh_state(kind="link", id="a~b", attributes={}, **metrics(network_delay_ms=3.25))
    site = await make_site([plain, odd, old, dead, link])

    page = await open_page(site.url)

    await loaded(page, 5)
    await expect(cell(page, "n1", "cpu_usage_percent")).to_have_text("31.3%")
    await expect(cell(page, "n1", "mem_total_bytes")).to_have_text("64.0GiB")
    await expect(cell(page, "n1", "power_watts")).to_have_text("1,234.5W")
    await expect(cell(page, "n1", "attributes.nodepool")).to_have_text("1")
    await expect(cell(page, "n1", "observed_at_ms").locator(".age-fresh")).to_be_visible()
    await expect(cell(page, "a~b", "network_delay_ms", "link")).to_have_text("3.3ms")
    await expect(cell(page, "n2", "id")).to_have_text("n2sim1 fault")
    await expect(cell(page, "n2", "status")).to_have_text("degraded")
    await expect(cell(page, "n2", "cpu_usage_percent")).to_have_text("≈31.3%")
    await expect(cell(page, "n2", "mem_total_bytes")).to_have_text("‖64.0GiB")
    await expect(cell(page, "n3", "status").get_by_text("stale")).to_be_visible()
    await expect(cell(page, "n3", "observed_at_ms").locator(".age-stale")).to_have_text("2 h")
    await expect(cell(page, "n4", "status").locator(".status-down")).to_be_visible()
    await cell(page, "n4", "status").locator(".tw-status").hover()
    await expect(cell(page, "n4", "status").locator(".tw-status")).to_have_attribute(
        "title", _containing("no answer for 10 s")
    )
    await expect(page.locator(".tw-count.status-down")).to_have_text("1 down")
    href = await cell(page, "n1", "power_watts").locator("a").get_attribute("href")
    assert href == "/entity/node/n1?metric=power_watts"
    await keep_picture(page, "table-few-light")


async def test_a_fresh_value_becomes_late_and_stale_without_an_update(
    make_site: MakeSite, open_page: OpenPage
) -> None:
    state = fresh_state(id="n1", source_intervals_ms=[1_000])
    site = await make_site([state])

    page = await open_page(site.url)

    age = cell(page, "n1", "observed_at_ms").locator(".tw-age")
    await expect(age).to_have_class(_containing("age-stale"))
    await expect(cell(page, "n1", "status").get_by_text("stale")).to_be_visible()


async def test_what_is_typed_narrows_the_rows_and_is_in_the_address(
    make_site: MakeSite, open_page: OpenPage
) -> None:
    link = fresh_state(kind="link", id="a~b", attributes={}, **metrics(network_delay_ms=3.0))
    site = await make_site([*nodes(40), link])
    page = await open_page(site.url)
    await loaded(page, 41)

    await page.get_by_label("Filter").fill("cpu_usage_percent>=30")
    await loaded(page, 10, 41)
    await page.get_by_label("Find").fill("pool-3")
    await loaded(page, 3, 41)

    assert await shown_ids(page) == ["n31", "n35", "n39"]
    assert "where=cpu_usage_percent%3E=30" in page.url
    assert "q=pool-3" in page.url
    await page.get_by_label("Filter").fill("")
    await page.get_by_label("Find").fill("")
    await page.locator(".tw-chip", has_text="link").click()
    await loaded(page, 1, 41)
    assert page.url == f"{site.url}/?kind=link"


async def test_a_wrong_filter_is_explained_beside_it_and_the_rows_stay(
    make_site: MakeSite, open_page: OpenPage
) -> None:
    site = await make_site(nodes(5))
    page = await open_page(site.url)
    await loaded(page, 5)

    await page.get_by_label("Filter").fill("status>up")

    await expect(page.locator(".tw-filter")).to_contain_text("> compares numbers, and 'up' is none")
    await expect(row(page, "n1")).to_be_visible()
    await page.get_by_label("Filter").fill("status=up")
    await expect(page.locator(".tw-filter")).not_to_contain_text("compares")


async def test_a_link_shares_filter_columns_widths_sides_and_sort(
    make_site: MakeSite, open_page: OpenPage
) -> None:
    site = await make_site(nodes(30))
    page = await open_page(f"{site.url}/?where=attributes.nodepool=pool-1")
    await loaded(page, 8, 30)
    await page.locator('.ag-header-cell[col-id="power_watts"]').click()
    await page.locator('.ag-header-cell[col-id="power_watts"]').click()
    await page.get_by_role("button", name="Columns").click()
    await page.get_by_role("checkbox", name="temp", exact=True).click()
    await page.get_by_role("checkbox", name="arch", exact=True).click()
    await page.get_by_role("button", name="Pin cpu %").click()
    await page.keyboard.press("Escape")
    await _drag_edge(page, "id", 60)
    await until(lambda: "id:" in page.url, DEADLINE_S, "the width is in the address")

    other = await open_page(page.url)

    await loaded(other, 8, 30)
    wanted = await columns(page)
    assert wanted[:3] == ["kind", "id", "cpu_usage_percent"]
    assert wanted[-1] == "attributes.arch"
    assert "temperature_celsius" not in wanted
    assert await columns(other) == wanted
    assert (await shown_ids(other))[0] == "n29"
    widths = "() => twinTable.api.getColumnState().map((c) => [c.colId, Math.round(c.width), c.pinned])"
    assert await other.evaluate(widths) == await page.evaluate(widths)


async def test_updates_lose_neither_scroll_nor_selection_nor_what_is_typed(
    make_site: MakeSite, open_page: OpenPage
) -> None:
    site = await make_site(nodes(300))
    page = await open_page(site.url)
    await loaded(page, 300)
    await page.evaluate("() => twinTable.api.ensureIndexVisible(200, 'top')")
    await cell(page, "n205", "attributes.nodepool").click()
    await expect(page.locator(".tw-selected")).to_have_text("1 selected")
    place = await page.evaluate("() => twinTable.api.getVerticalPixelRange().top")
    await page.get_by_label("Find").press_sequentially("n")
    await page.keyboard.type("2", delay=0)

    for turn in range(1, 6):
        changed = nodes(300)
        for state in changed:
            state["version"] += turn
            state["head_values"][0] = turn + 0.5
        await site.put(*changed)
        await page.keyboard.type("0" if turn == 1 else "", delay=0)

    await expect(page.get_by_label("Find")).to_have_value("n20")
    await expect(page.get_by_label("Find")).to_be_focused()
    await loaded(page, 11, 300)
    await page.get_by_label("Find").fill("")
    await loaded(page, 300)
    await expect(page.locator(".tw-selected")).to_have_text("1 selected")
    await page.evaluate("() => twinTable.api.ensureIndexVisible(205)")
    await expect(cell(page, "n205", "cpu_usage_percent")).to_have_text("5.5%")
    assert place > 0


async def test_updates_do_not_move_the_rows_under_the_eye(make_site: MakeSite, open_page: OpenPage) -> None:
    site = await make_site(nodes(300))
    page = await open_page(site.url)
    await loaded(page, 300)
    await page.evaluate("() => twinTable.api.ensureIndexVisible(200, 'top')")
    await cell(page, "n205", "attributes.nodepool").click()
    before = await row(page, "n205").bounding_box()

    changed = nodes(300)
    for state in changed:
        state["version"] += 1
        state["head_values"][0] = 77.7
    await site.put(*changed)

    await expect(cell(page, "n205", "cpu_usage_percent")).to_have_text("77.7%")
    assert await row(page, "n205").bounding_box() == before
    await expect(row(page, "n205")).to_have_class(_containing("ag-row-selected"))
    await expect(cell(page, "n205", "attributes.nodepool")).to_have_class(_containing("ag-cell-focus"))


async def test_pause_holds_what_comes_until_it_ends(make_site: MakeSite, open_page: OpenPage) -> None:
    site = await make_site(nodes(3))
    page = await open_page(site.url)
    await loaded(page, 3)

    await page.keyboard.press("p")
    await expect(page.locator(".tw-stream")).to_contain_text("paused")
    await site.put(fresh_state(id="n1", version=13, **metrics(cpu_usage_percent=99.0)), fresh_state(id="new"))
    await site.writer.remove("live", "node", "n2")

    await expect(page.locator(".tw-stream")).to_contain_text("3 rows have changed")
    await expect(cell(page, "n1", "cpu_usage_percent")).to_have_text("1.0%")
    await expect(row(page, "n2")).to_be_visible()
    await page.get_by_role("button", name="Resume").click()
    await expect(cell(page, "n1", "cpu_usage_percent")).to_have_text("99.0%")
    await expect(row(page, "n2")).to_have_count(0)
    await expect(row(page, "new")).to_be_visible()


async def test_keys_find_filter_open_and_help(make_site: MakeSite, open_page: OpenPage) -> None:
    site = await make_site(nodes(3))
    page = await open_page(site.url)
    await loaded(page, 3)

    await page.keyboard.press("/")
    await expect(page.get_by_label("Find")).to_be_focused()
    await page.keyboard.type("p?/")
    await expect(page.get_by_label("Find")).to_have_value("p?/")
    await page.get_by_label("Find").fill("")
    await page.keyboard.press("Escape")
    await page.keyboard.press("f")
    await expect(page.get_by_label("Filter")).to_be_focused()
    await page.keyboard.press("Escape")
    await page.keyboard.press("?")
    await expect(page.get_by_text("open the entity; on a metric")).to_be_visible()
    await page.keyboard.press("Escape")
    await loaded(page, 3)
    await page.keyboard.press("g")
    await page.keyboard.press("ArrowDown")
    await page.keyboard.press("Enter")

    await page.wait_for_url("**/entity/node/n1", wait_until="commit")


async def test_exports_have_what_is_seen_in_its_order(make_site: MakeSite, open_page: OpenPage) -> None:
    states = nodes(4)
    states[2]["attributes"] = {"nodepool": '=HYPERLINK("http://x")', "arch": "a,b"}
    states[3]["attributes"] = {"nodepool": "-1+1", "arch": "plain"}
    site = await make_site(states)
    page = await open_page(
        f"{site.url}/?where=cpu_usage_percent>0&cols=id,attributes.nodepool,attributes.arch,power_watts&sort=-id"
    )
    await loaded(page, 3, 4)

    plain = await _exported(page, "CSV")
    excel = await _exported(page, "CSV for Excel")
    document = json.loads(await _exported(page, "JSON"))

    names = ["id", "attributes.nodepool", "attributes.arch", "power_watts"]
    rows = [
        ["n3", "-1+1", "plain", "103"],
        ["n2", '=HYPERLINK("http://x")', "a,b", "102"],
        ["n1", "pool-1", "x86_64", "101"],
    ]
    assert list(csv.reader(io.StringIO(plain, newline=""))) == [names, *rows]
    assert excel.startswith("\ufeff")
    assert [line[1] for line in csv.reader(io.StringIO(excel[1:], newline=""))] == [
        "attributes.nodepool",
        "'-1+1",
        '\'=HYPERLINK("http://x")',
        "pool-1",
    ]
    assert [found["id"] for found in document["rows"]] == ["n3", "n2", "n1"]
    assert document["rows"][2]["power_watts"] == 101
    assert document["where"] == "cpu_usage_percent>0"


async def test_ten_thousand_rows_are_virtual_and_seen_soon(make_site: MakeSite, open_page: OpenPage) -> None:
    site = await make_site(nodes(10_000))

    page = await open_page(site.url, dark=True)

    await page.wait_for_function("performance.getEntriesByName('twin-first-rows').length")
    first_ms = await page.evaluate("performance.getEntriesByName('twin-first-rows')[0].startTime")
    await loaded(page, 10_000)
    assert first_ms < DEADLINE_MS / 2
    assert await page.locator(".tw-grid .ag-center-cols-container .ag-row").count() < 100
    await page.evaluate("() => twinTable.api.ensureIndexVisible(9_999)")
    await expect(row(page, "n9999")).to_be_visible()
    await keep_picture(page, "table-10000-dark")


async def test_a_past_moment_is_shown_until_the_page_goes_back_to_now(
    make_site: MakeSite, open_page: OpenPage, tmp_path: Path
) -> None:
    past_ms = int(time.time() * 1000) // 5_000 * 5_000 - 600_000
    gone = Row("node", "gone", "", past_ms, {"cpu_usage_percent": 12.0})
    same = Row("node", "n1", "", past_ms, {"cpu_usage_percent": 34.0})
    changes = [change_of("node", id, past_ms - 5_000) for id in ("gone", "n1")]
    await _write_history(tmp_path / "history", tick_of("live", [gone, same], changes))
    site = await make_site(nodes(3), history_url=f"duckdb:///{tmp_path / 'history'}")

    page = await open_page(f"{site.url}/?at={past_ms + 1_000}&where=kind=node")

    await expect(page.locator(".tw-stream")).to_contain_text("as of")
    await expect(cell(page, "gone", "cpu_usage_percent")).to_contain_text("12.0")
    await expect(cell(page, "n1", "cpu_usage_percent")).to_contain_text("34.0")
    await expect(cell(page, "n1", "observed_at_ms")).to_have_text("1 s")
    await expect(page.get_by_role("button", name="Pause")).to_be_disabled()
    href = await cell(page, "gone", "id").locator("a").get_attribute("href")
    assert href == f"/entity/node/gone?at={past_ms + 1_000}"
    await keep_picture(page, "table-past-light")
    await page.get_by_role("button", name="Live").click()
    await loaded(page, 3)
    await expect(cell(page, "n1", "cpu_usage_percent")).to_have_text("1.0%")
    await expect(row(page, "gone")).to_have_count(0)
    assert page.url == f"{site.url}/?where=kind%3Dnode"


async def test_dark_and_light_are_chosen_by_a_button_and_kept(
    make_site: MakeSite, open_page: OpenPage
) -> None:
    site = await make_site(nodes(3))
    page = await open_page(site.url)
    await loaded(page, 3)
    paper = "() => getComputedStyle(document.querySelector('.tw-grid .ag-root-wrapper')).backgroundColor"
    light = await page.evaluate(paper)

    await page.get_by_role("button", name="Dark or light").click()
    await expect(page.locator("body")).to_have_class(_containing("body--dark"))
    dark = await page.evaluate(paper)
    await page.reload()
    await loaded(page, 3)

    assert dark != light
    assert await page.evaluate(paper) == dark


async def test_an_empty_world_says_where_entities_come_from(make_site: MakeSite, open_page: OpenPage) -> None:
    site = await make_site()

    page = await open_page(site.url)

    await expect(page.get_by_text("There is no entity yet")).to_be_visible()
    await keep_picture(page, "table-empty-light")
    await page.get_by_label("Filter").fill("kind=node")
    await expect(page.get_by_text("No entity matches")).to_be_visible()


async def test_an_unknown_world_is_said_in_the_words_of_the_api(
    make_site: MakeSite, open_page: OpenPage
) -> None:
    site = await make_site(nodes(1))

    page = await open_page(f"{site.url}/?world=lvie")

    await expect(page.get_by_text("there is no world 'lvie'").first).to_be_visible()


async def test_a_broker_that_hangs_is_said_and_forgotten_when_it_answers(
    role: StartRole, open_page: OpenPage, tmp_path: Path
) -> None:
    async with EmbeddedBroker(tmp_path / "broker.log") as broker:
        settings = load_settings(kafka_bootstrap_servers=broker.address, partitions=2, embedded=True)
        await create_topics(settings)
        async with StateWriter(settings) as writer:
            await writer.put(*nodes(3))
            web = await role("web", settings)
            page = await open_page(f"http://127.0.0.1:{web.port}")
            await loaded(page, 3)

            os.kill(broker.pid, signal.SIGSTOP)
            try:
                await expect(page.get_by_text("What you see may be old")).to_be_visible(timeout=STALL_MS)
                await expect(page.locator(".tw-stream.stream-lost")).to_be_visible()
                await expect(row(page, "n1")).to_be_visible()
                await keep_picture(page, "table-broker-away-light")
            finally:
                os.kill(broker.pid, signal.SIGCONT)

            await expect(page.locator(".tw-stream.stream-live")).to_be_visible()
            await expect(page.get_by_text("What you see may be old")).not_to_be_visible()


async def test_a_web_that_was_restarted_is_found_again(
    make_site: MakeSite, role: StartRole, open_page: OpenPage
) -> None:
    site = await make_site(nodes(3))
    page = await open_page(f"{site.url}/?where=kind=node")
    await loaded(page, 3)

    await site.web.kill()
    await expect(page.locator(".tw-stream.stream-lost")).to_be_visible()
    await site.put(fresh_state(id="n9"))
    await site.web.start()

    await loaded(page, 4)
    await expect(page.get_by_label("Filter")).to_have_value("kind=node")
    await expect(row(page, "n9")).to_be_visible()


async def _write_history(path: Path, tick: Tick) -> None:
    store = DuckStore(path, retention_d=0)
    await store.prepare()
    assert await store.write(store.convert(tick)) == []
    await store.close()


def _containing(text: str) -> re.Pattern[str]:
    return re.compile(re.escape(text))


async def _drag_edge(page: Page, column: str, by: int) -> None:
    """Make a column wider [px]."""
    box = await page.locator(f'.ag-header-cell[col-id="{column}"] .ag-header-cell-resize').bounding_box()
    assert box is not None
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    await page.mouse.move(x, y)
    await page.mouse.down()
    await page.mouse.move(x + by, y, steps=5)
    await page.mouse.up()


async def _exported(page: Page, kind: str) -> str:
    """The text of an exported file."""
    await page.get_by_role("button", name="Export").click()
    async with page.expect_download() as saved:
        await page.locator(".tw-menu").get_by_text(kind, exact=True).click()
    path = await (await saved.value).path()
    return path.read_bytes().decode()
