"""The partition's ledger record: what is left of entities that are gone."""

from streams.domain.ledger import (
    KEY_MAX,
    REMEMBERED_MAX,
    REMEMBERED_MS,
    forget_removed,
    ledger_key,
    new_ledger,
    remember_gone,
    remember_removed,
    removed_version,
)
from tests.factories import NOW_MS, make_state

KEY = "live/node/ws01"


def test_counts_of_a_removed_entity_move_to_the_ledger() -> None:
    ledger = new_ledger(3)

    remember_removed(ledger, KEY, make_state(source_counts=[1, 2, 3, 4, 5]), 20, NOW_MS)
    remember_removed(ledger, "live/node/ws02", make_state(source_counts=[1, 0, 0, 0, 0]), 21, NOW_MS)

    assert ledger_key(3) == "live/_ledger/3"
    assert (ledger["source_names"], ledger["source_counts"]) == (["node_exporter"], [2, 2, 3, 4, 5])
    assert removed_version(ledger, KEY) == 20


def test_a_removal_that_is_delivered_again_counts_once() -> None:
    ledger = new_ledger(3)

    remember_removed(ledger, KEY, make_state(), 20, NOW_MS)
    remember_removed(ledger, KEY, make_state(), 20, NOW_MS)

    assert ledger["source_counts"] == [40, 0, 0, 0, 0]


def test_a_second_removal_counts_too() -> None:
    ledger = new_ledger(3)

    remember_removed(ledger, KEY, make_state(), 20, NOW_MS)
    remember_removed(ledger, KEY, make_state(), 90, NOW_MS)

    assert ledger["source_counts"] == [80, 0, 0, 0, 0]
    assert removed_version(ledger, KEY) == 90


def test_a_removal_is_forgotten_when_no_redelivery_reaches_back_to_it() -> None:
    ledger = new_ledger(3)
    remember_removed(ledger, KEY, make_state(), 20, NOW_MS)

    forget_removed(ledger, NOW_MS + REMEMBERED_MS)
    assert removed_version(ledger, KEY) == 20

    forget_removed(ledger, NOW_MS + REMEMBERED_MS + 1)
    assert removed_version(ledger, KEY) == 0


def test_where_nothing_was_removed_no_version_is_known() -> None:
    assert removed_version(None, KEY) == 0
    assert removed_version(new_ledger(3), KEY) == 0


def test_only_the_newest_removals_are_remembered() -> None:
    ledger = new_ledger(3)

    for number in range(REMEMBERED_MAX + 1):
        remember_gone(ledger, f"w1/node/n{number}", number + 1, NOW_MS)
    remember_gone(ledger, "w1/node/n1", 90_000, NOW_MS)
    remember_gone(ledger, "w1/node/last", 90_001, NOW_MS)

    assert len(ledger["attributes"]) == REMEMBERED_MAX
    assert removed_version(ledger, "w1/node/n0") == removed_version(ledger, "w1/node/n2") == 0
    assert removed_version(ledger, "w1/node/n1") == 90_000


def test_a_long_key_takes_no_more_room_than_a_short_one() -> None:
    ledger = new_ledger(3)
    key = "w1/node/" + "%C3%A4" * 200

    remember_gone(ledger, key, 20, NOW_MS)

    assert removed_version(ledger, key) == 20
    assert all(len(place) <= KEY_MAX for place in ledger["attributes"])
