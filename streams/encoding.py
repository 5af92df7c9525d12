"""JSON as it goes out: compact UTF-8 that every parser reads."""

import json
from math import isfinite
from typing import Any


def encode_json(document: Any, *, indent: int | None = None) -> bytes:
    """JSON in UTF-8; a number that JSON cannot write (NaN, infinity) becomes null."""
    try:
        return _dump(document, indent)
    except ValueError:
        return _dump(_without_nonfinite(document), indent)


def _dump(document: Any, indent: int | None) -> bytes:
    separators = (",", ":") if indent is None else (",", ": ")
    text = json.dumps(document, allow_nan=False, ensure_ascii=False, separators=separators, indent=indent)
    return text.encode()


def _without_nonfinite(document: Any) -> Any:
    if isinstance(document, dict):
        return {name: _without_nonfinite(value) for name, value in document.items()}
    if isinstance(document, list):
        return [_without_nonfinite(value) for value in document]
    return None if isinstance(document, float) and not isfinite(document) else document
