"""Overlays of the fast twin beside the slow model, on generated logs."""

import json
from collections import Counter
from typing import Any

import pytest
from hypothesis import Phase, assume, event, example, given, note, settings

from streams.domain.newest import shown_values
from streams.records import Observation
from tests.reference.messages import clock, read_state
from tests.reference.overlay_logs import Plan, log_of, plans
from tests.reference.overlays import ReferenceOverlays
from tests.reference.scenarios import REMOVE_AFTER_MS, Crash, crashes
from tests.reference.world_logs import LIMITS
from tests.reference.world_runs import (
    CEILINGS,
    LEDGER_KEY,
    Outcome,
    Ticks,
    Worker,
    brief,
    compare,
    is_entity,
    run,
    run_with_crashes,
)


def modelled(log: list[Observation], step_ms: int) -> ReferenceOverlays:
    """The model after a log."""
    model = ReferenceOverlays(step_ms, REMOVE_AFTER_MS, CEILINGS, LIMITS)
    for offset, message in enumerate(log):
        model.handle(offset, message)
    return model


def records_of(outcome: Outcome) -> dict[str, dict[str, Any]]:
    """Records of entities of overlays, as the model gives them."""
    found = {}
    for key, state in outcome.states().items():
        if not is_entity(key):
            continue
        record = read_state(state)
        assert record["open"] == {}
        assert set(record["counts"].values()) <= {(0, 0, 0, 0, 0)}
        for name in ("open", "counts", "origins", "version", "next_tick_ms"):
            del record[name]
        scenario = state["scenario"]
        assert scenario is not None
        assert state["simulated"]
        record |= {"faults": scenario["faults"], "hidden": scenario["hidden"]}
        found[key] = record | {"metrics": shown_values(state)}
    return found


def ticks_of(outcome: Outcome) -> Ticks:
    return {place: row for place, row in outcome.ticks.items() if is_entity(place[0])}


def changes_of(outcome: Outcome) -> dict[str, list[tuple[Any, ...]]]:
    """Changes of entities, but not when or how often one of several removals was told."""
    return {
        key: [(*row[:3], json.loads(row[3])) if len(row) > 1 else (True,) for row in rows]
        for key, rows in outcome.changes.items()
        if is_entity(key)
    }


def modelled_changes(model: ReferenceOverlays) -> dict[str, list[tuple[Any, ...]]]:
    found: dict[str, list[tuple[Any, ...]]] = {}
    for key, *row, removed in model.changed:
        one = (True,) if removed else tuple(row)
        rows = found.setdefault(key, [])
        if one != (True,) or one not in rows:
            rows.append(one)
    return found


def first_difference(log: list[Observation], step_ms: int) -> str:
    """The first message after which the two disagree, and how: it is what a person looks at."""
    model, fast = ReferenceOverlays(step_ms, REMOVE_AFTER_MS, CEILINGS, LIMITS), Worker(log, step_ms)
    for offset, message in enumerate(log):
        model.handle(offset, message)
        fast.batch(1)
        lines = compare("tick", ticks_of(fast.outcome), model.published)
        for key in records_of(fast.outcome).keys() | model.states().keys():
            lines += compare(key, records_of(fast.outcome).get(key, {}), model.states().get(key, {}))
        if (offset in fast.outcome.refused) != (offset in model.refused):
            one, other = fast.outcome.refused.get(offset), model.refused.get(offset)
            lines.append(f"refused: fast {one}, model {other}")
        if lines:
            before = [f"{place}: {brief(old)}" for place, old in enumerate(log[: offset + 1])]
            return "\n".join([*before[-40:], f"after message {offset}:", *lines])
    return "no difference"


BACK_BEHIND_A_START = Plan(
    1_000,
    (
        ("clock", 310_000, 0),
        ("fault", "live~w1", "f5", {"kind": "sensor_silent"}, (("node", "a"),), 12_000, "duration", 40_000),
        ("clock", 20_000, 0),
        ("scrape", 2_500, "push", (("node", "a"),), (("power_watts", 1),), "", -20_000),
        ("clock", 10_000, 250),
    ),
)
"""Live takes an entity away, the clock passes a start, and the entity comes back with a time before it."""

LIVED_IN_ONE_BATCH = Plan(
    5_000,
    (
        ("remove", "live~w1", (("node", "a"),)),
        ("clock", 310_000, 0),
        ("scrape", 1_000, "s", (("node", "a"),), (), None, 0),
    ),
)
"""Live has an entity and removes it within the first five messages; an overlay keeps a record of it."""


@pytest.mark.timeout(3600)
@given(plans)
@example(BACK_BEHIND_A_START)
def test_overlays_do_what_the_model_does(plan: Plan) -> None:
    log = log_of(plan)

    fast = run(log, plan.step_ms)
    model = modelled(log, plan.step_ms)

    for name, count in model.met.items():
        event(name) if count else None
    if records_of(fast) != model.states() or ticks_of(fast) != model.published:
        note(first_difference(log, plan.step_ms))
    assert records_of(fast) == model.states()
    assert ticks_of(fast) == model.published
    assert changes_of(fast) == modelled_changes(model)
    assert fast.refused.keys() == model.refused.keys()
    assert fast.wrong == []
    # Live is as if there were no overlays.
    assert live_of(fast) == model.live.states()
    assert {one: row for one, row in fast.ticks.items() if not is_entity(one[0])} == model.live.published


@pytest.mark.timeout(3600)
@given(plans, crashes)
@example(LIVED_IN_ONE_BATCH, [Crash(1, 5, 1, 0)])
def test_crashes_and_batches_change_not_one_byte(plan: Plan, accidents: list[Crash]) -> None:
    log = log_of(plan)
    # What a worker that ended between two tombstones left goes with the next clock message.
    log.append(clock(max(message["at_ms"] for message in log)))

    quiet = run(log, plan.step_ms)
    # When what was refused for want of room, or of a free id, comes again after a crash, it may be taken.
    assume(not {"too_many_entities", "fault_exists"} & set(quiet.refused.values()))
    troubled = run_with_crashes(log, plan.step_ms, accidents, timed=True)

    assert troubled.wrong == []
    assert troubled.rows == quiet.rows
    assert without_ids(troubled) == without_ids(quiet)


def test_logs_reach_the_interesting_branches() -> None:
    met: Counter[str] = Counter()

    @settings(max_examples=200, derandomize=True, database=None, phases=[Phase.generate])
    @given(plans)
    def count(plan: Plan) -> None:
        met.update(name for name, times in modelled(log_of(plan), plan.step_ms).met.items() if times)

    count()

    assert {name: met[name] for name in WANTED if not met[name]} == {}


WANTED = {
    *(f"{kind} starts" for kind in ("node_down", "link_delay", "metric_ramp", "metric_noise", "clock_skew")),
    *(f"{kind} starts" for kind in ("sensor_silent", "sensor_stuck", "capacity_cut", "bandwidth_limit")),
    *("fault starts in the past", "fault starts in the future", "fault over", "due by time", "frozen"),
    *("set again", "set what was removed", "live took an entity away", "no fault any more"),
    *("record that came back", "record that begins with a tick", "tick without a fault"),
    *("tick of one that is down", "tick that is not shown", "tick with another time"),
    *("tick with other values", "down by a silent sensor", "degraded by a silent sensor"),
    *("overlay ended by time", "came before", "refused: unknown world", "refused: no such fault"),
    *("refused: a name that is taken", "refused: too many entities"),
}
"""What generated logs must reach, so that the properties above are worth something."""


def live_of(outcome: Outcome) -> dict[str, dict[str, Any]]:
    """Records of live, as the model gives them."""
    return {
        key: read_state(state)
        for key, state in outcome.states().items()
        if key.startswith("live/") and key != LEDGER_KEY
    }


def without_ids(outcome: Outcome) -> dict[str, str]:
    """Records as text, in which a NaN equals another; those of ids have a version of their own.

    What the ledger no longer remembers it can hold until the next removal, so its marks are left out.
    """
    return {
        key: repr(state | {"attributes": {}} if key == LEDGER_KEY else state)
        for key, state in outcome.states().items()
        if "/_ids/" not in key
    }
