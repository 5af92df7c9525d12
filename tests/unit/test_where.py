import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.domain.view import entity_view
from streams.domain.where import InvalidWhereError, find, parse_where
from tests.factories import make_scenario, make_state


@pytest.fixture
def node() -> dict:
    return entity_view(
        make_state(
            attributes={
                "nodepool": "1",
                "kubernetes.io/arch": "x86_64",
                "rack": "rack 4",
                "status": "painted",
            },
            features={"anomaly_score": 0.25},
        )
    )


@pytest.mark.parametrize(
    "text",
    [
        "",
        "   ",
        "kind=node",
        "kind=node status=up world=live id=ws01",
        "status!=down",
        "cpu_usage_percent>31",
        "cpu_usage_percent>=31.2 cpu_usage_percent<=31.2 cpu_usage_percent=31.20",
        "cpu_usage_percent<31.3",
        "mem_total_bytes>2.5e11",
        "nodepool=1",
        "nodepool>0",
        "attributes.nodepool=1",
        "attributes.status=painted",
        "metrics.cpu_usage_percent=31.2",
        "aligned.cpu_usage_percent=30.9",
        "counts.applied=40",
        "kubernetes.io/arch=x86_64",
        "attributes.kubernetes.io/arch~X86",
        'rack="rack 4"',
        'rack~"K 4"',
        'id="ws\\01"',
        "id~S0",
        "id~",
        "anomaly_score<0.5 features.anomaly_score=0.25",
        "simulated=false",
        "simulated!=true",
        "version=12 epoch<4",
        "network_receive_bytes_per_s>1500",
    ],
)
def test_matching(node: dict, text: str) -> None:
    assert parse_where(text).matches(node)


@pytest.mark.parametrize(
    "text",
    [
        "kind=link",
        "status=down",
        "status!=up",
        "status=painted",
        "cpu_usage_percent>31.2",
        "cpu_usage_percent<31.2",
        "cpu_usage_percent>=31.3",
        "cpu_usage_percent<=31.1",
        "cpu_usage_percent=high",
        "kind=node status=down",
        "id>3",
        "arch=x86",
        'rack="rack"',
    ],
)
def test_not_matching(node: dict, text: str) -> None:
    assert not parse_where(text).matches(node)


@pytest.mark.parametrize("operator", ["=", "!=", ">", ">=", "<", "<=", "~"])
@pytest.mark.parametrize(
    "name", ["power_watts", "attributes.power_watts", "metrics.power_watts", "metrics", "x.y"]
)
def test_what_is_absent_matches_no_operator(node: dict, name: str, operator: str) -> None:
    assert not parse_where(f"{name}{operator}0").matches(node)


@pytest.mark.parametrize(
    ("text", "term", "hint"),
    [
        ("kind=node status", "status", "operator"),
        ("cpu_usage_percent > 80", "cpu_usage_percent", "right after the name"),
        ("kind=node =up", "=up", "name"),
        ("kind=node status=", "status=", "nothing stands after ="),
        ("cpu>high", "cpu>high", "'high' is none"),
        ("cpu>nan", "cpu>nan", "numbers"),
        ("status==up", "status==up", "== is not an operator"),
        ('rack="rack 4', 'rack="rack', "quotes"),
        ('rack="rack"4', 'rack="rack"4', "quotes"),
        ('rack=ra"ck', 'rack=ra"ck', "quotes"),
        ("status!up", "status!up", "operator"),
    ],
)
def test_an_error_names_the_term(text: str, term: str, hint: str) -> None:
    with pytest.raises(InvalidWhereError, match=re.escape(hint)) as caught:
        parse_where(text)

    assert caught.value.term == term
    assert repr(term) in str(caught.value)


def test_numbers_are_not_compared_as_text(node: dict) -> None:
    assert parse_where("version>9").matches(node)
    assert not parse_where("version<9").matches(node)


def test_find_gives_the_field_before_the_attribute_of_the_same_name(node: dict) -> None:
    assert find(node, "status") == "up"
    assert find(node, "attributes.status") == "painted"


NAMES = st.text(st.characters(exclude_characters='=!<>~"', exclude_categories=("Z", "C")), min_size=1).filter(
    lambda name: not any(character.isspace() for character in name)
)


@given(st.lists(st.tuples(NAMES, st.sampled_from(["=", "!=", "~"]), st.text()), max_size=4))
def test_every_quoted_value_comes_back(terms: list[tuple[str, str, str]]) -> None:
    quoted = [
        (name, operator, value.replace("\\", "\\\\").replace('"', '\\"')) for name, operator, value in terms
    ]

    where = parse_where("  ".join(f'{name}{operator}"{value}"' for name, operator, value in quoted))

    assert [(term.name, term.operator, term.value) for term in where.terms] == terms


@pytest.mark.parametrize(
    ("text", "holds"),
    [("faults~f1", True), ("faults=f2", False), ('faults="f1 f2"', True), ("faults~f3", False)],
)
def test_a_list_is_its_words(text: str, holds: bool) -> None:
    entity = entity_view(make_state(scenario=make_scenario(faults=["f1", "f2"])))

    assert parse_where(text).matches(entity) is holds


@given(st.text(st.sampled_from('ab1.=!<>~" \\')))
def test_any_text_is_a_filter_or_an_error_of_ours(text: str) -> None:
    try:
        where = parse_where(text)
    except InvalidWhereError as error:
        assert error.term in text  # noqa: PT017  # either outcome is right
    else:
        assert where.matches(entity_view(make_state())) in (True, False)


@given(st.floats(allow_nan=False, allow_infinity=False), st.floats(allow_nan=False, allow_infinity=False))
def test_comparisons_of_metrics_are_those_of_numbers(value: float, limit: float) -> None:
    node = entity_view(make_state(head_values=[value, 1.0, 1.0]))

    def holds(operator: str) -> bool:
        return parse_where(f"cpu_usage_percent{operator}{limit!r}").matches(node)

    assert holds(">") is (value > limit)
    assert holds(">=") is (value >= limit)
    assert holds("<") is (value < limit)
    assert holds("<=") is (value <= limit)
    assert holds("=") is (value == limit)
    assert holds("!=") is (value != limit)
