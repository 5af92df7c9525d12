from types import SimpleNamespace
from typing import Any

import pytest

from streams.domain.keys import partition_of
from streams.domain.ledger import ledger_key, new_ledger
from streams.engine.restored import Restored
from streams.schemas import HEADER, load_codec
from tests.factories import make_state

KEY = b"live/node/ws01"
HOME = partition_of(KEY.decode(), 4)


def message(value: bytes | None, key: bytes = KEY, partition: int = HOME) -> Any:
    return SimpleNamespace(topic="t", partition=partition, offset=7, key=key, value=value)


def state(**fields: Any) -> bytes:
    return load_codec("state").encode(make_state(**fields))


def taken(*messages: Any) -> Restored:
    found = Restored({number: {} for number in range(4)})
    found.take(messages, 4)
    return found


def test_newest_by_epoch_and_version_wins_whatever_its_place() -> None:
    old, new, stale = state(epoch=2, version=9), state(epoch=3, version=5), state(epoch=2, version=30)

    found = taken(message(old), message(new), message(stale))

    assert found.records[HOME] == {KEY: ((3, 5), new)}
    assert found.refused == []


def test_tombstone_removes() -> None:
    assert taken(message(state()), message(None)).records[HOME] == {}


def test_ledger_is_where_its_number_says() -> None:
    value = load_codec("state").encode(new_ledger(3))

    found = taken(message(value, ledger_key(3).encode(), 3))

    assert list(found.records[3]) == [ledger_key(3).encode()]


@pytest.mark.parametrize(
    ("value", "key", "partition", "reason"),
    [
        (b"\xff\xff\xff\xff\xff\xff", KEY, HOME, "framing"),
        (HEADER.pack(0, load_codec("state").schema_id) + b"\xff", KEY, HOME, "avro"),
        (HEADER.pack(0, 7) + state()[HEADER.size :], KEY, HOME, "schema_id"),
        (state(), b"\xff", HOME, "key"),
        (state(), None, HOME, "key"),
        (state(), b"ws01", HOME, "key"),
        (state(), KEY, (HOME + 1) % 4, "key"),
    ],
)
def test_what_is_no_state_is_refused_with_its_reason(
    value: bytes, key: bytes, partition: int, reason: str
) -> None:
    found = taken(message(value, key, partition))

    assert [one.error.reason for one in found.refused] == [reason]
    assert found.refused[0].message.value == value
    assert found.records[partition] == {}


def test_refused_record_does_not_hide_a_good_one() -> None:
    good = state()

    found = taken(message(good), message(b"junk\x00"))

    assert found.records[HOME] == {KEY: ((3, 12), good)}
    assert len(found.refused) == 1


@pytest.mark.parametrize("answer", [None, state()])
def test_what_was_answered_by_a_later_record_is_not_reported_again(answer: bytes | None) -> None:
    assert taken(message(b"junk\x00"), message(answer)).refused == []
