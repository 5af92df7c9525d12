"""Plans: what is remembered of a scrape's series changes nothing, and does not grow for ever."""

import math
from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streams.domain import harmonize
from streams.domain.harmonize import Harmonizer
from streams.rulebook import RuleBook
from tests.rulepacks import NOW_MS, make_book, make_scrape, values_of

RULES = """
rules:
  - {metric: load1, series: load}
  - {metric: number_of_cores, series: load, aggregate: count}
  - {metric: mem_usage_percent, formula: 100 * free / total}
  - {metric: network_receive_bytes_per_s, series: free, aggregate: sum}
  - {metric: gpu_usage_percent, series: total, aggregate: mean, tolerance: 1}
attributes:
  - {series: phase, when: 1, set: {phase: "{phase}"}}
"""

series = st.sampled_from(
    [
        f'{name}{{node="{node}"{extra}}}'
        for name in ("load", "free", "total", "phase", "else")
        for node in ("a", "b", "c")
        for extra in ("", ',phase="x"', ',phase="y"')
    ]
)
numbers = st.sampled_from([0.0, 1.0, 2.5, -0.5, -7.0, 100.5, math.nan, math.inf])
times = st.integers(NOW_MS - 3, NOW_MS)
scrapes = st.lists(
    st.lists(series, max_size=12).flatmap(
        lambda texts: st.tuples(
            st.just(texts),
            st.lists(
                st.tuples(
                    st.lists(numbers, min_size=len(texts), max_size=len(texts)),
                    st.none() | st.lists(times, min_size=len(texts), max_size=len(texts)),
                ),
                min_size=1,
                max_size=3,
            ),
        )
    ),
    max_size=4,
)


@pytest.fixture(scope="module")
def book(tmp_path_factory: pytest.TempPathFactory) -> RuleBook:
    return make_book(tmp_path_factory.mktemp("rules"), RULES)


@settings(max_examples=settings().max_examples // 4)  # each compiles some ten plans
@given(scrapes)
def test_a_remembered_plan_gives_what_a_fresh_one_gives(
    book: RuleBook, shapes: list[tuple[list[str], list[tuple[list[float], list[int] | None]]]]
) -> None:
    remembering = Harmonizer(book.packs, book.catalogue, 3)

    for _ in range(2):
        for texts, rounds in shapes:
            for numbers, times_ms in rounds:
                scrape = make_scrape(list(zip(texts, numbers, strict=True)), times_ms=times_ms or [])
                fresh = Harmonizer(book.packs, book.catalogue, 3)

                found = remembering.harmonize(scrape, partition=1, offset=2, at_ms=NOW_MS)

                assert found == fresh.harmonize(scrape, partition=1, offset=2, at_ms=NOW_MS)


def test_targets_with_the_same_series_do_not_mix(book: RuleBook) -> None:
    harmonizer = Harmonizer(book.packs, book.catalogue, 1)

    for target in ("one", "two"):
        scrape = make_scrape([('load{node="a"}', 1.0)], target=target)
        ((_, observation),) = harmonizer.harmonize(scrape, partition=0, offset=0, at_ms=1).observations
        assert observation["target"] == target


def _fill(harmonizer: Harmonizer, targets: Sequence[int], at_ms: int) -> None:
    for target in targets:
        scrape = make_scrape([('load{node="a"}', 1.0), ('load{node="b"}', 1.0)], target=str(target))
        assert len(values_of(harmonizer.harmonize(scrape, partition=0, offset=0, at_ms=at_ms))) == 4


def test_plans_that_are_no_longer_used_are_dropped(book: RuleBook) -> None:
    harmonizer = Harmonizer(book.packs, book.catalogue, 1)
    _fill(harmonizer, range(10), at_ms=0)
    assert harmonizer.plans == 10

    _fill(harmonizer, [3, 99], at_ms=harmonize.UNUSED_MAX_MS + 1)

    assert harmonizer.plans == 2


def test_the_least_used_plans_go_when_there_are_too_many_series(
    book: RuleBook, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(harmonize, "SERIES_MAX", 8)
    harmonizer = Harmonizer(book.packs, book.catalogue, 1)

    _fill(harmonizer, range(10), at_ms=0)

    assert harmonizer.plans == 4
