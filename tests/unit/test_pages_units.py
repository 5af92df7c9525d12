import pytest

from streams.pages.units import age_text, number_text, value_text


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0, "0"),
        (12345, "12,345"),
        (-12345.0, "-12,345"),
        (31.2378, "31.24"),
        (0.00123, "0.001"),
        (123456.789, "123,457"),
        (None, "–"),
        (float("nan"), "–"),
        (float("inf"), "–"),
        (1e18, "1,000,000,000,000,000,000"),
    ],
)
def test_number_has_thousands_and_few_digits(value, text):
    assert number_text(value) == text


@pytest.mark.parametrize(
    ("value", "unit", "text"),
    [
        (31.2378, "%", "31.24 %"),
        (16, "1", "16"),
        (270_102_102_016, "B", "251.6 GiB"),
        (0, "B", "0 B"),
        (1024, "B/s", "1 KiB/s"),
        (412.5, "W", "412.5 W"),
        (None, "W", "–"),
    ],
)
def test_value_carries_its_unit(value, unit, text):
    assert value_text(value, unit) == text


@pytest.mark.parametrize(
    ("age_ms", "text"),
    [
        (850, "850 ms"),
        (-5, "0 ms"),
        (4_200, "4.2 s"),
        (59_900, "59.9 s"),
        (180_000, "3 min"),
        (7_200_000, "2 h"),
        (432_000_000, "5 d"),
        (None, "–"),
    ],
)
def test_age_is_in_the_unit_that_says_enough(age_ms, text):
    assert age_text(age_ms) == text
