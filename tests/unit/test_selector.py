import pytest

from streams.domain.selector import parse_selector
from streams.errors import InvalidRuleError


@pytest.mark.parametrize(
    ("text", "name", "labels", "taken"),
    [
        ("up", "up", {"job": "x"}, True),
        ("up", "upper", {}, False),
        ('up{job="node"}', "up", {"job": "node"}, True),
        ('up{job="node"}', "up", {}, False),
        ('up{job!="node"}', "up", {}, True),
        ('up{job=~"no.e|x"}', "up", {"job": "node"}, True),
        ('up{job=~"no"}', "up", {"job": "node"}, False),
        ('up{job!~"no.*"}', "up", {"job": "node"}, False),
        ("up{ job = 'node' , a != 'b', }", "up", {"job": "node"}, True),
        (r'up{job="a\"b\\c"}', "up", {"job": 'a"b\\c'}, True),
        ('{__name__=~"a_.*"}', "a_b", {}, True),
        ('{__name__=~"a_.*",x="1"}', "a_b", {}, False),
        ('{__name__=~"a_.*",__name__!="a_c"}', "a_c", {}, False),
        ("node:num_cpu:sum{}", "node:num_cpu:sum", {}, True),
    ],
)
def test_series_is_taken_as_promql_would(text: str, name: str, labels: dict[str, str], taken: bool) -> None:
    selector = parse_selector(text)

    assert (selector.takes_name(name) and selector.takes_labels(labels)) == taken


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "must give a name"),
        ("{}", "must give a name"),
        ('{job="node"}', "must give a name"),
        ('{__name__=~".*"}', "must give a name"),
        ('up{__name__="down"}', "and not both"),
        ("up{job}", "not a selector"),
        ("up{job=node}", "not a selector"),
        ("up[5m]", "not a selector"),
        ('up{job="node"} > 1', "not a selector"),
        ('up{job=~"("}', "not a regular expression"),
    ],
)
def test_what_is_no_selector_is_refused_with_the_reason(text: str, why: str) -> None:
    with pytest.raises(InvalidRuleError, match=why):
        parse_selector(text)
