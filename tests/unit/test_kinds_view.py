"""A world as somebody sees it who does not see all kinds."""

import asyncio
from typing import Any

import pytest

from streams.replica.view import WorldView
from streams.replica.worlds import Worlds
from tests.factories import encode_state, make_state

PARTITIONS = 4


def put(worlds: Worlds, *states: Any) -> None:
    for offset, state in enumerate(states):
        key, value, partition = encode_state(state, PARTITIONS)
        worlds.apply(key, value, partition, offset)


@pytest.fixture
def worlds() -> Worlds:
    worlds = Worlds()
    put(worlds, make_state(id="n1"), make_state(kind="link", id="1~2"), make_state(kind="nodepool", id="1"))
    return worlds


@pytest.fixture
def whole(worlds: Worlds) -> WorldView:
    return WorldView(worlds.live, lambda: {0: 5})


@pytest.fixture
def part(whole: WorldView) -> WorldView:
    return whole.of_kinds(("link", "node?*"))


def test_other_kinds_are_not_there(part: WorldView) -> None:
    assert sorted(part) == [("link", "1~2"), ("nodepool", "1")]
    assert len(part) == 2
    assert sorted(entity["id"] for entity in part.entities()) == ["1", "1~2"]
    assert list(part.entities("node")) == list(part.records("node")) == part.ids("node") == []
    assert ("node", "n1") not in part
    assert part.get(("node", "n1")) is None
    assert part.find("node", "n1") is None
    for read in (part.full, part.held):
        with pytest.raises(KeyError):
            read("node", "n1")
    assert not part.sees_kind("node")
    assert not part.sees_all_kinds


def test_what_is_seen_is_as_it_was(whole: WorldView, part: WorldView) -> None:
    assert part["link", "1~2"] == whole["link", "1~2"]
    assert part.ids("link") == ["1~2"]
    assert part.offsets() == whole.offsets()
    assert len(whole) == 3
    assert whole.of_kinds(("x", "*")) is whole


def test_marks_differ_by_what_is_seen(whole: WorldView, part: WorldView) -> None:
    marks = {whole.mark(), part.mark(), whole.of_kinds(("link",)).mark()}

    assert len(marks) == 3
    assert whole.of_kinds(("link", "node?*")).mark() == part.mark()


def test_the_stamp_is_of_what_is_seen(worlds: Worlds, whole: WorldView, part: WorldView) -> None:
    put(worlds, make_state(id="n2", complete=False))

    assert whole.stamp()["complete_share"] == 0.75
    assert part.stamp()["complete_share"] == 1


async def test_changes_of_other_kinds_are_not_told(worlds: Worlds, part: WorldView) -> None:
    changes = part.changes()
    put(worlds, make_state(id="n1", version=13), make_state(kind="link", id="1~2", version=13))
    worlds.apply(b"live/node/n1", None, 0, 9)

    change = await asyncio.wait_for(anext(changes), 5)

    assert (change.kind, change.id) == ("link", "1~2")
    assert len(changes) == 0
