"""What of a harvest is shipped: no NaN, no series twice, nothing above the caps; the rest is counted."""

from streams.collect.target import Caps, Harvest
from streams.domain.series import parse_series


def limit(harvest: Harvest, caps: Caps) -> None:
    """Take out of the harvest what must not be shipped; `dropped` says how much that was and why."""
    rows = list(zip(harvest.series, harvest.values, harvest.times_ms, strict=True))
    harvest.series, harvest.values, harvest.times_ms = [], [], []
    seen: set[str] = set()
    for series, value, time_ms in rows:
        reason = _reason(series, value, caps)
        if not reason and series in seen:
            reason = "duplicate"
        elif not reason and len(harvest.series) >= caps.samples:
            reason = "over_cap"
        seen.add(series)
        if reason:
            harvest.drop(reason)
            continue
        harvest.series.append(series)
        harvest.values.append(value)
        harvest.times_ms.append(time_ms)


def _reason(series: str, value: float, caps: Caps) -> str:
    if value != value:  # NaN: the target has nothing to say
        return "nan"
    # A character is at most four bytes, and the count of labels is too high for values that end with "=",
    # never too low: only what may be above a cap is looked at closely.
    if 4 * len(series) > caps.series_bytes and len(series.encode()) > caps.series_bytes:
        return "series_too_long"
    if series.count('="') > caps.labels and len(parse_series(series)[1]) > caps.labels:
        return "too_many_labels"
    return ""
