"""A world as of a moment: from what a store answers to what everything that takes a world sees."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.domain.view import entity_view
from streams.encoding import encode_json
from streams.history.past import Past, PastEntity, UntoldPastError, read_past
from streams.records import Tick
from streams.replica.past import PastView, past_view
from streams.stores import PastChange, PastTick, Selection
from streams.web.pastbody import encode_past
from tests.history_model import STEP_MS, Model, Row, change_of, tick_of

T0 = 1_751_552_580_000
HOUR_MS = 3_600_000


class FakeStore:
    """Answers from a list of messages, as a store would; what is at 5 minutes it answers from another one."""

    label = "fake"

    def __init__(self, *ticks: Tick, holds: frozenset[str] = frozenset({"text", "quality"})) -> None:
        self.holds = holds
        self.coarse_ms: int | None = None
        self.fine, self.coarse = Model(ticks), Model([])

    async def read_ticks(self, selection: Selection) -> list[PastTick]:
        model = self.coarse if selection.coarse else self.fine
        return model.read_ticks(selection, quality="quality" in self.holds)

    async def read_changes(self, selection: Selection, *, newest: bool) -> list[PastChange]:
        text = "text" in self.holds
        found = self.fine.read_changes(selection, newest=newest, text=text)
        if not newest:
            return found
        known = {(change.kind, change.id) for change in found}
        old = self.coarse.read_changes(selection, newest=True, text=text)
        return found + [change for change in old if (change.kind, change.id) not in known]


async def view_of(store: Any, at_ms: int, world: str = "live", remove_after_ms: int = HOUR_MS) -> PastView:
    return await past_view(await read_past(store, world, at_ms, remove_after_ms, STEP_MS))


def views(past: Past) -> dict[bytes, Any]:
    """The JSON of all entities by key, and whether they are hidden."""
    return {one.key: (one.is_hidden, entity_view(one.state())) for one in past.entities}


def node(id: str, tick_ms: int, value: float = 1.0, **more: Any) -> Row:
    return Row("node", id, "1", tick_ms, {"load1": value}, **more)


async def test_what_holds_is_the_newest_up_to_the_moment() -> None:
    store = FakeStore(
        tick_of("live", [node("a", T0, 1.0), node("a", T0 + 5_000, 2.0)]),
        tick_of(
            "live",
            changes=[
                change_of("node", "a", T0 - 1, nodepool="1", attributes='{"arch": "arm", "nodepool": "1"}'),
                change_of("node", "a", T0 + 5_000, nodepool="1", status="down", reason="silent"),
            ],
        ),
    )

    before, after = await view_of(store, T0 + 4_999), await view_of(store, T0 + 5_000)

    first = before["node", "a"]
    assert (first["status"], first["attributes"]) == ("up", {"arch": "arm", "nodepool": "1"})
    assert first["status_since_ms"] == T0 - 1
    assert first["metrics"] == {
        "load1": {"value": 1.0, "observed_at_ms": T0, "quality": "measured", "source": "history"}
    }
    assert (first["aligned"]["tick_ms"], first["seen_ms"]) == (T0, T0 + 4_999)
    second = after["node", "a"]
    assert (second["status"], second["status_reason"]) == ("down", "silent")
    assert second["metrics"]["load1"]["value"] == 2.0


async def test_an_entity_is_there_from_its_first_change_to_its_removal() -> None:
    store = FakeStore(
        tick_of("live", [node("a", T0 + 5_000)]),
        tick_of("live", changes=[change_of("node", "a", T0)]),
        tick_of("live", changes=[change_of("node", "a", T0 + 9_000, status="", removed=True)]),
        tick_of("live", changes=[change_of("node", "a", T0 + 12_000)]),
    )

    there = [("node", "a") in await view_of(store, T0 + ms) for ms in (-1, 0, 8_999, 9_000, 12_000)]

    assert there == [False, True, True, False, True]


async def test_a_tick_without_a_change_is_of_no_entity() -> None:
    assert len(await view_of(FakeStore(tick_of("live", [node("a", T0)])), T0)) == 0


@pytest.mark.parametrize(("age_ms", "names"), [(60_000, {"load1"}), (60_001, set())])
async def test_a_value_is_gone_when_the_entity_could_be(age_ms: int, names: set[str]) -> None:
    changes = [change_of("node", "a", T0)]
    store = FakeStore(tick_of("live", [node("a", T0)], changes))

    view = await view_of(store, T0 + age_ms, remove_after_ms=60_000)

    assert set(view["node", "a"]["metrics"]) == names


@pytest.mark.parametrize("count", [1, 300])
async def test_what_fell_silent_shows_its_own_newest_tick(count: int) -> None:
    late = {0: "new", 1: "step", 3: "near", 4: "far", 400: "last"}
    nodes = {f"{name}{number}": back for back, name in late.items() for number in range(count)}
    rows = [node(id, T0 - back * STEP_MS, float(back)) for id, back in nodes.items()]
    rows += [node(id, T0 - (back + 1) * STEP_MS, -1.0) for id, back in nodes.items()]
    store = FakeStore(tick_of("live", rows, [change_of("node", id, T0 - HOUR_MS) for id in nodes]))

    view = await view_of(store, T0 + STEP_MS - 1)

    assert {id: view["node", id]["metrics"]["load1"]["value"] for id in view.ids("node")} == nodes


async def test_qualities_are_those_of_the_tick() -> None:
    changes = [change_of("node", "a", T0)]
    rows = [node("a", T0, quality=2, complete=False)]
    whole = await view_of(FakeStore(tick_of("live", rows, changes)), T0)
    numbers = await view_of(FakeStore(tick_of("live", rows, changes), holds=frozenset()), T0)

    assert whole["node", "a"]["metrics"]["load1"]["quality"] == "held"
    assert whole["node", "a"]["aligned"]["complete"] is False
    assert numbers["node", "a"]["metrics"]["load1"]["quality"] == "unknown"
    assert numbers["node", "a"]["aligned"]["qualities"] == {"load1": "unknown"}
    assert numbers["node", "a"]["aligned"]["complete"] is True


async def test_a_store_of_numbers_still_knows_the_pool() -> None:
    changes = [change_of("node", "a", T0, nodepool="7", attributes='{"arch": "arm"}')]

    view = await view_of(FakeStore(tick_of("live", changes=changes), holds=frozenset()), T0)

    assert view["node", "a"]["attributes"] == {"nodepool": "7"}


@pytest.mark.parametrize("text", ["", "no JSON"])
async def test_attributes_that_are_not_readable_are_none(text: str) -> None:
    view = await view_of(
        FakeStore(tick_of("live", changes=[change_of("node", "a", T0, attributes=text)])), T0
    )

    assert view["node", "a"]["attributes"] == {}


async def test_the_stamp_says_the_moment_even_of_nothing() -> None:
    changes = [change_of("node", "a", T0), change_of("node", "b", T0)]
    store = FakeStore(
        tick_of("live", [node("a", T0), node("b", T0 + 5_000, complete=False)], changes),
    )

    empty, whole = (await view_of(store, T0 - 1)).stamp(), (await view_of(store, T0 + 7_000)).stamp()

    assert (empty["entities"], empty["clock_ms"], empty["tick_ms"]) == (0, T0 - 1, None)
    assert whole == {
        "world": "live",
        "entities": 2,
        "tick_ms": T0,
        "clock_ms": T0 + 7_000,
        "complete_share": 0.5,
        "oldest_observed_ms": T0,
        "offsets": {},
    }


async def test_views_of_other_moments_have_other_marks() -> None:
    store = FakeStore(tick_of("live", changes=[change_of("node", "a", T0)]))

    marks = [(await view_of(store, T0 + ms)).mark() for ms in (0, 1, 0)]

    assert marks[0] == marks[2] != marks[1]


async def test_the_past_has_no_changes_to_wait_for() -> None:
    view = await view_of(FakeStore(tick_of("live", changes=[change_of("node", "a", T0)])), T0)

    assert [change async for change in view.changes()] == []


async def test_an_overlay_lies_over_live_as_it_was() -> None:
    store = FakeStore(
        tick_of(
            "live",
            [node(id, T0, 1.0) for id in ("same", "hot", "cut", "gone", "let go")],
            [change_of("node", id, T0) for id in ("same", "hot", "cut", "gone", "let go")],
        ),
        tick_of(
            "live~x",
            [node("hot", T0, 99.0, simulated=True), node("let go", T0, 5.0, simulated=True)],
            [
                change_of("node", "hot", T0, simulated=True),
                change_of("node", "cut", T0, status="down", simulated=True),
                change_of("node", "new", T0, simulated=True),
                change_of("node", "gone", T0, status="", reason="hidden", removed=True),
                change_of("node", "let go", T0, status="", removed=True),
            ],
        ),
    )

    view = await view_of(store, T0, "live~x")

    found = {id: view["node", id] for id in sorted(view.ids("node"))}
    assert {id: one["metrics"].get("load1", {}).get("value") for id, one in found.items()} == {
        "cut": 1.0,
        "hot": 99.0,
        "let go": 1.0,
        "new": None,
        "same": 1.0,
    }
    assert [id for id, one in found.items() if one["simulated"]] == ["cut", "hot", "new"]
    assert found["cut"]["status"] == "down"
    assert {id: one["world"] for id, one in found.items()}["same"] == "live"


async def test_an_overlay_in_a_store_of_numbers_is_refused_if_it_cannot_be_told() -> None:
    changes = [change_of("node", "a", T0, status="", removed=True), change_of("node", "b", T0)]
    untold = FakeStore(tick_of("live~x", changes=changes), holds=frozenset())
    told = FakeStore(tick_of("live~x", changes=changes[1:]), holds=frozenset())

    assert (await view_of(told, T0, "live~x")).ids("node") == ["b"]
    with pytest.raises(UntoldPastError, match="fake holds numbers only"):
        await view_of(untold, T0, "live~x")


async def test_an_isolated_world_has_nothing_of_live() -> None:
    store = FakeStore(
        tick_of("live", changes=[change_of("node", "a", T0)]),
        tick_of("w1", changes=[change_of("node", "b", T0)]),
    )
    past = await read_past(store, "w1", T0, HOUR_MS, STEP_MS)  # type: ignore[arg-type]  # what it uses of one

    assert ((await past_view(past)).ids("node"), past.own) == (["b"], 1)
    nothing = await read_past(store, "w2", T0, HOUR_MS, STEP_MS)  # type: ignore[arg-type]
    assert nothing == Past("w2", T0, [], 0)


async def test_what_is_past_the_retention_comes_from_the_means() -> None:
    store = FakeStore(tick_of("live", changes=[change_of("node", "new", T0 + 299_000)]))
    store.coarse_ms = 300_000
    store.coarse = Model(
        [
            tick_of(
                "live",
                [node("old", T0, 3.0), node("old", T0 + 300_000, 9.0)],
                [change_of("node", "old", T0), change_of("node", "new", T0, status="down")],
            )
        ]
    )

    # A window that is not over may have a mean of what came later.
    view = await view_of(store, T0 + 599_999)
    earlier = await view_of(store, T0 + 299_999)

    assert view["node", "old"]["metrics"]["load1"]["value"] == 3.0
    assert view["node", "new"]["status"] == "up"  # the exact change counts
    assert earlier.ids("node") == ["new", "old"]
    assert earlier["node", "old"]["metrics"] == {}


texts = st.text(max_size=8)
numbers = st.floats(allow_nan=True, allow_infinity=True)
ticks = st.builds(
    lambda values, tick_ms, **more: PastTick(
        tick_ms=tick_ms, names=list(values), values=list(values.values()), qualities=None, **more
    ),
    st.dictionaries(st.sampled_from(["load1", 'a"%s\\', "ü%%", "b"]), numbers),
    st.integers(1, T0),
    kind=st.just("node"),
    id=texts,
    nodepool=texts,
    simulated=st.booleans(),
    complete=st.sampled_from([True, False, None]),
)
entities = st.builds(
    PastEntity,
    texts,
    st.integers(T0, T0 + HOUR_MS),
    st.just(STEP_MS),
    st.builds(
        PastChange,
        st.sampled_from(["node", "nodepool", "link"]),
        texts,
        texts,
        st.booleans(),
        st.integers(0, T0),
        st.sampled_from(["up", "down", ""]),
        texts,
        st.dictionaries(texts, texts, max_size=3).map(json.dumps),
        st.just(False),
    ),
    st.none() | ticks,
)


@given(entities, st.integers(0, 3))
def test_the_short_way_to_json_gives_what_the_long_one_does(entity: PastEntity, quality: int) -> None:
    if quality and entity.tick is not None:
        entity = entity._replace(tick=entity.tick._replace(qualities=[quality - 1] * len(entity.tick.values)))

    assert encode_past(entity) == encode_json(entity_view(entity.state()))


@given(entities, st.integers(0, 3))
def test_what_is_packed_is_what_was(entity: PastEntity, quality: int) -> None:
    if quality and entity.tick is not None:
        entity = entity._replace(tick=entity.tick._replace(qualities=[quality - 1] * len(entity.tick.values)))

    assert repr(PastEntity.unpack(entity.pack())) == repr(entity)  # not ==, as there are NaNs
