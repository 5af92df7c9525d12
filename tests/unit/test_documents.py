import math
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from streams.domain.documents import DocumentMapping, extract
from streams.errors import InvalidRuleError
from streams.rulebook import load_rulebook
from tests.rulepacks import make_book, write_pack

MAPPING = """\
rules: [{metric: load1, series: load}]
document:
  schema: {type: object, properties: {at: {type: number}, kind: {enum: [a, b]}}}
  null_is_absent: true
  time: at
  time_unit: ms
  series:
    - each: {pool: pools, node: pool.nodes}
      labels: {pool: pool.id, node: node.name, about: node.about, key: ["node", "a.b"]}
      values: {load: node.load, one: 1}
      time: [node.at, pool.at]
    - each: {count: counts}
      labels: {name: count.key}
      values: {number: count.value}
    - values: {total: total}
"""


@pytest.fixture(scope="module")
def mapping(tmp_path_factory: pytest.TempPathFactory) -> DocumentMapping:
    document = make_book(tmp_path_factory.mktemp("rules"), MAPPING).packs["test"].document
    assert document is not None
    return document


def rows(
    mapping: DocumentMapping, document: Any
) -> tuple[list[tuple[str, float]], list[int], dict[str, int]]:
    series, values, times_ms, dropped = extract(document, mapping)
    return list(zip(series, values, strict=True)), times_ms, dropped


def test_arrays_and_objects_are_gone_through(mapping: DocumentMapping) -> None:
    document = {
        "at": 5,
        "pools": [
            {
                "id": "1",
                "nodes": [{"name": "a", "load": 0, "about": {"b": 1, "a": [True]}}, {"name": "b", "at": 7.6}],
            },
            {"id": 2, "at": 9, "nodes": [{"name": "c", "load": 2.5, "a.b": "deep"}]},
            {"id": "3"},
        ],
        "counts": {"x": 1, "y": 2},
        "total": 3,
    }

    found, times_ms, dropped = rows(mapping, document)

    assert found == [
        (r'load{about="{\"a\":[true],\"b\":1}",node="a",pool="1"}', 0.0),
        (r'one{about="{\"a\":[true],\"b\":1}",node="a",pool="1"}', 1.0),
        ('one{node="b",pool="1"}', 1.0),
        ('load{key="deep",node="c",pool="2"}', 2.5),
        ('one{key="deep",node="c",pool="2"}', 1.0),
        ('number{name="x"}', 1.0),
        ('number{name="y"}', 2.0),
        ("total", 3.0),
    ]
    assert times_ms == [5, 5, 8, 9, 9, 5, 5, 5]
    assert dropped == {}


def test_absent_and_null_give_nothing(mapping: DocumentMapping) -> None:
    document = {
        "at": None,
        "pools": [{"nodes": None}, {"nodes": [{"load": None}, None]}, None],
        "counts": None,
    }

    assert rows(mapping, document) == ([("one", 1.0), ("one", 1.0)], [], {})
    assert rows(mapping, {}) == rows(mapping, []) == rows(mapping, None) == ([], [], {})


def test_without_any_time_there_are_no_times(mapping: DocumentMapping) -> None:
    assert rows(mapping, {"total": 3}) == ([("total", 3.0)], [], {})


def test_samples_without_a_time_among_others_are_dropped(mapping: DocumentMapping) -> None:
    document = {"pools": [{"nodes": [{"load": 1, "at": 7}]}], "total": 3}

    assert rows(mapping, document) == ([("load", 1.0), ("one", 1.0)], [7, 7], {"no_time": 1})


def test_what_is_of_the_wrong_type_is_dropped_and_counted(mapping: DocumentMapping) -> None:
    document = {"at": 1, "pools": 7, "counts": {"x": "many", "y": True, "z": []}, "total": "3"}

    assert rows(mapping, document) == ([('number{name="y"}', 1.0)], [1], {"not_a_list": 1, "not_a_number": 3})


@pytest.mark.parametrize("at", [math.nan, math.inf, 1e300, 10**400, -(10**400)])
def test_a_time_that_is_none_is_counted(mapping: DocumentMapping, at: float) -> None:
    _, times_ms, dropped = rows(mapping, {"at": at, "total": 3})

    assert (times_ms, dropped) == ([], {"bad_time": 1})


@pytest.mark.parametrize("at", [True, "7", [7]])
def test_what_is_no_number_is_no_time(mapping: DocumentMapping, at: object) -> None:
    assert rows(mapping, {"at": at, "total": 3}) == ([("total", 3.0)], [], {})


def test_a_number_beyond_a_double_is_infinite(mapping: DocumentMapping) -> None:
    assert rows(mapping, {"total": 10**400})[0] == [("total", math.inf)]
    assert rows(mapping, {"total": -(10**400)})[0] == [("total", -math.inf)]


def test_null_satisfies_the_schema_where_it_is_absent(mapping: DocumentMapping) -> None:
    validator = Draft202012Validator(mapping.schema)

    assert validator.is_valid({"at": None, "kind": None})
    assert validator.is_valid(None)
    assert not validator.is_valid({"at": "now"})
    assert not validator.is_valid({"kind": "c"})


@pytest.mark.parametrize(
    ("old", "new", "fault"),
    [
        ("schema: {type: object,", "schema: {type: objekt,", "9: not a JSON Schema: $.type: "),
        ("schema: {type", "x: {type", "9: 'schema' is missing"),
        ("schema: {", "schema: nope.json\n  x: {", "9: nope.json: cannot be read: No such file or directory"),
        ("schema: {", "schema: text.json\n  x: {", "9: text.json: not JSON: "),
        ("schema: {", "schema: list.json\n  x: {", "9: list.json: a schema must be an object"),
        ("time_unit: ms", "time_unit: W", "12: 'time_unit' must be a unit of time such as s or ms, not 'W'"),
        ("node: pool.nodes", "node: 7", "14: each: 'node' must be a path such as pool.nodes, not 7"),
        ("one: 1", "one: true", "16: values: 'one' must be a path such as pool.nodes, not True"),
        ("one: 1", "1a: 1", "16: '1a' cannot be the name of a series"),
        ("- values: {total: total}", "- labels: {a: b}", "21: 'values' is missing: "),
        (
            "  series:\n    - each",
            "  sets:\n    - each",
            "9: 'series' is missing: what to take from a document",
        ),
    ],
)
def test_a_fault_is_named_with_its_line(tmp_path: Path, old: str, new: str, fault: str) -> None:
    assert old in MAPPING
    (tmp_path / "text.json").write_text("nope")
    (tmp_path / "list.json").write_text("[]")
    path = write_pack(tmp_path, MAPPING.replace(old, new, 1))

    with pytest.raises(InvalidRuleError) as caught:
        load_rulebook([path])

    assert f"{path}:{fault}" in str(caught.value)


def test_a_schema_can_be_a_file(tmp_path: Path) -> None:
    (tmp_path / "mine.json").write_text('{"type": "array"}')
    path = write_pack(
        tmp_path, MAPPING.replace("schema: {", "schema: mine.json\n  #", 1).replace("null_is", "#null_is")
    )

    document = load_rulebook([path]).packs["test"].document

    assert document is not None
    assert document.schema == {"type": "array"}
