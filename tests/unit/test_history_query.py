"""Questions about history against a slow model, over a store in memory that computes all, some or nothing."""

import json
from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.errors import TooMuchError
from streams.history.asking import ask, ask_all
from streams.history.formats import ARROW, CSV, JSON, document_of, encode, headers_of
from streams.history.query import Answer, Facts, HistoryQuery, HistorySeries, QueryError
from streams.records import Tick
from streams.stores import WINDOW_FUNCTIONS, PastChange, Selection, Series, Window
from tests.history_model import _FUNCTIONS, Model, Row, change_of, tick_of

STEP_MS = 5_000
COARSE_MS = 300_000
DAY_MS = 86_400_000
NOW_MS = 1_795_521_120_000 // COARSE_MS * COARSE_MS
FACTS = Facts({"cpu_usage_percent": "%", "power_watts": "W", "load1": "1"}, STEP_MS, 7 * DAY_MS, NOW_MS)

Key = tuple[str, str | None, str, str]


class MemoryStore:
    """A store in memory; with `coarse_ms` it keeps means for longer than the values."""

    label = "memory"

    def __init__(
        self,
        ticks: Iterable[Tick],
        functions: Iterable[str] = WINDOW_FUNCTIONS,
        coarse_ms: int | None = None,
        holds: Iterable[str] = ("text", "quality"),
    ) -> None:
        self.model = Model(ticks)
        self.functions = frozenset(functions)
        self.coarse_ms = coarse_ms
        self.holds = frozenset(holds)
        self.missing: tuple[int, int] = (0, 0)
        self.reads: list[tuple[Selection, Window | None]] = []

    async def read(self, selection: Selection, window: Window | None = None) -> list[Series]:
        assert window is None or window.fn in self.functions
        self.reads.append((selection, window))
        if not selection.coarse:
            return self.model.read(selection, window)
        assert self.coarse_ms is not None
        means = [
            one._replace(times_ms=[at for at, _ in points], values=[value for _, value in points])
            for one in self.model.read(replace(selection, coarse=False), Window(self.coarse_ms, "mean"))
            if (points := [point for point in zip(*one[-2:], strict=True) if not self._is_missing(point[0])])
        ]
        return [
            one
            if window is None
            else one._replace(**dict(zip(("times_ms", "values"), windows(one, window), strict=True)))
            for one in means
        ]

    def _is_missing(self, at_ms: int) -> bool:
        return self.missing[0] <= at_ms < self.missing[1]

    async def read_changes(self, selection: Selection, *, newest: bool) -> list[PastChange]:
        text = "text" in self.holds
        return self.model.read_changes(replace(selection, coarse=False), newest=newest, text=text)

    def __getattr__(self, name: str) -> Any:
        raise AssertionError(f"{name} is not for questions")


def windows(one: Series, window: Window) -> tuple[list[int], list[float]]:
    parts: dict[int, list[float]] = {}
    for at_ms, value in zip(one.times_ms, one.values, strict=True):
        parts.setdefault(at_ms // window.every_ms * window.every_ms, []).append(value)
    return list(parts), [_FUNCTIONS[window.fn](part) for part in parts.values()]


def expected(store: MemoryStore, query: HistoryQuery) -> dict[Key, dict[int, float]]:
    """What is to be answered, point by point."""
    points: dict[Key, dict[int, list[tuple[int, str, float]]]] = {}
    selection = Selection(query.start_ms, query.end_ms, query.world, query.kinds, query.ids, query.metrics)
    for one in store.model.read(selection):
        key: Key = {
            "id": (one.kind, one.id, one.nodepool, one.metric),
            "nodepool": (one.kind, None, one.nodepool, one.metric),
            "kind": (one.kind, None, "", one.metric),
        }[query.group_by]
        for at_ms, value in zip(one.times_ms, one.values, strict=True):
            window = at_ms
            if query.function is not None:
                window = query.start_ms if query.every_ms is None else at_ms - at_ms % query.every_ms
            points.setdefault(key, {}).setdefault(window, []).append((at_ms, one.id, value))
    return {
        key: {
            window: _FUNCTIONS[query.function or "last"]([value for *_, value in sorted(part)])
            for window, part in sorted(found.items())
        }
        for key, found in points.items()
    }


def shown(answer: Answer) -> dict[Key, dict[int, float]]:
    return {
        (one.kind, one.id, one.nodepool, one.metric): dict(zip(one.times_ms, one.values, strict=True))
        for one in answer.series
    }


def cluster(first_ms: int = NOW_MS - 600_000, ticks: int = 20, nodes: int = 4) -> list[Tick]:
    """Nodes in two pools, the last of which has no power; and their pools."""
    found = []
    for number in range(ticks):
        at_ms = first_ms + number * STEP_MS
        rows = [
            Row(
                "node",
                f"n{node}",
                str(node % 2),
                at_ms,
                {"cpu_usage_percent": float((number * 7 + node * 13) % 50)}
                | ({"power_watts": node + number / 10} if node < nodes - 1 else {}),
                simulated=node == 0,
            )
            for node in range(nodes)
        ]
        rows += [Row("nodepool", pool, pool, at_ms, {"power_watts": 1000.0 + number}) for pool in "01"]
        found.append(tick_of("live", rows))
    return found


def whole(**more: Any) -> HistoryQuery:
    return HistoryQuery(NOW_MS - 600_000, NOW_MS, **more)


rows = st.lists(
    st.builds(
        Row,
        st.sampled_from(["node", "nodepool"]),
        st.sampled_from(["1", "2", "n.1"]),
        st.sampled_from(["", "1", "2"]),
        st.integers(0, 40).map(lambda number: NOW_MS - 300_000 + number * STEP_MS),
        st.dictionaries(
            st.sampled_from(["cpu_usage_percent", "load1", "power_watts"]), st.integers(-99, 99).map(float)
        ),
        simulated=st.booleans(),
    ),
    max_size=40,
)
queries = st.builds(
    HistoryQuery,
    st.integers(0, 100).map(lambda number: NOW_MS - 350_000 + number * 1_000),
    st.integers(0, 100).map(lambda number: NOW_MS - 249_000 + number * 1_700),
    kinds=st.sampled_from([(), ("node",), ("node", "nodepool")]),
    ids=st.sampled_from([(), ("1",), ("1", "n.1")]),
    metrics=st.sampled_from([(), ("load1", "power_watts")]),
    every_ms=st.none() | st.sampled_from([STEP_MS, 7_000, 60_000, COARSE_MS]),
    fn=st.none() | st.sampled_from(WINDOW_FUNCTIONS),
    group_by=st.sampled_from(["id", "nodepool", "kind"]),
)


@given(rows, queries, st.sets(st.sampled_from(WINDOW_FUNCTIONS)))
async def test_windows_and_groups_are_the_slow_models_whatever_the_store_computes(
    written: list[Row], query: HistoryQuery, functions: set[str]
) -> None:
    if query.function is None:
        query = replace(query, group_by="id")
    store = MemoryStore([tick_of("live", [row]) for row in written], functions)

    answer = await ask_all(store, query, FACTS)

    want = expected(store, query)
    found = shown(answer)
    assert found.keys() == want.keys()
    for key, points in found.items():
        assert points == pytest.approx(want[key], rel=1e-9, abs=1e-9)
        assert list(points) == sorted(points)


@pytest.mark.parametrize(
    ("functions", "group_by", "fn", "every_ms", "pushed"),
    [
        (WINDOW_FUNCTIONS, "id", "p95", 60_000, ["p95"]),
        (WINDOW_FUNCTIONS, "kind", "mean", 60_000, ["sum", "count"]),
        (WINDOW_FUNCTIONS, "nodepool", "max", 60_000, ["max"]),
        (WINDOW_FUNCTIONS, "nodepool", "last", 60_000, [None]),
        (WINDOW_FUNCTIONS, "kind", "p50", 60_000, [None]),
        (["mean"], "id", "mean", 60_000, ["mean"]),
        (["mean"], "kind", "mean", 60_000, [None]),
        (["mean"], "id", "p50", 60_000, [None]),
        (WINDOW_FUNCTIONS, "id", None, None, [None]),
        (WINDOW_FUNCTIONS, "id", None, 60_000, ["mean"]),
    ],
)
async def test_the_store_computes_what_it_can(
    functions: Iterable[str], group_by: str, fn: str | None, every_ms: int | None, pushed: list[str | None]
) -> None:
    store = MemoryStore(cluster(), functions)

    await ask_all(store, whole(group_by=group_by, fn=fn, every_ms=every_ms), FACTS)

    assert [window and window.fn for _, window in store.reads] == pushed


async def test_a_series_says_whose_it_is_and_in_what_unit() -> None:
    store = MemoryStore(cluster())

    by_id = await ask_all(store, whole(kinds=("node",), metrics=("power_watts",)), FACTS)
    by_pool = await ask_all(
        store, whole(metrics=("power_watts",), group_by="nodepool", fn="sum", every_ms=STEP_MS), FACTS
    )
    counts = await ask_all(store, whole(metrics=("load1", "power_watts"), fn="count"), FACTS)

    assert [one[:7] for one in by_id.series] == [
        ("node", "n0", "0", "power_watts", "W", True, 1),
        ("node", "n1", "1", "power_watts", "W", False, 1),
        ("node", "n2", "0", "power_watts", "W", False, 1),
    ]
    assert by_id.resolution_ms == STEP_MS
    assert [one[:7] for one in by_pool.series] == [
        ("node", None, "0", "power_watts", "W", True, 2),
        ("node", None, "1", "power_watts", "W", False, 1),
        ("nodepool", None, "0", "power_watts", "W", False, 1),
        ("nodepool", None, "1", "power_watts", "W", False, 1),
    ]
    assert {one.unit for one in counts.series} == {"1"}
    assert counts.note == "There are no values of load1 here."
    assert counts.resolution_ms == 600_000


def attributed() -> list[Tick]:
    moments = [
        change_of("node", "n0", NOW_MS - 500_000, nodepool="0", attributes=json.dumps({"arch": "arm"})),
        change_of("node", "n1", NOW_MS - 500_000, nodepool="1", attributes=json.dumps({"arch": "arm"})),
        change_of("node", "n2", NOW_MS - 500_000, nodepool="0", attributes=json.dumps({"arch": "x86"})),
        change_of("node", "n0", NOW_MS - 100_000, nodepool="0", attributes=json.dumps({"arch": "x86"})),
        change_of(
            "node",
            "n3",
            NOW_MS,
            nodepool="1",
            attributes=json.dumps({"arch": "arm"}),
            removed=True,
            status="",
        ),
        change_of("nodepool", "1", NOW_MS - 500_000, nodepool="1", attributes="no JSON"),
    ]
    return cluster() + [tick_of("live", changes=[change]) for change in moments]


@pytest.mark.parametrize(
    ("labels", "end_ms", "ids"),
    [
        ([("arch", "arm")], NOW_MS, ["n1"]),
        ([("arch", "arm")], NOW_MS + 1, ["n1", "n3"]),
        ([("arch", "arm")], NOW_MS - 100_000, ["n0", "n1"]),
        ([("arch", "x86"), ("nodepool", "0")], NOW_MS, ["n0", "n2"]),
        ([("arch", "x86"), ("nodepool", "1")], NOW_MS, []),
        ([("nodepool", "1")], NOW_MS, ["1", "n1"]),
        ([("ARCH", "arm")], NOW_MS, []),
    ],
)
async def test_labels_select_by_the_newest_change_before_the_end(
    labels: list[tuple[str, str]], end_ms: int, ids: list[str]
) -> None:
    store = MemoryStore(attributed())
    query = HistoryQuery(NOW_MS - 600_000, end_ms, labels=tuple(labels))

    answer = await ask_all(store, query, FACTS)

    assert sorted({one.id for one in answer.series if one.id}) == ids
    if not ids:
        assert store.reads == []
        assert answer.note.startswith("There is nothing with ")


async def test_entities_of_other_kinds_that_share_an_id_are_not_selected() -> None:
    changes = [change_of("node", "1", NOW_MS - 9, attributes='{"a": "b"}')]
    same = [Row(kind, "1", "", NOW_MS - 10_000, {"load1": 1.0}) for kind in ("node", "nodepool")]
    store = MemoryStore([tick_of("live", same, changes)])

    answer = await ask_all(store, whole(labels=(("a", "b"),)), FACTS)

    assert [(one.kind, one.id) for one in answer.series] == [("node", "1")]


async def test_many_entities_are_read_in_parts() -> None:
    some = [change_of("node", f"n{number}", NOW_MS - 9, attributes='{"a": "b"}') for number in range(1_201)]
    values = [Row("node", f"n{number}", "", NOW_MS - 9_000, {"load1": 1.0}) for number in range(1_201)]
    store = MemoryStore([tick_of("live", values, some)])

    answer = await ask_all(store, whole(labels=(("a", "b"),)), FACTS)

    assert answer.points == 1_201
    assert [len(selection.ids) for selection, _ in store.reads] == [500, 500, 201]


async def test_a_store_of_numbers_selects_by_pool_and_says_what_it_cannot() -> None:
    store = MemoryStore(attributed(), holds=())

    pool = await ask_all(store, whole(labels=(("nodepool", "0"),)), FACTS)

    assert {one.id for one in pool.series} == {"n0", "n2"}
    with pytest.raises(QueryError, match=r"memory holds numbers only: .* not arch") as caught:
        await ask_all(store, whole(labels=(("arch", "arm"),)), FACTS)
    assert caught.value.field == "labels"


@pytest.mark.parametrize(
    ("more", "field", "text"),
    [
        ({"start_ms": NOW_MS}, "start", "before end"),
        ({"start_ms": NOW_MS + 1}, "start", "before end"),
        ({"fn": "avg"}, "fn", "none of mean, min"),
        ({"group_by": "pool", "fn": "sum"}, "group_by", "none of id, nodepool, kind"),
        ({"group_by": "kind"}, "fn", "needs fn"),
        ({"limit": 0}, "limit", "100,000"),
        ({"limit": 100_001}, "limit", "100,000"),
        ({"every_ms": STEP_MS - 1}, "every", "at least 5000 ms"),
        ({"metrics": ("cpu_usage_percnt",)}, "metrics", "did you mean cpu_usage_percent"),
        ({"metrics": ("zzz",)}, "metrics", "the catalogue has no 'zzz', and nor has history here$"),
        ({"cursor": "nonsense"}, "cursor", "none that an answer had"),
        ({"cursor": "é"}, "cursor", "none that an answer had"),
        ({"cursor": "W10"}, "cursor", "none that an answer had"),
        ({"cursor": "NQ"}, "cursor", "none that an answer had"),
        ({"cursor": "bnVsbA"}, "cursor", "none that an answer had"),
        ({"cursor": "W1tbW1tb"}, "cursor", "none that an answer had"),
    ],
)
async def test_a_wrong_question_names_the_field(more: dict[str, Any], field: str, text: str) -> None:
    with pytest.raises(QueryError, match=text) as caught:
        await ask(MemoryStore(cluster()), replace(whole(), **more), FACTS)
    assert caught.value.field == field


async def test_a_metric_beyond_the_catalogue_that_has_values_is_answered() -> None:
    store = MemoryStore([tick_of("live", [Row("node", "n1", "", NOW_MS - 10_000, {"beard_cm": 7.0})])])

    answer = await ask_all(store, whole(metrics=("beard_cm",)), FACTS)

    assert [(one.unit, one.values) for one in answer.series] == [("", [7.0])]


@pytest.mark.parametrize(
    ("more", "note"),
    [
        ({"ids": ("n11",)}, "History knows no n11: did you mean n1"),
        ({"ids": ("n1", "zzz")}, "History knows no zzz."),
        ({"kinds": ("nod",)}, "History knows nothing of kind nod: it knows node, nodepool."),
        ({"world": "mars", "kinds": ("node",)}, "nothing of kind node, or of any other, in this world"),
        ({"ids": ("n1",)}, "There are no values of world live that fit, from start to end."),
    ],
)
async def test_nothing_is_explained(more: dict[str, Any], note: str) -> None:
    store = MemoryStore(attributed())
    query = HistoryQuery(NOW_MS - 50_000, NOW_MS - 49_999, **more)

    answer = await ask_all(store, query, FACTS)

    assert answer.series == []
    assert note in answer.note


async def test_too_many_windows_are_refused_before_anything_is_read() -> None:
    store = MemoryStore([])
    query = HistoryQuery(NOW_MS - 30 * DAY_MS, NOW_MS, ids=("a", "b"), every_ms=STEP_MS)

    with pytest.raises(TooMuchError, match=r"1,036,800 values .* at most 1,000,000 .* larger every"):
        await ask_all(store, query, FACTS)
    assert store.reads == []


async def test_too_many_values_are_refused_with_the_number_and_a_hint(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("streams.stores.MAX_POINTS", 99)

    with pytest.raises(TooMuchError, match=r"more than 99 values .* shorter range"):
        await ask_all(MemoryStore(cluster()), whole(), FACTS)


async def test_what_the_store_finds_too_much_is_so(monkeypatch: pytest.MonkeyPatch) -> None:
    async def refuse(*_: object) -> list[Series]:
        raise TooMuchError("cut off")

    store = MemoryStore([])
    monkeypatch.setattr(store, "read", refuse)

    with pytest.raises(TooMuchError, match=r"1,000,000 values .* fewer ids"):
        await ask_all(store, whole(), FACTS)


@pytest.mark.parametrize(
    ("days", "fn", "every_ms", "coarse"),
    [
        (3, "mean", COARSE_MS, True),
        (3, None, 2 * COARSE_MS, True),
        (2, "mean", COARSE_MS, False),
        (3, "max", COARSE_MS, False),
        (3, "mean", COARSE_MS + 1, False),
        (3, "mean", None, False),
        (8, "mean", COARSE_MS, True),
        (8, "p95", DAY_MS, True),
        (8, "last", None, True),
        (8, None, None, True),
    ],
)
async def test_the_coarse_place_is_chosen_and_the_answer_says_so(
    days: int, fn: str | None, every_ms: int | None, coarse: bool
) -> None:
    store = MemoryStore(cluster(), coarse_ms=COARSE_MS)
    query = HistoryQuery(NOW_MS - days * DAY_MS, NOW_MS, fn=fn, every_ms=every_ms)

    answer = await ask_all(store, query, FACTS)

    assert answer.coarse is coarse
    assert ("means of 5 min" in answer.note) is coarse
    assert ("kept for 7 d" in answer.note) is (days > 7)
    assert ("p95 is that of these means" in answer.note) is (fn == "p95")
    assert answer.resolution_ms >= (COARSE_MS if coarse else STEP_MS)
    assert store.reads[0][0].coarse is coarse


@given(rows, st.sampled_from([COARSE_MS, 2 * COARSE_MS, 3 * COARSE_MS]), st.integers(0, 5))
async def test_the_newest_windows_are_made_of_values_as_means_come_late(
    written: list[Row], every_ms: int, later: int
) -> None:
    store = MemoryStore([tick_of("live", [row]) for row in written], coarse_ms=COARSE_MS)
    facts = replace(FACTS, now_ms=NOW_MS + later * COARSE_MS)
    query = HistoryQuery(NOW_MS - 3 * DAY_MS, NOW_MS + later * COARSE_MS, every_ms=every_ms)

    answer = await ask_all(store, query, facts)

    found = shown(answer)
    assert {key[:2] + key[3:] for key in found} == {key[:2] + key[3:] for key in expected(store, query)}
    newest_ms = facts.now_ms - 2 * COARSE_MS
    for key, points in expected(store, query).items():
        late = {at_ms: value for at_ms, value in points.items() if at_ms >= newest_ms // every_ms * every_ms}
        assert {at_ms: found[key][at_ms] for at_ms in late} == pytest.approx(late, abs=1e-9)
    for selection, _ in store.reads:
        assert selection.end_ms % every_ms == 0 or not selection.coarse


@pytest.mark.parametrize(("from_ms", "to_ms"), [(0, NOW_MS), (NOW_MS - 1_500_000, NOW_MS - 900_000)])
async def test_where_no_means_were_made_there_are_those_of_the_values(from_ms: int, to_ms: int) -> None:
    store = MemoryStore(cluster(NOW_MS - 3_000_000, 400), coarse_ms=COARSE_MS)
    store.missing = (from_ms, to_ms)
    query = HistoryQuery(NOW_MS - 3 * DAY_MS, NOW_MS - 700_000, every_ms=COARSE_MS)

    answer = await ask_all(store, query, FACTS)

    want = expected(store, query)
    found = shown(answer)
    assert found.keys() == want.keys()
    for key, points in want.items():
        assert found[key] == pytest.approx(points)
        assert list(found[key]) == sorted(points)


async def test_where_the_values_are_gone_holes_stay() -> None:
    store = MemoryStore([], coarse_ms=COARSE_MS)
    query = HistoryQuery(NOW_MS - 30 * DAY_MS, NOW_MS - 20 * DAY_MS, every_ms=DAY_MS)

    await ask_all(store, query, FACTS)

    assert [selection.coarse for selection, _ in store.reads] == [True]


@given(rows, queries, st.integers(1, 30))
async def test_pages_are_the_whole_in_parts(written: list[Row], query: HistoryQuery, limit: int) -> None:
    if query.function is None:
        query = replace(query, group_by="id")
    store = MemoryStore([tick_of("live", [row]) for row in written])
    all_of_it = await ask_all(store, query, FACTS)

    joined: dict[Key, dict[int, float]] = {}
    page = replace(query, limit=limit)
    while True:
        # The question is asked again later, and relative times have moved.
        moved = replace(page, start_ms=page.start_ms + 1, end_ms=page.end_ms + 1) if page.cursor else page
        answer = await ask(store, moved, FACTS)
        assert answer.points <= limit
        for key, points in shown(answer).items():
            assert not joined.get(key, {}).keys() & points.keys()
            joined.setdefault(key, {}).update(points)
        if answer.next is None:
            break
        assert answer.points == limit
        page = replace(page, cursor=answer.next)
    assert joined == shown(all_of_it)


async def test_a_cursor_is_of_its_question_alone() -> None:
    store = MemoryStore(cluster())
    query = whole(limit=7)
    cursor = (await ask(store, query, FACTS)).next
    assert cursor is not None

    assert (await ask(store, replace(query, cursor=cursor, limit=50), FACTS)).points == 50
    for other in ({"metrics": ("load1",)}, {"every_ms": 60_000}, {"world": "mars"}, {"ids": ("n1",)}):
        with pytest.raises(QueryError, match="of another question"):
            await ask(store, replace(query, cursor=cursor, **other), FACTS)


def sample() -> Answer:
    return Answer(
        whole(fn="mean"),
        5_000,
        coarse=True,
        note="Näher.",
        series=[
            HistorySeries("node", 'a,"b\n', "1", "load1", "1", True, 1, [1_500, 2_000], [0.1, float("inf")]),
            HistorySeries("node", None, "", "load1", "1", False, 3, [0], [1e300]),
        ],
        next="abc",
    )


def test_json_is_json_even_beyond_its_numbers() -> None:
    document = json.loads(encode(sample(), JSON))

    assert document == document_of(sample())
    assert document["series"][0]["values"] == [0.1, None]
    assert document["points"] == 3


def test_csv_has_a_row_for_each_point() -> None:
    assert encode(sample(), CSV).decode() == (
        "time,time_ms,kind,id,nodepool,metric,unit,simulated,value\r\n"
        '1970-01-01T00:00:01.500Z,1500,node,"a,""b\n",1,load1,1,true,0.1\r\n'
        '1970-01-01T00:00:02.000Z,2000,node,"a,""b\n",1,load1,1,true,inf\r\n'
        "1970-01-01T00:00:00.000Z,0,node,,,load1,1,false,1e+300\r\n"
    )


def test_arrow_has_the_same_columns() -> None:
    pa = pytest.importorskip("pyarrow")

    table = pa.ipc.open_stream(encode(sample(), ARROW)).read_all()
    nothing = pa.ipc.open_stream(encode(replace(sample(), series=[]), ARROW)).read_all()

    assert table.schema.equals(nothing.schema)
    assert nothing.num_rows == 0
    assert table["time"].cast(pa.int64()).to_pylist() == [1_500, 2_000, 0]
    assert table["id"].to_pylist() == ['a,"b\n', 'a,"b\n', None]
    assert table["simulated"].to_pylist() == [True, True, False]
    assert table["value"].to_pylist() == [0.1, float("inf"), 1e300]
    assert table.schema.metadata[b"Twin-Next-Cursor"] == b"abc"


def test_headers_can_be_sent_whatever_the_note() -> None:
    headers = headers_of(replace(sample(), note="λ\r\nX: y"))

    assert all(value.isascii() and value.isprintable() for value in headers.values())
