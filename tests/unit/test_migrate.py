"""Records on their way into a new prefix."""

from streams.domain.keys import partition_of
from streams.domain.ledger import new_ledger
from streams.domain.migrate import migrate
from tests.factories import make_state


def test_what_counts_along_the_log_begins_anew() -> None:
    moved = migrate(make_state(), 24)

    assert moved is not None
    key, partition, record = moved
    assert (key, partition) == ("live/node/ws01", partition_of("live/node/ws01", 24))
    assert (record["version"], record["epoch"]) == (0, 0)
    assert (record["origins"], record["origin_offsets"]) == ([], [])
    assert record["source_counts"] == [0, 0, 0, 0, 0]


def test_all_else_stays() -> None:
    state = make_state()
    changed = {"version", "epoch", "origins", "origin_offsets", "source_counts"}

    moved = migrate(state, 24)

    assert moved is not None
    assert {k: v for k, v in moved[2].items() if k not in changed} == {
        k: v for k, v in state.items() if k not in changed
    }
    assert state == make_state()


def test_ledger_records_stay_behind() -> None:
    assert migrate(new_ledger(3), 24) is None
