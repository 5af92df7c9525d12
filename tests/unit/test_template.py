import pytest

from streams.domain.template import parse_template
from streams.errors import InvalidRuleError


@pytest.mark.parametrize(
    ("text", "labels", "result"),
    [
        ("{a}~{b}", {"a": "1", "b": "2"}, "1~2"),
        ("cluster", {}, "cluster"),
        ("{a}", {}, None),
        ("{a}", {"a": ""}, ""),
        ("{a|lower}", {"a": "WS01"}, "ws01"),
        ("{a|short|lower}", {"a": "WS01.example.org"}, "ws01"),
        ("{a|host}", {"a": "ws01:9100"}, "ws01"),
        ("{a|host}", {"a": "ws01"}, "ws01"),
        ("{a|host}", {"a": "[::1]:9100"}, "::1"),
        ("{a|host}", {"a": "https://user:word@ws01.example.org:9100/metrics?x=1"}, "ws01.example.org"),
        ("{a|host}", {"a": ":9100"}, ":9100"),
        ("{a|trim}", {"a": "down*"}, "down"),
        ("{a|arch}", {"a": "AMD64"}, "x86_64"),
        ("{a|arch}", {"a": "riscv64"}, "riscv64"),
        ("{a|json}", {"a": '{"b": 1, "a": "ü"}'}, '{"a":"ü","b":1}'),
        ("{a|json}", {"a": ""}, ""),
        ("{a|json}", {"a": "null"}, ""),
        ("{a|json}", {"a": "{}"}, ""),
        (
            "{a|texts}",
            {"a": '{"x": 1, "y": 2.5, "t": true, "os": "linux", "n": null}'},
            '{"os":"linux","t":true}',
        ),
        ("{a|texts}", {"a": '{"x": 1}'}, ""),
        ("{a|texts}", {"a": "[1]"}, ""),
        ("{a|texts}", {"a": ""}, ""),
        ("{label_*}", {"label_b": "2", "label_a": "1", "other": "3"}, '{"a":"1","b":"2"}'),
        ("{label_*}", {"other": "3"}, ""),
    ],
)
def test_template_is_filled_from_labels(text: str, labels: dict[str, str], result: str | None) -> None:
    assert parse_template(text).render(labels, empty=True) == result


def test_an_empty_label_names_nothing() -> None:
    assert parse_template("node-{a}").render({"a": ""}, empty=False) is None


def test_what_is_not_json_is_no_value() -> None:
    with pytest.raises(ValueError, match="Expecting"):
        parse_template("{a|json}").render({"a": "{no"}, empty=True)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "not a template"),
        ("{a", "not a template"),
        ("a}", "not a template"),
        ("{a|loud}", "unknown filter 'loud'"),
    ],
)
def test_what_is_no_template_is_refused_with_the_reason(text: str, why: str) -> None:
    with pytest.raises(InvalidRuleError, match=why):
        parse_template(text)
