"""A row of blocks that shows how a value went."""

from collections.abc import Sequence

BLOCKS = "▁▂▃▄▅▆▇█"
"""From the least to the greatest."""

FLAT = BLOCKS[3]
"""Of a value that does not change."""


SAME = 1e-9
"""[1] Of the value: less is what is left of rounding."""


def sparkline(
    times_ms: Sequence[int], values: Sequence[float], start_ms: int, end_ms: int, width: int
) -> str:
    """At most `width` characters for the range: each the mean of its values, a space where there is none.

    Args:
        times_ms: [ms since the epoch] in order, within the range.
        values: as many, finite.
    """
    sums: list[list[float]] = [[] for _ in range(width)]
    for at_ms, value in zip(times_ms, values, strict=True):
        sums[min(width - 1, (at_ms - start_ms) * width // (end_ms - start_ms))].append(value)
    # Divided first: the sum of great values is infinite.
    means = [sum(value / len(part) for value in part) if part else None for part in sums]
    present = [mean for mean in means if mean is not None]
    low, high = min(present, default=0.0), max(present, default=0.0)
    return "".join(" " if mean is None else _block(mean, low, high) for mean in means)


def _block(value: float, low: float, high: float) -> str:
    if high - low <= SAME * max(abs(low), abs(high)):
        return FLAT
    return BLOCKS[min(len(BLOCKS) - 1, int((value / 2 - low / 2) / (high / 2 - low / 2) * len(BLOCKS)))]
