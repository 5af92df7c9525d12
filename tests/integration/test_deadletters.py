"""Dead letters: read backwards, sent again, by API and by command."""

import asyncio
import hashlib
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from aiokafka import AIOKafkaProducer, ConsumerRecord
from click.testing import CliRunner

from streams.deadletters.box import LetterBox
from streams.deadletters.letter import KEPT_BYTES, UnknownLetterError
from streams.deadletters.wanted import Wanted
from streams.errors import TwinError
from streams.kafka import client_options
from streams.reader import TopicReader
from streams.schemas import load_codec
from streams.settings import Settings
from streams.tools.deadletters import deadletters
from streams.topics import topics_of
from tests.factories import NOW_MS
from tests.integration.conftest import PARTITIONS
from tests.services.roles import Role
from tests.waiting import until
from tests.webclient import Client, eventually, serving


@asynccontextmanager
async def producing(settings: Settings) -> AsyncIterator[AIOKafkaProducer]:
    producer = AIOKafkaProducer(**client_options(settings), acks="all")
    await producer.start()
    try:
        yield producer
    finally:
        await producer.stop()


async def write(settings: Settings, *letters: dict[str, Any]) -> None:
    """Write letters, each into the partition that it came from."""
    async with producing(settings) as producer:
        for place, overrides in enumerate(letters):
            letter = {
                "stage": "harmonize",
                "reason": "unknown_pack",
                "error": f"no rule pack {place}",
                "at_ms": NOW_MS + place,
                "topic": topics_of(settings)["scrape"],
                "partition": place % PARTITIONS,
                "offset": place,
                "key": b"source/target",
                "value": b"original %d" % place,
            } | overrides
            value = load_codec("deadletter").encode(letter)
            await producer.send_and_wait(
                topics_of(settings)["deadletter"], value, partition=place % PARTITIONS
            )


@asynccontextmanager
async def reading(settings: Settings, name: str) -> AsyncIterator[list[ConsumerRecord]]:
    records: list[ConsumerRecord] = []
    reader = TopicReader(settings, topics_of(settings)[name], records.extend, lambda _: None)
    await reader.start()
    try:
        yield records
    finally:
        await reader.stop()


async def all_pages(settings: Settings, wanted: Wanted, limit: int) -> list[str]:
    found: list[str] = []
    async with LetterBox(settings) as box:
        cursor: str | None = None
        while True:
            page = await box.page(wanted, limit, cursor)
            found += [letter.error for letter in page.letters]
            cursor = page.cursor
            if cursor is None:
                return found


async def test_pages_give_each_letter_once_the_newest_first(settings: Settings) -> None:
    await write(settings, *({} for _ in range(230)))

    for limit in (7, 100, 1_000):
        found = await all_pages(settings, Wanted(), limit)

        assert found == [f"no rule pack {place}" for place in reversed(range(230))]


async def test_what_comes_meanwhile_moves_no_page(settings: Settings) -> None:
    await write(settings, *({} for _ in range(20)))

    async with LetterBox(settings) as box:
        first = await box.page(Wanted(), 5)
    await write(settings, *({"error": "later", "at_ms": NOW_MS + 1_000} for _ in range(20)))
    async with LetterBox(settings) as box:
        second = await box.page(Wanted(), 5, first.cursor)

    errors = [letter.error for page in (first, second) for letter in page.letters]
    assert errors == [f"no rule pack {place}" for place in range(19, 9, -1)]


async def test_a_filter_finds_the_one_among_many(settings: Settings) -> None:
    await write(settings, *({} for _ in range(150)), {"reason": "range", "value": b"NeEdLe"}, *({}, {}))

    assert await all_pages(settings, Wanted(reason="range"), 10) == ["no rule pack 150"]
    assert await all_pages(settings, Wanted(text="needle"), 10) == ["no rule pack 150"]
    assert await all_pages(settings, Wanted(since_ms=NOW_MS + 149, until_ms=NOW_MS + 151), 10) == [
        "no rule pack 150",
        "no rule pack 149",
    ]
    assert await all_pages(settings, Wanted(stage="sink"), 10) == []


async def test_an_empty_topic_has_no_letters(settings: Settings) -> None:
    async with LetterBox(settings) as box:
        page = await box.page(Wanted(), 10)
        assert (page.letters, page.cursor, page.scanned) == ([], None, 0)
        with pytest.raises(UnknownLetterError, match="ends before 0"):
            await box.letter(0, 0)
        with pytest.raises(UnknownLetterError, match=f"partitions 0 to {PARTITIONS - 1}"):
            await box.letter(PARTITIONS, 0)
        with pytest.raises(ValueError, match="partition 99"):
            await box.page(Wanted(), 10, "99:1")


async def test_without_the_topic_or_without_kafka_it_says_so(settings: Settings) -> None:
    other = settings.model_copy(update={"topic_prefix": "nobodys"})
    away = settings.model_copy(update={"kafka_bootstrap_servers": "127.0.0.1:1"})

    with pytest.raises(TwinError, match=r"nobodys.deadletter.v1 does not exist"):
        async with LetterBox(other):
            pass
    with pytest.raises(TwinError, match="TWIN_KAFKA"):
        async with LetterBox(away):
            pass


async def test_letters_are_listed_and_looked_into(settings: Settings) -> None:
    await write(
        settings, {}, {"value": b"\x00\x00\x00\x00\x07\xff", "reason": "schema_id"}, {"stage": "sink"}
    )

    async with serving(settings) as client:
        listed = await client.get("/twin/v1/deadletters?limit=2", "deadletters")
        assert [letter["stage"] for letter in listed.json["letters"]] == ["sink", "harmonize"]
        assert "stage sink" in listed.json["letters"][0]["refusal"]
        rest = await client.get(
            "/twin/v1/deadletters", "deadletters", params={"cursor": listed.json["cursor"]}
        )
        assert [letter["error"] for letter in rest.json["letters"]] == ["no rule pack 0"]

        one = await client.get("/twin/v1/deadletters/1/0", "deadletter")
        assert (one.json["reason"], one.json["schema_id"], one.json["record"]) == ("schema_id", 7, "scrape")
        assert one.json["value_base64"] == "AAAAAAf/"
        assert one.json["decode_error"] == "schema id 7 is not one of record scrape"


@pytest.mark.parametrize(
    ("path", "status", "field"),
    [
        ("?limit=0", 422, "limit"),
        ("?limit=201", 422, "limit"),
        ("?since=yesterday", 422, "since"),
        ("?until=2026-11-24", 422, "until"),
        ("?cursor=x", 422, "cursor"),
        ("?cursor=99:1", 422, "cursor"),
        ("?resaon=framing", 422, "resaon"),
        ("/0/0", 404, "offset"),
        ("/99/0", 404, "offset"),
        ("/-1/0", 422, "partition"),
        ("/x/0", 422, "partition"),
        (f"/0/{2**64}", 422, "offset"),
        ("/0/0?full=1", 422, "full"),
    ],
)
async def test_what_cannot_be_meant_names_its_field(
    settings: Settings, path: str, status: int, field: str
) -> None:
    async with serving(settings) as client:
        answer = await client.get(f"/twin/v1/deadletters{path}")

    assert (answer.status, answer.json["field"]) == (status, field)


async def test_letters_are_sent_again_once_each_with_key_place_and_count(settings: Settings) -> None:
    await write(
        settings, {}, {}, {"topic": "other.scrape.v1"}, {"value": bytes(KEPT_BYTES)}, {}, {"offset": 1}
    )
    asked = ["0:0", "1:0", "2:0", "3:0", "0:1", "3:99"]

    async with serving(settings) as client, reading(settings, "scrape") as sent:
        dry = await client.post("/twin/v1/deadletters/redrive", {"letters": asked, "dry_run": True})
        client.check(dry, "redrive")
        assert (dry.json["sent"], dry.json["refused"]) == (3, 3)
        assert all(letter["offset"] is None for letter in dry.json["letters"])
        answer = await client.post("/twin/v1/deadletters/redrive", {"letters": asked})
        client.check(answer, "redrive")
        await until(lambda: len(sent) == 3)

    assert {letter["letter"]: letter["refusal"] is None for letter in answer.json["letters"]} == {
        "0:0": True,
        "1:0": True,
        "2:0": False,
        "3:0": False,
        "0:1": True,
        "3:99": False,
    }
    assert sorted((record.partition, record.key, record.value) for record in sent) == [
        (0, b"source/target", b"original 0"),
        (0, b"source/target", b"original 4"),
        (1, b"source/target", b"original 1"),
    ]
    assert {record.headers for record in sent} == {(("twin-redriven", b"1"),)}


async def test_a_filter_sends_no_more_than_its_cap_and_goes_on_from_there(settings: Settings) -> None:
    await write(settings, *({} for _ in range(12)), {"reason": "range"})

    async with serving(settings) as client, reading(settings, "scrape") as sent:
        body: dict[str, Any] = {"filter": {"reason": "unknown_pack"}, "cap": 5}
        counts = []
        while True:
            answer = await client.post("/twin/v1/deadletters/redrive", body)
            counts.append(answer.json["sent"])
            if answer.json["cursor"] is None:
                break
            body["cursor"] = answer.json["cursor"]
        await until(lambda: len(sent) == 12)

    assert sum(counts) == 12
    assert max(counts) == 5
    assert {record.value for record in sent} == {b"original %d" % place for place in range(12)}


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"letters": []},
        {"letters": ["1:2"], "filter": {"stage": "twin"}},
        {"filter": {}},
        {"filter": {"since": "soon"}},
        {"letters": ["one"]},
        {"letters": ["1:2"] * 201},
        {"letters": ["1:2"], "dryrun": True},
        {"letters": ["1:2"], "dry_run": 0},
        {"filter": {"stage": "twin"}, "cap": 0},
        {"filter": {"stage": "twin"}, "cursor": "99:1"},
        [],
    ],
)
async def test_what_is_not_to_be_sent_again_is_refused(settings: Settings, body: Any) -> None:
    async with serving(settings) as client:
        answer = await client.post("/twin/v1/deadletters/redrive", body)

    assert answer.status == 422


async def test_without_kafka_the_answer_says_so(settings: Settings) -> None:
    away = settings.model_copy(update={"kafka_bootstrap_servers": "127.0.0.1:1"})

    async with serving(away) as client:
        listed = await client.get("/twin/v1/deadletters")
        sent = await client.post("/twin/v1/deadletters/redrive", {"letters": ["0:0"]})

    assert (listed.status, sent.status) == (503, 503)
    assert listed.json["type"] == "urn:decice-twin:kafka-away"
    assert listed.headers["Retry-After"]


async def test_a_second_failure_says_how_often_it_was_sent_again(settings: Settings, worker: Role) -> None:
    async with producing(settings) as producer:
        await producer.send_and_wait(topics_of(settings)["scrape"], b"\x07rubbish", key=b"k", partition=2)

    async with serving(settings) as client:
        for count in range(3):
            letters = await letters_when(client, count + 1)
            assert letters[0]["redriven"] == count
            place = f"{letters[0]['partition']}:{letters[0]['offset']}"
            answer = await client.post("/twin/v1/deadletters/redrive", {"letters": [place]})
            assert answer.json["letters"][0]["redriven"] == count + 1


async def letters_when(client: Client, count: int) -> list[dict[str, Any]]:
    """The letters, once there are so many."""
    answer = await eventually(
        client, "/twin/v1/deadletters", lambda answer: len(answer.json["letters"]) >= count
    )
    found: list[dict[str, Any]] = answer.json["letters"]
    return found


def run(settings: Settings, *words: str) -> Any:
    return CliRunner().invoke(deadletters, list(words), obj=settings)


def test_commands_without_kafka_say_so(no_settings_from_outside: None) -> None:
    away = Settings(kafka_bootstrap_servers="127.0.0.1:1", kafka_security_protocol="PLAINTEXT")

    result = run(away, "list")

    assert isinstance(result.exception, TwinError)
    assert "TWIN_KAFKA" in str(result.exception)


async def test_commands_list_show_and_send_again(settings: Settings) -> None:
    await write(settings, {}, {"value": b"\xff\xfe\x00", "stage": "sink"}, {"error": "\x1b[31mred"})

    listed = await asyncio.to_thread(run, settings, "list")
    assert "\x1b[31m" not in listed.output
    assert "no rule pack 0" in listed.output
    lines = (await asyncio.to_thread(run, settings, "list", "--json", "--limit", "2")).output.splitlines()
    assert [json.loads(line)["partition"] for line in lines] == [2, 1]

    shown = await asyncio.to_thread(run, settings, "show", "1:0")
    assert "ff fe 00" in shown.output
    assert (await asyncio.to_thread(run, settings, "show", "1:0", "--bytes")).stdout_bytes == b"\xff\xfe\x00"
    assert isinstance((await asyncio.to_thread(run, settings, "show", "1:7")).exception, UnknownLetterError)
    assert (await asyncio.to_thread(run, settings, "show", "seven")).exit_code == 2

    dry = await asyncio.to_thread(run, settings, "redrive", "0:0", "1:0", "--dry-run")
    assert (dry.exit_code, "would go to" in dry.output, "stage sink" in dry.output) == (1, True, True)
    assert (await asyncio.to_thread(run, settings, "redrive")).exit_code == 2
    assert (await asyncio.to_thread(run, settings, "redrive", "0:0", "--stage", "twin")).exit_code == 2
    done = await asyncio.to_thread(run, settings, "redrive", "--stage", "harmonize")
    assert (done.exit_code, "2 sent again, 0 not" in done.output) == (0, True)


async def test_letters_are_for_admins_who_see_all(settings: Settings, tmp_path: Path) -> None:
    await write(settings, {})
    keys = {
        "reader": {"scopes": ["read", "events"]},
        "admin": {"scopes": ["admin"]},
        "limited": {"scopes": ["read", "admin"], "worlds": ["live~*"]},
    }
    lines = [
        json.dumps({"name": name, "sha256": hashlib.sha256(name.encode()).hexdigest(), **more})
        for name, more in keys.items()
    ]
    config = tmp_path / "twin.yaml"
    keys = "".join(f"    - {line}\n" for line in lines)
    config.write_text(f"access:\n  anonymous: [read]\n  keys:\n{keys}")
    guarded = settings.model_copy(update={"config": config})
    body = {"letters": ["0:0"]}

    async with serving(guarded) as client:
        for name, status in (("reader", 403), ("limited", 403), ("admin", 200)):
            headers = {"Authorization": f"Bearer {name}"}
            for path in ("", "/0/0"):
                answer = await client.get(f"/twin/v1/deadletters{path}", headers=headers)
                assert answer.status == status, (name, path)
            answer = await client.post("/twin/v1/deadletters/redrive", body, headers)
            assert answer.status == status, name
        assert (await client.get("/twin/v1/deadletters")).status == 401
        assert (await client.post("/twin/v1/deadletters/redrive", body)).status == 401
