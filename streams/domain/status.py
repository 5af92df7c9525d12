"""Whether an entity is up, degraded, down or unknown, and why."""

from streams.records import State

FAILURES = 2
"""[1] Failed scrapes in a row after which a source counts as bad."""


def status_of(
    entity: State, now_ms: int, holds: list[int], silent: list[bool], gone: list[bool], ranks: list[int]
) -> tuple[str, str]:
    """Status and reason at a time; all lists have one item for each source."""
    names, failures = entity["source_names"], entity["source_failures"]
    if not names:
        return "unknown", "no source"
    if "up" in entity["head_names"]:
        reporter = _down_reporter(entity, silent, ranks)
        if reporter is not None:
            return "down", f"{names[reporter]} reports down"
    # A source that was silent for so long that it alone would be removed no longer counts, unless all were.
    known = [s for s in range(len(names)) if not gone[s]] or list(range(len(names)))
    bad = [s for s in known if silent[s] or failures[s] >= FAILURES]
    if not bad:
        # The usual case, without a look at each head where there is one source.
        if not entity["head_names"]:
            return "unknown", "no measurement"
        if len(names) == 1 and now_ms - min(entity["head_times_ms"]) <= holds[0]:
            return "up", ""
    reason = "; ".join(sorted(f"{names[s]}: {'silent' if silent[s] else 'failed scrapes'}" for s in bad))
    if len(bad) == len(known):
        # Nobody looks at an entity that is only told of: silence says nothing about it.
        pushed = all(entity["targets"][s] == f"{names[s]} " and failures[s] < FAILURES for s in known)
        return ("unknown" if pushed else "down"), reason
    if not entity["head_names"]:
        return "unknown", "no measurement"
    if bad:
        return "degraded", reason
    stale = _stale(entity, now_ms, holds, known)
    return ("degraded", "stale: " + ", ".join(stale)) if stale else ("up", "")


def _down_reporter(entity: State, silent: list[bool], ranks: list[int]) -> int | None:
    """The best source that gives `up` and is not silent, when its newest value is 0."""
    best: int | None = None
    down = False
    for head, name in enumerate(entity["head_names"]):
        source = entity["head_sources"][head]
        if name == "up" and not silent[source] and (best is None or ranks[source] < ranks[best]):
            best, down = source, entity["head_values"][head] == 0.0
    return best if down else None


def _stale(entity: State, now_ms: int, holds: list[int], good: list[int]) -> list[str]:
    return sorted(
        {
            name
            for name, source, time in zip(
                entity["head_names"], entity["head_sources"], entity["head_times_ms"], strict=True
            )
            if source in good and now_ms - time > holds[source]
        }
    )
