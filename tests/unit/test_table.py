from collections.abc import Mapping
from io import StringIO
from typing import Any

import pytest
from rich.console import Console

from streams.domain.catalogue import Catalogue, Metric
from streams.domain.stamp import Stamp
from streams.domain.view import entity_view
from streams.tools.table import Tables
from tests.factories import NOW_MS, make_state

STAMP: Stamp = {
    "world": "live",
    "entities": 1,
    "tick_ms": NOW_MS - 5_000,
    "clock_ms": NOW_MS,
    "complete_share": 0.5,
    "oldest_observed_ms": NOW_MS,
    "offsets": {},
}


def metric(name: str, unit: str) -> Metric:
    return Metric(name, unit, "gauge", None, None, "m", "f", "", "")


CATALOGUE = Catalogue(
    {
        "power_watts": metric("power_watts", "W"),
        "cpu_usage_percent": metric("cpu_usage_percent", "%"),
        "mem_total_bytes": metric("mem_total_bytes", "B"),
        "network_receive_bytes_per_s": metric("network_receive_bytes_per_s", "B/s"),
    }
)


def draw(*entities: Mapping[str, Any], width: int | None = None, aligned: bool = False) -> str:
    out = StringIO()
    console = Console(file=out, width=width or 1_000, highlight=False)
    console.print(Tables(CATALOGUE, width, aligned).draw(STAMP, entities, NOW_MS))
    return "\n".join(line.rstrip() for line in out.getvalue().splitlines())


def test_a_row_has_values_with_units_age_and_status() -> None:
    drawn = draw(entity_view(make_state()))

    row = drawn.splitlines()[-1].split()
    assert row == ["ws01", "1", "up", "0.2s", "31.2", "251", "GiB", "1.54", "kB/s"]
    assert "world live, 1 entities, tick 14:23:00 UTC (5.0s ago), 50% complete" in drawn
    assert "node (1): 1 up" in drawn


def test_the_header_has_the_whole_name_and_the_unit() -> None:
    header = draw(entity_view(make_state())).splitlines()[3:7]

    assert [line.split() for line in header] == [
        ["network_"],
        ["cpu_usage_", "mem_total_", "receive_bytes_"],
        ["percent", "bytes", "per_s"],
        ["id", "pool", "status", "age", "%"],
    ]


def test_kinds_have_tables_of_their_own_in_a_fixed_order() -> None:
    drawn = draw(*(entity_view(make_state(kind=kind)) for kind in ("zebra", "link", "node", "cluster")))

    titles = [line.split(" ")[0] for line in drawn.splitlines() if "(1):" in line]
    assert titles == ["cluster", "node", "link", "zebra"]


def test_absent_is_a_dash() -> None:
    with_power = make_state(head_names=["power_watts"] * 3, id="a")

    drawn = draw(entity_view(with_power), entity_view(make_state(id="b")))

    cells = [line.split()[4:] for line in drawn.splitlines()[-2:]]
    assert cells == [["-", "-", "31.2", "-"], ["31.2", "251", "GiB", "-", "1.54", "kB/s"]]


def test_simulated_values_say_so() -> None:
    assert " sim " in draw(entity_view(make_state(simulated=True)))
    assert " sim " not in draw(entity_view(make_state()))


def test_the_reason_of_a_status_is_shown() -> None:
    drawn = draw(entity_view(make_state(status="down", status_reason="node_exporter: silent")))

    assert drawn.splitlines()[-1].endswith("node_exporter: silent")


def test_an_old_value_shows_its_age() -> None:
    drawn = draw(entity_view(make_state(head_times_ms=[NOW_MS, NOW_MS - 60_000, NOW_MS])))

    assert "251 GiB -60s" in drawn
    assert "so much older" in drawn.splitlines()[-1]


def test_aligned_values_carry_marks_of_quality() -> None:
    drawn = draw(entity_view(make_state()), aligned=True)

    assert "30.9~" in drawn
    assert "251 GiB=" in drawn
    assert drawn.splitlines()[-1] == "= held; ~ interpolated"


@pytest.mark.parametrize("width", [40, 60, 80, 120])
def test_no_line_is_wider_than_the_terminal_and_what_is_left_out_is_said(width: int) -> None:
    names = [f"metric_number_{number}" for number in range(20)]
    many = make_state(
        head_names=names,
        head_sources=[0] * 20,
        head_forms=[0] * 20,
        head_values=[1.0] * 20,
        head_times_ms=[NOW_MS] * 20,
        head_rates=[0.0] * 20,
        head_sums=[0.0] * 20,
        status="degraded",
        status_reason="stale: " + ", ".join(names),
    )

    drawn = draw(entity_view(many), width=width)

    assert max(len(line) for line in drawn.splitlines()) <= width
    assert "more metrics" in drawn
    assert "metric_" in drawn.rsplit("degraded", 1)[0] or width == 40
    assert "ws01" in drawn


def test_without_a_width_everything_is_shown() -> None:
    assert "more metric" not in draw(entity_view(make_state()))


def test_what_moves_the_cursor_is_escaped() -> None:
    drawn = draw(entity_view(make_state(id="a\nb\x1b[2J", status="down", status_reason="x\ry")))

    assert "a\\nb\\x1b[2J" in drawn
    assert "x\\ry" in drawn
    assert "\x1b[2J" not in drawn
