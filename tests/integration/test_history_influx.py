"""Reading from what only looks like InfluxDB: errors, hangs, answers that are none; and what it is asked."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest
from aiohttp import web

from streams import stores
from streams.errors import StoreError, TooMuchError
from streams.settings import load_settings
from streams.stores import Selection, Window
from streams.stores.influx import InfluxStore, parse_address
from streams.stores.influx import client as influx_client

TOKEN = "secret-token-that-must-not-show"

HEAD = (
    "#datatype,string,long,dateTime:RFC3339,double,string,string,string\r\n"
    ",result,table,_time,_value,_field,_measurement,node_id\r\n"
)

NASTY = 'n") |> drop(columns: ["x"]) //'

Answer = Callable[[web.Request], Awaitable[web.StreamResponse]]


class FakeInflux:
    """Answers queries as told, and notes what it was asked."""

    def __init__(self) -> None:
        self.asked: list[dict[str, Any]] = []
        self.answer: Answer = text_of("")

    async def query(self, request: web.Request) -> web.StreamResponse:
        """Note the query, and answer."""
        self.asked.append(await request.json() | {"headers": dict(request.headers)})
        return await self.answer(request)


def text_of(text: str, status: int = 200, **headers: str) -> Answer:
    """An answer that is always the same."""

    async def answer(_request: web.Request) -> web.StreamResponse:
        return web.Response(text=text, status=status, headers=headers)

    return answer


async def silence(_request: web.Request) -> web.StreamResponse:
    """No answer at all."""
    await asyncio.Event().wait()
    raise AssertionError


async def half(request: web.Request) -> web.StreamResponse:
    """A beginning, and then the connection goes."""
    response = web.StreamResponse()
    await response.prepare(request)
    await response.write(HEAD.encode())
    assert request.transport is not None
    request.transport.close()
    return response


async def endless(request: web.Request) -> web.StreamResponse:
    """More rows than anybody wants."""
    response = web.StreamResponse()
    await response.prepare(request)
    row = ",_result,0,2026-11-24T11:50:00Z,1,load1,other,n1\r\n"
    while True:
        await response.write((row * 1_000).encode())


@pytest.fixture
async def server() -> AsyncIterator[tuple[FakeInflux, str]]:
    """A running fake, and its address."""
    fake = FakeInflux()
    app = web.Application()
    app.add_routes([web.post("/api/v2/query", fake.query)])
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    yield fake, f"http://127.0.0.1:{runner.addresses[0][1]}"
    await runner.cleanup()


@pytest.fixture
async def store(server: tuple[FakeInflux, str]) -> AsyncIterator[InfluxStore]:
    """A store on it."""
    url = f"influxdb+{server[1]}/decice/twin"
    store = InfluxStore(parse_address(url), load_settings(history_url=url, history_token=TOKEN), {})
    yield store
    await store.close()


@pytest.mark.parametrize(
    ("status", "hint"),
    [
        (401, "TWIN_HISTORY_TOKEN"),
        (403, "right to read bucket twin"),
        (404, "create bucket"),
        (500, "HTTP 500"),
    ],
)
async def test_a_refusal_says_what_to_do(
    store: InfluxStore, server: tuple[FakeInflux, str], status: int, hint: str
) -> None:
    server[0].answer = text_of('{"code": "x", "message": "not so"}', status, **{"Retry-After": "7"})

    with pytest.raises(StoreError, match=hint) as caught:
        await store.read(Selection(0, 1))

    assert "not so" in str(caught.value)
    assert TOKEN not in str(caught.value)
    assert (caught.value.status, caught.value.retry_after_s) == (status, 7.0)


@pytest.mark.parametrize("status", [200, 502])
async def test_the_page_of_a_proxy_is_no_answer(
    store: InfluxStore, server: tuple[FakeInflux, str], status: int
) -> None:
    server[0].answer = text_of("<html>" + "x" * 100_000, status)

    with pytest.raises(StoreError, match="<html>x") as caught:
        await store.read_ticks(Selection(0, 1))

    assert len(str(caught.value)) < 1_000


async def test_a_server_that_hangs_is_given_up(
    store: InfluxStore, server: tuple[FakeInflux, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(influx_client, "READ_TIMEOUT_S", 0.2)
    server[0].answer = silence

    with pytest.raises(StoreError, match=r"no answer within 0\.2 s"):
        await store.read_changes(Selection(0, 1), newest=True)


async def test_half_an_answer_is_none(store: InfluxStore, server: tuple[FakeInflux, str]) -> None:
    server[0].answer = half

    with pytest.raises(StoreError, match="cannot be reached"):
        await store.read(Selection(0, 1))


async def test_an_endless_answer_is_cut(
    store: InfluxStore, server: tuple[FakeInflux, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stores, "MAX_POINTS", 1_000)
    server[0].answer = endless

    with pytest.raises(TooMuchError, match="1,000"):
        await store.read(Selection(0, 1))


async def test_a_server_that_is_away_is_an_error(server: tuple[FakeInflux, str]) -> None:
    url = "influxdb+http://127.0.0.1:9/decice/twin"
    store = InfluxStore(parse_address(url), load_settings(history_url=url, history_token=TOKEN), {})

    with pytest.raises(StoreError, match="cannot be reached"):
        await store.read(Selection(0, 1))

    await store.close()


async def test_nothing_from_outside_is_in_the_text_of_a_query(
    store: InfluxStore, server: tuple[FakeInflux, str]
) -> None:
    some = Selection(0, 60_000, NASTY, (NASTY,), (NASTY,), (NASTY,))

    await store.read(some)
    await store.read(some, Window(60_000, "mean"))
    await store.read_ticks(some)
    await store.read_changes(some, newest=True)
    await store.read_records(NASTY, NASTY, 0, 60_000, {NASTY: NASTY})

    texts = {asked["query"] for asked in server[0].asked}
    assert len(server[0].asked) >= 7
    assert not any("x" in text.replace("exists", "") or "twin" in text or "1970" in text for text in texts)
    assert all("drop" in repr(asked["extern"]) for asked in server[0].asked)
    assert server[0].asked[0]["headers"]["Authorization"] == f"Token {TOKEN}"


async def test_a_range_of_no_length_is_not_asked_for(
    store: InfluxStore, server: tuple[FakeInflux, str]
) -> None:
    empty = Selection(60_000, 60_000)

    assert await store.read(empty) == []
    assert await store.read_ticks(empty) == []
    assert await store.read_changes(empty, newest=True) == []
    assert await store.read_records("b", "m", 1, 1, {}) == []
    assert server[0].asked == []
