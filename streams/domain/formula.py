"""Arithmetic in rules: parsed, and refused unless it is numbers, names, + - * / and min or max."""

import ast
from collections.abc import Callable
from dataclasses import dataclass
from math import isfinite

from streams.errors import InvalidRuleError

LENGTH_MAX = 500
"""[1] Characters of a formula; keeps the parser's recursion far from its limit."""

FUNCTIONS: dict[str, Callable[..., float]] = {"min": min, "max": max}


@dataclass(frozen=True, slots=True)
class Formula:
    """A formula over named values; `compute` takes one value for each of `names`, in order."""

    text: str
    names: tuple[str, ...]
    compute: Callable[..., float]


def parse_formula(text: str) -> Formula:
    """The formula in a text.

    Raises:
        InvalidRuleError: not arithmetic, or more than is allowed.
    """
    if len(text) > LENGTH_MAX:
        raise InvalidRuleError(f"a formula has at most {LENGTH_MAX} characters, this one has {len(text)}")
    try:
        tree = ast.parse(text.strip(), mode="eval")
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise InvalidRuleError(f"not a formula: {error}") from None
    names: dict[str, None] = {}
    _check(tree.body, names)
    if not names:
        raise InvalidRuleError("a formula names at least one series or input")
    arguments = ast.arguments(
        posonlyargs=[], args=[ast.arg(name) for name in names], kwonlyargs=[], kw_defaults=[], defaults=[]
    )
    function = ast.fix_missing_locations(ast.Expression(ast.Lambda(arguments, tree.body)))
    code = compile(function, "<formula>", "eval")
    compute: Callable[..., float] = eval(code, {"__builtins__": {}, **FUNCTIONS})  # noqa: S307  # checked node by node
    return Formula(text.strip(), tuple(names), compute)


def _check(node: ast.expr, names: dict[str, None]) -> None:
    match node:
        case ast.BinOp(left=left, op=ast.Add() | ast.Sub() | ast.Mult() | ast.Div(), right=right):
            _check(left, names)
            _check(right, names)
        case ast.UnaryOp(op=ast.USub() | ast.UAdd(), operand=operand):
            _check(operand, names)
        case ast.Constant(value=int() | float() as number) if not isinstance(number, bool):
            if abs(number) > 1e300 or not isfinite(number):
                raise InvalidRuleError(f"{ast.unparse(node)} is too large a number")
            node.value = float(number)
        case ast.Call(func=ast.Name(id=name), args=[_, _, *_] as arguments, keywords=[]) if name in FUNCTIONS:
            for argument in arguments:
                _check(argument, names)
        case ast.Name(id=name) if name not in FUNCTIONS:
            names.setdefault(name)
        case _:
            raise InvalidRuleError(
                f"{ast.unparse(node)!r} is not allowed; a formula has numbers, names, + - * / ( ), min, max"
            )
