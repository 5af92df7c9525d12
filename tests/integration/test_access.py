"""Who may do what, over HTTP: keys that see some worlds and kinds, tokens, limits, the audit log."""

import json
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
import yaml
from structlog.testing import capture_logs

from streams.settings import Settings
from streams.web.access.config import hash_of
from tests.factories import NOW_MS, make_state
from tests.history_model import STEP_MS
from tests.historyfile import fill
from tests.integration.test_worlds import fault_record, world_record
from tests.oidcissuer import AUDIENCE, make_token, public_jwk, rsa_key, running_issuer
from tests.services.roles import Role
from tests.statewriter import StateWriter
from tests.webclient import Answer, Client, eventually, ids, other_client, ready, serving

FIRST_MS = int(time.time() * 1000 - 1_800_000) // 60_000 * 60_000
"""[ms since the epoch] The first tick of the past, half an hour ago."""

KEYS: list[dict[str, Any]] = [
    {"name": "all", "sha256": hash_of("alles"), "scopes": ["read", "events", "admin"]},
    {"name": "w1", "sha256": hash_of("eins"), "scopes": ["read", "events"], "worlds": ["w1"]},
    {
        "name": "links",
        "sha256": hash_of("kanten"),
        "scopes": ["read", "events"],
        "kinds": ["link", "node?ool"],
    },
    {"name": "admin", "sha256": hash_of("chef"), "scopes": ["admin"]},
]
LIVE_PATHS = (
    "/twin/v1/state",
    "/twin/v1/state?at=-1s",
    "/twin/v1/entities/node/ws01",
    "/twin/v1/entities/node/ws01?at=-1s",
    "/twin/v1/entities/node/ws01/history?metrics=cpu_usage_percent",
    "/twin/v1/entities/node/ws01/why?metric=cpu_usage_percent",
    "/twin/v1/history?kind=node",
    "/twin/v1/diff?from=-2s",
    "/twin/v1/latency?devices=d1",
    "/twin/v1/freshness",
    "/twin/v1/ledger",
    "/twin/v1/pipeline",
    "/twin/v1/documents/appendix-a",
    "/twin/v1/documents/decice-v2",
    *(f"/api/v2/{name}" for name in ("model_core", "nodes", "links", "jobs", "settings", "past_snapshots")),
    "/api/v2/past_snapshots/-1s",
)
NEEDS_ALL_KINDS = (
    "/twin/v1/ledger",
    "/twin/v1/latency?devices=d1",
    "/twin/v1/documents/appendix-a",
    "/twin/v1/documents/decice-v2",
    *(f"/api/v2/{name}" for name in ("model_core", "nodes", "links", "jobs", "past_snapshots")),
    "/api/v2/past_snapshots/-1s",
)


@pytest.fixture(scope="module")
def history(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file with the past of live."""
    path = tmp_path_factory.mktemp("history") / "history.duckdb"
    fill(path, FIRST_MS)
    return path


@pytest.fixture
def closed(settings: Settings, tmp_path: Path, history: Path) -> Settings:
    """Settings with keys, and a history."""
    path = tmp_path / "twin.yaml"
    path.write_text(yaml.safe_dump({"access": {"keys": KEYS, "rate": {"per_s": 1_000, "burst": 1_000}}}))
    return settings.model_copy(update={"config": path, "history_url": f"duckdb://{history}"})


@pytest_asyncio.fixture
async def clients(closed: Settings) -> AsyncIterator[dict[str, Client]]:
    """A client for each key, and one without; live has a node and a link, and there are worlds."""
    async with AsyncExitStack() as stack:
        writer = await stack.enter_async_context(StateWriter(closed))
        await writer.put(
            make_state(id="ws01"),
            make_state(kind="link", id="1~2"),
            make_state(kind="nodepool", id="1"),
            world_record("w1"),
            make_state(world="w1", id="secret01", simulated=True),
            world_record("w2"),
            world_record("live~o"),
            fault_record(
                "live~o", "0", fault="f1", kind="node_down", entities=[["node", "ws01"], ["link", "1~2"]]
            ),
        )
        known = await stack.enter_async_context(serving(closed, "alles"))
        await ready(known)
        found = {"all": known, "nobody": await stack.enter_async_context(other_client(known))}
        for name, key in (("w1", "eins"), ("links", "kanten"), ("admin", "chef")):
            found[name] = await stack.enter_async_context(other_client(known, key))
        yield found


def worlds_of(answer: Answer) -> list[str]:
    return [world["name"] for world in answer.json["worlds"]]


async def test_without_a_key_there_is_nothing(clients: dict[str, Client]) -> None:
    for path in (*LIVE_PATHS, "/twin/v1/worlds", "/twin/v1/schemas", "/subjects", "/docs", "/openapi.json"):
        answer = await clients["nobody"].get(path)
        assert (path, answer.status) == (path, 401)
        assert b"31.2" not in answer.body
    assert (await clients["nobody"].get("/health/live")).status == 200
    assert (await clients["nobody"].get("/metrics")).status == 200


async def test_admin_alone_reads_nothing(clients: dict[str, Client]) -> None:
    for path in (*LIVE_PATHS, "/twin/v1/worlds", "/subjects", "/docs"):
        assert (path, (await clients["admin"].get(path)).status) == (path, 403)
    assert (await clients["admin"].get("/twin/v1/deadletters")).status == 200
    assert (await clients["w1"].get("/twin/v1/deadletters")).status == 403


async def test_a_world_that_is_not_seen_is_not_there(clients: dict[str, Client]) -> None:
    for path in LIVE_PATHS:
        answer = await clients["w1"].get(path)
        assert (path, answer.status, answer.json["type"]) == (path, 404, "urn:decice-twin:unknown-world")
        assert "there is w1" in answer.json["detail"]
        assert b"w2" not in answer.body
        assert b"live~o" not in answer.body
    hidden = await clients["w1"].get("/twin/v1/state?world=w2")
    absent = await clients["w1"].get("/twin/v1/state?world=w3")
    assert hidden.body.replace(b"w2", b"w3") == absent.body
    assert ids(await clients["w1"].get("/twin/v1/state?world=w1&kind=node")) == ["secret01"]


async def test_worlds_are_listed_as_far_as_they_are_seen(clients: dict[str, Client]) -> None:
    assert worlds_of(await clients["all"].get("/twin/v1/worlds", "worlds")) == ["live", "live~o", "w1", "w2"]
    assert worlds_of(await clients["w1"].get("/twin/v1/worlds", "worlds")) == ["w1"]

    def counts(answer: Answer) -> list[tuple[int, list[int]]]:
        return [
            (world["entities"], [fault["entities"] for fault in world["faults"]])
            for world in answer.json["worlds"]
        ]

    assert counts(await clients["all"].get("/twin/v1/worlds")) == [(3, []), (3, [2]), (1, []), (0, [])]
    assert counts(await clients["links"].get("/twin/v1/worlds")) == [(2, []), (2, [1]), (0, []), (0, [])]


async def test_entities_of_other_kinds_are_not_there(clients: dict[str, Client]) -> None:
    some = clients["links"]
    whole = await clients["all"].get("/twin/v1/state", "state")
    part = await some.get("/twin/v1/state", "state")

    assert ids(whole) == ["1~2", "ws01", "1"]
    assert ids(part) == ["1~2", "1"]
    assert part.headers["ETag"] != whole.headers["ETag"]
    for path in ("/twin/v1/state?kind=node", "/twin/v1/entities/node/ws01", "/twin/v1/history?kind=node"):
        answer = await some.get(path)
        assert (path, answer.status, answer.json["type"]) == (path, 404, "urn:decice-twin:unknown-kind")
        assert answer.json["detail"] == "there is no kind 'node': kinds are nodepool, link"
    for below in ("/why?metric=cpu_usage_percent&at=-1s", "/why?metric=cpu_usage_percent", "/history"):
        assert (await some.get(f"/twin/v1/entities/node/ws01{below}")).status == 404
    assert ids(await some.get("/twin/v1/state?id=ws01")) == []
    assert (await some.get("/twin/v1/entities/link/1~2", "entity")).status == 200
    kinds = (await some.get("/twin/v1/freshness", "freshness")).json["kinds"]
    assert [kind["kind"] for kind in kinds] == ["link", "nodepool"]


async def test_the_past_has_no_other_kinds_either(clients: dict[str, Client]) -> None:
    at = f"at={FIRST_MS + 6 * STEP_MS}"

    async def kinds(who: str, path: str, list: str) -> set[str]:
        answer = await clients[who].get(path)
        assert answer.status == 200, answer
        return {one["kind"] for one in answer.json[list]}

    history = f"/twin/v1/history?start={FIRST_MS}&end={FIRST_MS + 10 * STEP_MS}"
    difference = f"/twin/v1/diff?from={FIRST_MS - STEP_MS}&to={FIRST_MS + 6 * STEP_MS}"
    for path, list in (
        (history, "series"),
        (f"{history}&every=1m&group_by=kind", "series"),
        (f"/twin/v1/state?{at}", "entities"),
        (difference, "added"),
    ):
        assert {"node", "nodepool"} <= await kinds("all", path, list), path
        assert {"nodepool"} <= await kinds("links", path, list) <= {"nodepool", "link"}, path
    marks = [(await clients[who].get(f"/twin/v1/state?{at}")).headers["ETag"] for who in ("all", "links")]
    assert marks[0] != marks[1]


async def test_what_needs_all_kinds_is_refused(clients: dict[str, Client]) -> None:
    for path in NEEDS_ALL_KINDS:
        answer = await clients["links"].get(path)
        assert (path, answer.status, answer.json["type"]) == (path, 403, "urn:decice-twin:forbidden")


def event(type: str, world: str, **body: Any) -> dict[str, Any]:
    return {"type": type, "world": world, "body": body}


NODES = {"entities": [{"kind": "node", "id": "ws01"}]}


@pytest.mark.parametrize(
    ("who", "document", "status"),
    [
        ("all", event("entity.set", "w1", **NODES), 202),
        ("w1", event("entity.set", "w1", **NODES), 202),
        ("w1", event("entity.set", "w2", **NODES), 403),
        ("w1", event("collect.now", "live", sources=[]), 403),
        ("w1", event("world.create", "w1x", owner="me"), 403),
        ("w1", [event("entity.set", "w1", **NODES), event("entity.set", "w2", **NODES)], 403),
        ("links", event("entity.set", "w1", **NODES), 403),
        ("links", event("entity.remove", "live~o", **NODES), 403),
        ("links", event("fault.stop", "live~o", fault="f1"), 403),
        ("links", event("world.drop", "w1"), 403),
        ("links", event("fault.start", "live~o", kind="link_down", selector={"kind": "link"}), 202),
        ("admin", event("entity.set", "w1", **NODES), 403),
        ("nobody", event("entity.set", "w1", **NODES), 401),
    ],
)
async def test_events_reach_only_what_their_sender_sees(
    clients: dict[str, Client], who: str, document: Any, status: int
) -> None:
    answer = await clients[who].post("/twin/v1/events", document)

    assert answer.status == status, answer.body


async def test_snapshots_need_live_and_all_kinds(clients: dict[str, Client]) -> None:
    for who, status in (("w1", 403), ("links", 403), ("nobody", 401), ("all", 201)):
        snapshot = {"lastUpdated": NOW_MS / 1000, "vertexpools": []}
        assert (await clients[who].post("/api/v2/model_core", snapshot)).status == status
    for who, status in (("w1", 404), ("links", 403), ("nobody", 401)):
        assert (await clients[who].post("/pool", {})).status == status
    wanted = {"time_range": {"start": "-1h"}, "measurement": "m", "bucket": "b"}
    for who, status in (("w1", 403), ("links", 403), ("nobody", 401), ("admin", 403)):
        assert (await clients[who].post("/api/timeseries/read_record/", wanted)).status == status


async def test_a_write_is_in_the_audit_log_with_what_it_touches(clients: dict[str, Client]) -> None:
    with capture_logs() as logs:
        sent = [event("entity.set", "w1", **NODES), event("world.create", "w9", owner="me")]
        await clients["all"].post("/twin/v1/events", sent)
        await clients["w1"].post("/twin/v1/events", sent)
        await clients["all"].post("/api/v2/model_core?source=copy", {"lastUpdated": 1, "vertexpools": []})

    found = [line for line in logs if line["event"] == "audit"]
    assert [(line["who"], line["path"], line["status"]) for line in found] == [
        ("all", "/twin/v1/events", 202),
        ("w1", "/twin/v1/events", 403),
        ("all", "/api/v2/model_core", 201),
    ]
    assert (found[0]["worlds"], found[0]["kinds"], found[0]["events"]) == (["w1", "w9"], {"node": 1}, 2)
    assert (found[2]["worlds"], found[2]["source"], found[2]["client"]) == (["live"], "copy", "127.0.0.1")
    assert not any(key in json.dumps(logs, default=str) for key in ("alles", "eins"))


async def test_tokens_of_an_issuer_are_taken(settings: Settings, tmp_path: Path) -> None:
    key = rsa_key()
    async with running_issuer() as issuer:
        issuer.keys = [public_jwk(key, "k1")]
        path = tmp_path / "twin.yaml"
        oidc = {"issuer": issuer.url, "audience": AUDIENCE}
        path.write_text(yaml.safe_dump({"access": {"oidc": oidc, "keys": KEYS[:1]}}))
        async with serving(
            settings.model_copy(update={"config": path}), make_token(issuer.url, key)
        ) as known:
            await ready(known)
            async with (
                other_client(known, make_token(issuer.url, rsa_key())) as forged,
                other_client(known, make_token(issuer.url, key, exp=int(time.time()) - 300)) as late,
                other_client(known, "alles") as plain,
            ):
                answers = [await client.get("/twin/v1/state") for client in (known, forged, late, plain)]
                sent = await known.post("/twin/v1/events", event("collect.now", "live", sources=[]))
                issuer.status = 500
                again = await known.get("/twin/v1/state")

    assert [answer.status for answer in answers] == [200, 401, 401, 200]
    assert (sent.status, again.status) == (403, 200)
    assert 'error="invalid_token"' in answers[1].headers["WWW-Authenticate"]


async def test_what_is_sent_in_pieces_is_measured_too(clients: dict[str, Client]) -> None:
    async def pieces() -> AsyncIterator[bytes]:
        for _ in range(20):
            yield b"x" * 100_000

    client = clients["all"]
    headers = {"Content-Type": "application/json"}
    url = f"{client.url}/api/timeseries/read_record/"
    async with client.session.post(url, data=pieces(), headers=headers) as response:
        assert response.status == 413
        assert (await response.json())["type"] == "urn:decice-twin:too-large"


async def test_a_web_role_with_keys_serves_all_and_writes_no_key_down(
    closed: Settings, tmp_path: Path
) -> None:
    log = tmp_path / "web.log"
    role = Role("web", closed, log, {"TWIN_WEB_HOST": "0.0.0.0", "TWIN_INTERNAL_API_KEY": "intern-geheim"})
    await role.start()
    try:
        await role.ready()
        async with StateWriter(closed) as writer:
            await writer.put(make_state(id="ws01"))
        async with AsyncExitStack() as stack:
            base = Client(f"http://127.0.0.1:{role.port}", None, {})  # type: ignore[arg-type]  # replaced
            known = await stack.enter_async_context(other_client(base, "intern-geheim"))
            nobody = await stack.enter_async_context(other_client(base))
            known.schemas = nobody.schemas = (await known.get("/twin/v1/schemas")).json["schemas"]
            await eventually(known, "/twin/v1/entities/node/ws01", lambda answer: answer.status == 200)
            bare = await nobody.session.get(f"{base.url}/twin/v1/state")
            wrong = await nobody.session.post(
                f"{base.url}/pool", headers={"X-Internal-Api-Key": "falsch-geheim"}
            )
            sent = await known.post("/twin/v1/events", event("collect.now", "live", sources=[]))
    finally:
        await role.close()

    assert (bare.status, wrong.status, sent.status) == (401, 401, 202)
    assert "Server" not in bare.headers
    lines = [json.loads(line) for line in log.read_text().splitlines() if line.startswith("{")]
    audit = [line for line in lines if line["event"] == "audit"]
    assert [(line["who"], line["status"], line["level"]) for line in audit] == [
        ("unknown", 401, "info"),
        ("internal", 202, "info"),
    ]
    assert "geheim" not in log.read_text()
