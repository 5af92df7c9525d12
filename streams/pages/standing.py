"""The status of an entity over time: a coloured band, and what happened in words."""

from collections.abc import Iterable, Sequence
from html import escape
from typing import NamedTuple

from streams.domain.times import moment_text
from streams.pages.units import age_text
from streams.stores import PastChange

GONE = "gone"
"""What stands in the place of a status where there is no entity."""

MAX_SEGMENTS = 400
"""[1] Of a band: more are too narrow to be seen."""

Standing = tuple[int, str, str]
"""From when on [ms since the epoch], which status, and why."""


class Segment(NamedTuple):
    """A time in which the status was the same."""

    start_ms: int
    end_ms: int
    status: str
    reason: str


class Happening(NamedTuple):
    """Something that changed; `status` colours it."""

    at_ms: int
    what: str
    why: str
    status: str


def standings(changes: Iterable[PastChange]) -> list[Standing]:
    """The status from each change on."""
    return [
        (change.at_ms, GONE if change.removed else change.status or "unknown", change.reason)
        for change in changes
    ]


def segments(found: Sequence[Standing], start_ms: int, end_ms: int) -> list[Segment]:
    """Times of the same status and reason within a range, in order; before the first there is none."""
    parts: list[Segment] = []
    for place, (at_ms, status, reason) in enumerate(found):
        begin_ms = max(at_ms, start_ms)
        until_ms = min(found[place + 1][0] if place + 1 < len(found) else end_ms, end_ms)
        if until_ms <= begin_ms:
            continue
        if parts and parts[-1][1:] == (begin_ms, status, reason):
            begin_ms = parts.pop().start_ms
        parts.append(Segment(begin_ms, until_ms, status, reason))
    return parts


def band(parts: Sequence[Segment], start_ms: int, end_ms: int) -> str:
    """The segments as HTML."""
    span_ms = max(1, end_ms - start_ms)
    spans = []
    for part in parts[-MAX_SEGMENTS:]:
        left, width = (part.start_ms - start_ms) / span_ms, (part.end_ms - part.start_ms) / span_ms
        lasted = age_text(part.end_ms - part.start_ms)
        title = f"{part.status} for {lasted} from {moment_text(part.start_ms)}"
        title += f": {part.reason}" if part.reason else ""
        spans.append(
            f'<span class="band-{escape(part.status)}" title="{escape(title)}"'
            f' style="left:{left:.4%};width:{width:.4%}"></span>'
        )
    share = share_up(parts)
    label = "no status is known" if share is None else f"up for {share:.1%} of the known time"
    return f'<div class="ent-band" role="img" aria-label="Status over time: {label}">{"".join(spans)}</div>'


def share_up(parts: Iterable[Segment]) -> float | None:
    """[1] Share of the known time in which it was up; None when nothing is known."""
    unknown = (GONE, "unknown")
    lengths = [(part.end_ms - part.start_ms, part.status) for part in parts if part.status not in unknown]
    known = sum(length for length, _ in lengths)
    return sum(length for length, status in lengths if status == "up") / known if known else None


def happenings(changes: Sequence[PastChange], start_ms: int) -> list[Happening]:
    """What changed after the start, the newest first."""
    found: list[Happening] = []
    before: PastChange | None = None
    for change in changes:
        if change.at_ms > start_ms:
            found += _happened(before, change)
        before = change
    return found[::-1]


def _happened(before: PastChange | None, after: PastChange) -> list[Happening]:
    status = after.status or "unknown"
    if after.removed:
        return [Happening(after.at_ms, "removed", after.reason, GONE)]
    if before is None or before.removed:
        return [Happening(after.at_ms, f"appeared, {status}", after.reason, status)]
    found = []
    if before.status != after.status:
        found.append(Happening(after.at_ms, f"{before.status} → {status}", after.reason, status))
    elif before.reason != after.reason:
        found.append(Happening(after.at_ms, f"still {status}", after.reason or "no reason any more", status))
    old, new = before.named_attributes, after.named_attributes
    for name in sorted(old.keys() | new.keys()):
        if old.get(name) != new.get(name):
            text = f"{name}: {old.get(name, '(none)')} → {new.get(name, '(none)')}"
            found.append(Happening(after.at_ms, text, "", ""))
    return found
