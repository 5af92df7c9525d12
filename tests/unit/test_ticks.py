"""Rows of the topic `tick`."""

import json

from streams.domain.ticks import MAX_ROWS, TickRows
from tests.factories import NOW_MS, make_state


def test_rows_are_cut_into_messages_of_200() -> None:
    rows = TickRows()
    for number in range(MAX_ROWS + 50):
        rows.add(make_state(id=f"n{number}"), NOW_MS, True, ["load1"], [1.0], [0])
    rows.add_change(make_state(id="n0"), NOW_MS)

    first, second = rows.records("live", 7)

    assert (len(first["ids"]), len(second["ids"])) == (MAX_ROWS, 50)
    assert (len(first["change_ids"]), len(second["change_ids"])) == (1, 0)
    assert first["epoch"] == 7


def test_columns_fit_together() -> None:
    rows = TickRows()
    rows.add(make_state(id="a"), NOW_MS, True, ["load1", "power_watts"], [1.0, 2.0], [0, 1])
    rows.add(make_state(id="b"), NOW_MS, False, ["power_watts"], [3.0], [2])

    tick = rows.record("live", 1)

    assert (tick["sizes"], tick["names"], tick["metrics"]) == ([2, 1], ["load1", "power_watts"], [0, 1, 1])
    assert (tick["values"], tick["qualities"]) == ([1.0, 2.0, 3.0], [0, 1, 2])
    assert (tick["complete"], tick["pools"]) == ([True, False], ["1", "1"])


def test_a_pool_is_in_itself() -> None:
    rows = TickRows()
    rows.add_change(make_state(kind="nodepool", id="gpu", attributes={}), NOW_MS)

    assert rows.record("live", 1)["change_pools"] == ["gpu"]


def test_a_removal_has_no_status() -> None:
    rows = TickRows()
    rows.add_change(make_state(), NOW_MS, removed=True)

    tick = rows.record("live", 1)

    assert (tick["change_removed"], tick["change_statuses"], tick["change_reasons"]) == ([True], [""], [""])
    assert json.loads(tick["change_attributes"][0])["arch"] == "x86_64"


def test_each_world_has_its_own_messages() -> None:
    rows = TickRows()
    assert not rows
    rows.add(make_state(world="live~plan"), NOW_MS, True, ["load1"], [1.0], [0])
    rows.add_change(make_state(), NOW_MS)

    assert rows
    assert rows.worlds() == ["live", "live~plan"]
    assert [record["ids"] for record in rows.records("live~plan", 1)] == [["ws01"]]
    assert [record["ids"] for record in rows.records("live", 1)] == [[]]


def test_a_removal_may_have_a_reason() -> None:
    rows = TickRows()
    rows.add_change(make_state(status_reason="silent"), NOW_MS, removed=True, reason="hidden")
    rows.add_change(make_state(status_reason="silent"), NOW_MS, reason="hidden")

    assert [change["reason"] for change in rows.changes] == ["hidden", "silent"]
