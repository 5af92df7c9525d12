"""An answer in parts: each has a cursor that says where the next one begins, and of what question."""

import base64
import json
from dataclasses import replace
from zlib import crc32

from streams.history.query import Answer, Facts, HistoryQuery, HistorySeries, QueryError

Place = tuple[str, str, str, int]
"""Kind, id or pool, metric and time [ms since the epoch] of a point."""


def place_of(series: HistorySeries) -> tuple[str, str, str]:
    """Where a series stands among the others of its answer."""
    return series.kind, series.nodepool if series.id is None else series.id, series.metric


def resumed(query: HistoryQuery, facts: Facts) -> tuple[HistoryQuery, Facts]:
    """A question with the range of its first answer, and the time at which that was asked for.

    Raises:
        QueryError: the cursor is none, or of another question.
    """
    if not query.cursor:
        return query, facts
    start_ms, end_ms, now_ms, mark, _ = _read(query.cursor)
    if mark != _mark(query):
        raise QueryError(
            "cursor", "is of another question: give all parameters as before; only limit may change"
        )
    return replace(query, start_ms=start_ms, end_ms=end_ms), replace(facts, now_ms=now_ms)


def page(answer: Answer, facts: Facts) -> Answer:
    """The part of a whole answer that its question's cursor and limit say."""
    query = answer.query
    after = _read(query.cursor)[-1] if query.cursor else None
    room = query.limit
    series: list[HistorySeries] = []
    for one in answer.series:
        place = place_of(one)
        if after is not None and place < after[:3]:
            continue
        begin = 0
        if after is not None and place == after[:3]:
            begin = sum(at_ms < after[3] for at_ms in one.times_ms)
        end = min(len(one.times_ms), begin + room)
        if begin < end:
            series.append(one._replace(times_ms=one.times_ms[begin:end], values=one.values[begin:end]))
        room -= end - begin
        if end < len(one.times_ms):
            cursor = _write(query, facts, (*place, one.times_ms[end]))
            return replace(answer, series=series, next=cursor)
    return replace(answer, series=series)


def _mark(query: HistoryQuery) -> int:
    parts = (query.world, query.kinds, query.ids, query.labels, query.metrics)
    return crc32(json.dumps([*parts, query.every_ms, query.function, query.group_by]).encode())


def _write(query: HistoryQuery, facts: Facts, place: Place) -> str:
    text = json.dumps([query.start_ms, query.end_ms, facts.now_ms, _mark(query), *place])
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


def _read(cursor: str) -> tuple[int, int, int, int, Place]:
    try:
        padded = cursor.encode() + b"=" * (-len(cursor) % 4)
        items = json.loads(base64.b64decode(padded, b"-_", validate=True))
        if [type(item) for item in items] != [int] * 4 + [str] * 3 + [int]:
            raise ValueError("items of other types")
    except (ValueError, TypeError, RecursionError):
        raise QueryError("cursor", "is none that an answer had") from None
    return items[0], items[1], items[2], items[3], tuple(items[4:])
