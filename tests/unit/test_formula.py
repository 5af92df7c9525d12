import pytest

from streams.domain.formula import parse_formula
from streams.errors import InvalidRuleError


@pytest.mark.parametrize(
    ("text", "names", "values", "result"),
    [
        ("100 * (1 - available / total)", ("available", "total"), (25.0, 100.0), 75.0),
        ("-a + +b", ("a", "b"), (1.0, 3.0), 2.0),
        ("min(a, b, 2) + max(a, b)", ("a", "b"), (5.0, 7.0), 9.0),
        ("a - a", ("a",), (4.0,), 0.0),
        (" a ", ("a",), (4.0,), 4.0),
    ],
)
def test_arithmetic_is_computed(
    text: str, names: tuple[str, ...], values: tuple[float, ...], result: float
) -> None:
    formula = parse_formula(text)

    assert formula.names == names
    assert formula.compute(*values) == result


@pytest.mark.parametrize(
    "text",
    [
        "a ** 2",
        "a // 2",
        "a % 2",
        "a if b else c",
        "a.b",
        "a[0]",
        "f(a)",
        "min(a)",
        "min(a, key=b)",
        "min(*a)",
        "__import__('os')",
        "lambda: a",
        "[a for a in b]",
        "a < b",
        "not a",
        "~a",
        "'text' + a",
        "True + a",
        "1j * a",
        "min + max",
        "(a := 1)",
        "f'{a}'",
    ],
)
def test_what_is_not_arithmetic_is_refused(text: str) -> None:
    with pytest.raises(InvalidRuleError, match="is not allowed"):
        parse_formula(text)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "not a formula"),
        ("a +", "not a formula"),
        ("a; b", "not a formula"),
        ("a\0b", "not a formula"),
        ("(" * 250 + "a" + ")" * 250, "at most 500"),
        ("(" * 240 + "a" + ")" * 240, "not a formula"),
        ("1 + 2", "names at least one"),
        ("1e999 * a", "too large"),
        ("9" * 400 + " * a", "too large"),
    ],
)
def test_what_cannot_be_a_formula_is_refused_with_the_reason(text: str, why: str) -> None:
    with pytest.raises(InvalidRuleError, match=why):
        parse_formula(text)
