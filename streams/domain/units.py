"""Units: what a foreign value must be multiplied by, and what is added, to be in the catalogue's unit."""

from streams.errors import InvalidRuleError

UNITS: dict[str, tuple[str, float, float]] = {
    "1": ("ratio", 1.0, 0.0),
    "%": ("ratio", 0.01, 0.0),
    "B": ("byte", 1.0, 0.0),
    "kB": ("byte", 1e3, 0.0),
    "MB": ("byte", 1e6, 0.0),
    "GB": ("byte", 1e9, 0.0),
    "TB": ("byte", 1e12, 0.0),
    "KiB": ("byte", 2.0**10, 0.0),
    "MiB": ("byte", 2.0**20, 0.0),
    "GiB": ("byte", 2.0**30, 0.0),
    "TiB": ("byte", 2.0**40, 0.0),
    "bit": ("byte", 0.125, 0.0),
    "B/s": ("byte/s", 1.0, 0.0),
    "kB/s": ("byte/s", 1e3, 0.0),
    "MB/s": ("byte/s", 1e6, 0.0),
    "KiB/s": ("byte/s", 2.0**10, 0.0),
    "MiB/s": ("byte/s", 2.0**20, 0.0),
    "bit/s": ("byte/s", 0.125, 0.0),
    "kbit/s": ("byte/s", 125.0, 0.0),
    "Mbit/s": ("byte/s", 125e3, 0.0),
    "Gbit/s": ("byte/s", 125e6, 0.0),
    "Mibit/s": ("byte/s", 2.0**17, 0.0),
    "ns": ("s", 1e-9, 0.0),
    "us": ("s", 1e-6, 0.0),
    "ms": ("s", 1e-3, 0.0),
    "s": ("s", 1.0, 0.0),
    "min": ("s", 60.0, 0.0),
    "h": ("s", 3600.0, 0.0),
    "d": ("s", 86400.0, 0.0),
    "%·s": ("s", 0.01, 0.0),
    "uW": ("watt", 1e-6, 0.0),
    "mW": ("watt", 1e-3, 0.0),
    "W": ("watt", 1.0, 0.0),
    "kW": ("watt", 1e3, 0.0),
    "MW": ("watt", 1e6, 0.0),
    "uJ": ("joule", 1e-6, 0.0),
    "mJ": ("joule", 1e-3, 0.0),
    "J": ("joule", 1.0, 0.0),
    "kJ": ("joule", 1e3, 0.0),
    "Wh": ("joule", 3600.0, 0.0),
    "kWh": ("joule", 3.6e6, 0.0),
    "mV": ("volt", 1e-3, 0.0),
    "V": ("volt", 1.0, 0.0),
    "mA": ("ampere", 1e-3, 0.0),
    "A": ("ampere", 1.0, 0.0),
    "Hz": ("1/s", 1.0, 0.0),
    "1/s": ("1/s", 1.0, 0.0),
    "kHz": ("1/s", 1e3, 0.0),
    "MHz": ("1/s", 1e6, 0.0),
    "GHz": ("1/s", 1e9, 0.0),
    "rpm": ("rpm", 1.0, 0.0),
    "°C": ("°C", 1.0, 0.0),
    "m°C": ("°C", 1e-3, 0.0),
    "K": ("°C", 1.0, -273.15),
    "°F": ("°C", 5.0 / 9.0, -160.0 / 9.0),
    "g/kWh": ("g/kWh", 1.0, 0.0),
    "kg/MWh": ("g/kWh", 1.0, 0.0),
    "kg/kWh": ("g/kWh", 1e3, 0.0),
}
"""Unit: (dimension, factor, summand); base value = factor · value + summand."""

INTEGRALS = {"%": "%·s", "1": "s", "1/s": "1", "B/s": "B", "W": "J"}
"""Unit of a counter whose rate per second has the unit on the left."""

SUFFIXES = {
    "bytes": "B",
    "kilobytes": "KiB",
    "megabytes": "MiB",
    "gigabytes": "GiB",
    "mb": "MB",
    "gb": "GB",
    "bits": "bit",
    "mbps": "Mbit/s",
    "seconds": "s",
    "milliseconds": "ms",
    "ms": "ms",
    "microseconds": "us",
    "nanoseconds": "ns",
    "watts": "W",
    "watt": "W",
    "milliwatts": "mW",
    "mW": "mW",
    "kilowatts": "kW",
    "joules": "J",
    "millijoules": "mJ",
    "celsius": "°C",
    "C": "°C",
    "millicelsius": "m°C",
    "kelvin": "K",
    "fahrenheit": "°F",
    "ratio": "1",
    "percent": "%",
    "percentage": "%",
    "hertz": "Hz",
    "Hz": "Hz",
    "kHz": "kHz",
    "mhz": "MHz",
    "rpm": "rpm",
    "volts": "V",
    "millivolts": "mV",
    "amperes": "A",
    "milliamperes": "mA",
}
"""Unit that the last word of a series' name says, by the conventions of Prometheus and its exporters."""


def counter_unit(unit: str) -> str:
    """Unit of the cumulative value of which `unit` is the rate.

    Raises:
        InvalidRuleError: nothing is known of which this would be a rate.
    """
    if unit not in INTEGRALS:
        raise InvalidRuleError(f"a counter cannot give {unit!r}; it can give {', '.join(sorted(INTEGRALS))}")
    return INTEGRALS[unit]


def conversion(unit: str, to: str) -> tuple[float, float]:
    """Scale and offset of a conversion: value [to] = scale · value [unit] + offset.

    Raises:
        InvalidRuleError: an unknown unit, or units of different things.
    """
    for name in (unit, to):
        if name not in UNITS:
            raise InvalidRuleError(f"unknown unit {name!r}; known: {', '.join(UNITS)}")
    (dimension, factor, summand), (wanted, per, minus) = UNITS[unit], UNITS[to]
    if dimension != wanted:
        raise InvalidRuleError(f"{unit!r} is {dimension}, not convertible to {to!r}, which is {wanted}")
    return (1.0, 0.0) if unit == to else (factor / per, (summand - minus) / per)


def suffix_unit(name: str) -> str | None:
    """Unit that a series' name says in its last word (before `total`), or None when it says none."""
    words = name.removesuffix("_total").split("_")
    return SUFFIXES.get(words[-1]) if len(words) > 1 else None
