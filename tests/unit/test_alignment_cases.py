"""The rules of docs/alignment.md one by one, with values worked out by hand.

Each case is put to the twin and to the slow model, so that the model is right for reasons of its own too.
Times are in ms after a tick; the step is 5 s, so that with the interval of 5 s gap and hold are 15 s and a
tick is waited for at most 10 s.
"""

import json
import math
from collections.abc import Callable
from typing import Any

import pytest

from streams.domain.keys import split_key
from streams.records import Observation, State
from tests.reference.messages import (
    CEILINGS,
    Entity,
    Reading,
    clock,
    failure,
    read_changes,
    read_counts,
    read_rows,
    read_state,
    values,
)
from tests.reference.model import ReferencePartition
from tests.reference.runs import LEDGER_KEY, new_partition
from tests.reference.scenarios import REMOVE_AFTER_MS

START_MS = 1_700_000_000_000
NODE: Entity = ("node", "a")
OTHER: Entity = ("node", "b")
KEY = "live/node/a"
MEASURED, INTERPOLATED, HELD = 0, 1, 2


class Twin:
    """One partition of which the cases can ask; offsets and origins count up by themselves."""

    def __init__(self) -> None:
        self.offset = 0
        self.origin = 0
        self.partition = new_partition(5_000)
        self.records: dict[str, State] = {}
        self.model: ReferencePartition | None = None
        self.published: list[tuple[tuple[str, int], tuple[bool, dict[str, tuple[float, int]]]]] = []
        self.changed: list[tuple[str, int, str, str, str, bool]] = []

    def take(self, message: Observation) -> None:
        """Handles the next message of the log."""
        if self.model is not None:
            self.model.handle(self.offset, message)
        else:
            tick = self.partition.apply(self.offset, message, self.records).ticks.record("live", 1)
            self.published += read_rows(tick)
            self.changed += read_changes(tick)
        self.offset += 1

    def observe(
        self, at: int, *readings: Reading, source: str = "s", entity: Entity = NODE, **fields: Any
    ) -> None:
        """An observation at a time, with readings whose times are relative too."""
        self.origin += 1
        fields = {"interval_ms": 5_000, "target": f"{source}:1", "origin": (0, self.origin), **fields}
        if "scraped_at" in fields:
            fields["scraped_at_ms"] = START_MS + fields.pop("scraped_at")
        rows = [(metric, value, START_MS + time) for metric, value, time in readings]
        self.take(values(START_MS + at, source, readings={entity: rows}, **fields))

    def gauge(self, at: int, value: float, **fields: Any) -> None:
        """An observation of `load1` at the very time of the scrape."""
        self.observe(at, ("load1", value, at), **fields)

    def counter(self, at: int, value: float, metric: str = "rx", **fields: Any) -> None:
        """Likewise of a counter."""
        self.observe(at, (metric, value, at), **fields)

    def fail(self, at: int, source: str = "s", **fields: Any) -> None:
        """A failed scrape."""
        self.origin += 1
        fields = {"target": f"{source}:1", "origin": (0, self.origin), **fields}
        if "scraped_at" in fields:
            fields["scraped_at_ms"] = START_MS + fields.pop("scraped_at")
        self.take(failure(START_MS + at, source, **fields))

    def clock(self, *times: int) -> None:
        """Clock messages."""
        for at in times:
            self.take(clock(START_MS + at))

    def ticks(self, entity: Entity = NODE) -> dict[int, dict[str, tuple[float, int]]]:
        """Values of closed ticks, by relative time."""
        return {tick: row[1] for tick, row in self.rows(entity).items()}

    def tick(self, at: int, metric: str = "load1") -> tuple[float, int] | None:
        """Value and quality of one metric at a closed tick; None when the tick has none or is not closed."""
        return self.ticks().get(at, {}).get(metric)

    def complete(self) -> dict[int, bool]:
        """Whether each closed tick was complete."""
        return {tick: row[0] for tick, row in self.rows(NODE).items()}

    def rows(self, entity: Entity) -> dict[int, tuple[bool, dict[str, tuple[float, int]]]]:
        """Closed ticks by relative time."""
        found = self.published if self.model is None else list(self.model.ticks().items())
        return {
            tick_ms - START_MS: row for (key, tick_ms), row in found if split_key(key) == ("live", *entity)
        }

    def state(self, key: str = KEY) -> dict[str, Any]:
        """The record, times relative; empty when there is none."""
        if self.model is not None:
            return self.model.states().get(key, {})
        return read_state(self.records[key]) if key in self.records else {}

    def time(self, name: str) -> int:
        """A time of the record, relative."""
        return int(self.state()[name]) - START_MS

    def counts(self, source: str = "s") -> tuple[int, ...]:
        """Applied, duplicate, late, conflict, rejected."""
        counts: tuple[int, ...] = self.state()["counts"][source]
        return counts

    def status(self) -> tuple[str, str]:
        """Status and reason."""
        return self.state()["status"], self.state()["status_reason"]

    def changes(self) -> list[tuple[int, str, str, str, bool]]:
        """Changes of the node: time, status, reason, attributes, removed."""
        if self.model is None:
            rows = self.changed
        else:
            rows = [(*one[:4], json.dumps(one[4], sort_keys=True), one[5]) for one in self.model.changes()]
        return [(one[1] - START_MS, *one[2:]) for one in rows if one[0] == KEY]

    def ledger(self) -> dict[str, tuple[int, ...]]:
        """Counts of removed entities."""
        if self.model is not None:
            return {name: tuple(counts.values()) for name, counts in self.model.ledger.items()}
        return read_counts(self.records[LEDGER_KEY]) if LEDGER_KEY in self.records else {}


@pytest.fixture(params=["twin", "model"])
def twin(request: pytest.FixtureRequest) -> Twin:
    """The twin, and the model in its place."""
    made = Twin()
    if request.param == "model":
        made.model = ReferencePartition(5_000, REMOVE_AFTER_MS, CEILINGS)
    return made


# Value of a head at a tick


def test_gauge_with_a_sample_at_the_tick_is_measured(twin: Twin) -> None:
    twin.gauge(5_000, 1.5)

    assert twin.tick(5_000) == (1.5, MEASURED)


def test_state_with_a_sample_at_the_tick_is_measured(twin: Twin) -> None:
    twin.observe(5_000, ("phase", 3.0, 5_000))

    assert twin.tick(5_000, "phase") == (3.0, MEASURED)


def test_gauge_between_samples_is_interpolated(twin: Twin) -> None:
    twin.gauge(3_000, 1.0)
    twin.gauge(7_000, 5.0)

    assert twin.tick(5_000) == (3.0, INTERPOLATED)


def test_interpolated_gauge_is_limited_to_its_neighbours(twin: Twin) -> None:
    # The difference of the two is beyond what a double holds.
    twin.gauge(3_000, -1.5e308)
    twin.gauge(7_000, 1.5e308)

    assert twin.tick(5_000) == (1.5e308, INTERPOLATED)


def test_gauge_is_interpolated_over_exactly_the_gap(twin: Twin) -> None:
    twin.gauge(4_000, 10.0)
    twin.gauge(19_000, 25.0)

    assert twin.ticks() == {
        5_000: {"load1": (11.0, INTERPOLATED)},
        10_000: {"load1": (16.0, INTERPOLATED)},
        15_000: {"load1": (21.0, INTERPOLATED)},
    }


def test_gauge_over_more_than_the_gap_is_held_and_then_absent(twin: Twin) -> None:
    twin.gauge(5_000, 1.0)
    twin.gauge(30_000, 2.0)

    assert twin.ticks() == {
        5_000: {"load1": (1.0, MEASURED)},
        10_000: {"load1": (1.0, HELD)},
        15_000: {"load1": (1.0, HELD)},
        20_000: {"load1": (1.0, HELD)},
        30_000: {"load1": (2.0, MEASURED)},
    }


def test_state_between_samples_is_held_never_interpolated(twin: Twin) -> None:
    twin.observe(4_000, ("phase", 1.0, 4_000))
    twin.observe(6_000, ("phase", 3.0, 6_000))

    assert twin.tick(5_000, "phase") == (1.0, HELD)


def test_gauge_without_a_later_sample_is_held_up_to_hold(twin: Twin) -> None:
    twin.gauge(4_000, 1.0)
    for at in (15_000, 20_000, 25_000, 30_000, 60_000):
        twin.clock(at)

    assert twin.ticks() == {
        5_000: {"load1": (1.0, HELD)},
        10_000: {"load1": (1.0, HELD)},
        15_000: {"load1": (1.0, HELD)},
    }


def test_gauge_before_its_first_sample_is_absent(twin: Twin) -> None:
    twin.gauge(4_000, 1.0)
    twin.observe(12_000, ("load1", 1.0, 12_000), ("watts", 7.0, 12_000))

    assert twin.ticks()[5_000] == {"load1": (1.0, INTERPOLATED)}
    assert twin.ticks()[10_000] == {"load1": (1.0, INTERPOLATED)}


def test_counter_with_samples_at_the_ticks_is_measured(twin: Twin) -> None:
    twin.counter(0, 100.0)
    twin.counter(5_000, 110.0)
    twin.counter(10_000, 135.0)

    assert twin.tick(0, "rx") is None
    assert twin.tick(5_000, "rx") == (2.0, MEASURED)
    assert twin.tick(10_000, "rx") == (5.0, MEASURED)


def test_counter_between_samples_is_the_sum_of_its_parts(twin: Twin) -> None:
    twin.counter(2_000, 0.0)
    twin.counter(7_000, 50.0)
    twin.counter(12_000, 150.0)

    # Nothing is known of (0, 2]; of (5, 10] there is 50 · 2/5 and 100 · 3/5.
    assert twin.tick(5_000, "rx") is None
    assert twin.tick(10_000, "rx") == (16.0, INTERPOLATED)


def test_counter_counts_from_zero_after_a_reset(twin: Twin) -> None:
    twin.counter(0, 1_000.0)
    twin.counter(4_000, 1_040.0)
    twin.counter(6_000, 20.0)
    twin.counter(10_000, 60.0)

    # (0, 5]: 40 and 20 · 1/2; (5, 10]: 20 · 1/2 and 40.
    assert twin.tick(5_000, "rx") == (10.0, INTERPOLATED)
    assert twin.tick(10_000, "rx") == (10.0, MEASURED)
    assert twin.state()["heads"]["rx", "s"][2] == 10.0


def test_counter_at_a_sample_whose_window_is_not_known_is_held(twin: Twin) -> None:
    twin.counter(3_000, 0.0)
    twin.counter(5_000, 4.0)

    assert twin.tick(5_000, "rx") == (2.0, HELD)


def test_counter_without_a_later_sample_holds_its_newest_rate(twin: Twin) -> None:
    twin.counter(0, 0.0)
    twin.counter(5_000, 10.0)
    twin.counter(7_000, 30.0)
    twin.clock(20_000, 25_000, 30_000, 40_000)

    assert twin.ticks() == {
        5_000: {"rx": (2.0, MEASURED)},
        10_000: {"rx": (10.0, HELD)},
        15_000: {"rx": (10.0, HELD)},
        20_000: {"rx": (10.0, HELD)},
    }


def test_counter_has_no_rate_after_its_first_sample(twin: Twin) -> None:
    twin.counter(4_000, 10.0)
    twin.clock(15_000, 20_000)

    assert twin.ticks() == {}
    assert twin.state()["heads"]["rx", "s"] == (10.0, START_MS + 4_000, None)


def test_counter_has_no_rate_across_a_gap(twin: Twin) -> None:
    twin.counter(0, 0.0)
    twin.counter(5_000, 10.0)
    twin.counter(25_000, 100.0)

    assert twin.state()["heads"]["rx", "s"][2] is None
    assert twin.ticks() == {
        5_000: {"rx": (2.0, MEASURED)},
        10_000: {"rx": (2.0, HELD)},
        15_000: {"rx": (2.0, HELD)},
        20_000: {"rx": (2.0, HELD)},
    }

    twin.counter(30_000, 110.0)

    assert twin.tick(25_000, "rx") is None
    assert twin.tick(30_000, "rx") == (2.0, MEASURED)


def test_rates_are_limited_by_the_catalogue(twin: Twin) -> None:
    twin.counter(0, 0.0, metric="cpu")
    twin.counter(5_000, 5_000.0, metric="cpu")
    twin.clock(20_000)

    assert twin.tick(5_000, "cpu") == (100.0, MEASURED)
    assert twin.tick(10_000, "cpu") == (100.0, HELD)
    assert twin.state()["heads"]["cpu", "s"][2] == 100.0


def test_gap_is_that_of_the_moment_at_which_the_later_sample_came(twin: Twin) -> None:
    twin.gauge(5_000, 1.0)
    twin.gauge(25_000, 5.0, interval_ms=10_000)

    # 20 s are more than the gap of interval 5 s (15 s), and not more than that of 10 s (25 s).
    assert twin.tick(15_000) == (3.0, INTERPOLATED)


def test_value_that_was_certain_stays_when_the_interval_changes(twin: Twin) -> None:
    twin.gauge(5_000, 1.0, interval_ms=10_000)
    twin.observe(5_000, ("watts", 7.0, 5_000), source="t", interval_ms=20_000)
    twin.gauge(25_000, 5.0, interval_ms=10_000)
    assert twin.state()["open"][START_MS + 15_000, "load1", "s"] == (3.0, INTERPOLATED)

    twin.gauge(26_000, 5.0, interval_ms=5_000)
    twin.observe(26_000, ("watts", 7.0, 26_000), source="t", interval_ms=20_000)

    assert twin.tick(15_000) == (3.0, INTERPOLATED)


def test_hold_is_that_of_the_moment_at_which_the_tick_closes(twin: Twin) -> None:
    twin.gauge(5_000, 1.0, interval_ms=10_000)
    twin.observe(6_000, interval_ms=5_000)
    twin.clock(60_000)

    # 25 s would reach to 30 s, the 15 s of now reach to 20 s.
    assert max(twin.ticks()) == 20_000


def test_best_source_that_has_a_value_gives_it(twin: Twin) -> None:
    twin.gauge(5_000, 1.0, source="y", priority=10)
    twin.gauge(5_000, 2.0, source="x", priority=10)
    twin.gauge(5_000, 3.0, source="a", priority=20)
    assert twin.tick(5_000) is None or twin.tick(5_000) == (1.0, MEASURED)

    twin.gauge(10_000, 30.0, source="a", priority=20)
    twin.gauge(10_000, 20.0, source="x", priority=10)
    twin.gauge(10_000, 10.0, source="y", priority=10)

    # Equal priority: the name decides.
    assert twin.tick(10_000) == (20.0, MEASURED)


def test_next_source_gives_the_value_when_the_best_has_none(twin: Twin) -> None:
    for at in range(0, 35_000, 5_000):
        twin.gauge(at, 3.0, source="worst", priority=30)
        if at <= 10_000:
            twin.gauge(at, 2.0, source="middle", priority=20)
        if at <= 5_000:
            twin.gauge(at, 1.0, source="best", priority=10)
    twin.clock(40_000)

    assert [twin.tick(at) for at in (5_000, 20_000, 25_000, 30_000)] == [
        (1.0, MEASURED),
        (1.0, HELD),
        (2.0, HELD),
        (3.0, MEASURED),
    ]


# When a tick closes


@pytest.mark.parametrize(("sample", "first"), [(5_000, 5_000), (5_001, 10_000), (9_999, 10_000)])
def test_first_tick_is_the_one_at_or_after_the_earliest_sample(twin: Twin, sample: int, first: int) -> None:
    twin.observe(12_000, ("load1", 1.0, 11_000), ("watts", 1.0, sample))

    assert min([*twin.ticks(), twin.time("next_tick_ms")]) == first


def test_observation_without_applied_samples_begins_no_ticks(twin: Twin) -> None:
    twin.observe(1_000)
    twin.observe(2_000, ("load1", math.nan, 2_000))

    assert twin.state()["next_tick_ms"] == 0


def test_tick_closes_as_soon_as_all_heads_have_passed_it(twin: Twin) -> None:
    twin.observe(4_000, ("load1", 1.0, 4_000), ("watts", 1.0, 4_000))
    twin.observe(6_000, ("load1", 1.0, 6_000))
    assert twin.ticks() == {}

    twin.observe(6_500, ("watts", 1.0, 6_500))

    assert twin.complete() == {5_000: True}
    assert (twin.time("tick_ms"), twin.time("next_tick_ms")) == (5_000, 10_000)


def test_tick_closes_when_the_clock_has_passed_interval_and_step(twin: Twin) -> None:
    twin.gauge(4_000, 1.0, interval_ms=7_000)

    twin.clock(16_999)
    assert twin.ticks() == {}

    twin.clock(17_000)
    assert twin.complete() == {5_000: False}
    assert twin.state()["complete"] is False


def test_observation_closes_ticks_that_are_overdue_too(twin: Twin) -> None:
    twin.gauge(4_000, 1.0)
    twin.observe(4_000, ("watts", 1.0, 4_000), source="t")

    twin.gauge(15_000, 2.0)

    assert twin.complete() == {5_000: False}


def test_failure_closes_ticks_that_are_overdue_too(twin: Twin) -> None:
    twin.gauge(4_000, 1.0)

    twin.fail(15_000)

    assert twin.complete() == {5_000: False}


def test_one_observation_closes_several_ticks(twin: Twin) -> None:
    twin.gauge(4_000, 1.0)

    twin.gauge(16_000, 13.0)

    assert twin.complete() == {5_000: True, 10_000: True, 15_000: True}
    assert twin.state()["aligned"] == {"load1": (12.0, INTERPOLATED)}


def test_slow_source_delays_nothing(twin: Twin) -> None:
    twin.observe(4_000, ("watts", 7.0, 4_000), source="slow", interval_ms=55_001)
    twin.gauge(4_000, 1.0)

    twin.gauge(6_000, 1.0)

    assert twin.ticks() == {5_000: {"load1": (1.0, INTERPOLATED), "watts": (7.0, HELD)}}
    assert twin.complete() == {5_000: True}


def test_source_of_just_under_a_minute_is_waited_for(twin: Twin) -> None:
    twin.observe(4_000, ("watts", 7.0, 4_000), source="slow", interval_ms=55_000)
    twin.gauge(4_000, 1.0)
    for at in range(6_000, 64_000, 4_000):
        twin.gauge(at, 1.0)
        twin.clock(at + 1_000)
    assert twin.ticks() == {}

    twin.clock(65_000)

    assert twin.complete() == {5_000: False}


def test_slow_sources_alone_are_waited_for_one_minute(twin: Twin) -> None:
    twin.gauge(4_000, 1.0, interval_ms=120_000)

    twin.clock(64_999)
    assert twin.ticks() == {}

    twin.clock(65_000)
    assert twin.complete() == {5_000: False}


def test_source_without_a_head_is_not_waited_for(twin: Twin) -> None:
    twin.observe(3_000, source="bare", interval_ms=30_000)
    twin.gauge(4_000, 1.0)

    twin.gauge(6_000, 1.0)

    assert twin.complete() == {5_000: True}


def test_silent_source_is_not_waited_for(twin: Twin) -> None:
    twin.observe(0, ("watts", 1.0, 0), source="gone")
    for at in range(0, 15_000, 5_000):
        twin.gauge(at, 1.0)
    assert twin.complete() == {0: True}

    twin.gauge(15_001, 1.0)

    assert twin.complete() == {0: True, 5_000: True, 10_000: True, 15_000: True}


def test_source_on_cue_counts_as_one_with_the_interval_of_a_step(twin: Twin) -> None:
    twin.gauge(4_000, 1.0, interval_ms=0)

    twin.clock(14_999)
    assert twin.ticks() == {}

    twin.clock(15_000, 19_000)
    assert twin.ticks() == {5_000: {"load1": (1.0, HELD)}}
    assert twin.status() == ("up", "")

    twin.clock(19_001)
    assert twin.status() == ("down", "s: silent")


def test_tick_without_values_is_passed_over(twin: Twin) -> None:
    twin.gauge(5_000, 1.0)
    twin.gauge(26_000, 2.0)

    assert 25_000 not in twin.ticks()
    assert (twin.time("tick_ms"), twin.time("next_tick_ms")) == (20_000, 30_000)
    assert twin.state()["aligned"] == {"load1": (1.0, HELD)}


def test_silent_entity_is_left_alone_beyond_the_horizon(twin: Twin) -> None:
    twin.gauge(4_000, 1.0)
    twin.clock(25_000)
    before = twin.state()

    twin.clock(26_000, 60_000, 120_000)

    # 4 s and the hold of 15 s: the tick of 15 s is the last one that can have a value.
    assert twin.time("next_tick_ms") == 20_000
    assert twin.state() == before


def test_other_entities_decide_nothing(twin: Twin) -> None:
    twin.gauge(4_000, 1.0)
    twin.gauge(4_000, 1.0, entity=OTHER)

    twin.gauge(6_000, 1.0, entity=OTHER)

    assert twin.ticks(OTHER) == {5_000: {"load1": (1.0, INTERPOLATED)}}
    assert twin.ticks(NODE) == {}


def test_closed_tick_is_never_changed(twin: Twin) -> None:
    twin.gauge(4_000, 1.0)
    twin.clock(15_000)

    twin.gauge(15_500, 9.0)

    assert twin.ticks()[5_000] == {"load1": (1.0, HELD)}
    assert twin.tick(10_000) == (1.0 + 8.0 * (6_000 / 11_500), INTERPOLATED)


# What is taken


@pytest.mark.parametrize(
    ("reading", "place"),
    [
        (("load1", 2.0, 10_001), 0),
        (("load1", -2.0, 70_000), 0),
        (("rx", 0.0, 10_001), 0),
        (("load1", 1.0, 4_000), 1),
        (("load1", 1.0, 3_999), 2),
        (("load1", 2.0, 3_999), 2),
        (("load1", 2.0, 4_000), 3),
        (("load1", math.nan, 5_000), 4),
        (("load1", math.inf, 5_000), 4),
        (("load1", -math.inf, 4_000), 4),
        (("load1", 2.0, 70_001), 4),
        (("rx", -0.5, 5_000), 4),
    ],
)
def test_each_sample_is_counted_in_one_place(twin: Twin, reading: Reading, place: int) -> None:
    twin.observe(4_000, ("load1", 1.0, 4_000))

    twin.observe(10_000, reading)

    expected = [1, 0, 0, 0, 0]
    expected[place] += 1
    assert twin.counts() == tuple(expected)


def test_samples_of_one_observation_are_taken_one_after_the_other(twin: Twin) -> None:
    twin.observe(9_000, ("load1", 1.0, 8_000), ("load1", 2.0, 9_000), ("load1", 3.0, 8_500))

    assert twin.counts() == (2, 0, 1, 0, 0)
    assert twin.state()["heads"]["load1", "s"][:2] == (2.0, START_MS + 9_000)


def test_sources_have_heads_of_their_own(twin: Twin) -> None:
    twin.gauge(4_000, 1.0)
    twin.gauge(3_000, 2.0, source="t")

    assert twin.counts() == (1, 0, 0, 0, 0)
    assert twin.counts("t") == (1, 0, 0, 0, 0)


def test_sample_of_another_form_begins_anew(twin: Twin) -> None:
    twin.observe(4_000, ("watts", 1.0, 4_000))

    twin.observe(6_000, ("watts", 3.0, 6_000), forms={"watts": 1})

    # Nothing is interpolated from the gauge to the state, and the gauge is not held either.
    assert twin.ticks() == {}
    assert twin.counts() == (2, 0, 0, 0, 0)


def test_what_the_former_form_made_certain_stays(twin: Twin) -> None:
    twin.observe(4_000, ("watts", 1.0, 4_000), ("load1", 1.0, 4_000))
    twin.observe(6_000, ("watts", 3.0, 6_000))
    twin.observe(7_000, ("watts", 8.0, 7_000), forms={"watts": 1})

    twin.observe(8_000, ("load1", 1.0, 8_000))

    assert twin.tick(5_000, "watts") == (2.0, INTERPOLATED)


def test_message_below_the_version_was_applied_before(twin: Twin) -> None:
    twin.gauge(4_000, 1.0)
    twin.gauge(6_000, 1.0)
    before = twin.state()

    twin.offset = 0
    twin.gauge(8_000, 5.0)
    twin.fail(9_000)

    assert twin.state() == before


def test_message_that_was_sent_twice_changes_nothing(twin: Twin) -> None:
    twin.gauge(4_000, 1.0, origin=(3, 8))
    before = twin.state()

    twin.gauge(6_000, 2.0, origin=(3, 8))
    twin.gauge(7_000, 2.0, origin=(3, 7))
    twin.fail(8_000, origin=(3, 8))
    assert twin.state() == before

    twin.gauge(9_000, 2.0, origin=(4, 7))
    assert twin.counts() == (2, 0, 0, 0, 0)
    assert twin.state()["origins"] == {"scrape/3": 8, "scrape/4": 7}


def test_interval_priority_and_target_are_taken_over(twin: Twin) -> None:
    twin.gauge(4_000, 1.0, priority=10)
    twin.fail(5_000)

    twin.gauge(3_000, 1.0, priority=20, interval_ms=9_000, target="other")

    assert twin.state()["sources"]["s"] == (20, 9_000, "other", START_MS + 4_000, 0)


def test_attributes_are_merged_and_an_empty_value_removes_one(twin: Twin) -> None:
    twin.observe(1_000, attributes={NODE: {"arch": "arm", "zone": "x"}})

    twin.observe(2_000, attributes={NODE: {"zone": "", "pool": "1", "none": ""}})
    twin.observe(3_000, attributes={NODE: {"pool": "1"}})

    assert twin.state()["attributes"] == {"arch": "arm", "pool": "1"}
    assert [(change[0], json.loads(change[3])) for change in twin.changes()] == [
        (1_000, {"arch": "arm", "zone": "x"}),
        (2_000, {"arch": "arm", "pool": "1"}),
    ]


def test_attributes_of_an_old_snapshot_are_not_taken(twin: Twin) -> None:
    twin.gauge(10_000, 1.0)

    twin.observe(12_000, attributes={NODE: {"zone": "x"}}, scraped_at=9_999)
    assert twin.state()["attributes"] == {}

    twin.observe(13_000, attributes={NODE: {"zone": "y"}}, scraped_at=10_000)
    assert twin.state()["attributes"] == {"zone": "y"}


def test_attributes_come_with_a_sample_that_is_applied_however_old_the_scrape(twin: Twin) -> None:
    twin.gauge(10_000, 1.0)

    twin.observe(12_000, ("load1", 1.0, 10_000), attributes={NODE: {"zone": "x"}}, scraped_at=9_999)
    assert twin.state()["attributes"] == {}

    twin.observe(13_000, ("load1", 2.0, 10_001), attributes={NODE: {"zone": "y"}}, scraped_at=9_999)
    assert twin.state()["attributes"] == {"zone": "y"}


def test_old_snapshot_of_another_source_gives_its_attributes(twin: Twin) -> None:
    twin.gauge(10_000, 1.0)

    twin.observe(12_000, source="t", attributes={NODE: {"zone": "x"}}, scraped_at=2_000)

    assert twin.state()["attributes"] == {"zone": "x"}


def test_failure_counts_for_the_entities_that_the_target_feeds(twin: Twin) -> None:
    twin.gauge(4_000, 1.0, target="t1")
    twin.gauge(4_000, 1.0, target="t2", entity=OTHER)
    twin.gauge(4_000, 1.0, source="t", target="t1", entity=OTHER)

    twin.fail(5_000, target="t1")

    assert twin.state()["sources"]["s"][4] == 1
    assert [source[4] for source in twin.state("live/node/b")["sources"].values()] == [0, 0]


def test_failure_that_is_not_newer_than_the_good_time_is_not_counted(twin: Twin) -> None:
    twin.gauge(4_000, 1.0)

    twin.fail(9_000, scraped_at=4_000)
    assert twin.state()["sources"]["s"][4] == 0

    twin.fail(9_500, scraped_at=4_001)
    assert twin.state()["sources"]["s"][4] == 1


def test_heads_older_than_remove_after_are_dropped(twin: Twin) -> None:
    twin.observe(0, ("load1", 1.0, 0), ("watts", 1.0, 0))
    for at in range(5_000, REMOVE_AFTER_MS + 5_000, 5_000):
        twin.gauge(at, 1.0)
    assert ("watts", "s") in twin.state()["heads"]

    twin.clock(REMOVE_AFTER_MS + 1)

    assert list(twin.state()["heads"]) == [("load1", "s")]
    assert twin.status() == ("up", "")


# Times


def test_seen_is_the_earlier_of_scrape_and_worker(twin: Twin) -> None:
    twin.gauge(4_000, 1.0, scraped_at=3_000)
    assert twin.time("seen_ms") == 3_000

    twin.gauge(5_000, 1.0, scraped_at=9_000)
    assert twin.time("seen_ms") == 5_000

    twin.gauge(6_000, 1.0, scraped_at=4_000)
    assert twin.time("seen_ms") == 5_000


def test_good_time_moves_with_applied_samples_only(twin: Twin) -> None:
    twin.gauge(4_000, 1.0)
    twin.observe(9_000, ("load1", 1.0, 4_000))

    assert twin.state()["sources"]["s"][3] == START_MS + 4_000


def test_good_time_of_an_observation_without_samples_is_its_own(twin: Twin) -> None:
    twin.observe(9_000, scraped_at=8_000)

    assert twin.state()["sources"]["s"][3] == START_MS + 8_000
    assert twin.status() == ("unknown", "no measurement")


def test_clock_that_changes_the_record_is_seen(twin: Twin) -> None:
    twin.gauge(4_000, 1.0)

    twin.clock(14_999)
    assert twin.time("seen_ms") == 4_000

    twin.clock(15_000)
    assert twin.time("seen_ms") == 15_000


def test_late_news_of_one_source_do_not_take_back_the_silence_of_another(twin: Twin) -> None:
    twin.gauge(1_000, 1.0)
    for at in (4_000, 8_000, 12_000, 16_000):
        twin.observe(at, ("watts", 1.0, at), source="t")
    twin.clock(16_100)
    assert twin.status() == ("degraded", "s: silent")

    twin.observe(16_200, ("watts", 1.0, 15_900), source="t", scraped_at=15_950)

    assert twin.status() == ("degraded", "s: silent")
    assert twin.time("status_since_ms") == 16_100


# Status


def test_entity_with_fresh_values_is_up(twin: Twin) -> None:
    twin.gauge(4_000, 1.0)

    assert twin.status() == ("up", "")
    assert twin.changes() == [(4_000, "up", "", "{}", False)]


def test_best_source_reports_down(twin: Twin) -> None:
    twin.observe(4_000, ("up", 1.0, 4_000), source="b", priority=20)
    twin.observe(4_000, ("up", 0.0, 4_000), source="a", priority=30)
    assert twin.status() == ("up", "")

    twin.observe(5_000, ("up", 0.0, 5_000), source="b", priority=20)
    assert twin.status() == ("down", "b reports down")

    twin.observe(6_000, ("up", 0.0, 6_000), source="c", priority=10)
    assert twin.status() == ("down", "c reports down")


def test_silent_source_cannot_report_down(twin: Twin) -> None:
    twin.observe(4_000, ("up", 0.0, 4_000), source="a", priority=10)
    twin.observe(15_000, ("up", 1.0, 15_000), source="b", priority=20)
    assert twin.status() == ("down", "a reports down")

    twin.clock(19_001)

    assert twin.status() == ("degraded", "a: silent")


@pytest.mark.parametrize(("at", "status"), [(19_000, "up"), (19_001, "down")])
def test_source_is_silent_beyond_hold(twin: Twin, at: int, status: str) -> None:
    twin.gauge(4_000, 1.0)

    twin.clock(at)

    assert twin.state()["status"] == status


def test_two_failures_make_a_source_bad(twin: Twin) -> None:
    twin.gauge(4_000, 1.0)

    twin.fail(9_000)
    assert twin.status() == ("up", "")

    twin.fail(14_000)
    assert twin.status() == ("down", "s: failed scrapes")

    twin.gauge(15_000, 1.0)
    assert twin.status() == ("up", "")


def test_all_sources_bad_are_named_in_order(twin: Twin) -> None:
    twin.gauge(4_000, 1.0, source="z")
    twin.gauge(10_000, 1.0, source="b")
    twin.fail(15_000, source="b")
    twin.fail(20_000, source="b")

    assert twin.status() == ("down", "b: failed scrapes; z: silent")


def test_silence_of_pushed_sources_says_nothing(twin: Twin) -> None:
    twin.gauge(4_000, 1.0, target="")
    twin.gauge(4_000, 1.0, source="t", target="")

    twin.clock(19_001)

    assert twin.status() == ("unknown", "s: silent; t: silent")


def test_one_source_that_is_scraped_makes_silence_mean_down(twin: Twin) -> None:
    twin.gauge(4_000, 1.0, target="")
    twin.gauge(4_000, 1.0, source="t")

    twin.clock(19_001)

    assert twin.status() == ("down", "s: silent; t: silent")


def test_newest_observation_says_whether_a_source_is_pushed(twin: Twin) -> None:
    twin.gauge(4_000, 1.0, target="")
    twin.gauge(5_000, 1.0, target="t1")

    twin.clock(20_001)

    assert twin.status() == ("down", "s: silent")


def test_failed_scrapes_without_a_target_are_down(twin: Twin) -> None:
    twin.gauge(4_000, 1.0, target="")
    twin.fail(5_000, target="")
    twin.fail(6_000, target="")
    assert twin.status() == ("down", "s: failed scrapes")

    twin.clock(19_001)

    assert twin.status() == ("down", "s: silent")


def test_silence_is_said_rather_than_failures(twin: Twin) -> None:
    twin.gauge(4_000, 1.0)
    twin.fail(9_000)
    twin.fail(14_000)

    twin.clock(19_001)

    assert twin.status() == ("down", "s: silent")
    assert twin.time("status_since_ms") == 14_000
    assert twin.changes()[-2:] == [
        (14_000, "down", "s: failed scrapes", "{}", False),
        (19_001, "down", "s: silent", "{}", False),
    ]


def test_some_source_bad_is_degraded(twin: Twin) -> None:
    twin.gauge(4_000, 1.0, source="z")
    twin.gauge(4_000, 1.0, source="b")
    twin.gauge(19_001, 1.0, source="z")

    assert twin.status() == ("degraded", "b: silent")


def test_stale_metrics_are_named_in_order_and_once(twin: Twin) -> None:
    twin.observe(4_000, ("watts", 1.0, 4_000), ("load1", 1.0, 4_000), ("rx", 1.0, 4_000))
    twin.observe(4_000, ("watts", 1.0, 4_000), ("cpu", 1.0, 4_000), source="t")
    twin.observe(19_000, ("rx", 1.0, 19_000))
    twin.observe(19_000, ("cpu", 1.0, 19_000), source="t")
    assert twin.status() == ("up", "")

    twin.clock(19_001)

    assert twin.status() == ("degraded", "stale: load1, watts")


def test_metrics_become_stale_one_by_one(twin: Twin) -> None:
    twin.observe(1_000, ("load1", 1.0, -1_000), ("watts", 1.0, -3_000), ("phase", 1.0, 1_000))

    twin.clock(12_001)
    assert twin.status() == ("degraded", "stale: watts")

    twin.clock(14_000)
    assert twin.status() == ("degraded", "stale: watts")

    twin.clock(14_001)
    assert twin.status() == ("degraded", "stale: load1, watts")


def test_stale_head_of_a_bad_source_is_not_named(twin: Twin) -> None:
    twin.gauge(4_000, 1.0, source="a")
    twin.observe(15_000, ("watts", 1.0, 15_000), source="b")

    twin.clock(19_001)

    assert twin.status() == ("degraded", "a: silent")


def test_entity_without_heads_is_unknown(twin: Twin) -> None:
    twin.observe(4_000)

    assert twin.status() == ("unknown", "no measurement")


# Removal


def test_entity_is_removed_when_no_source_was_good_for_remove_after(twin: Twin) -> None:
    twin.gauge(4_000, 1.0, attributes={NODE: {"pool": "1"}})
    twin.observe(4_000, ("load1", 1.0, 4_000), ("watts", math.nan, 4_000), source="t")
    twin.clock(4_000 + REMOVE_AFTER_MS)
    assert twin.state() != {}

    twin.clock(4_001 + REMOVE_AFTER_MS)

    assert twin.state() == {}
    assert twin.ledger() == {"s": (1, 0, 0, 0, 0), "t": (1, 0, 0, 0, 1)}
    assert twin.changes()[-1] == (4_001 + REMOVE_AFTER_MS, "", "", '{"pool": "1"}', True)


def test_entity_that_failures_go_on_telling_of_is_removed_too(twin: Twin) -> None:
    twin.gauge(4_000, 1.0)
    for at in range(9_000, REMOVE_AFTER_MS + 10_000, 5_000):
        twin.fail(at)
    assert twin.state() != {}

    twin.clock(REMOVE_AFTER_MS + 10_000)

    assert twin.state() == {}


def test_entity_that_comes_back_begins_anew_but_its_version_goes_on(twin: Twin) -> None:
    twin.gauge(4_000, 1.0)
    twin.clock(400_000)
    removed_at = twin.offset

    twin.gauge(401_000, 2.0)

    assert twin.state()["version"] == removed_at + 1
    assert twin.counts() == (1, 0, 0, 0, 0)
    assert twin.time("status_since_ms") == 401_000
    assert twin.time("next_tick_ms") == 405_000


def test_ledger_remembers_a_removal_for_ten_minutes(twin: Twin) -> None:
    twin.gauge(4_000, 1.0)
    twin.clock(400_000, 1_000_000)

    twin.offset = 0
    twin.gauge(4_000, 1.0)

    assert twin.state() == {}


def test_ledger_forgets_a_removal_when_it_writes_another_later(twin: Twin) -> None:
    twin.gauge(4_000, 1.0)
    twin.clock(400_000)
    twin.gauge(1_000_000, 1.0, entity=OTHER)
    twin.clock(1_400_000)

    twin.offset = 0
    twin.gauge(4_000, 1.0)

    assert twin.state() != {}


def test_counts_of_several_removals_add_up(twin: Twin) -> None:
    twin.gauge(4_000, 1.0)
    twin.gauge(4_000, 1.0, entity=OTHER)
    twin.clock(400_000)
    twin.gauge(401_000, 2.0)
    twin.clock(800_000)

    assert twin.ledger() == {"s": (3, 0, 0, 0, 0)}


# Clock


def test_clock_that_changes_nothing_leaves_the_record_as_it_is(twin: Twin) -> None:
    twin.gauge(4_000, 1.0)
    before = twin.state()

    twin.clock(5_000, 14_999)

    assert twin.state() == before


def test_clock_that_lags_changes_nothing(twin: Twin) -> None:
    twin.gauge(4_000, 1.0)
    twin.clock(20_000)
    before = twin.state()

    twin.clock(3_000, -60_000)

    assert twin.state() == before


@pytest.mark.parametrize(
    "cause",
    [
        lambda twin: twin.clock(15_000),
        lambda twin: twin.clock(19_001),
        lambda twin: twin.clock(REMOVE_AFTER_MS),
    ],
)
def test_clock_that_changes_the_record_moves_its_version(twin: Twin, cause: Callable[[Twin], None]) -> None:
    twin.gauge(4_000, 1.0)

    cause(twin)

    assert twin.state()["version"] == 2
