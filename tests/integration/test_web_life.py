import asyncio
import os
import re
import secrets
import signal
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator

import aiohttp
import pytest
import pytest_asyncio

from streams.schemas import load_codec
from streams.settings import Settings
from streams.topics import create_topics
from streams.web.run import listen
from tests.factories import make_state
from tests.statewriter import StateWriter
from tests.waiting import DEADLINE_S
from tests.webclient import Client, eventually, ids, ready, serving


@pytest_asyncio.fixture
async def writer(settings: Settings) -> AsyncIterator[StateWriter]:
    async with StateWriter(settings) as writer:
        await writer.put(make_state(id="ws01", version=1), make_state(id="ws02", status="down"))
        yield writer


@pytest_asyncio.fixture
async def client(settings: Settings, writer: StateWriter) -> AsyncIterator[Client]:
    async with serving(settings) as client:
        await ready(client)
        yield client


async def test_an_etag_holds_until_something_changes(client: Client, writer: StateWriter) -> None:
    tag = (await client.get("/twin/v1/state")).headers["ETag"]

    same = await client.get("/twin/v1/state", headers={"If-None-Match": f'"other", {tag}'})
    assert (same.status, same.body, same.headers["ETag"]) == (304, b"", tag)

    await writer.put(make_state(id="ws01", version=99, status="degraded"))
    changed = await eventually(
        client, "/twin/v1/state", lambda answer: answer.status == 200, headers={"If-None-Match": tag}
    )
    assert changed.json["entities"][0]["status"] == "degraded"


async def test_a_removed_entity_is_gone(client: Client, writer: StateWriter) -> None:
    await writer.remove("live", "node", "ws01")

    await eventually(client, "/twin/v1/entities/node/ws01", lambda answer: answer.status == 404)
    assert "ws01" not in ids(await client.get("/twin/v1/state", "state"))


async def test_an_unreadable_record_spoils_no_answer(client: Client, writer: StateWriter) -> None:
    await writer.send(b"live/node/bad", load_codec("state").encode(make_state(id="bad"))[:-30], 0)
    await writer.put(make_state(id="later", version=1))
    await eventually(client, "/twin/v1/entities/node/later", lambda answer: answer.status == 200)

    assert "bad" not in ids(await client.get("/twin/v1/state", "state"))
    assert (await client.get("/twin/v1/entities/node/bad")).status == 404
    assert b'twin_web_poisoned_records_count{reason="avro"}' in (await client.get("/metrics")).body


async def test_a_thousand_entities_in_one_answer(client: Client, writer: StateWriter) -> None:
    await writer.put(*(make_state(kind="job", id=f"j{number:04}") for number in range(1_000)))
    path = "/twin/v1/state?kind=job"
    await eventually(client, path, lambda answer: len(ids(answer)) == 1_000)

    answer = await client.get(path, "state")

    assert ids(answer) == [f"j{number:04}" for number in range(1_000)]
    assert int(answer.headers["Content-Length"]) == len(answer.body)


async def test_freshness(client: Client, writer: StateWriter) -> None:
    now_ms = int(time.time() * 1000)
    await writer.put(make_state(id="ws01", version=50, seen_ms=now_ms, head_times_ms=[now_ms] * 3))
    answer = await eventually(
        client,
        "/twin/v1/freshness",
        lambda answer: bool(answer.json["scrape_to_seen"]["count"]),
        schema="freshness",
    )

    assert 0 <= answer.json["scrape_to_seen"]["p99_ms"] < 1000 * DEADLINE_S
    node = next(kind for kind in answer.json["kinds"] if kind["kind"] == "node")
    assert node["statuses"] == {"down": 1, "up": 1}
    assert node["newest_observed_ms"] == now_ms
    assert b"twin_web_freshness_seconds_count 0.0" not in (await client.get("/metrics")).body


async def test_without_kafka_it_lives_is_not_ready_and_says_why() -> None:
    async with serving(Settings(kafka_bootstrap_servers="127.0.0.1:1")) as client:
        live = await client.get("/health/live", "health")
        not_ready = await client.get("/health/ready", "health")
        state = await client.get("/twin/v1/state")

    assert live.status == 200
    assert not_ready.status == 503
    assert not_ready.json["status"] == "not ready"
    assert "Kafka" in not_ready.json["reason"]
    assert state.status == 503
    assert state.headers["Retry-After"] == "2"
    assert "Kafka" in state.json["detail"]


async def test_without_its_topic_it_is_not_ready_until_the_topic_is_there(settings: Settings) -> None:
    elsewhere = settings.model_copy(update={"topic_prefix": f"late-{secrets.token_hex(4)}"})
    async with serving(elsewhere) as client:
        await eventually(
            client, "/health/ready", lambda answer: "does not exist" in answer.json.get("reason", "")
        )

        await create_topics(elsewhere)

        await ready(client)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_signal_ends_the_role_within_three_seconds(settings: Settings, number: int) -> None:
    with start_role(settings) as process:
        url = await read_url(process)
        async with aiohttp.ClientSession() as session:
            await ready(Client(url, session, {"health": {}}))
            started_s = time.monotonic()
            process.send_signal(number)
            code = await asyncio.to_thread(process.wait, DEADLINE_S)

    assert code == 0
    assert time.monotonic() - started_s < 10


async def test_a_taken_port_names_the_variables(settings: Settings) -> None:
    with listen("127.0.0.1", 0) as taken:
        port = str(taken.getsockname()[1])
        with start_role(settings, TWIN_WEB_PORT=port) as process:
            _, errors = await asyncio.to_thread(process.communicate, timeout=DEADLINE_S)

    assert process.returncode == 2
    assert f"TWIN_WEB_PORT: cannot listen on 127.0.0.1:{port}" in errors


@pytest.mark.parametrize(("key", "code"), [("", 2), ("intern-geheim", 0)])
async def test_an_address_for_all_needs_a_key(settings: Settings, key: str, code: int) -> None:
    with start_role(settings, TWIN_WEB_HOST="0.0.0.0", TWIN_INTERNAL_API_KEY=key) as process:
        if key:
            await read_url(process)
            process.send_signal(signal.SIGTERM)
        _, errors = await asyncio.to_thread(process.communicate, timeout=DEADLINE_S)

    assert process.returncode == code
    assert ("`twin key NAME` makes one" in errors) is not bool(key)


def start_role(settings: Settings, **variables: str) -> subprocess.Popen[str]:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("TWIN_")}
    environment |= {
        "TWIN_KAFKA_BOOTSTRAP_SERVERS": settings.kafka_bootstrap_servers or "",
        "TWIN_TOPIC_PREFIX": settings.topic_prefix,
        "TWIN_WEB_PORT": "0",
    }
    return subprocess.Popen(
        [sys.executable, "-m", "streams", "web"],
        env=environment | variables,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


async def read_url(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    line = await asyncio.wait_for(asyncio.to_thread(process.stdout.readline), DEADLINE_S)
    match = re.search(r"http://[\d.]+:\d+", line)
    assert match, line
    return match[0]


def test_answers_are_not_held_back_by_nagles_algorithm() -> None:
    # asyncio switches it off for sockets that say they are TCP, and only for those.
    with listen("127.0.0.1", 0) as listener:
        assert listener.proto == socket.IPPROTO_TCP
