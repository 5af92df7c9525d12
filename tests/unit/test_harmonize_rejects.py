import pytest

from streams.domain.observation import check_observation
from streams.rulebook import RuleBook
from tests.rulepacks import LAB_RULES, NOW_MS, make_book, make_scrape, run, values_of


@pytest.fixture(scope="module")
def book(tmp_path_factory: pytest.TempPathFactory) -> RuleBook:
    return make_book(tmp_path_factory.mktemp("rules"), LAB_RULES)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
@pytest.mark.parametrize(
    "series", ["load", "mem_mib", "busy", "received", "fan", "gpu", "kelvin", "loads", "state"]
)
def test_what_is_not_finite_is_rejected_and_the_others_kept(
    book: RuleBook, series: str, value: float
) -> None:
    scrape = make_scrape(
        [
            (f'{series}{{cpu="1",node="a"}}', 1.0),
            (f'{series}{{cpu="2",node="a"}}', value),
            ('load{node="b"}', 1.0),
        ]
    )
    if series in ("load", "mem_mib", "loads", "state"):  # these take one series
        del scrape["series"][0], scrape["values"][0]

    result = run(book.packs, book.catalogue, scrape)

    counted = {("node", "a", "number_of_cores"), ("node", "a", "gpu_count")}  # counts do not look at values
    assert values_of(result).keys() - counted == {("node", "b", "load1")}
    (rejection,) = result.rejected
    assert rejection.reason == "nan"
    assert rejection.error.startswith("node a: ")
    assert f'{series}{{cpu="2",node="a"}} = {value}' in rejection.error


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
def test_a_nan_among_several_is_seen_wherever_it_stands(book: RuleBook, order: tuple[int, int]) -> None:
    numbers = [float("nan"), 500.0]
    scrape = make_scrape([(f'fan{{fan="{n}",node="a"}}', numbers[n]) for n in order])

    assert [rejection.reason for rejection in run(book.packs, book.catalogue, scrape).rejected] == ["nan"]


@pytest.mark.parametrize(
    ("series", "value", "text"),
    [
        ("load", -0.1, "node a: load1 = -0.1 is not within 0 … ∞"),
        ("gpu", 101.5, "node a: gpu_usage_percent = 101.5 is not within 0 … 100"),
        ("received", -1.0, "node a: network_receive_bytes_per_s = -1.0 is not within 0 … ∞"),
        ("kelvin", -1.0, "node a: temperature_celsius = -274.15 is not within -273.15 … 1000"),
    ],
)
def test_what_is_out_of_range_is_rejected(book: RuleBook, series: str, value: float, text: str) -> None:
    result = run(book.packs, book.catalogue, make_scrape([(f'{series}{{node="a"}}', value)]))

    assert [(rejection.reason, rejection.error) for rejection in result.rejected] == [("range", text)]


def test_a_formula_that_divides_by_zero_is_rejected_with_its_values(book: RuleBook) -> None:
    scrape = make_scrape([('mem_free{node="a"}', 0.0), ('mem_size{node="a"}', 0.0), ('load{node="a"}', 1.0)])

    result = run(book.packs, book.catalogue, scrape)

    assert values_of(result) == {("node", "a", "load1"): 1.0}
    assert [(rejection.reason, rejection.error) for rejection in result.rejected] == [
        (
            "division",
            "node a: mem_usage_percent: 100 * (1 - mem_free / total) divides by zero or overflows: "
            'mem_free{node="a"} = 0.0, mem_size{node="a"} = 0.0',
        )
    ]


def test_a_formula_over_what_is_not_finite_is_rejected_as_that(book: RuleBook) -> None:
    scrape = make_scrape([('mem_free{node="a"}', float("nan")), ('mem_size{node="a"}', 1.0)])

    result = run(book.packs, book.catalogue, scrape)

    assert [rejection.reason for rejection in result.rejected] == ["nan"]


def test_a_conversion_that_overflows_is_rejected(book: RuleBook) -> None:
    result = run(book.packs, book.catalogue, make_scrape([('mem_mib{node="a"}', 1e308)]))

    assert [(r.reason, r.error) for r in result.rejected] == [
        ("nan", 'node a: mem_total_bytes = inf from mem_mib{node="a"}')
    ]


def test_several_values_without_an_aggregate_are_rejected_unless_equal(book: RuleBook) -> None:
    equal = make_scrape([('load{n="1",node="a"}', 2.0), ('load{n="2",node="a"}', 2.0)])
    unequal = make_scrape([('load{n="1",node="a"}', 2.0), ('load{n="2",node="a"}', 3.0)])

    good, bad = (run(book.packs, book.catalogue, scrape) for scrape in (equal, unequal))

    assert values_of(good) == {("node", "a", "load1"): 2.0}
    assert good.rejected == []
    assert values_of(bad) == {}
    assert [(rejection.reason, rejection.error) for rejection in bad.rejected] == [
        ("duplicate", "node a: load1 has different values: 2.0, 3.0")
    ]


def test_a_series_that_comes_twice_counts_once(book: RuleBook) -> None:
    again = ('received{node="a"}', 5.0)

    equal = run(book.packs, book.catalogue, make_scrape([again, again]))
    result = run(book.packs, book.catalogue, make_scrape([again, ('received{node="a"}', 6.0)]))

    assert values_of(equal) == {("node", "a", "network_receive_bytes_per_s"): 5.0}
    assert equal.rejected == []

    assert values_of(result) == {("node", "a", "network_receive_bytes_per_s"): 5.0}
    assert [(rejection.reason, rejection.error) for rejection in result.rejected] == [
        ("duplicate", 'received{node="a"} comes twice: 5.0 was taken, 6.0 was not')
    ]


def test_what_is_no_series_is_rejected_and_the_others_kept(book: RuleBook) -> None:
    result = run(book.packs, book.catalogue, make_scrape([("load{", 1.0), ('load{node="a"}', 1.0)]))

    assert values_of(result) == {("node", "a", "load1"): 1.0}
    assert [rejection.reason for rejection in result.rejected] == ["series"]


@pytest.mark.parametrize("times_ms", [[0, NOW_MS], [-5, NOW_MS], [0, 0]])
def test_a_sample_without_a_time_is_rejected(book: RuleBook, times_ms: list[int]) -> None:
    scrape = make_scrape([('load{node="a"}', 1.0), ('load{node="b"}', 2.0)], times_ms=times_ms)

    result = run(book.packs, book.catalogue, scrape)

    assert len(values_of(result)) == times_ms.count(NOW_MS)
    assert {rejection.reason for rejection in result.rejected} == {"time"}
    for _, observation in result.observations:
        check_observation(observation)


def test_an_entity_whose_samples_are_all_rejected_is_still_mentioned(book: RuleBook) -> None:
    (only,) = run(book.packs, book.catalogue, make_scrape([('load{node="a"}', -1.0)])).observations

    assert (only[1]["ids"], only[1]["sizes"], only[1]["names"], only[1]["values"]) == (["a"], [0], [], [])


def test_many_rejections_make_few_dead_letters(book: RuleBook) -> None:
    samples = [(f'load{{node="{n:03}"}}', -1.0) for n in range(60)] + [
        (f'gpu{{node="{n:03}"}}', float("nan")) for n in range(60)
    ]

    result = run(book.packs, book.catalogue, make_scrape(samples))

    assert [(rejection.reason, rejection.count) for rejection in result.rejected] == [
        ("range", 60),
        ("nan", 60),
    ]
    assert result.rejected[0].error.splitlines()[0] == "node 000: load1 = -1.0 is not within 0 … ∞"
    assert result.rejected[0].error.splitlines()[-1] == "and 50 more"


def test_a_long_series_is_cut_short_in_a_rejection(book: RuleBook) -> None:
    result = run(
        book.packs, book.catalogue, make_scrape([(f'load{{a="{"x" * 999}",node="a"}}', float("nan"))])
    )

    assert len(result.rejected[0].error) < 400


def test_an_attribute_of_an_entity_without_a_name_is_rejected_unless_optional(book: RuleBook) -> None:
    result = run(book.packs, book.catalogue, make_scrape([('about{system="x"}', 1.0), ('extra{x="1"}', 1.0)]))

    assert result.observations == []
    assert [rejection.reason for rejection in result.rejected] == ["unnamed"]
    assert result.rejected[0].error.startswith('about{system="x"}: names no node (')
    assert result.unmapped == {"extra": 1}
