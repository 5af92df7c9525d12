"""What a range query gave becomes the scrapes that the collector would have made."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.collect.chunk import Chunker
from streams.collect.limits import limit
from streams.collect.pastscrapes import Answers, PastScrapes, Span, read_matrix
from streams.collect.prometheus import PrometheusSource
from streams.collect.promql import Reply
from streams.collect.target import Caps, Harvest, Target
from streams.domain.rules import Query, RulePack
from streams.errors import SourceError
from streams.records import Scrape
from tests.rulepacks import LAB_RULES, make_book

T = 1_751_552_580_000
STEP = 5_000

Series = dict[str, Any]
"""Labels, and at each step a value or None."""

JOINED = LAB_RULES + "queries: [{name: first, promql: one}, {name: second, promql: two}]\n"


@pytest.fixture(scope="module")
def pack(tmp_path_factory: pytest.TempPathFactory) -> RulePack:
    rules = JOINED.replace("joins:", "\njoins:")
    return make_book(tmp_path_factory.mktemp("rules"), rules).packs["test"]


def target(pack: RulePack, **overrides: Any) -> Target:
    return Target("prometheus", "lab", "http://p:9090", pack, 5.0, 2.0, **overrides)


def body(span: Span, *series: tuple[dict[str, str], list[Any]]) -> bytes:
    result = [
        {
            "metric": labels,
            "values": [
                [time_ms / 1000, str(value)]
                for time_ms, value in zip(span.times_ms(), values, strict=True)
                if value is not None
            ],
        }
        for labels, values in series
    ]
    return json.dumps({"status": "success", "data": {"resultType": "matrix", "result": result}}).encode()


def answers(
    span: Span, ups: list[tuple[dict[str, str], list[Any]]], **replies: list[tuple[dict[str, str], list[Any]]]
) -> Answers:
    bodies = [("lab/http://p:9090", name, body(span, *series)) for name, series in replies.items()]
    return Answers(span, body(span, *ups), bodies)


def seconds(span: Span, *lags_ms: int | None) -> list[float | None]:
    return [
        None if lag_ms is None else (time_ms - lag_ms) / 1000
        for time_ms, lag_ms in zip(span.times_ms(), lags_ms, strict=True)
    ]


def shown(scrapes: Any) -> list[tuple[int, list[tuple[str, float, int]]]]:
    found = []
    for time_ms, records in scrapes:
        rows = [row for r in records for row in zip(r["series"], r["values"], r["times_ms"], strict=True)]
        found.append((time_ms, rows))
    return found


NODE = {"instance": "n1:1", "job": "lab"}
SPAN = Span(T, STEP, 3)


def test_each_step_has_the_values_of_its_time_with_the_times_of_their_samples(pack: RulePack) -> None:
    past = PastScrapes([target(pack)])
    asked = answers(
        SPAN, [(NODE, seconds(SPAN, 100, 200, 300))], first=[({**NODE, "__name__": "load"}, [1, 2, 3])]
    )

    found = shown(past.scrapes(asked))

    name = 'load{instance="n1:1",job="lab"}'
    assert found == [
        (T, [(name, 1.0, T - 100)]),
        (T + STEP, [(name, 2.0, T + STEP - 200)]),
        (T + 2 * STEP, [(name, 3.0, T + 2 * STEP - 300)]),
    ]
    assert past.samples == 3


def test_a_series_without_a_name_gets_that_of_its_query(pack: RulePack) -> None:
    found = shown(PastScrapes([target(pack)]).scrapes(answers(SPAN, [], second=[({"node": "a"}, [1, 1, 1])])))

    assert found[0] == (T, [('second{node="a"}', 1.0, T)])


def test_a_sample_that_is_seen_again_is_not_taken_again(pack: RulePack) -> None:
    past = PastScrapes([target(pack)])
    asked = answers(
        SPAN, [(NODE, seconds(SPAN, 0, STEP, 0))], first=[({**NODE, "__name__": "load"}, [1, 1, 2])]
    )

    found = shown(past.scrapes(asked))

    assert [len(rows) for _, rows in found] == [1, 0, 1]
    assert past.dropped == {"repeated": 1}


def test_a_step_without_a_value_and_one_that_is_no_number_give_nothing(pack: RulePack) -> None:
    past = PastScrapes([target(pack)])

    found = shown(past.scrapes(answers(SPAN, [], first=[({"__name__": "load"}, [None, "NaN", 3])])))

    assert [len(rows) for _, rows in found] == [0, 0, 1]
    assert past.samples == 1


def test_targets_that_are_scraped_less_often_have_their_own_interval(pack: RulePack) -> None:
    span = Span(T, STEP, 7)
    ups = [(NODE, seconds(span, 0, 5_000, 10_000, 0, 5_000, 10_000, 0))]
    asked = answers(span, ups, first=[({**NODE, "__name__": "load"}, [1] * 7)])

    records = [record for _, found in PastScrapes([target(pack)]).scrapes(asked) for record in found]

    assert [record["scraped_at_ms"] for record in records] == [T, T + 15_000, T + 30_000]
    assert {record["interval_ms"] for record in records} == {15_000}


def test_what_is_over_the_caps_is_left_out_and_counted(pack: RulePack) -> None:
    past = PastScrapes([target(pack, caps=Caps(samples=1))])
    series = [({"__name__": "load", "node": node}, [1, 1, 1]) for node in "aba"]

    found = shown(past.scrapes(answers(SPAN, [], first=series)))

    assert [len(rows) for _, rows in found] == [1, 1, 1]
    assert past.dropped == {"over_cap": 3, "duplicate": 3}


def test_only_some_targets_are_new_and_bring_their_info_series(pack: RulePack) -> None:
    there = {"instance": "n2:1", "job": "lab"}
    info = {"instance": "n1:1", "job": "info"}
    span = Span(T, STEP, 2)
    asked = answers(
        span,
        [(NODE, seconds(span, 0, 0)), (there, seconds(span, 0, STEP)), (info, seconds(span, 0, STEP))],
        first=[
            ({**NODE, "__name__": "load", "node": "one"}, [1, 1]),
            ({**there, "__name__": "load", "node": "two"}, [1, 1]),
            ({**info, "__name__": "names", "nodename": "one", "node": "four"}, [1, 1]),
            ({**there, "__name__": "names", "nodename": "two", "node": "three"}, [1, 1]),
        ],
    )

    _, second = shown(PastScrapes([target(pack)]).scrapes(asked))

    assert [series for series, _, _ in second[1]] == [
        'load{instance="n1:1",job="lab",node="one"}',
        'names{instance="n1:1",job="info",node="four",nodename="one"}',
    ]


def test_each_pack_has_its_own_scrapes(pack: RulePack, tmp_path: Path) -> None:
    other = make_book(tmp_path, JOINED.replace("joins:", "\njoins:")).packs["test"]
    targets = [target(pack), Target("prometheus", "b", "http://p:9090", other, 5.0, 2.0)]
    asked = Answers(
        SPAN,
        body(SPAN),
        [(each.key, "first", body(SPAN, ({"__name__": "load"}, [1, 1, 1]))) for each in targets],
    )

    found = list(PastScrapes(targets).scrapes(asked))

    assert [[record["source"] for record in records] for _, records in found] == [["lab", "b"]] * 3


@pytest.mark.parametrize(
    "data",
    [
        {"resultType": "vector", "result": []},
        {"resultType": "matrix", "result": [{"metric": {}, "values": [[1]]}]},
        {"resultType": "matrix", "result": [{"metric": [], "values": []}]},
        {"resultType": "matrix", "result": [{"values": []}]},
        {"resultType": "matrix", "result": [{"metric": {}, "values": [["x", "1"]]}]},
        {"resultType": "matrix", "result": 7},
        [],
    ],
)
def test_what_is_no_range_vector_is_said_to_be_none(data: Any) -> None:
    with pytest.raises(SourceError, match="range vector"):
        list(read_matrix(json.dumps({"status": "success", "data": data}).encode(), SPAN))


def test_what_is_not_at_a_step_is_left_out() -> None:
    result = [{"metric": {}, "values": [[T / 1000 + 1, "1"], [T / 1000 + 5, "2"], [T / 1000 + 500, "3"]]}]
    data = {"status": "success", "data": {"resultType": "matrix", "result": result}}

    ((_, values, is_whole),) = read_matrix(json.dumps(data).encode(), SPAN)

    assert str(values) == "[nan, 2.0, nan]"
    assert not is_whole


def test_a_histogram_has_no_values() -> None:
    data = {
        "status": "success",
        "data": {"resultType": "matrix", "result": [{"metric": {}, "histograms": []}]},
    }

    ((_, _, is_whole),) = read_matrix(json.dumps(data).encode(), SPAN)

    assert not is_whole


STEPS = 6
INSTANCES = ("n1:1", "n2:1", "n3:1")
LAGS = st.lists(st.one_of(st.none(), st.sampled_from([0, 1_000, 5_000])), min_size=STEPS, max_size=STEPS)
VALUES = st.lists(st.one_of(st.none(), st.floats(0, 1e6)), min_size=STEPS, max_size=STEPS)
LABELS = st.tuples(
    st.sampled_from(["load", "names", "mem_free"]), st.sampled_from([*INSTANCES, "elsewhere:1"])
)


@given(
    ups=st.fixed_dictionaries(dict.fromkeys(INSTANCES, LAGS)),
    series=st.dictionaries(LABELS, VALUES, max_size=8),
    cut=st.integers(1, STEPS),
)
def test_the_scrapes_are_those_of_a_collector_that_asked_at_each_step(
    pack: RulePack, ups: dict[str, list[Any]], series: dict[tuple[str, str], list[Any]], cut: int
) -> None:
    past = PastScrapes([target(pack)])
    found = []
    for start, stop in ((0, cut), (cut, STEPS)):
        if start < stop:
            span = Span(T + start * STEP, STEP, stop - start)
            asked = answers(
                span,
                [
                    ({"instance": instance, "job": "lab"}, seconds(span, *lags[start:stop]))
                    for instance, lags in ups.items()
                ],
                first=[(_labels(*key), values[start:stop]) for key, values in series.items()],
            )
            found += [_content(records) for _, records in past.scrapes(asked)]

    assert found == _collected(pack, ups, series)


def _labels(name: str, instance: str) -> dict[str, str]:
    return {"__name__": name, "instance": instance, "job": "lab", "node": instance[:2]}


def _content(records: list[Scrape]) -> set[tuple[str, float, int]]:
    return {row for r in records for row in zip(r["series"], r["values"], r["times_ms"], strict=True)}


def _collected(
    pack: RulePack, ups: dict[str, list[Any]], series: dict[tuple[str, str], list[Any]]
) -> list[set[tuple[str, float, int]]]:
    """What the collector's own source makes of one answer for each step."""
    source, chunker, found = PrometheusSource(target(pack), None), Chunker(target(pack)), []  # type: ignore[arg-type]
    for step in range(STEPS):
        now_ms = T + step * STEP
        there = {key: values[step] for key, values in series.items() if values[step] is not None}
        reply = Reply(
            labels=[_labels(*key) for key in there],
            values=list(there.values()),
            evaluated_ms=[now_ms] * len(there),
            ups=[
                ({"instance": instance, "job": "lab"}, now_ms - lags[step])
                for instance, lags in ups.items()
                if lags[step] is not None
            ],
        )
        harvest = Harvest()
        source._put_together(harvest, [(Query("first", "one"), reply)])
        limit(harvest, Caps())
        found.append(_content(chunker.records(harvest, now_ms, with_series=bool(harvest.series))))
    return found
