"""What is told, how it is written, and who is counted, without a server."""

import json
from typing import Any

import pytest

from streams.domain.keys import entity_key
from streams.replica.holdings import Holdings
from streams.schemas import load_codec
from streams.web.encoded import EncodedStates
from streams.web.filters import Filter, free_text, make_filter
from streams.web.problems import ProblemError
from streams.web.rows import RowsAnswer, row_of
from streams.web.stream.item import Item
from streams.web.stream.shape import ROWS, Shape, Told
from streams.web.stream.transport import _frame
from tests.factories import NAN, NOW_MS, make_state


def item_of(holdings: Holdings, **overrides: Any) -> Item:
    state = make_state(**overrides)
    key = entity_key("live", state["kind"], state["id"]).encode()
    holdings.apply(key, load_codec("state").encode(state), 0, len(holdings.shown))
    return current_item(holdings, key)


def current_item(holdings: Holdings, key: bytes) -> Item:
    current = holdings.current(key)
    assert current is not None
    return Item(key, current, STATES, ROW_STATES)


STATES, ROW_STATES = EncodedStates(), EncodedStates(row_of)


def events(shape: Shape, told: list[Told]) -> list[tuple[str, str, Any]]:
    found = []
    messages = shape.write(told, lambda item: str(item.current.offset).encode(), b"start")
    for message in messages:
        lines = dict(line.split(": ", 1) for line in message.decode().strip().split("\n"))
        found.append((lines["event"], lines["id"], json.loads(lines["data"])))
    return found


def test_each_entity_is_an_event_with_its_own_id() -> None:
    holdings = Holdings("live")
    told: list[Told] = [(item_of(holdings, id="a"), None), (item_of(holdings, id="b"), "filter")]

    (name, id, entity), gone = events(Shape(), told)

    assert (name, id, entity["id"]) == ("entity", "0", "a")
    assert gone == ("gone", "1", {"kind": "node", "id": "b", "reason": "filter"})


def test_fields_that_an_entity_has_not_are_absent() -> None:
    shape = Shape(fields=("cpu_usage_percent", "attributes.arch", "aligned.mem_total_bytes", "nothing"))

    ((_, _, data),) = events(shape, [(item_of(Holdings("live")), None)])

    values = {
        "cpu_usage_percent": 31.2,
        "attributes.arch": "x86_64",
        "aligned.mem_total_bytes": 270_000_000_000.0,
    }
    assert data == {"world": "live", "kind": "node", "id": "ws01", "version": 12, "values": values}


def test_rows_come_in_arrays_of_a_bounded_size() -> None:
    holdings = Holdings("live")
    told: list[Told] = [(item_of(holdings, id=f"n{number}"), None) for number in range(ROWS + 1)]

    found = events(Shape(is_row=True), told)

    assert [(name, id, len(data)) for name, id, data in found] == [
        ("rows", str(ROWS - 1), ROWS),
        ("rows", str(ROWS), 1),
    ]


def test_what_is_gone_has_the_id_of_before_while_rows_of_its_time_follow() -> None:
    holdings = Holdings("live")
    a, b, c = (item_of(holdings, id=id) for id in "abc")

    both = events(Shape(is_row=True), [(a, None), (b, "removed"), (c, None)])
    alone = events(Shape(is_row=True), [(b, "removed")])

    assert [(name, id, len(data)) for name, id, data in both] == [("gone", "start", 1), ("rows", "2", 2)]
    assert alone == [("gone", "1", [{"kind": "node", "id": "b", "reason": "removed"}])]
    assert events(Shape(is_row=True), []) == []


def test_messages_are_packed_for_events_and_single_for_a_socket() -> None:
    messages = [b"x" * 50_000] * 3

    assert [(len(body), count) for body, count in Shape().pack(messages)] == [(100_000, 2), (50_000, 1)]
    assert [count for _, count in Shape(is_socket=True).pack(messages)] == [1, 1, 1]


def test_a_socket_message_is_json() -> None:
    message = Shape(is_socket=True).event(b"live", b"a.1", b'{"stamp":{}}')

    assert json.loads(message) == {"event": "live", "id": "a.1", "data": {"stamp": {}}}


@pytest.mark.parametrize(("size", "head"), [(5, b"\x81\x05"), (125, b"\x81\x7d"), (126, b"\x81\x7e\x00\x7e")])
def test_frames_of_a_socket_say_their_size(size: int, head: bytes) -> None:
    assert _frame(1, b"x" * size) == head + b"x" * size


def test_an_unreadable_record_is_not_there() -> None:
    holdings = Holdings("live")
    holdings.apply(b"live/node/ws01", load_codec("state").encode(make_state())[:-30], 0, 5)
    item = current_item(holdings, b"live/node/ws01")
    assert item.is_there

    item.prepare(is_row=True)

    assert not item.is_there
    assert holdings.poisoned["avro"] == 1


def test_a_filter_is_the_same_however_it_is_written() -> None:
    one = make_filter(["node", "link"], ["b", "a"], " status=up ", " Rack ")

    assert one == make_filter(["link", "node"], ["a", "b", "a"], "status=up", "Rack")
    assert hash(one) == hash(make_filter(["link", "node"], ["a", "b"], "status=up", "Rack"))
    assert one != make_filter(["link", "node"], ["a", "b"], "status=up", "rack", ("node",))


def test_a_filter_chooses_by_kind_id_and_what_may_be_seen() -> None:
    wanted = make_filter(["node", "link"], ["a"], "", seen=("n*", "device"))

    assert wanted.may_be("node", "a")
    assert not wanted.may_be("node", "b")
    assert not wanted.may_be("link", "a")
    assert not wanted.may_be("device", "a")
    assert not wanted.reads
    assert make_filter([], [], "", seen=("x", "*")) == Filter()


def test_a_filter_chooses_by_terms_and_free_text() -> None:
    item = item_of(Holdings("live"), attributes={"site": "Göttingen"}, status="down")

    assert make_filter([], [], "status=down cpu_usage_percent>31", "GÖTT").matches(item.view)
    assert make_filter([], [], "", "down").matches(item.view, item.text)
    assert not make_filter([], [], "", "kassel").matches(item.view)
    assert not make_filter([], [], "status=up", "gött").matches(item.view)
    assert free_text(item.view) == "ws01\nnode\ndown\ngöttingen"


def test_a_wrong_term_is_named() -> None:
    with pytest.raises(ProblemError) as caught:
        make_filter([], [], "status=up cpu")

    assert caught.value.document["term"] == "cpu"


def test_a_row_has_values_with_times_and_qualities_beside_them() -> None:
    holdings = Holdings("live")
    item = item_of(holdings, source_intervals_ms=[5_000], features={"score": NAN})

    row = json.loads(item.row)

    RowsAnswer.model_fields["rows"].annotation.__args__[0].model_validate(row)  # type: ignore[union-attr]
    assert row["metrics"]["cpu_usage_percent"] == 31.2
    assert row["times_ms"]["cpu_usage_percent"] == NOW_MS - 237 == row["observed_at_ms"]
    assert row["qualities"] == {"cpu_usage_percent": "interpolated", "mem_total_bytes": "held"}
    assert row["interval_ms"] == 5_000
    assert row["features"] == {"score": None}


def test_a_row_of_nothing_has_neither_times_nor_an_interval() -> None:
    empty: dict[str, Any] = {name: [] for name in make_state() if name.startswith(("head_", "aligned_"))}
    row = json.loads(item_of(Holdings("live"), **empty, source_intervals_ms=[0]).row)

    assert (row["interval_ms"], row["observed_at_ms"], row["metrics"], row["qualities"]) == (
        None,
        None,
        {},
        {},
    )
