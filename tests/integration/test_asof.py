"""The past over HTTP, from a DuckDB file; the state of now is read from the broker."""

import asyncio
import json
import secrets
import time
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
import pytest_asyncio

import streams.web.decice_history
import streams.web.moment
from streams.embedded.broker import EmbeddedBroker
from streams.history.past import Past, read_past
from streams.replica import TwinReplica
from streams.settings import Settings
from streams.stores import open_store
from streams.topics import create_topics
from tests.decice_model import Node, TwinV1, TwinV2
from tests.factories import make_state
from tests.history_model import STEP_MS, TICKS, Row, change_of, changes, load, tick_of
from tests.integration.test_worlds import world_record
from tests.statewriter import StateWriter
from tests.unit.test_past import FakeStore, views
from tests.webclient import Answer, Client, eventually, ids, ready, serving

HOUR_MS = 3_600_000

FIRST_MS = 1_751_552_580_000
"""[ms since the epoch] First tick of a load."""

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest.fixture(scope="module")
def t0() -> int:
    """Ten minutes ago, a tick."""
    now_ms = int(time.time() * 1000)
    return now_ms - now_ms % STEP_MS - 600_000


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def history(broker: EmbeddedBroker, t0: int, tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """Settings with a history: ws01 for a minute, in which it gets hot, and is down; ws02 comes and goes.

    One for all tests of this module: they only read.
    """
    path = tmp_path_factory.mktemp("history") / "history.duckdb"
    here = Settings(
        kafka_bootstrap_servers=broker.address,
        topic_prefix=f"asof-{secrets.token_hex(6)}",
        partitions=4,
        embedded=True,
        history_url=f"duckdb://{path}",
    )
    await create_topics(here)
    store = open_store(here, {})
    await store.prepare()
    rows = [
        Row(
            "node",
            "ws01",
            "1",
            t0 + n * STEP_MS,
            {"cpu_usage_percent": 10.0 + n, "load1": 1.0},
            quality=n % 3,
        )
        for n in range(12)
    ]
    rows += [Row("node", "ws02", "2", t0 + n * STEP_MS, {"cpu_usage_percent": 5.0}) for n in range(3)]
    rows.append(Row("link", "1~2", "", t0, {"network_delay_ms": 2.5}))
    changes = [
        change_of("node", "ws01", t0, nodepool="1", attributes='{"arch": "arm", "nodepool": "1"}'),
        change_of("node", "ws02", t0, nodepool="2", attributes='{"nodepool": "2"}'),
        change_of("device", "d1", t0, nodepool="2", attributes='{"name": "cam-1", "nodepool": "2"}'),
        change_of("nodepool", "1", t0, nodepool="1"),
        change_of("link", "1~2", t0, attributes='{"nodepool_a": "1", "nodepool_b": "2"}'),
        change_of("node", "ws02", t0 + 20_000, nodepool="2", status="", removed=True),
        change_of("node", "ws01", t0 + 40_000, nodepool="1", status="down", reason="silent", attributes="{}"),
    ]
    overlay = tick_of(
        "live~hot",
        [Row("node", "ws01", "1", t0, {"cpu_usage_percent": 77.0}, simulated=True)],
        [change_of("node", "ws01", t0, nodepool="1", simulated=True)],
    )
    for tick in (tick_of("live", rows, changes), overlay):
        await store.write(store.convert(tick))
    await store.close()
    return here


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def client(history: Settings) -> AsyncIterator[Client]:
    async with StateWriter(history) as writer, serving(history) as client:
        await writer.put(
            make_state(id="ws01", attributes={"nodepool": "1"}, head_values=[31.2, 1.0, 2.0]),
            make_state(id="ws09"),
            world_record("live~hot"),
        )
        await ready(client)
        await eventually(client, "/twin/v1/state?world=live~hot", lambda a: a.status == 200)
        yield client


async def test_the_state_as_of_a_moment(client: Client, t0: int) -> None:
    answer = await client.get(f"/twin/v1/state?at={t0 + 12_345}", "state")

    assert ids(answer) == ["d1", "1~2", "ws01", "ws02", "1"]
    stamp = answer.json["stamp"]
    assert (stamp["clock_ms"], stamp["tick_ms"], stamp["offsets"]) == (t0 + 12_345, t0, {})
    node = next(one for one in answer.json["entities"] if one["id"] == "ws01")
    assert node["metrics"]["cpu_usage_percent"] == {
        "value": 12.0,
        "observed_at_ms": t0 + 10_000,
        "quality": "held",
        "source": "history",
    }
    assert (node["attributes"], node["status"]) == ({"arch": "arm", "nodepool": "1"}, "up")
    assert int(answer.headers["Content-Length"]) == len(answer.body)


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("&kind=link", ["1~2"]),
        ("&id=ws02", ["ws02"]),
        ("&where=cpu_usage_percent>6", ["ws01"]),
        ("&id=x", []),
    ],
)
async def test_the_past_is_filtered_as_the_present(
    client: Client, t0: int, query: str, expected: list[str]
) -> None:
    assert ids(await client.get(f"/twin/v1/state?at={t0 + 5_000}{query}", "state")) == expected


async def test_status_and_removal_are_as_of_then(client: Client, t0: int) -> None:
    moment = datetime.fromtimestamp((t0 + 40_000) / 1000, UTC).isoformat()
    entity = await client.get(f"/twin/v1/entities/node/ws01?at={moment}", "entity")
    gone = await client.get(f"/twin/v1/entities/node/ws02?at={t0 + 20_000}")
    live = await client.get("/twin/v1/entities/node/ws01", "entity")

    assert (entity.json["status"], entity.json["status_reason"]) == ("down", "silent")
    assert entity.json["status_since_ms"] == t0 + 40_000
    assert (gone.status, gone.json["field"]) == (404, "id")
    assert live.json["metrics"]["cpu_usage_percent"]["value"] == 31.2
    full = (await client.get(f"/twin/v1/entities/node/ws01?at={t0}&full=true", "entity")).json
    assert list(full["sources"]) == ["history"]


async def test_before_anything_there_is_nothing_and_no_error(client: Client, t0: int) -> None:
    answer = await client.get(f"/twin/v1/state?at={t0 - 1}", "state")

    assert ids(answer) == []
    assert (answer.json["stamp"]["clock_ms"], answer.json["stamp"]["tick_ms"]) == (t0 - 1, None)


async def test_who_has_the_answer_gets_none_but_another_moment_is_another(client: Client, t0: int) -> None:
    first = await client.get(f"/twin/v1/state?at={t0}")
    tag = {"If-None-Match": first.headers["ETag"]}

    assert (await client.get(f"/twin/v1/state?at={t0}", headers=tag)).status == 304
    assert (await client.get(f"/twin/v1/state?at={t0 + 1}", headers=tag)).status == 200
    assert (await client.get("/twin/v1/state", headers=tag)).status == 200


@pytest.mark.parametrize("at", ["2999-01-01T00:00:00Z", "-1y", "-5M", "yesterday", "2026-01-01T00:00:00", ""])
@pytest.mark.parametrize("path", ["/twin/v1/state", "/api/v2/nodes/", "/twin/v1/documents/appendix-a"])
async def test_a_moment_that_is_none_or_to_come_is_refused(client: Client, path: str, at: str) -> None:
    answer = await client.get(path, params={"at": at})

    assert (answer.status, answer.json["field"]) == (422, "at")


async def test_an_unknown_world_has_no_past(client: Client, t0: int) -> None:
    answer = await client.get(f"/twin/v1/state?world=w9&at={t0}")

    assert (answer.status, answer.json["field"]) == (404, "world")


async def test_an_overlay_shows_live_as_of_then_but_for_what_differs(client: Client, t0: int) -> None:
    answer = await client.get(f"/twin/v1/state?world=live~hot&kind=node&at={t0}", "state")

    found = {one["id"]: one for one in answer.json["entities"]}
    assert {id: one["metrics"]["cpu_usage_percent"]["value"] for id, one in found.items()} == {
        "ws01": 77.0,
        "ws02": 5.0,
    }
    assert [one["simulated"] for one in found.values()] == [True, False]


async def test_documents_are_of_then(client: Client, t0: int) -> None:
    twin = await client.get(f"/api/v2/model_core?at={t0 + 5_000}")

    model = TwinV2.model_validate_json(twin.body)
    assert [(pool.id, [node.id for node in pool.nodes]) for pool in model.vertexpools] == [
        ("1", ["ws01"]),
        ("2", ["ws02"]),
    ]
    assert model.lastUpdated == (t0 + 5_000) / 1000
    assert model.links[0].network_delay_ms == 2.5
    nodes = await client.get(f"/api/nodes/?at={t0 + 55_000}")
    assert [Node.model_validate(one).metrics.util for one in nodes.json] == [21.0]
    appendix = await client.get(f"/twin/v1/documents/appendix-a?at={t0}", "appendix_a")
    assert len(appendix.json["nodepools"]) == 2
    latency = await client.get(f"/twin/v1/latency?devices=cam-1&at={t0 + 7_000}", "latency")
    assert latency.json["nodes"] == [
        {"node": "ws02", "vertexpool": "2", "total_ms": 0.0, "age_ms": None},
        {"node": "ws01", "vertexpool": "1", "total_ms": 2.5, "age_ms": 7_000},
    ]


async def test_who_asks_for_the_same_moment_shares_one_read(
    client: Client, t0: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    views: list[Past] = []
    original = streams.web.moment.past_view

    async def counting(past: Past) -> Any:
        views.append(past)
        return await original(past)

    monkeypatch.setattr(streams.web.moment, "past_view", counting)
    answers = await asyncio.gather(*(client.get(f"/twin/v1/state?at={t0 + 33}") for _ in range(8)))
    await client.get(f"/api/v2/nodes/?at={t0 + 33}")

    assert {answer.status for answer in answers} == {200}
    assert len({answer.body for answer in answers}) == 1
    assert len(views) == 1


async def test_without_a_store_the_past_is_away_and_the_present_is_not(history: Settings) -> None:
    async with serving(history.model_copy(update={"history_url": None})) as client:
        await ready(client)
        past = await client.get("/twin/v1/state?at=-1m")
        present = await client.get("/twin/v1/state")

    assert (past.status, present.status) == (503, 200)
    assert "TWIN_HISTORY_URL" in past.json["detail"]


async def test_what_differs_between_two_moments(client: Client, t0: int) -> None:
    answer = await client.get(
        f"/twin/v1/diff?from={t0 + 15_000}&to={t0 + 45_000}&beyond=cpu_usage_percent:5", "diff"
    )

    found = answer.json
    assert [(one["kind"], one["id"]) for one in found["removed"]] == [("node", "ws02")]
    assert found["added"] == []
    assert [(one["id"], one["before"], one["after"]) for one in found["statuses"]] == [
        ("ws01", {"status": "up", "reason": ""}, {"status": "down", "reason": "silent"})
    ]
    assert [(one["name"], one["before"], one["after"]) for one in found["attributes"]] == [
        ("arch", "arm", None)
    ]
    assert [(one["metric"], one["before"], one["after"]) for one in found["metrics"]] == [
        ("cpu_usage_percent", 13.0, 19.0)
    ]
    assert (found["before"]["clock_ms"], found["after"]["clock_ms"]) == (t0 + 15_000, t0 + 45_000)


async def test_what_differs_from_now(client: Client, t0: int) -> None:
    found = (await client.get(f"/twin/v1/diff?from={t0}&kind=node&ratio=1", "diff")).json

    assert [one["id"] for one in found["added"]] == ["ws09"]
    assert [one["id"] for one in found["removed"]] == ["ws02"]
    assert found["to_ms"] is None
    changed = {one["metric"]: one["difference"] for one in found["metrics"] if one["id"] == "ws01"}
    assert changed["cpu_usage_percent"] == pytest.approx(21.2)
    assert changed["load1"] is None


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("", "from"),
        ("?from=-1m&to=-2m", "from"),
        ("?from=x", "from"),
        ("?from=-1m&to=2999-01-01T00:00:00Z", "to"),
        ("?from=-1m&beyond=cpu", "beyond"),
        ("?from=-1m&beyond=cpu_usage_percnt:1", "beyond"),
        ("?from=-1m&ratio=-1", "ratio"),
        ("?from=-1m&ratio=nan", "ratio"),
        ("?from=-1m&kinds=node", "kinds"),
    ],
)
async def test_a_wrong_question_for_what_differs_is_refused(client: Client, query: str, field: str) -> None:
    answer = await client.get(f"/twin/v1/diff{query}")

    assert (answer.status, answer.json["field"]) == (422, field)


@pytest.mark.parametrize("prefix", ["/api", "/api/v1", "/api/v2"])
async def test_past_snapshots_are_documents_of_closed_ticks(client: Client, t0: int, prefix: str) -> None:
    answer = await client.get(f"{prefix}/past_snapshots/")

    assert (answer.status, answer.headers["Twin-Every-Ms"]) == (200, "10000")
    times = [datetime.fromisoformat(text).timestamp() * 1000 for text in answer.json]
    assert times == [t for t in range(t0 + 55_000, t0 - 1, -STEP_MS) if t % 10_000 == 0]
    model = TwinV2 if prefix == "/api/v2" else TwinV1
    documents = [model.model_validate(document) for document in answer.json.values()]
    assert [document.lastUpdated for document in documents] == [time_ms / 1000 for time_ms in times]


async def test_a_short_range_has_every_closed_tick(
    client: Client, t0: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(streams.web.decice_history, "BATCH", 3)
    start, stop = (quote(datetime.fromtimestamp(ms / 1000, UTC).isoformat()) for ms in (t0 + 1, t0 + 45_000))

    answer = await client.get(f"/api/v2/past_snapshots?start={start}&stop={stop}")

    assert answer.headers["Twin-Every-Ms"] == "5000"
    utils = [document["vertexpools"][0]["nodes"][0]["metrics"]["util"] for document in answer.json.values()]
    assert utils == [19.0, 18.0, 17.0, 16.0, 15.0, 14.0, 13.0, 12.0, 11.0]


async def test_a_range_without_a_closed_tick_is_empty(client: Client) -> None:
    assert (await client.get("/api/v2/past_snapshots/?start=-2m&stop=-1m")).json == {}


@pytest.mark.parametrize(
    ("query", "field"),
    [("start=-5M", "start"), ("start=-1y", "start"), ("start=-1m&stop=-2m", "start"), ("stop=soon", "stop")],
)
async def test_a_wrong_range_is_refused(client: Client, query: str, field: str) -> None:
    answer = await client.get(f"/api/past_snapshots/?{query}")

    assert (answer.status, answer.json["field"]) == (422, field)
    if "M" in query:
        assert "months" in answer.json["detail"]


async def test_a_past_snapshot_is_that_of_the_nearest_tick_before(client: Client, t0: int) -> None:
    async def snapshot(ms: int) -> Answer:
        text = datetime.fromtimestamp(ms / 1000, UTC).isoformat()
        return await client.get(f"/api/v2/past_snapshots/{text}")

    within, late, none = [await snapshot(t0 + ms) for ms in (12_345, 90_000, -1)]

    assert within.headers["Twin-Tick"] == datetime.fromtimestamp((t0 + 10_000) / 1000, UTC).isoformat()
    model = TwinV2.model_validate_json(within.body)
    assert model.vertexpools[0].nodes[0].metrics.util == 12.0
    assert late.headers["Twin-Tick"] == datetime.fromtimestamp((t0 + 55_000) / 1000, UTC).isoformat()
    assert (none.status, none.json["field"]) == (404, "ts")


async def test_the_replica_gives_the_past_too(history: Settings, t0: int) -> None:
    twin = TwinReplica(history)

    then = await twin.at(t0 + 5_000)
    by_date = await twin.at(datetime.fromtimestamp(t0 / 1000, UTC))
    by_text = await twin.at(datetime.fromtimestamp(t0 / 1000, UTC).isoformat())

    assert then["node", "ws01"]["metrics"]["cpu_usage_percent"]["value"] == 11.0
    assert by_date["node", "ws01"] == by_text["node", "ws01"]
    assert json.loads(json.dumps(then.stamp()))["clock_ms"] == t0 + 5_000
    for moment in ("tomorrow", datetime(2026, 1, 1), int(time.time() * 1000) + HOUR_MS):
        with pytest.raises(ValueError, match=r"is no moment|has no zone|is to come"):
            await twin.at(moment)


async def test_the_past_of_a_file_is_that_of_the_model_at_every_moment(tmp_path: Path) -> None:
    hides = change_of("link", "1~2", FIRST_MS + 5_000, status="", reason="hidden", removed=True)
    differs = [change_of("node", "n.1", FIRST_MS + 2_000, simulated=True), hides]
    ticks = [*load("live", FIRST_MS), *changes("live", FIRST_MS), tick_of("live~x", changes=differs)]
    store = open_store(Settings(history_url=f"duckdb://{tmp_path / 'h.duckdb'}", history_retention_d=0), {})
    await store.prepare()
    await store.write([item for tick in ticks for item in store.convert(tick)])
    model: Any = FakeStore(*ticks)

    for world in ("live", "live~x"):
        for at_ms in range(FIRST_MS - 1, FIRST_MS + (TICKS + 2) * STEP_MS, 3_333):
            expected = await read_past(model, world, at_ms, HOUR_MS, STEP_MS)
            found = await read_past(store, world, at_ms, HOUR_MS, STEP_MS)
            assert views(found) == views(expected), (world, at_ms - FIRST_MS)
    await store.close()
