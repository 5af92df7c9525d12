"""The fast twin beside the slow model, on generated logs."""

import json
import math
from collections import Counter
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import Phase, event, given, note, settings

from streams.domain.keys import split_key
from streams.records import Observation, State
from tests.reference.messages import (
    CEILINGS,
    COUNTER,
    FORMS,
    Entity,
    clock,
    read_counts,
    read_rows,
    read_state,
    values,
)
from tests.reference.model import VERDICTS, ReferencePartition, parts_of
from tests.reference.runs import LEDGER_KEY, Outcome, Worker, run, run_with_crashes
from tests.reference.runs import new_partition as new_fast_partition
from tests.reference.scenarios import EPOCH_MS, REMOVE_AFTER_MS, Crash, Scenario, crashes, log_of, scenarios

FORM_NAMES = ("gauge", "state", "counter")
QUALITY_NAMES = ("measured", "interpolated", "held")


def modelled(log: list[Observation], step_ms: int) -> ReferencePartition:
    """The model after a log."""
    model = ReferencePartition(step_ms, REMOVE_AFTER_MS, CEILINGS)
    for offset, message in enumerate(log):
        model.handle(offset, message)
    return model


def entities_of(outcome: Outcome) -> dict[str, dict[str, Any]]:
    """The records of entities as the model gives them."""
    return {key: read_state(state) for key, state in outcome.states().items() if key != LEDGER_KEY}


def readable(state: State) -> str:
    """A record as text, in which a NaN equals another."""
    return repr(state)


def ledger_of(outcome: Outcome) -> dict[str, tuple[int, ...]]:
    """Counts of removed entities, by source."""
    state = outcome.states().get(LEDGER_KEY)
    return {} if state is None else read_counts(state)


def modelled_changes(model: ReferencePartition) -> dict[tuple[str, ...], list[tuple[Any, ...]]]:
    """Changes by kind and id."""
    found: dict[tuple[str, ...], list[tuple[Any, ...]]] = {}
    for key, at_ms, status, reason, attributes, removed in model.changes():
        row = (at_ms, status, reason, json.dumps(attributes, sort_keys=True), removed)
        found.setdefault(split_key(key)[1:], []).append(row)
    return found


def first_difference(log: list[Observation], step_ms: int) -> str:
    """The first message after which the two disagree, and how: it is what a person looks at."""
    model = ReferencePartition(step_ms, REMOVE_AFTER_MS, CEILINGS)
    partition, states = new_fast_partition(step_ms), dict[str, State]()
    for offset, message in enumerate(log):
        model.handle(offset, message)
        ticks = read_rows(partition.apply(offset, message, states).ticks.record("live", 1))
        lines = [
            f"{one}: fast {row}, model {model.ticks().get(one)}"
            for one, row in ticks
            if model.ticks().get(one) != row
        ]
        fast = {key: read_state(state) for key, state in states.items() if key != LEDGER_KEY}
        slow = model.states()
        for key in sorted(fast.keys() | slow.keys()):
            one, other = fast.get(key, {}), slow.get(key, {})
            lines += [
                f"{key} {name}: fast {one.get(name)!r}, model {other.get(name)!r}"
                for name in sorted(one.keys() | other.keys())
                if one.get(name) != other.get(name)
            ]
        if lines:
            before = [f"{place}: {brief(old)}" for place, old in enumerate(log[: offset + 1])]
            return "\n".join([*before[-25:], f"after message {offset}:", *lines])
    return "no difference in states"


def brief(message: Observation) -> str:
    """A message on one line, its times relative to the beginning."""
    at = f"{message['type']} at {message['at_ms'] - EPOCH_MS}"
    if message["type"] == "clock":
        return at
    readings = [
        f"{entity[1]} {attributes or ''} {[(n, v, t - EPOCH_MS) for n, _, v, t in samples]}"
        for entity, attributes, samples in ((key.rsplit("/", 1), a, s) for key, a, s in parts_of(message))
    ]
    return (
        f"{at} of {message['scraped_at_ms'] - EPOCH_MS} {message['source']} {message['target']} "
        f"priority {message['priority']} interval {message['interval_ms']} "
        f"origin {message['origin_partition']}/{message['origin_offset']} {' '.join(readings)}"
    )


@pytest.mark.timeout(3600)
@given(scenarios())
def test_twin_does_what_the_model_does(scenario: Scenario) -> None:
    log = log_of(scenario)

    fast = run(log, scenario.step_ms)
    model = modelled(log, scenario.step_ms)

    for name in branches(model):
        event(name)
    expected_ticks = {(*split_key(key)[1:], tick_ms): row for (key, tick_ms), row in model.ticks().items()}
    actual_ticks = {place: row[:2] for place, row in fast.rows.items()}
    actual_changes = {place: [row[:5] for row in rows] for place, rows in fast.changes.items()}
    if entities_of(fast) != model.states() or actual_ticks != expected_ticks:
        note(first_difference(log, scenario.step_ms))
    assert entities_of(fast) == model.states()
    assert actual_ticks == expected_ticks
    assert actual_changes == modelled_changes(model)
    assert ledger_of(fast) == {name: tuple(counts.values()) for name, counts in model.ledger.items()}


@pytest.mark.timeout(3600)
@given(scenarios(), crashes)
def test_crashes_and_batches_change_not_one_byte(scenario: Scenario, accidents: list[Crash]) -> None:
    log = log_of(scenario)

    quiet = run(log, scenario.step_ms)
    troubled = run_with_crashes(log, scenario.step_ms, accidents)

    assert troubled.contradictions == []
    assert troubled.rows == quiet.rows
    assert troubled.changes == quiet.changes
    assert {key: readable(state) for key, state in troubled.states().items()} == {
        key: readable(state) for key, state in quiet.states().items()
    }
    assert troubled.written == quiet.written


def test_restart_keeps_the_order_of_entities_in_a_clock_message() -> None:
    # Without a restart `a` stands among what is due for its first sample still, with it for its second only.
    a: Entity = ("node", "a")
    b: Entity = ("node", "b")
    log = [
        values(at, "s", (0, at - EPOCH_MS), {entity: [("load1", 1.0, at)]}, interval_ms=5_000)
        for at, entity in ((EPOCH_MS, a), (EPOCH_MS + 4_000, b), (EPOCH_MS + 6_000, a))
    ]
    log.append(clock(EPOCH_MS + 400_000))
    quiet, restarted = Worker(log, 5_000), Worker(log, 5_000)

    quiet.batch(4)
    restarted.batch(3)
    restarted.start(3)
    restarted.batch(1)

    assert restarted.outcome.written == quiet.outcome.written
    assert list(restarted.outcome.changes) == list(quiet.outcome.changes)


@pytest.mark.timeout(3600)
@given(scenarios())
def test_invariants_hold_whatever_the_log(scenario: Scenario) -> None:
    log = log_of(scenario)

    outcome = run(log, scenario.step_ms)

    assert outcome.contradictions == []
    assert outcome.published_twice == []
    assert outcome.out_of_order == []
    assert_interpolated_between_neighbours(outcome, log)
    assert_no_negative_rate(outcome)
    assert samples_accounted_for(outcome) == samples_sent(log)


def test_logs_reach_the_interesting_branches() -> None:
    met: Counter[str] = Counter()

    @settings(max_examples=200, derandomize=True, database=None, phases=[Phase.generate])
    @given(scenarios())
    def count(scenario: Scenario) -> None:
        met.update(branches(modelled(log_of(scenario), scenario.step_ms)))

    count()

    assert {name: met[name] for name in WANTED if met[name] < 3} == {}


WANTED = {
    *(f"gauge {quality}" for quality in ("measured", "interpolated", "held")),
    *(f"counter {quality}" for quality in ("measured", "interpolated", "held")),
    *(f"state {quality}" for quality in ("measured", "held")),
    *("tick complete", "tick by deadline", "passed over", "open values", "second source"),
    *("up", "degraded", "degraded stale", "down", "unknown"),
    *("silent", "failed scrapes", "reports down", "no measurement"),
    *("applied", "duplicate", "late", "conflict", "rejected"),
    *("removed", "came back", "dropped head", "another form", "counter reset", "sent twice"),
    *("failure that is not newer", "old attributes", "unknown when silent"),
}
"""What generated logs must reach, so that the properties above are worth something."""


def assert_interpolated_between_neighbours(outcome: Outcome, log: list[Observation]) -> None:
    """Each interpolated gauge lies between the samples before and after its tick of some source."""
    taken = in_order(log)
    for (kind, id, tick_ms), row in outcome.rows.items():
        for metric, (value, quality) in row[1].items():
            if quality != 1 or FORMS[metric] == COUNTER:
                continue
            pairs = [
                (a[1], b[1])
                for place, readings in taken.items()
                if place[:3] == (kind, id, metric)
                for a, b in pairwise(readings)
                if a[0] < tick_ms < b[0]
            ]
            assert any(min(pair) <= value <= max(pair) for pair in pairs), (
                kind,
                id,
                tick_ms,
                metric,
                value,
                pairs,
            )


def in_order(log: list[Observation]) -> dict[tuple[str, str, str, str], list[tuple[int, float]]]:
    """Time and value of those samples that are newer than all before, by kind, id, metric and source."""
    found: dict[tuple[str, str, str, str], list[tuple[int, float]]] = {}
    for message in log:
        latest_ms = message["at_ms"] + 60_000
        for key, _, samples in parts_of(message):
            _, kind, id = split_key(key)
            for metric, _, value, time_ms in samples:
                readings = found.setdefault((kind, id, metric, message["source"]), [])
                if math.isfinite(value) and (readings[-1:] or [(0, 0.0)])[0][0] < time_ms <= latest_ms:
                    readings.append((time_ms, value))
    return found


def assert_no_negative_rate(outcome: Outcome) -> None:
    """Neither a tick nor a head has a rate below zero, or one above its maximum."""
    for row in outcome.rows.values():
        for metric, (value, _) in row[1].items():
            assert FORMS[metric] != COUNTER or 0 <= value <= CEILINGS.get(metric, math.inf)
    for state in outcome.states().values():
        for metric, rate in zip(state["head_names"], state["head_rates"], strict=True):
            assert math.isnan(rate) or 0 <= rate <= CEILINGS.get(metric, math.inf)


def samples_accounted_for(outcome: Outcome) -> Counter[str]:
    """By source, the sum of all counts of all records."""
    found: Counter[str] = Counter()
    for state in outcome.states().values():
        for name, counts in read_counts(state).items():
            found[name] += sum(counts)
    return +found


def samples_sent(log: list[Observation]) -> Counter[str]:
    """By source, the samples of the log, those that were sent twice counted once."""
    found: Counter[str] = Counter()
    known: set[tuple[str, int, int]] = set()
    for message in log:
        for key, _, samples in parts_of(message):
            place = (key, message["origin_partition"], message["origin_offset"])
            if place not in known:
                known.add(place)
                found[message["source"]] += len(samples)
    return +found


def branches(model: ReferencePartition) -> set[str]:
    """Names of what occurred in a run of the model."""
    found = {name for name, count in model.met.items() if count}
    for complete, cells in model.ticks().values():
        found.add("tick complete" if complete else "tick by deadline")
        found |= {
            f"{FORM_NAMES[FORMS[metric]]} {QUALITY_NAMES[quality]}" for metric, (_, quality) in cells.items()
        }
    for _, _, status, reason, _, removed in model.changes():
        found.add(
            "removed"
            if removed
            else f"{status} {reason.partition(':')[0] if 'stale' in reason else ''}".strip()
        )
        if status == "unknown" and "silent" in reason:
            found.add("unknown when silent")
        found |= {
            word for word in ("silent", "failed scrapes", "reports down", "no measurement") if word in reason
        }
    for state in model.states().values():
        for counts in state["counts"].values():
            found |= {verdict for verdict, count in zip(VERDICTS, counts, strict=True) if count}
        if state["open"]:
            found.add("open values")
    return found
