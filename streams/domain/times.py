"""Moments that people write: ISO 8601 with a zone, milliseconds since the epoch, or a while before now."""

import re
from datetime import UTC, datetime

UNITS_MS = {"ms": 1, "s": 1_000, "m": 60_000, "h": 3_600_000, "d": 86_400_000, "w": 604_800_000}
"""[ms] Length of each unit of a duration; m is a minute."""

LATEST_MS = 253_402_300_800_000
"""[ms since the epoch] The end of the year 9999: beyond it there are no dates."""

UNEQUAL = ("M", "mo", "Mo", "month", "months", "y", "Y", "year", "years")
"""How people write units that differ in length."""

SHOWN = 40
"""[1] Characters of a wrong text that an error repeats."""

HINT = "write ISO 8601 with a zone (2026-11-24T03:12:00Z), -30m for a while ago, or now"
"""What a moment looks like."""


def parse_moment(text: str, now_ms: int) -> int:
    """[ms since the epoch, UTC] The moment that a text names.

    Args:
        text: `2026-11-24T03:12:00+01:00`, `-30m` (units ms, s, m, h, d, w), `now`, or digits: milliseconds.

    Raises:
        ValueError: it names none; the text says why.
    """
    text = text.strip()
    if text == "now":
        return now_ms
    if text.startswith("-"):
        moment_ms = now_ms - parse_duration(text[1:])
    elif re.fullmatch("[0-9]{9,15}", text):
        moment_ms = int(text)
    else:
        moment_ms = _parse_iso(text)
    if not 0 <= moment_ms < LATEST_MS:
        raise ValueError(f"{text!r} is not between 1970 and 9999")
    return moment_ms


def _parse_iso(text: str) -> int:
    # In a query string an unencoded + of the zone has become a space.
    written = re.sub(r"(T[\d:.,]+) (\d\d:?\d\d)$", r"\1+\2", text)
    try:
        moment = datetime.fromisoformat(written)
    except ValueError:
        raise ValueError(f"{text[:SHOWN]!r} is no moment: {HINT}") from None
    if moment.tzinfo is None:
        raise ValueError(f"{text!r} has no zone: add Z, or an offset such as +01:00")
    return round(moment.timestamp() * 1000)


def parse_duration(text: str) -> int:
    """[ms] A length of time such as `30s`, `5m` or `1h30m`.

    Raises:
        ValueError: it is none, is not positive, or counts months or years, which differ in length.
    """
    parts = re.findall(r"([0-9]+(?:\.[0-9]+)?)([A-Za-z]+)", text)
    if not parts or "".join(number + unit for number, unit in parts) != text:
        raise ValueError(f"{text[:SHOWN]!r} is no length of time: write 30s, 5m, 12h or 7d")
    for _, unit in parts:
        if unit not in UNITS_MS:
            why = "months and years differ in length; give days, or m for minutes" if unit in UNEQUAL else ""
            why = why or f"units are {', '.join(UNITS_MS)}"
            raise ValueError(f"{text[:SHOWN]!r}: {unit[:SHOWN]!r} is no unit: {why}")
    length_ms = sum(float(number) * UNITS_MS[unit] for number, unit in parts)
    if not 0.5 < length_ms < LATEST_MS:
        raise ValueError(f"{text[:SHOWN]!r} must be at least 1ms, and less than 8,000 years")
    return round(length_ms)


def moment_text(at_ms: int) -> str:
    """ISO 8601 of a moment, in UTC."""
    moment = datetime.fromtimestamp(at_ms // 1_000, UTC).replace(microsecond=at_ms % 1_000 * 1_000)
    return moment.isoformat(timespec="milliseconds" if at_ms % 1_000 else "seconds").replace("+00:00", "Z")
