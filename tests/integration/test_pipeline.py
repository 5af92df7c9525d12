"""How the pipeline does: asked of Kafka while somebody looks, and answered whatever Kafka does."""

from pathlib import Path
from typing import Any

from aiokafka import AIOKafkaProducer

from streams.embedded.broker import EmbeddedBroker
from streams.kafka import client_options
from streams.reader import TopicReader
from streams.schemas import load_codec
from streams.settings import Settings
from streams.topics import create_topics, topics_of
from tests.factories import NOW_MS, make_state
from tests.services.roles import Role
from tests.statewriter import StateWriter
from tests.waiting import until
from tests.webclient import Answer, Client, eventually, ready, serving


def scrape(place: int = 0, **overrides: Any) -> bytes:
    fields: dict[str, Any] = {
        "source": "host",
        "target": "ws01",
        "pack": "host",
        "interval_ms": 5_000,
        "scraped_at_ms": NOW_MS + place,
        "ok": True,
        "error": "",
        "simulated": False,
        "series": ["a", "b"],
        "values": [1.0, 2.0],
        "times_ms": [],
        "dropped": {},
    }
    return load_codec("scrape").encode(fields | overrides)


async def send(settings: Settings, record: str, *values: bytes, partition: int = 0) -> None:
    producer = AIOKafkaProducer(**client_options(settings), acks="all")
    await producer.start()
    try:
        for value in values:
            await producer.send_and_wait(topics_of(settings)[record], value, partition=partition)
    finally:
        await producer.stop()


async def looked(client: Client) -> Answer:
    """What Kafka says: the first question waits a few seconds for it, a busy machine may take longer."""

    def has_answered(answer: Answer) -> bool:
        return answer.json["kafka"]["fault"] is None

    return await eventually(client, "/twin/v1/pipeline", has_answered, schema="pipeline")


def topic(answer: Answer, record: str) -> Any:
    return next(each for each in answer.json["topics"] if each["record"] == record)


async def test_a_twin_with_nothing_in_it_is_told_as_such(settings: Settings) -> None:
    async with serving(settings) as client:
        await ready(client)
        answer = await looked(client)
        sources = await client.get("/twin/v1/sources", "sources")

    assert topic(answer, "scrape")["records"] == 0
    assert [group["lag"] for group in answer.json["groups"]] == [0, 0]
    assert answer.json["replica"]["lag"] == 0
    assert len(answer.json["subjects"]) == 6
    assert answer.json["ledger"]["samples"]["applied"] == 0
    assert sources.json["sources"] == []


async def test_lag_is_what_no_group_has_read(settings: Settings) -> None:
    await send(settings, "scrape", scrape(), scrape(1), partition=3)
    await send(settings, "tick", b"no tick", partition=1)

    async with serving(settings) as client:
        answer = await looked(client)

    worker, sink = answer.json["groups"]
    assert (worker["lag"], worker["has_committed"], sink["lag"]) == (2, False, 1)
    assert {each["partition"]: each["lag"] for each in worker["partitions"] if each["lag"]} == {3: 2}
    assert topic(answer, "scrape")["end"] == 2


async def test_a_worker_that_has_read_everything_has_no_lag(settings: Settings, worker: Role) -> None:
    await send(settings, "scrape", scrape(), b"rubbish", partition=2)

    async with serving(settings) as client:

        def is_read(answer: Answer) -> bool:
            group = answer.json["groups"][0]
            return bool(group["has_committed"] and group["lag"] < 10 and topic(answer, "deadletter")["end"])

        answer = await eventually(client, "/twin/v1/pipeline", is_read)

    position = {
        (each["topic"], each["partition"]): each["position"]
        for each in answer.json["groups"][0]["partitions"]
    }
    assert position[topics_of(settings)["scrape"], 2] == 2


async def test_a_look_names_what_is_missing(settings: Settings) -> None:
    other = settings.model_copy(update={"topic_prefix": "nobodys"})

    async with serving(other) as client:
        answer = await looked(client)

    assert [each["exists"] for each in answer.json["topics"]] == [False] * 6
    assert answer.json["state_fault"]
    assert answer.json["freshness"] is None


async def test_an_unknown_world_is_named(settings: Settings) -> None:
    async with serving(settings) as client:
        await ready(client)
        answer = await client.get("/twin/v1/pipeline?world=nowhere")

    assert (answer.status, answer.json["field"]) == (404, "world")


async def test_sources_are_those_of_scrapes_and_of_entities(settings: Settings) -> None:
    failed = scrape(9, target="ws02", ok=False, error="refused: nobody listens", series=[], values=[])
    await send(settings, "scrape", scrape(), scrape(series=["c"], values=[3.0]), failed, b"rubbish")

    async with StateWriter(settings) as writer, serving(settings) as client:
        await writer.put(make_state(targets=["host ws01"]), make_state(id="x", targets=["slurm head 1"]))
        await ready(client)
        answer = await eventually(
            client,
            "/twin/v1/sources",
            lambda answer: (
                answer.status == 200 and len(answer.json["sources"]) == 3 and not answer.json["fault"]
            ),
        )

    client.check(answer, "sources")
    ws01, ws02, head = answer.json["sources"]
    assert (ws01["samples"], ws01["chunks"], ws01["entities"], ws01["ok"], ws01["late"]) == (
        3,
        2,
        1,
        True,
        True,
    )
    assert (ws02["error"], ws02["failed_in_row"], ws02["samples"]) == ("refused: nobody listens", 1, None)
    assert (head["source"], head["target"], head["entities"], head["ok"]) == ("slurm", "head 1", 1, None)
    assert answer.json["unreadable"] == 1


async def test_a_tail_begins_with_the_newest_records(settings: Settings) -> None:
    await send(settings, "scrape", *(scrape(place, target=f"t{place}") for place in range(7)))
    await send(settings, "scrape", scrape(0, target="other"), partition=1)
    seen: list[str] = []
    reader = TopicReader(
        settings,
        topics_of(settings)["scrape"],
        lambda records: seen.extend(
            load_codec("scrape").decode(record.value)["target"] for record in records
        ),
        lambda _: None,
        from_start=False,
        newest=3,
    )
    await reader.start()
    await until(reader.caught_up.is_set)
    await reader.stop()

    assert sorted(seen) == ["other", "t4", "t5", "t6"]


async def test_without_kafka_the_answer_says_so(settings: Settings) -> None:
    away = settings.model_copy(update={"kafka_bootstrap_servers": "127.0.0.1:1"})

    async with serving(away) as client:
        answer = await client.get("/twin/v1/pipeline", "pipeline")
        sources = await client.get("/twin/v1/sources", "sources")

    assert (answer.status, sources.status) == (200, 200)
    assert answer.json["kafka"]["looked_ms"] is None
    assert answer.json["kafka"]["fault"]
    assert sources.json["fault"]


async def test_when_kafka_goes_its_last_words_are_told_with_their_age(tmp_path: Path) -> None:
    async with EmbeddedBroker(tmp_path / "broker.log") as broker:
        settings = Settings(
            kafka_bootstrap_servers=broker.address,
            kafka_security_protocol="PLAINTEXT",
            partitions=2,
            embedded=True,
        )
        await create_topics(settings)
        await send(settings, "event", b"x")
        async with serving(settings) as client:
            await ready(client)
            before = await looked(client)
            await broker.stop()
            after = await eventually(
                client, "/twin/v1/pipeline", lambda answer: answer.json["kafka"]["fault"]
            )

    assert after.status == 200
    assert after.json["kafka"]["looked_ms"] >= before.json["kafka"]["looked_ms"]
    assert after.json["kafka"]["age_ms"] > 0
    assert topic(after, "event")["end"] == 1
