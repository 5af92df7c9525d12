"""The same for JSON documents and for Prometheus servers."""

import asyncio
import json
import time
from collections.abc import AsyncIterator

import pytest
from aiohttp import web

from streams.collect.fetch import Fetcher
from streams.collect.run import build_source
from streams.collect.scrape import Scraper
from streams.records import Scrape
from tests.integration.misbehaving import GARBAGE, answering, make_target, scrape, serving


@pytest.fixture
async def fetcher() -> AsyncIterator[Fetcher]:
    fetcher = Fetcher()
    yield fetcher
    await fetcher.close()


def api(*rows: tuple[dict[str, str], str], status: str = "success", **more) -> bytes:
    result = [{"metric": labels, "value": [time.time(), value]} for labels, value in rows]
    return json.dumps({"status": status, "data": {"resultType": "vector", "result": result}, **more}).encode()


DOCUMENT = {
    "lastUpdated": 1751552584.7,
    "vertexpools": [{"id": "1", "nodes": [{"id": "a", "metrics": {"util": 4.0}}]}],
}

BAD_DOCUMENTS = {
    "html": (b"<html>", "text/html", "content_type: content type 'text/html' is not JSON"),
    "no json": (b"Internal error", "application/json", "parse: not JSON: Expecting value: line 1 column 1"),
    "half": (json.dumps(DOCUMENT).encode()[:-3], "application/json", "parse: not JSON: "),
    "other schema": (
        b'{"vertexpools": {"a": 1}}',
        "application/json",
        "schema: the document is not of its JSON Schema: $.vertexpools: ",
    ),
    "a list": (
        b"[]",
        "application/json",
        "schema: the document is not of its JSON Schema: $: [] is not of type 'object'",
    ),
    "an error": (b'{"error": "no such twin"}', "application/json", "schema: "),
    "deep": (b"[" * 200_000, "application/json", "parse: not JSON: nested too deeply"),
    "garbage": (GARBAGE, "application/json", "utf8: line 1: "),
    "empty": (b"", "application/json", "empty: the answer is empty"),
}


@pytest.mark.parametrize("name", BAD_DOCUMENTS)
async def test_bad_documents(name: str, fetcher: Fetcher) -> None:
    body, content_type, error = BAD_DOCUMENTS[name]

    async with serving(answering(body, content_type)) as url:
        record = await scrape(make_target(url, "json", "decice_v2", timeout_s=10.0), fetcher)

    assert not record["ok"]
    assert record["error"].startswith(error)
    assert len(record["error"]) < 700


async def test_a_good_document(fetcher: Fetcher) -> None:
    async with serving(answering(json.dumps(DOCUMENT).encode(), "application/json")) as url:
        record = await scrape(make_target(url, "json", "decice_v2", simulated=True), fetcher)

    assert record["ok"]
    assert record["simulated"]
    assert 4.0 in record["values"]
    assert set(record["times_ms"]) == {1_751_552_584_700}


BAD_SERVERS = {
    "error in a 200": (
        api(status="error", errorType="internal", error="out of memory"),
        200,
        "error_body: query ",
    ),
    "error with its status": (
        api(status="error", errorType="timeout", error="too slow"),
        503,
        "http_status: query ",
    ),
    "html": (b"<html>login</html>", 200, "error_body: query "),
    "a range": (
        b'{"status":"success","data":{"resultType":"matrix","result":[]}}',
        200,
        "result_type: query ",
    ),
}


@pytest.mark.parametrize("name", BAD_SERVERS)
async def test_bad_prometheus_servers(name: str, fetcher: Fetcher) -> None:
    body, status, error = BAD_SERVERS[name]

    async with serving(answering(body, "application/json", status)) as url:
        record = await scrape(make_target(url, "prometheus"), fetcher)

    assert not record["ok"]
    assert record["error"].startswith(error)
    assert "more queries)" in record["error"]
    assert record["target"] == "the target"


async def test_one_bad_query_does_not_spoil_the_others(fetcher: Fetcher) -> None:
    shipped: list[Scrape] = []

    async def ship(records: list[Scrape]) -> None:
        shipped.extend(records)

    async def handler(request: web.Request) -> web.Response:
        query = request.query["query"]
        if "node_cpu_busy" in query or "mode!=" in query:
            return web.Response(
                body=api(status="error", errorType="bad_data", error="parse error"), status=400
            )
        if "node_load1" in query:
            now = str(time.time() - 3)
            rows = (
                ({"instance": "n1:9100", "job": "n", "twin_sample_time": "1"}, now),
                ({"__name__": "node_load1", "instance": "n1:9100", "job": "n"}, "0.5"),
                ({"__name__": "node_load5", "instance": "n1:9100", "job": "n"}, "NaN"),
            )
            return web.Response(body=api(*rows))
        return web.Response(body=api())

    async with serving(handler) as url:
        target = make_target(url, "prometheus")
        await Scraper(build_source(target, fetcher), ship).scrape()

    good, failed = shipped
    assert good["series"] == ['node_load1{instance="n1:9100",job="n"}']
    assert good["dropped"] == {"nan": 1}
    assert 2_500 < good["scraped_at_ms"] - good["times_ms"][0] < 10_000
    assert failed["target"] == "the target#node_cpu_busy_seconds"
    assert failed["error"].startswith("http_status: query node_cpu_busy_seconds: HTTP 400 Bad Request: ")


async def test_one_slow_query_does_not_spoil_the_others(fetcher: Fetcher) -> None:
    async def handler(request: web.Request) -> web.Response:
        if "node_load1" in request.query["query"]:
            await asyncio.sleep(5)
        return web.Response(body=api(({"instance": "n"}, "1")))

    async with serving(handler) as url:
        record = await scrape(make_target(url, "prometheus"), fetcher)

    assert record["ok"]
    assert record["series"]
