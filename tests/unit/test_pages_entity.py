"""The pure parts of the entity page: lines, ranges, the status band, values, neighbours, explanations."""

import asyncio
from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.domain.near import near_names
from streams.pages.charts import read_limits
from streams.pages.history import first_metrics
from streams.pages.links import badge, entity_path
from streams.pages.neighbours import Index, groups
from streams.pages.plots import POINTS, Line, broken, limit_mark, parse_limit, plot_options, window_ms
from streams.pages.ranges import InvalidRangeError, Range
from streams.pages.standing import band, happenings, segments, share_up, standings
from streams.pages.units import age_class
from streams.pages.values import COMPUTED, value_rows
from streams.pages.whydialog import why_html
from streams.rulebook import load_rulebook
from streams.stores import PastChange
from streams.web.whymodels import EXAMPLE

NOW = 1_795_000_000_000


@given(span_ms=st.integers(1, 10 * 365 * 86_400_000), step_ms=st.integers(100, 3_600_000))
def test_a_range_of_any_length_has_at_most_so_many_points(span_ms: int, step_ms: int) -> None:
    every_ms = window_ms(span_ms, step_ms)

    assert span_ms / (every_ms or step_ms) <= POINTS
    assert every_ms is None or every_ms >= step_ms


def test_windows_have_lengths_that_people_can_name() -> None:
    assert [window_ms(minutes * 60_000, 5_000) for minutes in (15, 60, 360, 1_440, 10_080)] == [
        None,
        10_000,
        60_000,
        300_000,
        1_800_000,
    ]


def test_a_line_breaks_where_values_are_absent_and_nowhere_else() -> None:
    points = broken([0, 5_000, 10_000, 60_000, 65_000], [1.0, 2.0, float("nan"), 4.0, None], 5_000)

    assert points == [(0, 1.0), (5_000, 2.0), (10_000, None), (10_001, None), (60_000, 4.0), (65_000, None)]


@pytest.mark.parametrize(
    ("text", "unit", "value"),
    [
        ("80", "%", 80.0),
        ("80 %", "%", 80.0),
        ("1.5 GiB", "B", 1.5 * 1024**3),
        ("10 MB/s", "B/s", 10e6),
        ("1,200", "W", 1200.0),
        ("-3", "1", -3.0),
        (" ", "%", None),
    ],
)
def test_limits_are_read_as_people_write_them(text: str, unit: str, value: float | None) -> None:
    assert parse_limit(text, unit) == value


@pytest.mark.parametrize("text", ["much", "80 W", "nan", "inf", "1.5 GiB/s", "--3"])
def test_a_limit_that_is_none_says_what_to_write(text: str) -> None:
    with pytest.raises(ValueError, match="write"):
        parse_limit(text, "B")


def test_an_axis_of_bytes_has_steps_at_powers_of_two_around_its_values() -> None:
    line = Line("m", 0, [(0, 6_194.0), (1, None), (2, 6_200.0)])

    axis = plot_options("B", [line], 0, 10)["yAxis"]

    assert axis["interval"] == 512
    assert axis["min"] < 6_194 < 6_200 < axis["max"]
    assert axis["min"] % 512 == axis["max"] % 512 == 0


def test_an_axis_without_values_is_left_to_the_chart() -> None:
    assert "min" not in plot_options("B", [], 0, 10)["yAxis"]


def test_a_unit_cannot_end_the_script_that_formats_it() -> None:
    options = plot_options("a'+alert(1)+'", [], 0, 1)

    assert options["yAxis"]["axisLabel"][":formatter"].count("'") == 2


def test_marks_are_of_the_limit_and_the_moment() -> None:
    data = limit_mark(80.0, [5])["data"]

    assert [(one.get("yAxis"), one.get("xAxis")) for one in data] == [(80.0, None), (None, 5)]
    assert limit_mark(None)["data"] == []


def test_a_range_ends_now_unless_a_moment_is_looked_at() -> None:
    live, past = Range("1h").bounds(NOW), Range("1h").bounds(NOW, NOW - 7_200_000)

    assert (live.end_ms, live.ends_now) == (NOW, True)
    assert past.start_ms < NOW - 7_200_000 < past.end_ms  # what followed is shown, too
    assert not past.ends_now
    assert Range("1h").bounds(NOW, NOW - 60_000).end_ms == NOW


def test_a_range_survives_its_way_through_the_url() -> None:
    for one in (Range(), Range("7d"), Range("custom", "-2h", "now")):
        params = {name: value for name, value in one.to_params().items() if value is not None}
        assert Range.from_params(params) == one
    assert Range.from_params({"range": "3 fortnights"}) == Range()


@pytest.mark.parametrize(
    ("start", "end", "field"),
    [
        ("yesterday", "now", "start"),
        ("-1h", "soon", "end"),
        ("-1h", "-2h", "end"),
        ("now", "now", "start"),
        ("-1h", "2026-11-24T03:12:00", "end"),
    ],
)
def test_a_wrong_end_of_a_range_is_named(start: str, end: str, field: str) -> None:
    with pytest.raises(InvalidRangeError) as caught:
        Range("custom", start, end).bounds(NOW)

    assert caught.value.field == field


def test_a_custom_range_that_ends_now_moves_on() -> None:
    assert Range("custom", "-2h", "now").bounds(NOW).ends_now
    assert not Range("custom", "-2h", "-1h").bounds(NOW).ends_now


def change(
    at_ms: int, status: str, reason: str = "", *, removed: bool = False, **attributes: str
) -> PastChange:
    text = "{" + ",".join(f'"{name}":"{value}"' for name, value in attributes.items()) + "}"
    return PastChange("node", "n1", "", False, at_ms, status, reason, text, removed)


def test_the_band_has_each_time_of_a_status_once_and_nothing_before_the_first() -> None:
    found = standings([change(10, "up"), change(20, "up"), change(30, "down", "silent"), change(45, "up")])

    parts = segments(found, 0, 50)

    assert [(part.start_ms, part.end_ms, part.status) for part in parts] == [
        (10, 30, "up"),
        (30, 45, "down"),
        (45, 50, "up"),
    ]
    assert share_up(parts) == pytest.approx(25 / 40)


@given(
    st.lists(st.tuples(st.integers(0, 100), st.sampled_from(["up", "down", "degraded"])), max_size=12),
    st.integers(0, 50),
    st.integers(51, 100),
)
def test_segments_are_in_order_do_not_overlap_and_stay_in_the_range(
    found: list[tuple[int, str]], start_ms: int, end_ms: int
) -> None:
    parts = segments([(at, status, "") for at, status in sorted(found)], start_ms, end_ms)

    assert all(start_ms <= part.start_ms < part.end_ms <= end_ms for part in parts)
    assert all(before.end_ms <= after.start_ms for before, after in pairwise(parts))


def test_an_entity_that_was_removed_is_neither_up_nor_down() -> None:
    parts = segments(standings([change(0, "up"), change(10, "up", removed=True)]), 0, 40)

    assert [part.status for part in parts] == ["up", "gone"]
    assert share_up(parts) == 1.0
    assert share_up([]) is None
    assert share_up(segments(standings([change(0, "unknown")]), 0, 40)) is None


def test_reasons_in_the_band_are_text_not_markup() -> None:
    html = band(segments(standings([change(0, "down", '"><script>')]), 0, 10), 0, 10)

    assert "<script>" not in html


def test_what_happened_is_said_newest_first_and_only_after_the_start() -> None:
    changes = [
        change(10, "up", nodepool="1"),
        change(20, "down", "silent for 16 s", nodepool="1"),
        change(25, "down", "scrape failed", nodepool="1"),
        change(30, "up", nodepool="2"),
        change(40, "up", removed=True),
        change(50, "unknown"),
    ]

    said = [(one.at_ms, one.what, one.why) for one in happenings(changes, 10)]

    assert said == [
        (50, "appeared, unknown", ""),
        (40, "removed", ""),
        (30, "nodepool: 1 → 2", ""),
        (30, "down → up", ""),
        (25, "still down", "scrape failed"),
        (20, "up → down", "silent for 16 s"),
    ]


def test_ages_are_judged_by_the_interval_of_their_source() -> None:
    assert [age_class(age_ms, 5_000) for age_ms in (0, 10_000, 10_001, 25_000, 25_001)] == [
        "age-fresh",
        "age-fresh",
        "age-late",
        "age-late",
        "age-stale",
    ]
    assert age_class(10**9, 0) == ""  # read on cue: no age is too old
    assert age_class(100_000, 60_000) == "age-fresh"


def entity(**more: Any) -> dict[str, Any]:
    found: dict[str, Any] = {
        "metrics": {
            "own_metric": {"value": 3.0, "observed_at_ms": NOW, "quality": "measured", "source": "s"},
            "mem_total_bytes": {
                "value": 4.0 * 1024**3,
                "observed_at_ms": NOW - 60_000,
                "quality": "measured",
                "source": "s",
            },
        },
        "aligned": {
            "tick_ms": NOW - 5_000,
            "complete": True,
            "values": {"mem_total_bytes": 4.0 * 1024**3, "load1": 0.5},
            "qualities": {"mem_total_bytes": "held", "load1": "interpolated"},
        },
        "features": {"forecast": 1.5},
        "sources": {"s": {"interval_ms": 5_000}},
    }
    return found | more


def test_each_metric_has_a_row_in_the_order_of_the_catalogue_and_features_come_last() -> None:
    rows = value_rows(entity(), load_rulebook().catalogue, NOW)

    assert [row["metric"] for row in rows] == ["load1", "mem_total_bytes", "own_metric", "forecast"]
    load, mem, own, forecast = rows
    assert (load["value"], load["aligned"], load["mark"]) == ("–", "0.500", "~")
    assert (mem["value"], mem["age_class"], mem["mark"]) == ("4 GiB", "age-stale", "=")
    assert own["doc"] == "not in the catalogue"
    assert (forecast["value"], forecast["source"]) == ("1.500", COMPUTED)


def test_an_entity_without_values_has_no_rows() -> None:
    empty = {"tick_ms": 0, "complete": False, "values": {}, "qualities": {}}

    assert value_rows(entity(metrics={}, aligned=empty, features={}), load_rulebook().catalogue, NOW) == []


INDEX = Index(
    {
        "1": [("device", "d1"), ("link", "1~2"), ("node", "a"), ("node", "b")],
        "2": [("link", "1~2"), ("link", "2~1")],
    },
    {"a": [("device", "gpu0"), ("job", "j1")]},
    {},
    0.0,
)


def titles(kind: str, id: str, **attributes: str) -> dict[str, list[str]]:
    return {group.title: [key[1] for key in group.members] for group in groups(INDEX, kind, id, attributes)}


def test_a_node_has_its_pool_the_others_in_it_and_what_is_on_it() -> None:
    assert titles("node", "a", nodepool="1") == {
        "Pool": ["1"],
        "On this node": ["gpu0", "j1"],
        "Nodes of the pool": ["b"],
        "Devices of the pool": ["d1"],
        "Links of the pool": ["1~2"],
    }


def test_a_pool_has_members_and_links_and_a_link_its_pools_and_the_way_back() -> None:
    assert titles("nodepool", "1") == {"Nodes": ["a", "b"], "Devices": ["d1"], "Links": ["1~2"]}
    assert titles("link", "1~2", nodepool_a="1", nodepool_b="2") == {
        "Pools": ["1", "2"],
        "The way back": ["2~1"],
    }
    assert titles("node", "lonely") == {}


def test_paths_and_badges_carry_any_text() -> None:
    assert entity_path("job", "a/b ?#%") == "/entity/job/a%2Fb%20%3F%23%25"
    assert entity_path("link", "1~2") == "/entity/link/1~2"
    assert badge("<b>", 'x" onload="y') == '<span class="twin-badge x&quot; onload=&quot;y">&lt;b&gt;</span>'


def test_metrics_that_move_are_shown_first() -> None:
    assert first_metrics(["number_of_cores", "power_watts", "cpu_usage_percent"]) == [
        "cpu_usage_percent",
        "power_watts",
    ]
    assert first_metrics(["b", "a"]) == ["a", "b"]
    assert read_limits("%:80,B/s:10MiB/s,nonsense") == {"%": "80", "B/s": "10MiB/s"}


def examples() -> Iterator[dict[str, Any]]:
    example: dict[str, Any] = dict(EXAMPLE)
    yield example
    yield example | {"value": None, "samples": [], "rule": "", "found": "nothing", "observed_at_ms": None}
    yield example | {
        "changes": [{"fault": "<f>", "kind": "x", "owner": "", "before": 1.0, "after": 2.0, "text": "a & b"}],
        "missing": ["<i>the log</i>"],
        "complete": False,
        "tick_ms": NOW,
    }


def test_an_explanation_names_rule_conversion_and_place_and_escapes_what_others_wrote() -> None:
    whole, nothing, changed = map(why_html, examples())

    for text in ("decice_v2.yaml:87", "twin.observation.v1/3@1234", "twin.scrape.v1/1@567", "× 1.04858e+06"):
        assert text in whole
    assert "no value" in nothing
    assert "&lt;f&gt;" in changed
    assert "&lt;i&gt;" in changed
    assert "<i>the" not in changed


def test_names_near_a_wrong_one_are_found() -> None:
    assert near_names("jetson-nano-33", ["jetson-nano-3", "ws2"]) == ["jetson-nano-3"]


def test_the_index_is_made_once_for_all_who_ask(monkeypatch: pytest.MonkeyPatch) -> None:
    from streams.pages import neighbours
    from streams.replica.holdings import Holdings
    from streams.replica.view import WorldView

    made = []

    async def make(holdings: Holdings) -> Index:
        made.append(holdings)
        await asyncio.sleep(0)
        return INDEX._replace(until_s=float("inf"))

    monkeypatch.setattr(neighbours, "_make_index", make)
    view = WorldView(Holdings("live"), dict)

    async def ask() -> list[Index]:
        first = await asyncio.gather(*(neighbours.index_of(view) for _ in range(3)))
        return [*first, await neighbours.index_of(view)]

    assert len({id(index) for index in asyncio.run(ask())}) == 1
    assert len(made) == 1
