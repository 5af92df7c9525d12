import asyncio
import json
import os
import pty
import re
import select
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable

import aiohttp
import click
import pytest
import pytest_asyncio
from click.testing import CliRunner, Result

from streams.metrics import MetricsServer
from streams.settings import Settings
from streams.tools.state import state
from streams.tools.tap import tap
from tests.factories import make_state
from tests.statewriter import StateWriter
from tests.waiting import DEADLINE_S


@pytest_asyncio.fixture
async def writer(settings: Settings) -> AsyncIterator[StateWriter]:
    async with StateWriter(settings) as writer:
        await writer.put(
            make_state(id="ws01", version=1),
            make_state(id="ws02", status="down", status_reason="node_exporter: silent"),
            make_state(id="1~2", kind="link", simulated=True),
        )
        yield writer


def run(command: click.Command, settings: Settings, *arguments: str) -> Result:
    # In a thread of its own: the command runs an event loop, and so does the test.
    return CliRunner().invoke(command, arguments, obj=settings)


async def invoke(command: click.Command, settings: Settings, *arguments: str) -> Result:
    return await asyncio.to_thread(run, command, settings, *arguments)


@pytest.mark.usefixtures("writer")
async def test_state_prints_tables_by_kind(settings: Settings) -> None:
    result = await invoke(state, settings)

    assert result.exit_code == 0
    assert "world live, 3 entities" in result.stdout
    assert "node (2): 1 up, 1 down" in result.stdout
    assert "link (1): 1 up" in result.stdout
    assert re.search(r"ws02 +1 +down +\S+ +31\.2 .*node_exporter: silent", result.stdout)


@pytest.mark.usefixtures("writer")
async def test_state_as_json_is_what_the_api_gives(settings: Settings) -> None:
    result = await invoke(
        state, settings, "--json", "--kind", "node", "--where", "status!=up", "--where", "id~2"
    )

    answer = json.loads(result.stdout)
    assert [entity["id"] for entity in answer["entities"]] == ["ws02"]
    assert answer["stamp"]["entities"] == 1


@pytest.mark.usefixtures("writer")
async def test_nothing_found_says_what_was_wrong(settings: Settings) -> None:
    result = await invoke(state, settings, "--kind", "nodes", "--id", "ws1", "--where", "cpu_usge>1")

    assert result.exit_code == 0
    assert result.stdout == ""
    assert "There is no kind nodes: there are link, node." in result.stderr
    assert "No entity has cpu_usge. Did you mean cpu_usage_percent?" in result.stderr


async def test_an_empty_world_says_what_to_check(settings: Settings) -> None:
    result = await invoke(state, settings)

    assert result.exit_code == 1
    assert "There are no entities in world live" in result.stderr
    assert "`twin check`" in result.stderr


@pytest.mark.parametrize("arguments", [["--where", "cpu > 1"], ["--watch"], ["--watch", "--json"]])
async def test_wrong_use_ends_with_two(settings: Settings, arguments: list[str]) -> None:
    result = await invoke(state, settings, *arguments)

    assert result.exit_code == 2


@pytest.mark.usefixtures("writer")
def test_watch_draws_again_and_ends_with_ctrl_c(settings: Settings) -> None:
    # A terminal of 24 lines, as a person would have.
    control, terminal = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "streams", "state", "--watch"],
        env=variables(settings) | {"TERM": "xterm", "COLUMNS": "100", "LINES": "24"},
        stdin=terminal,
        stdout=terminal,
        stderr=subprocess.PIPE,
        start_new_session=True,
    )
    os.close(terminal)
    try:
        drawn = read_until(control, lambda text: text.count("node (2)") >= 2)
        process.send_signal(signal.SIGINT)
        read_until(control, lambda _text: process.poll() is not None)
    finally:
        process.kill()
        os.close(control)

    assert process.wait() == 0
    assert "ws01" in drawn
    assert process.stderr is not None
    assert process.stderr.read() == b""
    process.stderr.close()


async def test_tap_prints_a_line_for_each_record(settings: Settings, writer: StateWriter) -> None:
    await writer.send(b"live/node/bad", b"rubbish", 1)
    await writer.remove("live", "node", "ws02")

    result = await invoke(tap, settings, "state", "--from-start", "--max", "5")

    records = [json.loads(line) for line in result.stdout.splitlines()]
    assert result.exit_code == 0
    assert len(records) == 5
    by_key = {record["key"]: record for record in records}
    assert by_key["live/node/ws01"]["value"]["version"] == 1
    assert by_key["live/node/ws01"]["value"]["head_rates"][0] is None
    assert by_key["live/node/bad"]["undecodable"] == "framing"
    assert [record["value"] for record in records if record["key"] == "live/node/ws02"][-1] is None


@pytest.mark.usefixtures("writer")
async def test_tap_takes_the_full_name_and_shows_bytes(settings: Settings) -> None:
    name = f"{settings.topic_prefix}.state.v1"
    result = await invoke(tap, settings, name, "--from-start", "--max", "1", "--raw")

    record = json.loads(result.stdout)
    assert bytes.fromhex(record["key"]).startswith(b"live/")
    assert record["value"].startswith("00")


async def test_tap_begins_with_what_comes_next(settings: Settings, writer: StateWriter) -> None:
    tapping = asyncio.create_task(invoke(tap, settings, "state", "--max", "1"))
    version = 100
    while not tapping.done():
        version += 1
        await writer.put(make_state(id="ws01", version=version))
        await asyncio.sleep(0.1)

    assert json.loads((await tapping).stdout)["value"]["version"] > 100


async def test_tap_of_a_topic_that_is_not_there_says_what_was_meant(settings: Settings) -> None:
    result = await invoke(tap, settings, "stat")

    assert "topic stat does not exist" in str(result.exception)
    assert "did you mean state?" in str(result.exception)


async def test_the_metrics_server_answers_and_says_why_it_is_not_ready() -> None:
    reasons: dict[str, object] = {}
    server = MetricsServer("127.0.0.1", 0, lambda: (not reasons, reasons))
    port = await server.start()
    try:
        async with aiohttp.ClientSession(server.url) as session:
            assert server.url == f"http://127.0.0.1:{port}"
            async with session.get("/metrics") as answer:
                assert b"twin_partition_lag_records" in await answer.read()
                assert answer.headers["Content-Type"].startswith("text/plain; version=")
            async with session.get("/health/live") as answer:
                assert (answer.status, await answer.json()) == (200, {"status": "live"})
            async with session.get("/health/ready") as answer:
                assert (answer.status, await answer.json()) == (200, {"status": "ready"})
            reasons["stalled"] = {"t/1": "at 1 of 2"}
            async with session.get("/health/ready") as answer:
                assert answer.status == 503
                assert await answer.json() == {"status": "not ready", "stalled": {"t/1": "at 1 of 2"}}
    finally:
        await server.close()
        await server.close()


def variables(settings: Settings) -> dict[str, str]:
    outside = {name: value for name, value in os.environ.items() if not name.startswith("TWIN_")}
    return outside | {
        "TWIN_KAFKA_BOOTSTRAP_SERVERS": settings.kafka_bootstrap_servers or "",
        "TWIN_TOPIC_PREFIX": settings.topic_prefix,
    }


def read_until(descriptor: int, is_enough: Callable[[str], bool]) -> str:
    text = ""
    deadline_s = time.monotonic() + DEADLINE_S
    while time.monotonic() < deadline_s:
        if is_enough(text):
            return text
        if select.select([descriptor], [], [], 0.05)[0]:
            try:
                text += os.read(descriptor, 65_536).decode(errors="replace")
            except OSError:  # the other end is closed
                return text
    raise AssertionError(f"not in time: {text[-500:]!r}")
