"""Text of queries: nothing that a label holds gets out of its quotes, and names come back as they were."""

import re

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from streams.errors import SettingsError
from streams.stores.promql.names import (
    MAX_CHOICE,
    ODD_NAME,
    STATE_SERIES,
    STATUS_CODES,
    Entity,
    SeriesNames,
    code_of,
    entity_of,
    labels_of,
    match,
    matches,
    quote,
    selector,
    status_of,
)

FIELDS = {"load1": ("load", "load1"), "power_watts": ("power", "power_watts"), "value": ("other", "worth")}
"""Measurement and field of the metrics, as the catalogue has them."""

NASTY = 'a"b\\c\nd{e}f,g=~h|i(j)*k.+?l$m^n[o]\tp\x00q\x7fr\r'
"""What PromQL and regular expressions take as theirs."""

texts = st.text(alphabet=st.characters(exclude_categories=["Cs"]), max_size=12) | st.text(
    alphabet='ab"\\\n{}|.*,=', max_size=12
)


def unquote(text: str) -> str:
    """The text that a quoted one of PromQL stands for; fails when something follows its quotes."""
    assert text[0] == '"'
    found, place = "", 1
    while text[place] != '"':
        assert text[place] >= " "
        assert text[place] != "\x7f"
        if text[place] != "\\":
            found += text[place]
            place += 1
        elif text[place + 1] == "x":
            found += chr(int(text[place + 2 : place + 4], 16))
            place += 4
        else:
            found += {"n": "\n", "\\": "\\", '"': '"'}[text[place + 1]]
            place += 2
    assert place == len(text) - 1
    return found


@given(texts)
@example(NASTY)
@example("\\")
@example('"} or up{a="')
@example("λ–😀")
def test_a_quoted_text_is_read_as_it_was(text: str) -> None:
    assert unquote(quote(text)) == text


def test_half_a_character_is_no_text() -> None:
    assert quote("a\ud800b") == '"a?b"'


@given(st.lists(texts, min_size=2, max_size=4), texts)
@example([NASTY, "b"], "")
def test_any_of_several_texts_matches_and_nothing_else(wanted: list[str], other: str) -> None:
    label, _, pattern = match("node_id", wanted).partition("=~")

    assert label == "node_id"
    for text in [*wanted, other]:
        assert bool(re.fullmatch(unquote(pattern), text, re.DOTALL)) == (text in wanted)


def test_one_text_is_compared_and_is_no_pattern() -> None:
    assert match("node_id", ["n.*"]) == 'node_id="n.*"'


def test_many_ids_become_several_matchers_of_bounded_length() -> None:
    ids = [f"n{number}" + '"' * 100 for number in range(100)]

    found = list(matches("node_id", ids))

    assert len(found) > 1
    assert max(len(matcher) for matcher in found) <= MAX_CHOICE + 20
    patterns = [unquote(matcher.removeprefix("node_id=~").removeprefix("node_id=")) for matcher in found]
    assert [id for pattern in patterns for id in pattern.split("|")] == ids
    assert list(matches("node_id", [])) == []
    assert len(list(matches("node_id", ["x" * 10_000, "y"]))) == 2


def test_a_selector_has_all_matchers() -> None:
    assert selector('a="1"', 'b=~"2|3"') == '{a="1",b=~"2|3"}'


@given(
    st.text(min_size=1, max_size=10) | st.sampled_from([*FIELDS, "beard_cm", "value", "a-b", "0x", "worth"])
)
def test_the_metric_of_a_series_is_the_one_it_was_made_for(metric: str) -> None:
    names = SeriesNames(FIELDS)

    name, odd = names.series_of(metric)

    assert re.fullmatch(r"[a-zA-Z_:][a-zA-Z0-9_:]*", name)
    assert name != STATE_SERIES
    assert names.metric_of(name, {"metric": odd} if odd else {}) == metric


def test_series_are_named_as_in_influxdb_and_odd_names_are_labels() -> None:
    names = SeriesNames(FIELDS)

    assert names.series_of("load1") == ("load_load1", "")
    assert names.series_of("beard_cm") == ("other_beard_cm", "")
    assert names.series_of("beard-cm") == (ODD_NAME, "beard-cm")
    assert names.select(()) == f'__name__!="{STATE_SERIES}"'
    assert names.select({"load1", "beard-cm", "x-y"}) == f'__name__=~"load_load1|{ODD_NAME}"'
    assert names.metric_of("up", {}) == "up"


@pytest.mark.parametrize(
    "fields",
    [{"a": ("x", "y_z"), "b": ("x_y", "z")}, {"a": ("x-y", "z")}, {"a": ("entity_state", "status")}],
)
def test_a_catalogue_whose_series_would_mix_is_refused(fields: dict[str, tuple[str, str]]) -> None:
    with pytest.raises(SettingsError, match="metric a "):
        SeriesNames(fields)


@pytest.mark.parametrize(
    ("kind", "id", "pool"),
    [("node", "n1", "1"), ("nodepool", "1", "1"), ("link", "a~b", ""), ("job", "7", "2")],
)
def test_an_entity_is_found_by_its_label(kind: str, id: str, pool: str) -> None:
    labels = labels_of(kind, id, pool, "live", simulated=True)

    assert entity_of(labels) == Entity(kind, id)
    assert labels["simulated"] == "true"
    assert "" not in labels.values()


def test_a_series_of_somebody_else_has_no_entity() -> None:
    assert entity_of({"__name__": "up", "world": "live"}) is None


def test_each_status_has_a_number_and_so_has_a_removal() -> None:
    for status in STATUS_CODES:
        assert status_of(float(code_of(status, removed=False))) == status
    assert status_of(float(code_of("up", removed=True))) == ""
    assert code_of("never heard of", removed=False) == 0
