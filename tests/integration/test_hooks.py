"""Webhooks to a real receiver that fails, hangs, comes back, and checks signatures."""

import asyncio
import hmac
import json
import socket
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import yaml
from aiohttp import web

import streams.web.hooks.hosts
from streams.settings import Settings
from streams.web.access.config import hash_of
from tests.factories import make_state
from tests.statewriter import StateWriter
from tests.waiting import until
from tests.webclient import Answer, Client, eventually, other_client, ready, serving

pytestmark = pytest.mark.asyncio(loop_scope="session")

SECRET = "swordfish-9"
PATH = "/twin/v1/subscriptions"
KEYS = [
    {"name": "ops", "sha256": hash_of("k-ops"), "scopes": ["read", "events"]},
    {"name": "node", "sha256": hash_of("k-node"), "scopes": ["read", "events"], "kinds": ["node"]},
    {"name": "blind", "sha256": hash_of("k-blind"), "scopes": ["events"]},
    {"name": "boss", "sha256": hash_of("k-boss"), "scopes": ["events", "admin"]},
]


@dataclass
class Receiver:
    """Answers as it is told to: a status, or None to hang."""

    answer: int | None = 200
    url: str = ""
    times: list[float] = field(default_factory=list)
    numbers: list[str] = field(default_factory=list)
    taken: list[dict[str, Any]] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)

    async def post(self, request: web.Request) -> web.StreamResponse:
        body = await request.read()
        stamp = dict(part.split("=") for part in request.headers["Twin-Signature"].split(","))
        expected = hmac.new(SECRET.encode(), f"{stamp['t']}.".encode() + body, "sha256").hexdigest()
        if not hmac.compare_digest(expected, stamp["v1"]) or abs(time.time() - int(stamp["t"])) > 60:
            self.faults.append("signature")
        self.times.append(time.monotonic())
        self.numbers.append(request.headers["Twin-Delivery"])
        if self.answer is None:
            await asyncio.sleep(3_600)
        if self.answer == 200:
            self.taken.append(json.loads(body))
        if self.answer == 302:
            return web.Response(status=302, headers={"Location": f"{self.url}/elsewhere"})
        return web.Response(status=self.answer or 500, body=b"x" * 100_000)

    async def elsewhere(self, _request: web.Request) -> web.StreamResponse:
        self.faults.append("followed a redirect")
        return web.Response()

    @property
    def changes(self) -> list[tuple[str, str]]:
        """Event and id of all that was taken, in order."""
        return [(one["event"], one["data"]["id"]) for told in self.taken for one in told["changes"]]

    def versions(self, id: str) -> list[int]:
        data = [one["data"] for told in self.taken for one in told["changes"]]
        return [one["version"] for one in data if one["id"] == id and "version" in one]


@asynccontextmanager
async def receiving() -> AsyncIterator[Receiver]:
    receiver = Receiver()
    app = web.Application()
    app.router.add_post("/hook", receiver.post)
    app.router.add_route("*", "/elsewhere", receiver.elsewhere)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    receiver.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    try:
        yield receiver
    finally:
        await runner.cleanup()
    assert receiver.faults == []


def configured(settings: Settings, folder: Path, *, file: bool = True, **access: Any) -> Settings:
    config = folder / "twin.yaml"
    config.write_text(yaml.safe_dump({"access": {"webhook_hosts": ["127.0.0.1", "localhost"]} | access}))
    kept = folder / "subscriptions.json" if file else None
    return settings.model_copy(update={"config": config, "subscriptions_file": kept})


async def subscribe(client: Client, receiver: Receiver, **wanted: Any) -> Any:
    answer = await client.post(PATH, {"url": f"{receiver.url}/hook", "secret": SECRET} | wanted)
    assert answer.status == 201, answer
    assert answer.headers["Location"] == f"{PATH}/{answer.json['id']}"
    assert SECRET not in answer.body.decode()
    return answer.json


async def delivery(client: Client, id: str, **holds: Any) -> Any:
    """The subscription, once its deliveries are so."""

    def is_so(answer: Answer) -> bool:
        shown = answer.json | answer.json["delivery"]
        return all(shown[name] == value for name, value in holds.items())

    return (await eventually(client, f"{PATH}/{id}", is_so)).json


async def test_changes_come_signed_filtered_and_at_most_once_a_second(
    settings: Settings, tmp_path: Path
) -> None:
    async with StateWriter(settings) as writer, receiving() as receiver:
        await writer.put(make_state(id="before"))
        async with serving(configured(settings, tmp_path, file=False)) as client:
            await ready(client)
            told = await subscribe(client, receiver, kind=["node"], where="status=up")
            assert (told["durable"], told["state"]) == (False, "active")

            await writer.put(make_state(id="a", version=1), make_state(id="c", kind="device"))
            await until(lambda: ("entity", "a") in receiver.changes)
            for version in range(2, 30):
                await writer.put(make_state(id="a", version=version))
                await asyncio.sleep(0.05)
            await until(lambda: 29 in receiver.versions("a"))
            await writer.put(make_state(id="b"), make_state(id="a", version=30, status="down"))
            await until(lambda: ("entity", "b") in receiver.changes and ("gone", "a") in receiver.changes)

            shown = await delivery(client, told["id"], pending=0)
            assert shown["delivery"]["delivered"] == len(receiver.taken)
    assert {id for _, id in receiver.changes} == {"a", "b"}
    assert not any(one["snapshot"] for one in receiver.taken)
    assert receiver.versions("a") == sorted(set(receiver.versions("a")))
    assert len(receiver.versions("a")) < 10
    assert [one["sequence"] for one in receiver.taken] == sorted({one["sequence"] for one in receiver.taken})
    pauses = [later - one for one, later in zip(receiver.times, receiver.times[1:], strict=False)]
    assert min(pauses) > 0.9  # as it is seen from here, where requests take a while


async def test_what_fails_hangs_or_is_away_gets_the_same_delivery_later_and_then_the_newest(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(streams.web.hooks.hosts, "TIMEOUT_S", 1.0)
    async with (
        StateWriter(settings) as writer,
        receiving() as receiver,
        serving(configured(settings, tmp_path)) as client,
    ):
        await ready(client)
        id = (await subscribe(client, receiver))["id"]
        receiver.answer = 503
        await writer.put(make_state(id="a", version=1))
        shown = await delivery(client, id, state="failing", last_status=503, pending=1)
        assert shown["delivery"]["last_error"] == "answered 503"
        assert shown["delivery"]["next_try_ms"] > 0
        receiver.answer = None
        await delivery(client, id, last_status=None, last_error="no answer in time")
        receiver.answer = 302
        await delivery(client, id, last_status=302)
        for version in range(2, 20):
            await writer.put(make_state(id="a", version=version))
        receiver.answer = 200
        await until(lambda: 19 in receiver.versions("a"))
        await delivery(client, id, state="active", delivered=2, pending=0)

    assert receiver.versions("a") == [1, 19]
    assert len(set(receiver.numbers)) == 2


async def test_three_refusals_disable(settings: Settings, tmp_path: Path) -> None:
    async with (
        StateWriter(settings) as writer,
        receiving() as receiver,
        serving(configured(settings, tmp_path)) as client,
    ):
        await ready(client)
        receiver.answer = 410
        id = (await subscribe(client, receiver))["id"]
        await writer.put(make_state(id="a"))

        shown = await delivery(client, id, state="disabled")

        assert shown["reason"].startswith("refused")
        assert len(receiver.times) == 3
        async with client.session.delete(f"{client.url}{PATH}/{id}") as response:
            assert response.status == 204
        assert (await client.get(f"{PATH}/{id}")).status == 404


async def test_a_restart_goes_on_without_a_gap(settings: Settings, tmp_path: Path) -> None:
    durable = configured(settings, tmp_path)
    async with StateWriter(settings) as writer, receiving() as receiver:
        await writer.put(make_state(id="gone", version=1), make_state(id="still", version=1))
        async with serving(durable) as client:
            await ready(client)
            told = await subscribe(client, receiver)
            assert told["durable"]
            await writer.put(make_state(id="a", version=1))
            await until(lambda: ("entity", "a") in receiver.changes)
            receiver.answer = 500
            await writer.put(make_state(id="b", version=1))
            await delivery(client, told["id"], state="failing")
        await writer.put(make_state(id="c", version=1), make_state(id="a", version=2))
        await writer.remove("live", "node", "gone")
        receiver.answer = 200
        async with serving(durable) as client:
            await until(lambda: {("entity", "b"), ("entity", "c"), ("gone", "gone")} <= set(receiver.changes))
            await until(lambda: receiver.versions("a") == [1, 2])
            await writer.put(make_state(id="d", version=1))
            await until(lambda: ("entity", "d") in receiver.changes)

    assert receiver.changes.count(("entity", "a")) == 2
    assert not any(one["snapshot"] for one in receiver.taken)
    assert ("entity", "still") not in receiver.changes
    assert [one["sequence"] for one in receiver.taken] == sorted({one["sequence"] for one in receiver.taken})


async def test_who_subscribes_gets_and_sees_only_their_own(settings: Settings, tmp_path: Path) -> None:
    rules = configured(settings, tmp_path, keys=KEYS)
    async with (
        StateWriter(settings) as writer,
        receiving() as receiver,
        serving(rules, "k-node") as client,
        other_client(client, "k-ops") as ops,
        other_client(client, "k-boss") as boss,
        other_client(client, "k-blind") as blind,
    ):
        await ready(client)
        id = (await subscribe(client, receiver))["id"]
        refused = await blind.post(PATH, {"url": f"{receiver.url}/hook", "secret": SECRET})
        await writer.put(make_state(id="d", kind="device"), make_state(id="n"))
        await until(lambda: receiver.changes)
        await writer.put(make_state(id="d", kind="device", version=2), make_state(id="n2"))
        await until(lambda: ("entity", "n2") in receiver.changes)

        assert {one for _, one in receiver.changes} == {"n", "n2"}
        assert (refused.status, "read" in refused.json["detail"]) == (403, True)
        assert (await ops.get(f"{PATH}/{id}")).status == 404
        assert (await ops.get(PATH)).json["subscriptions"] == []
        assert [one["id"] for one in (await boss.get(PATH)).json["subscriptions"]] == [id]


@pytest.mark.parametrize(
    ("hosts", "body", "status", "problem"),
    [
        ([], {"url": "https://hooks.example.org/"}, 403, "webhooks-off"),
        (["hooks.example.org"], {"url": "https://other.example.org/"}, 403, "host-not-allowed"),
        (["*"], {"url": "http://127.0.0.1/"}, 403, "host-not-allowed"),
        (["*"], {"url": "http://169.254.169.254/latest"}, 403, "host-not-allowed"),
        (["*"], {"url": "http://a:b@hooks.example.org/"}, 422, "invalid-parameter"),
        (["*"], {"url": "gopher://hooks.example.org/"}, 422, "invalid-parameter"),
        (["*"], {"url": "https://h.example/", "secret": "short"}, 422, "invalid-parameter"),
        (["*"], {"url": "https://h.example/", "secret": "\ud800" * 9}, 422, "invalid-parameter"),
        (["*"], {"url": "https://h.example/", "events": []}, 422, "invalid-parameter"),
        (["*"], {"url": "https://h.example/", "where": "status"}, 422, "invalid-parameter"),
        (["*"], {"url": "https://h.example/", "kind": ["nope"]}, 404, "unknown-kind"),
        (["*"], {"url": "https://h.example/", "max_rate": 3}, 422, "invalid-parameter"),
        (["*"], {"url": "https://h.example/", "world": "nope"}, 404, "unknown-world"),
    ],
)
async def test_what_is_refused(
    settings: Settings, tmp_path: Path, hosts: list[str], body: dict[str, str], status: int, problem: str
) -> None:
    async with serving(configured(settings, tmp_path, webhook_hosts=hosts)) as client:
        await ready(client)

        answer = await client.post(PATH, {"secret": SECRET} | body)

        assert (answer.status, answer.json["type"]) == (status, f"urn:decice-twin:{problem}")
        assert SECRET not in answer.body.decode()
        assert "short" not in answer.json["detail"].replace("shorter", "")


async def test_a_name_that_means_another_address_later_is_not_connected_to(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def rebound(*_: Any, **__: Any) -> list[dict[str, Any]]:
        return [
            {"hostname": "hooks.example.org", "host": "127.0.0.1", "port": port, "family": socket.AF_INET}
            | {"proto": 0, "flags": socket.AI_NUMERICHOST}
        ]

    async with StateWriter(settings) as writer, receiving() as receiver:
        port = int(receiver.url.rpartition(":")[2])
        monkeypatch.setattr(aiohttp.ThreadedResolver, "resolve", rebound)
        monkeypatch.setattr(aiohttp.connector.DefaultResolver, "resolve", rebound)
        rules = configured(settings, tmp_path, webhook_hosts=["hooks.example.org"])
        async with serving(rules) as client:
            await ready(client)
            body = {"url": f"http://hooks.example.org:{port}/hook", "secret": SECRET}
            id = (await client.post(PATH, body)).json["id"]
            await writer.put(make_state(id="a"))

            shown = await delivery(client, id, state="failing")

            assert "127.0.0.1 is no address that access.webhook_hosts" in shown["delivery"]["last_error"]
        assert receiver.times == []
