"""POST /twin/v1/events, on records as a worker writes them; what is sent is read from the topic."""

import asyncio
import json
import re
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio
from aiokafka import ConsumerRecord

import streams.web.outbox
import streams.web.resolving
from streams.domain.keys import event_partition
from streams.events import check_resolved, read_event
from streams.events.models import AnyEvent
from streams.records import State
from streams.rulebook import load_rulebook
from streams.settings import Settings
from streams.topics import topics_of
from streams.web.fromlive import MAX_BYTES
from tests.factories import NOW_MS, make_state
from tests.integration.test_worlds import bare, simulated, world_record
from tests.statewriter import StateWriter
from tests.waiting import until
from tests.webclient import Answer, Client, eventually, ready, serving

CATALOGUE = load_rulebook().catalogue
PATH = "/twin/v1/events"


@pytest_asyncio.fixture
async def writer(settings: Settings) -> AsyncIterator[StateWriter]:
    """Live has three nodes, w1 two and a job, an overlay nothing of its own."""
    async with StateWriter(settings) as writer:
        await writer.put(
            make_state(id="ws01", version=1),
            make_state(id="ws02", status="down", attributes={"nodepool": "2"}),
            make_state(id="ws03", aligned_values=[100.00000000000001, 5.0], tick_ms=NOW_MS),
            bare("live", "world", "live", simulated=False),
            world_record("w1"),
            simulated("w1", "gpu01", attributes={"rack": "4", "arch": "arm64"}),
            simulated("w1", "gpu02", attributes={"rack": "5", "arch": "arm64"}),
            bare("w1", "job", "j1"),
            world_record("live~o"),
        )
        yield writer


@pytest_asyncio.fixture
async def client(settings: Settings, writer: StateWriter) -> AsyncIterator[Client]:
    async with serving(settings) as client:
        await ready(client)
        yield client


def event(type: str, world: str, body: Any = None, **more: Any) -> dict[str, Any]:
    return {"type": type, "world": world, "body": body or {}} | more


def fault(world: str = "w1", ids: Any = (), **body: Any) -> dict[str, Any]:
    selector = {"kind": "node", "ids": list(ids)} | body.pop("selector", {})
    return event("fault.start", world, {"kind": "node_down", "selector": selector} | body)


async def post(client: Client, document: Any, query: str = "") -> Answer:
    answer = await client.post(PATH + query, document)
    if answer.status in (200, 202):
        client.check(answer, "sent" if answer.status == 202 else "dry_run")
    return answer


async def sent(topic: list[ConsumerRecord], count: int) -> list[AnyEvent]:
    """The events that are in the topic, once there are so many; each may be applied as it is."""
    await until(lambda: len(topic) >= count)
    events = [read_event(record.value, CATALOGUE) for record in topic]
    for one in events:
        check_resolved(one)
    return events


async def test_an_event_is_in_kafka_where_the_answer_says(
    client: Client, settings: Settings, topic: list[ConsumerRecord]
) -> None:
    answer = await post(client, event("world.drop", "w1", id="e1", sender="ada"))

    assert answer.status == 202
    partition = event_partition("w1", "ada", settings.partitions)
    assert answer.json == {
        "topic": topics_of(settings)["event"],
        "events": [{"id": "e1", "partition": partition, "offset": 0}],
    }
    (found,) = await sent(topic, 1)
    assert (found.id, found.type, found.world, found.sender) == ("e1", "world.drop", "w1", "ada")
    assert found.at_ms > NOW_MS
    assert (topic[0].partition, topic[0].offset) == (partition, 0)


async def test_several_events_keep_their_order_and_each_gets_an_id(
    client: Client, topic: list[ConsumerRecord]
) -> None:
    events = [event("world.advance", "w1", {"by_ms": 1_000 + number}) for number in range(50)]

    answer = await post(client, events)

    found = await sent(topic, 50)
    assert [one.body.by_ms for one in found] == [1_000 + number for number in range(50)]  # type: ignore[union-attr]
    assert [one["id"] for one in answer.json["events"]] == [one.id for one in found]
    assert len({one.id for one in found}) == 50


async def test_a_cue_goes_to_live(client: Client, topic: list[ConsumerRecord]) -> None:
    assert (await post(client, {"type": "collect.now", "body": {"sources": ["slurm"]}})).status == 202

    assert (await sent(topic, 1))[0].world == "live"


@pytest.mark.parametrize(
    ("selector", "expected"),
    [
        ({}, ["gpu01", "gpu02"]),
        ({"ids": ["gpu02", "gpu02"]}, ["gpu02"]),
        ({"labels": {"arch": "arm64"}}, ["gpu01", "gpu02"]),
        ({"labels": {"arch": "arm64", "rack": "5"}}, ["gpu02"]),
        ({"ids": ["gpu01"], "labels": {"arch": "arm64"}}, ["gpu01"]),
    ],
)
async def test_selectors_become_ids(
    client: Client, topic: list[ConsumerRecord], selector: dict[str, Any], expected: list[str]
) -> None:
    dry = await post(client, fault(selector=selector), "?dry_run=true")
    wet = await post(client, fault(selector=selector))

    assert (dry.status, wet.status) == (200, 202)
    assert [one["id"] for one in dry.json["events"][0]["entities"]] == expected
    (found,) = await sent(topic, 1)
    assert found.body.selector.ids == expected  # type: ignore[union-attr]
    assert found.body.selector.labels == {}  # type: ignore[union-attr]


async def test_a_fault_of_an_overlay_is_resolved_among_lives_entities(
    client: Client, topic: list[ConsumerRecord]
) -> None:
    await post(client, fault("live~o", selector={"labels": {"nodepool": "1"}}))

    (found,) = await sent(topic, 1)
    assert found.body.selector.ids == ["ws01", "ws03"]  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("document", "field", "text"),
    [
        (fault(ids=["gpu1"]), "body.selector.ids.0", "did you mean gpu01"),
        (fault(selector={"labels": {"rak": "4"}}), "body.selector.labels.rak", "did you mean rack?"),
        (fault(max_entities=1), "body.max_entities", "it would touch 2 entities of kind node, more than 1"),
        (event("fault.start", "w1", {"kind": "node_down"}), "body.selector", "is missing"),
        (
            fault(kind="metric_fixed", metrics=["cpu_usge"], value=1.0),
            "body.metrics.0",
            "did you mean cpu_usage_percent",
        ),
        (fault("live"), "world", "touches live"),
        (
            event("entity.remove", "w1", {"entities": [{"kind": "job", "id": "j2"}]}),
            "body.entities.0.id",
            "j1",
        ),
        (event("world.boom", "w1"), "type", "world.boom"),
        ({"type": "world.drop", "world": "W 1"}, "world", "W 1"),
        (event("import", "live", {}), "body.source", "missing"),
        (17, "event", "17"),
    ],
)
async def test_what_is_wrong_is_named_by_its_place_and_nothing_is_sent(
    client: Client,
    topic: list[ConsumerRecord],
    monkeypatch: pytest.MonkeyPatch,
    document: Any,
    field: str,
    text: str,
) -> None:
    monkeypatch.setattr(streams.web.resolving, "WAIT_S", 0.1)
    alone = await post(client, document)
    among = await post(client, [event("world.advance", "w1", {"by_ms": 1}), document])
    dry = await post(client, document, "?dry_run=true")

    assert (alone.status, among.status, dry.status) == (422, 422, 422)
    assert (alone.json["field"], text in alone.json["detail"]) == (field, True), alone.json
    assert among.json["errors"][0]["field"] in (f"1.{field}", "1")
    await post(client, event("collect.now", "live", id="last"))
    assert [one.id for one in await sent(topic, 1)] == ["last"]


async def test_every_wrong_field_of_all_events_is_named(client: Client) -> None:
    wrong = fault(kind="metric_fixed", metrics=["a", "b"], value=1.0)

    answer = await post(client, [event("world.advance", "w1", {}), wrong, wrong])

    named = [error["field"] for error in answer.json["errors"]]
    assert named[0].startswith("0.body")
    assert named[1:] == [f"{n}.body.metrics.{place}" for n in (1, 2) for place in (0, 1)]
    assert "and 2 more" in answer.json["detail"]


async def test_imports_are_not_posted_as_events(client: Client) -> None:
    body = {"source": "a", "pack": "b", "interval_ms": 0, "taken_at_ms": 1, "series": [], "values": []}

    answer = await post(client, event("import", "live", body))

    assert (answer.status, answer.json["field"]) == (422, "type")


async def test_history_is_loaded_only_where_it_is_kept(client: Client) -> None:
    answer = await post(client, event("world.load", "w1", {"from_ms": 1}))

    assert answer.status == 503
    assert answer.json["type"] == "urn:decice-twin:no-history"


@pytest.mark.parametrize("query", ["", "?dry_run=true"])
async def test_an_unknown_world_is_named(client: Client, monkeypatch: pytest.MonkeyPatch, query: str) -> None:
    monkeypatch.setattr(streams.web.resolving, "WAIT_S", 0.1)
    answer = await post(client, [event("collect.now", "live"), event("world.drop", "w2")], query)

    assert (answer.status, answer.json["field"]) == (404, "1.world")
    assert answer.json["near"] == ["w1"]


async def test_a_world_that_is_on_its_way_is_waited_for(client: Client, writer: StateWriter) -> None:
    async def come() -> None:
        await asyncio.sleep(0.2)
        await writer.put(world_record("w2"), simulated("w2", "n1"))

    posted, _ = await asyncio.gather(post(client, fault("w2", ids=["n1"])), come())

    assert posted.status == 202


async def test_a_batch_may_use_the_world_that_it_makes(client: Client, topic: list[ConsumerRecord]) -> None:
    entities = [{"kind": "node", "id": id, "attributes": {"rack": id[-1]}} for id in ("n1", "n2")]

    answer = await post(
        client,
        [
            event("world.create", "w2", {"owner": "ada"}),
            event("entity.set", "w2", {"entities": entities}),
            fault("w2", selector={"labels": {"rack": "2"}}, fault="f"),
            event("entity.remove", "w2", {"entities": [{"kind": "node", "id": "n2"}]}),
            fault("w2", fault="g"),
            event("world.create", "live~new", {"owner": "ada"}),
            fault("live~new", ids=["ws01"]),
        ],
    )

    assert answer.status == 202
    found = await sent(topic, 7)
    ids = {(one.world, one.body.fault): one.body.selector.ids for one in found if one.type == "fault.start"}
    assert ids == {("w2", "f"): ["n2"], ("w2", "g"): ["n1"], ("live~new", None): ["ws01"]}


async def test_a_world_that_a_batch_drops_is_gone_for_what_follows(client: Client) -> None:
    gone = await post(client, [event("world.drop", "w1"), event("world.advance", "w1", {"by_ms": 1})])
    again = await post(
        client,
        [
            event("world.drop", "w1"),
            event("world.create", "w1", {"owner": "ada"}),
            event("world.advance", "w1", {"by_ms": 1}),
        ],
    )

    assert (gone.status, gone.json["field"]) == (404, "1.world")
    assert again.status == 202


async def test_a_name_that_is_taken_is_refused_but_a_creation_may_be_sent_again(client: Client) -> None:
    create = event("world.create", "w1", {"owner": "ada"})
    copy = event("world.create", "w1", {"owner": "ada", "base": "live"}, id="e1")

    assert (await post(client, create)).status == 409
    assert (await post(client, copy)).status == 409
    assert (await post(client, create | {"id": "e1"})).status == 202
    assert (await post(client, [create | {"id": "e1"}, event("world.drop", "w1")])).status == 202


async def test_dry_run_says_what_each_event_would_touch(client: Client, topic: list[ConsumerRecord]) -> None:
    events = [
        event("entity.set", "w1", {"entities": [{"kind": "node", "id": "new"}]}),
        fault("w1", fault="f"),
        event("fault.stop", "w1", {"fault": "f"}),
        event("fault.stop", "w1", {"fault": "unknown"}),
        event("world.advance", "w1", {"by_ms": 1}),
        event("collect.now", "live"),
        event("world.create", "w2", {"owner": "ada", "base": "live"}),
        event("world.drop", "w1"),
    ]

    answer = (await post(client, events, "?dry_run=true")).json["events"]

    assert [(one["type"], one["count"], one["whole_world"]) for one in answer] == [
        ("entity.set", 1, False),
        ("fault.start", 3, False),
        ("fault.stop", 3, False),
        ("fault.stop", 0, False),
        ("world.advance", 4, True),
        ("collect.now", 0, False),
        ("world.create", 3, False),
        ("world.drop", 4, True),
    ]
    assert answer[1]["entities"] == [{"kind": "node", "id": id} for id in ("gpu01", "gpu02", "new")]
    assert answer[4]["entities"] == []
    await post(client, event("collect.now", "live", id="last"))
    assert [one.id for one in await sent(topic, 1)] == ["last"]


async def test_a_world_that_begins_as_live_gets_its_entities(
    client: Client, settings: Settings, topic: list[ConsumerRecord]
) -> None:
    answer = await post(client, event("world.create", "w2", {"owner": "ada", "base": "live"}, id="c"))

    assert [one["id"] for one in answer.json["events"]] == ["c", "c+1"]
    create, entities = await sent(topic, 2)
    body: Any = create.body
    # ws02 is down, so that the newest tick of all others counts.
    assert (body.base, body.clock_ms, body.step_ms) == ("live", NOW_MS - 5_000, settings.step_ms)
    given: Any = entities.body
    assert (given.at_ms, given.interval_ms, given.source) == (NOW_MS - 5_000, 0, "scenario")
    by_id = {entity.id: entity for entity in given.entities}
    assert set(by_id) == {"ws01", "ws02", "ws03"}
    assert by_id["ws01"].attributes == {"nodepool": "1", "arch": "x86_64", "system": "linux"}
    assert by_id["ws01"].metrics == {"cpu_usage_percent": 30.9, "mem_total_bytes": 270_000_000_000.0}
    assert by_id["ws02"].metrics == {}
    assert by_id["ws03"].metrics["cpu_usage_percent"] == 100.0


async def test_totals_of_live_are_not_set_in_a_world_that_begins_as_live(
    client: Client, writer: StateWriter, topic: list[ConsumerRecord]
) -> None:
    def summed(*sources: str, **fields: Any) -> State:
        """Each source gives one metric, the twin a number of nodes."""
        names, count = ["nodes_count", "power_watts"][: len(sources)], len(sources)
        lists = {
            "aligned_names": names,
            "aligned_values": [2.0, 30.0][:count],
            "aligned_qualities": [0] * count,
            "head_names": names,
            "head_sources": list(range(count)),
            "head_values": [2.0, 30.0][:count],
            "source_names": list(sources),
            "targets": [f"{name} " for name in sources],
            "source_counts": [0] * 5 * count,
        }
        same = {"head_forms": 0, "head_times_ms": NOW_MS, "head_rates": 0.0, "head_sums": 0.0}
        same |= {"source_priorities": 10, "source_intervals_ms": 5_000, "source_good_ms": NOW_MS}
        same |= {"source_failures": 0}
        return make_state(
            attributes={}, **lists, **{name: [one] * count for name, one in same.items()}, **fields
        )

    await writer.put(
        summed("twin", "meter", kind="cluster", id="cluster"), summed("twin", kind="nodepool", id="1")
    )
    await eventually(client, "/twin/v1/state", lambda a: len(a.json["entities"]) >= 5)

    await post(client, event("world.create", "w2", {"owner": "ada", "base": "live"}))

    given: Any = (await sent(topic, 2))[1].body
    assert {(one.kind, one.id): one.metrics for one in given.entities if one.kind != "node"} == {
        ("cluster", "cluster"): {"power_watts": 30.0}
    }


async def test_what_the_creation_says_of_time_counts(client: Client, topic: list[ConsumerRecord]) -> None:
    body = {"owner": "ada", "base": "live", "clock_ms": 60_000, "step_ms": 1_000}

    await post(client, event("world.create", "w2", body))

    create, entities = await sent(topic, 2)
    assert (create.body.clock_ms, create.body.step_ms) == (60_000, 1_000)  # type: ignore[union-attr]
    assert entities.body.at_ms == 60_000  # type: ignore[union-attr]


async def test_a_large_live_world_comes_in_chunks(
    client: Client, writer: StateWriter, topic: list[ConsumerRecord]
) -> None:
    text = "x" * 2_000
    await writer.put(*(make_state(id=f"n{number:03}", attributes={"doc": text}) for number in range(300)))
    await eventually(client, "/twin/v1/state?kind=node", lambda a: len(a.json["entities"]) == 303)
    body = {"owner": "ada", "base": "live", "max_entities": 302}

    refused = await post(client, event("world.create", "w2", body))
    await post(client, event("world.create", "w2", body | {"max_entities": 303}))

    assert (refused.status, refused.json["field"]) == (422, "body.max_entities")
    assert "303" in refused.json["detail"]
    found = await sent(topic, 5)
    sizes = [len(one.body.entities) for one in found[1:]]  # type: ignore[union-attr]
    assert sum(sizes) == 303
    assert max(len(record.value) for record in topic) < MAX_BYTES + 10_000
    assert max(sizes) <= 200


@pytest.mark.parametrize(
    ("body", "media_type", "status"),
    [
        (b"{}", "text/plain", 415),
        (b"{}", "", 415),
        (b"{", "application/json", 422),
        (b"\xff", "application/json", 422),
        (b"[" * 100_000, "application/json", 422),
        (b"[]", "application/json", 422),
        (b"", "application/json", 422),
        (json.dumps([event("world.drop", "w1")] * 1_001).encode(), "application/json", 422),
        (b'"' + b"x" * 9_000_000 + b'"', "application/json", 413),
        (b'{"type": "world.advance", "world": "w1", "body": {"by_ms": NaN}}', "application/json; v=1", 422),
    ],
)
async def test_a_body_that_cannot_be_taken_says_why(
    client: Client, body: bytes, media_type: str, status: int
) -> None:
    headers = {"Content-Type": media_type}

    answer = await client.send(PATH, body, headers)

    assert answer.status == status, answer
    assert answer.headers["Content-Type"] == "application/problem+json"


async def test_a_misspelt_dry_run_sends_nothing(client: Client) -> None:
    answer = await post(client, event("world.drop", "w1"), "?dryrun=true")

    assert (answer.status, answer.json["field"]) == (422, "dryrun")


async def test_events_are_described_in_the_api_and_by_a_schema(client: Client) -> None:
    openapi = (await client.get("/openapi.json")).json
    again = (await client.get("/openapi.json")).json

    assert openapi == again
    assert "Event.NodeDown" in openapi["components"]["schemas"]
    text = json.dumps(openapi)
    for name in {re.split('["/]', part)[0] for part in text.split("#/components/schemas/")[1:]}:
        assert name in openapi["components"]["schemas"]
    assert client.schemas["event"]["discriminator"]["propertyName"] == "type"


async def test_kafka_away_is_a_problem_and_the_api_starts_without_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(streams.web.outbox, "SEND_S", 1.0)
    away = Settings(kafka_bootstrap_servers="127.0.0.1:1", embedded=True)

    async with serving(away) as client:
        cue = await post(client, event("collect.now", "live"))
        scenario = await post(client, event("world.drop", "w1"))

    assert (cue.status, cue.json["type"]) == (503, "urn:decice-twin:kafka-away")
    assert (scenario.status, scenario.json["type"]) == (503, "urn:decice-twin:not-ready")
    assert cue.headers["Retry-After"] == "2"
