"""DECICE's time-series routes, on a DuckDB file and where the store cannot hold them."""

import secrets
import time
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote

import pytest
import pytest_asyncio
from pydantic import SecretStr

from streams.embedded.broker import EmbeddedBroker
from streams.settings import Settings
from streams.stores import open_store
from streams.topics import create_topics
from tests.webclient import Answer, Client, other_client, ready, serving

pytestmark = pytest.mark.asyncio(loop_scope="module")

PREFIXES = ("/api", "/api/v1", "/api/v2")
NOW_S = int(time.time()) // 60 * 60


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def settings(broker: EmbeddedBroker, tmp_path_factory: pytest.TempPathFactory) -> Settings:
    path = tmp_path_factory.mktemp("history") / "history.duckdb"
    fresh = Settings(
        kafka_bootstrap_servers=broker.address,
        topic_prefix=f"series-{secrets.token_hex(6)}",
        partitions=4,
        embedded=True,
        history_url=f"duckdb://{path}",
    )
    await create_topics(fresh)
    store = open_store(fresh, {})
    await store.prepare()
    await store.close()
    return fresh


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def client(settings: Settings) -> AsyncIterator[Client]:
    async with serving(settings) as client:
        await ready(client)
        yield client


def record(time: Any, **more: Any) -> dict[str, Any]:
    """A record as DECICE writes it."""
    return {"timetamp": time, "measurement": "m", "tags": {}, "fields": {"x": 1.5}} | more


async def write(client: Client, records: Any, bucket: str = "b", prefix: str = "/api/v2") -> Answer:
    return await client.post(f"{prefix}/timeseries/write_record/?bucket={quote(bucket)}", records)


async def read(client: Client, **more: Any) -> Answer:
    wanted = {"time_range": {"start": "-1h"}, "measurement": "m", "bucket": "b", "tags": {}} | more
    return await client.post("/api/v2/timeseries/read_record/", wanted)


@pytest.mark.parametrize("prefix", PREFIXES)
async def test_what_is_written_is_read_as_flux_gives_it(client: Client, prefix: str) -> None:
    bucket = f"bucket {prefix}"
    odd = {"a b": 'c"\\,=', "rack": "1"}
    first = record((NOW_S - 60) * 1000, tags=odd, fields={"x": 1.5, "n": 3, "ok": True, "s": 'say "hi"'})
    written = [first, record(NOW_S, tags={"rack": "2"}), record(NOW_S, tags=odd)]

    answer = await write(client, written, bucket, prefix)
    body = {"time_range": {"start": "-1h", "stop": None}, "measurement": "m", "bucket": bucket, "tags": odd}
    found = (await client.post(f"{prefix}/timeseries/read_record", body)).json

    assert (answer.status, answer.body) == (201, b"201")
    assert [(one["_field"], one["_value"], one["_time"]) for one in found] == [
        ("n", 3, iso(NOW_S - 60)),
        ("ok", True, iso(NOW_S - 60)),
        ("s", 'say "hi"', iso(NOW_S - 60)),
        ("x", 1.5, iso(NOW_S - 60)),
        ("x", 1.5, iso(NOW_S)),
    ]
    assert [one["table"] for one in found] == [0, 1, 2, 3, 3]
    last = found[-1]
    assert set(last) == {
        *("result", "table", "_start", "_stop", "_time", "_value", "_field", "_measurement"),
        *("a b", "rack"),
    }
    assert (last["result"], last["_measurement"], last["a b"]) == ("_result", "m", odd["a b"])


@pytest.mark.parametrize(
    "written",
    [
        NOW_S,
        NOW_S * 10**3,
        NOW_S * 10**6,
        NOW_S * 10**9,
        datetime.fromtimestamp(NOW_S, UTC).isoformat(),
        datetime.fromtimestamp(NOW_S, UTC).replace(tzinfo=None).isoformat(),
        datetime.fromtimestamp(NOW_S, UTC).isoformat().replace("+00:00", "Z"),
    ],
)
async def test_a_time_is_taken_in_every_form(client: Client, written: str | int) -> None:
    bucket = f"time {written}"

    assert (await write(client, [record(written)], bucket)).status == 201

    (found,) = (await read(client, bucket=bucket)).json
    assert found["_time"] == iso(NOW_S)


async def test_no_time_is_now(client: Client) -> None:
    before = time.time()
    await write(client, [record(None)], "now")

    (found,) = (await read(client, bucket="now")).json
    assert before - 1 <= datetime.fromisoformat(found["_time"]).timestamp() <= time.time() + 1


async def test_what_is_written_again_is_replaced_field_by_field(client: Client) -> None:
    await write(client, [record(NOW_S, fields={"x": 1, "y": 1}), record(NOW_S, fields={"x": 2})], "again")
    await write(client, [record(NOW_S, fields={"y": 3})], "again")

    found = (await read(client, bucket="again")).json
    assert [(one["_field"], one["_value"]) for one in found] == [("x", 2), ("y", 3)]


async def test_only_what_is_asked_for_is_read(client: Client) -> None:
    await write(client, [record(NOW_S - 120), record(NOW_S - 60), record(NOW_S, measurement="o")], "part")
    between = {"start": iso(NOW_S - 120), "stop": iso(NOW_S - 60)}

    assert len((await read(client, bucket="part")).json) == 2
    assert len((await read(client, bucket="part", time_range=between)).json) == 1
    numbers = {"start": NOW_S - 60, "stop": NOW_S}
    assert len((await read(client, bucket="part", time_range=numbers)).json) == 1
    for other in (
        {"bucket": "x"},
        {"bucket": "part", "measurement": 'm" or true'},
        {"bucket": "part", "tags": {"a": ""}},
    ):
        assert (await read(client, **other)).json == []


@pytest.mark.parametrize(
    ("records", "field"),
    [
        ([{"measurement": "m", "fields": {"x": 1}}], "0.timetamp"),
        ([record(None, more=1)], "0.more"),
        ([record(None, fields={})], "0.fields"),
        ([record(None, fields={"x": None})], "0.fields.x"),
        ([record(None, measurement="")], "0.measurement"),
        ([record("soon")], "body.0.timetamp"),
        ([record(-1)], "body.0.timetamp"),
        ([record(10**30)], "body.0.timetamp"),
        ([record(True)], "0.timetamp"),
        ({}, "body"),
    ],
)
async def test_a_wrong_record_is_refused_and_nothing_is_written(
    client: Client, records: Any, field: str
) -> None:
    wrong = [record(NOW_S), *records] if isinstance(records, list) else records

    answer = await write(client, wrong, "wrong")

    assert answer.status == 422
    assert answer.json["field"].startswith(field.replace("0", "1", 1)), answer.json
    assert (await read(client, bucket="wrong")).json == []


@pytest.mark.parametrize(
    "more",
    [
        {"time_range": {}},
        {"time_range": {"start": "-5M"}},
        {"time_range": {"start": "-1m", "stop": "-2m"}},
        {"measurement": ""},
        {"tags": {"a": 1}},
        {"query": "x"},
    ],
)
async def test_a_wrong_question_is_refused(client: Client, more: dict[str, Any]) -> None:
    assert (await read(client, **more)).status == 422


async def test_the_key_is_asked_for_as_on_other_routes(settings: Settings) -> None:
    closed = settings.model_copy(update={"internal_api_key": SecretStr("geheim")})
    async with serving(closed, "geheim") as known, other_client(known) as client:
        await ready(client)
        refused = [await write(client, [record(None)]), await read(client)]
        key = {"X-Internal-Api-Key": "geheim"}
        taken = await client.post("/api/timeseries/write_record/?bucket=b", [record(None)], headers=key)

    assert ([answer.status for answer in refused], taken.status) == ([401, 401], 201)


async def test_a_store_of_the_twins_own_history_says_that_it_is_one(settings: Settings) -> None:
    other = settings.model_copy(update={"history_url": "victoriametrics+http://127.0.0.1:9"})
    async with serving(other) as client:
        await ready(client)
        answers = [await write(client, [record(None)]), await read(client)]

    assert {answer.status for answer in answers} == {501}
    assert "VictoriaMetrics" in answers[0].json["detail"]


async def test_the_twins_own_measurements_are_not_written_over(settings: Settings) -> None:
    away = {"history_url": "influxdb+http://127.0.0.1:9/decice/twin", "history_token": SecretStr("t")}
    other = settings.model_copy(update=away)
    async with serving(other) as client:
        await ready(client)
        for bucket in ("twin", "twin_5m"):
            for measurement in ("entity_state", "cpu_usage", "other"):
                answer = await write(client, [record(None, measurement=measurement)], bucket)
                assert (answer.status, answer.json["field"]) == (422, "measurement")
                assert measurement in answer.json["detail"]
        other_one = await write(client, [record(None)], "twin")

    assert other_one.status == 503  # nobody listens there
    assert int(other_one.headers["Retry-After"]) > 0


def iso(time_s: int) -> str:
    return datetime.fromtimestamp(time_s, UTC).isoformat().replace("+00:00", "Z")
