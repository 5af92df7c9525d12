import pytest

from streams.domain.jsontext import read_dict, read_json, read_list


@pytest.mark.parametrize("text", [None, "", "x", "[" * 100_000, "NaN"])
def test_what_is_no_json_says_nothing(text: str | None) -> None:
    assert read_json(text) is None


def test_numbers_that_json_does_not_have_are_null() -> None:
    assert read_json("[1e999,-1e999,NaN,Infinity,1.5]") == [None, None, None, None, 1.5]


def test_only_what_was_asked_for_is_given() -> None:
    assert read_dict("[]") is None
    assert read_list("{}") is None
    assert (read_dict('{"a":1}'), read_list("[1]")) == ({"a": 1}, [1])
