import re
from contextlib import suppress
from datetime import UTC, datetime, timedelta, timezone
from urllib.parse import parse_qsl

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.domain.times import LATEST_MS, UNITS_MS, moment_text, parse_duration, parse_moment

NOW_MS = 1_795_521_120_000

moments = st.datetimes(
    min_value=datetime(1970, 1, 2),
    max_value=datetime(9999, 12, 30),
    timezones=st.integers(-23 * 60, 23 * 60).map(lambda minutes: timezone(timedelta(minutes=minutes))),
).map(lambda moment: moment.replace(microsecond=moment.microsecond // 1000 * 1000))


def exact_ms(moment: datetime) -> int:
    return (moment - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(milliseconds=1)


@pytest.mark.parametrize(
    ("text", "expected_ms"),
    [
        ("2026-11-24T03:12:00Z", 1_795_489_920_000),
        ("2026-11-24T04:12:00+01:00", 1_795_489_920_000),
        ("2026-11-24T04:12:00+0100", 1_795_489_920_000),
        ("2026-11-24 04:12+01:00", 1_795_489_920_000),
        ("20261124T031200Z", 1_795_489_920_000),
        (" 2026-11-24T03:12:00.250Z ", 1_795_489_920_250),
        ("1795489920000", 1_795_489_920_000),
        ("100000000", 100_000_000),
        ("now", NOW_MS),
        ("-30m", NOW_MS - 1_800_000),
        ("-1h30m", NOW_MS - 5_400_000),
        ("-0.5s", NOW_MS - 500),
        ("1970-01-01T00:00:00Z", 0),
        ("9999-12-31T23:59:59.999Z", LATEST_MS - 1),
    ],
)
def test_a_moment_is_what_it_says(text: str, expected_ms: int) -> None:
    assert parse_moment(text, NOW_MS) == expected_ms


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "is no moment"),
        ("yesterday", "is no moment"),
        ("12345678", "is no moment"),
        ("1.5e12", "is no moment"),
        ("nan", "is no moment"),
        ("٢" * 13, "is no moment"),
        ("9" * 5_000, "is no moment"),
        ("2026-02-30T00:00:00Z", "is no moment"),
        ("2026-11-24T03:12:00", "has no zone"),
        ("2026-11-24", "has no zone"),
        ("20261124", "has no zone"),
        ("1969-12-31T23:59:59Z", "between 1970 and 9999"),
        ("9999-12-31T23:59:59-23:00", "between 1970 and 9999"),
        ("0001-01-01T00:00:00+23:00", "between 1970 and 9999"),
        ("999999999999999", "between 1970 and 9999"),
        ("-100000d", "between 1970 and 9999"),
        ("-", "no length of time"),
        ("--5m", "no length of time"),
        ("-5", "no length of time"),
    ],
)
def test_what_is_no_moment_is_refused_in_few_words(text: str, why: str) -> None:
    with pytest.raises(ValueError, match=why) as caught:
        parse_moment(text, NOW_MS)
    assert len(str(caught.value)) < 200


@pytest.mark.parametrize("text", ["-5M", "-1mo", "-2y", "-3months"])
def test_months_and_years_are_never_minutes(text: str) -> None:
    with pytest.raises(ValueError, match="months and years differ in length"):
        parse_moment(text, NOW_MS)


@given(moments)
def test_a_moment_with_whatever_zone_is_exact_to_the_millisecond(moment: datetime) -> None:
    text = moment.isoformat()

    assert parse_moment(text, NOW_MS) == exact_ms(moment)
    assert parse_moment(str(exact_ms(moment)).zfill(9), NOW_MS) == exact_ms(moment)


@given(moments)
def test_a_plus_that_a_query_string_turned_into_a_space_is_still_one(moment: datetime) -> None:
    [(_, text)] = parse_qsl(f"at={moment.isoformat()}")

    assert parse_moment(text, NOW_MS) == exact_ms(moment)


@given(st.text() | st.from_regex(r"-?[0-9.]{1,400}[a-zA-Z]{0,5}", fullmatch=True), st.integers(0, LATEST_MS))
def test_any_text_is_a_moment_or_a_value_error(text: str, now_ms: int) -> None:
    with suppress(ValueError):
        assert 0 <= parse_moment(text, now_ms) <= max(now_ms, LATEST_MS - 1)


@given(st.lists(st.tuples(st.integers(1, 999), st.sampled_from(sorted(UNITS_MS))), min_size=1, max_size=4))
def test_a_duration_is_the_sum_of_its_parts(parts: list[tuple[int, str]]) -> None:
    text = "".join(f"{number}{unit}" for number, unit in parts)

    assert parse_duration(text) == sum(number * UNITS_MS[unit] for number, unit in parts)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "no length of time"),
        ("5", "no length of time"),
        ("m", "no length of time"),
        ("-5m", "no length of time"),
        ("5 m", "no length of time"),
        ("5m ", "no length of time"),
        ("5.m", "no length of time"),
        ("٥m", "no length of time"),
        ("1e3s", "'e' is no unit: units are ms, s, m, h, d, w"),
        ("5min", "'min' is no unit"),
        ("5H", "'H' is no unit"),
        ("5M", "'M' is no unit: months"),
        ("0s", "at least 1ms"),
        ("0.1ms", "at least 1ms"),
        ("9" * 400 + "s", "less than 8,000 years"),
        ("3000000d", "less than 8,000 years"),
        ("1" + "x" * 500, "no unit"),
    ],
)
def test_what_is_no_duration_is_refused_in_few_words(text: str, why: str) -> None:
    with pytest.raises(ValueError, match=re.escape(why)) as caught:
        parse_duration(text)
    assert len(str(caught.value)) < 200


@given(moments)
def test_what_is_written_is_read_again(moment: datetime) -> None:
    assert parse_moment(moment_text(exact_ms(moment)), NOW_MS) == exact_ms(moment)


def test_milliseconds_are_written_where_there_are_some() -> None:
    assert moment_text(1_795_489_920_000) == "2026-11-24T03:12:00Z"
    assert moment_text(1_795_489_920_007) == "2026-11-24T03:12:00.007Z"
