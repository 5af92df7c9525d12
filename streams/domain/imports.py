"""Posted snapshots as import events, and those as the scrapes that nobody made."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from json.encoder import encode_basestring
from math import isfinite
from typing import Any

from streams.domain.documents import extract
from streams.domain.grouping import fill
from streams.domain.rules import RulePack, parse_series
from streams.errors import InvalidMessageError
from streams.records import Event, Scrape

GROUPS_MAX = 200
"""[1] Most groups of series in one event: those of one message of the twin."""

BYTES_MAX = 200 * 1024
"""[B] Most of an event's body, so that it and the observations that come of it fit into messages."""

NUMBER_BYTES = 24
"""[B] Most of a value or time in JSON, with its comma."""

TIME_MAX_MS = 1 << 53
"""[ms since the epoch] Largest time in JSON that every reader takes as it is."""

AHEAD_MAX_MS = 60_000
"""[ms] Times further in the future are refused, as those of samples are."""

FIRST_INTERVAL_MS, INTERVAL_MIN_MS, INTERVAL_MAX_MS = 60_000, 5_000, 3_600_000
"""[ms] Interval of a source that was not seen before, and within what others are taken."""

MEM_UNITS = {"MiB": 1.0, "GB": 1024.0}
"""What `mem_total` is multiplied by to be in MiB, by the name of its unit; DECICE's GB is 2^30 bytes."""


@dataclass(frozen=True)
class Origin:
    """Whose snapshot it is, and of when.

    Args:
        interval_ms: [ms] until the next one is to be expected.
        mem_unit: unit of the snapshot's `mem_total`, a key of MEM_UNITS.
    """

    source: str
    taken_at_ms: int
    interval_ms: int
    simulated: bool = False
    mem_unit: str = "MiB"


def interval_after(before_ms: int | None, taken_at_ms: int, known_ms: int) -> int:
    """[ms] Interval of a source by its snapshot before and this one; of an older one what is known stays."""
    if before_ms is None:
        return FIRST_INTERVAL_MS
    if taken_at_ms <= before_ms:
        return known_ms
    return min(max(taken_at_ms - before_ms, INTERVAL_MIN_MS), INTERVAL_MAX_MS)


def taken_at_ms(document: Mapping[str, Any], now_ms: int) -> int:
    """[ms since the epoch] `lastUpdated` of a valid v2 snapshot; now when it says none.

    Raises:
        InvalidMessageError: it is zero, or too far in the future.
    """
    updated: float | None = document.get("lastUpdated")
    if updated is None:
        return now_ms
    # Compared before it is rounded: an integer in JSON may be longer than a double.
    if not 0.001 <= updated <= (now_ms + AHEAD_MAX_MS) / 1000:
        raise InvalidMessageError(
            "time",
            f"lastUpdated: {str(updated)[:40]} is not a time in seconds since the epoch up to now"
            f" ({now_ms / 1000:.3f}), or it is more than {AHEAD_MAX_MS // 1000} s ahead: check the clocks",
        )
    return round(updated * 1000)


def import_bodies(document: Any, pack: RulePack, origin: Origin) -> Iterator[dict[str, Any]]:
    """Bodies of the import events of a valid document: chunks of whole groups, the first with all counts.

    Raises:
        InvalidMessageError: what belongs to one entity is more than an event holds.
    """
    if pack.document is None:
        raise InvalidMessageError("pack", f"rule pack {pack.name} has no `document` section")
    series, values, times_ms, dropped = _writable(*extract(document, pack.document))
    scale = MEM_UNITS[origin.mem_unit]
    if scale != 1.0:
        values = [
            value * scale if text.startswith("decice_mem_total") else value
            for text, value in zip(series, values, strict=True)
        ]
    groups = _groups(pack, series)
    sizes = [len(encode_basestring(text).encode()) + 2 * NUMBER_BYTES for text in series]
    for chunk in fill(list(groups.values()), sizes, groups_max=GROUPS_MAX, bytes_max=BYTES_MAX):
        size = sum(sizes[place] for place in chunk)
        if size > BYTES_MAX:
            raise InvalidMessageError(
                "too_large",
                f"{size} bytes belong together and are more than {BYTES_MAX}: {series[chunk[0]][:150]}",
            )
        body: dict[str, Any] = {
            "source": origin.source,
            "pack": pack.name,
            "interval_ms": origin.interval_ms,
            "taken_at_ms": origin.taken_at_ms,
            "simulated": origin.simulated,
            "series": [series[place] for place in chunk],
            "values": [values[place] for place in chunk],
            "times_ms": [times_ms[place] for place in chunk] if times_ms else [],
            "dropped": dropped,
        }
        dropped = {}
        yield body


def _groups(pack: RulePack, series: Sequence[str]) -> dict[str, list[int]]:
    """Places of the series of each group; labels that are the same are looked at once."""
    groups: dict[str, list[int]] = {}
    known: dict[tuple[str, str], str] = {}
    for place, text in enumerate(series):
        name, _, labels = text.partition("{")
        key = (name if any(selector.takes_name(name) for selector, _ in pack.groups) else "", labels)
        group = known.get(key)
        if group is None:
            group = known[key] = pack.group_of(text)
        groups.setdefault(group, []).append(place)
    return groups


def _writable(
    series: list[str], values: list[float], times_ms: list[int], dropped: dict[str, int]
) -> tuple[list[str], list[float], list[int], dict[str, int]]:
    """Samples that JSON can carry: numbers that no double holds, and times beyond all calendars, are not."""
    kept = [
        place
        for place, value in enumerate(values)
        if isfinite(value) and (not times_ms or 0 <= times_ms[place] <= TIME_MAX_MS)
    ]
    if len(kept) == len(values):
        return series, values, times_ms, dropped
    return (
        [series[place] for place in kept],
        [values[place] for place in kept],
        [times_ms[place] for place in kept] if times_ms else [],
        dropped | {"not_writable": len(values) - len(kept)},
    )


def some_entities(series: Sequence[str]) -> list[tuple[str, str]]:
    """Kind and id of a few entities that the series of an event of pack decice_v2 set: to see it arrive."""
    found: list[tuple[str, str]] = []
    for place in sorted({0, len(series) // 2, len(series) - 1} & set(range(len(series)))):
        _, labels = parse_series(series[place])
        if "node" in labels:
            found.append(("node", labels["node"].lower()))
        elif "pool_a" in labels and "pool_b" in labels:
            found.append(("link", f"{labels['pool_a']}~{labels['pool_b']}"))
        else:
            found += [(kind, labels[kind]) for kind in ("device", "job") if kind in labels]
    return found


def scrape_of(event: Event, body: dict[str, Any]) -> Scrape:
    """The scrape that an import event stands for.

    It has no target: the source pushes, so that its failures cannot be told from its silence.

    Args:
        body: of the event, already checked; what it leaves out has the default of its model.
    """
    return Scrape(
        source=body["source"],
        target="",
        pack=body["pack"],
        interval_ms=body["interval_ms"],
        scraped_at_ms=body.get("taken_at_ms") or event["at_ms"],
        ok=True,
        error="",
        simulated=body.get("simulated", False),
        series=list(body["series"]),
        values=[float(value) for value in body["values"]],
        times_ms=list(body.get("times_ms", ())),
        dropped=dict(body.get("dropped", {})),
    )
