"""DECICE's API, on records as a worker writes them; what comes of posted documents is read from the topic."""

import asyncio
import json
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
import pytest_asyncio
from aiokafka import ConsumerRecord
from pydantic import SecretStr

import streams.web.pool
import streams.web.posting
import streams.web.reading
from streams.domain.keys import event_partition
from streams.events import read_event
from streams.events.models import AnyEvent, Imported
from streams.rulebook import load_rulebook
from streams.settings import Settings
from tests.decice_model import Job, Link, Node, TwinV1, TwinV2
from tests.factories import NAN, NOW_MS, make_scenario, make_state
from tests.integration.test_worlds import world_record
from tests.statewriter import StateWriter
from tests.waiting import until
from tests.webclient import Answer, Client, eventually, other_client, ready, serving

CATALOGUE = load_rulebook().catalogue
PREFIXES = ("/api", "/api/v1", "/api/v2")
KEY = "X-Internal-Api-Key"
LISTS = (
    *("aligned_names", "aligned_values", "aligned_qualities", "head_names", "head_sources"),
    *("head_forms", "head_values", "head_times_ms", "head_rates", "head_sums"),
)
"""What a record without values has none of."""
APPENDIX_A = Path(__file__).parent.parent / "cases" / "documents" / "appendix-a.json"


def bare(kind: str, id: str, attributes: dict[str, str] | None = None, **overrides: Any) -> Any:
    """A record without values."""
    empty: dict[str, Any] = {name: [] for name in LISTS}
    return make_state(kind=kind, id=id, attributes=attributes or {}, **(empty | overrides))


def link(a: str, b: str, delay_ms: float, **overrides: Any) -> Any:
    """A link's record."""
    heads = {
        "head_names": ["network_delay_ms"], "head_sources": [0], "head_forms": [0], "head_values": [delay_ms],
        "head_times_ms": [NOW_MS - 1_000], "head_rates": [NAN], "head_sums": [NAN],
    }  # fmt: skip
    return bare("link", f"{a}~{b}", {"nodepool_a": a, "nodepool_b": b}, **(heads | overrides))


@pytest_asyncio.fixture
async def writer(settings: Settings) -> AsyncIterator[StateWriter]:
    """Two pools with a node, a device and a link between them, a node without a pool, and a job."""
    async with StateWriter(settings) as writer:
        await writer.put(
            bare("nodepool", "1", {"labels": '{"zone":"hall"}'}),
            make_state(id="ws01"),
            make_state(id="ws02", attributes={"nodepool": "2"}),
            make_state(id="ws03", attributes={}),
            bare("device", "d1", {"name": "cam-1", "nodepool": "2"}),
            link("1", "2", 2.5),
            link("2", "3", 1.0, status="down"),
            bare("job", "train", {"pods": '[{"id":"p","policies":[{"prefered_labels":["a"]}]}]'}),
            bare("cluster", "cluster"),
        )
        yield writer


@pytest_asyncio.fixture
async def client(settings: Settings, writer: StateWriter) -> AsyncIterator[Client]:
    async with serving(settings) as client:
        await ready(client)
        yield client


async def imports(topic: list[ConsumerRecord], series: int) -> list[Imported]:
    """The import events that are in the topic, once they have so many series."""
    events: list[AnyEvent] = []

    def count() -> int:
        events[len(events) :] = [read_event(record.value, CATALOGUE) for record in topic[len(events) :]]
        return sum(len(event.body.series) for event in events if isinstance(event, Imported))

    await until(lambda: count() >= series)
    assert count() == series
    return [event for event in events if isinstance(event, Imported)]


async def post(client: Client, path: str, body: Any, **headers: str) -> Answer:
    return await client.send(path, body if isinstance(body, bytes) else json.dumps(body).encode(), headers)


@pytest.mark.parametrize("prefix", PREFIXES)
@pytest.mark.parametrize("slash", ["", "/"])
async def test_every_answer_has_exactly_the_fields_of_the_data_model(
    client: Client, prefix: str, slash: str
) -> None:
    twin = await client.get(f"{prefix}/model_core{slash}", "decice_v2")

    model = (TwinV2 if prefix == "/api/v2" else TwinV1).model_validate_json(twin.body)
    assert [(pool.id, [node.id for node in pool.nodes]) for pool in model.vertexpools] == [
        ("1", ["ws01"]),
        ("2", ["ws02"]),
        ("unassigned", ["ws03"]),
    ]
    assert model.vertexpools[0].vertexpool_labels == {"zone": "hall"}
    assert [device.name for device in model.vertexpools[1].devices] == ["cam-1"]
    assert [(one.vertexpool_a_id, one.vertexpool_b_id) for one in model.links] == [("1", "2")]
    assert model.jobs[0].pods[0].policies[0].prefered_labels == ["a"]
    assert model.vertexpools[0].nodes[0].metrics.util == 31.2

    nodes = (await client.get(f"{prefix}/nodes{slash}")).json
    assert [Node.model_validate(node).id for node in nodes] == ["ws01", "ws02", "ws03"]
    assert [
        Link.model_validate(one) for one in (await client.get(f"{prefix}/links{slash}")).json
    ] == model.links
    assert [Job.model_validate(one) for one in (await client.get(f"{prefix}/jobs{slash}")).json] == model.jobs


async def test_nodes_say_their_pool_if_asked_for(client: Client) -> None:
    answer = await client.get("/api/v2/nodes/?include_vertexpool_id=true")

    nodes = [Node.model_validate(node) for node in answer.json]
    assert [node.node_info["vertexpool_id"] for node in nodes] == ["1", "2", "unassigned"]
    assert "vertexpool_id" not in (await client.get("/api/v2/nodes/")).json[0]["node_info"]


async def test_worlds_have_documents_of_their_own(client: Client, writer: StateWriter) -> None:
    hot = {"simulated": True, "head_values": [99.0, 1.0, 2.0]}
    await writer.put(
        world_record("live~o"),
        make_state(world="live~o", id="ws01", scenario=make_scenario(faults=["f1"]), **hot),
        make_state(world="live~o", id="ws02", scenario=make_scenario(hidden=True), **hot),
        world_record("w1"),
        make_state(world="w1", id="gpu01", **hot),
    )

    async def nodes(world: str) -> dict[str, float | None]:
        path = f"/api/v2/nodes/?world={world}"
        answer = await eventually(client, path, lambda a: a.status == 200)
        found = [Node.model_validate(node) for node in answer.json]
        return {node.id: node.metrics.util for node in found}

    async with asyncio.timeout(20):
        while await nodes("live~o") != {"ws01": 99.0, "ws03": 31.2}:  # noqa: ASYNC110  # it is cached
            await asyncio.sleep(0.05)
        while await nodes("w1") != {"gpu01": 99.0}:  # noqa: ASYNC110
            await asyncio.sleep(0.05)
    assert await nodes("live") == {"ws01": 31.2, "ws02": 31.2, "ws03": 31.2}
    changed = (await client.get("/api/v2/nodes/?world=live~o")).json[0]["node_info"]
    assert (changed["simulated"], changed["faults"]) == (True, ["f1"])
    assert "Age" not in (await client.get("/api/v2/model_core?world=w1")).headers


async def test_an_empty_twin_is_a_document(settings: Settings) -> None:
    async with serving(settings) as client:
        await ready(client)
        answer = await client.get("/api/v2/model_core")

    model = TwinV2.model_validate_json(answer.body)
    assert (model.lastUpdated, model.vertexpools, model.links, model.jobs) == (None, [], [], [])
    assert "Age" not in answer.headers


async def test_who_has_the_newest_document_gets_none(client: Client, writer: StateWriter) -> None:
    first = await client.get("/api/v2/model_core")
    again = await client.get("/api/v2/model_core", headers={"If-None-Match": first.headers["ETag"]})

    assert (again.status, again.body) == (304, b"")
    assert int(first.headers["Age"]) == pytest.approx(time.time() - NOW_MS / 1000, abs=60)
    other = make_state(id="ws01", version=13, head_values=[50.0, 1.0, 2.0])
    await writer.put(other)
    headers = {"If-None-Match": first.headers["ETag"]}
    newer = await eventually(client, "/api/v2/model_core", lambda a: a.status == 200, headers=headers)
    assert newer.json["vertexpools"][0]["nodes"][0]["metrics"]["util"] == 50.0


async def test_a_removed_entity_leaves_the_document(client: Client, writer: StateWriter) -> None:
    await writer.remove("live", "node", "ws02")

    await eventually(client, "/api/v2/nodes/", lambda a: [node["id"] for node in a.json] == ["ws01", "ws03"])


async def test_settings_have_no_secrets(settings: Settings) -> None:
    secret = settings.model_copy(
        update={
            "history_url": "influxdb+https://user:hidden@influx.example:8086/decice/twin",
            "history_token": SecretStr("hidden"),
            "internal_api_key": SecretStr("hidden"),
        }
    )
    async with serving(secret, "hidden") as client:
        await ready(client)
        answer = await client.get("/api/settings/")

    assert b"hidden" not in answer.body
    assert answer.json["influxdb"] == {
        "url": "https://influx.example:8086",
        "bucket": "twin",
        "org": "decice",
    }
    assert answer.json["port"] == int(client.url.rpartition(":")[2])


@pytest.mark.parametrize("path", ["/api/v2/model_core", "/api/v1/links/", "/twin/v1/latency?devices=a"])
async def test_an_unknown_world_is_named(client: Client, path: str) -> None:
    answer = await client.get(f"{path}{'&' if '?' in path else '?'}world=nowhere")

    assert (answer.status, answer.json["field"]) == (404, "world")


async def test_latency_is_the_sum_of_delays_between_pools(client: Client) -> None:
    answer = await client.get("/twin/v1/latency?devices=cam-1,d1", "latency")

    assert answer.json["devices"] == {"cam-1": "d1", "d1": "d1"}
    near, far, lost = answer.json["nodes"]
    assert near == {"node": "ws02", "vertexpool": "2", "total_ms": 0.0, "age_ms": None}
    assert (far["node"], far["total_ms"]) == ("ws01", 5.0)
    assert far["age_ms"] == pytest.approx(time.time() * 1000 - NOW_MS + 1_000, abs=60_000)
    assert lost == {"node": "ws03", "vertexpool": None, "total_ms": None, "age_ms": None}


async def test_nodes_that_are_too_far_are_left_out(client: Client) -> None:
    answer = await client.get("/twin/v1/latency?devices=cam-1&max_ms=2.4")

    assert [node["node"] for node in answer.json["nodes"]] == ["ws02"]
    assert (await client.get("/twin/v1/latency?devices=cam-1,x&max_ms=99")).json["nodes"] == []


@pytest.mark.parametrize("query", ["", "?devices=,", "?devices=a&max_ms=nan", "?devices=a&max_ms=-1"])
async def test_a_wrong_question_for_latency_is_refused(client: Client, query: str) -> None:
    assert (await client.get(f"/twin/v1/latency{query}")).status == 422


@pytest.mark.parametrize(
    "path", ["/api/v2/model_core", "/api/v2/model_core/", "/api/v1/model_core/", "/api/model_core/"]
)
async def test_a_posted_snapshot_becomes_import_events(
    client: Client, settings: Settings, topic: list[ConsumerRecord], path: str
) -> None:
    links = [{"vertexpool_a_id": "a", "vertexpool_b_id": "b", "network_delay_ms": 1, "lastUpdated": None}]

    answer = await post(client, path, {"lastUpdated": NOW_MS / 1000, "links": links})

    assert (answer.status, answer.body) == (201, b"201")
    (event,) = await imports(topic, 3)
    assert (event.sender, event.world) == ("decice", "live")
    assert topic[0].partition == event_partition("live", "decice", settings.partitions)
    body = event.body
    assert (body.source, body.pack, body.simulated) == ("decice", "decice_v2", False)
    assert (body.taken_at_ms, body.interval_ms, set(body.times_ms)) == (NOW_MS, 60_000, {NOW_MS})
    assert 'decice_link_delay{pool_a="a",pool_b="b"}' in body.series


async def test_sources_are_apart_and_the_interval_is_the_gap_between_their_snapshots(
    client: Client, topic: list[ConsumerRecord]
) -> None:
    path = "/api/v2/model_core?simulated=true&source=emulator"
    for path_, time_s in [(path, 100), ("/api/v2/model_core", 115), (path, 130), (path, 120), (path, 131)]:
        assert (await post(client, path_, {"lastUpdated": time_s})).status == 201

    events = await imports(topic, 5)
    found = [
        (one.body.source, one.body.taken_at_ms, one.body.interval_ms, one.body.simulated) for one in events
    ]
    assert sorted(found) == [
        ("decice", 115_000, 60_000, False),
        ("emulator", 100_000, 60_000, True),
        ("emulator", 120_000, 30_000, True),
        ("emulator", 130_000, 30_000, True),
        ("emulator", 131_000, 5_000, True),
    ]


@pytest.mark.parametrize("source", ["twin", "a b", "~"])
async def test_a_name_that_no_source_may_have_is_refused(client: Client, source: str) -> None:
    refused = await post(client, f"/api/v2/model_core?source={quote(source)}", {})

    assert (refused.status, refused.json["field"]) == (422, "source")


@pytest.mark.parametrize("nodes", [10, 5_000])
async def test_a_snapshot_of_any_size_is_cut_into_events_and_the_api_goes_on(
    client: Client, topic: list[ConsumerRecord], nodes: int
) -> None:
    metrics = {"util": 1, "mem_util": 2, "mem_total": 3}
    pool = {"id": "1", "nodes": [{"id": f"n{number}", "metrics": metrics} for number in range(nodes)]}

    posting = asyncio.create_task(post(client, "/api/v2/model_core?mem_unit=GB", {"vertexpools": [pool]}))
    while not posting.done():
        assert (await client.get("/health/live")).status == 200

    assert (await posting).status == 201
    events = await imports(topic, 4 * nodes + 2)
    assert len({text for event in events for text in event.body.series}) == 4 * nodes + 2
    values = {
        value
        for event in events
        for text, value in zip(event.body.series, event.body.values, strict=True)
        if text.startswith("decice_mem_total")
    }
    assert values == {3 * 1024.0}


@pytest.mark.parametrize("padding", [0, streams.web.reading.LARGE_BYTES])
async def test_a_wrong_document_is_refused_with_the_place_and_nothing_is_sent(
    client: Client, topic: list[ConsumerRecord], padding: int
) -> None:
    document = {"cluster_info": {"x": "x" * padding}, "links": [{"network_delay_ms": "far"}]}

    answer = await post(client, "/api/v2/model_core", document)

    assert answer.status == 422
    assert "$.links[0].network_delay_ms: 'far' is not of type" in answer.json["detail"]
    assert (await post(client, "/api/v2/model_core", {})).status == 201
    assert len(await imports(topic, 1)) == 1


async def test_a_body_that_is_too_large_is_refused(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streams.web.posting, "BODY_BYTES", 1_000)

    async def chunks() -> AsyncIterator[bytes]:
        for _ in range(3):
            yield b"[" * 500

    said = await post(client, "/api/v2/model_core", b"[" * 1_001)
    async with client.session.post(client.url + "/api/v2/model_core", data=chunks()) as response:
        unsaid = response.status

    assert (said.status, unsaid) == (413, 413)


async def test_with_a_key_only_those_who_have_it_may_post(settings: Settings) -> None:
    closed = settings.model_copy(update={"internal_api_key": SecretStr("geheim")})
    async with serving(closed, "geheim") as known, other_client(known) as client:
        await ready(client)
        for path in ("/api/v2/model_core", "/api/model_core/", "/pool", "/twin/v1/documents/appendix-a"):
            for headers in ({}, {KEY: "wrong"}, {KEY: "Geheim"}):
                assert (await post(client, path, {}, **headers)).status == 401
        assert (await post(client, "/api/model_core/", {}, **{KEY: "geheim"})).status == 201
        assert (await client.get("/api/v2/model_core")).status == 401
        assert (await client.get("/api/v2/model_core", headers={KEY: "geheim"})).status == 200


async def test_appendix_a_goes_out_and_in(client: Client, topic: list[ConsumerRecord]) -> None:
    answer = await client.get("/twin/v1/documents/appendix-a", "appendix_a")

    pools = [item["nodepool"] for item in answer.json["nodepools"]]
    assert [(pool["id"], pool["labels"]) for pool in pools] == [
        ("1", ["zone=hall"]),
        ("2", []),
        ("unassigned", []),
    ]
    assert pools[0]["nodes"][0]["node"]["metrics"] == {"cpu-usage-percent": 31.2}
    assert [item["network"] for item in answer.json["networks"]] == [
        {"nodepool_a_id": "1", "nodepool_b_id": "2"},
        {"nodepool_a_id": "2", "nodepool_b_id": "3"},
    ]
    assert (await post(client, "/twin/v1/documents/appendix-a", APPENDIX_A.read_bytes())).status == 201
    (event,) = await imports(topic, 38)
    assert (event.body.source, event.body.taken_at_ms) == ("appendix-a", 1_698_349_103_000)


async def test_the_pool_is_fresh_at_once(
    client: Client, writer: StateWriter, topic: list[ConsumerRecord]
) -> None:
    await put_fresh(client, writer)

    answer = await post(client, "/pool", b"")

    assert (answer.status, answer.json) == (202, {"message": "Digital Twin update completed successfully."})
    assert int(answer.headers["Age"]) < 30
    assert topic == []


async def test_the_pool_waits_for_what_is_scraped_after_the_call(
    client: Client, writer: StateWriter, topic: list[ConsumerRecord], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(streams.web.pool, "QUIET_S", 0.1)
    await put_fresh(client, writer)

    waiting = asyncio.create_task(post(client, "/pool?wait=1", b""))
    await until(lambda: topic)
    assert read_event(topic[0].value, CATALOGUE).type == "collect.now"
    # The clock passes, and nobody was scraped.
    await writer.put(make_state(version=102, seen_ms=int(time.time() * 1000) + 50, origin_offsets=[100]))
    await asyncio.sleep(0.8)
    assert not waiting.done()
    await writer.put(make_state(version=103, seen_ms=int(time.time() * 1000) + 50, origin_offsets=[101]))

    assert (await waiting).status == 202


async def test_the_pool_says_when_its_state_stays_old(
    client: Client, topic: list[ConsumerRecord], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(streams.web.pool, "WAIT_S", 0.5)

    for path in ("/pool", "/pool?wait=1"):
        answer = await post(client, path, b"")
        assert answer.status == 503
        assert "the newest scrape is" in answer.json["detail"]
    await until(lambda: len(topic) == 2)


async def test_the_pool_of_an_empty_twin_is_not_fresh(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(streams.web.pool, "WAIT_S", 0.2)
    async with serving(settings) as client:
        await ready(client)
        answer = await post(client, "/pool", b"")

    assert (answer.status, "nothing was scraped yet" in answer.json["detail"]) == (503, True)


async def put_fresh(client: Client, writer: StateWriter) -> None:
    now_ms = int(time.time() * 1000)
    await writer.put(
        make_state(version=101, seen_ms=now_ms, head_times_ms=[now_ms] * 3, origin_offsets=[100])
    )
    await eventually(client, "/api/v2/model_core", lambda a: int(a.headers["Age"]) < 30)
