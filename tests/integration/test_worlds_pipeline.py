"""Worlds from the commands to the topics, on the embedded broker with a real worker."""

import asyncio
import json
import time
from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner, Result

from streams.domain.worldhash import world_hash
from streams.replica import TwinReplica
from streams.settings import Settings
from streams.tools.events import events
from streams.tools.state import state
from streams.tools.world import world
from streams.tools.worldscan import read_rows
from tests.factories import make_state
from tests.reference.scenario_log import scenario_log
from tests.services.load import send_scrapes
from tests.services.waiting import until
from tests.statewriter import StateWriter
from tests.worlds import deadletters, event, fault, states, told, value, values, views

pytestmark = pytest.mark.timeout(180)

T = 1_750_000_000_000

CREATE = event("world.create", "w1", owner="tests", reason="a try", clock_ms=T, step_ms=1_000)


async def invoke(command: click.Command, settings: Settings, *words: str, content: str = "") -> Result:
    # In a thread of its own: the command runs an event loop, and so does the test.
    return await asyncio.to_thread(CliRunner().invoke, command, words, obj=settings, input=content)


def lines(*documents: dict[str, Any]) -> str:
    return "\n".join(map(json.dumps, documents))


@pytest.mark.usefixtures("worker")
async def test_a_file_of_events_makes_a_world_that_is_listed_hashed_and_dropped(
    settings: Settings, tmp_path: Path
) -> None:
    file = tmp_path / "events.jsonl"
    file.write_text(
        lines(
            CREATE,
            values("w1", n1={"cpu_usage_percent": 10.0}),
            fault("w1", "f1", "metric_scale", "n1", metrics=["cpu_usage_percent"], factor=3.0),
            event("world.advance", "w1", by_ms=3_000),
        )
    )

    sent = await invoke(events, settings, "send", str(file), "--wait", "60")
    assert sent.exit_code == 0, sent.output
    assert "sent 4 events to w1 (4)" in sent.stdout
    assert "sending the file again does them again" in sent.stdout
    assert value((await views(settings, "w1"))["node/n1"], "cpu_usage_percent") == 30.0

    listed = await invoke(world, settings, "list")
    assert listed.exit_code == 0, listed.output
    (line,) = [line for line in listed.stdout.splitlines() if line.split()[:1] == ["w1"]]
    assert line.split()[1:6] == ["tests", "nothing", "1", "1", str(T + 3_000)]
    (document,) = json.loads((await invoke(world, settings, "list", "--json")).stdout)
    assert (document["world"], document["entities"], document["faults"]) == ("w1", 1, ["f1"])
    assert "w1" in (await invoke(state, settings, "--world", "w1")).stdout

    hashed = await invoke(world, settings, "hash", "w1")
    by_tick = await invoke(world, settings, "hash", "w1", "--ticks")
    rows = await read_rows(settings, "w1")
    assert hashed.stdout.strip() == world_hash(rows)
    assert [line.split()[0] for line in by_tick.stdout.splitlines()] == sorted(
        {str(row.tick_ms) for row in rows}
    )

    dropped = await invoke(world, settings, "drop", "w1")
    assert (dropped.exit_code, dropped.stdout) == (0, "dropped w1: 1 entities, 1 faults\n")
    assert await states(settings, "w1") == {}
    assert "w1" not in (await invoke(world, settings, "list")).stdout
    assert (await invoke(world, settings, "hash", "w1")).stdout == hashed.stdout, "its ticks are in the log"
    again = await invoke(world, settings, "drop", "w1")
    assert "there is no world 'w1'" in str(again.exception)


@pytest.mark.usefixtures("worker")
async def test_worlds_beside_each_other_and_the_same_name_again_have_the_same_hash(
    settings: Settings,
) -> None:
    hashes = []
    for name in ("w1", "w2"):
        await told(settings, *scenario_log(6, 40, 1, world=name, at_ms=_now_ms()))
        hashes.append((await invoke(world, settings, "hash", name)).stdout)
    await told(settings, event("world.drop", "w1"))
    await told(settings, *scenario_log(6, 40, 1, world="w1", at_ms=_now_ms()))
    hashes.append((await invoke(world, settings, "hash", "w1")).stdout)
    await told(settings, *scenario_log(6, 40, 2, world="w3", at_ms=_now_ms()))
    other = (await invoke(world, settings, "hash", "w3")).stdout

    assert len(hashes[0].strip()) == 64
    assert len(set(hashes)) == 1
    assert other not in hashes
    assert await deadletters(settings) == []


@pytest.mark.usefixtures("worker")
async def test_an_overlay_differs_from_live_where_a_fault_is(settings: Settings) -> None:
    stop = asyncio.Event()
    feeding = asyncio.create_task(send_scrapes(settings, 1, 4, 1_000, stop, 90))
    try:

        async def ids() -> list[str]:
            found = await views(settings, "live")
            nodes = sorted(view["id"] for view in found.values() if view["kind"] == "node")
            return nodes if len(nodes) == 4 else []

        nodes = await until(ids, 60, "four live nodes", every_s=0.3)
        await told(
            settings,
            event("world.create", "live~o", owner="tests"),
            fault("live~o", "f1", "node_down", nodes[0], duration_ms=4_000),
        )
        async with TwinReplica(settings, "live~o") as merged:
            await merged.ready(30)
            await until(lambda: merged["node", nodes[0]]["status"] == "down", 20, "the fault shows")
            assert [view["id"] for view in merged.entities("node") if view["simulated"]] == [nodes[0]]
            await until(lambda: merged["node", nodes[0]]["status"] == "up", 30, "it is over")
    finally:
        stop.set()
        await feeding
    assert not any(view["simulated"] for view in (await views(settings, "live")).values())


async def test_nothing_is_sent_of_a_file_with_a_fault(settings: Settings) -> None:
    result = await invoke(events, settings, "send", "-", content=lines(CREATE, {"type": "nope"}))

    assert result.exit_code == 1
    assert "nothing was sent" in str(result.exception)
    assert await states(settings, "w1") == {}


async def test_waiting_without_a_worker_says_what_to_look_at(settings: Settings) -> None:
    result = await invoke(events, settings, "send", "-", "--wait", "0.5", content=lines(CREATE))

    assert result.exit_code == 1
    assert "does `twin worker` run?" in str(result.exception)


async def test_a_world_that_is_not_there_is_named_with_those_that_are(settings: Settings) -> None:
    async with StateWriter(settings) as writer:
        await writer.put(make_state(), make_state(world="rehearsal"))

    for command in ("hash", "drop"):
        result = await invoke(world, settings, command, "rehersal")
        assert result.exit_code == 1
        assert "there is no world 'rehersal'" in str(result.exception)
        assert "did you mean rehearsal?" in str(result.exception)


async def test_live_cannot_be_dropped(settings: Settings) -> None:
    result = await invoke(world, settings, "drop", "live")

    assert result.exit_code == 1
    assert "cannot be dropped" in str(result.exception)


def _now_ms() -> int:
    return int(time.time() * 1000)
