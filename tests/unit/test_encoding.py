import json

from streams.encoding import encode_json


def test_json_is_compact_utf8() -> None:
    assert encode_json({"id": "é", "n": [1, 2.5]}) == '{"id":"é","n":[1,2.5]}'.encode()


def test_what_json_cannot_write_becomes_null() -> None:
    document = {"a": float("nan"), "b": [float("inf"), 1.0], "c": {"d": -float("inf")}, "e": "NaN"}

    assert json.loads(encode_json(document)) == {"a": None, "b": [None, 1.0], "c": {"d": None}, "e": "NaN"}


def test_indented_for_people() -> None:
    assert encode_json({"a": 1}, indent=2) == b'{\n  "a": 1\n}'
