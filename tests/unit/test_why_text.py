"""Explanations in words."""

from typing import Any

import pytest

from streams.domain.entity import COUNTER, GAUGE, HELD, INTERPOLATED, MEASURED
from streams.domain.why.faults import Step
from streams.domain.why.rule import Mapped, RawSeries
from streams.domain.why.samples import INCREASE, LAST, LAST_RATE, LINEAR, MEASURED_AT, Found, Origin, Sample
from streams.domain.why.text import (
    date,
    every,
    number,
    say_candidate,
    say_head,
    say_mapped,
    say_rule,
    say_step,
)
from streams.domain.why.totals import say_total
from streams.domain.why.trace import Candidate
from streams.records import Aggregate

TICK_MS = 1_751_552_585_000
ORIGIN = Origin(3, 11, TICK_MS, "t:1", "scrape", 1, 5, "", False)


def sample(at_ms: int, value: float, form: int = GAUGE, hold_ms: int = 15_000) -> Sample:
    return Sample("s", form, TICK_MS + at_ms, value, hold_ms, ORIGIN)


def found(value: float, rule: str, *samples: Sample, quality: int = HELD) -> Found:
    return Found(value, quality, rule, samples)


def candidate(source: str, value: Found | None, newest: Sample | None, **fields: Any) -> Candidate:
    known = {"priority": 10, "interval_ms": 5_000, "hold_ms": 15_000, "silent": False} | fields
    return Candidate(source, found=value, newest=newest, **known)


@pytest.mark.parametrize(
    ("value", "unit", "text"),
    [
        (31.2, "%", "31.2 %"),
        (3.0, "1", "3"),
        (4_082_106_368.0, "B", "4,082,106,368 B"),
        (1_294_988.5, "%·s", "1,294,988.50 %·s"),
        (1e18, "B", "1e+18 B"),
        (0.000012345678, "", "1.23457e-05"),
        (None, "W", "nothing"),
    ],
)
def test_numbers(value: float | None, unit: str, text: str) -> None:
    assert number(value, unit) == text


def test_times_are_utc() -> None:
    assert date(TICK_MS + 7) == "2025-07-03T14:23:05.007Z"


@pytest.mark.parametrize(
    ("one", "hold_ms", "parts"),
    [
        (found(3.0, MEASURED_AT, sample(0, 3.0), quality=MEASURED), 15_000, ["at the very tick, 3 %"]),
        (
            found(3.0, LINEAR, sample(-1_000, 2.0), sample(3_900, 4.0), quality=INTERPOLATED),
            15_000,
            [
                "linear between 2 % at 14:23:04.000 and 4 % at 14:23:08.900",
                "1 s into a gap of 4.9 s (at most 15 s",
            ],
        ),
        (found(3.0, LAST, sample(-7_000, 3.0)), 12_500, ["3 % at 14:22:58.000", "age of 7 s", "12.5 s"]),
        (found(3.0, LAST, sample(-7_000, 3.0)), 10**13, ["stays until it is changed"]),
        (
            found(2.0, INCREASE, sample(-5_000, 10.0), sample(0, 20.0), quality=MEASURED),
            15_000,
            ["grew by 10 %·s in the 5 s up to the tick", "2 samples from 10 %·s"],
        ),
        (
            found(2.0, INCREASE, sample(-6_000, 10.0), sample(1_000, 3.0), quality=INTERPOLATED),
            15_000,
            ["linear between them", "it began anew 1 times"],
        ),
        (
            found(2.0, LAST_RATE, sample(-12_000, 10.0), sample(-7_000, 20.0)),
            15_000,
            ["grew by 10 %·s", "in 5 s", "7 s before the tick (15 s at most)"],
        ),
        (
            found(2.0, LAST_RATE, sample(-4_000, 10.0), sample(0, 5.0)),
            15_000,
            ["since when it began anew", "no sample from before the step"],
        ),
    ],
)
def test_a_rule_is_told_with_its_numbers(one: Found, hold_ms: int, parts: list[str]) -> None:
    text = say_rule(one, TICK_MS, 5_000, hold_ms, "%")

    for part in parts:
        assert part in text


def test_the_newest_value() -> None:
    counted = [sample(-5_000, 10.0, COUNTER), sample(0, 20.0, COUNTER)]

    assert say_head([sample(0, 3.0)], GAUGE, 3.0, TICK_MS, "W") == "the newest sample, 3 W at 14:23:05.000"
    assert "grew by 10 J" in say_head(counted, COUNTER, 2.0, TICK_MS, "W")
    assert "between its two newest samples" in say_head(counted[1:], COUNTER, 2.0, TICK_MS, "W")


def test_why_a_source_gave_the_value_or_not() -> None:
    value = found(3.0, MEASURED_AT, sample(0, 3.0))
    best = candidate("best", value, sample(0, 3.0))
    later = candidate("later", value, sample(0, 3.0), priority=20, interval_ms=0)
    equal = candidate("equal", value, sample(0, 3.0))
    old = candidate("old", None, sample(-32_000, 3.0), silent=True)
    first = candidate("first", None, sample(-1_000, 3.0, COUNTER))
    nothing = candidate("nothing", None, None)

    assert say_candidate(best, best, TICK_MS, "W") == "gave the value (priority 10, every 5 s)"
    assert say_candidate(later, best, TICK_MS, "W") == (
        "had 3 W, but best goes before it by priority (priority 20, on cue)"
    )
    assert "by name, as the priorities are the same" in say_candidate(equal, best, TICK_MS, "W")
    assert say_candidate(old, best, TICK_MS, "W") == (
        "had nothing newer than 32 s before the tick and was silent; values hold 15 s"
        " (priority 10, every 5 s)"
    )
    assert "no rate yet" in say_candidate(first, best, TICK_MS, "W")
    assert "had no sample up to the tick" in say_candidate(nothing, None, TICK_MS, "W")


def mapped(**fields: Any) -> Mapped:
    series = (RawSeries('mem{node="a"}', 2.0, TICK_MS),)
    known = {"pack": "lab", "place": "lab.yaml:7", "series": series, "formula": "", "raw": 2.0, "value": 2.0}
    known |= {"from_unit": "B", "to_unit": "B", "scale": 1.0, "offset": 0.0}
    return Mapped(**known | fields)


def test_a_series_as_it_is() -> None:
    assert say_mapped(mapped()) == [
        "rule lab.yaml:7 of pack lab: the series as it is",
        '  mem{node="a"} 2.0 at 14:23:05.000',
    ]


def test_a_conversion_and_a_limit() -> None:
    lines = say_mapped(mapped(from_unit="MiB", scale=2.0**20, value=2.0**21))
    assert lines[-1] == "  MiB to B: 2 × 1,048,576 = 2,097,152 B"

    kelvin = mapped(raw=300.0, from_unit="K", to_unit="°C", offset=-273.15, value=26.0)
    assert say_mapped(kelvin)[-2:] == [
        "  K to °C: 300 × 1 - 273.15 = 26.85 °C",
        "  26.85 °C was limited to 26",
    ]
    assert "+ 2 =" in say_mapped(mapped(offset=2.0, value=4.0))[-1]
    assert "gives 5 whatever the value" in say_mapped(mapped(scale=0.0, offset=5.0, value=5.0))[-1]


def test_many_series_are_counted() -> None:
    series = tuple(RawSeries(f'busy{{cpu="{n}"}}', 1.0, TICK_MS, "busy", "sum") for n in range(6))

    lines = say_mapped(mapped(series=series, formula="busy / 2"))

    assert lines[0].endswith("formula busy / 2")
    assert lines[1] == '  busy = busy{cpu="0"} 1.0 at 14:23:05.000 (sum)'
    assert lines[-1] == "  and 2 more series"


def test_what_a_fault_did() -> None:
    assert say_step(Step("hot", "metric_scale", "ann", 2.0, 4.0, "factor 2"), "W") == (
        "fault hot of ann, metric_scale (factor 2), makes 4 W of 2 W"
    )
    assert say_step(Step("f", "node_down", "", 2.0, None, ""), "W") == "fault f, node_down, takes 2 W away"
    assert "put 4 W in place of nothing" in say_step(Step("s", "set", "", None, 4.0, ""), "W")
    assert "keeps 4 W from before it, in place of 2 W" in say_step(
        Step("f", "sensor_stuck", "", 2.0, 4.0, ""), "W"
    )
    assert "moves the times" in say_step(Step("f", "clock_skew", "", 2.0, 2.0, "skew_ms 4000"), "W")


def test_how_often_a_source_is_asked() -> None:
    assert [every(0), every(2_500), every(10**12)] == ["on cue", "every 2.5 s", "until it is changed"]


def test_a_total_says_of_how_many_nodes_it_is_and_who_said_what() -> None:
    known = Aggregate(
        names=["nodes", "power_watts", "nodes_with_power_watts"],
        partitions=[4, 1, 2],
        offsets=[70, 11, 12],
        ticks_ms=[0, 0, 0],
        values=[3.0, 20.5, 2.0, 1.0, 10.0, 1.0, 0.0, 0.0, 0.0],
    )

    assert say_total(known, "power_watts", 30.5, 1_751_552_585_000, "W") == (
        "the twin's total, 30.5 W at 14:23:05.000, of 3 of 4 nodes: 10 W in partition 1 (clock at 11),"
        " 20.5 W in partition 4 (clock at 70)"
    )
    assert say_total(known, "nodes_count", 4.0, 1_751_552_585_000, "1").endswith(
        "of 4 of 4 nodes: 1 node(s) in partition 1 (clock at 11), 3 node(s) in partition 4 (clock at 70)"
    )


def test_a_total_of_no_node_names_no_partition() -> None:
    known = Aggregate(names=["nodes"], partitions=[4], offsets=[70], ticks_ms=[0], values=[0.0])

    assert say_total(known, "nodes_count", 0.0, 1_751_552_585_000, "1").endswith("of 0 of 0 nodes")
