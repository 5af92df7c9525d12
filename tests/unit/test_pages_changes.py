"""Rows of the page of changes, and the comparison of two worlds."""

import asyncio
from typing import Any

import pytest

from streams.domain.diff import Thresholds
from streams.pages import differences
from streams.pages.differences import compare_worlds, counts, matching, rows_of


def difference(**parts: list[dict[str, Any]]) -> dict[str, Any]:
    return {"added": [], "removed": [], "statuses": [], "attributes": [], "metrics": []} | parts


def metric(id: str, before: float | None, after: float | None) -> dict[str, Any]:
    change = None if before is None or after is None else after - before
    return {
        "kind": "node",
        "id": id,
        "metric": "power_watts",
        "before": before,
        "after": after,
        "difference": change,
    }


def status(id: str, before: str, after: str, reason: str = "") -> dict[str, Any]:
    sides = {"before": {"status": before, "reason": ""}, "after": {"status": after, "reason": reason}}
    return {"kind": "node", "id": id, "since_ms": 1_795_000_000_000, **sides}


def whole(id: str) -> dict[str, Any]:
    return {"kind": "node", "id": id, "status": "up", "reason": "", "attributes": {"nodepool": "1"}}


ALL = difference(
    added=[whole("new")],
    removed=[whole("old")],
    statuses=[status("a", "down", "up"), status("b", "up", "down", "silent for 20 s")],
    attributes=[{"kind": "node", "id": "a", "name": "nodepool", "before": None, "after": "2"}],
    metrics=[
        metric("small", 100.0, 90.0),
        metric("came", None, 1.0),
        metric("went", 1.0, None),
        metric("great", 10.0, 40.0),
        metric("zero", 0.0, 5.0),
    ],
)


def test_what_is_gone_stands_first_and_great_changes_before_small_ones() -> None:
    rows = rows_of(ALL, {"power_watts": "W"})

    assert [row["id"] for row in rows] == [
        *("old", "new", "b", "a", "a"),
        *("went", "zero", "great", "small", "came"),
    ]
    assert len({row["place"] for row in rows}) == len(rows)


def test_values_have_their_unit_the_difference_its_sign_and_a_share_only_of_what_was_not_zero() -> None:
    rows = {row["id"]: row for row in rows_of(ALL, {"power_watts": "W"})}

    assert (rows["small"]["before"], rows["small"]["after"]) == ("100 W", "90 W")
    assert (rows["small"]["difference"], rows["small"]["share"]) == ("−10 W", pytest.approx(-10))
    assert (rows["great"]["difference"], rows["great"]["share"]) == ("+30 W", pytest.approx(300))
    assert rows["zero"]["share"] is None
    assert (rows["came"]["before"], rows["came"]["difference"], rows["came"]["note"]) == ("–", "", "came")
    assert "silent for 20 s" in rows["b"]["note"]


def test_a_filter_wants_all_of_its_words_somewhere_in_the_row() -> None:
    rows = rows_of(ALL, {})

    assert [row["id"] for row in matching(rows, "", "NODE silent")] == ["b"]
    assert {row["sort"] for row in matching(rows, "metric", "")} == {"metric"}
    assert matching(rows, "added", "nodepool=9") == []
    assert counts(rows) == {"removed": 1, "added": 1, "status": 2, "attribute": 1, "metric": 5}
    assert counts([]) == dict.fromkeys(differences.SORTS, 0)


class World(dict[tuple[str, str], dict[str, Any]]):
    """A view of a world whose records are remembered as looked at when they are decoded."""

    looked: list[tuple[str, str]]

    def __init__(self, records: dict[tuple[str, str], dict[str, Any]]) -> None:
        super().__init__(records)
        self.looked = []

    def find(self, kind: str, id: str) -> tuple[bytes, Any] | None:
        found = super().get((kind, id))
        return None if found is None else (b"", found)

    def get(self, key: Any, default: Any = None) -> Any:
        self.looked.append(key)
        return super().get(key, default)


def record(status: str, power: float) -> dict[str, Any]:
    value = {"value": power, "observed_at_ms": 0}
    return {
        "kind": "node",
        "id": "n",
        "status": status,
        "status_reason": "",
        "status_since_ms": 0,
        "attributes": {},
        "metrics": {"power_watts": value},
    }


def test_what_an_overlay_does_not_change_is_not_even_read() -> None:
    same = record("up", 1.0)
    live = World({("node", "same"): same, ("node", "n"): record("up", 1.0), ("node", "gone"): same})
    overlay = World({("node", "same"): same, ("node", "n"): record("down", 2.0), ("world", "o"): same})

    found = asyncio.run(compare_worlds(live, overlay, [], Thresholds(ratio=0)))  # type: ignore[arg-type]

    assert ("node", "same") not in live.looked
    assert [one["id"] for one in found["statuses"]] == ["n"]
    assert [one["difference"] for one in found["metrics"]] == [1.0]
    assert len(found["removed"]) == 1
    assert found["added"] == []  # the record of the world itself is none of its entities


def test_two_worlds_are_compared_by_kind() -> None:
    live, other = World({("node", "n"): record("up", 1.0)}), World({})

    found = asyncio.run(compare_worlds(live, other, ["link"], Thresholds()))  # type: ignore[arg-type]

    assert not any(found.values())
