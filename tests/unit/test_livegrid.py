"""What the table tells the browser of the metrics."""

import pytest

from streams.pages.livegrid import DEFAULTS, described, label_of
from streams.rulebook import load_rulebook

CATALOGUE = load_rulebook().catalogue


@pytest.mark.parametrize(
    ("name", "label"),
    [
        ("cpu_usage_percent", "cpu %"),
        ("mem_total_bytes", "mem total"),
        ("network_receive_bytes_per_s", "net in"),
        ("power_watts", "power"),
        ("load1", "load1"),
        ("network_delay_ms", "net delay"),
    ],
)
def test_titles_are_short_and_leave_the_unit_to_the_cells(name: str, label: str) -> None:
    assert label_of(name) == label


def test_no_two_metrics_of_the_catalogue_have_one_title() -> None:
    labels = [label_of(name) for name in CATALOGUE]

    assert len(set(labels)) == len(labels)
    assert all(labels)


def test_columns_that_are_shown_first_are_of_the_catalogue() -> None:
    assert set(DEFAULTS) <= set(CATALOGUE)


@pytest.mark.parametrize(
    ("name", "form"), [("up", "flag"), ("boot_time_seconds", "time"), ("number_of_cores", ""), ("load1", "")]
)
def test_flags_and_moments_are_told_apart_from_numbers(name: str, form: str) -> None:
    assert described(CATALOGUE[name])["form"] == form
