"""Holdings of all worlds."""

import gc
import weakref

from streams.replica.worlds import Worlds
from streams.schemas import load_codec
from streams.web.encoded import EncodedStates
from tests.factories import make_state
from tests.unit.test_overlay import Log


def test_records_go_to_the_world_of_their_key() -> None:
    log = Log()
    log.put("live", "a")
    log.put("w1", "a")
    log.put("live~w1", "b")

    assert [list(log.view(world).ids("node")) for world in ("live", "w1", "live~w1")] == [
        ["a"],
        ["a"],
        ["b", "a"],
    ]


def test_a_world_exists_when_it_has_its_record() -> None:
    log = Log()
    log.put("w1", "a")
    assert not log.worlds.exists("w1")
    assert log.worlds.names() == ["live"]

    log.put("w1", "w1", kind="world")
    log.put("live~a", "live~a", kind="world")

    assert log.worlds.exists("w1")
    assert log.worlds.names() == ["live", "live~a", "w1"]
    assert not log.worlds.exists("none")


def test_a_world_that_ended_leaves_nothing() -> None:
    log = Log()
    for kind, id in (("world", "w1"), ("node", "a"), ("_fault", "0:f"), ("_ids", "0.1")):
        log.put("w1", id, kind=kind)
    followed = log.view("w1").changes()
    holdings = weakref.ref(log.worlds.find("w1") or log)

    for kind, id in (("world", "w1"), ("_fault", "0:f"), ("node", "a"), ("_ids", "0.1")):
        log.remove("w1", id, kind=kind)

    assert log.worlds.find("w1") is None
    assert [holding.world for holding in log.worlds] == ["live"]
    assert b"w1" not in log.worlds._by_prefix
    assert followed._closed
    del followed
    gc.collect()
    assert holdings() is None


def kept(states: EncodedStates) -> int:
    """Number of entities whose JSON is kept."""
    return sum(len(cache) for cache in states._caches.values())


async def test_the_json_of_a_world_that_ended_is_not_kept() -> None:
    log = Log()
    states = EncodedStates()
    log.put("live", "a")
    log.put("w1", "b")
    await states.snapshot(log.view("live"))
    await states.snapshot(log.view("w1"))
    assert kept(states) == 2

    log.remove("w1", "b")
    gc.collect()

    assert kept(states) == 1


async def test_an_overlay_shares_the_json_of_live() -> None:
    log = Log()
    states = EncodedStates()
    log.put("live", "a")
    log.put("live", "b")
    log.put("live~w1", "b")
    live = await states.snapshot(log.view("live"))
    overlay = await states.snapshot(log.view("live~w1"))

    assert overlay.keys == [b"live/node/a", b"live~w1/node/b"]
    assert overlay.entities[0] is live.entities[0]
    assert kept(states) == 3


def test_a_tombstone_of_a_world_that_is_not_held_makes_none() -> None:
    log = Log()

    log.remove("w1", "a")

    assert log.worlds.find("w1") is None


def test_a_world_that_is_made_again_counts_its_versions_anew() -> None:
    log = Log()
    log.put("live~w1", "keeps it held", kind="_world")
    log.put("live~w1", "a", epoch=5, version=40)
    log.remove("live~w1", "a")

    log.put("live~w1", "a", epoch=4, version=99)
    assert ("node", "a") not in log.view()
    log.put("live~w1", "a", epoch=5, version=1)

    assert log.view()["node", "a"]["version"] == 1


def test_rubbish_makes_no_world() -> None:
    worlds = Worlds()
    value = load_codec("state").encode(make_state())

    worlds.apply(b"\xff\xfe/node/a", value, 0, 1)
    worlds.apply(b"w1/node/a", b"rubbish", 0, 2)
    worlds.apply(b"w1/node", value, 0, 3)
    worlds.apply(b"no-key-of-ours", value, 0, 4)
    worlds.apply(None, value, 0, 5)

    assert [holding.world for holding in worlds] == ["live"]
    assert worlds.poisoned == {"key": 2, "framing": 1}


def test_an_isolated_world_alone_holds_nothing_of_others() -> None:
    log = Log(Worlds(["w1"]))

    log.put("live", "a")
    log.put("w1", "b")
    log.put("w2", "c")
    log.remove("w1", "b")

    assert not log.worlds.live.shown
    assert log.worlds.find("w2") is None
    assert log.worlds.find("w1") is not None


def test_forgetting_a_partition_ends_the_worlds_that_were_in_it() -> None:
    log = Log()
    log.put("live", "a")
    log.put("w1", "a")

    log.worlds.forget_partition(0)

    assert log.worlds.find("w1") is None
    assert len(log.view("live")) == 0
