"""A long message gives the event loop back on the way."""

from streams.domain.changes import Changes
from streams.domain.entity import new_entity
from streams.domain.status import status_of
from streams.domain.twin import Partition
from streams.domain.world import PAUSE_ENTITIES
from streams.records import Observation, State
from tests.reference.messages import clock, failure, values

T = 1_751_552_585_000
COUNT = 2 * PAUSE_ENTITIES + 20


def pauses(partition: Partition, offset: int, message: Observation, states: dict[str, State]) -> int:
    """How often applying a message gave the loop back."""
    return sum(1 for _ in partition.steps(offset, message, states, Changes()))


def test_every_kind_of_message_gives_the_loop_back_every_50_entities() -> None:
    partition, states = Partition(0, 5_000, 3_600_000, {}), dict[str, State]()
    readings = {("node", f"n{number}"): [("load1", 1.0, T)] for number in range(COUNT)}
    observed = values(T, "prom", (0, 1), readings, target="a", interval_ms=5_000, scraped_at_ms=T)
    failed = failure(T + 5_000, "prom", (0, 2), target="a", scraped_at_ms=T + 5_000)

    assert pauses(partition, 0, observed, states) == 2
    assert len(states) == COUNT
    assert pauses(partition, 1, failed, states) == 2
    assert {tuple(state["source_failures"]) for state in states.values()} == {(1,)}
    assert pauses(partition, 2, clock(T + 60_000), states) == 2
    assert {state["status"] for state in states.values()} == {"down"}


def test_a_short_message_needs_no_pause() -> None:
    partition, states = Partition(0, 5_000, 3_600_000, {}), dict[str, State]()
    readings = {("node", "n1"): [("load1", 1.0, T)]}

    assert pauses(partition, 0, values(T, "prom", (0, 1), readings), states) == 0


def test_without_a_loop_it_is_applied_at_once() -> None:
    partition, states = Partition(0, 5_000, 3_600_000, {}), dict[str, State]()
    readings = {("node", f"n{number}"): [("load1", 1.0, T)] for number in range(COUNT)}

    changes = partition.apply(0, values(T, "prom", (0, 1), readings), states)

    assert len(changes.changed) == COUNT


def test_an_entity_without_a_source_is_unknown() -> None:
    assert status_of(new_entity("live", "node", "n1"), T, [], [], [], []) == ("unknown", "no source")


def test_a_record_that_does_not_decode_is_passed_over() -> None:
    partition, states = Partition(0, 5_000, 3_600_000, {}), dict[str, State]()
    readings = {("node", "n1"): [("load1", 1.0, T)]}
    partition.apply(0, values(T, "prom", (0, 1), readings, target="a", interval_ms=5_000), states)
    states.clear()

    failed = partition.apply(
        1, failure(T + 5_000, "prom", (0, 2), target="a", scraped_at_ms=T + 5_000), states
    )
    ticked = partition.apply(2, clock(T + 60_000), states)

    assert not failed.changed
    assert not ticked.changed


def test_a_clock_that_was_applied_before_changes_nothing_when_it_comes_again() -> None:
    states: dict[str, State] = {}
    readings = {("node", "n1"): [("load1", 1.0, T)]}
    Partition(0, 5_000, 3_600_000, {}).apply(7, values(T, "prom", (0, 1), readings), states)
    restarted = Partition(0, 5_000, 3_600_000, {})
    for key, state in states.items():
        restarted.restore(key, state)

    again = restarted.apply(3, clock(T + 60_000), states)
    new = restarted.apply(8, clock(T + 60_000), states)

    assert not again.changed
    assert new.changed == {"live/node/n1"}
