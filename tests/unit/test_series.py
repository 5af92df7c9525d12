import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.domain.series import format_series, parse_series
from streams.errors import InvalidMessageError

names = st.text(min_size=1) | st.from_regex(r"[a-zA-Z_:][a-zA-Z0-9_:]*", fullmatch=True)
labels = st.dictionaries(st.text(min_size=1) | st.from_regex(r"[a-z_][a-z0-9_]*", fullmatch=True), st.text())


@given(names, labels)
def test_what_is_written_is_read_back(name: str, values: dict[str, str]) -> None:
    assert parse_series(format_series(name, values)) == (name, values)


@given(names, labels)
def test_the_order_of_labels_makes_no_difference(name: str, values: dict[str, str]) -> None:
    turned = dict(reversed(values.items()))

    assert format_series(name, turned) == format_series(name, values)


def test_series_is_written_as_prometheus_writes_it() -> None:
    assert format_series("up", {}) == "up"
    assert format_series("up", {"job": "node", "instance": "a:1"}) == 'up{instance="a:1",job="node"}'
    assert format_series("m", {"a": 'x"y\\z\n'}) == r'm{a="x\"y\\z\n"}'
    assert format_series("my.metric", {"a.b": "c"}) == '{"my.metric","a.b"="c"}'


def test_a_trailing_comma_and_a_name_without_braces_are_read() -> None:
    assert parse_series('up{job="node",}') == ("up", {"job": "node"})
    assert parse_series('{"my.metric"}') == ("my.metric", {})
    assert parse_series('{job="node"}') == ("", {"job": "node"})


@pytest.mark.parametrize(
    "text", ["", "a b", "1up", "up{", 'up{job="node"', "up{job=node}", 'up{job="node"}x', "up{a}"]
)
def test_what_is_no_series_is_refused(text: str) -> None:
    with pytest.raises(InvalidMessageError, match="not a series"):
        parse_series(text)
