"""The filter language of `twin state --where` and of the API: `kind=node status!=up cpu_usage_percent>80`."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from math import isfinite
from typing import Any

from streams.errors import TwinError

OPERATORS = ("=", "!=", ">", ">=", "<", "<=", "~")
"""Equal, not equal, four comparisons of numbers, and `contains` (letter case does not matter)."""

GROUPS = ("attributes", "metrics", "aligned", "features", "counts")
"""Parts of an entity record that a name may begin with, as in attributes.nodepool or aligned.power_watts."""

EXAMPLE = 'kind=node status!=up cpu_usage_percent>80 id~"rack 4"'
"""What an error shows."""

_NAME_AND_OPERATOR = re.compile(r'(?P<name>[^\s=!<>~"]+)(?P<operator>!=|>=|<=|=|>|<|~)')
_TERM = re.compile(_NAME_AND_OPERATOR.pattern + r'(?P<value>"(?:[^"\\]|\\.)*"|[^\s"]*)(?=\s|$)', re.DOTALL)


class InvalidWhereError(TwinError):
    """A filter that cannot be understood; `term` is the part that is wrong."""

    def __init__(self, term: str, reason: str) -> None:
        super().__init__(f"filter term {term!r}: {reason}; an example: {EXAMPLE}")
        self.term = term


@dataclass(frozen=True, slots=True)
class Term:
    """One comparison; `number` is the value as a number, if it is one."""

    name: str
    operator: str
    value: str
    number: float | None

    def matches(self, entity: Mapping[str, Any]) -> bool:
        """Whether the entity has what is named and it compares so; what is absent matches no operator."""
        actual = find(entity, self.name)
        if actual is None:
            return False
        if self.operator == "~":
            return self.value.casefold() in _text(actual).casefold()
        if self.operator in ("=", "!="):
            return self._equals(actual) is (self.operator == "=")
        return self._compares(actual)

    def _equals(self, actual: Any) -> bool:
        if isinstance(actual, int | float) and not isinstance(actual, bool):
            return self.number is not None and actual == self.number
        return _text(actual) == self.value

    def _compares(self, actual: Any) -> bool:
        number = _number(_text(actual))
        if number is None or self.number is None:
            return False
        if self.operator == ">":
            return number > self.number
        if self.operator == ">=":
            return number >= self.number
        if self.operator == "<":
            return number < self.number
        return number <= self.number


@dataclass(frozen=True, slots=True)
class Where:
    """Terms that must all match; no terms match everything."""

    terms: tuple[Term, ...] = ()

    def matches(self, entity: Mapping[str, Any]) -> bool:
        """Whether an entity view matches all terms."""
        return all(term.matches(entity) for term in self.terms)


def parse_where(text: str) -> Where:
    """Read a filter: terms with spaces between them, values with spaces in double quotes.

    Raises:
        InvalidWhereError: naming the term that is wrong.
    """
    terms: list[Term] = []
    place = 0
    while place < len(text):
        if text[place].isspace():
            place += 1
            continue
        match = _TERM.match(text, place)
        if match is None:
            raise _explain(text[place:])
        terms.append(_term(match))
        place = match.end()
    return Where(tuple(terms))


def find(entity: Mapping[str, Any], name: str) -> Any:
    """What a name means in an entity view; None when the entity has no such thing.

    In this order: a field of the record (status, id …), a part and a name (attributes.arch), the newest value
    of a metric, an attribute, a feature.
    """
    field = entity.get(name)
    if field is not None and not isinstance(field, Mapping):
        return field
    group, _, rest = name.partition(".")
    if rest and group in GROUPS:
        part = entity[group]["values"] if group == "aligned" else entity[group]
        return _value(part.get(rest))
    for group in ("metrics", "attributes", "features"):
        if name in entity[group]:
            return _value(entity[group][name])
    return None


def _value(found: Any) -> Any:
    return found["value"] if isinstance(found, Mapping) else found


def _term(match: re.Match[str]) -> Term:
    name, operator, value = match["name"], match["operator"], match["value"]
    if value.startswith("="):
        raise InvalidWhereError(match[0], f"{operator}= is not an operator, they are {' '.join(OPERATORS)}")
    if value.startswith('"'):
        value = re.sub(r"\\(.)", r"\1", value[1:-1])
    elif not value and operator != "~":
        raise InvalidWhereError(match[0], f"nothing stands after {operator}")
    number = _number(value)
    if number is None and operator not in ("=", "!=", "~"):
        raise InvalidWhereError(match[0], f"{operator} compares numbers, and {value!r} is none")
    return Term(name, operator, value, number)


def _explain(rest: str) -> InvalidWhereError:
    term = rest.split(maxsplit=1)[0]
    if _NAME_AND_OPERATOR.match(rest):
        return InvalidWhereError(term, 'quotes stand around a whole value and end a term: name="two words"')
    if term[0] in "=!<>~":
        return InvalidWhereError(term, "a name must stand right before the operator")
    operators = " ".join(OPERATORS)
    return InvalidWhereError(term, f"an operator must stand right after the name, one of {operators}")


def _text(value: Any) -> str:
    if isinstance(value, list):
        return " ".join(map(str, value))
    return str(value).lower() if isinstance(value, bool) else str(value)


def _number(text: str) -> float | None:
    try:
        number = float(text)
    except ValueError:
        return None
    return number if isfinite(number) else None
