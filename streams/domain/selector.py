"""Series selectors as PromQL writes them: `name{label="value",other=~"a|b"}`."""

import re
from collections.abc import Mapping
from dataclasses import dataclass

from streams.errors import InvalidRuleError

_NAME = re.compile(r"\s*([a-zA-Z_:][a-zA-Z0-9_:]*)?\s*")
_CONDITION = re.compile(
    r"""\s*([a-zA-Z_][a-zA-Z0-9_]*)\s*(=~|!~|!=|=)\s*(?:"((?:[^"\\]|\\.)*)"|'((?:[^'\\]|\\.)*)')\s*(?:,|(?=\}))"""
)
_ESCAPE = re.compile(r"\\(.)")


@dataclass(frozen=True, slots=True)
class Condition:
    """What the value of a label must be; a label that is absent counts as empty, as in PromQL."""

    label: str
    operator: str
    value: str
    pattern: re.Pattern[str] | None

    def holds(self, value: str) -> bool:
        """Whether a label's value satisfies it; a pattern must match the whole value."""
        if self.pattern is None:
            return (value == self.value) == (self.operator == "=")
        return (self.pattern.fullmatch(value) is not None) == (self.operator == "=~")


@dataclass(frozen=True, slots=True)
class Selector:
    """Which series an input takes; `name` is empty when a condition on `__name__` chooses the names."""

    text: str
    name: str
    names: tuple[Condition, ...]
    conditions: tuple[Condition, ...]

    def takes_name(self, name: str) -> bool:
        """Whether series of that name can be meant."""
        return name == self.name if self.name else all(condition.holds(name) for condition in self.names)

    def takes_labels(self, labels: Mapping[str, str]) -> bool:
        """Whether the labels satisfy the conditions."""
        return all(condition.holds(labels.get(condition.label, "")) for condition in self.conditions)


def parse_selector(text: str) -> Selector:
    """The selector in a text.

    Raises:
        InvalidRuleError: not a selector, or one that would take every series.
    """
    start = _NAME.match(text)
    name = (start[1] if start else None) or ""
    place = start.end() if start else 0
    conditions: list[Condition] = []
    if text[place:]:
        if text[place] != "{":
            raise InvalidRuleError(f'not a selector: {text!r}; write name{{label="value"}} as in PromQL')
        place += 1
        while match := _CONDITION.match(text, place):
            label, operator, double, single = match.groups()
            conditions.append(
                _condition(label, operator, _ESCAPE.sub(r"\1", single if double is None else double))
            )
            place = match.end()
        if text[place:].strip() != "}":
            raise InvalidRuleError(f'not a selector: {text!r}; write name{{label="value"}} as in PromQL')
    names = tuple(condition for condition in conditions if condition.label == "__name__")
    if bool(name) == bool(names) or (names and all(condition.holds("") for condition in names)):
        raise InvalidRuleError(f"{text!r} must give a name, or a condition on __name__, and not both")
    return Selector(text, name, names, tuple(c for c in conditions if c.label != "__name__"))


def _condition(label: str, operator: str, value: str) -> Condition:
    if not operator.endswith("~"):
        return Condition(label, operator, value, None)
    try:
        return Condition(label, operator, value, re.compile(value))
    except re.error as error:
        raise InvalidRuleError(f"{value!r} is not a regular expression: {error}") from None
