"""Answers of history as JSON, CSV and Arrow."""

import csv
import io
import json
from collections.abc import Iterator
from datetime import UTC, datetime
from importlib.util import find_spec
from math import isfinite
from typing import Any, NamedTuple

from streams.errors import TwinError
from streams.history.asking import ask
from streams.history.query import Answer, Facts, HistoryQuery
from streams.stores import Store

JSON = "application/json"
CSV = "text/csv"
ARROW = "application/vnd.apache.arrow.stream"

FORMATS = (JSON, CSV, ARROW)
"""Media types of an answer."""

COLUMNS = ("time", "time_ms", "kind", "id", "nodepool", "metric", "unit", "simulated", "value")
"""Of CSV: one row for each point. Arrow has the same but for time_ms, as its time is a number anyway."""

LONGEST = 1_000
"""[characters] Of a note in a header."""

ARROW_MISSING = "Arrow needs the package pyarrow: pip install 'decice-twin-stream[arrow]'"
"""What to do when there is none."""


class Encoded(NamedTuple):
    """An answer as it goes out, and what else is said about it in headers."""

    body: bytes
    headers: dict[str, str]


async def answer(store: Store, query: HistoryQuery, facts: Facts, form: str) -> Encoded:
    """The answer to a question in one of `FORMATS`; raises as `ask`."""
    found = await ask(store, query, facts)
    return Encoded(encode(found, form), headers_of(found))


def encode(answer: Answer, form: str) -> bytes:
    """An answer in one of `FORMATS`.

    Raises:
        TwinError: Arrow is asked for, and its package is not there.
    """
    if form == CSV:
        return _csv(answer)
    return _arrow(answer) if form == ARROW else _json(answer)


def has_arrow() -> bool:
    """Whether answers can be had as Arrow."""
    return find_spec("pyarrow") is not None


def headers_of(answer: Answer) -> dict[str, str]:
    """What CSV and Arrow have no place for."""
    headers = {"Twin-Resolution-Ms": str(answer.resolution_ms), "Twin-Coarse": str(answer.coarse).lower()}
    if answer.note:
        headers["Twin-Note"] = answer.note.encode("unicode_escape").decode()[:LONGEST]
    if answer.next is not None:
        headers["Twin-Next-Cursor"] = answer.next
    return headers


def document_of(answer: Answer) -> dict[str, Any]:
    """The answer as JSON has it; a value that is no finite number is null."""
    query = answer.query
    return {
        "world": query.world,
        "start_ms": query.start_ms,
        "end_ms": query.end_ms,
        "every_ms": query.every_ms,
        "fn": query.function,
        "group_by": query.group_by,
        "resolution_ms": answer.resolution_ms,
        "coarse": answer.coarse,
        "note": answer.note,
        "points": answer.points,
        "next": answer.next,
        "series": [
            one._asdict() | {"values": [value if isfinite(value) else None for value in one.values]}
            for one in answer.series
        ],
    }


def _json(answer: Answer) -> bytes:
    document = document_of(answer)
    return json.dumps(document, allow_nan=False, ensure_ascii=False, separators=(",", ":")).encode()


def _csv(answer: Answer) -> bytes:
    text = io.StringIO()
    writer = csv.writer(text)  # lines end in CRLF, as RFC 4180 has it
    writer.writerow(COLUMNS)
    writer.writerows(_rows(answer))
    return text.getvalue().encode()


def _rows(answer: Answer) -> Iterator[tuple[Any, ...]]:
    for one in answer.series:
        words = (one.kind, one.id or "", one.nodepool, one.metric, one.unit, str(one.simulated).lower())
        for at_ms, value in zip(one.times_ms, one.values, strict=True):
            yield iso_of(at_ms), at_ms, *words, value


def iso_of(at_ms: int) -> str:
    """ISO 8601 in UTC, with milliseconds."""
    text = datetime.fromtimestamp(at_ms // 1000, UTC).strftime("%Y-%m-%dT%H:%M:%S")
    return f"{text}.{at_ms % 1000:03d}Z"


def _arrow(answer: Answer) -> bytes:
    try:
        import pyarrow as pa  # type: ignore[import-untyped,import-not-found,unused-ignore]  # may be missing
    except ImportError:
        raise TwinError(ARROW_MISSING) from None
    word = pa.dictionary(pa.int32(), pa.string())
    series = answer.series
    runs = [len(one.times_ms) for one in series]
    places = [place for place, run in enumerate(runs) for _ in range(run)]

    def words(values: list[str | None]) -> Any:
        """One for each series to one for each point, without a copy of the text."""
        return pa.array(values, pa.string()).dictionary_encode().cast(word).take(pa.array(places, pa.int64()))

    columns = {
        "time": pa.array([at for one in series for at in one.times_ms], pa.timestamp("ms", "UTC")),
        **{
            name: words([getattr(one, name) for one in series])
            for name in ("kind", "id", "nodepool", "metric", "unit")
        },
        "simulated": pa.array([one.simulated for one in series], pa.bool_()).take(
            pa.array(places, pa.int64())
        ),
        "value": pa.array([value for one in series for value in one.values], pa.float64()),
    }
    table = pa.table(columns).replace_schema_metadata(headers_of(answer))
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as stream:
        stream.write_table(table)
    body: bytes = sink.getvalue().to_pybytes()
    return body
