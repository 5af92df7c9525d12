"""History put into worlds, and written as scenarios: `world.load`, `twin vte export --at`."""

import asyncio
import json
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from click.testing import CliRunner

from streams.domain.times import moment_text
from streams.history.livelog import read_closed
from streams.replica import TwinReplica
from streams.settings import Settings
from streams.stores.duckdb import DuckStore
from streams.tools.replay import replay
from streams.tools.vte import vte
from tests.closed_ticks import METRICS, ticks_of, value_of
from tests.services.waiting import until
from tests.webclient import Answer, Client, ready, serving
from tests.worlds import deadletters, event

pytestmark = [pytest.mark.timeout(180), pytest.mark.usefixtures("worker")]

STEP_MS = 5_000
FIRST_MS = int(time.time() * 1000) // STEP_MS * STEP_MS - 600_000
TICKS = 30
CLOCK_MS = 1_750_000_000_000
"""[ms since the epoch] Where the clock of the world begins: not in history's time."""

IDS = ("n0", "n1", "n2")
CPU = METRICS[0]


@pytest_asyncio.fixture
async def past(settings: Settings, tmp_path: Path) -> Settings:
    """Settings with a history of three nodes: half an hour ago, two and a half minutes long."""
    store = DuckStore(tmp_path / "history.duckdb", 7)
    await store.prepare()
    items = [
        item
        for number in range(TICKS)
        for item in store.convert(ticks_of(IDS, FIRST_MS + number * STEP_MS, changed=number == 0))
    ]
    assert await store.write(items) == []
    await store.close()
    return settings.model_copy(update={"history_url": f"duckdb://{tmp_path / 'history.duckdb'}"})


@pytest_asyncio.fixture
async def client(past: Settings) -> AsyncIterator[Client]:
    async with serving(past) as client:
        await ready(client)
        yield client


async def post(client: Client, *events: dict[str, Any], query: str = "") -> Answer:
    return await client.post(f"/twin/v1/events{query}", list(events))


def created(world: str) -> dict[str, Any]:
    return event("world.create", world, owner="tests", clock_ms=CLOCK_MS, step_ms=STEP_MS)


def tick(number: int) -> int:
    """[ms since the epoch] A tick of the history."""
    return FIRST_MS + number * STEP_MS


async def test_a_moment_of_history_is_what_a_world_begins_with(client: Client, past: Settings) -> None:
    load = event("world.load", "w1", from_ms=tick(10) + 1_234)

    answer = await post(client, created("w1"), load)

    assert answer.status == 202, answer
    async with TwinReplica(past, "w1") as twin:
        await twin.ready(30)
        await until(lambda: len(twin.ids("node")) == 3, 30, "the nodes are there")
        for number, id in enumerate(IDS):
            node = twin["node", id]
            assert node["attributes"] == {"arch": "x86_64", "nodepool": "1"}
            assert node["simulated"]
            assert node["metrics"][CPU]["value"] == pytest.approx(min(100.0, value_of(0, number, tick(10))))
    assert await deadletters(past) == []


async def test_a_range_of_history_moves_a_world_tick_by_tick(client: Client, past: Settings) -> None:
    load = event("world.load", "w2", from_ms=tick(10), to_ms=tick(20), speed=1_000.0)

    answer = await post(client, created("w2"), load)

    assert answer.status == 202, answer
    async with TwinReplica(past, "w2") as twin:
        await twin.ready(30)

        def clock_ms() -> int:
            record = twin.get(("world", "w2"))
            return int(record["attributes"]["clock_ms"]) if record else 0

        await until(lambda: clock_ms() == CLOCK_MS + 10 * STEP_MS, 30, "the range is loaded")
        await until(
            lambda: twin["node", "n1"]["aligned"]["tick_ms"] == CLOCK_MS + 10 * STEP_MS, 30, "its last tick"
        )
        aligned = twin["node", "n1"]["aligned"]
        assert aligned["values"][CPU] == pytest.approx(min(100.0, value_of(0, 1, tick(20))))
    assert await deadletters(past) == []


async def test_a_dry_run_says_what_a_load_would_touch(client: Client) -> None:
    load = event("world.load", "w3", from_ms=tick(10))

    answer = await post(client, created("w3"), load, query="?dry_run=true")

    assert answer.status == 200
    assert [entity["id"] for entity in answer.json["events"][1]["entities"]] == list(IDS)


@pytest.mark.parametrize(
    ("body", "field", "text"),
    [
        ({"from_ms": 9_999_999_999_999}, "1.body.from_ms", "is to come"),
        ({"from_ms": FIRST_MS, "to_ms": FIRST_MS}, "1.body.to_ms", "must be after from_ms"),
        ({"from_ms": FIRST_MS - 90_000_000, "to_ms": FIRST_MS}, "1.body.to_ms", "at most 24 h later"),
        ({"from_ms": FIRST_MS - 1_000}, "1.body.from_ms", "history has no entity of live at"),
    ],
)
async def test_a_load_that_cannot_be_says_why(
    client: Client, body: dict[str, int], field: str, text: str
) -> None:
    answer = await post(client, created("w4"), event("world.load", "w4", **body))

    assert answer.status == 422, answer
    assert answer.json["field"] == field
    assert text in answer.json["detail"]


async def test_ticks_of_history_are_played_where_the_log_does_not_reach(past: Settings) -> None:
    span = ("--from", moment_text(tick(5)), "--to", moment_text(tick(14)))

    here = await asyncio.to_thread(CliRunner().invoke, replay, span, obj=past)
    played = await asyncio.to_thread(CliRunner().invoke, replay, [*span, "--world", "h1"], obj=past)

    assert "the log does not reach back to --from" in str(here.exception)
    assert played.exit_code == 0, (played.output, played.exception)
    assert "plays the ticks of history" in played.stderr
    assert "from history, so its hash is its own" in played.stderr
    rows = await read_closed(past, "h1", tick(5), tick(14), sent_ms=int(time.time() * 1000) - 120_000)
    assert len(rows) == 10 * len(IDS)
    for tick_ms, _, id, complete, names, values, qualities in rows:
        assert complete
        assert set(qualities) == {0}
        expected = {name: value_of(place, IDS.index(id), tick_ms) for place, name in enumerate(METRICS)}
        assert dict(zip(names, values, strict=True)) == pytest.approx(expected)
    async with TwinReplica(past, "h1") as twin:
        await twin.ready(30)
        assert twin["node", "n0"]["attributes"] == {"arch": "x86_64", "nodepool": "1"}
    assert await deadletters(past) == []


async def test_live_as_it_was_is_exported_as_a_scenario(past: Settings) -> None:
    words = ("export", "--world", "live", "--at", moment_text(tick(10)))

    result = await asyncio.to_thread(CliRunner().invoke, vte, words, obj=past)

    assert result.exit_code == 0, (result.output, result.exception)
    nodes = [node for pool in json.loads(result.stdout)["cluster"]["vertexpools"] for node in pool["nodes"]]
    assert {node["id"] for node in nodes} == set(IDS)
