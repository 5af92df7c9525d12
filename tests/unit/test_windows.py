"""Windows against numpy, point by point."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.domain.windows import COMBINES, FUNCTIONS, combined, percentile, quotient, windowed

NUMPY: dict[str, Any] = {
    "mean": np.mean,
    "min": np.min,
    "max": np.max,
    "sum": np.sum,
    "count": np.size,
    "p50": lambda values: np.percentile(values, 50),
    "p95": lambda values: np.percentile(values, 95),
    "p99": lambda values: np.percentile(values, 99),
}

points = st.dictionaries(st.integers(0, 200), st.floats(-1e6, 1e6), max_size=30).map(
    lambda found: ([at for at, _ in sorted(found.items())], [value for _, value in sorted(found.items())])
)
lengths = st.none() | st.integers(1, 250)


def model(series: list[tuple[list[int], list[float]]], every: int | None, fn: str) -> dict[int, float]:
    parts: dict[int, list[tuple[int, int, float]]] = {}
    for order, (times, values) in enumerate(series):
        for at, value in zip(times, values, strict=True):
            parts.setdefault(-7 if every is None else at - at % every, []).append((at, order, value))
    if fn == "last":
        return {window: max(part)[2] for window, part in parts.items()}
    return {window: NUMPY[fn]([value for *_, value in part]) for window, part in parts.items()}


@given(st.lists(points, max_size=4), lengths, st.sampled_from(sorted(FUNCTIONS)))
def test_windows_of_all_series_together_are_the_slow_models(
    series: list[tuple[list[int], list[float]]], every: int | None, fn: str
) -> None:
    times, values = windowed(series, every, fn, -7)

    assert times == sorted(times)
    assert dict(zip(times, values, strict=True)) == pytest.approx(model(series, every, fn), abs=1e-6)


@given(
    st.lists(points, max_size=4), st.integers(1, 20), st.integers(1, 5), st.sampled_from(["last", *COMBINES])
)
def test_the_whole_follows_from_its_parts(
    series: list[tuple[list[int], list[float]]], every: int, times: int, fn: str
) -> None:
    if fn == "last":
        series = series[:1]
    parts = [windowed([one], every, fn, 0) for one in series]

    for whole in (every * times, None):
        expected = windowed(series, whole, fn, 0)
        found = combined(parts, whole, fn, 0)
        assert found[0] == expected[0]
        assert found[1] == pytest.approx(expected[1], abs=1e-6)


@given(st.lists(points, max_size=4), lengths)
def test_sums_over_counts_are_means(series: list[tuple[list[int], list[float]]], every: int | None) -> None:
    sums, counts, means = (windowed(series, every, fn, 0) for fn in ("sum", "count", "mean"))

    found = quotient(sums, counts)
    assert found[0] == means[0]
    assert found[1] == pytest.approx(means[1], abs=1e-6)


def test_a_sum_whose_count_is_unknown_has_no_mean() -> None:
    assert quotient(([0, 10], [4.0, 6.0]), ([10], [2.0])) == ([10], [3.0])


def test_of_several_newest_values_the_last_is_that_of_the_last_id() -> None:
    assert windowed([([0, 5], [1.0, 2.0]), ([5], [3.0]), ([4], [9.0])], 10, "last", 0) == ([0], [3.0])


@pytest.mark.parametrize(
    ("values", "share", "expected"), [([3.0], 0.99, 3.0), ([2.0, 1.0], 0.5, 1.5), ([1.0, 2.0, 9.0], 1.0, 9.0)]
)
def test_percentiles_are_linear_between_neighbours(
    values: list[float], share: float, expected: float
) -> None:
    assert percentile(values, share) == expected


def test_a_sum_beyond_all_numbers_is_infinite() -> None:
    assert windowed([([0, 1], [1.7e308, 1.7e308])], 10, "sum", 0) == ([0], [float("inf")])
