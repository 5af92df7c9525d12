"""Texts made of labels: `{nodename|lower}`, `{self_pool}~{target_pool}`, `{label_*}`."""

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from streams.errors import InvalidRuleError

_PART = re.compile(r"\{([a-zA-Z_][a-zA-Z0-9_]*\*?)((?:\|[a-z]+)*)\}|([^{}]+)")
_HOST = re.compile(r"(?:[a-zA-Z][a-zA-Z0-9+.-]*://)?(?:[^/@]*@)?(?:\[([^\]]*)\]|([^/:]*))")


def _host(text: str) -> str:
    match = _HOST.match(text)
    return ((match[1] or match[2]) if match else "") or text


def _json(text: str) -> str:
    """JSON as it is always written; nothing for null, an empty text, object or list."""
    value = json.loads(text) if text.strip() else None
    return "" if value in (None, {}, []) else _dump(value)


def _texts(text: str) -> str:
    """The members of a JSON object that are no numbers: what describes, without what is measured."""
    value = json.loads(text) if text.strip() else None
    if not isinstance(value, dict):
        return ""
    kept = {key: item for key, item in value.items() if item is not None and not _is_number(item)}
    return _dump(kept) if kept else ""


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _dump(value: object) -> str:
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)


ARCHITECTURES = {"amd64": "x86_64", "x64": "x86_64", "arm64": "aarch64"}
"""Names of Go and Kubernetes by those of the kernel, so that two sources say the same of a node."""

FILTERS: dict[str, Callable[[str], str]] = {
    "lower": str.lower,
    "host": _host,
    "short": lambda text: text.split(".", 1)[0],
    "trim": lambda text: text.strip("*~#!%$@^- "),
    "arch": lambda text: ARCHITECTURES.get(text.lower(), text.lower()),
    "json": _json,
    "texts": _texts,
}
"""Lower case; host of a URL or host:port; up to the first dot; without Slurm's flags; the kernel's name of an
architecture; normalised JSON; normalised JSON without its numbers."""


@dataclass(frozen=True, slots=True)
class Template:
    """A text with labels in it; `parts` are pairs of a literal, or of a label and its filters."""

    text: str
    parts: tuple[tuple[str, str, tuple[Callable[[str], str], ...]], ...]

    def render(self, labels: Mapping[str, str], *, empty: bool) -> str | None:
        """The text for these labels, or None when one is absent (or empty, unless `empty` allows it).

        Raises:
            ValueError: a label that should hold JSON does not.
        """
        rendered = []
        for literal, label, filters in self.parts:
            if not label:
                rendered.append(literal)
                continue
            value = _collect(labels, label[:-1]) if label.endswith("*") else labels.get(label)
            if value is None or not (value or empty):
                return None
            for change in filters:
                value = change(value)
            rendered.append(value)
        return "".join(rendered)


def _collect(labels: Mapping[str, str], prefix: str) -> str:
    found = {name[len(prefix) :]: value for name, value in labels.items() if name.startswith(prefix)}
    return _dump(found) if found else ""


def parse_template(text: str) -> Template:
    """The template in a text.

    Raises:
        InvalidRuleError: braces that do not match, or an unknown filter.
    """
    parts = []
    place = 0
    while match := _PART.match(text, place):
        label, filters, literal = match.groups()
        names = filters.split("|")[1:] if filters else []
        for name in names:
            if name not in FILTERS:
                raise InvalidRuleError(f"unknown filter {name!r}; known: {', '.join(FILTERS)}")
        parts.append((literal or "", label or "", tuple(FILTERS[name] for name in names)))
        place = match.end()
    if place < len(text) or not parts:
        raise InvalidRuleError(f"not a template: {text!r}; labels stand in braces, like {{node|lower}}")
    return Template(text, tuple(parts))
