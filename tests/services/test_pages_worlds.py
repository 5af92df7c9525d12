"""The pages of worlds and of the topology in Chromium."""

import re

import pytest
from playwright.async_api import expect

from tests.services.browser import MakeSite, OpenPage, keep_picture, nodes

pytestmark = pytest.mark.timeout(240)


async def test_a_world_is_made_a_fault_is_tried_and_laid_and_all_of_it_ends(
    demo: str, open_page: OpenPage
) -> None:
    page = await open_page(f"{demo}/worlds")
    await page.get_by_role("button", name="New world").click()
    await page.get_by_label("Name").fill("Not A Name")
    await page.get_by_role("button", name="Create").click()
    await expect(page.get_by_text("world:")).to_be_visible()  # the API's own words beside the form

    await page.get_by_label("Name").fill("heat")
    await page.get_by_role("button", name="Create").click()
    await expect(page.locator("tr", has_text="live~heat")).to_be_visible()
    await page.locator("tr", has_text="live~heat").click()
    await page.get_by_role("button", name="Lay a fault").click()
    await page.get_by_label("Or labels").fill("nodepool=1")
    await page.get_by_role("button", name="What would it touch?").click()
    await expect(page.get_by_text("It would touch 10:")).to_be_visible()
    await keep_picture(page, "fault-form-light")
    await page.get_by_role("button", name="Lay it").click()
    await expect(page.get_by_text("node_down on 10")).to_be_visible()

    await page.get_by_role("button", name="End").click()
    await expect(page.get_by_text("node_down on 10")).to_be_hidden()
    await page.get_by_role("button", name="Drop").click()
    await page.get_by_role("dialog").get_by_role("button", name="Drop").click()
    await expect(page.locator("tr", has_text="live~heat")).to_be_hidden()


@pytest.mark.parametrize("dark", [False, True])
async def test_the_topology_of_an_overlay_shows_its_fault_and_colours_the_frame(
    demo: str, open_page: OpenPage, dark: bool
) -> None:
    page = await open_page(f"{demo}/topology?world=live~storm", dark=dark)

    await expect(page.locator(".twin-card", has_text="Nodes")).to_contain_text("1 down")
    await expect(page.locator("body")).to_have_class(re.compile("world-overlay"))
    await expect(page.locator(".twin-graph canvas")).to_be_visible()
    await expect(page.locator(".twin-pools tr", has_text="1101")).to_be_visible()
    await keep_picture(page, f"topology-{'dark' if dark else 'light'}")


async def test_ten_thousand_nodes_are_drawn_by_their_worst(make_site: MakeSite, open_page: OpenPage) -> None:
    site = await make_site(nodes(10_000))

    page = await open_page(f"{site.url}/topology")

    await expect(page.locator(".twin-card", has_text="Nodes")).to_contain_text("10,000")
    await expect(page.locator(".twin-pools tr", has_text="pool-3")).to_contain_text("2,500 / 2,500")
    await keep_picture(page, "topology-10000-light")


async def test_an_empty_twin_has_a_topology_and_a_world(make_site: MakeSite, open_page: OpenPage) -> None:
    site = await make_site()

    page = await open_page(f"{site.url}/topology")
    await expect(page.get_by_text("No pool is known")).to_be_visible()
    await page.get_by_role("link", name="Worlds").click()

    await expect(page.locator(".twin-worlds-list tr", has_text="wall clock")).to_have_count(1)
