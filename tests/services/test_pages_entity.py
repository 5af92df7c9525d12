"""The pages of an entity and of changes in Chromium, on a twin of its own with the demo's data."""

import json
import re
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from playwright.async_api import Page, expect

from tests.services.browser import MakeSite, OpenPage, keep_picture, nodes

pytestmark = pytest.mark.timeout(240)

NODE = "/entity/node/jetson-nano-3"


def parameters(page: Page) -> dict[str, str]:
    return {name: values[0] for name, values in parse_qs(urlsplit(page.url).query).items()}


async def wait_for_parameter(page: Page, name: str, value: str) -> None:
    await page.wait_for_function(
        "([name, value]) => new URL(location.href).searchParams.get(name) === value", arg=[name, value]
    )


def drawn(page: Page) -> Any:
    """Lines of the first chart: paths that are no axis have many points."""
    return page.locator(".ent-plot svg path[stroke^='var(--twin-line-']").first


async def test_values_move_on_while_scroll_position_and_dialog_stay(demo: str, open_page: OpenPage) -> None:
    page = await open_page(demo + NODE, viewport={"width": 1400, "height": 500})
    await expect(page.locator("h1")).to_have_text("jetson-nano-3")
    await expect(page.locator(".twin-badge.badge-simulated").first).to_be_visible()
    await expect(page.locator(".age-fresh").first).to_be_visible()
    tick = page.locator(".ent-head-row .twin-muted").first
    before = await tick.inner_text()

    await page.get_by_role("button", name="Why cpu_usage_percent").click()
    dialog = page.locator(".ent-dialog")
    await expect(dialog.get_by_text(re.compile(r"streams/rules/decice_v2\.yaml:\d+")).first).to_be_visible()
    await expect(dialog.get_by_text(re.compile(r"twin\.observation\.v1/\d+@\d+")).first).to_be_visible()
    await wait_for_parameter(page, "metric", "cpu_usage_percent")

    await expect(tick).not_to_have_text(before)
    await expect(dialog).to_be_visible()

    await page.keyboard.press("Escape")
    await expect(dialog).not_to_be_visible()
    await page.wait_for_function("!location.search.includes('metric=')")
    await page.mouse.wheel(0, 400)
    await page.wait_for_function("scrollY > 100")
    at = await page.evaluate("scrollY")
    before = await tick.inner_text()
    await expect(tick).not_to_have_text(before)
    assert await page.evaluate("scrollY") == at


async def test_a_link_to_a_value_opens_its_explanation(demo: str, open_page: OpenPage) -> None:
    page = await open_page(f"{demo}{NODE}?metric=mem_total_bytes")

    await expect(page.locator(".ent-dialog .twin-big")).to_have_text("3.870 GiB")


async def test_charts_show_the_range_the_metrics_and_the_limit_that_the_url_keeps(
    demo: str, open_page: OpenPage
) -> None:
    page = await open_page(demo + NODE)
    await expect(drawn(page)).to_be_attached()
    await expect(page.locator(".ent-plot")).to_have_count(3)

    limit = page.get_by_label("Limit %")
    await limit.fill("a lot")
    await limit.press("Enter")
    await expect(page.get_by_text("is no number [%]")).to_be_visible()
    await limit.fill("30")
    await limit.press("Enter")
    await wait_for_parameter(page, "limits", "%:30")
    await expect(page.locator(".ent-plot svg path[stroke='var(--twin-down)']").first).to_be_attached()

    await page.get_by_role("button", name="6 h").click()
    await wait_for_parameter(page, "range", "6h")
    await expect(page.get_by_text("Means of 1 min.")).to_be_visible()

    await page.reload()
    await expect(page.get_by_label("Limit %")).to_have_value("30")
    await expect(page.get_by_text("Means of 1 min.")).to_be_visible()
    await page.goto(f"{demo}{NODE}?metrics=load1,power_watts")
    await expect(page.locator(".ent-plot")).to_have_count(2)


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
async def test_pictures_of_both_pages_are_kept(demo: str, open_page: OpenPage, dark: bool) -> None:
    shade = "dark" if dark else "light"
    page = await open_page(demo + NODE, dark=dark)
    await expect(drawn(page)).to_be_attached()
    await expect(page.locator(".ent-neighbours a").first).to_be_visible()
    await keep_picture(page, f"entity-{shade}")

    page = await open_page(f"{demo}/changes?world=live~storm&other=live", dark=dark)
    await expect(page.locator(".chg-row-status")).to_have_count(1)
    await keep_picture(page, f"changes-{shade}")


async def test_a_range_is_typed_or_drawn(demo: str, open_page: OpenPage) -> None:
    page = await open_page(demo + NODE)
    await expect(drawn(page)).to_be_attached()
    await page.get_by_role("button", name="custom").click()
    start = page.get_by_label("from", exact=True)
    await expect(start).to_have_value(re.compile("Z$"))
    await start.fill("yesterday")
    await start.press("Enter")
    await expect(page.get_by_text("'yesterday' is no moment")).to_be_visible()
    await start.fill("-10m")
    await start.press("Enter")
    await wait_for_parameter(page, "start", "-10m")
    await expect(page.get_by_text("'yesterday' is no moment")).not_to_be_visible()

    box = await page.locator(".ent-plot").first.bounding_box()
    assert box is not None
    await page.mouse.move(box["x"] + 200, box["y"] + 60)
    await page.mouse.down()
    await page.mouse.move(box["x"] + 320, box["y"] + 60, steps=6)
    await page.mouse.up()
    await page.wait_for_function("new URL(location.href).searchParams.get('end')?.endsWith('Z')")
    assert parameters(page)["start"] < parameters(page)["end"]


async def test_the_past_is_shown_as_it_was_and_the_band_says_how_long_it_was_up(
    demo: str, open_page: OpenPage
) -> None:
    page = await open_page(f"{demo}{NODE}?at=-5s")

    await expect(page.locator(".ent-table").get_by_text("history").first).to_be_visible()
    await expect(page.locator(".ent-band .band-up").first).to_be_attached()
    await expect(page.get_by_text("appeared, up")).to_be_visible()


async def test_neighbours_lead_on_and_an_unknown_name_leads_back(demo: str, open_page: OpenPage) -> None:
    page = await open_page(demo + NODE)
    await page.locator(".ent-neighbours a", has_text="1~2").click()
    await expect(page.locator("h1")).to_have_text("1~2")
    await page.locator(".ent-neighbours a", has_text="2~1").click()
    await expect(page.locator("h1")).to_have_text("2~1")

    await page.goto(demo + "/entity/node/jetson-nano-33")
    await page.get_by_role("link", name="node jetson-nano-3", exact=True).click()
    await expect(page.locator("h1")).to_have_text("jetson-nano-3")


async def test_a_what_if_shows_its_fault_live_beside_it_and_what_differs(
    demo: str, open_page: OpenPage
) -> None:
    page = await open_page(f"{demo}/entity/node/jetson-nano-5?world=live~storm")
    await expect(page.locator(".ent-entity-head .status-down")).to_have_text("down")
    await expect(page.locator(".ent-faults")).to_contain_text("node_down f1")
    await expect(page.locator(".ent-faults .status-down")).to_have_text("in force")
    await expect(page.locator(".ent-legend", has_text="live").first).to_be_visible()

    await page.goto(f"{demo}/changes?world=live~storm&other=live")
    row = page.locator(".chg-row-status")
    await expect(row).to_have_count(1)
    await expect(row).to_contain_text("jetson-nano-5")
    await expect(row.locator(".status-up")).to_have_text("up")
    await expect(row.locator(".status-down")).to_have_text("down")
    await row.get_by_role("link").click()
    await expect(page.locator("h1")).to_have_text("jetson-nano-5")
    assert parameters(page)["world"] == "live~storm"


async def test_changes_between_two_moments_are_filtered_and_wrong_moments_named(
    demo: str, open_page: OpenPage
) -> None:
    page = await open_page(f"{demo}/changes?from=-8s&percent=0")
    await expect(page.locator(".chg-row-metric").first).to_be_visible()
    await page.get_by_label("Filter").fill("cpu_usage_percent jetson-nano-9")
    await expect(page.get_by_role("status").get_by_text(re.compile(": [01] differences"))).to_be_visible()
    await wait_for_parameter(page, "q", "cpu_usage_percent jetson-nano-9")

    moment = page.get_by_label("from", exact=True)
    await moment.fill("+3 days")
    await moment.press("Enter")
    await expect(page.get_by_text("'+3 days' is no moment")).to_be_visible()
    await moment.fill("-8s")
    await page.get_by_label("or, by metric").fill("cpu_usage_prcent:10")
    await page.get_by_role("button", name="Compare").click()
    await expect(page.get_by_text("did you mean cpu_usage_percent")).to_be_visible()


async def test_the_raw_record_is_read_when_it_is_opened(demo: str, open_page: OpenPage) -> None:
    page = await open_page(demo + NODE)
    await page.get_by_text("Raw record").click()
    text = page.locator(".ent-raw .twin-mono")
    await expect(text).to_contain_text('"sources"')
    assert json.loads(await text.inner_text())["id"] == "jetson-nano-3"


@pytest.mark.parametrize(
    ("history", "said"),
    [
        ({}, "there is no history store"),
        (
            {"history_url": "influxdb+http://127.0.0.1:1/twin/gone", "history_token": "none"},
            "cannot be reached",
        ),
    ],
    ids=["none", "away"],
)
async def test_without_a_history_store_the_charts_say_so_and_the_rest_works(
    make_site: MakeSite, open_page: OpenPage, history: dict[str, str], said: str
) -> None:
    made = await make_site(nodes(3), **history)

    page = await open_page(made.url + "/entity/node/n1")

    await expect(page.locator(".ent-note")).to_contain_text(said)
    await expect(page.locator(".ent-table .age-fresh").first).to_be_visible()
    await expect(page.locator(".ent-neighbours")).to_contain_text("pool-1")
    page = await open_page(made.url + "/changes")
    await expect(page.get_by_text(said)).to_be_visible()
