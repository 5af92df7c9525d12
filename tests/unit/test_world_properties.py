"""Isolated worlds of the fast twin beside the slow model, on generated logs."""

from collections import Counter

import pytest
from hypothesis import Phase, assume, event, given, note, settings

from tests.reference.scenario_log import STEP_MS, scenario_log
from tests.reference.scenarios import Crash, crashes
from tests.reference.world_hash import reference_hash
from tests.reference.world_logs import ENTITIES, Plan, Writer, log_of, log_of_documents, plans
from tests.reference.world_runs import (
    Outcome,
    first_difference,
    is_entity,
    modelled,
    run,
    run_with_crashes,
)

KINDS = {
    *("node_down", "link_down", "link_delay", "metric_scale", "metric_offset", "metric_fixed", "metric_ramp"),
    *("metric_noise", "capacity_cut", "bandwidth_limit", "sensor_silent", "sensor_stuck", "clock_skew"),
}


@pytest.mark.timeout(3600)
@given(plans)
def test_worlds_do_what_the_model_does(plan: Plan) -> None:
    log = log_of(plan)

    fast = run(log, plan.step_ms)
    model = modelled(log, plan.step_ms)

    for name, count in model.met.items():
        event(name) if count else None
    if fast.records() != model.states() or fast.ticks != model.published:
        note(first_difference(log, plan.step_ms))
    assert fast.records() == model.states()
    assert fast.ticks == model.published
    assert fast.refused.keys() == model.refused.keys()
    assert fast.wrong == []


@pytest.mark.timeout(3600)
@given(plans, crashes)
def test_crashes_and_batches_change_not_one_byte(plan: Plan, accidents: list[Crash]) -> None:
    log = log_of(plan)

    quiet = run(log, plan.step_ms)
    # When an event that names what is not there comes again after a crash, it may be there.
    assume("unknown_entity" not in quiet.refused.values())
    troubled = run_with_crashes(log, plan.step_ms, accidents)

    assert troubled.wrong == []
    assert troubled.rows == quiet.rows
    assert troubled.changes == quiet.changes
    assert without_ids(troubled) == without_ids(quiet)
    # Of an event from before its world, which comes again after it, the id may be known.
    assert ids_of(troubled) >= ids_of(quiet)


@pytest.mark.timeout(3600)
@given(plans)
def test_lazy_world_is_the_same_once_it_is_touched(plan: Plan) -> None:
    writer = Writer(plan)
    for world in ("w1", "w2"):
        for kind, id in ENTITIES:
            touched = {"kind": kind, "id": id, "attributes": {"touched": "1"}}
            writer.add(world, "entity.set", entities=[touched])

    eager = run(writer.log, plan.step_ms)
    lazy = run(writer.log, plan.step_ms, lazily=True)

    assert lazy.records() == eager.records()


def test_hash_of_a_scenario_with_every_fault_is_that_of_the_model() -> None:
    documents = scenario_log(20, 60, seed=7)
    log = log_of_documents(documents)

    fast = run(log, STEP_MS, batch=16)
    model = modelled(log, STEP_MS)

    assert {one["body"]["kind"] for one in documents if one["type"] == "fault.start"} == KINDS
    assert fast.refused == {} == model.refused
    assert len(fast.ticks) > 1_000
    assert reference_hash(fast.ticks, "w1") == reference_hash(model.published, "w1")


def test_events_that_harmonize_sends_twice_change_nothing() -> None:
    log = log_of_documents(scenario_log(5, 30, seed=3))
    twice = [message for first in range(0, len(log), 10) for message in log[first : first + 10] * 2]

    once, again = run(log, STEP_MS), run(twice, STEP_MS)

    assert again.refused == {}
    assert again.ticks == once.ticks
    assert again.records() == once.records()


def test_logs_reach_the_interesting_branches() -> None:
    met: Counter[str] = Counter()

    @settings(max_examples=300, derandomize=True, database=None, phases=[Phase.generate])
    @given(plans)
    def count(plan: Plan) -> None:
        met.update(name for name, times in modelled(log_of(plan), plan.step_ms).met.items() if times)

    count()

    assert {name: met[name] for name in WANTED if not met[name]} == {}


WANTED = {
    *(f"{kind} starts" for kind in KINDS),
    *("fault starts in the past", "fault starts in the future", "fault over", "came before"),
    *(
        "down by a fault",
        "down by a silent sensor",
        "degraded by a silent sensor",
        "tick of one that is down",
    ),
    *("tick that is not above the newest", "tick with another time", "tick with other values"),
    *("another form", "old attributes", "passed over", "second source", "set a thing anew"),
    *("refused: a name that is taken", "refused: an entity that is not there", "refused: unknown world"),
    *("refused: does not go forward", "refused: no such fault", "refused: too many entities"),
    "world ended by time",
}
"""What generated logs must reach, so that the properties above are worth something."""


def without_ids(outcome: Outcome) -> dict[str, str]:
    """Records as text, in which a NaN equals another; those of ids have a version of their own."""
    return {key: repr(state) for key, state in outcome.states().items() if "/_ids/" not in key}


def ids_of(outcome: Outcome) -> set[tuple[str, str]]:
    """Ids that worlds know."""
    states = outcome.states()
    return {
        (key, id)
        for key in states
        if "/_ids/" in key and not is_entity(key)
        for id in states[key]["attributes"]
    }
