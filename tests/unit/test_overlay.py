"""An overlay is live with what differs laid over it."""

import asyncio
import gc
from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.domain.keys import entity_key
from streams.replica.overlay import Overlay
from streams.replica.view import WorldView
from streams.replica.worlds import Worlds
from streams.schemas import load_codec
from tests.factories import make_scenario, make_state

WORLD = "live~w1"


@dataclass
class Log:
    """Writes records of a topic into worlds, each with the next version and offset."""

    worlds: Worlds = field(default_factory=Worlds)
    offset: int = 0

    def put(self, world: str, id: str, *, kind: str = "node", hidden: bool = False, **fields: Any) -> None:
        self.offset += 1
        scenario = None if world == "live" else make_scenario(hidden=hidden)
        simulated = world != "live"
        state = make_state(
            **{"version": self.offset, "scenario": scenario, "simulated": simulated} | fields,
            world=world,
            kind=kind,
            id=id,
        )
        key = entity_key(world, kind, id).encode()
        self.worlds.apply(key, load_codec("state").encode(state), 0, self.offset)

    def remove(self, world: str, id: str, *, kind: str = "node") -> None:
        self.offset += 1
        self.worlds.apply(entity_key(world, kind, id).encode(), None, 0, self.offset)

    def view(self, world: str = WORLD) -> WorldView:
        holdings = self.worlds.find(world)
        assert holdings is not None
        return WorldView(holdings, lambda: {0: self.offset})


def overlaid() -> Log:
    """Live has n1, n2 and n3; the overlay changes n1, hides n2 and adds n9."""
    log = Log()
    log.put(WORLD, "0", kind="_world")
    for id in ("n1", "n2", "n3"):
        log.put("live", id)
    log.put(WORLD, "n1", status="down")
    log.put(WORLD, "n2", hidden=True)
    log.put(WORLD, "n9")
    return log


def test_what_the_overlay_has_replaces_live_and_the_rest_is_lives() -> None:
    view = overlaid().view()

    shown = {id: (entity["world"], entity["simulated"]) for (_, id), entity in view.items()}
    assert shown == {"n1": (WORLD, True), "n3": ("live", False), "n9": (WORLD, True)}
    assert view["node", "n1"]["status"] == "down"
    assert len(view) == 3
    assert ("node", "n2") not in view
    with pytest.raises(KeyError):
        view["node", "n2"]
    with pytest.raises(KeyError):
        view.held("node", "n2")


def test_live_is_not_touched_by_its_overlays() -> None:
    view = overlaid().view("live")

    assert sorted(id for _, id in view) == ["n1", "n2", "n3"]
    assert view["node", "n1"]["status"] == "up"


def test_entities_of_one_kind_are_those_of_both() -> None:
    log = overlaid()
    log.put("live", "l1", kind="link")
    view = log.view()

    assert sorted(entity["id"] for entity in view.entities("node")) == ["n1", "n3", "n9"]
    assert view.ids("link") == ["l1"]
    assert view.ids("nod") == []


def test_a_tombstone_of_the_overlay_brings_lives_record_back() -> None:
    log = overlaid()
    view = log.view()

    log.remove(WORLD, "n1")
    log.remove(WORLD, "n2")
    log.remove(WORLD, "n9")

    assert {entity["world"] for entity in view.values()} == {"live"}
    assert sorted(id for _, id in view) == ["n1", "n2", "n3"]


def test_the_stamp_is_that_of_what_is_shown() -> None:
    log = overlaid()
    log.put(WORLD, "n1", tick_ms=5_000)

    stamp = log.view().stamp()

    assert (stamp["world"], stamp["entities"], stamp["tick_ms"]) == (WORLD, 3, 5_000)


def test_a_record_whose_end_is_broken_is_no_record_of_an_overlay() -> None:
    log = overlaid()
    value = load_codec("state").encode(make_state(world=WORLD, id="n3", version=99))[:-30]

    log.worlds.apply(f"{WORLD}/node/n3".encode(), value, 0, 50)

    assert log.view()["node", "n3"]["world"] == "live"
    assert log.worlds.poisoned == {"avro": 1}


def test_an_overlay_holds_what_differs_and_nothing_else() -> None:
    log = Log()
    for number in range(1_000):
        log.put("live", f"n{number}")
    log.put(WORLD, "n1")

    holdings = log.worlds.find(WORLD)

    assert isinstance(holdings, Overlay)
    assert len(holdings.shown) == 1
    assert len(log.view()) == 1_000
    assert log.view().stamp()["entities"] == 1_000
    assert len(holdings._observed) == 1


def test_a_message_of_live_reaches_no_overlay_that_nobody_follows() -> None:
    log = overlaid()
    changes = log.view().changes()
    assert len(log.worlds.live.watchers) == 1

    del changes
    gc.collect()
    log.put("live", "n3")

    assert len(log.worlds.live.watchers) == 0


async def drain(changes: Any) -> list[tuple[str, str | None]]:
    """Id and world of all that is pending."""
    found = []
    while len(changes):
        change = await anext(changes)
        found.append((change.id, change.entity and change.entity["world"]))
    return found


async def test_changes_follow_the_merged_view() -> None:
    log = overlaid()
    changes = log.view().changes()

    log.put("live", "n1")  # is overlaid
    log.put("live", "n2")  # is hidden
    log.put("live", "n3")
    log.put("live", "n4")
    assert await drain(changes) == [("n3", "live"), ("n4", "live")]

    log.remove(WORLD, "n1")  # back to live's
    log.remove(WORLD, "n9")  # live has none
    log.remove(WORLD, "n2")
    assert await drain(changes) == [("n1", "live"), ("n9", None), ("n2", "live")]

    log.put(WORLD, "n3", hidden=True)
    log.remove("live", "n3")
    log.remove("live", "n4")
    assert await drain(changes) == [("n3", None), ("n4", None)]

    log.put(WORLD, "n5", hidden=True)  # live has none, so nobody misses it
    log.put("live", "n5")
    assert await drain(changes) == []


def test_the_mark_changes_with_what_is_shown_and_only_then() -> None:
    log = overlaid()
    log.put("other", "n1")
    before = (log.view().mark(), log.view("live").mark(), log.view("other").mark())
    log.put(WORLD, "n1")
    overlay = (log.view().mark(), log.view("live").mark(), log.view("other").mark())
    log.put("live", "n3")
    live = (log.view().mark(), log.view("live").mark(), log.view("other").mark())

    assert [a == b for a, b in zip(before, overlay, strict=True)] == [False, True, True]
    assert [a == b for a, b in zip(overlay, live, strict=True)] == [False, False, True]


IDS = ("a", "b", "c")
ACTIONS = st.tuples(
    st.sampled_from(["put", "remove", "put over", "hide", "remove over", "look"]), st.sampled_from(IDS)
)


@given(st.lists(ACTIONS, max_size=30))
def test_the_merged_view_is_that_of_two_dictionaries(actions: list[tuple[str, str]]) -> None:
    log = Log()
    log.put(WORLD, WORLD, kind="world")
    view = log.view()
    changes = view.changes()
    live: dict[str, int] = {}
    over: dict[str, int | None] = {}
    told: dict[str, int] = {}

    for action, id in actions:
        if action == "put":
            log.put("live", id)
            live[id] = log.offset
        elif action == "remove":
            log.remove("live", id)
            live.pop(id, None)
        elif action == "put over":
            log.put(WORLD, id)
            over[id] = log.offset
        elif action == "hide":
            log.put(WORLD, id, hidden=True)
            over[id] = None
        elif action == "remove over":
            log.remove(WORLD, id)
            over.pop(id, None)
        else:
            asyncio.run(tell(changes, told))
        merged = {id: version for id, version in (live | over).items() if version is not None}
        assert {id: entity["version"] for (kind, id), entity in view.items() if kind == "node"} == merged
        assert len(view) == len(merged) + 1
        assert all((("node", id) in view) == (id in merged) for id in IDS)

    asyncio.run(tell(changes, told))
    assert told == merged if actions else not told


async def tell(changes: Any, told: dict[str, int]) -> None:
    """Do to `told` what a follower is told."""
    while len(changes):
        change = await anext(changes)
        if change.entity is None:
            told.pop(change.id, None)
        else:
            told[change.id] = change.entity["version"]
