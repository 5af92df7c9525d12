"""Ticks as lines of VictoriaMetrics and as samples of Prometheus: both hold the same."""

import math
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from streams.errors import InvalidMessageError
from streams.records import Tick
from streams.settings import load_settings
from streams.stores import Store, open_store
from streams.stores.prometheus.remotewrite import decode_labels
from tests.history_model import Row, change_of, tick_of
from tests.history_suite import catalogue_fields

Point = tuple[tuple[tuple[str, str], ...], int, float]
"""Labels with the name, time, value."""

texts = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\n\r"), max_size=6) | st.text(
    "a\\, =\"'%", max_size=6
)
rows = st.builds(
    Row,
    st.sampled_from(["node", "nodepool", "link"]),
    texts.filter(bool),
    texts,
    st.integers(-5, 2**45),
    st.dictionaries(
        texts.filter(bool) | st.sampled_from(["load1", "power_watts", "value"]), st.floats(), max_size=4
    ),
    simulated=st.booleans(),
)


@pytest.fixture(scope="module")
def victoria() -> Store:
    """Its driver, which contacts nobody here."""
    return open_store(load_settings(history_url="victoriametrics+http://a:1"), catalogue_fields())


@pytest.fixture(scope="module")
def prometheus() -> Store:
    """Its driver, which contacts nobody here."""
    return open_store(load_settings(history_url="prometheus+http://a:1"), catalogue_fields())


def points_of_line(line: str) -> list[Point]:
    """The samples of a line as VictoriaMetrics reads it: a backslash escapes signs of the format."""
    parts: list[list[str]] = [[""]]
    place = 0
    sections = 0
    while sections < 1:
        sign = line[place]
        if sign == "\\" and line[place + 1] in " ,=\\":
            parts[-1][-1] += line[place + 1]
            place += 1
        elif sign == ",":
            parts.append([""])
        elif sign == "=":
            parts[-1].append("")
        elif sign == " ":
            sections += 1
        else:
            parts[-1][-1] += sign
        place += 1
    assert parts[0] == [""]
    labels = dict(parts[1:])
    assert len(labels) == len(parts) - 1
    fields, time = line[place:].split(" ")
    return [
        (tuple(sorted((labels | {"__name__": name}).items())), int(time), float(value))
        for name, value in (field.split("=") for field in fields.split(","))
    ]


@given(st.lists(rows, max_size=4), st.sampled_from(["live", "live~a b", "w\\"]))
@example([Row("node", "a\\", "\\", 5, {"%s": 1.0, "load1": 1e-300, "x": 1.7e308, "y": 1.7e308})], "live")
def test_both_hold_the_same(victoria: Store, prometheus: Store, some: list[Row], world: str) -> None:
    tick = tick_of(
        world, some, [change_of(row.kind, row.id, row.tick_ms, nodepool=row.nodepool) for row in some]
    )

    lines, samples = victoria.convert(tick), prometheus.convert(tick)

    assert not any("\n" in line for line in lines)
    found = sorted(point for line in lines for point in points_of_line(line))
    assert found == sorted(
        (tuple(sorted(decode_labels(sample.series).items())), sample.at_ms, sample.value)
        for sample in samples
    )
    values = sum(math.isfinite(value) for row in some for value in row.values.values())
    assert len(found) == values + len(some)


def test_a_row_is_one_line(victoria: Store) -> None:
    values = {"cpu_usage_percent": 31.25, "mem_total_bytes": 64e9, "beard-cm": 0.1}

    lines = victoria.convert(tick_of("live", [Row("node", "ws01", "1", 1_751_552_580_000, values)]))

    tags = ",node_id=ws01,nodepool_id=1,simulated=false,world=live"
    assert lines == [
        f"{tags} cpu_usage_cpu_usage_percent=31.25,memory_usage_mem_total_bytes=64000000000.0 1751552580000",
        f"{tags},metric=beard-cm other_value=0.1 1751552580000",
    ]


def test_a_change_is_a_number(victoria: Store, prometheus: Store) -> None:
    changes = [
        change_of("node", "n1", 7_000, status=status, removed=not status)
        for status in ("up", "degraded", "down", "unknown", "")
    ]

    lines = victoria.convert(tick_of("live", [], changes))

    tags = ",node_id=n1,simulated=false,world=live"
    assert lines == [f"{tags} entity_state_status={code} 7000" for code in (1, 2, 3, 0, -1)]
    assert [sample.value for sample in prometheus.convert(tick_of("live", [], changes))] == [1, 2, 3, 0, -1]


@pytest.mark.parametrize("driver", ["victoria", "prometheus"])
@pytest.mark.parametrize(
    ("column", "value"),
    [("ids", []), ("sizes", [2]), ("metrics", [7]), ("metrics", [-1]), ("change_ids", ["a"])],
)
def test_columns_that_do_not_fit_are_refused(
    driver: str, column: str, value: list[Any], request: pytest.FixtureRequest
) -> None:
    tick: Any = tick_of("live", [Row("node", "n1", "1", 5_000, {"load1": 1.0})])
    tick[column] = value

    with pytest.raises(InvalidMessageError):
        request.getfixturevalue(driver).convert(tick)


@pytest.mark.parametrize("driver", ["victoria", "prometheus"])
def test_an_item_is_shown_as_text(driver: str, request: pytest.FixtureRequest) -> None:
    store: Store = request.getfixturevalue(driver)
    tick: Tick = tick_of("live", [Row("node", "nö1", "1", 5_000, {"load1": 1.5})])

    (item,) = store.convert(tick)

    for part in ("nö1", "load_load1", "1.5", "5000"):
        assert part in store.show(item).decode()
