"""Worlds over HTTP, in the replica and at the terminal, on records as a worker writes them."""

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio
from click.testing import CliRunner, Result

from streams.errors import TwinError
from streams.replica import TwinReplica
from streams.settings import Settings
from streams.tools.state import state
from tests.factories import NOW_MS, make_scenario, make_state
from tests.statewriter import StateWriter
from tests.waiting import DEADLINE_S
from tests.webclient import Client, eventually, ids, ready, serving

OVERLAY = "live~what-if"


def world_record(world: str, **attributes: str) -> Any:
    given = {"owner": "ada", "reason": "a try", "base": "nothing", "created_ms": str(NOW_MS), "ttl_s": "3600"}
    return bare(world, "world", world, attributes=given | {"max_entities": "20000"} | attributes, version=1)


def fault_record(world: str, place: str, **fault: Any) -> Any:
    given = {"owner": "ada", "start_ms": NOW_MS, "end_ms": None}
    return bare(world, "_fault", place, attributes={"fault": json.dumps(given | fault)})


def bare(world: str, kind: str, id: str, **fields: Any) -> Any:
    """A record without metrics."""
    none: dict[str, Any] = {
        **{f"aligned_{name}": [] for name in ("names", "values", "qualities")},
        **{
            f"head_{name}": []
            for name in ("names", "sources", "forms", "values", "times_ms", "rates", "sums")
        },
        "tick_ms": 0,
        "next_tick_ms": 0,
        "simulated": True,
    }
    return make_state(**none | fields, world=world, kind=kind, id=id)


def simulated(
    world: str, id: str, *, hidden: bool = False, faults: tuple[str, ...] = (), **fields: Any
) -> Any:
    scenario = make_scenario(hidden=hidden, faults=list(faults))
    return make_state(world=world, id=id, simulated=True, scenario=scenario, **fields)


@pytest_asyncio.fixture
async def writer(settings: Settings) -> AsyncIterator[StateWriter]:
    """Live has ws01 to ws03; the overlay changes ws01, hides ws02, adds extra; w1 has a node of its own."""
    async with StateWriter(settings) as writer:
        await writer.put(
            *(make_state(id=f"ws0{number}", version=1) for number in (1, 2, 3)),
            world_record(OVERLAY),
            bare(OVERLAY, "_world", "0"),
            simulated(OVERLAY, "ws01", faults=("f1",), status="down", version=1),
            simulated(OVERLAY, "ws02", hidden=True, version=1),
            simulated(OVERLAY, "extra", version=1),
            fault_record(
                OVERLAY, "0:f1", fault="f1", kind="node_down", entities=[["node", "ws01"]], end_ms=NOW_MS + 1
            ),
            fault_record(OVERLAY, "1:f1", fault="f1", kind="node_down", entities=[["node", "ws03"]]),
            world_record("w1", step_ms="5000", clock_ms=str(NOW_MS), base="live"),
            simulated("w1", "gpu01", version=1),
        )
        yield writer


@pytest_asyncio.fixture
async def client(settings: Settings, writer: StateWriter) -> AsyncIterator[Client]:
    async with serving(settings) as client:
        await ready(client)
        yield client


def shown(answer: Any) -> dict[str, str]:
    """World by id of all but the worlds' own records."""
    return {entity["id"]: entity["world"] for entity in answer.json["entities"] if entity["kind"] != "world"}


@pytest.mark.usefixtures("writer")
async def test_a_replica_of_an_overlay_is_live_with_what_differs(settings: Settings) -> None:
    async with TwinReplica(settings, world=OVERLAY) as twin:
        await twin.ready(DEADLINE_S)

        assert sorted(id for kind, id in twin if kind == "node") == ["extra", "ws01", "ws03"]
        assert twin["node", "ws01"]["faults"] == ["f1"]
        assert twin["node", "ws03"]["world"] == "live"
        assert twin.full("node", "ws03")["origins"] == {"twin.scrape.v1/3": 11}
        assert twin.held("node", "ws01").status == "down"
        assert twin.stamp()["world"] == OVERLAY
        assert twin.holdings.world == OVERLAY


async def test_changes_of_an_overlay_follow_live_too(settings: Settings, writer: StateWriter) -> None:
    async with TwinReplica(settings, world=OVERLAY) as twin, asyncio.timeout(DEADLINE_S):
        await twin.ready(DEADLINE_S)
        changes = twin.changes()

        await writer.put(make_state(id="ws03", version=7))
        first = await anext(changes)
        await writer.remove(OVERLAY, "node", "ws01")
        second = await anext(changes)
        await writer.remove(OVERLAY, "node", "extra")
        third = await anext(changes)

    assert first.entity is not None
    assert (first.id, first.entity["version"]) == ("ws03", 7)
    assert second.entity is not None
    assert (second.id, second.entity["world"]) == ("ws01", "live")
    assert (third.id, third.entity) == ("extra", None)


@pytest.mark.usefixtures("writer")
async def test_a_replica_of_an_isolated_world_has_nothing_else(settings: Settings) -> None:
    async with TwinReplica(settings, world="w1") as twin:
        await twin.ready(DEADLINE_S)

        assert sorted(twin) == [("node", "gpu01"), ("world", "w1")]


async def test_worlds_say_what_they_are(client: Client) -> None:
    live, overlay, isolated = (await client.get("/twin/v1/worlds", "worlds")).json["worlds"]

    assert (live["name"], live["entities"], live["owner"], live["faults"]) == ("live", 3, None, [])
    assert overlay == {
        "name": OVERLAY,
        "type": "overlay",
        "simulated": True,
        "entities": 3,
        "changed": 3,
        "owner": "ada",
        "reason": "a try",
        "base": "live",
        "created_ms": NOW_MS,
        "ttl_s": 3_600,
        "ends_ms": NOW_MS + 3_600_000,
        "max_entities": 20_000,
        "clock_ms": None,
        "step_ms": None,
        "faults": [
            {
                "id": "f1",
                "kind": "node_down",
                "entities": 2,
                "owner": "ada",
                "start_ms": NOW_MS,
                "end_ms": overlay["faults"][0]["end_ms"],
            }
        ],
    }
    assert (isolated["name"], isolated["type"], isolated["entities"]) == ("w1", "isolated", 1)
    assert (isolated["clock_ms"], isolated["step_ms"], isolated["base"]) == (NOW_MS, 5_000, "live")


async def test_the_state_of_each_world(client: Client) -> None:
    live = await client.get("/twin/v1/state", "state")
    overlay = await client.get(f"/twin/v1/state?world={OVERLAY}", "state")
    isolated = await client.get("/twin/v1/state?world=w1", "state")

    assert shown(live) == {"ws01": "live", "ws02": "live", "ws03": "live"}
    assert shown(overlay) == {"extra": OVERLAY, "ws01": OVERLAY, "ws03": "live"}
    assert shown(isolated) == {"gpu01": "w1"}
    assert overlay.json["stamp"]["world"] == OVERLAY
    assert [e["simulated"] for e in overlay.json["entities"] if e["id"] in ("ws01", "ws03")] == [True, False]


async def test_filters_hold_in_an_overlay(client: Client) -> None:
    path = f"/twin/v1/state?world={OVERLAY}&"

    assert ids(await client.get(path + "kind=node&where=status%3Ddown", "state")) == ["ws01"]
    assert ids(await client.get(path + "id=ws02&id=ws03", "state")) == ["ws03"]
    assert ids(await client.get(path + "kind=node&id=ws02&id=ws03&id=ws03", "state")) == ["ws03"]
    assert ids(await client.get(path + "kind=node&where=faults~f1", "state")) == ["ws01"]


async def test_an_entity_of_a_world(client: Client) -> None:
    path = "/twin/v1/entities/node/{}?world={}"
    changed = await client.get(path.format("ws01", OVERLAY), "entity")
    lives = await client.get(path.format("ws03", OVERLAY), "entity")

    assert (changed.json["world"], changed.json["status"], changed.json["faults"]) == (
        OVERLAY,
        "down",
        ["f1"],
    )
    assert (lives.json["world"], lives.json["simulated"]) == ("live", False)
    assert (await client.get(path.format("ws02", OVERLAY))).status == 404
    assert (await client.get(path.format("gpu01", "live"))).status == 404
    assert (await client.get(path.format("gpu01", "w1"))).status == 200


async def test_the_record_of_a_world_is_one_of_its_entities(client: Client) -> None:
    record = await client.get(f"/twin/v1/entities/world/{OVERLAY}?world={OVERLAY}", "entity")

    assert record.json["attributes"]["owner"] == "ada"


async def test_tags_hold_until_their_world_changes(client: Client, writer: StateWriter) -> None:
    paths = [f"/twin/v1/state?world={world}" for world in ("live", OVERLAY, "w1")]
    tags = [(await client.get(path)).headers["ETag"] for path in paths]

    async def statuses() -> list[int]:
        return [
            (await client.get(path, headers={"If-None-Match": tag})).status
            for path, tag in zip(paths, tags, strict=True)
        ]

    assert await statuses() == [304, 304, 304]

    await writer.put(simulated("w1", "gpu01", version=2, status="down"))
    await eventually(client, "/twin/v1/entities/node/gpu01?world=w1", lambda a: a.json["status"] == "down")
    assert await statuses() == [304, 304, 200]

    await writer.put(simulated(OVERLAY, "ws01", version=2, status="up"))
    await eventually(client, paths[1], lambda a: "ws01" in ids(a) and a.headers["ETag"] != tags[1])
    assert await statuses() == [304, 200, 200]


async def test_a_tag_of_an_entity_is_that_of_its_content(client: Client, writer: StateWriter) -> None:
    path = f"/twin/v1/entities/node/ws01?world={OVERLAY}"
    tag = (await client.get(path)).headers["ETag"]
    assert (await client.get(path, headers={"If-None-Match": tag})).status == 304

    # Live's record has the same version as the overlay's.
    await writer.remove(OVERLAY, "node", "ws01")

    back = await eventually(client, path, lambda a: a.status == 200 and a.json["world"] == "live")
    assert back.headers["ETag"] != tag


@pytest.mark.parametrize("route", ["state", "freshness", "ledger", "entities/node/ws01"])
async def test_an_unknown_world_is_named_with_those_that_there_are(client: Client, route: str) -> None:
    answer = await client.get(f"/twin/v1/{route}?world=live~what-is")

    assert (answer.status, answer.json["field"]) == (404, "world")
    assert "there is live, live~what-if, w1" in answer.json["detail"]
    assert answer.json["near"][0] == OVERLAY


async def test_freshness_and_ledger_of_a_world(client: Client) -> None:
    freshness = await client.get(f"/twin/v1/freshness?world={OVERLAY}", "freshness")
    ledger = await client.get("/twin/v1/ledger?world=w1", "ledger")

    nodes = next(kind for kind in freshness.json["kinds"] if kind["kind"] == "node")
    assert (nodes["entities"], nodes["statuses"]) == (3, {"down": 1, "up": 2})
    assert ledger.json["world"] == "w1"


async def test_a_world_that_ends_is_gone(client: Client, writer: StateWriter) -> None:
    await writer.remove("w1", "world", "w1")

    gone = await eventually(client, "/twin/v1/state?world=w1", lambda a: a.status == 404)

    assert "live, live~what-if" in gone.json["detail"]
    assert len((await client.get("/twin/v1/worlds", "worlds")).json["worlds"]) == 2


async def test_a_fault_that_cannot_be_read_spoils_no_answer(client: Client, writer: StateWriter) -> None:
    await writer.put(
        bare("w1", "_fault", "0:a", attributes={"fault": "[1"}),
        bare("w1", "_fault", "0:b", attributes={}),
        fault_record("w1", "0:c", fault="c", kind="node_down"),
        fault_record("w1", "0:d", fault="d", kind="link_down", entities=[]),
        fault_record("w1", "0:set:node/a", fault="set:node/a", kind="set", entities=[["node", "a"]]),
    )

    def has_one(answer: Any) -> bool:
        return [fault["id"] for fault in answer.json["worlds"][2]["faults"]] == ["d"]

    await eventually(client, "/twin/v1/worlds", has_one)


def run(settings: Settings, *arguments: str) -> Result:
    return CliRunner().invoke(state, arguments, obj=settings)


@pytest.mark.usefixtures("writer")
async def test_the_state_of_a_world_at_the_terminal(settings: Settings) -> None:
    result = await asyncio.to_thread(run, settings, "--world", OVERLAY, "--kind", "node", "--json")

    assert result.exit_code == 0, result.stderr
    assert [entity["id"] for entity in json.loads(result.stdout)["entities"]] == ["extra", "ws01", "ws03"]


@pytest.mark.usefixtures("writer")
@pytest.mark.parametrize("world", ["live~what-is", "w2"])
async def test_a_world_that_is_not_there_is_no_empty_table(settings: Settings, world: str) -> None:
    result = await asyncio.to_thread(run, settings, "--world", world)

    assert isinstance(result.exception, TwinError)
    assert f"there is no world {world!r}: there are live, live~what-if, w1" in str(result.exception)
