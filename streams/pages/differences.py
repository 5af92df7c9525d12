"""What differs as rows of a table: between two moments of a world, or two worlds."""

import asyncio
from collections.abc import Collection, Mapping
from typing import Any

from streams.domain.diff import Difference, Thresholds
from streams.domain.times import moment_text
from streams.pages.links import entity_path
from streams.pages.units import ABSENT, value_text
from streams.replica.view import WorldView

SORTS = {
    "removed": "removed",
    "added": "added",
    "status": "status",
    "attribute": "attributes",
    "metric": "values",
}
"""Sorts of differences, in the order in which they are shown, with what the page calls them."""

STATUS_ORDER = {"down": 0, "degraded": 1, "unknown": 2, "up": 3}

SLICE = 25
"""[1] Entities that are compared before others get the event loop: about 3 ms."""

Row = dict[str, Any]


def rows_of(difference: Mapping[str, Any], units: Mapping[str, str]) -> list[Row]:
    """One row for each difference: what is gone first, the greatest changes of values before smaller ones.

    Args:
        difference: as GET /twin/v1/diff has it.
        units: by metric.
    """
    rows = [
        *(_whole("removed", one) for one in difference["removed"]),
        *(_whole("added", one) for one in difference["added"]),
        *sorted(
            (_status(one) for one in difference["statuses"]),
            key=lambda row: STATUS_ORDER.get(row["after"], 2),
        ),
        *(_attribute(one) for one in difference["attributes"]),
        *sorted(
            (_metric(one, units.get(one["metric"], "")) for one in difference["metrics"]),
            key=_rank,
        ),
    ]
    for place, row in enumerate(rows):
        row["place"] = str(place)
    return rows


def matching(rows: Collection[Row], sort: str, text: str) -> list[Row]:
    """The rows of a sort (empty: all) that contain all words of a text, letter case ignored."""
    words = text.casefold().split()
    return [row for row in rows if (not sort or row["sort"] == sort) and _has(row, words)]


def counts(rows: Collection[Row]) -> dict[str, int]:
    """[1] Rows by sort; each sort is there."""
    found = dict.fromkeys(SORTS, 0)
    for row in rows:
        found[row["sort"]] += 1
    return found


async def compare_worlds(
    before: WorldView, after: WorldView, kinds: Collection[str], thresholds: Thresholds
) -> dict[str, Any]:
    """What differs between two worlds now, as `rows_of` wants it; no kinds are all.

    What an overlay does not change is the very record of live, and is not looked at.
    """
    difference = Difference()
    keys = sorted({key for view in (before, after) for key in view if key[0] != "world"})
    looked = 0
    for kind, id in keys:
        found = before.find(kind, id), after.find(kind, id)
        is_same = found[0] is not None and found[1] is not None and found[0][1] is found[1][1]
        if is_same or (kinds and kind not in kinds):
            continue
        difference.compare(before.get((kind, id)), after.get((kind, id)), thresholds)
        looked += 1
        if looked % SLICE == 0:
            await asyncio.sleep(0)
    return vars(difference)


def _row(sort: str, one: Mapping[str, Any], **more: Any) -> Row:
    row: Row = {
        "sort": sort,
        "kind": one["kind"],
        "id": one["id"],
        "path": entity_path(one["kind"], one["id"]),
        "name": "",
        "before": "",
        "after": "",
        "difference": "",
        "share": None,
        "note": "",
    }
    return row | more


def _whole(sort: str, one: Mapping[str, Any]) -> Row:
    attributes = ", ".join(f"{name}={value}" for name, value in sorted(one["attributes"].items()))
    status = one["status"]
    sides = {"before": status} if sort == "removed" else {"after": status}
    return _row(sort, one, name="entity", note=one["reason"] or attributes, **sides)


def _status(one: Mapping[str, Any]) -> Row:
    reason = one["after"]["reason"] or (
        f"before: {one['before']['reason']}" if one["before"]["reason"] else ""
    )
    since = f"since {moment_text(one['since_ms'])[5:19].replace('T', ' ')}" if one["since_ms"] else ""
    return _row(
        "status",
        one,
        name="status",
        before=one["before"]["status"],
        after=one["after"]["status"],
        note=" · ".join(part for part in (reason, since) if part),
    )


def _attribute(one: Mapping[str, Any]) -> Row:
    before, after = (ABSENT if one[side] is None else one[side] for side in ("before", "after"))
    return _row("attribute", one, name=one["name"], before=before, after=after)


def _metric(one: Mapping[str, Any], unit: str) -> Row:
    before, difference = one["before"], one["difference"]
    share = difference / abs(before) * 100 if difference is not None and before else None
    text = ""
    if difference is not None:
        text = ("+" if difference > 0 else "−") + value_text(abs(difference), unit)
    return _row(
        "metric",
        one,
        name=one["metric"],
        before=value_text(before, unit),
        after=value_text(one["after"], unit),
        difference=text,
        share=share,
        note="" if difference is not None else "came" if before is None else "went",
    )


def _rank(row: Row) -> tuple[int, float]:
    """Values that went, then those that changed, then those that came."""
    place = {"went": 0, "came": 2}.get(row["note"], 1)
    return place, -abs(row["share"] if row["share"] is not None else float("inf"))


def _has(row: Row, words: Collection[str]) -> bool:
    if not words:
        return True
    text = " ".join(
        str(row[name]) for name in ("sort", "kind", "id", "name", "before", "after", "note")
    ).casefold()
    return all(word in text for word in words)
