import pytest

from streams.tools.figures import format_age, format_value


@pytest.mark.parametrize(
    ("value", "unit", "shown"),
    [
        (31.2345, "%", "31.2"),
        (0.0, "%", "0.0"),
        (100.0, "%", "100.0"),
        (16.0, "1", "16"),
        (0.75, "1", "0.75"),
        (270_000_000_000.0, "B", "251 GiB"),
        (1023.0, "B", "1023 B"),
        (1024.0, "B", "1 KiB"),
        (0.0, "B", "0 B"),
        (1_536.5, "B/s", "1.54 kB/s"),
        (999_999_999.0, "B/s", "1 GB/s"),
        (-2_000_000.0, "B/s", "-2 MB/s"),
        (2_400_000_000.0, "Hz", "2.4 GHz"),
        (0.831, "ms", "0.83"),
        (0.0004, "ms", "0.0004"),
        (42.0, "W", "42.0"),
        (12_345_678.0, "W", "1.23e+07"),
    ],
)
def test_values(value: float, unit: str, shown: str) -> None:
    assert format_value(value, unit) == shown


@pytest.mark.parametrize(
    ("age_ms", "shown"),
    [
        (0, "0.0s"),
        (437, "0.4s"),
        (59_000, "59s"),
        (119_000, "119s"),
        (120_000, "2m"),
        (7_200_000, "2h"),
        (172_800_000, "2d"),
        (-1_500, "-1.5s"),
    ],
)
def test_ages(age_ms: int, shown: str) -> None:
    assert format_age(age_ms) == shown
