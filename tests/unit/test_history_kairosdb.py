"""What is posted to KairosDB and asked of it, and what is made of its answers: all without a server."""

import asyncio
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams import stores
from streams.errors import InvalidMessageError, SettingsError, StoreError, TooMuchError
from streams.settings import load_settings
from streams.stores import Selection, Window, open_store
from streams.stores.http import parse_address
from streams.stores.kairosdb import KairosStore
from streams.stores.kairosdb.client import Faults, KairosClient
from streams.stores.kairosdb.points import CHANGE, QUALITY, PointFormat, Points, decode, encode
from streams.stores.kairosdb.read import MAX_IDS, KairosReader
from streams.stores.kairosdb.refused import post_all
from tests.history_model import Row, change_of, tick_of

FIELDS = {"load1": ("load", "load1"), "power_watts": ("power", "power_watts")}
AT_MS = 1_000_000
NASTY = [
    "a b",
    "regex:.*",
    "x' OR '1'='1",
    'a"b',
    "a\\b",
    "a\nb",
    "ä漢😀",
    "%41",
    "ends\\",
    "a=b,c{}",
    "\x00",
]


def points(*args: Any) -> list[dict[str, Any]]:
    """What would be posted for a tick."""
    items = PointFormat(FIELDS).to_points(tick_of(*args))
    posted = json.loads(f"[{','.join(item.text for item in items)}]")
    assert sum(item.size for item in items) == len(posted)
    return list(posted)


def test_a_row_is_a_data_point_for_each_value_and_one_for_what_is_known_of_them() -> None:
    row = Row("node", "n1", "p", AT_MS, {"power_watts": 1e22, "load1": -0.5, "odd one": 3.0}, complete=False)

    posted = points("live", [row])

    assert [(point["name"], point["type"], point["datapoints"]) for point in posted] == [
        ("power.power_watts", "double", [[AT_MS, 1e22]]),
        ("load.load1", "double", [[AT_MS, -0.5]]),
        ("other.odd%20one", "double", [[AT_MS, 3.0]]),
        # The values have the qualities 0, 1, 2, and their names another order.
        (QUALITY, "string", [[AT_MS, "120 false"]]),
    ]
    assert all(
        point["tags"]
        == {
            "id": "n1",
            "kind": "node",
            "node_id": "n1",
            "nodepool_id": "p",
            "simulated": "false",
            "world": "live",
        }
        for point in posted
    )


def test_a_nodepool_has_its_id_once_and_an_entity_without_a_pool_has_no_such_tag() -> None:
    pool, link = points(
        "live",
        [],
        [change_of("nodepool", "1", AT_MS, nodepool="1"), change_of("link", "1~2", AT_MS, simulated=True)],
    )

    assert pool["tags"]["nodepool_id"] == "1"
    assert link["tags"] == {
        "id": "1~2",
        "kind": "link",
        "link_id": "1~2",
        "simulated": "true",
        "world": "live",
    }


def test_what_is_no_number_is_not_posted_and_its_quality_neither() -> None:
    values = {"load1": float("nan"), "power_watts": 2.0, "x": float("-inf")}

    posted = points(
        "live", [Row("node", "n1", "", AT_MS, values), Row("node", "n2", "", AT_MS, {"x": -1e999})]
    )

    assert [(point["name"], point["datapoints"]) for point in posted] == [
        ("power.power_watts", [[AT_MS, 2.0]]),
        (QUALITY, [[AT_MS, "1 true"]]),
    ]


def test_a_change_is_a_text_that_holds_all_of_it() -> None:
    (posted,) = points(
        "live", [], [change_of("node", "n1", AT_MS, status="down", reason='"\\', attributes='{"a": "ä"}')]
    )

    assert posted["name"] == CHANGE
    ((at_ms, text),) = posted["datapoints"]
    assert at_ms == AT_MS
    assert json.loads(text) == {
        "status": "down",
        "reason": '"\\',
        "attributes": '{"a": "ä"}',
        "removed": False,
    }


@pytest.mark.parametrize("text", NASTY)
def test_tags_and_names_hold_no_character_that_means_something_to_the_server(text: str) -> None:
    posted = points(text, [Row("node", text, text, AT_MS, {text: 1.0})])

    for point in posted:
        for value in (point["name"], *point["tags"], *point["tags"].values()):
            assert value.isascii()
            assert not set(value) & set(" \"'\\:=,{}()*\n\x00")


@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_each_text_comes_back_as_it_was(text: str) -> None:
    assert decode(encode(text)) == text


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("qualities", [0]),
        ("qualities", [0, 10]),
        ("qualities", [0, -1]),
        ("complete", []),
        ("metrics", [0, 2]),
        ("metrics", [-1, 0]),
        ("sizes", [1]),
    ],
)
def test_columns_that_do_not_fit_together_are_no_tick(column: str, value: list[int]) -> None:
    tick = tick_of("live", [Row("node", "n1", "", AT_MS, {"load1": 1.0, "power_watts": 2.0})])
    tick[column] = value  # type: ignore[literal-required]

    with pytest.raises(InvalidMessageError):
        PointFormat(FIELDS).to_points(tick)


class Server:
    """Takes posts as KairosDB does: it keeps the good, and tells the numbers of the bad, or only why."""

    def __init__(self, *, numbers: bool = True) -> None:
        self.numbers = numbers
        self.kept: set[str] = set()
        self.posts = 0

    async def post(self, texts: list[str]) -> Faults | None:
        self.posts += 1
        names = json.loads(f"[{','.join(texts)}]")
        self.kept |= {name for name in names if "bad" not in name}
        bad = [number for number, name in enumerate(names) if "bad" in name]
        if not bad:
            return None
        if self.numbers:
            return Faults(400, [f"metric[{number}](name=x).tag[y].value may not be empty." for number in bad])
        return Faults(400, ["Unregistered data point type 'bad'"])


def batch(*sizes: int, bad: tuple[int, ...] = ()) -> list[Points]:
    """Items of so many data points; of those that are bad the last one is."""
    items = []
    for place, size in enumerate(sizes):
        names = [f"{place}.{number}" for number in range(size)]
        if place in bad:
            names[-1] += "bad"
        items.append(Points(",".join(map(json.dumps, names)), size))
    return items


async def test_the_items_of_refused_data_points_are_told_and_nothing_is_posted_again() -> None:
    server = Server()

    refusals = await post_all(batch(3, 1, 2, 4, bad=(1, 2)), server.post)

    assert [(refusal.index, refusal.reason) for refusal in refusals] == [(1, "data_point"), (2, "data_point")]
    assert "metric[3]" in refusals[0].error
    assert server.posts == 1


async def test_what_is_refused_without_a_number_is_found_by_posting_less() -> None:
    server = Server(numbers=False)

    refusals = await post_all(batch(*[1] * 64, bad=(9, 50)), server.post)

    assert [refusal.index for refusal in refusals] == [9, 50]
    assert server.posts < 40
    assert len(server.kept) == 62


async def test_a_number_beyond_the_batch_blames_nobody_for_it() -> None:
    async def post(texts: list[str]) -> Faults | None:
        return Faults(400, ["metric[7].name may not be empty."]) if len(texts) > 1 else None

    assert await post_all(batch(1, 1), post) == []


async def test_a_post_that_is_too_large_is_halved_and_a_single_item_refused() -> None:
    async def post(texts: list[str]) -> Faults | None:
        return Faults(413, ["too large"]) if len(texts) > 2 or "3." in texts[0] else None

    (refusal,) = await post_all(batch(*[1] * 7), post)

    assert (refusal.index, refusal.reason) == (3, "too_large")


async def test_a_text_beyond_what_the_server_holds_is_refused_because_it_would_be_dropped() -> None:
    long = [change_of("node", "n1", AT_MS, attributes="x" * 70_000), change_of("node", "n2", AT_MS)]
    items = PointFormat(FIELDS).to_points(tick_of("live", [], long))
    posted: list[str] = []

    async def post(texts: list[str]) -> None:
        posted.extend(texts)

    (refusal,) = await post_all(items, post)

    assert (refusal.index, refusal.reason) == (0, "too_large")
    assert "65535" in refusal.error
    assert posted == [items[1].text]


class FakeClient(KairosClient):
    """Answers as it is told, and remembers what it was asked."""

    def __init__(self, *answers: Any) -> None:
        super().__init__("http://kairos.test", load_settings())
        self.answers = list(answers)
        self.asked: list[Any] = []

    async def query(self, body: Any) -> Any:
        self.asked.append(body)
        return (
            self.answers.pop(0) if self.answers else {"queries": [{"results": []} for _ in body["metrics"]]}
        )

    async def get(self, path: str) -> Any:
        return {"results": ["load.load1", "kairosdb.jvm.memory", "other.odd%20one", "tick.quality"]}


def answer(values: list[list[Any]], by: tuple[str, ...] = ("node", "n1", "", "false")) -> dict[str, Any]:
    """An answer to a query of one metric, with one group."""
    tags = ("kind", "id", "nodepool_id", "simulated")[: len(by)]
    group = {"name": "tag", "tags": list(tags), "group": dict(zip(tags, by, strict=True))}
    kind = {"name": "type", "type": "text" if isinstance(values[0][1], str) else "number"}
    return {
        "queries": [{"results": [{"name": "x", "group_by": [group, kind], "tags": {}, "values": values}]}]
    }


def reader(client: KairosClient) -> KairosReader:
    """A reader with two metrics in its catalogue."""
    return KairosReader(client, FIELDS)


async def test_filters_hold_what_was_written_and_the_end_is_not_in_the_range() -> None:
    client = FakeClient()

    await reader(client).read(Selection(1, 9, "live~a'", ("node",), tuple(NASTY), ("load1",)))

    (asked,) = client.asked
    assert (asked["start_absolute"], asked["end_absolute"]) == (1, 8)
    (metric,) = asked["metrics"]
    assert metric["tags"] == {
        "world": [encode("live~a'")],
        "kind": ["node"],
        "id": [encode(text) for text in NASTY],
    }


async def test_all_metrics_are_those_of_the_catalogue_and_of_other_that_the_server_knows() -> None:
    client = FakeClient()

    await reader(client).read(Selection(1, 9))

    assert [asked["metrics"][0]["name"] for asked in client.asked] == ["load.load1", "other.odd%20one"]


async def test_a_window_that_the_selection_cuts_is_asked_for_alone() -> None:
    client = FakeClient(
        answer([[1_500, 5.0]], ("node", "n1")),
        answer([[2_000, 6.0], [4_000, 7.0]], ("node", "n1")),
        answer([[4_100, 1.0]]),
    )

    (series,) = await reader(client).read(Selection(1_500, 4_500, metrics=("load1",)), Window(2_000, "mean"))

    assert [(asked["start_absolute"], asked["end_absolute"]) for asked in client.asked[:2]] == [
        (1_500, 1_999),
        (2_000, 4_499),
    ]
    assert client.asked[0]["metrics"][0]["aggregators"] == [
        {"name": "avg", "align_start_time": True, "sampling": {"value": 2_000, "unit": "milliseconds"}}
    ]
    assert (series.times_ms, series.values) == ([0, 2_000, 4_000], [5.0, 6.0, 7.0])


async def test_more_ids_than_a_filter_takes_are_left_to_us() -> None:
    ids = tuple(f"n{number}" for number in range(MAX_IDS + 1))
    client = FakeClient(
        {
            "queries": [
                {
                    "results": answer([[5, 1.0]])["queries"][0]["results"]
                    + answer([[5, 2.0]], ("node", "other", "", "false"))["queries"][0]["results"]
                }
            ]
        }
    )

    found = await reader(client).read(Selection(1, 9, ids=ids, metrics=("load1",)))

    assert "id" not in client.asked[0]["metrics"][0]["tags"]
    assert [series.id for series in found] == ["n1"]


async def test_a_text_among_the_numbers_of_a_metric_is_left_out() -> None:
    client = FakeClient(answer([[5, "by somebody else"]]))

    assert await reader(client).read(Selection(1, 9, metrics=("load1",))) == []


async def test_a_change_that_the_twin_did_not_write_is_named() -> None:
    with pytest.raises(StoreError, match="node n1 at 5 ms"):
        await reader(FakeClient(answer([[5, "{}"]]))).read_changes(Selection(1, 9), newest=False)


@pytest.mark.parametrize("selection", [Selection(9, 9), Selection(9, 1)])
async def test_an_empty_range_asks_nothing(selection: Selection) -> None:
    client = FakeClient()

    assert await reader(client).read(selection) == []
    assert await reader(client).read_ticks(selection) == []
    assert await reader(client).read_changes(selection, newest=True) == []
    assert client.asked == []


async def test_a_tick_of_which_a_value_is_missing_has_no_qualities_rather_than_wrong_ones() -> None:
    newest = answer([[5_000, "012 true"]], ("node", "n1", "p", "true"))
    values = answer([[5_000, 2]], ("node", "n1"))["queries"] * 2
    client = FakeClient(newest, {"queries": values})

    (tick,) = await reader(client).read_ticks(Selection(0, 9_000))

    assert tick[:6] == ("node", "n1", "p", True, 5_000, True)
    assert (tick.names, tick.values, tick.qualities) == (["load1", "odd one"], [2.0, 2.0], None)


@pytest.mark.parametrize(
    "odd",
    [
        None,
        {},
        {"queries": []},
        {"queries": [{"results": [{"values": [[1]]}]}]},
        {"queries": [{"results": [{"values": [[1, 2]], "group_by": []}]}]},
        {"queries": None},
        [],
    ],
)
async def test_an_answer_that_is_none_of_kairosdb_is_an_error_that_names_it(odd: Any) -> None:
    with pytest.raises(StoreError, match=r"http://kairos\.test"):
        await reader(FakeClient(odd)).read(Selection(1, 9, metrics=("load1",)))


async def test_values_of_several_metrics_are_counted_together(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stores, "MAX_POINTS", 3)
    two = [[1, 1.0], [2, 2.0]]

    with pytest.raises(TooMuchError, match="more than 3"):
        await reader(FakeClient(answer(two), answer(two))).read(
            Selection(1, 9, metrics=("load1", "power_watts"))
        )


async def test_a_read_is_given_up_when_its_time_is_over(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stores, "READ_TIMEOUT_S", 0.01)

    class Hanging(FakeClient):
        async def query(self, body: Any) -> Any:
            await asyncio.Event().wait()

    with pytest.raises(StoreError, match=r"within 0\.01 s"):
        await reader(Hanging()).read_changes(Selection(1, 9), newest=True)


@pytest.mark.parametrize(
    ("text", "url"),
    [
        ("kairosdb+http://host:8080", "http://host:8080"),
        ("kairosdb+https://host", "https://host"),
        ("kairosdb+http://[::1]:8080/base/", "http://[::1]:8080/base"),
    ],
)
def test_address_is_what_follows_the_name_of_the_store(text: str, url: str) -> None:
    assert parse_address(text, "kairosdb") == url


@pytest.mark.parametrize(
    "text",
    [
        "kairosdb+http://",
        "kairosdb+http:///x",
        "kairosdb+http://host:none",
        "kairosdb+http://host:99999",
        "kairosdb+http://host:0",
        "kairosdb+http://user:hidden@host:8080",
        "kairosdb+http://host:8080?token=hidden",
    ],
)
def test_address_that_cannot_be_used_is_told_without_its_secrets(text: str) -> None:
    with pytest.raises(SettingsError, match="TWIN_HISTORY_URL") as caught:
        parse_address(text, "kairosdb")
    assert "hidden" not in str(caught.value)


def test_settings_name_the_store_and_its_label_holds_no_token() -> None:
    store = open_store(
        load_settings(history_url="kairosdb+https://host:8080", history_token="hidden"),
        FIELDS,
    )

    assert isinstance(store, KairosStore)
    assert store.label == "KairosDB at https://host:8080"


def test_authority_that_is_no_file_is_told_at_once() -> None:
    with pytest.raises(SettingsError, match="TWIN_HISTORY_CA_FILE"):
        open_store(load_settings(history_url="kairosdb+https://h", history_ca_file="/none"), FIELDS)
