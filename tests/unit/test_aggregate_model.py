"""Partials in the fast twin beside the slow model, on generated logs."""

from collections import Counter
from typing import Any

import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from streams.domain.aggregate import COLUMNS
from streams.domain.keys import split_key
from streams.domain.observation import check_observation, new_observation
from streams.records import Observation
from tests.reference.aggregated import AggregatedPartition
from tests.reference.messages import CEILINGS, read_state, values
from tests.reference.runs import LEDGER_KEY, run, run_with_crashes
from tests.reference.scenarios import EPOCH_MS, REMOVE_AFTER_MS, Crash, Scenario, crashes, log_of, scenarios

POOLS = (("nodepool", "1"), ("nodepool", "a b"), ("cluster", "cluster"))

Said = tuple[int, int, int, int, list[tuple[int, int, tuple[float, ...]]]]
"""Place in the log, sender, offset, lag of its clock [ms]; of each pool its place, lag of its tick, sums."""


@st.composite
def sums(draw: st.DrawFn) -> tuple[float, ...]:
    """Numbers of a partial: none, or a few, of which those with a count of 0 are 0."""
    if draw(st.integers(0, 3)) == 0:
        return (0.0,) * len(COLUMNS)
    given = dict.fromkeys(COLUMNS, 0.0)
    given["nodes"] = 2.0
    given[draw(st.sampled_from(("nodes_up", "nodes_degraded", "nodes_down", "nodes_unknown")))] = 2.0
    for column in draw(st.sets(st.sampled_from(COLUMNS[6:]), max_size=12)):
        given[column] = draw(st.sampled_from((1.0, 2.0, 0.1, 0.3, 250.5)))
    return tuple(given.values())


said = st.tuples(
    st.integers(0, 260),
    st.integers(0, 2),
    st.integers(0, 40),
    st.sampled_from((0, 250, 1_000, 7_000)),
    st.lists(
        st.tuples(st.integers(0, 2), st.sampled_from((0, 0, 5_000, 10_000, 60_000, -10_000)), sums()),
        max_size=3,
        unique_by=lambda one: one[0],
    ),
)


def with_partials(log: list[Observation], step_ms: int, partials: list[Said]) -> list[Observation]:
    """A log with partials, and values of a pool from elsewhere; one without pools is the end of them."""
    found = list(log)
    for place, sender, offset, lag_ms, pools in sorted(partials, reverse=True, key=lambda one: one[0]):
        place = min(place, len(found))
        at_ms = (found[place - 1]["at_ms"] if place else EPOCH_MS) - lag_ms
        message = new_observation("partial" if pools else "partial_end", at_ms)
        message["source"], message["priority"], message["interval_ms"] = (
            "twin",
            1_000,
            max(20_000, 4 * step_ms),
        )
        message["scraped_at_ms"], message["origin_topic"] = at_ms, "observation"
        message["origin_partition"], message["origin_offset"] = sender, offset
        message["kinds"], message["ids"] = ([POOLS[pool][part] for pool, _, _ in pools] for part in (0, 1))
        message["sizes"], message["attributes"] = [len(COLUMNS)] * len(pools), [{} for _ in pools]
        message["names"], message["forms"] = list(COLUMNS), [0] * len(COLUMNS)
        message["metrics"] = list(range(len(COLUMNS))) * len(pools)
        message["values"] = [number for _, _, numbers in pools for number in numbers]
        message["times_ms"] = [
            (at_ms - lag) // step_ms * step_ms if any(numbers) and lag < 60_000 else 0
            for _, lag, numbers in pools
        ]
        check_observation(message)
        found.insert(place, message)
        if offset % 4 == 0:
            readings = {POOLS[0]: [("load1", 1.0 + offset, at_ms - 250)]}
            again = values(at_ms, "slurm", (9, place + 1_000 * (300 - place)), readings, interval_ms=15_000)
            found.insert(place, again)
    return found


def modelled(log: list[Observation], step_ms: int) -> AggregatedPartition:
    """The model after a log."""
    model = AggregatedPartition(step_ms, REMOVE_AFTER_MS, CEILINGS)
    for offset, message in enumerate(log):
        model.handle(offset, message)
    return model


@pytest.mark.timeout(3600)
@given(scenarios(), st.lists(said, min_size=1, max_size=15))
def test_twin_does_with_partials_what_the_model_does(scenario: Scenario, partials: list[Said]) -> None:
    log = with_partials(log_of(scenario), scenario.step_ms, partials)

    fast = run(log, scenario.step_ms)
    model = modelled(log, scenario.step_ms)

    states = {key: read_state(state) for key, state in fast.states().items() if key != LEDGER_KEY}
    expected: dict[tuple[Any, ...], Any] = {
        (*split_key(key)[1:], tick_ms): row for (key, tick_ms), row in model.ticks().items()
    }
    assert states == model.states()
    # A pool that is gone and comes back within a step closes a tick once more, under a higher version.
    twice = set(fast.published_twice)
    assert fast.rows.keys() == expected.keys()
    assert {place: row[:2] for place, row in fast.rows.items() if place not in twice} == {
        place: row for place, row in expected.items() if place not in twice
    }


@pytest.mark.timeout(3600)
@given(scenarios(), st.lists(said, min_size=1, max_size=15), crashes)
def test_crashes_change_no_byte_of_a_pool(
    scenario: Scenario, partials: list[Said], accidents: list[Crash]
) -> None:
    log = with_partials(log_of(scenario), scenario.step_ms, partials)

    quiet = run(log, scenario.step_ms)
    troubled = run_with_crashes(log, scenario.step_ms, accidents)

    assert set(troubled.contradictions) == set(quiet.contradictions)
    assert troubled.written == quiet.written


def test_logs_reach_what_partials_can_do() -> None:
    met: Counter[str] = Counter()

    @settings(max_examples=100, derandomize=True, database=None, phases=[Phase.generate])
    @given(scenarios(), st.lists(said, min_size=1, max_size=15))
    def count(scenario: Scenario, partials: list[Said]) -> None:
        met.update(
            modelled(with_partials(log_of(scenario), scenario.step_ms, partials), scenario.step_ms).met
        )

    count()

    assert min(met[name] for name in ("older partial", "emptied pool", "total gone", "stated again")) > 3
