import asyncio
from typing import Any

import pytest

from streams.errors import TwinError
from streams.replica.changes import Change, Changes

VIEWS: dict[bytes, dict[str, Any]] = {b"live/node/a": {"n": 1}, b"live/node/b%2F1": {"n": 2}}


async def test_changes_come_in_order_with_the_newest_view() -> None:
    changes = Changes(VIEWS.get)
    changes.put(b"live/node/a", is_new=True)
    changes.put(b"live/node/b%2F1", is_new=False)
    changes.put(b"live/node/a", is_new=False)

    assert [await anext(changes), await anext(changes)] == [
        Change("node", "a", {"n": 1}),
        Change("node", "b/1", {"n": 2}),
    ]
    assert len(changes) == 0


async def test_a_slow_follower_holds_one_entry_for_each_entity() -> None:
    changes = Changes(VIEWS.get)

    for _ in range(1_000):
        changes.put(b"live/node/a", is_new=False)

    assert len(changes) == 1


async def test_a_removal_has_no_entity() -> None:
    changes = Changes({}.get)
    changes.put(b"live/node/a", is_new=False)
    changes.remove(b"live/node/a")

    assert await anext(changes) == Change("node", "a", None)


async def test_what_came_and_went_meanwhile_is_not_mentioned() -> None:
    changes = Changes({}.get)

    for number in range(1_000):
        changes.put(f"live/job/{number}".encode(), is_new=True)
        changes.remove(f"live/job/{number}".encode())

    assert len(changes) == 0


async def test_what_was_removed_and_came_back_is_a_change() -> None:
    changes = Changes(VIEWS.get)
    changes.remove(b"live/node/a")
    changes.put(b"live/node/a", is_new=True)

    assert (await anext(changes)).entity == {"n": 1}
    assert len(changes) == 0


async def test_waiting_ends_with_the_next_change() -> None:
    changes = Changes(VIEWS.get)
    waiting = asyncio.create_task(anext(changes))
    await asyncio.sleep(0)

    changes.put(b"live/node/a", is_new=True)

    assert (await waiting).id == "a"


async def test_closing_ends_the_iteration_after_what_is_pending() -> None:
    changes = Changes(VIEWS.get)
    changes.put(b"live/node/a", is_new=True)
    changes.close()

    assert [change.id async for change in changes] == ["a"]


async def test_an_error_is_raised_by_the_follower() -> None:
    changes = Changes(VIEWS.get)
    changes.close(TwinError("gone"))

    with pytest.raises(TwinError, match="gone"):
        await anext(changes)


async def test_clear_skips_what_is_pending() -> None:
    changes = Changes(VIEWS.get)
    changes.put(b"live/node/a", is_new=True)

    changes.clear()
    changes.put(b"live/node/b%2F1", is_new=True)

    assert (await anext(changes)).id == "b/1"
