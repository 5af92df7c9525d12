"""Numbers as people read them: with their unit, thousands apart, never more digits than they are worth."""

from datetime import UTC, datetime
from math import isfinite

BINARY = ("B", "KiB", "MiB", "GiB", "TiB", "PiB")
"""Units of bytes, each 1,024 times the one before."""

DIGITS = 4
"""[1] Significant digits of what is shown."""

ABSENT = "–"
"""What stands for a value that is not there."""


def number_text(value: float | None) -> str:
    """A number with thousands apart, as in 12,345 or 31.24."""
    if value is None or not isfinite(value):
        return ABSENT
    if value == int(value) and abs(value) < 10**15:
        return f"{int(value):,}"
    whole = len(str(int(abs(value))))
    return f"{value:,.{max(0, DIGITS - whole) if abs(value) >= 1 else DIGITS - 1}f}"


def value_text(value: float | None, unit: str) -> str:
    """A number with its unit of the catalogue; bytes in KiB to PiB."""
    if value is None or not isfinite(value):
        return ABSENT
    if unit in ("B", "B/s"):
        size = 0
        while abs(value) >= 1024 and size < len(BINARY) - 1:
            value, size = value / 1024, size + 1
        return f"{number_text(round(value, 2))} {BINARY[size]}{unit[1:]}"
    shown = number_text(value)
    return shown if unit in ("1", "") else f"{shown} {unit}"


def age_text(age_ms: float | None) -> str:
    """A duration in the largest unit that says enough: 850 ms, 4.2 s, 3 min, 2 h, 5 d."""
    if age_ms is None:
        return ABSENT
    if age_ms < 1_000:
        return f"{max(0, age_ms):.0f} ms"
    seconds = age_ms / 1000
    if seconds < 60:
        return f"{seconds:.1f} s"
    for name, length in (("min", 60), ("h", 3_600), ("d", 86_400)):
        if seconds < length * (60 if name == "min" else 24 if name == "h" else 10**9):
            return f"{seconds / length:.0f} {name}"
    return ABSENT


def age_class(age_ms: float, interval_ms: int) -> str:
    """The CSS class of an age, by the rule of the table's `freshness` (static/livegrid/formats.js).

    Args:
        interval_ms: [ms] of its source; 0: it is read on cue only, and no age is too old.
    """
    if interval_ms <= 0:
        return ""
    if age_ms <= 2 * interval_ms:
        return "age-fresh"
    return "age-late" if age_ms <= 5 * interval_ms else "age-stale"


def moment_words(at_ms: float) -> str:
    """[ms since the epoch] as 2026-11-24 03:12:00, in UTC."""
    return datetime.fromtimestamp(at_ms / 1000, UTC).strftime("%Y-%m-%d %H:%M:%S")
