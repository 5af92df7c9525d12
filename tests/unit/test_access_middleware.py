"""What stands before the API and the pages: the whole of it, without a server."""

from collections.abc import Callable
from typing import Any

import pytest
from fastapi import Depends, FastAPI, Request, WebSocket
from fastapi.responses import HTMLResponse, StreamingResponse
from structlog.testing import capture_logs

from streams.web.access import login
from streams.web.access.access import Access
from streams.web.access.audit import note_touched
from streams.web.access.config import AccessConfig, hash_of
from streams.web.access.headers import API_POLICY, PAGE_POLICY
from streams.web.access.middleware import AccessMiddleware
from streams.web.access.paths import MIB
from streams.web.access.principal import principal_of
from streams.web.access.require import require
from streams.web.access.session import LASTS_S
from streams.web.problems import add_problem_handlers
from tests.asgi import Answer, ask, open_socket

OWN = {"origin": "http://127.0.0.1:8010"}
READER = {"authorization": "Bearer lesen"}
SENDER = {"x-internal-api-key": "senden"}
HTML = {"accept": "text/html,*/*"}

KEYS = [
    {"name": "reader", "sha256": hash_of("lesen"), "scopes": ["read"]},
    {"name": "sender", "sha256": hash_of("senden"), "scopes": ["events"]},
    {"name": "old", "sha256": hash_of("alt"), "scopes": ["read"], "expires": "2020-01-01"},
]


class Clock:
    now_s = 1_795_000_000.0


def make_app(clock: Clock | None = None, **access: Any) -> FastAPI:
    clock = clock or Clock()
    app = FastAPI(openapi_url=None)
    app.state.access = Access(AccessConfig.model_validate(access), "127.0.0.1", lambda: clock.now_s)
    app.add_middleware(AccessMiddleware, access=app.state.access)
    add_problem_handlers(app)
    app.include_router(login.router)

    @app.get("/twin/v1/state", dependencies=[Depends(require("read"))])
    async def state(request: Request) -> dict[str, str]:
        return {"who": principal_of(request).name}

    @app.post("/twin/v1/events", dependencies=[Depends(require("events"))])
    async def events(request: Request) -> dict[str, int]:
        note_touched(request, ["w2", "w1", "w1"], ["node", "link", "node"])
        return {"size": len(await request.body())}

    @app.post("/twin/v1/few", dependencies=[Depends(require("events"))])
    async def few(request: Request) -> dict[str, int]:
        return {"size": len(await request.body())}

    @app.post("/twin/v1/raw", dependencies=[Depends(require("events"))])
    async def raw(request: Request) -> dict[str, int]:
        return {"size": sum([len(chunk) async for chunk in request.stream()])}

    @app.get("/twin/v1/bug", dependencies=[Depends(require("read"))])
    async def bug() -> None:
        raise RuntimeError("geheimer Grund")

    @app.get("/twin/v1/half", dependencies=[Depends(require("read"))])
    async def half() -> StreamingResponse:
        async def body() -> Any:
            yield b"half"
            raise RuntimeError("geheimer Grund")

        return StreamingResponse(body())

    @app.get("/")
    async def page() -> HTMLResponse:
        return HTMLResponse("<p>page", headers={"Server": "secret/1.0"})

    @app.get("/health/live")
    async def health() -> dict[str, str]:
        return {}

    @app.websocket("/twin/v1/stream")
    async def stream(websocket: WebSocket) -> None:
        await websocket.accept()
        await websocket.send_text(principal_of(websocket).name)

    return app


@pytest.fixture
def closed() -> FastAPI:
    return make_app(keys=KEYS)


@pytest.fixture
def local() -> FastAPI:
    return make_app()


async def log_in(app: FastAPI, key: str, next: str = "/", **options: Any) -> Answer:
    headers = {"content-type": "application/x-www-form-urlencoded", **OWN, **options.pop("headers", {})}
    return await ask(app, "POST", "/login", headers, [f"key={key}&next={next}".encode()], **options)


async def cookie_of(app: FastAPI, key: str) -> dict[str, str]:
    answer = await log_in(app, key)
    return {"cookie": answer.headers["set-cookie"].partition(";")[0]}


# -- without keys


async def test_without_keys_this_machine_may_all(local: FastAPI) -> None:
    assert (await ask(local, "GET", "/twin/v1/state")).json == {"who": "local"}
    assert (await ask(local, "GET", "/twin/v1/state", READER)).json == {"who": "local"}
    assert (await ask(local, "POST", "/twin/v1/events")).status == 200
    assert (await ask(local, "GET", "/")).status == 200


async def test_without_keys_no_other_name_is_answered(local: FastAPI) -> None:
    for path in ("/twin/v1/state", "/"):
        assert (await ask(local, "GET", path, {"host": "evil.example:8010"})).problem == "wrong-host"
    assert (await ask(local, "GET", "/health/live", {"host": "pod-1:8010"})).status == 200


async def test_without_keys_no_page_of_another_site_sends_anything(local: FastAPI) -> None:
    evil = {"origin": "https://evil.example"}

    assert (await ask(local, "POST", "/twin/v1/events", evil)).problem == "forbidden"
    assert (await ask(local, "POST", "/twin/v1/events", OWN)).status == 200
    assert (await ask(local, "GET", "/twin/v1/state", evil)).status == 200
    assert (await open_socket(local, "/twin/v1/stream", evil))[0]["status"] == 403
    assert (await open_socket(local, "/twin/v1/stream", OWN))[0]["type"] == "websocket.accept"
    assert (await open_socket(local, "/twin/v1/stream"))[0]["type"] == "websocket.accept"


async def test_without_keys_nobody_is_slowed_down(local: FastAPI) -> None:
    answers = [await ask(local, "GET", "/twin/v1/state") for _ in range(400)]

    assert {answer.status for answer in answers} == {200}


# -- with keys


async def test_a_key_is_taken_from_either_header(closed: FastAPI) -> None:
    for headers in (READER, {"authorization": "bearer  lesen"}, {"x-internal-api-key": "lesen"}):
        assert (await ask(closed, "GET", "/twin/v1/state", headers)).json == {"who": "reader"}


async def test_no_key_is_401_and_says_how(closed: FastAPI) -> None:
    answer = await ask(closed, "GET", "/twin/v1/state")

    assert (answer.status, answer.problem) == (401, "no-key")
    assert answer.headers["www-authenticate"] == 'Bearer realm="twin"'
    assert "Authorization: Bearer" in answer.json["detail"]


@pytest.mark.parametrize(
    ("headers", "problem"),
    [
        ({"authorization": "Bearer falsch"}, "wrong-key"),
        ({"authorization": "Bearer "}, "wrong-key"),
        ({"authorization": "Basic bGVzZW4="}, "wrong-key"),
        ({"authorization": "lesen"}, "wrong-key"),
        ({"x-internal-api-key": "falsch"}, "wrong-key"),
        ({"x-internal-api-key": ""}, "wrong-key"),
        ({"authorization": "Bearer falsch", "x-internal-api-key": "lesen"}, "wrong-key"),
        ({"authorization": "Bearer alt"}, "expired-key"),
        ({"authorization": "Bearer a.b.c"}, "wrong-key"),
        ({"authorization": f"Bearer {hash_of('lesen')}"}, "wrong-key"),
    ],
)
async def test_a_wrong_key_is_401(closed: FastAPI, headers: dict[str, str], problem: str) -> None:
    answer = await ask(closed, "GET", "/twin/v1/state", headers)

    assert (answer.status, answer.problem) == (401, problem)
    assert "invalid_" in answer.headers["www-authenticate"]
    assert "lesen" not in answer.body.decode()
    assert "falsch" not in answer.body.decode()


async def test_a_scope_that_is_missing_is_403(closed: FastAPI) -> None:
    assert (await ask(closed, "GET", "/twin/v1/state", SENDER)).problem == "forbidden"
    assert (await ask(closed, "POST", "/twin/v1/events", READER)).problem == "forbidden"
    assert (await ask(closed, "GET", "/", SENDER)).problem == "forbidden"
    assert (await ask(closed, "POST", "/twin/v1/events", SENDER)).status == 200


async def test_what_anonymous_may_needs_no_key() -> None:
    app = make_app(keys=KEYS, anonymous=["read"])

    assert (await ask(app, "GET", "/twin/v1/state")).json == {"who": "anonymous"}
    assert (await ask(app, "GET", "/twin/v1/state", {"host": "twin.example"})).status == 200
    assert (await ask(app, "POST", "/twin/v1/events")).status == 401
    assert (await ask(app, "GET", "/twin/v1/state", {"authorization": "Bearer falsch"})).status == 401


async def test_probes_need_no_key(closed: FastAPI) -> None:
    assert (await ask(closed, "GET", "/health/live")).status == 200
    assert (await ask(closed, "GET", "/health/live", {"authorization": "Bearer falsch"})).status == 200


@pytest.mark.parametrize("can_deny", [True, False])
async def test_a_websocket_needs_a_key(closed: FastAPI, can_deny: bool) -> None:
    refused = await open_socket(closed, "/twin/v1/stream", can_deny=can_deny)
    other = await open_socket(closed, "/twin/v1/stream", SENDER, can_deny=can_deny)
    taken = await open_socket(closed, "/twin/v1/stream", READER, can_deny=can_deny)

    assert refused[0] == {"type": "websocket.close", "code": 1008} or refused[0]["status"] == 401
    assert other[0] == {"type": "websocket.close", "code": 1008} or other[0]["status"] == 403
    assert [message["type"] for message in taken] == ["websocket.accept", "websocket.send"]
    assert taken[1]["text"] == "reader"


# -- pages and the login


async def test_people_are_led_to_the_login_and_back(closed: FastAPI) -> None:
    first = await ask(closed, "GET", "/?world=live~a&at=-5m", HTML)

    assert (first.status, first.headers["location"]) == (303, "/login?next=%2F%3Fworld%3Dlive~a%26at%3D-5m")
    form = await ask(closed, "GET", first.headers["location"], HTML)
    assert 'name="next" value="/?world=live~a&amp;at=-5m"' in form.body.decode()
    entered = await log_in(closed, "lesen", "%2F%3Fworld%3Dlive~a")
    assert (entered.status, entered.headers["location"]) == (303, "/?world=live~a")
    cookie = {"cookie": f"other=1; {entered.headers['set-cookie'].partition(';')[0]}"}
    assert (await ask(closed, "GET", "/", {**HTML, **cookie})).status == 200
    assert (await ask(closed, "GET", "/twin/v1/state", cookie)).json == {"who": "reader"}
    assert (await ask(closed, "GET", "/login", {**HTML, **cookie})).status == 303


async def test_programs_are_not_led_anywhere(closed: FastAPI) -> None:
    assert (await ask(closed, "GET", "/")).status == 401
    assert (await ask(closed, "GET", "/", {**HTML, "authorization": "Bearer falsch"})).status == 401
    assert (await ask(closed, "POST", "/twin/v1/events", HTML)).status == 401


@pytest.mark.parametrize("key", ["falsch", "alt", "", "%FF%FE", "ü"])
async def test_a_wrong_key_logs_nobody_in(closed: FastAPI, key: str) -> None:
    answer = await log_in(closed, key)

    assert answer.status == 401
    assert 'role="alert"' in answer.body.decode()
    assert "set-cookie" not in answer.headers


@pytest.mark.parametrize(
    "next", ["//evil.example", "https://evil.example", "/%5Cevil.example", "%5C%5Ce", "/%0Da", ""]
)
async def test_the_login_leads_nowhere_else(closed: FastAPI, next: str) -> None:
    assert (await log_in(closed, "lesen", next)).headers["location"] == "/"
    assert b"evil" not in (await ask(closed, "GET", f"/login?next={next}")).body


async def test_what_next_says_is_text(closed: FastAPI) -> None:
    answer = await ask(closed, "GET", "/login?next=/%22%3E%3Cscript%3E")

    assert b"<script" not in answer.body
    assert "script" not in answer.headers["content-security-policy"]


async def test_another_site_cannot_log_anybody_in(closed: FastAPI) -> None:
    assert (await log_in(closed, "lesen", headers={"origin": "https://evil.example"})).status == 403
    assert (await log_in(closed, "lesen", headers={"content-type": "text/plain"})).status == 415


async def test_a_cookie_is_for_https_where_the_page_is(closed: FastAPI) -> None:
    headers = {"origin": "https://127.0.0.1:8010"}

    assert "Secure" in (await log_in(closed, "lesen", headers=headers, scheme="https")).headers["set-cookie"]
    assert "Secure" not in (await log_in(closed, "lesen")).headers["set-cookie"]


async def test_a_session_ends() -> None:
    clock = Clock()
    app = make_app(clock, keys=KEYS)
    cookie = await cookie_of(app, "lesen")

    clock.now_s += LASTS_S + 1

    assert (await ask(app, "GET", "/", {**HTML, **cookie})).headers["location"].startswith("/login")
    assert (await ask(app, "GET", "/twin/v1/state", cookie)).status == 401


async def test_logging_out_takes_the_cookie_away(closed: FastAPI) -> None:
    answer = await ask(closed, "POST", "/logout", {**await cookie_of(closed, "lesen"), **OWN})

    assert (answer.status, answer.headers["location"]) == (303, "/login")
    assert "Max-Age=0" in answer.headers["set-cookie"]


async def test_a_cookie_changes_something_only_from_the_own_page(closed: FastAPI) -> None:
    cookie = await cookie_of(closed, "senden")

    for headers, status in (
        ({}, 403),
        ({"origin": "null"}, 403),
        ({"origin": "http://evil"}, 403),
        (OWN, 200),
    ):
        assert (await ask(closed, "POST", "/twin/v1/events", {**cookie, **headers})).status == status
    reader = await cookie_of(closed, "lesen")
    assert (await open_socket(closed, "/twin/v1/stream", reader))[0]["status"] == 403
    assert (await open_socket(closed, "/twin/v1/stream", reader | OWN))[0]["type"] == "websocket.accept"


async def test_without_keys_there_is_no_login(local: FastAPI) -> None:
    assert (await ask(local, "GET", "/login?next=/x", HTML)).headers["location"] == "/x"
    assert (await log_in(local, "egal")).headers["location"] == "/"


# -- how much and how often


@pytest.mark.parametrize("path", ["/twin/v1/few", "/twin/v1/raw"])
@pytest.mark.parametrize("is_said", [True, False])
async def test_a_body_that_is_too_large_is_refused(closed: FastAPI, path: str, is_said: bool) -> None:
    said = {"content-length": str(MIB + 1)} if is_said else {"transfer-encoding": "chunked"}

    answer = await ask(closed, "POST", path, SENDER | said, [b"x" * MIB, b"x"])

    assert (answer.status, answer.problem) == (413, "too-large")
    assert answer.headers["x-content-type-options"] == "nosniff"


@pytest.mark.parametrize("path", ["/twin/v1/few", "/twin/v1/raw"])
async def test_a_body_at_the_limit_is_taken(closed: FastAPI, path: str) -> None:
    answer = await ask(closed, "POST", path, SENDER, [b"x" * (MIB - 1), b"x"])

    assert answer.json == {"size": MIB}


async def test_a_larger_one_is_taken_where_batches_go(closed: FastAPI) -> None:
    assert (await ask(closed, "POST", "/twin/v1/events", SENDER, [b"x" * MIB] * 8)).status == 200
    assert (await ask(closed, "POST", "/twin/v1/events", SENDER, [b"x" * MIB] * 9)).status == 413


async def test_who_asks_too_often_waits() -> None:
    app = make_app(keys=KEYS, rate={"per_s": 0.001, "burst": 3})

    answers = [await ask(app, "GET", "/twin/v1/state", READER) for _ in range(4)]

    assert [answer.status for answer in answers] == [200, 200, 200, 429]
    assert answers[-1].headers["retry-after"] == "1000"
    assert answers[-1].problem == "too-many-requests"
    assert (await ask(app, "GET", "/twin/v1/state", SENDER)).status == 403
    assert (await ask(app, "GET", "/health/live", READER)).status == 200


async def test_wrong_keys_are_tried_only_so_often_from_an_address() -> None:
    app = make_app(keys=KEYS, rate={"per_s": 0.001, "burst": 3})

    async def status(path: str, client: str, **headers: str) -> int:
        return (await ask(app, "GET", path, headers, client=client)).status

    tries = [await status("/twin/v1/state", "192.0.2.1", authorization=f"Bearer {n}") for n in range(5)]

    assert tries == [401, 401, 401, 429, 429]
    assert await status("/login", "192.0.2.1") == 429
    assert await status("/login", "192.0.2.2") == 200
    assert await status("/twin/v1/state", "192.0.2.1", **READER) == 200


# -- what answers say


@pytest.mark.parametrize(
    "path", ["/twin/v1/state", "/", "/nowhere", "/health/live", "/twin/v1/bug", "/login"]
)
@pytest.mark.parametrize("headers", [{}, READER])
async def test_every_answer_is_secured(closed: FastAPI, path: str, headers: dict[str, str]) -> None:
    answer = await ask(closed, "GET", path, headers)

    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["x-frame-options"] == "DENY"
    assert answer.headers["referrer-policy"] == "same-origin"
    assert "frame-ancestors 'none'" in answer.headers["content-security-policy"]
    assert "server" not in answer.headers


async def test_only_pages_may_run_anything(closed: FastAPI) -> None:
    assert (await ask(closed, "GET", "/", READER)).headers["content-security-policy"] == PAGE_POLICY
    assert (await ask(closed, "GET", "/twin/v1/state", READER)).headers[
        "content-security-policy"
    ] == API_POLICY
    assert "'none'" in API_POLICY
    assert "*" not in PAGE_POLICY
    assert "http" not in PAGE_POLICY


async def test_a_bug_says_nothing_of_itself(closed: FastAPI) -> None:
    answer = await ask(closed, "GET", "/twin/v1/bug", READER)

    assert (answer.status, answer.problem) == (500, "internal-error")
    assert b"geheim" not in answer.body
    assert b"Traceback" not in answer.body


async def test_an_answer_that_was_begun_is_not_begun_again(closed: FastAPI) -> None:
    answer = await ask(closed, "GET", "/twin/v1/half", READER)

    assert (answer.status, answer.body) == (200, b"half")


# -- the audit log


async def lines(what: Callable[[], Any]) -> list[dict[str, Any]]:
    with capture_logs() as logs:
        await what()
    return [{name: value for name, value in line.items() if name != "log_level"} for line in logs]


async def test_a_write_is_one_line_that_says_what_was_touched(closed: FastAPI) -> None:
    found = await lines(
        lambda: ask(closed, "POST", "/twin/v1/events?dry_run=true", SENDER, client="192.0.2.7")
    )

    assert found == [
        {
            "event": "audit", "who": "sender", "way": "key", "method": "POST", "path": "/twin/v1/events",
            "status": 200, "client": "192.0.2.7", "worlds": ["w1", "w2"], "kinds": {"link": 1, "node": 2},
        }
    ]  # fmt: skip


async def test_what_was_refused_is_written_down_too(closed: FastAPI) -> None:
    wrong = {"authorization": "Bearer falsch"}

    found = await lines(lambda: ask(closed, "POST", "/twin/v1/events", wrong))
    found += await lines(lambda: ask(closed, "POST", "/twin/v1/events", READER))
    found += await lines(lambda: log_in(closed, "falsch"))
    found += await lines(lambda: log_in(closed, "lesen"))

    assert [(line["who"], line["status"], line.get("login")) for line in found] == [
        *(("unknown", 401, None), ("reader", 403, None)),
        *(("anonymous", 401, None), ("anonymous", 303, "reader")),
    ]
    assert "falsch" not in str(found)
    assert "lesen" not in str(found)


async def test_reading_is_not_written_down(closed: FastAPI) -> None:
    found = await lines(lambda: ask(closed, "GET", "/twin/v1/state", READER))
    found += await lines(lambda: ask(closed, "POST", "/api/v2/timeseries/read_record/", READER))

    assert found == []


async def test_a_path_breaks_no_line(closed: FastAPI) -> None:
    (line,) = await lines(lambda: ask(closed, "POST", "/twin/v1/%0Aaudit%20who=me", SENDER))

    assert line["path"] == "/twin/v1/%0Aaudit%20who=me"


async def test_a_bug_in_a_write_is_written_down(closed: FastAPI) -> None:
    @closed.post("/twin/v1/worse", dependencies=[Depends(require("events"))])
    async def worse() -> None:
        raise RuntimeError

    (line,) = await lines(lambda: ask(closed, "POST", "/twin/v1/worse", SENDER))

    assert line["status"] == 500
