"""The count behind `twin ledger`."""

import json
from collections.abc import Iterable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streams.domain.audit import Checkpoint, Fault, PartitionAudit, Row, read_checkpoint
from streams.domain.ledger import new_ledger
from streams.records import Observation, State
from tests.factories import make_state
from tests.reference.messages import clock, values
from tests.reference.runs import LEDGER_KEY, NUMBER, Worker, run
from tests.reference.scenarios import Scenario, log_of, scenarios

T = 1_700_000_000_000
WS01, WS02 = ("node", "ws01"), ("node", "ws02")
KEY, OTHER_KEY = "live/node/ws01", "live/node/ws02"


def load(value: float = 1.0, at_ms: int = T) -> list[tuple[str, float, int]]:
    return [("load1", value, at_ms), ("watts", value, at_ms)]


def observed(offset: int, entities: Iterable[tuple[str, str]] = (WS01,), source: str = "prom") -> Observation:
    """A message of two samples for each entity; `offset` is that of its scrape."""
    return values(T, source, (0, offset), {entity: load() for entity in entities})


def record(version: int, applied: int, source: str = "prom") -> State:
    return make_state(version=version, source_names=[source], source_counts=[applied, 0, 0, 0, 0])


def ledger_record(version: int, applied: int) -> State:
    ledger = new_ledger(NUMBER)
    ledger["version"] = version
    ledger["source_names"], ledger["source_counts"] = ["prom"], [applied, 0, 0, 0, 0]
    return ledger


def counted(log: list[Observation], checkpoint: Checkpoint | None = None) -> PartitionAudit:
    audit = PartitionAudit(NUMBER, checkpoint)
    for offset, message in list(enumerate(log))[audit.position :]:
        audit.read(offset, message)
    return audit


def through_json(checkpoint: Checkpoint) -> Checkpoint:
    document = {"partitions": {str(NUMBER): checkpoint}}
    return read_checkpoint(json.loads(json.dumps(document)))[NUMBER]


def is_balanced(audit: PartitionAudit, states: dict[str, State], ledger: State | None) -> bool:
    return not audit.faults(states, ledger) and not any(row.difference for row in audit.rows(states, ledger))


def test_what_the_record_has_is_balanced() -> None:
    audit, states = counted([observed(0), observed(1)]), {KEY: record(2, 4)}

    audit.settle(states, None, done=0)

    assert audit.rows(states, None) == [Row(NUMBER, "prom", 4, (4, 0, 0, 0, 0), 0, 0)]
    assert is_balanced(audit, states, None)


def test_lost_samples_are_found_and_named() -> None:
    audit, states = counted([observed(0), observed(1)]), {KEY: record(2, 3)}

    audit.settle(states, None, done=0)

    assert audit.rows(states, None)[0].difference == 1
    assert audit.faults(states, None) == [Fault(KEY, "prom", 4, 3)]


def test_a_loss_does_not_cancel_a_double_count() -> None:
    audit = counted([observed(0, (WS01, WS02))])
    states = {KEY: record(1, 1), OTHER_KEY: record(1, 3)}

    audit.settle(states, None, done=0)

    assert audit.rows(states, None)[0].difference == 0
    assert audit.faults(states, None) == [Fault(OTHER_KEY, "prom", 2, 3)]


def test_samples_of_an_unknown_source_are_found() -> None:
    audit, states = counted([clock(T)]), {KEY: record(1, 2)}

    audit.settle(states, None, done=0)

    assert audit.faults(states, None) == [Fault(KEY, "prom", 0, 2)]


def test_what_was_sent_twice_counts_once() -> None:
    audit, states = counted([observed(5), observed(5), observed(4)]), {KEY: record(1, 2)}

    audit.settle(states, None, done=3)

    assert is_balanced(audit, states, None)


def test_what_is_not_applied_yet_is_in_flight() -> None:
    audit, states = counted([observed(0), observed(1, (WS01, WS02))]), {KEY: record(1, 2)}

    audit.settle(states, None, done=1)

    assert [row.waiting for row in audit.rows(states, None)] == [4]
    assert is_balanced(audit, states, None)


def test_what_is_committed_must_be_applied() -> None:
    audit, states = counted([observed(0), observed(1)]), {KEY: record(1, 2)}

    audit.settle(states, None, done=2)

    assert audit.faults(states, None) == [Fault(KEY, "prom", 4, 2)]


def test_samples_of_a_removed_entity_are_in_the_ledger_record() -> None:
    audit, ledger = counted([observed(0), clock(T)]), ledger_record(2, 2)

    audit.settle({}, ledger, done=0)

    assert audit.rows({}, ledger) == [Row(NUMBER, "prom", 2, (0, 0, 0, 0, 0), 2, 0)]
    assert is_balanced(audit, {}, ledger)


def test_an_entity_that_came_back_is_balanced() -> None:
    audit, ledger = counted([observed(0), clock(T), observed(1)]), ledger_record(2, 2)
    states = {KEY: record(3, 2)}

    audit.settle(states, ledger, done=0)

    assert is_balanced(audit, states, ledger)


def test_a_count_goes_on_from_its_checkpoint() -> None:
    log = [observed(0, (WS01, WS02)), clock(T), observed(1), observed(2)]
    first = counted(log[:3])
    # One is gone, the other has not taken its newest message yet.
    first.settle({KEY: record(1, 2)}, ledger_record(2, 2), done=2)

    audit = counted(log, through_json(first.checkpoint({KEY: record(1, 2)})))

    states, ledger = {KEY: record(4, 6)}, ledger_record(2, 2)
    audit.settle(states, ledger, done=4)
    assert audit.rows(states, ledger) == [Row(NUMBER, "prom", 8, (6, 0, 0, 0, 0), 2, 0)]
    assert is_balanced(audit, states, ledger)


def test_a_log_without_its_beginning_is_counted_from_the_records() -> None:
    log = [observed(0), observed(1), observed(1), observed(2, (WS01, WS02))]
    states = {KEY: make_state(**record(2, 40) | {"origins": ["scrape/0"], "origin_offsets": [1]})}
    audit = PartitionAudit(NUMBER)

    audit.begin_from(states, ledger_record(1, 7), done=2)
    for offset, message in enumerate(log):
        audit.read(offset, message)

    states = {KEY: record(4, 42), OTHER_KEY: record(4, 2)}
    audit.settle(states, ledger_record(1, 7), done=4)
    assert is_balanced(audit, states, ledger_record(1, 7))
    assert audit.rows(states, ledger_record(1, 7))[0].counted == 51


def test_a_log_without_its_beginning_may_have_no_removals() -> None:
    audit = PartitionAudit(NUMBER)

    audit.begin_from({KEY: record(2, 40)}, None, done=2)

    assert is_balanced(audit, {KEY: record(2, 40)}, None)


@pytest.mark.parametrize(
    "document", [[], {}, {"partitions": {"0": {}}}, {"partitions": {"x": {}}}, {"partitions": 1}]
)
def test_other_files_are_refused(document: Any) -> None:
    with pytest.raises(ValueError, match=r"checkpoint|invalid"):
        read_checkpoint(document)


@settings(max_examples=50)
@given(scenarios(), st.integers(1, 40))
def test_every_sample_of_any_log_is_accounted_for_once(scenario: Scenario, batch: int) -> None:
    log = log_of(scenario)
    states = run(log, scenario.step_ms, batch).states()
    ledger = states.pop(LEDGER_KEY, None)

    audit = counted(log)
    audit.settle(states, ledger, done=len(log))

    assert audit.faults(states, ledger) == []
    assert [row.difference for row in audit.rows(states, ledger)] == [0] * len(audit.rows(states, ledger))


@settings(max_examples=50)
@given(scenarios(), st.data())
def test_a_count_in_the_middle_of_the_log_is_balanced_too(scenario: Scenario, data: st.DataObject) -> None:
    log = log_of(scenario)
    worker = Worker(log, scenario.step_ms)
    checkpoint = None
    while worker.committed < len(log):
        worker.batch(data.draw(st.integers(1, len(log)), label="batch"))
        states = worker.outcome.states()
        ledger = states.pop(LEDGER_KEY, None)

        audit = counted(log, checkpoint)
        audit.settle(states, ledger, done=worker.committed)

        assert is_balanced(audit, states, ledger)
        checkpoint = through_json(audit.checkpoint(states))
