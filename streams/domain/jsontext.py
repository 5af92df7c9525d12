"""Attributes that hold JSON: what they say, if it is JSON at all."""

import json
from typing import Any


def read_json(text: str | None) -> Any:
    """The value of a JSON text; None when it is none. A number that JSON does not have is null."""
    if not text:
        return None
    try:
        return json.loads(text, parse_constant=lambda _: None, parse_float=_float)
    except (ValueError, RecursionError):
        return None


def read_dict(text: str | None) -> dict[str, Any] | None:
    """The object of a JSON text; None when it is no object."""
    value = read_json(text)
    return value if isinstance(value, dict) else None


def read_list(text: str | None) -> list[Any] | None:
    """The array of a JSON text; None when it is no array."""
    value = read_json(text)
    return value if isinstance(value, list) else None


def _float(text: str) -> float | None:
    value = float(text)
    return value if abs(value) != float("inf") else None  # 1e999 is valid JSON
