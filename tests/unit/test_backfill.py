"""A past is taken through the rules and the alignment: what is given out, and what is counted."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.domain.backfill import CLOCK_MS, Backfill
from streams.domain.changes import Changes
from streams.domain.harmonize import Harmonizer
from streams.domain.observation import new_observation
from streams.domain.twin import Partition
from streams.records import Scrape, Tick
from streams.rulebook import RuleBook
from tests.rulepacks import LAB_RULES, make_book, make_scrape

T = 1_751_552_580_000
STEP = 5_000


@pytest.fixture(scope="module")
def book(tmp_path_factory: pytest.TempPathFactory) -> RuleBook:
    return make_book(tmp_path_factory.mktemp("rules"), LAB_RULES)


def make(book: RuleBook, from_ms: int = T, to_ms: int = T + 60_000) -> Backfill:
    partition = Partition(0, STEP, 3_600_000, book.catalogue.ceilings())
    return Backfill(Harmonizer(book.packs, book.catalogue, 1), partition, from_ms, to_ms)


def load(value: float, at_ms: int, node: str = "a") -> Scrape:
    return make_scrape([(f'load{{node="{node}"}}', value)], scraped_at_ms=at_ms)


def rows(ticks: list[Tick]) -> list[tuple[str, int, dict[str, float], list[int]]]:
    found = []
    for tick in ticks:
        end = 0
        for id, tick_ms, size in zip(tick["ids"], tick["ticks_ms"], tick["sizes"], strict=True):
            start, end = end, end + size
            names = [tick["names"][place] for place in tick["metrics"][start:end]]
            values = dict(zip(names, tick["values"][start:end], strict=True))
            found.append((id, tick_ms, values, tick["qualities"][start:end]))
    return found


def changes(ticks: list[Tick]) -> list[tuple[str, int, str, bool]]:
    columns = ("change_ids", "change_at_ms", "change_statuses", "change_removed")
    return [row for tick in ticks for row in zip(*(tick[name] for name in columns), strict=True)]  # type: ignore[literal-required]


def test_only_ticks_of_the_range_are_given_out(book: RuleBook) -> None:
    past = make(book, T, T + 10_000)
    for number in range(-4, 8):
        past.take([load(float(number + 4), T + number * STEP)], T + number * STEP)

    found = rows(past.closed())

    assert found == [("a", T + n * STEP, {"load1": float(n + 4)}, [0]) for n in range(3)]
    assert (past.tally.ticks, past.tally.values) == (3, 3)
    assert past.tally.mapped == 12


def test_a_counter_has_its_rate_at_the_first_tick_of_the_range(book: RuleBook) -> None:
    past = make(book, T, T)
    for number in range(-2, 3):
        at_ms = T + number * STEP + 1_234
        scrape = make_scrape([('received{node="a"}', 1_000.0 * number + 50_000)], scraped_at_ms=at_ms)
        past.take([scrape], at_ms)

    ((_, tick_ms, values, qualities),) = rows(past.closed())

    assert (tick_ms, qualities) == (T, [1])
    assert list(values.values()) == [pytest.approx(200.0)]


def test_what_an_entity_was_before_the_range_is_told_at_its_first_moment(book: RuleBook) -> None:
    past = make(book, T + 1, T + 60_000)
    for number in range(-4, 0):
        past.take([load(1.0, T + number * STEP)], T + number * STEP)
    assert past.closed() == []

    past.take([load(1.0, T)], T)
    assert past.closed() == []
    past.take([load(1.0, T + STEP)], T + STEP)

    assert changes(past.closed()) == [("a", T + 1, "up", False)]
    assert past.tally.changes == 1


def test_an_entity_that_changed_at_the_first_moment_is_told_once(book: RuleBook) -> None:
    past = make(book, T, T + 60_000)
    past.take([load(1.0, T - 30_000)], T - 30_000)
    past.take([load(1.0, T)], T)

    told = changes(past.closed())

    assert [change for change in told if change[1] == T] == [("a", T, "up", False)]


def test_an_entity_that_was_gone_before_the_range_is_not_told_of(book: RuleBook) -> None:
    partition = Partition(0, STEP, 20_000, book.catalogue.ceilings())
    past = Backfill(Harmonizer(book.packs, book.catalogue, 1), partition, T, T + 60_000)
    past.take([load(1.0, T - 60_000)], T - 60_000)
    past.take([], T + STEP)

    assert changes(past.closed()) == []


def test_a_silent_entity_goes_down_when_the_clock_says_so(book: RuleBook) -> None:
    past = make(book)
    past.take([load(1.0, T)], T)
    past.take([], T + 60_000)

    assert changes(past.closed()) == [("a", T, "up", False), ("a", T + 16_000, "down", False)]


def test_what_gives_nothing_is_counted_by_its_reason(book: RuleBook) -> None:
    past = make(book)
    past.take([load(1.0, T)], T)
    past.take([load(2.0, T)], T + STEP)
    past.take(
        [make_scrape([("strange", 1.0), ('load{node="b"}', float("inf"))], scraped_at_ms=T)], T + 10_000
    )

    past.closed()

    assert past.tally.skipped == {"conflict": 1, "no rule": 1, "nan": 1}


@given(
    cuts=st.sets(st.integers(0, 30)),
    samples=st.lists(
        st.tuples(st.integers(0, 2), st.floats(0, 100), st.integers(0, 4_999)), min_size=1, max_size=30
    ),
)
def test_ticks_are_those_of_the_log_wherever_the_ranges_are_cut(
    cuts: set[int], samples: list[tuple[int, float, int]], book: RuleBook
) -> None:
    past, found = make(book, 0, T * 2), list[Any]()
    for number, (node, value, lag_ms) in enumerate(samples):
        at_ms = T + number * STEP
        past.take([load(value, at_ms - lag_ms, f"n{node}")], at_ms)
        if number in cuts:
            found += rows(past.closed())

    assert sorted(found + rows(past.closed()), key=json.dumps) == _by_the_log(book, samples)


def _by_the_log(book: RuleBook, samples: list[tuple[int, float, int]]) -> list[Any]:
    """The same as one log of observations and clock messages, in the plain way."""
    harmonizer, partition = (
        Harmonizer(book.packs, book.catalogue, 1),
        Partition(0, STEP, 3_600_000, book.catalogue.ceilings()),
    )
    log = []
    for number, (node, value, lag_ms) in enumerate(samples):
        at_ms = T + number * STEP
        log += [
            new_observation("clock", clock_ms)
            for clock_ms in range(at_ms - STEP + CLOCK_MS, at_ms, CLOCK_MS)
            if clock_ms >= T - CLOCK_MS
        ]
        scrape = load(value, at_ms - lag_ms, f"n{node}")
        result = harmonizer.harmonize(scrape, partition=0, offset=len(log), at_ms=at_ms)
        log += [message for _, message in result.observations] + [new_observation("clock", at_ms)]
    changes, states = Changes(), dict[str, Any]()
    for offset, message in enumerate(log):
        for _ in partition.steps(offset, message, states, changes):
            pass
    return sorted(rows(changes.ticks.records("live", 0)), key=json.dumps)
