"""The changes of one entity over a range."""

import asyncio

from streams.history.standing import read_standing
from streams.stores import PastChange, Selection


def change(at_ms: int, status: str, *, removed: bool = False) -> PastChange:
    return PastChange("node", "n1", "", False, at_ms, status, "", "{}", removed)


class FakeStore:
    """Answers as `Store.read_changes` says, of what is written by world."""

    def __init__(self, **written: list[PastChange]) -> None:
        self.written = written

    async def read_changes(self, selection: Selection, *, newest: bool) -> list[PastChange]:
        assert (selection.kinds, selection.ids) == (("node",), ("n1",))
        found = [
            one
            for one in self.written.get(selection.world.replace("~", "_"), [])
            if selection.start_ms <= one.at_ms < selection.end_ms
        ]
        return found[-1:] if newest else found


def standing(store: FakeStore, world: str, start_ms: int, end_ms: int) -> list[tuple[int, str]]:
    changes = asyncio.run(read_standing(store, world, "node", "n1", start_ms, end_ms))  # type: ignore[arg-type]
    return [(one.at_ms, one.status) for one in changes]


def test_the_newest_change_up_to_the_start_says_how_the_range_begins() -> None:
    store = FakeStore(live=[change(1, "unknown"), change(5, "up"), change(20, "down"), change(40, "up")])

    assert standing(store, "live", 10, 40) == [(5, "up"), (20, "down")]
    assert standing(store, "live", 5, 21) == [(5, "up"), (20, "down")]  # none is read twice


def test_an_overlay_is_as_live_until_it_differs() -> None:
    store = FakeStore(live=[change(1, "up"), change(30, "down")], live_x=[change(20, "degraded")])

    assert standing(store, "live~x", 10, 50) == [(1, "up"), (20, "degraded")]
    assert standing(store, "live~y", 10, 50) == [(1, "up"), (30, "down")]
    assert standing(store, "other", 10, 50) == []
