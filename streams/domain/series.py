"""Series as text: the Prometheus text form with labels sorted by name, written and read back."""

import re
from collections.abc import Mapping

from streams.errors import InvalidMessageError

_NAME = re.compile(r"[a-zA-Z_:][a-zA-Z0-9_:]*")
_LABEL_NAME = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*")
_QUOTED = r'"((?:[^"\\]|\\.)*)"'
_LABEL = re.compile(rf"(?:([a-zA-Z_][a-zA-Z0-9_]*)|{_QUOTED})={_QUOTED}(?:,|(?=\}}))", re.DOTALL)
_QUOTED_NAME = re.compile(rf"{_QUOTED}(?:,|(?=\}}))", re.DOTALL)
_ESCAPE = re.compile(r"\\(.)", re.DOTALL)
_UNESCAPED = {"n": "\n"}


def format_series(name: str, labels: Mapping[str, str]) -> str:
    """Text of a series; names beyond [a-zA-Z0-9_:] are quoted inside the braces, as Prometheus 3 does."""
    plain = _NAME.fullmatch(name) is not None
    parts = [] if plain else [_quote(name)]
    for label in sorted(labels):
        shown = label if _LABEL_NAME.fullmatch(label) else _quote(label)
        parts.append(f"{shown}={_quote(labels[label])}")
    if not parts:
        return name
    return f"{name if plain else ''}{{{','.join(parts)}}}"


def format_labels(labels: Mapping[str, str]) -> str:
    """What follows the name in the text of a series whose name is plain."""
    return format_series("x", labels)[1:]


def parse_series(text: str) -> tuple[str, dict[str, str]]:
    """Name and labels of a series.

    Raises:
        InvalidMessageError: the text is no series.
    """
    name, brace, _ = text.partition("{")
    if not brace:
        if not _NAME.fullmatch(text):
            raise InvalidMessageError("series", f"not a series: {text[:200]!r}")
        return text, {}
    place = len(name) + 1
    if not name and (quoted := _QUOTED_NAME.match(text, place)):
        name, place = _unquote(quoted[1]), quoted.end()
    labels: dict[str, str] = {}
    while match := _LABEL.match(text, place):
        plain, quoted_label, value = match.groups()
        labels[_unquote(quoted_label) if plain is None else plain] = _unquote(value)
        place = match.end()
    if text[place:] != "}":
        raise InvalidMessageError("series", f"not a series: {text[:200]!r}")
    return name, labels


def _quote(text: str) -> str:
    if "\\" in text or '"' in text or "\n" in text:
        text = text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return f'"{text}"'


def _unquote(text: str) -> str:
    return _ESCAPE.sub(lambda match: _UNESCAPED.get(match[1], match[1]), text) if "\\" in text else text
