"""What the sink does with InfluxDB's answers, from a server that gives them as told."""

import time
from collections.abc import AsyncIterator
from typing import Any

import pytest
import structlog
from aiohttp import web

from streams.errors import SettingsError, StoreError
from streams.settings import Settings, load_settings
from streams.stores import open_store
from streams.stores.http import retry_after_s
from streams.stores.influx import InfluxAddress, InfluxStore, parse_address

TOKEN = "secret-token-that-must-not-show"


class FakeServer:
    """Answers writes as told, and knows one bucket of each name that is in `buckets`."""

    def __init__(self) -> None:
        self.buckets: dict[str, int] = {}
        self.tasks: list[dict[str, Any]] = []
        self.refuses_set_up = 0
        self.answers: list[web.Response] = []
        self.posts: list[tuple[dict[str, str], list[str]]] = []
        self.url = ""

    def routes(self) -> list[web.RouteDef]:
        """What InfluxDB answers of all this."""
        return [
            web.post("/api/v2/write", self.write),
            web.get("/api/v2/orgs", self.orgs),
            web.get("/api/v2/buckets", self.find_bucket),
            web.post("/api/v2/buckets", self.create_bucket),
            web.get("/api/v2/tasks", self.find_tasks),
            web.post("/api/v2/tasks", self.create_task),
            web.patch("/api/v2/tasks/{id}", self.update_task),
            web.delete("/api/v2/tasks/{id}", self.delete_task),
        ]

    async def write(self, request: web.Request) -> web.Response:
        """Note the lines, and give the next answer."""
        lines = (await request.text()).split("\n")  # aiohttp has inflated it
        self.posts.append((dict(request.query) | dict(request.headers), lines))
        return self.answers.pop(0) if self.answers else web.Response(status=204)

    async def orgs(self, request: web.Request) -> web.Response:
        """The one organisation."""
        return web.json_response(
            {"orgs": [{"id": "0123456789abcdef", "name": request.query.get("org", "decice")}]}
        )

    async def find_bucket(self, request: web.Request) -> web.Response:
        """The bucket, or 404, as InfluxDB 2.7 does."""
        name = request.query["name"]
        if self.refuses_set_up:
            return answer(self.refuses_set_up, "unauthorized access")
        if name not in self.buckets:
            return answer(404, f'bucket "{name}" not found')
        rules = [{"type": "expire", "everySeconds": self.buckets[name]}]
        return web.json_response({"buckets": [{"id": "b" * 16, "name": name, "retentionRules": rules}]})

    async def create_bucket(self, request: web.Request) -> web.Response:
        """Note a bucket and its retention."""
        body = await request.json()
        self.buckets[body["name"]] = body["retentionRules"][0]["everySeconds"]
        return web.json_response(body | {"id": "b" * 16}, status=201)

    async def find_tasks(self, request: web.Request) -> web.Response:
        """The tasks of that name."""
        if self.refuses_set_up:
            return answer(self.refuses_set_up, "unauthorized access")
        name = request.query["name"]
        return web.json_response({"tasks": [task for task in self.tasks if f'"{name}"' in task["flux"]]})

    async def create_task(self, request: web.Request) -> web.Response:
        """Note a task."""
        task = {"orgID": "0", "name": "", **await request.json(), "id": f"{len(self.tasks):016}"}
        self.tasks.append(task)
        return web.json_response(task, status=201)

    async def update_task(self, request: web.Request) -> web.Response:
        """Note another text of a task."""
        task = next(task for task in self.tasks if task["id"] == request.match_info["id"])
        task |= await request.json()
        return web.json_response(task)

    async def delete_task(self, request: web.Request) -> web.Response:
        """Forget a task."""
        self.tasks = [task for task in self.tasks if task["id"] != request.match_info["id"]]
        return web.Response(status=204)


def answer(status: int, message: str, **headers: str) -> web.Response:
    """An error as InfluxDB words it."""
    return web.json_response({"code": "x", "message": message}, status=status, headers=headers)


@pytest.fixture
async def server() -> AsyncIterator[FakeServer]:
    """A running fake."""
    fake = FakeServer()
    app = web.Application()
    app.add_routes(fake.routes())
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    fake.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    yield fake
    await runner.cleanup()


def settings_of(url: str, **more: Any) -> Settings:
    """Settings for that server."""
    return load_settings(history_url=f"influxdb+{url}/decice/twin", history_token=TOKEN, **more)


@pytest.fixture
async def store(server: FakeServer) -> AsyncIterator[InfluxStore]:
    """A store on it, with all set up."""
    store = InfluxStore(parse_address(f"influxdb+{server.url}/decice/twin"), settings_of(server.url), {})
    await store.prepare()
    yield store
    await store.close()


async def test_lines_are_posted_compressed_with_the_token_in_a_header(
    store: InfluxStore, server: FakeServer
) -> None:
    assert await store.write(["m f=1.0 1", "m f=2.0 2"]) == []

    ((told, lines),) = server.posts
    assert lines == ["m f=1.0 1", "m f=2.0 2"]
    assert (told["org"], told["bucket"], told["precision"]) == ("decice", "twin", "ms")
    assert told["Authorization"] == f"Token {TOKEN}"
    assert told["Content-Encoding"] == "gzip"


@pytest.mark.parametrize(
    ("status", "hint"),
    [
        (401, "TWIN_HISTORY_TOKEN"),
        (403, "right to write bucket twin"),
        (404, "create bucket twin"),
        (500, "HTTP 500"),
    ],
)
async def test_an_answer_that_an_operator_can_mend_is_tried_again(
    store: InfluxStore, server: FakeServer, status: int, hint: str
) -> None:
    server.answers = [answer(status, "no")]

    with pytest.raises(StoreError, match=hint) as caught:
        await store.write(["m f=1.0 1"])

    assert TOKEN not in str(caught.value)
    assert await store.write(["m f=1.0 1"]) == []


@pytest.mark.parametrize("status", [429, 503])
async def test_retry_after_is_heard(store: InfluxStore, server: FakeServer, status: int) -> None:
    server.answers = [answer(status, "slower", **{"Retry-After": "7"})]

    with pytest.raises(StoreError) as caught:
        await store.write(["m f=1.0 1"])

    assert caught.value.retry_after_s == 7.0


async def test_a_post_that_is_too_large_is_split(store: InfluxStore, server: FakeServer) -> None:
    server.answers = [answer(413, "too large")]

    assert await store.write([f"m f={number}.0 1" for number in range(4)]) == []

    assert [len(lines) for _, lines in server.posts] == [4, 2, 2]


async def test_a_page_of_a_proxy_is_told_in_short(store: InfluxStore, server: FakeServer) -> None:
    server.answers = [web.Response(status=502, text="<html>" + "x" * 10_000)]

    with pytest.raises(StoreError, match="HTTP 502: <html>x") as caught:
        await store.write(["m f=1.0 1"])

    assert len(str(caught.value)) < 1_000


async def test_a_redirect_is_not_followed(store: InfluxStore, server: FakeServer) -> None:
    server.answers = [web.Response(status=302, headers={"Location": f"{server.url}/elsewhere"})]

    with pytest.raises(StoreError, match="HTTP 302"):
        await store.write(["m f=1.0 1"])


async def test_a_server_that_is_away_is_an_error_to_retry() -> None:
    store = InfluxStore(
        InfluxAddress("http://127.0.0.1:9", "decice", "twin"), settings_of("http://127.0.0.1:9"), {}
    )

    with pytest.raises(StoreError, match="cannot be reached"):
        await store.write(["m f=1.0 1"])

    await store.close()


async def test_buckets_and_task_are_made_once(store: InfluxStore, server: FakeServer) -> None:
    assert server.buckets == {"twin": 7 * 86_400, "twin_5m": 365 * 86_400}
    assert len(server.tasks) == 1
    server.tasks[0]["flux"] = server.tasks[0]["flux"].replace("-1h", "-15m")
    server.tasks.append(server.tasks[0] | {"id": "f" * 16})
    again = InfluxStore(parse_address(f"influxdb+{server.url}/decice/twin"), settings_of(server.url), {})

    await again.prepare()

    assert len(server.tasks) == 1
    assert "range(start: -1h)" in server.tasks[0]["flux"]
    await again.close()


async def test_the_retention_of_a_bucket_that_is_there_stays(server: FakeServer) -> None:
    server.buckets = {"twin": 0}
    settings = settings_of(server.url, history_retention_d=1, history_downsampled_retention_d=0)
    store = InfluxStore(parse_address(f"influxdb+{server.url}/decice/twin"), settings, {})

    with structlog.testing.capture_logs() as logs:
        await store.prepare()

    assert server.buckets == {"twin": 0, "twin_5m": 0}
    assert [log["bucket"] for log in logs if log["log_level"] == "warning"] == ["twin"]
    await store.close()


@pytest.mark.parametrize("status", [401, 403])
async def test_a_token_that_may_only_write_is_enough(server: FakeServer, status: int) -> None:
    server.refuses_set_up = status
    store = InfluxStore(parse_address(f"influxdb+{server.url}/decice/twin"), settings_of(server.url), {})

    with structlog.testing.capture_logs() as logs:
        assert await store.write(["m f=1.0 1"]) == []

    warnings = [log["event"] for log in logs if log["log_level"] == "warning"]
    assert len(warnings) == 3
    assert "influx bucket create" in warnings[0]
    assert not any(TOKEN in repr(log) for log in logs)
    await store.close()


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("", None), ("12", 12.0), ("soon", None), ("Wed, 21 Oct 2026 07:28:00 GMT", 60.0)],
)
def test_retry_after_is_seconds_or_a_date(text: str, seconds: float | None) -> None:
    now_s = 1_792_567_620.0

    assert retry_after_s({"Retry-After": text} if text else {}, now_s) == seconds


def test_a_date_that_is_past_means_now() -> None:
    assert retry_after_s({"Retry-After": "Wed, 21 Oct 2015 07:28:00 GMT"}, time.time()) == 0.0


@pytest.mark.parametrize(
    ("url", "address"),
    [
        ("influxdb+http://host:8086/decice/twin", InfluxAddress("http://host:8086", "decice", "twin")),
        ("influxdb+https://host/a%20b/c%2Fd", InfluxAddress("https://host", "a b", "c/d")),
        (
            "influxdb+https://host/behind/proxy/org/bucket/",
            InfluxAddress("https://host/behind/proxy", "org", "bucket"),
        ),
    ],
)
def test_addresses_are_read_from_the_url(url: str, address: InfluxAddress) -> None:
    assert parse_address(url) == address


@pytest.mark.parametrize(
    "url",
    [
        "influxdb+http://host:8086/decice",
        "influxdb+http:///decice/twin",
        f"influxdb+http://user:{TOKEN}@host/decice/twin",
        f"influxdb+http://host/decice/twin?token={TOKEN}",
        f"postgres://user:{TOKEN}@host/twin",
        "duckdb://host/path",
        "",
    ],
)
def test_a_url_that_cannot_work_is_refused_without_its_secrets(url: str) -> None:
    with pytest.raises(SettingsError, match="TWIN_HISTORY_URL") as caught:
        open_store(load_settings(history_url=url or None, history_token=TOKEN), {})

    assert TOKEN not in str(caught.value)


def test_a_token_and_a_ca_file_must_be_there(tmp_path: Any) -> None:
    url = "influxdb+http://host:8086/decice/twin"

    with pytest.raises(SettingsError, match="TWIN_HISTORY_TOKEN"):
        open_store(load_settings(history_url=url), {})
    with pytest.raises(SettingsError, match="TWIN_HISTORY_CA_FILE"):
        open_store(
            load_settings(history_url=url, history_token=TOKEN, history_ca_file=tmp_path / "none.pem"), {}
        )


def test_the_scheme_chooses_the_store(tmp_path: Any) -> None:
    influx = open_store(load_settings(history_url="influxdb+http://h:1/o/b", history_token=TOKEN), {})
    duck = open_store(load_settings(history_url=f"duckdb://{tmp_path}/history.duckdb"), {})

    assert (influx.label, duck.label) == (
        "InfluxDB at http://h:1, bucket b of o",
        f"DuckDB file {tmp_path}/history.duckdb",
    )
