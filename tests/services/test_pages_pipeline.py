"""The page of the pipeline in Chromium, with dead letters of a worker and sources that fail."""

import time
from typing import Any

import pytest
from aiokafka import AIOKafkaProducer
from playwright.async_api import Page, expect

from streams.kafka import client_options
from streams.schemas import load_codec
from streams.settings import Settings
from streams.topics import topics_of
from tests.services.browser import MakeSite, OpenPage, Site, keep_picture, nodes
from tests.services.conftest import StartRole

pytestmark = pytest.mark.timeout(240)

LETTERS = 60
"""[1] More than a page of the table."""


def scrape(target: str, **overrides: Any) -> bytes:
    fields: dict[str, Any] = {
        "source": "node_exporter",
        "target": target,
        "pack": "node_exporter",
        "interval_ms": 600_000,
        "scraped_at_ms": int(time.time() * 1000),
        "ok": True,
        "error": "",
        "simulated": False,
        "duration_ms": 12,
        "series": ['node_load1{instance="a"}'],
        "values": [1.0],
        "times_ms": [],
        "dropped": {},
    }
    return load_codec("scrape").encode(fields | overrides)


def letter(settings: Settings, place: int) -> bytes:
    return load_codec("deadletter").encode(
        {
            "stage": "harmonize",
            "reason": "unknown_pack" if place % 2 else "framing",
            "error": f"no rule pack <b>{place}</b>",
            "at_ms": int(time.time() * 1000) - 60_000 + place,
            "topic": topics_of(settings)["scrape"],
            "partition": place % settings.partitions,
            "offset": place,
            "key": b"node_exporter/a",
            "value": scrape(f"again{place}", pack="nobodys"),
        }
    )


async def fill(settings: Settings) -> None:
    topics = topics_of(settings)
    producer = AIOKafkaProducer(**client_options(settings), acks="all")
    await producer.start()
    try:
        for value in (
            scrape("ok:9100"),
            scrape("bad:9100", ok=False, error="refused: nobody listens", series=[], values=[]),
        ):
            await producer.send_and_wait(topics["scrape"], value, partition=0)
        for place in range(LETTERS):
            partition = place % settings.partitions
            await producer.send_and_wait(topics["deadletter"], letter(settings, place), partition=partition)
    finally:
        await producer.stop()


async def filled(make_site: MakeSite) -> Site:
    site = await make_site(nodes(20))
    await fill(site.settings)
    return site


def rows(page: Page) -> Any:
    return page.locator(".pipe-letters tbody tr")


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
async def test_the_page_shows_topics_sources_and_letters(
    make_site: MakeSite, open_page: OpenPage, dark: bool
) -> None:
    site = await filled(make_site)

    page = await open_page(f"{site.url}/pipeline", dark=dark)

    await expect(page.locator(".pipe-kafka")).to_contain_text("Kafka answered")
    await expect(page.get_by_text("refused: nobody listens")).to_be_visible()
    await expect(page.get_by_text("failed", exact=True)).to_be_visible()
    await expect(rows(page).first).to_contain_text(f"no rule pack <b>{LETTERS - 1}</b>")
    await expect(page.get_by_text(f"{topics_of(site.settings)['scrape']}-value")).to_be_visible()
    await keep_picture(page, f"pipeline-{'dark' if dark else 'light'}")


async def test_a_choice_and_the_place_in_the_page_outlive_a_refresh(
    make_site: MakeSite, open_page: OpenPage
) -> None:
    site = await filled(make_site)
    page = await open_page(f"{site.url}/pipeline")
    await rows(page).nth(1).locator(".q-checkbox").click()
    await expect(page.get_by_text("Send 1 again")).to_be_enabled()
    await page.evaluate("window.scrollTo(0, 400)")

    await fill(site.settings)  # other letters: the table is filled anew

    await expect(rows(page).first).to_contain_text(f"<b>{LETTERS - 1}</b>")
    await expect(page.locator(".pipe-letters")).to_contain_text(f"of {2 * LETTERS}")
    assert await page.evaluate("window.scrollY") == 400
    await expect(page.get_by_text("Send 1 again")).to_be_enabled()


async def test_letters_are_filtered_looked_into_and_sent_again_after_a_dry_run(
    make_site: MakeSite, open_page: OpenPage, role: StartRole
) -> None:
    site = await filled(make_site)
    page = await open_page(f"{site.url}/pipeline")
    await page.get_by_label("Reason of dead letters").fill("unknown_pack")
    await expect(page.locator(".pipe-letters")).to_contain_text(f"of {LETTERS // 2}")
    await page.get_by_label("Text of dead letters").fill("AGAIN41")
    await expect(rows(page)).to_have_count(1)

    await rows(page).first.locator("td").nth(2).click()
    dialog = page.locator(".pipe-dialog")
    await expect(dialog).to_contain_text('"target": "again41"')
    await dialog.get_by_role("tab", name="Bytes").click()
    await expect(dialog).to_contain_text("00000000  00 ")
    await dialog.get_by_role("button", name="Send again").click()
    await expect(page.get_by_text("1 would be sent again")).to_be_visible()
    await page.get_by_role("button", name="Send 1 again").last.click()
    await expect(page.get_by_text("1 sent again")).to_be_visible()
    await page.get_by_role("button", name="Close").last.click()

    await role("worker", site.settings)
    await expect(rows(page).first).to_contain_text("unknown_pack (1× again)")
