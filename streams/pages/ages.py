"""What an age means: the colour of how fresh a value is against the interval of its source."""

from streams.domain.entity import hold_ms

FRESH = 2.0
"""[1] Intervals that a value may be old and still be as expected: a scrape and its way take part of one."""


def age_class(age_ms: float, interval_ms: int, step_ms: int) -> str:
    """The CSS class of an age; empty when no interval tells what to expect.

    Args:
        interval_ms: [ms] of the source; 0: it is read on cue only.
        step_ms: [ms] distance of ticks; beyond what a tick may hold, a value is stale.
    """
    if interval_ms <= 0:
        return ""
    if age_ms <= FRESH * interval_ms:
        return "age-fresh"
    return "age-late" if age_ms <= hold_ms(interval_ms, step_ms) else "age-stale"
