from collections.abc import Callable
from typing import Any

import pytest
from aiokafka import ConsumerRecord

from streams.deadletters.letter import (
    KEPT_BYTES,
    REDRIVEN,
    Letter,
    UnknownLetterError,
    parse_place,
    read_letter,
    redriven_count,
    why_not,
)
from streams.deadletters.readable import DUMP_BYTES, decoded, hex_dump, schema_id_of, text_of
from streams.deadletters.redrive import plan
from streams.deadletters.shown import all_of, outcome_of
from streams.deadletters.wanted import SLACK_MS, Wanted
from streams.schemas import load_codec
from streams.topics import Topics
from tests.factories import NOW_MS

TOPICS = Topics("twin", 4)


def make_letter(**overrides: Any) -> Letter:
    """A letter of a scrape that names an unknown pack."""
    fields: dict[str, Any] = {
        "partition": 1,
        "offset": 17,
        "at_ms": NOW_MS,
        "stage": "harmonize",
        "reason": "unknown_pack",
        "error": "no rule pack 'Slurmm'",
        "topic": "twin.scrape.v1",
        "origin_partition": 3,
        "origin_offset": 40,
        "key": b"slurm/head",
        "value": b"\x00abc",
        "size": 4,
        "redriven": 0,
    }
    letter = Letter(**(fields | overrides))
    return letter if "size" in overrides else Letter(**(fields | overrides | {"size": len(letter.value)}))


def record(value: bytes | None, headers: Any = ()) -> ConsumerRecord:
    return ConsumerRecord("twin.deadletter.v1", 1, 17, NOW_MS + 1, 0, b"k", value, None, 0, 0, headers)


def written(**overrides: Any) -> bytes:
    fields = {
        "stage": "harmonize",
        "reason": "framing",
        "error": "first byte is 0x07",
        "at_ms": NOW_MS,
        "topic": "twin.scrape.v1",
        "partition": 3,
        "offset": 40,
        "key": b"k",
        "value": b"\x07",
    }
    return load_codec("deadletter").encode(fields | overrides)


def test_a_letter_says_where_it_came_from_and_how_often_it_was_sent_again() -> None:
    letter = read_letter(record(written(), [("other", b"9"), (REDRIVEN, b"2")]))

    assert (letter.place, letter.stage, letter.origin_partition, letter.origin_offset) == (
        "1:17",
        "harmonize",
        3,
        40,
    )
    assert (letter.value, letter.size, letter.redriven) == (b"\x07", 1, 2)


@pytest.mark.parametrize("value", [None, b"", b"rubbish", b"\x00\x00\x00\x00\x07body"])
def test_a_record_that_is_no_letter_says_so_and_is_not_sent_again(value: bytes | None) -> None:
    letter = read_letter(record(value))

    assert (letter.stage, letter.reason, letter.at_ms) == ("", "unreadable", NOW_MS + 1)
    assert why_not(letter, TOPICS) == "it is no dead letter"


@pytest.mark.parametrize("value", [b"", b"-1", b"two", b"9" * 30, b"\xff"])
def test_a_count_that_is_none_counts_as_never(value: bytes) -> None:
    assert redriven_count([(REDRIVEN, value)]) == 0


def test_no_headers_count_as_never() -> None:
    assert redriven_count(None) == redriven_count([]) == 0


@pytest.mark.parametrize(
    ("stage", "topic"),
    [("harmonize", "twin.scrape.v1"), ("harmonize", "twin.event.v1"), ("twin", "twin.observation.v1")],
)
def test_what_a_stage_reads_can_be_sent_to_it_again(stage: str, topic: str) -> None:
    assert why_not(make_letter(stage=stage, topic=topic), TOPICS) is None


@pytest.mark.parametrize(
    ("overrides", "why"),
    [
        ({"stage": "sink", "topic": "twin.tick.v1"}, "stage sink"),
        ({"stage": "collect"}, "stage collect"),
        ({"topic": "other.scrape.v1"}, "TWIN_TOPIC_PREFIX"),
        ({"stage": "twin", "topic": "twin.state.v1"}, "twin.observation.v1"),
        ({"stage": "twin", "topic": "twin.scrape.v1"}, "twin.observation.v1"),
        ({"topic": ""}, "it came from ''"),
        ({"origin_partition": 4}, "TWIN_PARTITIONS"),
        ({"origin_partition": -1}, "TWIN_PARTITIONS"),
        ({"value": bytes(KEPT_BYTES)}, "only the first"),
        ({"value": b""}, "empty"),
    ],
)
def test_what_cannot_be_sent_again_says_why(overrides: dict[str, Any], why: str) -> None:
    assert why in str(why_not(make_letter(**overrides), TOPICS))


@pytest.mark.parametrize(
    "text", ["", "3", "3:", ":3", "3:-1", "a:1", "3:1:1", "٣:1", "1:" + "9" * 30, " 3:1", "3:1\n"]
)
def test_what_is_no_place_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="partition:offset"):
        parse_place(text)


def test_a_place_is_two_numbers() -> None:
    assert parse_place("3:17") == (3, 17)


@pytest.mark.parametrize(
    "wanted",
    [
        Wanted(),
        Wanted(stage="harmonize"),
        Wanted(reason="unknown_pack"),
        Wanted(topic="scrape"),
        Wanted(topic="twin.scrape.v1"),
        Wanted(since_ms=NOW_MS),
        Wanted(until_ms=NOW_MS + 1),
        Wanted(text="sLURMM"),
        Wanted(text="unknown_"),
        Wanted(text="slurm/HEAD"),
        Wanted(text="ABC"),
    ],
)
def test_a_filter_lets_through_what_it_names(wanted: Wanted) -> None:
    assert wanted.matches(make_letter(), TOPICS)


@pytest.mark.parametrize(
    "wanted",
    [
        Wanted(stage="twin"),
        Wanted(reason="unknown"),
        Wanted(topic="event"),
        Wanted(topic="other.scrape.v1"),
        Wanted(since_ms=NOW_MS + 1),
        Wanted(until_ms=NOW_MS),
        Wanted(text="slurmmm"),
        Wanted(stage="harmonize", reason="framing"),
    ],
)
def test_a_filter_holds_back_everything_else(wanted: Wanted) -> None:
    assert not wanted.matches(make_letter(), TOPICS)


def test_looking_back_ends_only_well_before_since() -> None:
    wanted = Wanted(since_ms=NOW_MS)

    assert not wanted.is_before(make_letter(at_ms=NOW_MS - SLACK_MS))
    assert wanted.is_before(make_letter(at_ms=NOW_MS - SLACK_MS - 1))
    assert not Wanted().is_before(make_letter(at_ms=0))


def test_messages_are_sent_again_in_the_order_in_which_they_came() -> None:
    letters = [make_letter(offset=9 - n, origin_offset=n, value=b"%d" % n) for n in (5, 3, 4)]

    assert [step.letter and step.letter.origin_offset for step in plan(letters, TOPICS)] == [3, 4, 5]


def test_letters_of_one_message_send_it_once() -> None:
    letters = [make_letter(offset=1, reason="range"), make_letter(offset=2, reason="not_finite")]

    first, second = plan(letters, TOPICS)

    assert first.is_due
    assert second.refusal == "it is the same message as 1:1"


def test_a_second_failure_is_the_same_message_as_the_first() -> None:
    letters = [make_letter(offset=1), make_letter(offset=2, origin_offset=99, redriven=1)]

    assert [step.is_due for step in plan(letters, TOPICS)] == [True, False]


@pytest.mark.parametrize(
    "other",
    [{"origin_partition": 2}, {"key": b"other"}, {"value": b"\x00abd"}, {"topic": "twin.event.v1"}],
)
def test_another_message_is_sent_too(other: dict[str, Any]) -> None:
    assert all(step.is_due for step in plan([make_letter(), make_letter(**other)], TOPICS))


def test_what_is_missing_does_not_hold_up_the_rest() -> None:
    steps = plan([make_letter(), UnknownLetterError("2:9", "there is no dead letter 2:9")], TOPICS)

    assert [(step.place, step.is_due) for step in steps] == [("2:9", False), ("1:17", True)]
    assert outcome_of(steps[0])["topic"] is None
    assert outcome_of(steps[1])["redriven"] == 1


def test_a_dump_has_offset_bytes_and_text() -> None:
    lines = hex_dump(b"\x00twin\xff" + b"0123456789ab").splitlines()

    assert lines[0] == "00000000  00 74 77 69 6e ff 30 31  32 33 34 35 36 37 38 39  |.twin.0123456789|"
    assert lines[1] == "00000010  61 62                                             |ab|"


def test_a_dump_of_much_is_cut_and_of_nothing_is_empty() -> None:
    assert len(hex_dump(bytes(KEPT_BYTES)).splitlines()) == DUMP_BYTES // 16
    assert hex_dump(b"") == ""


@pytest.mark.parametrize(
    ("make", "form"),
    [
        (lambda: load_codec("deadletter").encode(load_codec("deadletter").decode(written())), "avro"),
        (lambda: b'{"id": 1}', "json"),
        (lambda: b"\x00\x00\x00\x00\x07body", None),
        (lambda: b"[" * 100_000, None),
        (lambda: b"", None),
    ],
)
def test_bytes_are_decoded_as_the_record_or_as_json(make: Callable[[], bytes], form: str | None) -> None:
    found, value, fault = decoded(make(), "deadletter")

    assert found == form
    assert (value is None) == (form is None)
    assert (fault is None) == (form == "avro")


def test_bytes_of_a_topic_that_is_not_ours_are_shown_all_the_same() -> None:
    shown = all_of(make_letter(topic="x" * 300, value=b"\xff\x00"), TOPICS)

    assert (shown["decoded_as"], shown["value_base64"], shown["key"]) == (None, "/wA=", "slurm/head")
    assert "there is no record" in shown["decode_error"]


def test_the_schema_id_is_that_of_the_framing() -> None:
    assert schema_id_of(b"\x00\x00\x00\x01\x02x") == 258
    assert schema_id_of(b"\x01\x00\x00\x01\x02x") is None
    assert schema_id_of(b"\x00") is None


def test_a_key_that_is_no_text_is_shown_in_digits() -> None:
    assert text_of(b"\xff\x00") == "ff00"
    assert text_of("é".encode()) == "é"
