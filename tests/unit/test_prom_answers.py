"""Answers of VictoriaMetrics and Prometheus become series, those of an entity that changed its labels one."""

import json
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.errors import SettingsError, StoreError
from streams.stores import WINDOW_FUNCTIONS, Selection, Series, Window
from streams.stores.http import Answer, parse_address
from streams.stores.promql.api import Found, found_in_lines, found_of, said_in, seconds
from streams.stores.promql.join import fold, join, newest_of
from streams.stores.promql.names import Entity, SeriesNames
from streams.stores.promql.windows import MAX_STEPS, spans_of
from tests.history_model import Model, Row, tick_of

NAMES = SeriesNames({"load1": ("load", "load1")})


def labels(id: str, pool: str, name: str = "load_load1") -> dict[str, str]:
    """Of a node's series."""
    return {"__name__": name, "node_id": id, "nodepool_id": pool, "simulated": "false", "world": "live"}


def test_a_matrix_becomes_series_without_what_is_no_number() -> None:
    values = [[1795521518.182, "1.5"], [1795521519, "NaN"], [1795521520.001, "+Inf"], [1795521521, "-1e-9"]]

    found = found_of({"resultType": "matrix", "result": [{"metric": {"a": "b"}, "values": values}]})

    assert found == [Found({"a": "b"}, [1795521518182, 1795521521000], [1.5, -1e-9])]


def test_a_series_of_histograms_alone_is_empty() -> None:
    assert found_of({"result": [{"metric": {}, "histograms": [[1, {}]]}]}) == [Found({}, [], [])]


@pytest.mark.parametrize(
    "data",
    [None, [], {}, {"result": 5}, {"result": [{"metric": {}, "values": [5]}]}, {"result": [{"values": []}]}],
)
def test_what_is_no_matrix_is_an_error(data: Any) -> None:
    with pytest.raises(StoreError, match="no range vector"):
        found_of(data)


def test_lines_of_an_export_become_series() -> None:
    lines = [
        {"metric": {"a": "\u2028"}, "values": [1, 2.5, None, "Infinity"], "timestamps": [1, 2, 3, 4]},
        {"metric": {"a": "b"}, "values": [7], "timestamps": [5]},
    ]

    found = found_in_lines("\n".join(json.dumps(line, ensure_ascii=False) for line in lines).encode() + b"\n")

    assert found == [Found({"a": "\u2028"}, [1, 2], [1.0, 2.5]), Found({"a": "b"}, [5], [7.0])]
    assert found_in_lines(b"") == []


@pytest.mark.parametrize(
    "body", [b"<html>", b"5", b"{}", b'{"metric": {}, "values": [1], "timestamps": [1]}x']
)
def test_what_is_no_export_is_an_error(body: bytes) -> None:
    with pytest.raises(StoreError, match="cannot be read"):
        found_in_lines(body)


def test_values_before_and_after_a_move_are_one_series_of_the_newest_pool() -> None:
    found = [
        Found(labels("n1", "2"), [20, 30], [2.0, 3.0]),
        Found(labels("n1", "1"), [5, 10, 20], [0.5, 1.0, 9.0]),
        Found(labels("n2", "1"), [5], [7.0]),
        Found({"__name__": "up"}, [5], [1.0]),
        Found(labels("n3", "1"), [], []),
    ]

    series, twice = join(found, NAMES.metric_of)

    assert sorted(series) == [
        Series("node", "n1", "2", False, "load1", [5, 10, 20, 30], [0.5, 1.0, 2.0, 3.0]),
        Series("node", "n2", "1", False, "load1", [5], [7.0]),
    ]
    assert twice == {(Entity("node", "n1"), 20)}


def test_the_newest_tick_has_only_the_metrics_of_its_very_time() -> None:
    found = [
        Found(labels("n1", "1"), [5, 10], [1.0, 2.0]),
        Found(labels("n1", "1", "other_gone"), [5], [3.0]),
        Found(labels("n1", "1", "other_b"), [10], [4.0]),
        Found(labels("n2", "1"), [], []),
    ]

    (tick,) = newest_of(found, NAMES.metric_of)

    assert tick[:6] == ("node", "n1", "1", False, 10, None)
    assert (tick.names, tick.values, tick.qualities) == (["b", "load1"], [4.0, 2.0], None)


@given(
    st.lists(st.tuples(st.integers(0, 50_000), st.floats(-1e6, 1e6)), min_size=1, max_size=30),
    st.sampled_from(WINDOW_FUNCTIONS),
    st.sampled_from([1, 7, 1_000, 60_000]),
)
def test_windows_from_values_are_those_of_the_model(
    points: list[tuple[int, float]], fn: str, every_ms: int
) -> None:
    points = sorted(dict(points).items())
    model = Model(
        [tick_of("live", [Row("node", "n1", "1", at_ms, {"load1": value})]) for at_ms, value in points]
    )
    selection = Selection(0, 60_000)

    (folded,) = fold(model.read(selection), Window(every_ms, fn))

    (expected,) = model.read(selection, Window(every_ms, fn))
    assert folded.times_ms == expected.times_ms
    assert folded.values == pytest.approx(expected.values, rel=1e-9, abs=1e-6)


@given(st.integers(0, 10**7), st.integers(1, 10**7), st.integers(2, 10**6))
def test_spans_are_the_whole_selection_once_and_none_crosses_a_window(
    start_ms: int, length_ms: int, every_ms: int
) -> None:
    spans = sorted(spans_of(Selection(start_ms, start_ms + length_ms), every_ms))

    assert spans[0][0] == start_ms
    assert spans[-1][1] == start_ms + length_ms
    for (_, end_ms, _), (begin_ms, _, _) in pairwise(spans):
        assert end_ms == begin_ms
    for begin_ms, end_ms, step_ms in spans:
        assert (end_ms - begin_ms) % step_ms == 0
        assert (end_ms - begin_ms) // step_ms <= MAX_STEPS
        assert begin_ms // every_ms == (begin_ms + step_ms - 1) // every_ms


@pytest.mark.parametrize(
    "time_ms", [0, 1, 999, 1_000, 544_460_170_989, 1_795_521_518_182, 1_795_521_518_181, 4_102_444_799_999]
)
def test_a_time_survives_servers_that_cut_and_servers_that_round(time_ms: int) -> None:
    text = seconds(time_ms)

    assert int(float(text) * 1e3) == round(float(text) * 1e3) == max(time_ms, 1)


def test_the_address_keeps_its_path() -> None:
    assert parse_address("prometheus+https://a:9090/prom/", "prometheus") == "https://a:9090/prom"


@pytest.mark.parametrize(
    "url",
    [
        "prometheus+http://",
        "prometheus+http:///x",
        "prometheus+http://u:secret@a",
        "prometheus+http://a?k=secret",
        "prometheus+http://a:99999",
    ],
)
def test_an_address_that_cannot_be_used_is_refused_without_its_secret(url: str) -> None:
    with pytest.raises(SettingsError) as caught:
        parse_address(url, "prometheus")

    assert "TWIN_HISTORY_URL" in str(caught.value)
    assert "secret" not in str(caught.value)


def test_an_error_is_told_in_one_line_whatever_it_is() -> None:
    assert said_in(Answer(422, b'{"status":"error","error":"too\\nmuch"}', None)) == "too much"
    assert said_in(Answer(502, b"<html>\n bad\xff", None)) == "<html> bad\ufffd"
    assert said_in(Answer(502, b"[1]", None)) == "[1]"
    assert len(said_in(Answer(502, b"x" * 10_000, None))) == 500
