import asyncio
import json
import signal
import socket
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import aiohttp
import pytest
import pytest_asyncio
import yaml

import streams.web.stream.desk
import streams.web.stream.hub
import streams.web.stream.routes
import streams.web.stream.transport
from streams.settings import Settings
from streams.web.access.config import hash_of
from tests.factories import make_state
from tests.services.roles import Role
from tests.statewriter import StateWriter
from tests.streamclient import Stream, streaming, talking
from tests.waiting import DEADLINE_S
from tests.webclient import Client, eventually, other_client, ready, serving

A, B, C = ("node", "a"), ("node", "b"), ("device", "c/1 é")


@pytest_asyncio.fixture
async def writer(settings: Settings) -> AsyncIterator[StateWriter]:
    async with StateWriter(settings) as writer:
        await writer.put(
            make_state(id="a", version=1),
            make_state(id="b", version=1, status="down"),
            make_state(kind="device", id="c/1 é", version=1),
        )
        yield writer


@pytest_asyncio.fixture
async def client(settings: Settings, writer: StateWriter) -> AsyncIterator[Client]:
    async with serving(settings) as client:
        await ready(client)
        yield client


async def test_a_snapshot_and_then_changes(client: Client, writer: StateWriter) -> None:
    async with streaming(client) as stream:
        snapshot, *entities, live = await stream.until("live")
        await writer.put(make_state(id="a", version=2, status="degraded"))
        changed = await stream.next()
        await writer.remove("live", *B)
        gone = await stream.next()

    assert (snapshot.name, snapshot.id, snapshot.data["entities"]) == ("snapshot", "-", 3)
    assert {(event.name, event.id) for event in entities} == {("entity", "-")}
    assert {(e.data["kind"], e.data["id"]) for e in entities} == {A, B, C}
    assert live.data["stamp"]["entities"] == 3
    assert sum(live.data["stamp"]["offsets"].values()) == 3
    assert changed.name == "entity"
    assert changed.data == (await client.get("/twin/v1/entities/node/a", "entity")).json
    assert (gone.name, gone.data) == ("gone", {"kind": "node", "id": "b", "reason": "removed"})
    assert len({live.id, changed.id, gone.id}) == 3


async def test_rows_are_those_of_the_table(client: Client, writer: StateWriter) -> None:
    rows = (await client.get("/twin/v1/rows", "rows")).json["rows"]
    async with streaming(client, format="row") as stream:
        _, told, _ = await stream.until("live")
        assert sorted(told.data, key=lambda row: row["id"]) == sorted(rows, key=lambda row: row["id"])

        await writer.put(make_state(id="a", version=2))
        await writer.remove("live", *B)
        await stream.until_has({A: 2, C: 1})


async def test_what_leaves_a_filter_is_gone(client: Client, writer: StateWriter) -> None:
    async with streaming(client, where="status=up", kind=["node"], fields=["status", "load1"]) as stream:
        await stream.until("live")
        assert stream.has == {A: {"world": "live", "kind": "node", "id": "a", "version": 1} | UP}

        await writer.put(make_state(id="a", version=2, status="down"))
        gone = await stream.next()
        await writer.put(make_state(id="b", version=2))
        came = await stream.next()

    assert gone.data == {"kind": "node", "id": "a", "reason": "filter"}
    assert came.data["id"] == "b"


UP = {"values": {"status": "up"}}


async def test_free_text_is_looked_for_in_ids_and_attributes(client: Client) -> None:
    for text, expected in (("C/1", {C}), ("X86", {A, B, C}), ("down", {B}), ("nothing", set())):
        async with streaming(client, q=text) as stream:
            await stream.until("live")
            assert set(stream.has) == expected
        rows = (await client.get("/twin/v1/rows", "rows", params={"q": text})).json["rows"]
        assert {(row["kind"], row["id"]) for row in rows} == expected


async def test_a_websocket_says_the_same(client: Client, writer: StateWriter) -> None:
    async with talking(client, where="status=up") as stream:
        events = await stream.until("live")
        assert [event.name for event in events] == ["snapshot", "entity", "entity", "live"]
        await writer.put(make_state(id="a", version=2, status="down"))
        assert (await stream.next()).data["reason"] == "filter"
        last = stream.id

        has = stream.has

    await writer.put(make_state(id="b", version=2))
    async with talking(client, where="status=up", last_event_id=last) as later:
        later.has = has
        events = await later.until_has({B: 2, C: 1})
    assert "snapshot" not in [event.name for event in events]


async def test_who_comes_back_misses_nothing_and_hears_nothing_twice(
    client: Client, writer: StateWriter, settings: Settings
) -> None:
    async with streaming(client) as stream:
        await stream.until("live")
        has = stream.has
    await writer.put(make_state(id="a", version=2))
    await writer.put(make_state(id="a", version=3))
    await writer.remove("live", *B)

    # Another process, which begins anew, tells what this one's id did not have.
    async with serving(settings) as other:
        await ready(other)
        async with streaming(other, stream.id) as later:
            later.has = has
            events = await later.until("live")
            await writer.put(make_state(id="a", version=4))
            events += await later.until_has({A: 4, C: 1})

    told = sorted((event.name, event.data.get("id"), event.data.get("version")) for event in events[:-2])
    assert told == [("entity", "a", 3), ("gone", "b", None)]
    assert [(event.name, event.data.get("version")) for event in events[-2:]] == [
        ("live", None),
        ("entity", 4),
    ]


async def test_an_id_of_another_log_begins_anew(client: Client, settings: Settings) -> None:
    async with streaming(client) as stream:
        await stream.until("live")
    log, newest, *offsets = stream.id.split(".")
    other = ".".join(("0" * 8, newest, *offsets))
    made_anew = ".".join((log, "1", *offsets))
    beyond = ".".join((log, newest, *("9" for _ in offsets)))

    for id in (other, made_anew, "-", "nonsense", "1.2.3", f"{stream.id}.0"):
        async with streaming(client, id) as again:
            assert (await again.next()).name == "snapshot", id

    async with asyncio.timeout(DEADLINE_S):
        async with streaming(client, beyond) as again:
            assert (await again.next()).name == "snapshot"


async def test_heartbeats_say_what_time_it_is(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streams.web.stream.hub, "BEAT_S", 0.05)
    async with streaming(client, kind=["job"]) as stream:
        beat = (await stream.until("heartbeat"))[-1]
        while beat.id == "-":
            beat = (await stream.until("heartbeat"))[-1]

    assert set(beat.data) == {"now_ms", "clock_ms", "fault"}
    assert beat.data["fault"] is None
    assert beat.data["clock_ms"] < beat.data["now_ms"]


async def test_changes_are_merged_at_the_rate_that_is_asked_for(client: Client, writer: StateWriter) -> None:
    async with streaming(client, max_rate="1") as slow, streaming(client) as fast:
        await slow.until("live")
        await fast.until("live")
        for version in range(2, 40):
            await writer.put(make_state(id="a", version=version))
            await asyncio.sleep(0.02)
        told = [len(await one.until_has({A: 39, B: 1, C: 1})) for one in (slow, fast)]

    assert told[0] < told[1]


async def test_the_end_of_a_world_ends_its_streams(client: Client, writer: StateWriter) -> None:
    await writer.put(make_state(world="w1", kind="world", id="w1"), make_state(world="w1", id="x"))
    await eventually(client, "/twin/v1/state?world=w1", lambda answer: answer.status == 200)

    async with streaming(client, world="w1") as stream, talking(client, world="w1") as socket:
        await stream.until("live")
        await socket.until("live")
        await writer.remove("w1", "node", "x")
        await writer.remove("w1", "world", "w1")
        for one in (stream, socket):
            assert (await one.until("end"))[-1].data["reason"] == "world-ended"
            with pytest.raises(EOFError):
                await one.next()
        assert socket.socket is not None
        assert socket.socket.close_code == 1000


async def test_an_overlay_follows_live_where_it_does_not_differ(client: Client, writer: StateWriter) -> None:
    name = "live~what-if"
    await writer.put(make_state(world=name, kind="world", id=name, version=1))
    await eventually(client, f"/twin/v1/state?world={name}", lambda answer: answer.status == 200)

    async with streaming(client, world=name) as stream:
        await stream.until("live")
        await writer.put(make_state(id="a", version=5), make_state(world=name, id="b", version=7))
        await stream.until_has({("world", name): 1, A: 5, B: 7, C: 1})
        await writer.remove(name, *B)
        await stream.until_has({("world", name): 1, A: 5, B: 1, C: 1})


@pytest.mark.parametrize(
    ("query", "status", "field"),
    [
        ("world=mars", 404, "world"),
        ("kind=nodes", 404, "kind"),
        ("wher=x", 422, "wher"),
        ("where=cpu>x", 422, "where"),
        ("format=xml", 422, "format"),
        ("format=row&fields=status", 422, "fields"),
        ("max_rate=0", 422, "max_rate"),
        ("max_rate=nan", 422, "max_rate"),
    ],
)
async def test_wrong_parameters_are_problems_over_either(
    client: Client, query: str, status: int, field: str
) -> None:
    answer = await client.get(f"/twin/v1/stream?{query}")
    with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
        await client.session.ws_connect(f"{client.url}/twin/v1/stream?{query}")

    assert (answer.status, answer.json["field"]) == (status, field)
    assert refused.value.status == status


async def test_there_are_not_more_streams_than_can_be_served(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(streams.web.stream.desk, "MAX_STREAMS", 1)
    async with streaming(client) as stream:
        await stream.until("live")
        answer = await client.get("/twin/v1/stream")
        assert answer.status == 503
        assert answer.json["type"].endswith(":too-many")
        assert int(answer.headers["Retry-After"]) > 0
        metrics = (await client.get("/metrics")).body.decode()
        assert 'twin_web_streams_open_count{transport="sse"} 1.0' in metrics

    await eventually(client, "/metrics", lambda a: b'open_count{transport="sse"} 0.0' in a.body)


@pytest.mark.parametrize("is_socket", [False, True])
async def test_who_takes_nothing_is_cut_off_and_can_read_why(
    client: Client, writer: StateWriter, monkeypatch: pytest.MonkeyPatch, is_socket: bool
) -> None:
    monkeypatch.setattr(streams.web.stream.transport, "SLOW_S", 0.3)
    upgrade = (
        "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
    )
    with socket.socket() as slow:
        slow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
        slow.setblocking(False)
        loop = asyncio.get_running_loop()
        host, port = client.url.removeprefix("http://").split(":")
        await loop.sock_connect(slow, (host, int(port)))
        head = f"GET /twin/v1/stream HTTP/1.1\r\nHost: {host}\r\n{upgrade if is_socket else ''}\r\n"
        await loop.sock_sendall(slow, head.encode())
        # The records are far larger than what the system holds for a connection.
        big = {f"note{number}": "x" * 20_000 for number in range(5)}
        version = 1

        def is_cut(metrics: bytes) -> bool:
            return any(
                line.startswith(b'twin_web_streams_ended_total{reason="slow"}')
                and float(line.split()[1]) > was
                for line in metrics.splitlines()
            )

        was = _slow(await client.get("/metrics"))
        async with asyncio.timeout(DEADLINE_S * 2):
            while not is_cut((await client.get("/metrics")).body):
                version += 1
                await writer.put(
                    *(make_state(id=f"n{n}", version=version, attributes=big) for n in range(20))
                )
        received = b""
        async with asyncio.timeout(DEADLINE_S):
            while more := await loop.sock_recv(slow, 1 << 20):
                received += more

    assert received.count(b"slow") >= 1
    assert b'"reason":"slow"' in received[-600:]
    assert received.endswith(b"\x03\xf5slow" if is_socket else b"\r\n0\r\n\r\n")


def _slow(answer: object) -> float:
    for line in answer.body.splitlines():  # type: ignore[attr-defined]
        if line.startswith(b'twin_web_streams_ended_total{reason="slow"}'):
            return float(line.split()[1])
    return 0.0


async def test_an_answer_is_whole_json_for_each_message(client: Client) -> None:
    async with client.session.get(f"{client.url}/twin/v1/stream?format=row") as response:
        assert response.headers["Content-Type"] == "text/event-stream; charset=utf-8"
        assert response.headers["Cache-Control"] == "no-store"
        text = await response.content.readuntil(b"event: live\n")

    for line in text.split(b"\n"):
        if line.startswith(b"data: "):
            json.loads(line[6:])


async def test_a_stream_that_went_leaves_nothing(client: Client) -> None:
    made: list[Stream] = []
    for _ in range(20):
        async with streaming(client) as stream:
            await stream.until("live")
            made.append(stream)

    await eventually(client, "/metrics", lambda a: b'open_count{transport="sse"} 0.0' in a.body)


async def test_a_key_sees_its_worlds_and_kinds_only(settings: Settings, tmp_path: Path) -> None:
    config = tmp_path / "twin.yaml"
    keys = [
        {"name": "all", "sha256": hash_of("all"), "scopes": ["read"]},
        {
            "name": "links",
            "sha256": hash_of("links"),
            "scopes": ["read"],
            "kinds": ["l*"],
            "worlds": ["live"],
        },
        {"name": "admin", "sha256": hash_of("admin"), "scopes": ["admin"]},
    ]
    config.write_text(yaml.safe_dump({"access": {"keys": keys}}))
    closed = settings.model_copy(update={"config": config})
    async with StateWriter(settings) as writer, serving(closed, "all") as everything:
        await writer.put(make_state(id="a"), make_state(kind="link", id="1~2", version=1))
        await ready(everything)
        async with other_client(everything, "links") as links, other_client(everything, "admin") as admin:
            async with streaming(links) as stream, talking(links) as socket:
                await writer.put(make_state(id="a", version=99), make_state(kind="link", id="1~2", version=2))
                for one in (stream, socket):
                    events = await one.until_has({("link", "1~2"): 2})
                    assert b"cpu" in str(events).encode()
                    assert "'id': 'a'" not in str(events)
            assert (await links.get("/twin/v1/stream?world=w1")).status == 404
            assert (await links.get("/twin/v1/stream?kind=node")).status == 404
            assert [row["id"] for row in (await links.get("/twin/v1/rows", "rows")).json["rows"]] == ["1~2"]
            for path in ("stream", "rows"):
                assert (await admin.get(f"/twin/v1/{path}")).status == 403
            with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
                await admin.session.ws_connect(f"{admin.url}/twin/v1/stream")
            assert refused.value.status == 403


async def test_a_stream_ends_with_the_key_that_opened_it(settings: Settings, tmp_path: Path) -> None:
    config = tmp_path / "twin.yaml"
    until = datetime.now(UTC) + timedelta(seconds=4)
    keys = [{"name": "brief", "sha256": hash_of("brief"), "scopes": ["read"], "expires": until}]
    config.write_text(yaml.safe_dump({"access": {"keys": keys}}))
    async with serving(settings.model_copy(update={"config": config}), "brief") as client:
        await ready(client)
        async with streaming(client) as stream, talking(client) as socket:
            await stream.until("live")
            for one in (stream, socket):
                assert (await one.until("end"))[-1].data["reason"] == "expired"
            assert datetime.now(UTC) >= until
            assert (await client.get("/twin/v1/rows")).status == 401


async def test_a_role_that_is_told_to_end_says_so(settings: Settings, tmp_path: Path) -> None:
    role = Role("web", settings, tmp_path / "web.log")
    await role.start()
    try:
        await role.ready()
        async with aiohttp.ClientSession() as session:
            client = Client(f"http://127.0.0.1:{role.port}", session, {})
            async with streaming(client) as stream, talking(client) as socket:
                await stream.until("live")
                await socket.until("live")
                role.send(signal.SIGTERM)
                for one in (stream, socket):
                    assert (await one.until("end"))[-1].data["reason"] == "shutdown"
        assert await role.wait() == 0
        assert "error" not in role.tail()
    finally:
        await role.close()
