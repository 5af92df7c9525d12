"""Line protocol of ticks, read back by a small parser that shares no code with the writer."""

import json
import math
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from streams.domain.sink import (
    MARKED,
    MAX_EPOCHS,
    MAX_SHAPES,
    TICK_QUALITY,
    Epochs,
    LineFormat,
    as_stored,
    read_marks,
    read_record,
    record_of,
    to_lines,
)
from streams.errors import InvalidMessageError
from streams.records import Tick

FIELDS = {
    "cpu_usage_percent": ("cpu_usage", "cpu_usage_percent"),
    "mem_usage_percent": ("memory_usage", "mem_usage_percent"),
    "mem_total_bytes": ("memory_usage", "mem_total_bytes"),
}
"""Measurement and field of the metrics, as the catalogue has them."""

Line = tuple[str, list[tuple[str, str]], list[tuple[str, Any]], int]
"""Measurement, tags, fields and time."""


def tick_of(
    rows: list[dict[str, Any]], changes: list[dict[str, Any]] | None = None, world: str = "live"
) -> Tick:
    """A tick of rows {kind, id, pool, at_ms, simulated, complete, values, qualities} and changes {…}."""
    names = sorted({name for row in rows for name in row["values"]})
    tick: Any = {"world": world, "epoch": 1, "names": names}
    tick |= {column: [] for column in Tick.__annotations__ if column not in tick}
    for row in rows:
        tick["kinds"].append(row.get("kind", "node"))
        tick["ids"].append(row.get("id", "ws01"))
        tick["pools"].append(row.get("pool", ""))
        tick["ticks_ms"].append(row.get("at_ms", 5_000))
        tick["simulated"].append(row.get("simulated", False))
        tick["complete"].append(row.get("complete", True))
        tick["versions"].append(1)
        tick["sizes"].append(len(row["values"]))
        tick["metrics"] += [names.index(name) for name in row["values"]]
        tick["values"] += row["values"].values()
        tick["qualities"] += row.get("qualities", [0] * len(row["values"]))
    defaults = {
        "status": "up",
        "reason": "",
        "attributes": "{}",
        "removed": False,
        "simulated": False,
        "pool": "",
    }
    columns = {"kind": "kinds", "id": "ids", "pool": "pools", "status": "statuses", "reason": "reasons"}
    for change in changes or []:
        whole = {"kind": "node", "id": "ws01", "at_ms": 7_000, "version": 2} | defaults | change
        for name, value in whole.items():
            tick["change_" + {**columns, "version": "versions"}.get(name, name)].append(value)
    return tick  # type: ignore[no-any-return]


def parse(line: str) -> Line:
    """The parts of one line of line protocol."""
    measurement, rest = cut(line, ", ")
    tags: list[tuple[str, str]] = []
    while rest.startswith(","):
        key, rest = cut(rest[1:], "=")
        value, rest = cut(rest[1:], ", ")
        tags.append((key, value))
    fields: list[tuple[str, Any]] = []
    rest = "," + rest[1:]
    while rest.startswith(","):
        key, rest = cut(rest[1:], "=")
        value, rest = parse_value(rest[1:])
        fields.append((key, value))
    return measurement, tags, fields, int(rest)


def cut(text: str, ends: str) -> tuple[str, str]:
    """The unescaped text up to the first plain character of `ends`, and the rest from there."""
    found = ""
    place = 0
    while text[place] not in ends:
        if text[place] == "\\" and text[place + 1] in ",= ":
            place += 1
        found += text[place]
        place += 1
    return found, text[place:]


def parse_value(text: str) -> tuple[Any, str]:
    """A field's value, and what follows it."""
    if not text.startswith('"'):
        end = min(place for place in (text.find(","), text.find(" ")) if place >= 0)
        word = text[:end]
        return {"true": True, "false": False}[word] if word in ("true", "false") else float(word), text[end:]
    found = ""
    place = 1
    while text[place] != '"':
        if text[place] == "\\" and text[place + 1] in '"\\':
            place += 1
        found += text[place]
        place += 1
    return found, text[place + 1 :]


def as_key(text: str) -> str:
    """What line protocol makes of a key or tag: no line breaks, and no backslash at the end."""
    for character, replacement in (("\n", "\\n"), ("\r", "\\r"), ("\t", "\\t")):
        text = text.replace(character, replacement)
    return text + " " if text.endswith("\\") else text


def as_string(text: str) -> str:
    """What becomes of a string field: it stays on its line."""
    return text.replace("\n", "\\n").replace("\r", "\\r")


def values_in(lines: list[str]) -> list[list[tuple[str, Any]]]:
    """The fields of the lines that are values."""
    return [[field for field in parse(line)[2] if not field[0].startswith(TICK_QUALITY)] for line in lines]


def marks_in(line: str) -> list[tuple[bool, tuple[int, ...]] | None]:
    """Completeness and qualities of a row, from its first line."""
    return [read_marks(str(value)) for name, value in parse(line)[2] if name.startswith(TICK_QUALITY)]


def test_a_row_is_one_line_for_each_measurement_the_first_with_the_qualities() -> None:
    values = {"cpu_usage_percent": 31.25, "mem_usage_percent": 70.0, "mem_total_bytes": 64e9, "beard_cm": 0.1}
    row: dict[str, Any] = {"values": values, "pool": "1", "qualities": [1, 0, 0, 2]}

    lines = to_lines(tick_of([row | {"at_ms": 1_751_552_580_000}]), FIELDS)

    tags = "node_id=ws01,nodepool_id=1,simulated=false,world=live"
    assert lines == [
        f"cpu_usage,{tags} cpu_usage_percent=31.25,tick_quality={0b1_10_01_00_00_1} 1751552580000",
        f"memory_usage,{tags} mem_usage_percent=70.0,mem_total_bytes=64000000000.0 1751552580000",
        f"other,{tags} beard_cm=0.1 1751552580000",
    ]


def test_a_tick_that_is_not_complete_says_so() -> None:
    (line,) = to_lines(tick_of([{"values": {"load1": 1.0}, "complete": False}]), FIELDS)

    assert marks_in(line) == [(False, (0,))]


def test_qualities_are_in_order_of_names_whatever_the_order_of_the_row() -> None:
    rows: list[dict[str, Any]] = [
        {"values": {"load1": 1.0, "load5": 5.0, "load15": 15.0}, "qualities": [0, 1, 2]},
        {"values": {"load5": 5.0, "load1": math.nan, "load15": 15.0}, "qualities": [1, 0, 2]},
    ]

    lines = to_lines(tick_of(rows), FIELDS)

    assert [marks_in(line) for line in lines] == [[(True, (0, 2, 1))], [(True, (2, 1))]]


@pytest.mark.parametrize("size", [1, MARKED, MARKED + 1, 3 * MARKED])
def test_qualities_of_any_number_of_values_are_read_back(size: int) -> None:
    qualities = [(number * 7) % 4 for number in range(size)]
    values = {f"m{number:03}": 1.0 for number in range(size)}

    (line,) = to_lines(tick_of([{"values": values, "qualities": qualities}]), {})

    marks = [part for part in marks_in(line) if part]
    assert len(marks) == -(-size // MARKED)
    assert {complete for complete, _ in marks} == {True}
    assert [quality for _, part in marks for quality in part] == qualities


@pytest.mark.parametrize("text", ["nan", "inf", "-3", "0", "1", "4", "5.5", "1e300", "9007199254740992"])
def test_a_number_that_holds_no_qualities_is_known(text: str) -> None:
    assert read_marks(text) is None


def test_a_change_is_a_line_of_entity_state() -> None:
    change = {"status": "down", "reason": 'said "no"', "attributes": '{"arch": "x86_64"}', "simulated": True}

    lines = to_lines(tick_of([], [change], world="storm"), FIELDS)

    assert lines == [
        "entity_state,node_id=ws01,simulated=true,world=storm "
        r'attributes="{\"arch\": \"x86_64\"}",reason="said \"no\"",'
        r'record="[\"down\", \"said \\\"no\\\"\", false]{\"arch\": \"x86_64\"}",'
        'removed=false,status="down" 7000'
    ]


@given(st.text(), st.text(), st.dictionaries(st.text(), st.text()), st.booleans())
def test_a_change_reads_back_from_its_record(status: str, reason: str, named: Any, removed: bool) -> None:
    attributes = json.dumps(named)

    record = record_of(status, reason, attributes, removed=removed)

    assert read_record(record) == (status, reason, attributes, removed)


@pytest.mark.parametrize(
    "text", ["", "{}", "[]", "7", "null", '["up", ""]', '[1, "", false]', '"abc"', '["up", "", false']
)
def test_a_text_that_is_no_change_is_known(text: str) -> None:
    assert read_record(text) is None


def test_empty_texts_of_a_change_are_left_out() -> None:
    (line,) = to_lines(tick_of([], [{"status": "", "removed": True}]), FIELDS)

    assert parse(line)[2] == [("attributes", "{}"), ("record", '["", "", true]{}'), ("removed", True)]


def test_a_nodepool_has_its_tag_once() -> None:
    lines = to_lines(
        tick_of([{"kind": "nodepool", "id": "1", "pool": "1", "values": {"load1": 1.0}}]), FIELDS
    )

    assert len(lines) == 1
    for line in lines:
        assert parse(line)[1] == [("nodepool_id", "1"), ("simulated", "false"), ("world", "live")]


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_a_value_that_is_no_number_is_left_out_and_breaks_nothing(bad: float) -> None:
    rows: list[dict[str, Any]] = [
        {"values": {"load1": bad, "load5": 2.0}},
        {"id": "ws02", "values": {"load1": bad}},
    ]

    lines = to_lines(tick_of(rows), FIELDS)

    assert values_in(lines) == [[("load5", 2.0)]]
    assert marks_in(lines[0]) == [(True, (0,))]


def test_values_whose_sum_overflows_are_kept() -> None:
    lines = to_lines(tick_of([{"values": {"load1": 1.7e308, "load5": 1.7e308}}]), FIELDS)

    assert values_in(lines) == [[("load1", 1.7e308), ("load5", 1.7e308)]]


def test_a_row_without_values_has_no_line() -> None:
    assert to_lines(tick_of([{"values": {}}]), FIELDS) == []


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("ids", []),
        ("ticks_ms", [5_000, 10_000]),
        ("sizes", [2]),
        ("sizes", [-1]),
        ("metrics", []),
        ("metrics", [7]),
        ("metrics", [-1]),
        ("qualities", []),
        ("qualities", [4]),
        ("qualities", [-1]),
        ("complete", []),
        ("change_removed", [True]),
    ],
)
def test_columns_that_do_not_fit_are_refused(column: str, value: list[Any]) -> None:
    tick: Any = tick_of([{"values": {"load1": 1.0}}])
    tick[column] = value

    with pytest.raises(InvalidMessageError) as caught:
        to_lines(tick, FIELDS)

    assert caught.value.reason == "columns"


texts = st.text(max_size=8) | st.text(alphabet='ab ,=\\"\n\r\t#%ß漢', max_size=8)
names = texts.filter(bool)
values = st.dictionaries(
    names | st.sampled_from(sorted(FIELDS)), st.floats(allow_nan=False, allow_infinity=False)
)
rows = st.fixed_dictionaries(
    {
        "kind": names,
        "id": names,
        "pool": texts,
        "at_ms": st.integers(0, 2**53),
        "simulated": st.booleans(),
        "values": values,
    }
)
changes = st.fixed_dictionaries(
    {
        "kind": names,
        "id": names,
        "pool": texts,
        "at_ms": st.integers(0, 2**53),
        "status": texts,
        "reason": texts,
        "attributes": texts,
        "removed": st.booleans(),
    }
)


@given(rows=st.lists(rows, max_size=4), changes=st.lists(changes, max_size=3), world=names)
@example(
    rows=[{"kind": "node", "id": "a\\", "pool": "\\", "values": {"%s\\": 1.0}}], changes=[], world="100%"
)
def test_every_line_reads_back(rows: list[dict[str, Any]], changes: list[dict[str, Any]], world: str) -> None:
    lines = to_lines(tick_of(rows, changes, world), FIELDS)

    assert not any("\n" in line for line in lines)
    found = [parse(line) for line in lines]
    expected: list[Line] = []
    for row in rows:
        groups: dict[str, list[tuple[str, Any]]] = {}
        for name, value in row["values"].items():
            measurement, field = FIELDS.get(name, ("other", name))
            groups.setdefault(measurement, []).append((as_key(field), value))
        if groups:
            left = len(row["values"])
            for name in (TICK_QUALITY, *(f"{TICK_QUALITY}_{number}" for number in range(2, 99))):
                if size := min(left, MARKED):
                    next(iter(groups.values())).append((name, float(1 << (2 * size + 1) | 1)))
                left -= size
        expected += [
            (name, tags(row, world), fields, row.get("at_ms", 5_000)) for name, fields in groups.items()
        ]
    for change in changes:
        told = [(name, as_string(change[name])) for name in ("attributes", "reason") if change[name]]
        record = record_of(
            change["status"], change["reason"], change["attributes"], removed=change["removed"]
        )
        told += [("record", as_string(record)), ("removed", change["removed"])]
        told += [("status", as_string(change["status"]))] if change["status"] else []
        expected.append(("entity_state", tags(change, world), told, change["at_ms"]))
    assert found == expected


def tags(entity: dict[str, Any], world: str) -> list[tuple[str, str]]:
    """The tags that the lines of an entity must have."""
    simulated = "true" if entity.get("simulated", False) else "false"
    wanted = {"nodepool_id": entity["pool"], entity["kind"] + "_id": entity["id"]}
    wanted |= {"simulated": simulated, "world": world}
    return [(as_key(key), as_key(value)) for key, value in sorted(wanted.items()) if value]


@given(text=texts)
def test_what_a_key_becomes_is_known_before_it_is_read(text: str) -> None:
    assert as_stored(text) == as_key(text)


def test_more_shapes_than_are_remembered_are_written_too() -> None:
    writer = LineFormat({})

    for number in range(MAX_SHAPES + 2):
        lines = writer.to_lines(tick_of([{"values": {f"metric_{number}": 1.0}}]))
        assert values_in(lines) == [[(f"metric_{number}", 1.0)]]


def test_what_follows_a_newer_epoch_is_stale() -> None:
    epochs = Epochs()

    assert not epochs.is_stale(0, 10, 3)
    assert not epochs.is_stale(0, 11, 4)
    assert epochs.is_stale(0, 12, 3)
    assert not epochs.is_stale(0, 13, 4)
    assert not epochs.is_stale(1, 12, 3)


def test_a_second_delivery_is_judged_as_the_first() -> None:
    epochs = Epochs()
    log = [(10, 3), (11, 4), (12, 3), (13, 5), (14, 4)]

    first = [epochs.is_stale(0, offset, epoch) for offset, epoch in log]

    assert first == [False, False, True, False, True]
    assert [epochs.is_stale(0, offset, epoch) for offset, epoch in log] == first


def test_few_epochs_are_remembered() -> None:
    epochs = Epochs()

    for epoch in range(100):
        epochs.is_stale(0, epoch, epoch)

    assert epochs.is_stale(0, 1_000, 99 - MAX_EPOCHS)
    assert not epochs.is_stale(0, 1_000, 99)
