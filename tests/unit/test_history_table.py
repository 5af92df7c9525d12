import io
from typing import Any

from hypothesis import example, given
from hypothesis import strategies as st
from rich.console import Console

from streams.history.query import Answer, HistoryQuery, HistorySeries
from streams.tools.historytable import NUMBERS, HistoryTables
from streams.tools.sparkline import BLOCKS, FLAT, sparkline

START_MS = 1_795_521_000_000
MINUTE_MS = 60_000


def series(**more: Any) -> HistorySeries:
    fields: dict[str, Any] = {
        "kind": "node",
        "id": "ws01",
        "nodepool": "1",
        "metric": "cpu_usage_percent",
        "unit": "%",
        "simulated": False,
        "entities": 1,
        "times_ms": [START_MS, START_MS + MINUTE_MS],
        "values": [10.0, 20.0],
    }
    return HistorySeries(**(fields | more))


def drawn(*several: HistorySeries, width: int = 80, note: str = "", **more: Any) -> list[str]:
    query = HistoryQuery(START_MS, START_MS + 10 * MINUTE_MS, every_ms=MINUTE_MS, fn="mean", **more)
    console = Console(file=io.StringIO(), width=width, highlight=False)
    console.print(HistoryTables(width, {}).draw(Answer(query, MINUTE_MS, False, note, list(several))))
    assert isinstance(console.file, io.StringIO)
    return [line.rstrip() for line in console.file.getvalue().splitlines()]


def test_a_line_goes_from_the_least_to_the_greatest_and_leaves_gaps() -> None:
    assert sparkline([0, 10, 30], [1.0, 8.0, 4.0], 0, 40, 4) == "▁█ ▄"


def test_what_is_narrower_than_its_values_shows_their_means() -> None:
    assert sparkline([0, 10, 20, 30], [0.0, 2.0, 8.0, 10.0], 0, 40, 2) == "▁█"


def test_what_does_not_change_but_by_rounding_is_flat() -> None:
    assert sparkline([0, 1], [0.1 + 0.2, 0.3], 0, 2, 2) == FLAT * 2
    assert sparkline([0, 1], [0.0, 0.0], 0, 2, 2) == FLAT * 2
    assert sparkline([], [], 0, 2, 2) == "  "


@example({0: 8.99e307, 1: 8.99e307}, 1)
@given(
    st.dictionaries(st.integers(0, 99), st.floats(allow_nan=False, allow_infinity=False)), st.integers(1, 120)
)
def test_any_values_are_blocks(points: dict[int, float], width: int) -> None:
    times = sorted(points)

    line = sparkline(times, [points[at] for at in times], 0, 100, width)

    assert len(line) == width
    assert set(line) <= {*BLOCKS, " "}
    assert points == {} or line.strip()


def test_one_metric_of_several_entities_is_one_table() -> None:
    lines = drawn(series(), series(id="ws02", simulated=True, values=[1.0, 3.0]))

    assert lines[0] == "world live, 2026-11-24 11:50:00 to 12:00:00 UTC, resolution 60s"
    assert lines[2] == "node cpu_usage_percent [%]"
    assert lines[3].split() == list(NUMBERS)
    assert lines[4].split() == ["ws01", "10.0", "15.0", "20.0", "20.0", "▁█"]
    assert lines[5].split() == ["ws02", "sim", "1.0", "2.0", "3.0", "3.0", "▁█"]


def test_several_metrics_of_one_entity_are_one_table() -> None:
    lines = drawn(series(), series(metric="mem_total_bytes", unit="B", values=[2.0**30, 2.0**30]), note="Hm.")

    assert lines[2] == "node ws01"
    assert lines[5].split() == ["mem_total_bytes", *["1", "GiB"] * 4, FLAT * 2]
    assert lines[-1] == "Hm."


def test_groups_say_how_many_are_in_them() -> None:
    pool = drawn(series(id=None, entities=3), group_by="nodepool")
    kind = drawn(series(id=None, nodepool="", entities=4), group_by="kind")

    assert pool[4].startswith("pool 1 (3) ")
    assert kind[4].startswith("all together (4) ")


def test_long_and_strange_names_fit_the_width() -> None:
    long = series(
        id="x" * 90 + "\x1b[31m\n",
        metric="network_transmit_bytes_per_s",
        unit="B/s",
        simulated=True,
        values=[-1.234e12, 5.678e12],
    )
    other = long._replace(metric="m" * 70)

    for some in ([long], [long, other], [long, long._replace(id="y")]):
        lines = drawn(*some)
        assert max(map(len, lines)) <= 80
        assert "\x1b" not in "".join(lines)


def test_what_is_no_number_is_not_printed() -> None:
    lines = drawn(series(values=[float("inf"), 1.0]))

    assert "inf" not in "".join(lines)
    assert "nan" not in "".join(lines)
