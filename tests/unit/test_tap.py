from typing import Any

from aiokafka import ConsumerRecord

from streams.deadletters.readable import SHOWN_HEX
from streams.schemas import load_codec
from streams.tools.tap import describe
from tests.factories import make_state


def record(key: bytes | None, value: bytes | None) -> Any:
    return ConsumerRecord("t", 3, 7, 1_000, 0, key, value, None, 0, 0, ())


def test_a_record_is_decoded() -> None:
    described = describe(
        record(b"live/node/ws01", load_codec("state").encode(make_state())), load_codec("state"), raw=False
    )

    assert described["key"] == "live/node/ws01"
    assert (described["topic"], described["partition"], described["offset"], described["at_ms"]) == (
        "t",
        3,
        7,
        1_000,
    )
    assert described["value"]["id"] == "ws01"


def test_a_tombstone_has_no_value() -> None:
    assert describe(record(b"k", None), load_codec("state"), raw=False)["value"] is None


def test_what_cannot_be_decoded_shows_reason_and_bytes() -> None:
    described = describe(record(None, b"\x07rubbish"), load_codec("state"), raw=False)

    assert described["key"] is None
    assert described["undecodable"] == "framing"
    assert "0x07" in described["error"]
    assert described["hex"] == b"\x07rubbish".hex()
    assert "value" not in described


def test_long_rubbish_is_cut() -> None:
    described = describe(record(None, b"\x07" * 1_000), load_codec("state"), raw=False)

    assert described["bytes"] == 1_000
    assert len(described["hex"]) == 2 * SHOWN_HEX
    assert described["cut"] is True


def test_raw_shows_all_bytes_as_they_are() -> None:
    described = describe(record(b"k", b"\x00" * 1_000), load_codec("state"), raw=True)

    assert described["key"] == "6b"
    assert described["value"] == "00" * 1_000


def test_bytes_within_a_record_are_made_readable() -> None:
    dead = {
        "stage": "harmonize",
        "reason": "framing",
        "error": "e",
        "at_ms": 1,
        "topic": "t",
        "partition": 0,
        "offset": 1,
        "key": b"node_exporter/ws01",
        "value": b"\x00\x01",
    }

    shown = describe(record(None, load_codec("deadletter").encode(dead)), load_codec("deadletter"), raw=False)

    assert shown["value"]["key"] == "node_exporter/ws01"
    assert shown["value"]["value"] == {"bytes": 2, "hex": "0001"}


def test_the_body_of_an_event_is_shown_as_json() -> None:
    event = {"id": "1", "type": "collect.now", "world": "live", "at_ms": 1, "sender": "s", "body": '{"a": 1}'}

    shown = describe(record(None, load_codec("event").encode(event)), load_codec("event"), raw=False)

    assert shown["value"]["body"] == {"a": 1}


def test_a_topic_of_others_is_shown_as_text_or_bytes() -> None:
    assert describe(record(None, b'{"a": 1}'), None, raw=False)["value"] == '{"a": 1}'
    assert describe(record(None, b"\xff"), None, raw=False)["value"] == {"bytes": 1, "hex": "ff"}
