"""The Prometheus source on canned answers: true times, failing queries, repeated samples."""

import json
from collections.abc import Callable
from typing import Any

import pytest

from streams.collect.cadence import Cadence
from streams.collect.fetch import Answer
from streams.collect.prometheus import PrometheusSource
from streams.collect.promql import SampleTimes, read_answer, read_matrix_times, read_vector
from streams.collect.target import Target
from streams.domain.rules import Query, RulePack
from streams.domain.template import parse_template
from streams.errors import SourceError

NOW_S = 1_750_000_000.0
NODE = {"instance": "n1:9100", "job": "node"}


class CannedFetcher:
    """Answers a query by what is in it; counts what it was asked, and how."""

    def __init__(self, answers: dict[str, Any]) -> None:
        self.answers = answers
        self.asked: list[tuple[str, str]] = []

    async def fetch(self, target, *, accept, url, form=None) -> Answer:
        query = (form or dict(url.query))["query"]
        self.asked.append(("POST" if form else "GET", query))
        for part, answer in self.answers.items():
            if part in query:
                if isinstance(answer, Exception):
                    raise answer
                return Answer(200, "application/json", json.dumps(answer).encode(), True, NOW_S)
        return Answer(200, "application/json", json.dumps(vector()).encode(), True, NOW_S)


def vector(*rows: tuple[dict[str, str], Any]) -> dict[str, Any]:
    result = [{"metric": labels, "value": [NOW_S, str(value)]} for labels, value in rows]
    return {"status": "success", "data": {"resultType": "vector", "result": result}}


def up(labels: dict[str, str], time_s: float) -> tuple[dict[str, str], Any]:
    return {**labels, "twin_sample_time": "1"}, time_s


def matrix(*rows: tuple[dict[str, str], list[float]]) -> dict[str, Any]:
    result = [
        {"metric": {"__name__": "up", **labels}, "values": [[time_s, "1"] for time_s in times]}
        for labels, times in rows
    ]
    return {"status": "success", "data": {"resultType": "matrix", "result": result}}


def make_source(
    answers: dict[str, Any], *names: str, interval_s: float = 5.0
) -> tuple[PrometheusSource, CannedFetcher]:
    queries = tuple(Query(name, f"expr_{name}") for name in names)
    pack = RulePack("node_exporter", 50, queries=queries, group=(parse_template("{instance}"),))
    target = Target(
        "prometheus", "node_exporter", "http://p:9090", pack, interval_s, 2.0, url="http://p:9090"
    )
    fetcher = CannedFetcher(answers)
    return PrometheusSource(target, fetcher), fetcher  # type: ignore[arg-type]


async def test_samples_have_the_time_at_which_their_target_was_scraped() -> None:
    source, _ = make_source({"expr_a": vector(up(NODE, NOW_S - 2.5), ({**NODE, "__name__": "a"}, 1))}, "a")

    harvest = await source.collect()

    assert harvest.series == ['a{instance="n1:9100",job="node"}']
    assert harvest.times_ms == [round((NOW_S - 2.5) * 1000)]


async def test_a_series_without_a_known_target_has_the_evaluation_time() -> None:
    source, _ = make_source({"expr_a": vector(up(NODE, NOW_S - 2.5), ({"pool": "1"}, 4))}, "a")

    harvest = await source.collect()

    assert harvest.series == ['a{pool="1"}']
    assert harvest.times_ms == [round(NOW_S * 1000)]


async def test_a_failing_query_is_a_failure_of_its_own() -> None:
    answers = {"expr_bad": SourceError("http_status", "HTTP 400"), "expr_a": vector(({"x": "1"}, 1))}
    source, _ = make_source(answers, "a", "bad")

    harvest = await source.collect()

    assert harvest.series == ['a{x="1"}']
    assert [(name, error.reason, str(error)) for name, error in harvest.failures] == [
        ("bad", "http_status", "query bad: HTTP 400")
    ]


async def test_when_all_queries_fail_the_target_has_failed() -> None:
    source, _ = make_source({"expr": SourceError("connect", "refused")}, "a", "b", "c")

    with pytest.raises(SourceError, match=r"query a: refused \(and 2 more queries\)") as caught:
        await source.collect()

    assert caught.value.reason == "connect"


async def test_samples_that_were_shipped_are_not_shipped_again() -> None:
    other = {"instance": "n2:9100", "job": "node"}
    answers = {"expr_a": vector(up(NODE, NOW_S - 9), up(other, NOW_S - 8), (NODE, 1), (other, 2))}
    source, fetcher = make_source(answers, "a")
    await source.collect()

    fetcher.answers = {"expr_a": vector(up(NODE, NOW_S - 9), up(other, NOW_S - 3), (NODE, 1), (other, 3))}
    harvest = await source.collect()

    assert harvest.series == ['a{instance="n2:9100",job="node"}']
    assert harvest.dropped == {"repeated": 1}


async def test_a_sample_that_one_query_saw_later_than_another_is_not_lost() -> None:
    old, new = up(NODE, NOW_S - 9), up(NODE, NOW_S - 4)
    source, fetcher = make_source(
        {"expr_a": vector(new, (NODE, 2)), "expr_b": vector(old, (NODE, 1))}, "a", "b"
    )
    await source.collect()

    fetcher.answers = {"expr_a": vector(new, (NODE, 2)), "expr_b": vector(new, (NODE, 3))}
    harvest = await source.collect()

    assert harvest.values == [2.0, 3.0]
    assert set(harvest.times_ms) == {round((NOW_S - 4) * 1000)}


async def test_after_a_failure_all_is_shipped_again() -> None:
    good = {"expr_a": vector(up(NODE, NOW_S - 9), (NODE, 1))}
    source, fetcher = make_source(good, "a")
    await source.collect()
    fetcher.answers = {"expr_a": SourceError("timeout", "no answer")}
    with pytest.raises(SourceError):
        await source.collect()

    fetcher.answers = good
    harvest = await source.collect()

    assert harvest.values == [1.0]


async def test_the_interval_of_the_server_is_known_from_its_recent_samples() -> None:
    recent = matrix((NODE, [NOW_S - 62, NOW_S - 47, NOW_S - 32.01, NOW_S - 17, NOW_S - 2]))
    source, fetcher = make_source({"[5m]": recent, "expr_a": vector(up(NODE, NOW_S - 2), (NODE, 1))}, "a")

    harvest = await source.collect()
    await source.collect()

    assert harvest.intervals_ms == {"n1:9100": 15_000}
    assert sum("[5m]" in query for _, query in fetcher.asked) == 1


async def test_on_cue_there_is_no_interval() -> None:
    answers = {
        "[5m]": matrix((NODE, [NOW_S - 17, NOW_S - 2])),
        "expr_a": vector(up(NODE, NOW_S - 2), (NODE, 1)),
    }
    source, _ = make_source(answers, "a", interval_s=0.0)

    assert (await source.collect()).intervals_ms == {}


async def test_long_queries_are_posted() -> None:
    pack = RulePack("p", 50, queries=(Query("short", "a"), Query("long", "a or " * 500 + "b")))
    target = Target("prometheus", "p", "http://p", pack, 5.0, 2.0, url="http://p/prefix?tenant=1")
    fetcher = CannedFetcher({})

    await PrometheusSource(target, fetcher).collect()  # type: ignore[arg-type]

    assert {query.count("a or ") > 400: method for method, query in fetcher.asked if "[5m]" not in query} == {
        True: "POST",
        False: "GET",
    }


async def test_only_the_times_that_are_needed_are_asked_for_when_there_are_many() -> None:
    ups = [up({"instance": f"n{number}", "job": "x"}, NOW_S) for number in range(200)]
    source, fetcher = make_source({"expr_a": vector(*ups, ({"instance": "n1", "job": "x"}, 1))}, "a")

    await source.collect()
    await source.collect()

    asked = [query for _, query in fetcher.asked if "expr_a" in query]
    assert ["and on (instance)" in query for query in asked] == [False, True]


async def test_native_histograms_are_counted() -> None:
    answer = vector()
    answer["data"]["result"] = [{"metric": {"__name__": "h"}, "histogram": [NOW_S, {}]}]
    source, _ = make_source({"expr_a": answer}, "a")

    assert (await source.collect()).dropped == {"histogram": 1}


def test_targets_of_one_address_in_two_clusters_are_told_apart_by_their_labels() -> None:
    times = SampleTimes([({**NODE, "cluster": "a"}, 1), ({**NODE, "cluster": "b"}, 2)])

    assert times.find({**NODE, "cluster": "b", "mode": "idle"}) == ({**NODE, "cluster": "b"}, 2)
    assert times.find(NODE) is None


def test_an_aggregate_without_job_is_found_by_its_instance_when_there_is_one_job() -> None:
    times = SampleTimes([(NODE, 1), ({"instance": "n2", "job": "x"}, 2), ({"instance": "n2", "job": "y"}, 3)])

    assert times.find({"instance": "n1:9100"}) == (NODE, 1)
    assert times.find({"instance": "n2"}) is None
    assert times.find({"pool": "1"}) is None


@pytest.mark.parametrize(
    ("body", "read", "reason"),
    [
        (b"<html>", read_vector, "error_body"),
        (b"[" * 100_000, read_vector, "error_body"),
        (b"[]", read_vector, "error_body"),
        (b'{"status":"success"}', read_vector, "error_body"),
        (b'{"status":"error","errorType":"execution","error":"too many samples"}', read_vector, "error_body"),
        (b'{"status":"success","data":{"resultType":"scalar","result":[1,"1"]}}', read_vector, "result_type"),
        (b'{"status":"success","data":{"resultType":"vector","result":[1]}}', read_vector, "error_body"),
        (
            b'{"status":"success","data":{"resultType":"vector","result":[{"metric":{},"value":[1,"x"]}]}}',
            read_vector,
            "error_body",
        ),
        (
            b'{"status":"success","data":{"resultType":"vector","result":[{"metric":{},"value":[1e400,"1"]}]}}',
            read_vector,
            "error_body",
        ),
        (b'{"status":"success","data":null}', read_matrix_times, "error_body"),
    ],
)
def test_other_answers_are_refused_with_a_reason(
    body: bytes, read: Callable[[Any], Any], reason: str
) -> None:
    with pytest.raises(SourceError) as caught:
        read(read_answer(body)[0])

    assert caught.value.reason == reason


def test_the_text_of_an_error_in_a_200_is_kept() -> None:
    with pytest.raises(SourceError, match="execution: too many samples"):
        read_answer(b'{"status":"error","errorType":"execution","error":"too many samples"}')


def test_one_missed_scrape_does_not_change_the_interval() -> None:
    cadence = Cadence()

    cadence.observe(NODE, [0, 15_000, 30_000, 60_000, 75_020])
    cadence.observe(NODE, [75_020])

    assert cadence.interval_ms(NODE) == 15_000
    assert cadence.interval_ms({"instance": "x"}) == 0


def test_targets_that_are_gone_are_forgotten() -> None:
    cadence = Cadence()
    cadence.observe(NODE, [0, 15_000])

    cadence.keep([])

    assert cadence.interval_ms(NODE) == 0
