from pathlib import Path

import pytest

from streams.domain.harmonize import Harmonizer
from streams.domain.observation import check_observation
from streams.errors import InvalidMessageError
from streams.rulebook import RuleBook
from streams.schemas import load_codec
from tests.rulepacks import (
    LAB_RULES,
    NOW_MS,
    attributes_of,
    make_book,
    make_scrape,
    run,
    samples_of,
    values_of,
)


@pytest.fixture(scope="module")
def book(tmp_path_factory: pytest.TempPathFactory) -> RuleBook:
    return make_book(tmp_path_factory.mktemp("rules"), LAB_RULES)


def values(book: RuleBook, *samples: tuple[str, float]) -> dict[tuple[str, str, str], float]:
    result = run(book.packs, book.catalogue, make_scrape(list(samples)))
    assert result.rejected == []
    return values_of(result)


def test_an_observation_says_where_it_comes_from(book: RuleBook) -> None:
    scrape = make_scrape([('load{node="a"}', 0.5)], simulated=True)

    ((partition, observation),) = run(book.packs, book.catalogue, scrape).observations

    assert partition == 0
    assert observation == {
        "type": "values",
        "at_ms": NOW_MS + 5,
        "world": "live",
        "source": "lab",
        "priority": 7,
        "target": "http://node1:9100/metrics",
        "interval_ms": 5_000,
        "scraped_at_ms": NOW_MS,
        "simulated": True,
        "origin_topic": "scrape",
        "origin_partition": 3,
        "origin_offset": 11,
        "reason": "",
        "kinds": ["node"],
        "ids": ["a"],
        "sizes": [1],
        "attributes": [{}],
        "names": ["load1"],
        "forms": [0],
        "metrics": [0],
        "values": [0.5],
        "times_ms": [NOW_MS],
        "event_id": "",
        "body": "",
        "lane": -1,
    }
    assert load_codec("observation").decode(load_codec("observation").encode(observation)) == observation


def test_zero_is_kept_and_absent_stays_absent(book: RuleBook) -> None:
    assert values(book, ('load{node="a"}', 0.0), ('mem_free{node="a"}', 1.0)) == {("node", "a", "load1"): 0.0}


def test_units_are_converted(book: RuleBook) -> None:
    found = values(
        book, ('mem_mib{node="a"}', 2.0), ('kelvin{node="a"}', 300.0), ('kelvin{node="a",s="2"}', 310.0)
    )

    assert found["node", "a", "mem_total_bytes"] == 2_097_152.0
    assert found["node", "a", "temperature_celsius"] == pytest.approx(36.85)


def test_the_first_rule_that_finds_its_series_gives_the_metric(book: RuleBook) -> None:
    both = values(
        book, ('mem_bytes{node="a"}', 7.0), ('mem_mib{node="a"}', 1.0), ('mem_bytes{node="b"}', 8.0)
    )

    assert both == {("node", "a", "mem_total_bytes"): 1_048_576.0, ("node", "b", "mem_total_bytes"): 8.0}


def test_aggregates_over_the_series_of_one_entity(book: RuleBook) -> None:
    found = values(
        book,
        ('busy{cpu="0",mode="user",node="a"}', 10.0),
        ('busy{cpu="0",mode="system",node="a"}', 2.0),
        ('busy{cpu="1",mode="user",node="a"}', 4.0),
        ('received{device="x",node="a"}', 5.0),
        ('received{device="y",node="a"}', 7.0),
        ('fan{fan="1",node="a"}', 900.0),
        ('fan{fan="2",node="a"}', 800.0),
        ('gpu{gpu="0",node="a"}', 10.0),
        ('gpu{gpu="1",node="a"}', 20.0),
        ('loads{n="1",node="a"}', 3.0),
        ('loads{n="2",node="a"}', 4.0),
    )

    assert found == {
        ("node", "a", "cpu_usage_percent"): 800.0,
        ("node", "a", "number_of_cores"): 2.0,
        ("node", "a", "network_receive_bytes_per_s"): 12.0,
        ("node", "a", "fan_speed_rpm"): 800.0,
        ("node", "a", "gpu_usage_percent"): 15.0,
        ("node", "a", "gpu_count"): 2.0,
        ("node", "a", "load5"): 3.0,
    }


def test_a_label_can_give_the_value(book: RuleBook) -> None:
    assert values(book, ('state{node="a",state="down"}', 17.0), ('state{node="b",state="idle"}', 17.0)) == {
        ("node", "a", "up"): 0.0,
        ("node", "b", "up"): 1.0,
    }


@pytest.mark.parametrize(
    ("name", "series"),
    [
        ('names{instance="x:1",nodename="WS01"}', 'load{instance="x:1"}'),
        ('names{name="p1",nodename="WS01"}', 'load{instance="x:1",pod="p1"}'),
        ('names{nodename="WS01"}', "load"),
    ],
)
def test_a_name_is_joined_from_an_info_series(book: RuleBook, name: str, series: str) -> None:
    assert values(book, (name, 1.0), (series, 2.0)) == {("node", "ws01", "load1"): 2.0}


def test_where_the_join_finds_nothing_the_next_id_is_taken(book: RuleBook) -> None:
    found = values(
        book, ('names{instance="y:1",nodename="WS01"}', 1.0), ('load{instance="x:1",node="b"}', 2.0)
    )

    assert found == {("node", "b", "load1"): 2.0}


def test_an_info_series_of_another_target_or_one_of_several_names_nothing(book: RuleBook) -> None:
    other = make_scrape([('names{instance="y:1",nodename="a"}', 1.0), ("load", 1.0)])
    several = make_scrape([('names{nodename="a"}', 1.0), ('names{nodename="b"}', 1.0), ("load", 1.0)])
    keyed = make_scrape([('names{nodename="a"}', 1.0), ('load{instance="y:1"}', 1.0)])

    for scrape in (other, several, keyed):
        result = run(book.packs, book.catalogue, scrape)

        assert values_of(result) == {}
        assert [rejection.reason for rejection in result.rejected] == ["unnamed"]


def test_a_series_without_an_entity_is_rejected_with_its_rule(book: RuleBook) -> None:
    result = run(book.packs, book.catalogue, make_scrape([("load", 1.0)]))

    (rejection,) = result.rejected
    assert rejection.reason == "unnamed"
    assert rejection.error.startswith("load: names no node (")
    assert "test.yaml:12)" in rejection.error


def test_an_optional_series_without_an_entity_is_counted(book: RuleBook) -> None:
    result = run(
        book.packs, book.catalogue, make_scrape([("perhaps", 1.0), ("other", 1.0), ('other{a="b"}', 1.0)])
    )

    assert result.rejected == []
    assert result.unmapped == {"perhaps": 1, "other": 2}


def test_attributes_come_from_labels_of_the_series_that_name_an_entity(book: RuleBook) -> None:
    scrape = make_scrape(
        [
            ('about{labels="{\\"z\\": 1, \\"a\\": 2}",node="a",system="Linux"}', 1.0),
            ('about{labels="",node="b"}', 1.0),
        ]
    )

    result = run(book.packs, book.catalogue, scrape)

    assert attributes_of(result) == {
        ("node", "a"): {"system": "linux", "labels": '{"a":2,"z":1}'},
        ("node", "b"): {"labels": ""},
    }
    assert [observation["sizes"] for _, observation in result.observations] == [[0, 0]]


def test_a_label_that_should_be_json_is_rejected_and_the_rest_kept(book: RuleBook) -> None:
    result = run(book.packs, book.catalogue, make_scrape([('about{labels="{no",node="a",system="X"}', 1.0)]))

    assert attributes_of(result) == {("node", "a"): {"system": "x"}}
    assert [rejection.reason for rejection in result.rejected] == ["labels"]
    assert result.rejected[0].error.startswith("node a: labels: not JSON: ")


def test_a_conditional_attribute_follows_the_value(book: RuleBook) -> None:
    harmonizer = Harmonizer(book.packs, book.catalogue, 1)
    phases = ['phase{node="a",phase="Pending"}', 'phase{node="a",phase="Running"}']

    found = []
    for numbers in ([1.0, 0.0], [1.0, 0.0], [0.0, 1.0], [0.0, 0.0]):
        scrape = make_scrape(list(zip(phases, numbers, strict=True)))
        found.append(attributes_of(harmonizer.harmonize(scrape, partition=0, offset=0, at_ms=1)))

    assert [attributes["node", "a"] for attributes in found] == [
        {"phase": "Pending"},
        {"phase": "Pending"},
        {"phase": "Running"},
        {},
    ]


@pytest.mark.parametrize(("value", "taken"), [(-1.0, 0.0), (-0.25, 0.0), (100.5, 100.0), (50.0, 50.0)])
def test_what_is_within_the_tolerance_becomes_the_limit(book: RuleBook, value: float, taken: float) -> None:
    assert values(book, ('gpu{node="a"}', value))["node", "a", "gpu_usage_percent"] == taken


def test_each_sample_keeps_its_own_time_and_a_sum_that_of_the_newest(book: RuleBook) -> None:
    scrape = make_scrape(
        [('load{node="a"}', 1.0), ('received{d="1",node="a"}', 2.0), ('received{d="2",node="a"}', 3.0)],
        times_ms=[NOW_MS - 3, NOW_MS - 1, NOW_MS - 2],
    )

    assert samples_of(run(book.packs, book.catalogue, scrape)) == {
        ("node", "a", "load1"): (1.0, NOW_MS - 3),
        ("node", "a", "network_receive_bytes_per_s"): (5.0, NOW_MS - 1),
    }


def test_a_metric_of_two_forms_is_told_apart(tmp_path: Path) -> None:
    book = make_book(
        tmp_path,
        "rules: [{metric: network_receive_bytes_per_s, series: total},"
        " {metric: network_receive_bytes_per_s, series: rate, form: gauge}]",
    )

    ((_, observation),) = run(
        book.packs, book.catalogue, make_scrape([('total{node="a"}', 1.0), ('rate{node="b"}', 2.0)])
    ).observations

    assert observation["names"] == ["network_receive_bytes_per_s"] * 2
    assert [observation["forms"][metric] for metric in observation["metrics"]] == [2, 0]


def test_a_failed_scrape_tells_every_partition(book: RuleBook) -> None:
    scrape = make_scrape([], ok=False, error="timeout: no answer")

    result = run(book.packs, book.catalogue, scrape, partitions=3)

    assert [partition for partition, _ in result.observations] == [0, 1, 2]
    for _, observation in result.observations:
        assert observation["type"] == "failure"
        assert observation["target"] == "http://node1:9100/metrics"
        assert observation["reason"] == "timeout: no answer"
        check_observation(observation)


def test_an_empty_scrape_gives_nothing(book: RuleBook) -> None:
    result = run(book.packs, book.catalogue, make_scrape([]))

    assert (result.observations, result.rejected, result.unmapped) == ([], [], {})


def test_an_unknown_pack_is_an_error_that_names_the_known(book: RuleBook) -> None:
    with pytest.raises(InvalidMessageError, match=r"no rule pack 'nope'; there are dcgm, .*test") as caught:
        run(book.packs, book.catalogue, make_scrape([], pack="nope"))

    assert caught.value.reason == "unknown_pack"


@pytest.mark.parametrize("change", [{"values": [1.0]}, {"times_ms": [1]}, {"series": []}])
def test_arrays_of_unequal_length_are_an_error(book: RuleBook, change: dict[str, list[float]]) -> None:
    scrape = make_scrape([('load{node="a"}', 1.0), ('load{node="b"}', 1.0)], **change)

    with pytest.raises(InvalidMessageError, match="are not of one length") as caught:
        run(book.packs, book.catalogue, scrape)

    assert caught.value.reason == "arrays"
