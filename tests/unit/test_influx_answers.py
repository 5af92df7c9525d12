"""Annotated CSV of InfluxDB, and the filters that go to it, without a server."""

import json
from typing import Any

import pytest

from streams.errors import StoreError
from streams.stores.influx.answers import dicts_of, tables_of, to_ms
from streams.stores.influx.flux import all_of, any_of, equals, extern, moment, predicate, text

HEAD = "#datatype,string,long,dateTime:RFC3339,double,string\r\n,result,table,_time,_value,node_id\r\n"


def found(answer: str) -> list[dict[str, Any]]:
    """The rows of an answer."""
    return list(dicts_of(tables_of(answer)))


@pytest.mark.parametrize("answer", ["", "\r\n", "\r\n\r\n"])
def test_an_empty_answer_has_no_tables(answer: str) -> None:
    assert found(answer) == []


def test_values_are_read_by_their_types() -> None:
    answer = (
        "#datatype,string,long,boolean,unsignedLong,double\r\n,result,table,a,b,c\r\n,_result,0,true,7,1.5\r\n"
        ",_result,1,false,,\r\n\r\n"
    )

    assert found(answer) == [
        {"result": "_result", "table": 0, "a": True, "b": 7, "c": 1.5},
        {"result": "_result", "table": 1, "a": False, "b": None, "c": None},
    ]


def test_tables_of_other_columns_follow_each_other() -> None:
    answer = HEAD + ",_result,0,2026-01-01T00:00:00Z,1,a\r\n\r\n"
    answer += "#datatype,string,long,string\r\n,result,table,x\r\n,_result,1,y\r\n\r\n"

    tables = [(list(table.places), list(table.rows)) for table in tables_of(answer)]

    assert tables == [
        (
            ["result", "table", "_time", "_value", "node_id"],
            [["", "_result", "0", "2026-01-01T00:00:00Z", "1", "a"]],
        ),
        (["result", "table", "x"], [["", "_result", "1", "y"]]),
    ]


def test_a_table_that_is_not_looked_at_is_passed() -> None:
    answer = (
        HEAD + ",_result,0,2026-01-01T00:00:00Z,1,a\r\n" + HEAD + ",_result,0,2026-01-01T00:00:00Z,2,b\r\n"
    )

    last = list(tables_of(answer))[-1]

    assert list(last.rows) == []
    assert len(list(tables_of(answer))) == 2


def test_quoted_text_is_one_value() -> None:
    answer = HEAD + ',_result,0,2026-01-01T00:00:00Z,1,"a ""b"", c\r\nd"\r\n'

    assert found(answer)[0]["node_id"] == 'a "b", c\r\nd'


def test_an_error_within_an_answer_is_told() -> None:
    answer = HEAD + ",_result,0,2026-01-01T00:00:00Z,1,a\r\n\r\n"
    answer += "#datatype,string,string\r\n,error,reference\r\n,it ran out of memory,897\r\n"

    with pytest.raises(StoreError, match="ran out of memory"):
        found(answer)


@pytest.mark.parametrize("answer", ["<html>", "{}", "#datatype,string\r\n", "a,b\r\nc,d\r\n"])
def test_what_is_no_such_csv_is_an_error(answer: str) -> None:
    with pytest.raises(StoreError, match="no CSV"):
        found(answer)


@pytest.mark.parametrize(
    ("written", "at_ms"),
    [
        ("2026-11-24T11:50:00Z", 1_795_521_000_000),
        ("2026-11-24T11:50:00.123Z", 1_795_521_000_123),
        ("2026-11-24T11:50:00.123456789Z", 1_795_521_000_123),
        ("1969-12-31T23:59:59.999Z", -1),
    ],
)
def test_times_are_milliseconds(written: str, at_ms: int) -> None:
    assert to_ms(written) == at_ms


def test_moments_beyond_what_influxdb_holds_are_its_last() -> None:
    assert moment(253_402_300_799_999)["value"] == "2262-04-11T23:47:16.000000Z"
    assert moment(-(10**15))["value"] == "1677-09-21T00:12:44.000000Z"
    assert moment(1_795_521_000_123)["value"] == "2026-11-24T11:50:00.123000Z"


def test_a_thousand_ids_are_no_deep_nest() -> None:
    tree = extern({"wanted": predicate(any_of(equals("node_id", f"n{number}") for number in range(5_000)))})

    assert json.dumps(tree).count('"=="') == 5_000


def test_one_condition_stands_alone() -> None:
    assert all_of([equals("a", "b")]) == equals("a", "b")
    assert text('") |> drop()') == {"type": "StringLiteral", "value": '") |> drop()'}
