"""An explanation says the value that the twin itself made of the same log."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streams.domain.commands import observations_of
from streams.domain.entity import HELD, INTERPOLATED, MEASURED
from streams.domain.observation import new_observation
from streams.domain.why.samples import (
    INCREASE,
    LAST,
    LAST_RATE,
    LINEAR,
    MEASURED_AT,
    Found,
    rate_of,
    value_at,
)
from streams.domain.why.trace import Candidate, Closed, Trace, samples_in
from streams.records import Event, Observation
from tests.reference.messages import CEILINGS, Entity, clock, failure, values
from tests.reference.runs import NUMBER, new_partition
from tests.reference.scenarios import ENTITIES, REMOVE_AFTER_MS, Scenario, log_of, scenarios

START_MS = 1_700_000_000_000
NODE: Entity = ("node", "a")
STEP_MS = 5_000


def new_trace(entity: Entity, metric: str, step_ms: int = STEP_MS) -> Trace:
    return Trace(
        "live",
        entity,
        metric,
        partition=NUMBER,
        step_ms=step_ms,
        own_step_ms=step_ms,
        remove_after_ms=REMOVE_AFTER_MS,
        ceilings=CEILINGS,
        limits={},
    )


def winner_of(trace: Trace, closed: Closed) -> Candidate | None:
    return next((one for one in trace.candidates(closed) if one.found is not None), None)


@given(scenarios(), st.integers(0, 1_000))
@settings(max_examples=100)
def test_of_any_log_the_trace_explains_each_closed_tick(scenario: Scenario, choice: int) -> None:
    entity = ENTITIES[choice % len(ENTITIES)]
    metrics = sorted({metric for source in scenario.sources for metric in source.metrics})
    metric = metrics[choice % len(metrics)]
    twin, states = new_partition(scenario.step_ms), {}
    trace = new_trace(entity, metric, scenario.step_ms)

    for offset, message in enumerate(log_of(scenario)):
        changes = twin.apply(offset, message, states)
        trace.feed(offset, message)

        for row in changes.ticks.rows:
            if (row.entity["kind"], row.entity["id"]) != entity:
                continue
            cells = dict(zip(row.names, zip(row.values, row.qualities, strict=True), strict=True))
            closed = trace.closed.pop(row.tick_ms)
            winner = winner_of(trace, closed)
            found = winner.found if winner is not None else None
            assert cells.get(metric) == ((found.value, found.quality) if found is not None else None)
            assert (closed.value, closed.quality) == cells.get(metric, (None, None))
        assert not trace.closed


class Told:
    """One node, told of by observations; times are in ms after a tick."""

    def __init__(self, metric: str) -> None:
        self.metric, self.offset = metric, 0
        self.trace = new_trace(NODE, metric)

    def feed(self, message: Observation) -> None:
        self.trace.feed(self.offset, message)
        self.offset += 1

    def sample(self, at: int, value: float, source: str = "s", **fields: Any) -> None:
        fields = {"interval_ms": 5_000, "target": f"{source}:1", **fields}
        readings = {
            ("node", "z"): [("load1", 9.0, START_MS + at)],
            NODE: [(self.metric, value, START_MS + at)],
        }
        self.feed(values(START_MS + at, source, (0, self.offset), readings, **fields))

    def clock(self, at: int) -> None:
        self.feed(clock(START_MS + at))

    def found(self, tick: int) -> Found | None:
        winner = winner_of(self.trace, self.trace.closed[START_MS + tick])
        return winner.found if winner else None


def told(metric: str, *samples: tuple[int, float], until: int = 60_000) -> Told:
    found = Told(metric)
    for at, value in samples:
        found.sample(at, value)
    found.clock(until)
    return found


@pytest.mark.parametrize(
    ("metric", "samples", "tick", "value", "quality", "rule", "times"),
    [
        ("load1", [(5_000, 3.0)], 5_000, 3.0, MEASURED, MEASURED_AT, [5_000]),
        ("load1", [(4_000, 2.0), (9_000, 4.0)], 5_000, 2.4, INTERPOLATED, LINEAR, [4_000, 9_000]),
        ("load1", [(4_000, 2.0)], 15_000, 2.0, HELD, LAST, [4_000]),
        ("load1", [(4_000, 2.0), (20_000, 4.0)], 5_000, 2.0, HELD, LAST, [4_000]),
        ("phase", [(4_000, 2.0), (9_000, 4.0)], 5_000, 2.0, HELD, LAST, [4_000]),
        ("rx", [(0, 0.0), (5_000, 50.0)], 5_000, 10.0, MEASURED, INCREASE, [0, 5_000]),
        (
            *("rx", [(-1_000, 0.0), (4_000, 50.0), (9_000, 150.0)], 5_000),
            *(12.0, INTERPOLATED, INCREASE, [-1_000, 4_000, 9_000]),
        ),
        ("rx", [(0, 100.0), (5_000, 50.0)], 5_000, 10.0, MEASURED, INCREASE, [0, 5_000]),
        ("rx", [(0, 0.0), (5_000, 50.0)], 15_000, 10.0, HELD, LAST_RATE, [0, 5_000]),
        ("rx", [(1_000, 0.0), (5_000, 40.0)], 5_000, 10.0, HELD, LAST_RATE, [1_000, 5_000]),
        (
            *("rx", [(1_000, 0.0), (3_000, 20.0), (7_000, 60.0)], 5_000),
            *(10.0, HELD, LAST_RATE, [1_000, 3_000]),
        ),
        ("cpu", [(0, 0.0), (5_000, 50_000.0)], 5_000, 100.0, MEASURED, INCREASE, [0, 5_000]),
    ],
)
def test_the_rules_of_alignment(
    metric: str,
    samples: list[tuple[int, float]],
    tick: int,
    value: float,
    quality: int,
    rule: str,
    times: list[int],
) -> None:
    one = told(metric, *samples)

    found = one.found(tick)

    assert found is not None
    assert (found.value, found.quality, found.rule) == (value, quality, rule)
    assert [sample.time_ms - START_MS for sample in found.samples] == times
    assert one.trace.closed[START_MS + tick].value == value


@pytest.mark.parametrize(
    ("metric", "samples", "tick"),
    [
        ("load1", [(7_000, 2.0)], 5_000),
        ("load1", [(4_000, 2.0), (60_000, 2.0)], 30_000),
        ("load1", [(4_000, 2.0)], 20_000),
        ("rx", [(5_000, 2.0)], 5_000),
        ("rx", [(4_000, 2.0), (7_000, 2.0)], 5_000),
        ("rx", [(0, 0.0), (30_000, 2.0)], 30_000),
        ("rx", [(0, 0.0), (5_000, 5.0), (30_000, 2.0), (31_000, 3.0)], 25_000),
        ("rx", [(0, 0.0), (5_000, 5.0)], 25_000),
    ],
)
def test_where_no_rule_gives_a_value_there_is_none(
    metric: str, samples: list[tuple[int, float]], tick: int
) -> None:
    taken = told(metric, *samples, until=0).trace.samples["s"]

    assert value_at(taken, START_MS + tick, STEP_MS, 15_000, float("inf")) is None


def test_a_sample_of_another_form_begins_anew() -> None:
    one = Told("load1")
    one.sample(1_000, 1.0)
    one.sample(7_000, 2.0, forms={"load1": 1})
    one.sample(12_000, 3.0, forms={"load1": 2})
    one.sample(17_000, 4.0, forms={"load1": 2})
    taken = one.trace.samples["s"]

    assert value_at(taken, START_MS + 5_000, STEP_MS, 15_000, 9.0) is None
    assert value_at(taken, START_MS + 10_000, STEP_MS, 15_000, 9.0) is None
    assert rate_of(taken, 2, 9.0) is None
    assert rate_of(taken, 0, 9.0) is None
    assert rate_of(taken, 3, 9.0) is not None


def test_what_was_refused_late_or_sent_again_decides_nothing() -> None:
    one = Told("load1")
    one.sample(1_000, 1.0)
    one.sample(1_000, 2.0)
    one.sample(500, 3.0)
    one.sample(2_000, float("nan"))
    one.feed(values(START_MS, "s", (0, 99), {NODE: [("load1", 1.0, START_MS + 70_000)]}))
    one.feed(values(START_MS + 5_000, "s", (0, 0), {NODE: [("load1", 1.0, START_MS + 5_000)]}))

    assert [(sample.time_ms - START_MS, sample.value) for sample in one.trace.samples["s"]] == [(1_000, 1.0)]


def test_the_best_source_that_has_a_value_gives_it() -> None:
    one = Told("load1")
    one.sample(1_000, 1.0, "best", priority=1)
    one.sample(1_000, 2.0, "next", priority=2)
    one.sample(6_000, 1.0, "best", priority=1)
    one.sample(6_000, 2.0, "next", priority=2)
    for at in range(11_000, 61_000, 5_000):
        one.sample(at, 2.0, "next", priority=2)
    one.clock(70_000)

    first, later = (one.trace.closed[START_MS + tick] for tick in (5_000, 50_000))
    assert [(c.source, c.found and c.found.value) for c in one.trace.candidates(first)] == [
        ("best", 1.0),
        ("next", 2.0),
    ]
    best, other = one.trace.candidates(later)
    assert (best.found, best.silent, other.found and other.found.value) == (None, True, 2.0)
    assert best.newest is not None
    assert best.newest.time_ms == START_MS + 6_000


def test_a_tick_at_which_the_metric_has_nothing_is_closed_without_it() -> None:
    one = Told("rx")
    one.sample(4_000, 1.0)
    one.feed(values(START_MS + 5_000, "s", (0, 50), {NODE: [("load1", 1.0, START_MS + 5_000)]}))
    one.clock(60_000)

    closed = one.trace.closed[START_MS + 5_000]

    assert (closed.value, closed.quality, one.found(5_000)) == (None, None, None)


def test_failures_clocks_and_other_entities_are_followed_without_a_sample() -> None:
    one = Told("load1")
    one.clock(0)
    one.feed(failure(START_MS, "s", (0, 1), target="s:1"))
    one.feed(values(START_MS, "s", (0, 2), {("node", "other"): [("load1", 1.0, START_MS)]}))
    elsewhere = values(START_MS, "s", (0, 3), {NODE: [("load1", 1.0, START_MS)]})
    elsewhere["world"] = "w1"
    one.feed(elsewhere)
    assert (one.trace.samples, one.trace.closed) == ({}, {})

    one.sample(1_000, 1.0)
    one.clock(1_000 + REMOVE_AFTER_MS + 1)
    assert one.trace.samples == {}, "the entity was removed"


def test_a_message_whose_arrays_do_not_fit_is_passed_over() -> None:
    one = Told("load1")
    broken = values(START_MS, "s", (0, 1), {NODE: [("load1", 1.0, START_MS)]})
    broken["metrics"] = [7]

    one.feed(broken)

    assert one.trace.samples == {}


def test_samples_of_a_message_are_those_of_the_entity_and_metric() -> None:
    message = values(
        START_MS,
        "s",
        (0, 1),
        {("node", "z"): [("load1", 9.0, 5)], NODE: [("load1", 1.0, 6), ("rx", 2.0, 7), ("load1", 3.0, 8)]},
    )

    assert samples_in(message, NODE, "load1") == [(0, 1.0, 6), (0, 3.0, 8)]
    assert samples_in(message, ("node", "nobody"), "load1") == []


def test_only_so_many_ticks_are_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("streams.domain.why.trace.CLOSED_MAX", 2)

    one = told("load1", *((at, 1.0) for at in range(0, 60_000, 5_000)))

    assert len(one.trace.closed) == 2


def scenario_of(*events: dict[str, Any]) -> Trace:
    """A trace of node a in an isolated world, fed with what harmonize makes of events."""
    trace = Trace(
        "w1",
        NODE,
        "load1",
        partition=0,
        step_ms=STEP_MS,
        own_step_ms=1_000,
        remove_after_ms=REMOVE_AFTER_MS,
        ceilings={},
        limits={},
    )
    for offset, body in enumerate(events):
        event = Event(id=f"e{offset}", type=body["type"], world="w1", at_ms=START_MS, sender="me", body="")
        for _, observation in observations_of(
            event, body, partitions=1, forms={"load1": 0}, partition=0, offset=offset
        ):
            trace.feed(offset, observation)
    return trace


CREATE = {
    "type": "world.create",
    "owner": "me",
    "reason": "",
    "base": "nothing",
    "clock_ms": START_MS,
    "step_ms": 1_000,
    "ttl_s": 60.0,
    "max_entities": 10,
    "partitions": None,
}


def entity_set(value: float, at_ms: int | None = None) -> dict[str, Any]:
    entities = [
        {"kind": "node", "id": id, "attributes": {}, "metrics": {"load1": value}} for id in ("a", "b")
    ]
    return {"type": "entity.set", "entities": entities, "at_ms": at_ms, "interval_ms": 0, "source": "vte"}


def fault_on(*ids: str) -> dict[str, Any]:
    body = {"fault": "f", "kind": "metric_offset", "metrics": ["load1"], "amount": 5.0, "owner": "me"}
    times = {"start_ms": None, "end_ms": None, "duration_ms": None, "max_entities": 10}
    selector = {"kind": "node", "ids": list(ids), "labels": {}}
    return {"type": "fault.start", "selector": selector, **body, **times}


def advance(by_ms: int) -> dict[str, Any]:
    return {"type": "world.advance", "to_ms": None, "by_ms": by_ms}


def test_an_isolated_world_is_followed_from_its_creation() -> None:
    trace = scenario_of(
        CREATE,
        entity_set(10.0),
        advance(1_000),
        fault_on("a"),
        advance(1_000),
        entity_set(1.0, START_MS + 2_500),
    )

    before, after = (trace.closed[START_MS + at] for at in (1_000, 2_000))
    (one,) = trace.candidates(after)
    assert (before.value, after.value) == (10.0, 15.0), "as its faults show it"
    assert one.found is not None
    assert (one.found.value, one.found.rule) == (10.0, LAST), "as it was set"
    assert [(s.time_ms - START_MS, s.value) for s in trace.samples["vte"]] == [(0, 10.0), (2_500, 1.0)]


def test_what_an_isolated_world_is_told_of_others_is_passed_over() -> None:
    trace = scenario_of(CREATE, entity_set(10.0), fault_on("b"), advance(1_000))

    assert trace.closed[START_MS + 1_000].value == 10.0


def test_an_event_that_is_no_json_is_passed_over() -> None:
    trace = scenario_of(CREATE)
    broken = new_observation("event", START_MS)
    broken["world"], broken["body"] = "w1", "{"

    trace.feed(9, broken)

    assert trace.closed == {}


def partial(at_ms: int, tick_ms: int, **numbers: float) -> Observation:
    """What partition 4 says of pool a, at a clock message of its own."""
    message = new_observation("partial", at_ms)
    message["source"], message["interval_ms"], message["scraped_at_ms"] = "twin", 20_000, at_ms
    message["origin_topic"], message["origin_partition"] = "observation", 4
    message["origin_offset"] = at_ms // 1_000
    message["kinds"], message["ids"], message["attributes"] = ["nodepool"] * 2, ["b", "a"], [{}, {}]
    message["names"], message["forms"] = list(numbers), [0] * len(numbers)
    message["sizes"], message["metrics"] = [len(numbers)] * 2, [*range(len(numbers))] * 2
    message["values"], message["times_ms"] = [*numbers.values()] * 2, [tick_ms, tick_ms]
    return message


def test_a_total_is_followed_from_partial_to_partial() -> None:
    trace = new_trace(("nodepool", "a"), "power_watts")
    power = {"nodes": 2.0, "nodes_with_power_watts": 2.0}
    trace.feed(0, partial(START_MS + 6_000, START_MS, power_watts=3.0, **power))
    trace.feed(1, partial(START_MS + 7_000, START_MS, power_watts=4.0, **power))
    trace.feed(2, partial(START_MS + 12_000, START_MS + 5_000, power_watts=6.0, **power))
    gone = partial(START_MS + 17_000, START_MS + 10_000, nodes=2.0)
    closed = trace.closed[START_MS + 5_000]
    winner = winner_of(trace, closed)
    trace.feed(3, gone)
    end = new_observation("partial_end", START_MS + 18_000)
    end["origin_partition"], end["origin_offset"] = 4, 1 << 40

    assert winner is not None
    assert winner.found is not None
    assert (winner.source, winner.found.value, closed.value) == ("twin", 6.0, 6.0)
    assert winner.found.samples[0].origin[4:7] == ("observation", 4, (START_MS + 12_000) // 1_000)
    assert trace.samples == {}
    trace.feed(4, end)
    assert trace.samples == {}
