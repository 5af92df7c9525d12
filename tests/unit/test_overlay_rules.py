"""Overlays: live as it is, and beside it what differs (docs/worlds.md)."""

from copy import deepcopy

import pytest

from tests.reference.scenario_log import START_MS
from tests.reference.world_cases import Case

OVER = "live~w1"
KEY = "live~w1/node/a"


@pytest.fixture
def case() -> Case:
    """Live with a node that was scraped at 0 and 5 s, and an overlay."""
    made = Case()
    made.live(0, power_watts=100.0, load1=1.0)
    made.create(OVER)
    made.live(5_000, power_watts=200.0, load1=2.0)
    return made


def live_of(case: Case) -> str:
    return repr({key: state for key, state in case.states.items() if key.startswith("live/node")})


def test_overlay_without_faults_has_no_entities(case: Case) -> None:
    assert KEY not in case.states
    assert case.states["live~w1/world/live~w1"]["attributes"]["base"] == "live"
    assert "clock_ms" not in case.states["live~w1/world/live~w1"]["attributes"]


def test_fault_changes_a_copy_and_not_live(case: Case) -> None:
    before = live_of(case)

    case.fault("metric_scale", OVER, at=6_000, metrics=["power_watts"], factor=2.0)

    assert live_of(case) == before
    assert case.metrics(KEY) == {"power_watts": (400.0, 5_000), "load1": (2.0, 5_000)}
    assert case.view(KEY)["faults"] == ["f"]
    assert case.view(KEY)["simulated"]
    assert case.changes[-1]["world"] == OVER


def test_copy_follows_live_with_its_ticks(case: Case) -> None:
    case.fault("metric_scale", OVER, at=6_000, metrics=["power_watts"], factor=2.0)

    case.live(10_000, power_watts=300.0, load1=3.0)

    assert case.metrics(KEY)["power_watts"] == (600.0, 10_000)
    assert case.row(10_000, KEY) == {"power_watts": (600.0, 0), "load1": (3.0, 0)}
    assert case.row(10_000, "live/node/a")["power_watts"] == (300.0, 0)
    assert case.view(KEY)["aligned"]["tick_ms"] == START_MS + 10_000
    # At 5 s there was no fault.
    assert case.row(5_000, KEY) == {}


def test_fault_starts_and_ends_with_the_clock(case: Case) -> None:
    case.fault("node_down", OVER, at=5_000, start_ms=7_000, end_ms=9_000)
    assert KEY not in case.states

    case.clock(7_000)
    assert case.status(KEY) == ("down", "fault f: node_down")

    case.clock(9_000)
    assert KEY not in case.states
    assert (case.changes[-1]["removed"], case.changes[-1]["reason"]) == (True, "")
    assert not [key for key in case.states if "/_fault/" in key]


def test_stopped_fault_leaves_nothing(case: Case) -> None:
    case.fault("node_down", OVER, at=6_000)

    assert case.tell("fault.stop", OVER, at=7_000, fault="f") == ""

    assert KEY not in case.states
    assert case.tell("fault.stop", OVER, at=7_000, fault="f") == "unknown_fault"


def test_silent_sensor_of_an_overlay_is_stale_after_hold(case: Case) -> None:
    case.fault("sensor_silent", OVER, at=6_000, metrics=["power_watts"])
    case.live(10_000, power_watts=300.0, load1=3.0)
    case.live(15_000, power_watts=300.0, load1=3.0)
    case.live(19_000, power_watts=300.0, load1=3.0)
    assert case.metrics(KEY)["power_watts"] == (200.0, 5_000)
    assert case.row(15_000, KEY)["power_watts"] == (200.0, 2)
    assert case.status(KEY) == ("up", "")

    case.clock(20_001)

    assert case.status(KEY) == ("degraded", "stale: power_watts")
    assert case.status("live/node/a") == ("up", "")


def test_set_values_and_attributes_replace_those_of_live(case: Case) -> None:
    entity = {"kind": "node", "id": "a", "metrics": {"load1": 9.0}, "attributes": {"zone": "x"}}
    case.tell("entity.set", OVER, at=6_000, entities=[entity])
    entity = {"kind": "node", "id": "a", "metrics": {"up": 1.0}, "attributes": {"arch": "arm"}}
    case.tell("entity.set", OVER, at=7_000, at_ms=None, entities=[entity])
    case.live(10_000, power_watts=300.0, load1=3.0)

    assert case.metrics(KEY) == {"power_watts": (300.0, 10_000), "load1": (9.0, 6_000), "up": (1.0, 7_000)}
    assert case.view(KEY)["attributes"] == {"zone": "x", "arch": "arm"}
    assert case.view("live/node/a")["attributes"] == {}
    assert case.row(10_000, KEY)["load1"] == (9.0, 2)


def test_entity_that_live_does_not_have_comes_into_being(case: Case) -> None:
    entity = {"kind": "job", "id": "j", "metrics": {"job_ready": 1.0}, "attributes": {"node": "a"}}
    case.tell("entity.set", OVER, at=6_000, entities=[entity])

    assert case.metrics("live~w1/job/j") == {"job_ready": (1.0, 6_000)}
    assert case.status("live~w1/job/j") == ("up", "")
    assert "live/job/j" not in case.states


def test_removed_entity_is_hidden_until_it_is_set_again(case: Case) -> None:
    case.tell("entity.remove", OVER, at=6_000, entities=[{"kind": "node", "id": "a"}])
    scenario = case.states[KEY]["scenario"]
    assert scenario is not None
    assert scenario["hidden"]

    entity = {"kind": "node", "id": "a", "metrics": {"load1": 9.0}}
    case.tell("entity.set", OVER, at=7_000, entities=[entity])

    scenario = case.states[KEY]["scenario"]
    assert scenario is not None
    assert not scenario["hidden"]
    assert case.metrics(KEY)["load1"] == (9.0, 7_000)


def test_fault_of_what_live_does_not_have_waits_for_it(case: Case) -> None:
    case.fault("node_down", OVER, at=6_000, selector={"kind": "node", "ids": ["late"]})
    assert "live~w1/node/late" not in case.states

    case.live(7_000, id="late", load1=1.0)

    assert case.status("live~w1/node/late") == ("down", "fault f: node_down")


@pytest.mark.parametrize("restarts", [False, True])
def test_entity_that_comes_back_behind_a_start_waits_for_the_next_clock(case: Case, restarts: bool) -> None:
    case.clock(400_000)
    case.fault("node_down", OVER, at=400_000, start_ms=410_000, end_ms=450_000)
    case.clock(420_000)
    assert "live/node/a" not in case.states

    case.live(405_000, interval_ms=30_000, load1=1.0)
    assert KEY not in case.states
    if restarts:
        case.restart()
    case.clock(420_000)

    assert case.status(KEY) == ("down", "fault f: node_down")
    assert case.states[KEY]["seen_ms"] == START_MS + 420_000


def test_entity_that_live_removes_is_gone_from_the_overlay(case: Case) -> None:
    case.fault("node_down", OVER, at=6_000)

    case.clock(400_000)

    assert KEY not in case.states
    assert "live/node/a" not in case.states


def test_what_a_set_keeps_of_an_entity_that_live_removes_has_nothing_of_live(case: Case) -> None:
    case.fault("sensor_stuck", OVER, at=6_000)
    case.set(OVER, at=6_000, load1=9.0)
    case.live(10_000, power_watts=300.0, load1=3.0)
    assert case.view(KEY)["aligned"]["tick_ms"] == START_MS + 10_000

    case.clock(400_000)

    assert case.metrics(KEY) == {"load1": (9.0, 6_000)}
    assert case.status(KEY) == ("up", "")
    record = case.states[KEY]
    assert (record["status_since_ms"], record["tick_ms"]) == (START_MS + 400_000, 0)
    case.live(401_000, power_watts=400.0, load1=4.0)
    # Stuck is what was there when live had no such entity.
    assert case.metrics(KEY) == {"load1": (9.0, 6_000), "power_watts": (400.0, 401_000)}


def test_entity_that_live_removed_goes_when_a_worker_ended_before_the_overlay_let_go(case: Case) -> None:
    case.fault("node_down", OVER, at=6_000)
    before = deepcopy(case.states[KEY])
    case.clock(400_000)
    case.states[KEY] = before
    case.restart()

    case.handle(case.offset, case.log[-1])

    assert KEY not in case.states
    assert "live/node/a" not in case.states


def test_what_an_overlay_keeps_is_the_same_when_all_that_live_had_was_lost(case: Case) -> None:
    case.tell("entity.remove", OVER, at=6_000, entities=[{"kind": "node", "id": "a"}])
    case.live(10_000, power_watts=300.0, load1=3.0)
    case.clock(400_000)
    before = repr(case.states[KEY])
    # The ledger is written first; of the rest nothing was.
    case.states = {key: state for key, state in case.states.items() if "/_ledger/" in key}
    case.restart()

    for offset, message in enumerate(case.log):
        assert case.handle(offset, message) == ""

    assert repr(case.states[KEY]) == before


def test_overlay_cannot_change_more_entities_than_it_may() -> None:
    case = Case()
    case.create(OVER, max_entities=1)

    many = {"kind": "node", "ids": ["a", "b"]}
    entities = [{"kind": "node", "id": id} for id in "ab"]

    assert case.fault("node_down", OVER, selector=many) == "too_many_entities"
    assert case.tell("entity.set", OVER, entities=entities) == "too_many_entities"
    assert case.tell("entity.remove", OVER, entities=entities) == "too_many_entities"
    assert case.fault("node_down", OVER) == ""


def test_overlay_ends_with_all_that_it_has(case: Case) -> None:
    case.fault("node_down", OVER, at=6_000)
    case.create("live~w2")
    case.fault("metric_fixed", "live~w2", metrics=["load1"], value=3.0)

    case.tell("world.drop", OVER)
    case.live(10_000, power_watts=300.0, load1=3.0)
    case.tell("world.drop", "live~w2")

    assert {key for key in case.states if not key.startswith("live/")} == set()
    assert case.changes[-1]["removed"]


def test_time_of_an_overlay_ends_it(case: Case) -> None:
    case.fault("metric_fixed", OVER, metrics=["load1"], value=3.0)

    case.clock(3_600_001)

    assert {key for key in case.states if key.startswith(OVER)} == set()


def test_overlay_is_there_after_a_restart(case: Case) -> None:
    case.fault("sensor_stuck", OVER, at=6_000, metrics=["load1"])
    for order in (1, -1):
        case.states = dict(list(case.states.items())[::order])
        case.restart()
        case.live(10_000 + order, power_watts=300.0, load1=3.0)

        assert case.metrics(KEY)["load1"][0] == 2.0


def test_messages_that_come_again_change_nothing(case: Case) -> None:
    case.fault("node_down", OVER, at=6_000)
    case.live(10_000, power_watts=300.0, load1=3.0)
    case.tell("fault.stop", OVER, at=11_000, fault="f")
    case.fault("sensor_stuck", OVER, at=11_000, fault="g")
    case.live(15_000, power_watts=400.0, load1=3.0)
    before = {key: repr(state) for key, state in case.states.items()}

    for _ in range(2):
        case.restart()
        for offset, message in enumerate(case.log):
            assert case.handle(offset, message) == ""

    assert {key: repr(state) for key, state in case.states.items()} == before


def test_record_that_no_fault_concerns_goes_with_the_next_clock(case: Case) -> None:
    case.fault("node_down", OVER, at=6_000)
    for key in [key for key in case.states if "/_fault/" in key]:
        del case.states[key]
    case.restart()

    case.clock(7_000)

    assert KEY not in case.states


def test_each_partition_has_its_share_and_one_answers() -> None:
    cases = [Case(number=number, partitions=3) for number in range(3)]

    for case in cases:
        case.create(OVER)
    refused = [case.tell("fault.stop", OVER, fault="none") for case in cases]
    for case in cases:
        case.fault(
            "node_down", OVER, selector={"kind": "node", "ids": [f"n{number}" for number in range(20)]}
        )
        for number in range(20):
            case.live(1_000, id=f"n{number}", load1=1.0)
    unknown = [case.set("live~w9", load1=1.0) for case in cases]

    assert sorted(refused) == ["", "", "unknown_fault"]
    assert sorted(unknown) == ["", "", "unknown_world"]
    downs = [{key for key in case.states if key.startswith("live~w1/node/")} for case in cases]
    assert len(downs[0] | downs[1] | downs[2]) == sum(map(len, downs)) == 20
    records = [[key for key in case.states if "world/" in key] for case in cases]
    assert sorted(map(len, records)) == [1, 1, 1]


def test_clock_of_an_overlay_is_that_of_live(case: Case) -> None:
    message = case.log[1].copy()
    message |= {"body": '{"type": "world.advance", "to_ms": 9}', "event_id": "x", "origin_offset": 99}

    assert case.take(message) == ""  # without `home` another partition answers
    message |= {"body": '{"type": "world.advance", "to_ms": 9, "home": true}', "event_id": "y"}
    assert case.take(message) == "event_type"


def test_values_for_an_overlay_are_nothing(case: Case) -> None:
    before = live_of(case)
    message = case.log[0].copy()
    message |= {"world": OVER, "event_id": "x", "origin_topic": "event", "origin_offset": 99}

    case.take(message)

    assert live_of(case) == before
    assert KEY not in case.states


def test_many_faulted_entities_are_worked_on_in_parts() -> None:
    case = Case()
    case.create(OVER)
    ids = [f"n{number:03}" for number in range(60)]
    case.tell("entity.set", OVER, entities=[{"kind": "node", "id": id} for id in ids])

    assert len([key for key in case.states if key.startswith("live~w1/node/")]) == 60


def test_fault_whose_record_is_lost_ends_all_the_same(case: Case) -> None:
    case.fault("node_down", OVER, at=6_000, end_ms=8_000)
    for key in [key for key in case.states if "/_fault/" in key]:
        del case.states[key]

    case.clock(8_000)

    assert KEY not in case.states


def test_start_that_comes_again_is_done_once(case: Case) -> None:
    world = deepcopy(case.states["live~w1/world/live~w1"])
    case.fault("node_down", OVER, at=6_000)
    before = repr(case.states[KEY])
    case.states["live~w1/world/live~w1"] = world
    for key in [key for key in case.states if "/_ids/" in key]:
        del case.states[key]
    case.restart()

    assert case.handle(case.offset, case.log[-1]) == ""
    assert repr(case.states[KEY]) == before


def test_stop_that_comes_again_is_done_once(case: Case) -> None:
    case.fault("node_down", OVER, at=6_000)
    before = deepcopy(case.states["live~w1/world/live~w1"])
    case.tell("fault.stop", OVER, at=7_000, fault="f")
    case.states["live~w1/world/live~w1"] = before
    for key in [key for key in case.states if "/_ids/" in key]:
        del case.states[key]
    case.restart()

    assert case.handle(4, case.log[4]) == ""
    assert KEY not in case.states


def test_drop_of_a_former_world_that_comes_again_is_not_an_event_of_the_next(case: Case) -> None:
    case.tell("world.drop", OVER, id="gone", at=6_000)
    dropped = case.offset
    case.create(OVER)
    # A worker that ended before it wrote the ids.
    case.states = {key: state for key, state in case.states.items() if "/_ids/" not in key}
    case.restart()
    for offset in (dropped, case.offset):
        assert case.handle(offset, case.log[offset]) == ""
    assert "live~w1/world/live~w1" in case.states

    case.tell("world.drop", OVER, id="gone", at=7_000)

    assert "live~w1/world/live~w1" not in case.states


def test_world_that_a_later_message_ended_shows_no_other_ticks_when_messages_come_again(case: Case) -> None:
    case.fault("metric_fixed", OVER, at=6_000, metrics=["load1"], value=9.0)
    before = {key: deepcopy(state) for key, state in case.states.items()}
    committed = case.offset + 1
    case.fault("node_down", OVER, at=7_000, fault="g")
    case.live(10_000, power_watts=300.0, load1=3.0)
    case.tell("world.drop", OVER, at=11_000)
    # A worker that ended when it had written the ledger.
    case.states = before | {key: state for key, state in case.states.items() if "/_ledger/" in key}
    case.restart()

    for offset in range(committed, case.offset + 1):
        assert case.handle(offset, case.log[offset]) == ""

    assert case.row(10_000, KEY) == {}
    assert not [key for key in case.states if key.startswith(OVER)]


def test_record_that_is_ahead_is_left_alone(case: Case) -> None:
    case.fault("node_down", OVER, at=6_000)
    before = repr(case.states[KEY])
    for key in [key for key in case.states if "/_ids/" in key or "/_fault/" in key or "/world/" in key]:
        del case.states[key]
    case.restart()

    for offset, message in enumerate(case.log):
        assert case.handle(offset, message) == ""

    assert repr(case.states[KEY]) == before


def test_scrape_from_before_the_start_takes_nothing_back(case: Case) -> None:
    case.fault("node_down", OVER, at=6_000, start_ms=8_000)
    case.clock(8_000)

    case.live(7_900, load1=1.0)

    assert case.status(KEY) == ("down", "fault f: node_down")


def test_clock_writes_what_is_due_alone_also_after_a_restart(case: Case) -> None:
    case.fault("metric_ramp", OVER, at=6_000, metrics=["load1"], per_s=1.0)
    before = repr(case.states[KEY])

    case.clock(7_000)
    case.restart()
    case.clock(8_000)

    assert repr(case.states[KEY]) == before


def test_attributes_alone_are_told(case: Case) -> None:
    case.fault("metric_fixed", OVER, at=6_000, metrics=["load1"], value=3.0)

    case.tell(
        "entity.set", OVER, at=7_000, entities=[{"kind": "node", "id": "a", "attributes": {"zone": "x"}}]
    )

    assert case.changes[-1]["world"] == OVER
    assert case.changes[-1]["attributes"] == '{"zone": "x"}'


def test_hidden_entity_is_told_as_removed_and_closes_no_ticks(case: Case) -> None:
    case.tell("entity.remove", OVER, at=6_000, entities=[{"kind": "node", "id": "a"}])
    assert (case.changes[-1]["removed"], case.changes[-1]["reason"]) == (True, "hidden")

    case.live(10_000, power_watts=300.0, load1=3.0)

    assert case.row(10_000, "live/node/a") != {}
    assert case.row(10_000, KEY) == {}


def test_tick_with_which_a_record_begins_is_closed(case: Case) -> None:
    case.fault("metric_fixed", OVER, at=6_000, start_ms=10_000, metrics=["load1"], value=9.0)

    case.live(10_000, power_watts=300.0, load1=3.0)

    assert case.row(10_000, KEY)["load1"] == (9.0, 0)


def test_what_is_frozen_is_live_under_the_faults_from_before(case: Case) -> None:
    case.fault("metric_scale", OVER, at=6_000, metrics=["power_watts"], factor=2.0)
    case.fault("sensor_stuck", OVER, at=6_000, fault="g", start_ms=10_000)

    case.live(10_000, power_watts=300.0, load1=3.0)
    case.live(15_000, power_watts=400.0, load1=4.0)

    assert case.metrics(KEY) == {"power_watts": (600.0, 15_000), "load1": (3.0, 15_000)}


def test_fault_that_ended_since_does_not_begin_when_its_event_comes_again(case: Case) -> None:
    case.fault("node_down", OVER, at=6_000, end_ms=8_000)
    before = {key: deepcopy(state) for key, state in case.states.items() if "/world/" in key}
    assert case.fault("metric_fixed", OVER, at=7_000, metrics=["load1"], value=3.0) == "fault_exists"
    case.clock(8_000)
    case.states = {key: state for key, state in case.states.items() if "/_ids/" not in key} | before
    case.restart()

    for offset in (4, 5):
        assert case.handle(offset, case.log[offset]) == ""

    assert not [key for key in case.states if "/_fault/" in key]


def test_look_that_is_planned_later_is_found_when_an_earlier_one_comes_up(case: Case) -> None:
    case.fault("node_down", OVER, at=6_000, start_ms=20_000)
    case.fault("node_down", OVER, at=6_000, fault="g", start_ms=10_000, end_ms=11_000)

    case.clock(11_000)
    assert KEY not in case.states
    case.clock(20_000)
    assert case.status(KEY) == ("down", "fault f: node_down")
    case.clock(21_000)

    assert case.status(KEY) == ("down", "fault f: node_down")


def test_record_that_is_ahead_of_a_clock_is_looked_at_later(case: Case) -> None:
    case.fault("node_down", OVER, at=6_000, start_ms=7_000, end_ms=9_000)
    before = {key: deepcopy(state) for key, state in case.states.items()}
    case.clock(7_000)
    case.live(7_500, load1=1.0)
    case.states = {key: state for key, state in case.states.items() if "/_fault/" not in key} | {
        key: state for key, state in before.items() if "/_fault/" in key
    }
    case.restart()
    case.handle(4, case.log[4])
    case.clock(9_000)

    assert KEY not in case.states
