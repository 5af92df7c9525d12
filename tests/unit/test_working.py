from types import SimpleNamespace
from typing import Any

from streams.agents.twin import tick_messages
from streams.agents.working import Working
from streams.domain.changes import Changes
from streams.domain.entity import REJECTED
from streams.domain.ticks import TickRows
from streams.errors import InvalidMessageError
from streams.records import State
from streams.schemas import load_codec
from streams.topics import MAX_MESSAGE_BYTES
from tests.factories import NOW_MS, make_state

KEY = "live/node/ws01"


class Table:
    """As much of the table as a batch asks for."""

    def __init__(self, **records: bytes) -> None:
        self.data = SimpleNamespace(data={KEY.encode(): value for value in records.values()})
        self.refused: list[str] = []

    def refuse(self, key: bytes, error: InvalidMessageError) -> None:
        del self.data.data[key]
        self.refused.append(error.reason)


def working(table: Table) -> Working:
    stand_in: Any = table
    return Working(stand_in)


def test_record_is_decoded_once_and_changed_in_place() -> None:
    work = working(Table(record=load_codec("state").encode(make_state())))

    work[KEY]["status"] = "down"

    assert work[KEY]["status"] == "down"
    del work[KEY]
    assert work.get(KEY) is None


def test_record_that_does_not_decode_is_none_and_is_reported_once() -> None:
    table = Table(record=load_codec("state").encode(make_state())[:-9])
    work = working(table)

    assert (work.get(KEY), work.get(KEY)) == (None, None)
    assert table.refused == ["avro"]


def grown(before: State, attributes: dict[str, str]) -> State:
    """The record after a batch in which a second source came, with three samples."""
    return make_state(
        version=before["version"] + 5,
        targets=[*before["targets"], "host ws01"],
        source_names=[*before["source_names"], "host"],
        source_priorities=[10, 20],
        source_intervals_ms=[5_000, 5_000],
        source_good_ms=[NOW_MS, NOW_MS],
        source_failures=[0, 0],
        source_counts=[41, 0, 0, 0, 0, 1, 1, 0, 0, 0],
        attributes=attributes,
        head_values=[1.0, 2.0, 3.0],
    )


def test_record_that_grew_too_large_keeps_its_values_and_learns_its_sources() -> None:
    before = make_state()
    work = working(Table(record=load_codec("state").encode(before)))
    entity = grown(before, {"a": "x" * MAX_MESSAGE_BYTES})
    other = make_state(id="other")
    changes = Changes()
    for each in (entity, other):
        changes.ticks.add(each, NOW_MS, True, ["load1"], [1.0], [0])
        changes.ticks.add_change(each, NOW_MS)

    kept = work.give_up(KEY, entity, changes)

    assert kept["attributes"] == before["attributes"]
    assert kept["head_values"] == before["head_values"]
    assert (kept["version"], kept["targets"]) == (entity["version"], entity["targets"])
    assert kept["source_counts"] == [40, 0, 0, 0, 1, 0, 0, 0, 0, 2], "what came is rejected"
    assert sum(kept["source_counts"]) == sum(entity["source_counts"])
    assert [row.entity["id"] for row in changes.ticks.rows] == ["other"]
    assert [change["id"] for change in changes.ticks.changes] == ["other"]


def test_new_record_that_is_too_large_is_there_without_values() -> None:
    work = working(Table())
    entity = make_state(attributes={"a": "x" * MAX_MESSAGE_BYTES})

    kept = work.give_up(KEY, entity, Changes())

    assert (kept["head_names"], kept["attributes"]) == ([], {})
    assert kept["source_counts"][REJECTED] == 40
    assert kept["targets"] == entity["targets"]


def test_ticks_are_cut_until_each_fits_into_a_message() -> None:
    ticks = TickRows()
    for number in range(150):
        entity = make_state(id=f"n{number}", attributes={"a": f"{number}" * 2_000})
        ticks.add(entity, NOW_MS, True, ["load1"], [float(number)], [0])
        ticks.add_change(entity, NOW_MS)

    messages = list(tick_messages(ticks, epoch=3))

    assert max(map(len, messages)) <= MAX_MESSAGE_BYTES
    records = [load_codec("tick").decode(message) for message in messages]
    assert sorted(id for record in records for id in record["ids"]) == sorted(f"n{n}" for n in range(150))
    assert sorted(id for record in records for id in record["change_ids"]) == sorted(
        f"n{n}" for n in range(150)
    )


def test_one_row_that_is_too_large_is_sent_alone() -> None:
    ticks = TickRows()
    for id, size in (("big", 2 * MAX_MESSAGE_BYTES), ("small", 1)):
        entity = make_state(id=id, attributes={"a": "x" * size})
        ticks.add(entity, NOW_MS, True, ["load1"], [1.0], [0])
        ticks.add_change(entity, NOW_MS)

    records = [load_codec("tick").decode(message) for message in tick_messages(ticks, epoch=3)]

    assert [record["change_ids"] for record in records if "big" in record["change_ids"]] == [["big"]]
    assert sorted(id for record in records for id in record["ids"]) == ["big", "small"]
