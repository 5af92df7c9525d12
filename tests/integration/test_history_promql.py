"""VictoriaMetrics and Prometheus that are away, refuse or talk nonsense: each error says what to do."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest
import pytest_asyncio
from aiohttp import web
from aiohttp.test_utils import TestServer

from streams import stores
from streams.errors import SettingsError, StoreError, TooMuchError
from streams.settings import load_settings
from streams.stores import Selection, Store, Window, open_store
from tests.history_model import Row, tick_of
from tests.history_suite import catalogue_fields

Handle = Callable[[web.Request], Awaitable[web.StreamResponse]]

SELECTION = Selection(1_700_000_000_000, 1_700_009_000_000)
ITEMS = tick_of("live", [Row("node", "n1", "1", 1_000, {"load1": 1.0})])


class Server:
    """Answers everything as it is told to, and keeps what it was asked."""

    def __init__(self) -> None:
        self.asked: list[web.Request] = []
        self.answer: Handle = self.nothing

    async def nothing(self, request: web.Request) -> web.StreamResponse:
        """Take all, and have nothing."""
        if request.path.endswith("/write"):
            return web.Response(status=204)
        if request.path.endswith(("/labels", "/values")):
            return web.json_response({"status": "success", "data": []})
        if request.path.endswith("/export"):
            return web.Response()
        return web.json_response({"status": "success", "data": {"resultType": "matrix", "result": []}})

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """Answer."""
        self.asked.append(request)
        return await self.answer(request)


@pytest_asyncio.fixture
async def server() -> AsyncIterator[Server]:
    """The server's behaviour; its address is its `url`."""
    behaviour = Server()
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", behaviour.handle)
    async with TestServer(app) as running:
        behaviour.url = f"http://127.0.0.1:{running.port}"  # type: ignore[attr-defined]
        yield behaviour


@pytest_asyncio.fixture(params=["victoriametrics", "prometheus"])
async def store(server: Server, request: pytest.FixtureRequest) -> AsyncIterator[Store]:
    """Both drivers, one after the other."""
    url = f"{request.param}+{server.url}"  # type: ignore[attr-defined]
    opened = open_store(load_settings(history_url=url, history_token="s3cret"), catalogue_fields())
    yield opened
    await opened.close()


def status(number: int, text: str = "no", **headers: str) -> Handle:
    """Answers of one kind."""

    async def answer(_: web.Request) -> web.StreamResponse:
        return web.Response(
            status=number,
            text=text,
            headers={name.replace("_", "-"): value for name, value in headers.items()},
        )

    return answer


async def test_the_token_is_sent_and_never_told(server: Server, store: Store) -> None:
    await store.prepare()
    server.answer = status(401)

    with pytest.raises(StoreError, match="check TWIN_HISTORY_TOKEN") as caught:
        await store.read(SELECTION)

    assert {request.headers["Authorization"] for request in server.asked} == {"Bearer s3cret"}
    assert "s3cret" not in str(caught.value) + store.label


@pytest.mark.parametrize(
    ("number", "hint"),
    [(403, "no right"), (404, "TWIN_HISTORY_URL"), (302, "true address"), (500, "answered HTTP 500: no")],
)
async def test_a_refusal_to_write_is_no_refusal_of_items(
    server: Server, store: Store, number: int, hint: str
) -> None:
    server.answer = status(number, Location="http://127.0.0.1:1/write")

    with pytest.raises(StoreError, match=hint):
        await store.prepare()
    with pytest.raises(StoreError, match=hint):
        await store.write(store.convert(ITEMS))


@pytest.mark.parametrize("text", ["<html>Bad Request</html>", "snappy: corrupt input"])
async def test_a_fault_that_is_not_about_items_is_not_theirs(server: Server, store: Store, text: str) -> None:
    server.answer = status(400, text)

    with pytest.raises(StoreError, match="HTTP 400"):
        await store.write(store.convert(ITEMS))


async def test_a_full_disk_is_not_the_fault_of_items(server: Server, store: Store) -> None:
    server.answer = status(500, "write to WAL: log samples: no space left on device")

    with pytest.raises(StoreError, match="no space left"):
        await store.write(store.convert(ITEMS))


async def test_the_wish_to_wait_is_passed_on(server: Server, store: Store) -> None:
    server.answer = status(503, Retry_After="7")

    with pytest.raises(StoreError) as caught:
        await store.write(store.convert(ITEMS))

    assert caught.value.retry_after_s == 7.0


@pytest.mark.parametrize("window", [None, Window(5_000, "mean")])
async def test_a_query_beyond_the_limits_of_the_server_says_to_ask_for_less(
    server: Server, store: Store, window: Window | None
) -> None:
    server.answer = status(422, '{"status":"error","error":"too many samples"}')

    with pytest.raises(StoreError, match=r"too many samples; .*less time"):
        await store.read(SELECTION, window)


@pytest.mark.parametrize(
    "text", ["", "<html>", '{"status":"error","error":"x"}', "[]", '{"status":"success"}']
)
async def test_nonsense_is_an_error_that_names_the_server(server: Server, store: Store, text: str) -> None:
    server.answer = status(200, text)

    for read in (store.read_ticks(SELECTION), store.read(Selection(1, 2, ids=("a",)))):
        with pytest.raises(StoreError, match=r"history store|at http://127"):
            await read


async def test_an_answer_that_does_not_end_is_cut(
    server: Server, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def endless(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        while True:
            await response.write(b" " * 2**20)

    server.answer = endless
    monkeypatch.setattr(stores, "MAX_POINTS", 1)

    with pytest.raises(TooMuchError, match="more than 1 values"):
        await asyncio.wait_for(store.read(SELECTION), 60)


async def test_a_server_that_hangs_is_given_up(
    server: Server, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def hang(_: web.Request) -> web.StreamResponse:
        await asyncio.Event().wait()
        raise AssertionError

    server.answer = hang
    monkeypatch.setattr(stores, "READ_TIMEOUT_S", 0.3)

    with pytest.raises(StoreError, match=r"within 0\.3 s"):
        await asyncio.wait_for(store.read(SELECTION), 60)


async def test_nothing_is_nothing(store: Store) -> None:
    assert await store.read(SELECTION) == []
    assert await store.read(Selection(5, 5), Window(1_000, "sum")) == []
    assert await store.read_ticks(SELECTION) == []
    assert await store.read_changes(SELECTION, newest=True) == []
    assert await store.read_changes(SELECTION, newest=False) == []


@pytest.mark.parametrize("scheme", ["victoriametrics", "prometheus"])
async def test_a_server_that_is_away_is_named(scheme: str, unused_tcp_port: int) -> None:
    url = f"http://127.0.0.1:{unused_tcp_port}"
    store = open_store(load_settings(history_url=f"{scheme}+{url}"), catalogue_fields())

    for work in (store.prepare(), store.write(store.convert(ITEMS)), store.read(SELECTION)):
        with pytest.raises(StoreError, match=f"at {url} cannot be reached"):
            await work
    await store.close()


@pytest.mark.parametrize("scheme", ["victoriametrics", "prometheus"])
def test_a_file_of_certificates_that_is_not_there_is_a_fault_of_settings(scheme: str, tmp_path: Path) -> None:
    settings = load_settings(history_url=f"{scheme}+https://a:1", history_ca_file=tmp_path / "ca.pem")

    with pytest.raises(SettingsError, match="TWIN_HISTORY_CA_FILE"):
        open_store(settings, catalogue_fields())


async def test_a_file_that_holds_no_certificates_is_told(tmp_path: Path) -> None:
    ca_file = tmp_path / "ca.pem"
    ca_file.write_text("no")
    settings = load_settings(history_url="prometheus+https://127.0.0.1:1", history_ca_file=ca_file)
    store = open_store(settings, catalogue_fields())

    with pytest.raises(StoreError, match="TWIN_HISTORY_CA_FILE"):
        await store.prepare()
