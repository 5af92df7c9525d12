"""Answers a question about history: in the store as far as it can, the rest here."""

from collections.abc import Iterable
from dataclasses import replace

from streams.domain.near import near_names
from streams.domain.windows import COMBINES, Points, combined, quotient, windowed
from streams.history.paging import page, place_of, resumed
from streams.history.query import Answer, Facts, HistoryQuery, HistorySeries, QueryError, check_query
from streams.history.source import Key, Source, newest_changes, open_source
from streams.stores import Series, Store, Window

NAMED = 5
"""[1] Ids or metrics that a sentence names."""

HOUR_MS, DAY_MS = 3_600_000, 86_400_000
"""[ms]"""


async def ask(store: Store, query: HistoryQuery, facts: Facts) -> Answer:
    """The answer, or the part of it that the query's cursor and limit say.

    Raises:
        QueryError: naming the field that is wrong.
        TooMuchError: more values would have to be read than may be.
        StoreError: the store is away, refuses or is too slow.
    """
    query, facts = resumed(query, facts)
    return page(await ask_all(store, query, facts), facts)


async def ask_all(store: Store, query: HistoryQuery, facts: Facts) -> Answer:
    """The whole answer, whatever its size; raises as `ask`."""
    check_query(query, facts)
    source = await open_source(store, query, facts)
    series = await _series(source, facts)
    present = {one.metric for one in series}
    absent = [name for name in query.metrics if name not in present]
    unknown = [name for name in absent if name not in facts.units]
    if unknown:
        near = near_names(unknown[0], facts.units)
        hint = f": did you mean {', '.join(near)}?" if near else ""
        raise QueryError(
            "metrics", f"the catalogue has no {unknown[0]!r}, and nor has history here{hint}", near
        )
    notes = [_coarse_note(source, facts)]
    if not series:
        notes.append(await _why_nothing(source))
    elif absent:
        notes.append(f"There are no values of {_listed(absent)} here.")
    whole_ms = None if query.function is None else query.end_ms - query.start_ms
    return Answer(
        query,
        resolution_ms=max(query.every_ms or whole_ms or facts.step_ms, source.coarse_ms or 0),
        coarse=source.coarse_ms is not None,
        note=" ".join(note for note in notes if note),
        series=series,
    )


async def _series(source: Source, facts: Facts) -> list[HistorySeries]:
    if source.wanted is not None and not source.wanted:
        return []
    query = source.query
    pushed = _pushed(source)
    if pushed is None:
        reads = [await source.read()]
    else:
        length_ms = query.every_ms or query.end_ms - query.start_ms
        reads = [await source.read(Window(length_ms, fn)) for fn in pushed]
    groups: dict[tuple[str, ...], list[Key]] = {}
    for key, one in reads[0].items():
        group = key if query.group_by == "id" else (one.kind, _pool(query, one), one.metric)
        groups.setdefault(group, []).append(key)
    series = [
        _described(query, facts, [reads[0][key] for key in keys], _points(query, pushed, reads, keys))
        for keys in groups.values()
    ]
    return sorted(series, key=place_of)


def _pushed(source: Source) -> tuple[str, ...] | None:
    """Functions that the store computes, of which the answer is made; None when that takes the values."""
    query = source.query
    fn = query.function
    if fn is None:
        return None
    if query.group_by == "id" and (query.every_ms is not None or _is_one_window(query)):
        needed: tuple[str, ...] = (fn,)
    elif fn == "mean":
        needed = ("sum", "count")
    elif fn in COMBINES or (fn == "last" and query.group_by == "id"):
        needed = (fn,)
    else:
        return None
    return needed if source.store.functions.issuperset(needed) else None


def _is_one_window(query: HistoryQuery) -> bool:
    """Whether windows as long as the range have all of it in one: they begin at multiples of their length."""
    length_ms = query.end_ms - query.start_ms
    return query.start_ms // length_ms == (query.end_ms - 1) // length_ms


def _points(
    query: HistoryQuery, pushed: tuple[str, ...] | None, reads: list[dict[Key, Series]], keys: list[Key]
) -> Points:
    found = [[(one[key].times_ms, one[key].values) for key in keys if key in one] for one in reads]
    fn, every_ms, start_ms = query.function, query.every_ms, query.start_ms
    if fn is None:
        return found[0][0]
    if pushed is None:
        return windowed(found[0], every_ms, fn, start_ms)
    if len(pushed) == 2:
        sums, counts = (
            combined(parts, every_ms, each, start_ms) for parts, each in zip(found, pushed, strict=True)
        )
        return quotient(sums, counts)
    return combined(found[0], every_ms, fn, start_ms)


def _described(query: HistoryQuery, facts: Facts, members: list[Series], points: Points) -> HistorySeries:
    first = members[0]
    return HistorySeries(
        first.kind,
        first.id if query.group_by == "id" else None,
        _pool(query, first),
        first.metric,
        "1" if query.function == "count" else facts.units.get(first.metric, ""),
        any(one.simulated for one in members),
        len(members),
        *points,
    )


def _pool(query: HistoryQuery, one: Series) -> str:
    return "" if query.group_by == "kind" else one.nodepool


def _coarse_note(source: Source, facts: Facts) -> str:
    if source.coarse_ms is None:
        return ""
    query = source.query
    means = f"means of {_length(source.coarse_ms)}"
    note = f"Made from {means}, as the range is long."
    if facts.retention_ms and query.start_ms < facts.now_ms - facts.retention_ms:
        note = f"Made from {means}: values as they were are kept for {_length(facts.retention_ms)}."
    if query.function not in (None, "mean", "last"):
        note += f" {query.function} is that of these means."
    if source.turn_ms >= query.end_ms > facts.now_ms - 2 * source.coarse_ms:
        note += " The newest of them come some minutes late."
    return note


async def _why_nothing(source: Source) -> str:
    """What to look at when there is not a single value."""
    query = source.query
    if source.wanted is not None and not source.wanted:
        terms = [f"{name}={value}" for name, value in query.labels]
        return f"There is nothing with {_listed(terms)}."
    everything = replace(query, ids=(), labels=())
    changes = await newest_changes(source.store, everything)
    if query.kinds and not changes:
        kinds = sorted(
            {one.kind for one in await newest_changes(source.store, replace(everything, kinds=()))}
        )
        seen = (
            f": it knows {_listed(kinds)}." if kinds else ", or of any other, in this world before the end."
        )
        return f"History knows nothing of kind {_listed(query.kinds)}{seen}"
    known = {change.id for change in changes}
    strange = [id for id in query.ids if id not in known]
    if not strange:
        return f"There are no values of world {query.world} that fit, from start to end."
    near = near_names(strange[0], sorted(known))
    return f"History knows no {_listed(strange)}" + (f": did you mean {', '.join(near)}?" if near else ".")


def _listed(names: Iterable[str]) -> str:
    names = list(names)
    return ", ".join(names[:NAMED]) + (" …" if len(names) > NAMED else "")


def _length(length_ms: int) -> str:
    if length_ms % DAY_MS == 0:
        return f"{length_ms // DAY_MS} d"
    if length_ms % HOUR_MS == 0:
        return f"{length_ms // HOUR_MS} h"
    return f"{length_ms / 60_000:g} min"
