import pytest

from streams.domain.units import SUFFIXES, UNITS, conversion, counter_unit, suffix_unit
from streams.errors import InvalidRuleError


@pytest.mark.parametrize(
    ("value", "unit", "to", "result"),
    [
        (1.0, "MiB", "B", 1_048_576.0),
        (1.0, "GB", "B", 1e9),
        (0.25, "1", "%", 25.0),
        (8.0, "Mibit/s", "B/s", 1_048_576.0),
        (1500.0, "mW", "W", 1.5),
        (273.15, "K", "°C", 0.0),
        (212.0, "°F", "°C", 100.0),
        (0.5, "s", "ms", 500.0),
        (3.0, "s", "%·s", 300.0),
        (7.0, "B", "B", 7.0),
        (2.0, "kWh", "J", 7.2e6),
        (1.0, "kg/kWh", "g/kWh", 1000.0),
    ],
)
def test_units_are_converted(value: float, unit: str, to: str, result: float) -> None:
    scale, offset = conversion(unit, to)

    assert scale * value + offset == pytest.approx(result)


def test_the_same_unit_changes_nothing() -> None:
    assert {conversion(unit, unit) for unit in UNITS} == {(1.0, 0.0)}


def test_units_of_different_things_are_refused() -> None:
    with pytest.raises(InvalidRuleError, match="'W' is watt, not convertible to 'B', which is byte"):
        conversion("W", "B")


def test_an_unknown_unit_is_refused() -> None:
    with pytest.raises(InvalidRuleError, match="unknown unit 'furlong'"):
        conversion("furlong", "B")


def test_a_counter_is_in_the_unit_times_seconds() -> None:
    assert counter_unit("B/s") == "B"
    assert counter_unit("W") == "J"
    with pytest.raises(InvalidRuleError, match="a counter cannot give '°C'"):
        counter_unit("°C")


@pytest.mark.parametrize(
    ("name", "unit"),
    [
        ("node_memory_MemTotal_bytes", "B"),
        ("node_network_receive_bytes_total", "B"),
        ("node_hwmon_temp_celsius", "°C"),
        ("integrated_power_mW", "mW"),
        ("node_load1", None),
        ("seconds", None),
    ],
)
def test_the_last_word_of_a_name_says_its_unit(name: str, unit: str | None) -> None:
    assert suffix_unit(name) == unit


def test_every_suffix_says_a_known_unit() -> None:
    assert set(SUFFIXES.values()) <= set(UNITS)
