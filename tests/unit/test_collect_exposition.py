"""The exposition parser, against prometheus_client's own."""

import math
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families as parse_text

from streams.collect.exposition import decode, parse_exposition
from streams.domain.rules import format_series, parse_series
from streams.errors import SourceError


def everything(_name: str) -> bool:
    return True


def test_wanted_samples_are_taken_and_the_others_counted() -> None:
    text = (
        "# HELP node_load1 1m load average.\n# TYPE node_load1 gauge\nnode_load1 0.21\n"
        '# TYPE go_gc summary\ngo_gc{quantile="0"} 1e-05\ngo_gc{quantile="1"} 2\ngo_gc_count 7\n'
        'node_cpu_seconds_total{mode="idle",cpu="0"} 12.5\n'
    )

    found = parse_exposition(text, lambda name: name.startswith("node_"))

    assert found.series == ["node_load1", 'node_cpu_seconds_total{cpu="0",mode="idle"}']
    assert found.values == [0.21, 12.5]
    assert found.times_ms == [0, 0]
    assert found.unmapped == 3


def test_a_name_that_begins_like_an_unwanted_one_is_not_skipped() -> None:
    text = 'a{x="1"} 1\na{x="2"} 2\nab{x="1"} 3\na 4\nab 5\n'

    found = parse_exposition(text, lambda name: name == "ab")

    assert found.series == ['ab{x="1"}', "ab"]
    assert found.unmapped == 3


@pytest.mark.parametrize(
    ("line", "series", "value", "time_ms"),
    [
        ("a 1", "a", 1.0, 0),
        ("a\t1\t", "a", 1.0, 0),
        ("a 1 1700000000123", "a", 1.0, 1_700_000_000_123),
        ("a{} 1", "a", 1.0, 0),
        ('a {b = "c" , } 1', 'a{b="c"}', 1.0, 0),
        ('a{b="c",}1', 'a{b="c"}', 1.0, 0),
        ('a{b="}{,= \\" \\\\ \\n"} 1', 'a{b="}{,= \\" \\\\ \\n"}', 1.0, 0),
        ('a{b="\\d"} 1', 'a{b="\\\\d"}', 1.0, 0),
        ('a{z="1",b=""} +Inf', 'a{z="1"}', math.inf, 0),
        ("a -1.5e-3\r", "a", -0.0015, 0),
        ('a{b="é µ"} 1', 'a{b="é µ"}', 1.0, 0),
    ],
)
def test_what_exporters_write(line: str, series: str, value: float, time_ms: int) -> None:
    found = parse_exposition(f"{line}\n", everything)

    assert (found.series, found.values, found.times_ms) == ([series], [value], [time_ms])


def test_openmetrics_times_are_seconds_and_exemplars_are_passed_over() -> None:
    text = 'a_total{b="# x"} 1 1700000000.123 # {trace_id="}"} 0.5 1700000000\nb 2 # {} 1\n# EOF\n'

    found = parse_exposition(text, everything, openmetrics=True)

    assert found.series == ['a_total{b="# x"}', "b"]
    assert found.times_ms == [1_700_000_000_123, 0]


BROKEN_OUTLINES = [
    "a",
    "a one",
    "a 1_000",
    "a 1 2 3",
    'a{b="c" 1',
    'a{b="c"} ',
    "9a 1",
    "<html><body>502 Bad Gateway</body></html>",
    '{"status": "ok"}',
    "x" * 20_000,
]


@pytest.mark.parametrize(
    "line",
    [
        *BROKEN_OUTLINES,
        "a 1 1e400",
        "a 1 99999999999999999999",
        "a{b=c} 1",
        'a{b="c",b="d"} 1',
        'a{b="c"d="e"} 1',
        'a{,b="c"} 1',
        "a 1 # {} 1",
    ],
)
def test_what_is_no_sample_is_named_with_its_line(line: str) -> None:
    with pytest.raises(SourceError, match="line 2 is not a sample") as caught:
        parse_exposition(f"ok 1\n{line}\n", everything)

    assert caught.value.reason == "parse"
    assert line[:20] in str(caught.value)
    assert len(str(caught.value)) < 200


@pytest.mark.parametrize("line", BROKEN_OUTLINES)
def test_the_outline_of_an_unwanted_line_is_checked_too(line: str) -> None:
    with pytest.raises(SourceError, match="line 2 is not a sample"):
        parse_exposition(f"ok 1\n{line}\n", lambda name: False)


def test_no_sample_at_all_is_an_error() -> None:
    with pytest.raises(SourceError, match="no sample"):
        parse_exposition("# nothing here\n\n", everything)


def test_openmetrics_without_its_end_is_half_an_answer() -> None:
    with pytest.raises(SourceError) as caught:
        parse_exposition("a 1\n", everything, openmetrics=True)

    assert caught.value.reason == "incomplete"


def test_bytes_that_are_not_utf8_are_named_with_their_line() -> None:
    with pytest.raises(SourceError, match="line 3: byte 0xff") as caught:
        decode(b'a 1\nb 2\nc{d="\xff"} 3\n')

    assert caught.value.reason == "utf8"


def test_names_in_quotes_are_counted_as_unmapped() -> None:
    found = parse_exposition('{"my.metric",a="b"} 1\n{"other"} 2\nc 1\n', lambda name: name == "c")

    assert found.series == ["c"]
    assert found.unmapped == 2


def test_ten_megabytes_of_one_line_end_soon() -> None:
    began = time.perf_counter()

    with pytest.raises(SourceError):
        parse_exposition('a{b="' * 2_000_000, everything)

    assert time.perf_counter() - began < 1.0


names = st.builds("{}{}".format, st.sampled_from("aB_:"), st.text("aB_:9", max_size=4))
label_names = st.builds("{}{}".format, st.sampled_from("aB"), st.text("aB_9", max_size=3))
label_values = st.text(alphabet='a"\\n\n,{}= #é\U0001f600', max_size=8)
samples = st.tuples(
    names,
    st.dictionaries(label_names, label_values, max_size=4),
    st.floats(allow_nan=True),
    st.none() | st.integers(-(2**50), 2**50),
)


def written(name: str, labels: dict[str, str], value: float, blank: str) -> str:
    def quote(text: str) -> str:
        return '"' + text.replace("\\", "\\\\").replace("\n", "\\n").replace('"', '\\"') + '"'

    inner = f"{blank},{blank}".join(f"{label}{blank}={blank}{quote(text)}" for label, text in labels.items())
    shown = "NaN" if math.isnan(value) else repr(value)
    return (f"{name}{{{blank}{inner}{blank}}} {blank}{shown}") if labels else f"{name} {blank}{shown}"


def comparable(series: str, value: float, time_ms: int) -> tuple[str, str, int]:
    return series, repr(value), time_ms


@settings(max_examples=60)
@given(st.lists(samples, min_size=1, max_size=8), st.sampled_from(["", " ", "\t"]))
def test_text_is_read_as_prometheus_reads_it(rows: list[tuple], blank: str) -> None:
    lines = [
        written(name, labels, value, blank) + (f" {time_ms}" if time_ms else "")
        for name, labels, value, time_ms in rows
    ]
    text = "\n".join(lines) + "\n"

    found = parse_exposition(text, everything)

    expected = [
        comparable(
            format_series(sample.name, {label: value for label, value in sample.labels.items() if value}),
            float(sample.value),
            round((sample.timestamp or 0) * 1000),
        )
        for family in parse_text(text)
        for sample in family.samples
    ]
    assert list(map(comparable, found.series, found.values, found.times_ms)) == expected


@settings(max_examples=60)
@given(st.lists(samples, min_size=1, max_size=8, unique_by=lambda row: row[0].lower()))
def test_openmetrics_is_read_as_prometheus_client_reads_it(rows: list[tuple]) -> None:
    lines = []
    for name, labels, value, _ in rows:
        lines += [f"# TYPE {name} unknown", written(name, labels, value, "")]
    text = "\n".join([*lines, "# EOF"]) + "\n"

    found = parse_exposition(text, everything, openmetrics=True)

    expected = [
        comparable(
            format_series(sample.name, {label: value for label, value in sample.labels.items() if value}),
            float(sample.value),
            0,
        )
        for family in parse_openmetrics(text)
        for sample in family.samples
    ]
    assert list(map(comparable, found.series, found.values, found.times_ms)) == expected


@settings(max_examples=60)
@given(st.text(max_size=200))
def test_any_text_is_read_or_refused_with_a_reason(text: str) -> None:
    try:
        found = parse_exposition(text, everything)
    except SourceError:
        return

    for series in found.series:
        assert format_series(*parse_series(series)) == series
