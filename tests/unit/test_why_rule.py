"""Which series and rule gave a sample: what the harmoniser made, explained."""

import pytest

from streams.domain.why.rule import Mapped, map_sample
from streams.records import Scrape
from streams.rulebook import RuleBook
from tests.rulepacks import LAB_RULES, NOW_MS, make_book, make_scrape, run, samples_of

SERIES = [
    ('names{instance="i1",nodename="A",model="m"}', 1.0),
    ('mem_mib{node="a"}', 2.0),
    ('mem_free{node="a"}', 30.0),
    ('mem_size{node="a"}', 120.0),
    ('busy{node="a",cpu="0"}', 5.0),
    ('busy{node="a",cpu="1"}', 7.0),
    ('kelvin{node="a",sensor="x"}', 300.0),
    ('kelvin{node="a",sensor="y"}', 310.0),
    ('received{node="a"}', 1000.0),
    ('gpu{node="a"}', 100.5),
    ('state{node="a",state="idle"}', 1.0),
    ('jobs{pool="p"}', 3.0),
    ('load{node="b"}', 0.5),
]


@pytest.fixture(scope="module")
def book(tmp_path_factory: pytest.TempPathFactory) -> RuleBook:
    return make_book(tmp_path_factory.mktemp("rules"), LAB_RULES)


def mapped(book: RuleBook, metric: str, scrape: Scrape | None = None, id: str = "a") -> Mapped | None:
    scrape = scrape or make_scrape(SERIES)
    return map_sample(scrape, book.packs["test"], book.catalogue, ("node", id), metric)


def test_each_sample_of_a_scrape_is_explained_with_its_very_value(book: RuleBook) -> None:
    scrape = make_scrape(SERIES)
    samples = samples_of(run(book.packs, book.catalogue, scrape))
    assert len(samples) == 11

    for (kind, id, metric), (value, _) in samples.items():
        found = map_sample(scrape, book.packs["test"], book.catalogue, (kind, id), metric)
        assert found is not None
        assert found.value == value
        assert "test.yaml:" in found.place


def test_a_unit_is_converted(book: RuleBook) -> None:
    found = mapped(book, "mem_total_bytes")

    assert found is not None
    assert (found.raw, found.from_unit, found.scale, found.offset) == (2.0, "MiB", 2.0**20, 0.0)
    assert (found.value, found.to_unit, found.formula) == (2.0 * 2**20, "B", "")
    (series,) = found.series
    assert (series.text, series.value, series.time_ms) == ('mem_mib{node="a"}', 2.0, NOW_MS)
    assert (series.input, series.aggregate) == ("", "")


def test_a_formula_names_its_series(book: RuleBook) -> None:
    found = mapped(book, "mem_usage_percent")

    assert found is not None
    assert found.formula == "100 * (1 - mem_free / total)"
    assert [(one.input, one.text, one.value) for one in found.series] == [
        ("mem_free", 'mem_free{node="a"}', 30.0),
        ("total", 'mem_size{node="a"}', 120.0),
    ]
    assert found.value == 75.0


def test_an_aggregate_has_all_its_series_and_a_counter_its_own_unit(book: RuleBook) -> None:
    found = mapped(book, "cpu_usage_percent")

    assert found is not None
    assert [one.aggregate for one in found.series] == ["sum_per_distinct(cpu)"] * 2
    assert (found.raw, found.value, found.from_unit, found.to_unit) == (6.0, 600.0, "s", "%·s")
    hottest = mapped(book, "temperature_celsius")
    assert hottest is not None
    assert [one.aggregate for one in hottest.series] == ["max", "max"]
    assert (hottest.raw, hottest.value, hottest.offset) == (310.0, pytest.approx(36.85), -273.15)


def test_a_value_within_its_tolerance_is_limited(book: RuleBook) -> None:
    found = mapped(book, "gpu_usage_percent")

    assert found is not None
    assert (found.raw, found.value) == (100.5, 100.0)


def test_times_are_those_of_the_series(book: RuleBook) -> None:
    scrape = make_scrape([('mem_free{node="a"}', 30.0), ('mem_size{node="a"}', 120.0)], times_ms=[5, 6])

    found = mapped(book, "mem_usage_percent", scrape)

    assert found is not None
    assert [one.time_ms for one in found.series] == [5, 6]


def test_what_todays_rules_do_not_make_is_none(book: RuleBook) -> None:
    assert mapped(book, "power_watts") is None
    assert mapped(book, "load1", id="nobody") is None
