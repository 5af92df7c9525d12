"""What isolated worlds take, refuse, remember and leave behind (docs/worlds.md)."""

from copy import deepcopy

import pytest

from streams.domain import world
from streams.domain.keys import entity_key, split_key
from streams.domain.worlds import is_own_kind, is_read_whole
from streams.records import Observation
from tests.reference.scenario_log import START_MS
from tests.reference.world_cases import Case


@pytest.fixture
def case() -> Case:
    """A world with a node that was set at 0."""
    made = Case()
    made.create(max_entities=3)
    made.set(load1=1.0)
    return made


def attributes(case: Case, key: str = "w1/world/w1") -> dict[str, str]:
    return case.states[key]["attributes"]


def event(case: Case, body: str, world: str = "w1") -> str:
    """An event with a body that harmonize would not make."""
    message: Observation = case.log[0].copy()
    message |= {"world": world, "body": body, "event_id": f"x{case.offset}", "origin_offset": 1_000}
    return case.take(message)


# Worlds


def test_record_of_a_world_says_all_of_it(case: Case) -> None:
    case.advance(7_000)

    assert attributes(case) == {
        "owner": "t",
        "reason": "",
        "base": "nothing",
        "created_ms": str(START_MS),
        "made_by": "event/0/0",
        "ttl_s": "3600.0",
        "max_entities": "3",
        "step_ms": "5000",
        "clock_ms": str(START_MS + 7_000),
    }
    assert case.states["w1/world/w1"]["simulated"]


def test_world_begins_at_the_step_before_its_event_unless_it_says_otherwise() -> None:
    case = Case()

    case.tell("world.create", "w2", at=7_300, owner="t", step_ms=2_000)

    assert attributes(case, "w2/world/w2")["clock_ms"] == str(START_MS + 6_000)


@pytest.mark.parametrize(
    ("type", "body", "reason"),
    [
        ("world.create", {"owner": "t"}, "world_exists"),
        ("world.advance", {"to_ms": START_MS}, "not_forward"),
        ("entity.remove", {"entities": [{"kind": "node", "id": "none"}]}, "unknown_entity"),
        ("fault.stop", {"fault": "none"}, "unknown_fault"),
        ("fault.start", {"kind": "node_down", "selector": {"kind": "node", "ids": ["b"]}}, "unknown_entity"),
        (
            "fault.start",
            {"kind": "node_down", "selector": {"kind": "node", "ids": ["a"]}, "end_ms": START_MS},
            "fault_times",
        ),
        ("entity.set", {"entities": [{"kind": "job", "id": id} for id in "xyz"]}, "too_many_entities"),
    ],
)
def test_what_cannot_be_done_is_refused_and_its_id_is_known(
    case: Case, type: str, body: dict[str, object], reason: str
) -> None:
    before = {key: repr(state) for key, state in case.states.items() if "/_ids/" not in key}

    assert case.tell(type, id="same", **body) == reason
    assert case.tell(type, id="same", **body) == ""
    assert {key: repr(state) for key, state in case.states.items() if "/_ids/" not in key} == before


def test_world_that_is_not_there_takes_nothing(case: Case) -> None:
    assert case.set("w9", load1=1.0) == "unknown_world"
    assert case.advance(5_000, "w9") == "unknown_world"


def test_second_fault_of_a_name_is_refused(case: Case) -> None:
    assert case.fault("node_down") == ""
    assert case.fault("node_down") == "fault_exists"

    assert case.tell("fault.stop", fault="f") == ""
    assert case.fault("node_down") == ""


def test_stopped_fault_is_over_at_once(case: Case) -> None:
    case.fault("node_down")
    assert case.status() == ("down", "fault f: node_down")

    case.tell("fault.stop", fault="f")

    assert case.status() == ("up", "")
    assert case.view("w1/node/a")["faults"] == []


def test_full_world_still_takes_values_of_what_it_has(case: Case) -> None:
    assert case.set(ids="b c", load1=1.0) == ""
    assert case.set(ids="d", load1=1.0) == "too_many_entities"
    assert case.set(ids="a b c", load1=2.0) == ""


def test_repeated_id_changes_nothing(case: Case) -> None:
    case.tell("world.advance", id="once", by_ms=5_000)
    case.tell("world.advance", id="once", by_ms=5_000)

    assert attributes(case)["clock_ms"] == str(START_MS + 5_000)


def test_removed_entity_is_told_and_comes_back_anew(case: Case) -> None:
    case.tell("entity.remove", entities=[{"kind": "node", "id": "a"}])
    assert "w1/node/a" not in case.states
    assert [change["removed"] for change in case.changes] == [False, True]

    case.set(power_watts=5.0)

    assert case.metrics() == {"power_watts": (5.0, 0)}


@pytest.mark.parametrize("how", ["drop", "time"])
def test_nothing_remains_of_a_world_that_ends(case: Case, how: str) -> None:
    case.fault("node_down")
    if how == "drop":
        assert case.tell("world.drop") == ""
    else:
        case.clock(3_600_000)
        assert "w1/node/a" in case.states
        case.clock(3_600_001)

    assert [key for key in case.states if not key.startswith("live/_ledger/")] == []
    assert case.changes[-1]["removed"]
    assert case.set(load1=1.0) == "unknown_world"
    assert case.create() == ""


def test_event_from_before_its_world_changes_nothing() -> None:
    case = Case()
    assert case.set(load1=1.0) == "unknown_world"
    case.create()

    case.take(case.log[0])

    assert case.metrics() == {}


def test_large_world_is_worked_on_in_parts() -> None:
    case = Case()
    case.create()
    ids = " ".join(f"n{number:03}" for number in range(120))
    case.set(ids=ids, load1=1.0)

    case.advance(5_000)
    case.fault(
        "metric_fixed", selector={"kind": "node", "ids": ids.split()[:60]}, metrics=["load1"], value=2.0
    )
    case.tell("fault.stop", fault="f")
    case.tell("entity.remove", entities=[{"kind": "node", "id": id} for id in ids.split()[:60]])
    case.tell("world.drop")

    assert len(case.ticks) == 240
    assert list(case.states) == ["live/_ledger/0"]


@pytest.mark.parametrize(
    "body",
    [
        "[]",
        "no",
        '{"type": "world.advance"}',
        '{"type": "entity.set"}',
        '{"type": "what"}',
        '{"type": "fault.start"}',
    ],
)
def test_event_that_harmonize_would_not_make_is_bad_data(case: Case, body: str) -> None:
    assert event(case, body) in ("event_body", "event_type")


def test_creation_that_harmonize_would_not_make_is_bad_data(case: Case) -> None:
    assert event(case, '{"type": "world.create", "home": true}', "w5") == "event_body"


# After a worker ended


def test_world_is_there_after_a_restart(case: Case) -> None:
    case.fault("node_down")
    for order in (1, -1):
        case.states = dict(list(case.states.items())[::order])
        case.restart()

        assert case.tell("fault.stop", fault="none") == "unknown_fault"
        assert case.fault("node_down") == "fault_exists"
        assert case.set(ids="b c d e", load1=1.0) == "too_many_entities"


def test_what_is_left_of_a_world_that_ended_goes_with_the_next_clock(case: Case) -> None:
    del case.states["w1/world/w1"]
    case.restart()

    case.clock(1_000)

    assert list(case.states) == []


def test_what_is_left_of_a_world_that_ended_is_no_part_of_the_next_one(case: Case) -> None:
    del case.states["w1/world/w1"]
    case.restart()

    case.create()

    assert case.metrics() == {}
    assert case.set(ids="x y z", load1=1.0) == ""


def test_entity_that_was_written_before_its_world_belongs_to_it(case: Case) -> None:
    del case.states["w1/world/w1"]
    case.restart()

    for offset, message in enumerate(case.log):
        assert case.handle(offset, message) == ""
    case.advance(5_000)

    assert case.row(5_000) == {"load1": (1.0, 2)}


def test_messages_that_come_again_change_nothing(case: Case) -> None:
    case.fault("sensor_stuck")
    case.advance(5_000)
    case.tell("fault.stop", fault="f")
    case.tell("entity.remove", entities=[{"kind": "node", "id": "a"}])
    case.set(ids="b", load1=1.0)
    before = {key: repr(state) for key, state in case.states.items()}
    ids = [key for key in case.states if "/_ids/" in key]

    for lost in ([], ids):
        for key in lost:
            del case.states[key]
        case.restart()
        for offset, message in enumerate(case.log):
            assert case.handle(offset, message) == ""
        after = {key: repr(state) for key, state in case.states.items()}
        assert {key: one for key, one in after.items() if key not in ids} == {
            key: one for key, one in before.items() if key not in ids
        }
        assert after.keys() == before.keys()


def test_removal_that_comes_again_spares_what_came_back(case: Case) -> None:
    before = deepcopy(case.states["w1/world/w1"])
    case.tell("entity.remove", entities=[{"kind": "node", "id": "a"}])
    case.set(power_watts=5.0)
    case.states["w1/world/w1"] = before
    for key in [key for key in case.states if "/_ids/" in key]:
        del case.states[key]
    case.restart()

    assert case.handle(2, case.log[2]) == ""

    assert case.metrics() == {"power_watts": (5.0, 0)}


def test_values_and_removal_that_come_again_after_the_removal_change_nothing(case: Case) -> None:
    before = deepcopy(case.states["w1/world/w1"])
    case.tell("entity.remove", entities=[{"kind": "node", "id": "a"}])
    case.states["w1/world/w1"] = before
    for key in [key for key in case.states if "/_ids/" in key]:
        del case.states[key]
    before["origins"], before["origin_offsets"] = [], []
    case.restart()

    assert case.handle(1, case.log[1]) == ""
    assert case.handle(2, case.log[2]) == ""

    assert "w1/node/a" not in case.states


def test_event_without_an_id_that_harmonize_sends_twice_is_taken_once(case: Case) -> None:
    message = case.log[1].copy()
    message |= {"event_id": "", "values": [4.0]}
    before = repr(case.states)

    assert case.take(message) == ""

    assert repr(case.states) == before


def test_event_of_before_what_its_world_was_told_changes_nothing(case: Case) -> None:
    case.advance(5_000)
    message = case.log[2].copy()
    message |= {"event_id": "", "origin_partition": 7}
    before = repr(case.states)

    assert case.handle(2, message) == ""

    assert repr(case.states) == before


def test_clock_that_comes_again_spares_what_was_written_before_its_world(case: Case) -> None:
    case.clock(1_000)
    case.set(ids="b", load1=1.0)
    del case.states["w1/world/w1"]
    case.restart()

    assert case.handle(2, case.log[2]) == ""

    assert "w1/node/a" not in case.states
    assert "w1/node/b" in case.states


def test_messages_that_come_again_after_the_world_is_gone_change_nothing(case: Case) -> None:
    case.fault("node_down")
    case.tell("world.drop")
    before = repr(case.states)
    case.restart()

    for offset, message in enumerate(case.log):
        assert case.handle(offset, message) == ""

    assert repr(case.states) == before


def test_drop_that_comes_again_does_the_rest(case: Case) -> None:
    case.tell("entity.set", entities=[{"kind": "job", "id": "j"}])
    left = {key: state.copy() for key, state in case.states.items()}
    case.tell("world.drop")
    case.states = {**left, **case.states}
    del case.states["w1/job/j"]
    case.restart()

    for offset, message in enumerate(case.log):
        assert case.handle(offset, message) == ""

    assert list(case.states) == ["live/_ledger/0"]


def test_record_that_cannot_be_read_does_not_keep_a_world_alive(case: Case) -> None:
    del case.states["w1/node/a"]

    assert case.advance(5_000) == ""
    assert case.tell("world.drop") == ""

    assert list(case.states) == ["live/_ledger/0"]


def test_clock_that_comes_again_does_not_end_a_world_that_came_after_it(case: Case) -> None:
    case.clock(4_000_000)
    case.at_ms = START_MS
    case.create()

    assert case.handle(2, case.log[2]) == ""

    assert "w1/world/w1" in case.states


def test_stop_that_comes_again_is_done_once(case: Case) -> None:
    case.fault("node_down")
    before = deepcopy(case.states["w1/world/w1"])
    case.tell("fault.stop", id="stop", fault="f")
    case.states["w1/world/w1"] = before
    for key in [key for key in case.states if "/_ids/" in key]:
        del case.states[key]
    case.restart()

    assert case.handle(3, case.log[3]) == ""
    assert case.status() == ("up", "")


def test_ids_are_forgotten_beyond_a_number(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(world, "ID_RECORDS", 1)
    monkeypatch.setattr(world, "IDS_MAX", 2)
    case = Case()
    case.create()

    for id in "xyz":
        case.tell("world.advance", id=id, by_ms=1_000)
    case.tell("world.advance", id="z", by_ms=1_000)
    assert attributes(case)["clock_ms"] == str(START_MS + 3_000)
    case.tell("world.advance", id="x", by_ms=1_000)

    assert attributes(case)["clock_ms"] == str(START_MS + 4_000)


def test_event_without_an_id_from_another_partition_is_taken(case: Case) -> None:
    message = case.log[1].copy()
    message |= {"event_id": "", "origin_partition": 7, "origin_offset": 0, "values": [4.0]}
    message |= {"names": ["load5"]}

    assert case.take(message) == ""

    assert case.metrics()["load5"] == (4.0, 1)


def test_keys_and_kinds() -> None:
    assert entity_key("w1", "node", "bä c") == "w1/node/b%C3%A4%20c"
    assert entity_key("w1", "node", "ä") == "w1/node/%C3%A4"
    assert split_key("w1/node/%C3%A4") == ("w1", "node", "ä")
    assert [is_own_kind(kind) for kind in ("world", "_ids", "node")] == [True, True, False]
    assert is_read_whole("w1/_fault/0:f")
    assert not is_read_whole("live/node/a")


def test_values_far_from_the_clock_are_refused(case: Case) -> None:
    values = [{"kind": "node", "id": "a", "metrics": {"load1": 2.0}}]

    for far in (10**15, 1, START_MS + 500_001, START_MS - 500_001):
        assert case.tell("entity.set", at_ms=far, entities=values) == "too_far"

    assert case.metrics()["load1"] == (1.0, 0)


def test_values_a_hundred_steps_from_the_clock_are_taken(case: Case) -> None:
    values = [{"kind": "node", "id": "a", "metrics": {"load1": 2.0}}]

    assert case.tell("entity.set", at_ms=START_MS + 500_000, entities=values) == ""
    assert case.metrics()["load1"] == (2.0, 500_000)


def test_an_advance_over_too_many_ticks_is_refused(case: Case) -> None:
    assert case.tell("world.advance", by_ms=5_000_005_000) == "too_many_ticks"
    assert case.tell("world.advance", by_ms=5_000_000) == ""
