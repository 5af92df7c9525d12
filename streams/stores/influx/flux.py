"""Flux queries whose text is ours alone: all that comes from outside goes beside it, as syntax tree.

InfluxDB takes a file of such trees with a query (`extern`), whose options the text names. A filter that is
built here is computed inside InfluxDB's storage, as one in the text would be. A chain of `or` is what its
index can use; `contains` it cannot. Nodes: https://docs.influxdata.com/influxdb/v2/api/ (2.7, PostQuery).
"""

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Any

Node = dict[str, Any]
"""A node of the syntax tree."""

EARLIEST_MS, LATEST_MS = -9_223_372_036_000, 9_223_372_036_000
"""[ms since the epoch] Times that InfluxDB can hold, in whole seconds."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def text(value: str) -> Node:
    """A string."""
    return {"type": "StringLiteral", "value": value}


def moment(at_ms: int) -> Node:
    """A time [ms since the epoch]; the earliest or latest that there is when it is beyond."""
    within_ms = min(max(at_ms, EARLIEST_MS), LATEST_MS)
    at = _EPOCH + timedelta(milliseconds=within_ms)
    return {"type": "DateTimeLiteral", "value": at.strftime("%Y-%m-%dT%H:%M:%S.%fZ")}


def duration(length_ms: int) -> Node:
    """A length of time [ms]."""
    return {"type": "DurationLiteral", "values": [{"type": "Duration", "magnitude": length_ms, "unit": "ms"}]}


def equals(column: str, value: str) -> Node:
    """That a column has this value."""
    return _compared("==", column, value)


def differs(column: str, value: str) -> Node:
    """That a column has another value, or none."""
    return _compared("!=", column, value)


def matches(column: str, pattern: str, *, holds: bool = True) -> Node:
    """That a column has a value that the regular expression is found in, or the contrary."""
    found = _compared("=~" if holds else "!~", column, "")
    return found | {"right": {"type": "RegexpLiteral", "value": pattern}}


def present(column: str) -> Node:
    """That there is a column of that name."""
    return {"type": "UnaryExpression", "operator": "exists", "argument": _column(column)}


def absent(column: str) -> Node:
    """That there is no column of that name."""
    return {"type": "UnaryExpression", "operator": "not", "argument": present(column)}


def any_of(conditions: Iterable[Node]) -> Node:
    """That one of the conditions holds; there must be one."""
    return _joined("or", list(conditions))


def all_of(conditions: Iterable[Node]) -> Node:
    """That all conditions hold; there must be one."""
    return _joined("and", list(conditions))


def predicate(condition: Node) -> Node:
    """A function that tells whether the condition holds for a row."""
    row = {"type": "Property", "key": {"type": "Identifier", "name": "r"}, "value": None}
    return {"type": "FunctionExpression", "params": [row], "body": condition}


def extern(options: dict[str, Node]) -> Node:
    """What goes beside the text of a query, which may name these options."""
    return {
        "type": "File",
        "package": None,
        "imports": None,
        "body": [
            {
                "type": "OptionStatement",
                "assignment": {
                    "type": "VariableAssignment",
                    "id": {"type": "Identifier", "name": name},
                    "init": node,
                },
            }
            for name, node in options.items()
        ],
    }


def _column(name: str) -> Node:
    return {
        "type": "MemberExpression",
        "object": {"type": "Identifier", "name": "r"},
        "property": text(name),
    }


def _compared(operator: str, column: str, value: str) -> Node:
    return {
        "type": "BinaryExpression",
        "operator": operator,
        "left": _column(column),
        "right": text(value),
    }


def _joined(operator: str, conditions: list[Node]) -> Node:
    # Halves, not a list: a thousand in a row would be nested more deeply than a parser of JSON goes.
    if len(conditions) == 1:
        return conditions[0]
    middle = len(conditions) // 2
    return {
        "type": "LogicalExpression",
        "operator": operator,
        "left": _joined(operator, conditions[:middle]),
        "right": _joined(operator, conditions[middle:]),
    }
