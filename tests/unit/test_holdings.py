import gc
from typing import Any

import pytest
from fastavro import parse_schema

import streams.replica.held
import streams.replica.holdings
from streams.domain.entity import OUTCOMES
from streams.domain.keys import entity_key
from streams.errors import InvalidMessageError
from streams.replica.changes import Changes
from streams.replica.held import read_held
from streams.replica.holdings import Holdings
from streams.replica.overlay import Overlay
from streams.schemas import HEADER, AvroCodec, load_codec, load_schema
from tests.factories import make_state


def put(holdings: Holdings, partition: int = 0, **overrides: Any) -> Any:
    state = make_state(**overrides)
    key = entity_key(state["world"], state["kind"], state["id"]).encode()
    return holdings.apply(key, load_codec("state").encode(state), partition)


def version_of(holdings: Holdings, key: bytes = b"live/node/ws01") -> int:
    return holdings.shown[key].version


def test_the_first_fields_are_those_of_the_record() -> None:
    state = make_state()

    held = read_held(load_codec("state").encode(state), 7, 41)

    assert held[:-1] == (3, 12, 7, "up", state["seen_ms"], state["next_tick_ms"], state["tick_ms"], True, 41)
    assert held.decode()["id"] == "ws01"


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (b"", "framing"),
        (b"\x00\x00", "framing"),
        (b"\x01" + load_codec("state").encode(make_state())[1:], "framing"),
        (HEADER.pack(0, 1) + b"abc", "schema_id"),
        (load_codec("state").encode(make_state())[:20], "avro"),
        (load_codec("state").encode(make_state())[:5], "avro"),
    ],
)
def test_what_is_no_state_record_is_refused_with_a_reason(value: bytes, reason: str) -> None:
    with pytest.raises(InvalidMessageError) as caught:
        read_held(value, 0)

    assert caught.value.reason == reason


def test_a_record_of_an_older_release_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    schema = load_schema("state")
    older = schema | {"fields": [field for field in schema["fields"] if field["name"] != "features"]}
    codec = AvroCodec("state", older)
    monkeypatch.setattr(
        streams.replica.held, "released_schemas", lambda _record: {codec.schema_id: parse_schema(older)}
    )
    streams.replica.held._prefix_schemas.cache_clear()

    held = read_held(codec.encode(make_state(version=99)), 0)

    streams.replica.held._prefix_schemas.cache_clear()
    assert held.version == 99


def test_a_newer_version_replaces_and_an_older_one_does_not() -> None:
    holdings = Holdings("live")
    assert put(holdings, version=5) is not None

    assert put(holdings, version=4) is None
    assert version_of(holdings) == 5
    assert put(holdings, version=6) is not None
    assert version_of(holdings) == 6


def test_a_record_of_a_replaced_worker_is_ignored_whatever_its_version() -> None:
    holdings = Holdings("live")
    put(holdings, epoch=4, version=5)

    assert put(holdings, epoch=3, version=1_000) is None

    assert version_of(holdings) == 5


def test_a_worker_that_takes_over_may_write_the_same_version() -> None:
    holdings = Holdings("live")
    put(holdings, epoch=4, version=5)

    assert put(holdings, epoch=5, version=5, status="down") is not None

    assert holdings.shown[b"live/node/ws01"].status == "down"


def test_the_same_record_again_is_no_change() -> None:
    holdings = Holdings("live")
    put(holdings)

    assert put(holdings) is None


def test_a_tombstone_removes() -> None:
    holdings = Holdings("live")
    put(holdings)

    holdings.apply(b"live/node/ws01", None, 0)
    holdings.apply(b"live/node/never-there", None, 0)

    assert not holdings.shown


def test_a_replaced_worker_cannot_bring_a_removed_entity_back() -> None:
    holdings = Holdings("live")
    put(holdings, epoch=4, version=5)
    holdings.apply(b"live/node/ws01", None, 0)

    assert put(holdings, epoch=3, version=9) is None
    assert put(holdings, epoch=3, version=9) is None
    assert not holdings.shown
    assert put(holdings, epoch=4, version=8) is not None


def test_removals_are_remembered_up_to_a_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streams.replica.holdings, "REMEMBERED_REMOVALS", 10)
    holdings = Holdings("live")

    for number in range(15):
        put(holdings, id=f"job{number}", epoch=1)
        holdings.apply(f"live/node/job{number}".encode(), None, 0)

    assert list(holdings._removed) == [f"live/node/job{number}".encode() for number in range(5, 15)]


def test_other_worlds_are_passed_over() -> None:
    holdings = Holdings("live")

    put(holdings, world="live~what-if")
    put(holdings, world="training")
    holdings.apply(None, b"", 0)

    assert not holdings.shown
    assert not holdings.poisoned


def test_the_twins_own_records_are_hidden_but_counted() -> None:
    holdings = Holdings("live")

    put(holdings, kind="_ledger", id="3")

    assert not holdings.shown
    assert list(holdings.hidden) == [b"live/_ledger/3"]


@pytest.mark.parametrize(
    ("key", "value", "reason"),
    [
        (b"live/node/ws01", b"rubbish", "framing"),
        (b"live/node", load_codec("state").encode(make_state()), "key"),
        (b"live/node/a/b", load_codec("state").encode(make_state()), "key"),
        (b"live/node/\xff\xfe", load_codec("state").encode(make_state()), "key"),
    ],
)
def test_poison_is_counted_by_reason_and_changes_nothing(key: bytes, value: bytes, reason: str) -> None:
    holdings = Holdings("live")
    put(holdings)

    assert holdings.apply(key, value, 0) is None

    assert holdings.poisoned == {reason: 1}
    assert version_of(holdings) == 12


def test_a_record_whose_later_fields_are_broken_is_dropped_when_it_is_looked_at() -> None:
    holdings = Holdings("live")
    holdings.apply(b"live/node/ws01", load_codec("state").encode(make_state())[:-30], 0)
    put(holdings, id="ws02")

    assert holdings.view(b"live/node/ws01") is None

    assert holdings.poisoned == {"avro": 1}
    assert list(holdings.shown) == [b"live/node/ws02"]


def test_forgetting_a_partition_lets_versions_begin_anew() -> None:
    holdings = Holdings("live")
    put(holdings, partition=1, id="a", version=100)
    put(holdings, partition=2, id="b", version=100)
    put(holdings, partition=1, kind="_ledger", id="1", version=100)

    holdings.forget_partition(1)

    assert list(holdings.shown) == [b"live/node/b"]
    assert not holdings.hidden
    assert put(holdings, partition=1, id="a", version=1) is not None


async def test_counts_are_summed_by_partition_and_source() -> None:
    holdings = Holdings("live")
    put(holdings, partition=1, id="a", source_counts=[1, 2, 3, 4, 5])
    put(holdings, partition=1, id="b", source_counts=[10, 0, 0, 0, 0])
    put(holdings, partition=2, id="c", source_counts=[7, 0, 0, 0, 0])
    put(holdings, partition=2, kind="_ledger", id="2", source_counts=[100, 0, 0, 0, 1])
    holdings.apply(b"live/node/broken", load_codec("state").encode(make_state())[:-30], 0)

    counts = await holdings.counts()

    assert counts == {(1, "node_exporter"): [11, 2, 3, 4, 5], (2, "node_exporter"): [107, 0, 0, 0, 1]}
    assert len(OUTCOMES) == 5


def test_a_follower_that_was_dropped_is_forgotten() -> None:
    holdings = Holdings("live")
    holdings.followers.add(Changes(holdings.view))
    gc.collect()

    assert len(holdings.followers) == 0


def changed(holdings: Holdings, **since: int) -> list[tuple[int, bytes, bool]]:
    offsets = {int(name[1:]): offset for name, offset in since.items()}
    return [(offset, key, is_there) for _, offset, key, is_there in holdings.changed_since(offsets)]


def test_what_changed_since_an_offset_is_told_with_removals() -> None:
    holdings = Holdings("live")
    value = load_codec("state").encode(make_state())
    for offset, id in enumerate("abc"):
        holdings.apply(f"live/node/{id}".encode(), value, 0, offset)
    holdings.apply(b"live/node/a", None, 0, 3)
    holdings.apply(b"live/node/never-held", None, 0, 4)
    holdings.apply(b"live/_ledger/0", None, 0, 5)

    assert changed(holdings, p0=2) == [
        (2, b"live/node/c", True),
        (3, b"live/node/a", False),
        (4, b"live/node/never-held", False),
    ]
    assert changed(holdings, p0=5) == []
    assert holdings.floor(0) == 0


def test_forgotten_removals_raise_the_floor(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streams.replica.holdings, "REMEMBERED_REMOVALS", 2)
    holdings = Holdings("live")

    for offset in range(4):
        holdings.apply(f"live/node/{offset}".encode(), None, 1, offset)

    assert (holdings.floor(1), holdings.floor(0)) == (2, 0)
    holdings.forget_partition(1)
    assert (holdings.floor(1), holdings.beginnings, changed(holdings)) == (0, 1, [])


def test_the_same_record_again_keeps_its_first_offset() -> None:
    holdings = Holdings("live")
    value = load_codec("state").encode(make_state())

    holdings.apply(b"live/node/ws01", value, 0, 5)
    holdings.apply(b"live/node/ws01", value, 0, 6)

    assert holdings.shown[b"live/node/ws01"].offset == 5


def test_what_an_overlay_lets_go_of_changed_when_it_did() -> None:
    live = Holdings("live")
    overlay = Overlay("live~w", live)
    live.apply(b"live/node/ws01", load_codec("state").encode(make_state()), 0, 5)
    overlay.apply(b"live~w/node/ws01", load_codec("state").encode(make_state(world="live~w")), 0, 6)
    overlay.apply(b"live~w/node/ws01", None, 0, 7)

    current = overlay.current(b"live~w/node/ws01")

    assert current is not None
    assert (current.offset, current.owner, current.key) == (7, live, b"live/node/ws01")
    assert changed(overlay, p0=7) == [(7, b"live~w/node/ws01", True)]
    assert overlay.keys() == [b"live~w/node/ws01"]
    assert overlay.current(b"live~w/node/other") is None
