"""Numbers as people read them in a narrow column."""

from datetime import UTC, datetime

BINARY = ("B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB")
DECIMAL = ("", "k", "M", "G", "T", "P", "E")


def format_value(value: float, unit: str) -> str:
    """A value of the catalogue; memory and rates carry their unit, all others stand under it.

    Args:
        unit: of the catalogue, such as B, B/s, % or W.
    """
    if unit == "B":
        return _scaled(value, 1024, BINARY)
    if unit in ("B/s", "Hz"):
        return _scaled(value, 1000, [f"{prefix}{unit}" for prefix in DECIMAL])
    if value == int(value) and abs(value) < 1e15 and unit in ("1", ""):
        return f"{int(value)}"
    if 0 < abs(value) < 0.01 or abs(value) >= 1e6:
        return f"{value:.3g}"
    return f"{value:.2f}" if abs(value) < 10 and unit != "%" else f"{value:.1f}"


def shown_unit(unit: str) -> str:
    """What to write beside such values; a byte count says in each cell whether it is MiB or GiB."""
    return "" if unit in ("1", "B", "B/s", "Hz") else unit


def format_age(age_ms: float) -> str:
    """A duration as its largest unit; what is not yet (a clock that runs ahead) has a minus."""
    sign, seconds = ("-" if age_ms < 0 else ""), abs(age_ms) / 1000
    if seconds < 10:
        return f"{sign}{seconds:.1f}s"
    for size, letter, limit in ((1, "s", 120), (60, "m", 7_200), (3_600, "h", 172_800)):
        if seconds < limit:
            return f"{sign}{seconds / size:.0f}{letter}"
    return f"{sign}{seconds / 86_400:.0f}d"


def format_moment(at_ms: int) -> str:
    """A moment in UTC, to the second."""
    return datetime.fromtimestamp(at_ms / 1000, UTC).strftime("%Y-%m-%d %H:%M:%S")


def _scaled(value: float, factor: int, units: tuple[str, ...] | list[str]) -> str:
    size = abs(value)
    place = 0
    while size >= factor - 0.5 and place < len(units) - 1:  # what would be rounded up to it
        size /= factor
        place += 1
    number = f"{size:.3g}" if size < 999.5 else f"{size:.0f}"
    return f"{'-' if value < 0 else ''}{number} {units[place]}"
