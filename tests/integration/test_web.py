import json
import re
import secrets
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from jsonschema import Draft202012Validator

from streams.embedded.broker import EmbeddedBroker
from streams.schemas import load_codec
from streams.settings import Settings
from streams.topics import RECORDS, create_topics
from tests.factories import make_state
from tests.statewriter import StateWriter
from tests.webclient import Client, eventually, ids, ready, serving

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def settings(broker: EmbeddedBroker) -> Settings:
    """One set of topics for all tests of this module: they only read."""
    fresh = Settings(
        kafka_bootstrap_servers=broker.address,
        kafka_security_protocol="PLAINTEXT",
        topic_prefix=f"web-{secrets.token_hex(6)}",
        partitions=4,
        embedded=True,
    )
    await create_topics(fresh)
    return fresh


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def client(settings: Settings) -> AsyncIterator[Client]:
    """Asks a web role that holds five records."""
    async with StateWriter(settings) as writer, serving(settings) as client:
        await writer.put(
            make_state(id="ws01", version=1),
            make_state(id="ws02", status="down", status_reason="node_exporter: silent"),
            make_state(id="1~2", kind="link"),
            make_state(id="cam/1 é", kind="device", features={"score": 0.5}),
            make_state(id="0", kind="_ledger", source_counts=[100, 1, 2, 3, 4]),
        )
        await ready(client)
        await eventually(
            client, "/twin/v1/worlds", lambda a: a.status == 200 and a.json["worlds"][0]["entities"] == 4
        )
        yield client


async def test_the_whole_state_with_its_stamp(client: Client) -> None:
    answer = await client.get("/twin/v1/state", "state")

    assert ids(answer) == ["cam/1 é", "1~2", "ws01", "ws02"]
    stamp = answer.json["stamp"]
    assert stamp["world"] == "live"
    assert stamp["entities"] == 4
    assert stamp["complete_share"] == 0.75
    assert sum(stamp["offsets"].values()) == 5
    assert int(answer.headers["Content-Length"]) == len(answer.body)


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ([("kind", "node")], ["ws01", "ws02"]),
        ([("kind", "link"), ("kind", "device")], ["cam/1 é", "1~2"]),
        ([("kind", "job")], []),
        ([("id", "ws02")], ["ws02"]),
        ([("kind", "device"), ("id", "cam/1 é")], ["cam/1 é"]),
        ([("kind", "link"), ("id", "ws01")], []),
        ([("world", "live"), ("where", "status!=up")], ["ws02"]),
        ([("where", "kind=node cpu_usage_percent>31")], ["ws01", "ws02"]),
        ([("where", 'id="cam/1 é"')], ["cam/1 é"]),
    ],
)
async def test_filters(client: Client, query: list[tuple[str, str]], expected: list[str]) -> None:
    for _ in range(2):  # encoded, and from the cache
        answer = await client.get("/twin/v1/state", "state", params=query)

        assert ids(answer) == expected
        assert answer.json["stamp"]["entities"] == len(expected)


@pytest.mark.parametrize(
    ("path", "status", "field", "text"),
    [
        ("/twin/v1/state?world=mars", 404, "world", "mars"),
        ("/twin/v1/state?kind=nodes", 404, "kind", "node, device"),
        ("/twin/v1/state?knd=node", 422, "knd", "no such parameter"),
        ("/twin/v1/state?where=cpu", 422, "where", "'cpu'"),
        ("/twin/v1/state?where=cpu>x", 422, "where", "numbers"),
        ("/twin/v1/state?where=" + "a" * 2_001, 422, "where", "2000"),
        ("/twin/v1/entities/node/ws1", 404, "id", "ws01"),
        ("/twin/v1/entities/nodes/ws01", 404, "kind", "kinds are"),
        ("/twin/v1/entities/node/ws01?world=mars", 404, "world", "mars"),
        ("/twin/v1/entities/node/ws01?full=perhaps", 422, "full", "boolean"),
        ("/twin/v1/entities/_ledger/0", 404, "kind", "kinds are"),
        ("/twin/v1/freshness?world=mars", 404, "world", "mars"),
        ("/twin/v1/ledger?world=mars", 404, "world", "mars"),
        ("/twin/v1/worlds?x=1", 422, "x", "no such parameter"),
        ("/twin/v1/schemas?x=1", 422, "x", "no such parameter"),
        ("/nothing/here", 404, None, "/docs"),
    ],
)
async def test_errors_are_problems_that_name_the_field(
    client: Client, path: str, status: int, field: str | None, text: str
) -> None:
    answer = await client.get(path)

    assert answer.headers["Content-Type"] == "application/problem+json"
    assert answer.status == answer.json["status"] == status
    assert answer.json.get("field") == field
    assert text in answer.json["detail"]
    assert answer.json["instance"] == path.split("?")[0]


async def test_all_wrong_fields_are_named_at_once(client: Client) -> None:
    answer = await client.get("/twin/v1/state?knd=node&wher=x")

    assert [fault["field"] for fault in answer.json["errors"]] == ["knd", "wher"]


async def test_near_ids_are_offered(client: Client) -> None:
    assert (await client.get("/twin/v1/entities/node/ws1")).json["near"] == ["ws01", "ws02"]


async def test_one_entity(client: Client) -> None:
    plain = await client.get("/twin/v1/entities/node/ws01", "entity")
    full = await client.get("/twin/v1/entities/node/ws01?full=true", "entity")
    odd = await client.get("/twin/v1/entities/device/cam%2F1%20%C3%A9", "entity")

    assert plain.json["metrics"]["cpu_usage_percent"]["value"] == 31.2
    assert "sources" not in plain.json
    assert full.json["sources"]["node_exporter"]["target"] == "ws01:9100"
    assert full.json["origins"] == {"twin.scrape.v1/3": 11}
    assert odd.json["features"] == {"score": 0.5}
    tag = plain.headers["ETag"]
    assert (await client.get("/twin/v1/entities/node/ws01", headers={"If-None-Match": tag})).status == 304
    assert full.headers["ETag"] != tag


async def test_worlds(client: Client) -> None:
    worlds = (await client.get("/twin/v1/worlds", "worlds")).json["worlds"]

    assert len(worlds) == 1
    assert {"name": "live", "type": "live", "simulated": False, "entities": 4}.items() <= worlds[0].items()
    assert worlds[0]["faults"] == []


async def test_the_ledger_sums_all_records_the_hidden_too(client: Client) -> None:
    ledger = (await client.get("/twin/v1/ledger", "ledger")).json

    assert ledger["samples"] == {"applied": 260, "duplicate": 1, "late": 2, "conflict": 3, "rejected": 4}
    assert [source["source"] for source in ledger["sources"]] == ["node_exporter"]
    assert sum(row["applied"] for row in ledger["partitions"]) == 260


async def test_metrics(client: Client, settings: Settings) -> None:
    text = (await client.get("/metrics")).body.decode()

    assert re.search(
        rf'twin_partition_lag_records{{partition="0",role="web",topic="{settings.topic_prefix}', text
    )
    assert 'twin_web_entities_count{kind="node",status="down"} 1.0' in text


async def test_every_answer_has_a_valid_schema_and_the_api_is_described(client: Client) -> None:
    for schema in client.schemas.values():
        Draft202012Validator.check_schema(schema)
    openapi = (await client.get("/openapi.json")).json

    assert {"/twin/v1/state", "/twin/v1/entities/{kind}/{id}", "/subjects", "/health/ready"} <= set(
        openapi["paths"]
    )


async def test_the_page_of_the_api_loads_nothing_from_elsewhere(client: Client) -> None:
    page = (await client.get("/docs")).body.decode()
    links = re.findall(r'(?:src|href)="([^"]*)"', page)

    assert links
    for link in links:
        assert link.startswith("/")
        assert (await client.get(link)).status == 200


async def test_all_topics_have_a_subject(client: Client, settings: Settings) -> None:
    subjects = (await client.get("/subjects")).json

    assert subjects == sorted(f"{settings.topic_prefix}.{record}.v1-value" for record in RECORDS)


@pytest.mark.parametrize("record", RECORDS)
async def test_a_schema_is_found_by_subject_and_by_the_id_in_the_framing(
    client: Client, settings: Settings, record: str
) -> None:
    subject = f"{settings.topic_prefix}.{record}.v1-value"
    versions = (await client.get(f"/subjects/{subject}/versions")).json
    latest = await client.get(f"/subjects/{subject}/versions/latest")
    by_number = await client.get(f"/subjects/{subject}/versions/{versions[-1]}")
    codec = load_codec(record)
    by_id = await client.get(f"/schemas/ids/{codec.schema_id}?fetchMaxId=false&subject={subject}")

    assert latest.headers["Content-Type"] == "application/vnd.schemaregistry.v1+json"
    assert latest.json == by_number.json
    assert latest.json["subject"] == subject
    assert latest.json["version"] == versions[-1]
    assert latest.json["id"] == codec.schema_id
    assert json.loads(latest.json["schema"]) == json.loads(by_id.json["schema"]) == codec.schema
    uses = (await client.get(f"/schemas/ids/{codec.schema_id}/versions")).json
    assert uses == [{"subject": subject, "version": versions[-1]}]


@pytest.mark.parametrize(
    ("path", "status", "code"),
    [
        ("/subjects/none/versions", 404, 40401),
        ("/subjects/none/versions/latest", 404, 40401),
        ("/subjects/{state}/versions/99", 404, 40402),
        ("/subjects/{state}/versions/0", 422, 42202),
        ("/subjects/{state}/versions/newest", 422, 42202),
        ("/schemas/ids/1", 404, 40403),
        ("/schemas/ids/x", 404, 40403),
        ("/schemas/ids/1/versions", 404, 40403),
    ],
)
async def test_registry_errors_have_the_registrys_form(
    client: Client, settings: Settings, path: str, status: int, code: int
) -> None:
    answer = await client.get(path.format(state=f"{settings.topic_prefix}.state.v1-value"))

    assert answer.status == status
    assert answer.json["error_code"] == code
    assert answer.json["message"]


async def test_what_clients_of_a_registry_ask_first(client: Client) -> None:
    assert (await client.get("/schemas/types")).json == ["AVRO"]
    assert (await client.get("/config")).json == {"compatibilityLevel": "FULL_TRANSITIVE"}
