from typing import Any

import pytest

from streams.pages.pipelinerows import (
    SHOWN_SOURCES,
    freshness_rows,
    kafka_line,
    ledger_rows,
    letter_rows,
    partition_rows,
    source_rows,
    subject_rows,
    topic_rows,
)
from tests.factories import NOW_MS


def part(topic: str, partition: int, lag: int | None, position: int | None = 5) -> dict[str, Any]:
    return {"topic": topic, "partition": partition, "position": position, "end": 10, "lag": lag}


def pipeline(**overrides: Any) -> dict[str, Any]:
    """What the API says of two topics: one with two readers behind, one that is missing."""
    topic = {"exists": True, "records": 1_234, "end": 1_234, "records_per_s": 2.5, "bytes_per_s": 2_048.0}
    unknown = {"exists": False, "records": None, "end": None, "records_per_s": None, "bytes_per_s": None}
    return {
        "topics": [
            {"record": "scrape", "topic": "twin.scrape.v1", **topic},
            {"record": "state", "topic": "twin.state.v1", **topic},
            {"record": "event", "topic": "twin.event.v1", **unknown},
        ],
        "groups": [
            {"role": "worker", "partitions": [part("twin.scrape.v1", 0, 3), part("twin.scrape.v1", 1, 1_200)]}
        ],
        "replica": {"topic": "twin.state.v1", "lag": 7, "partitions": [part("twin.state.v1", 0, 7)]},
        "subjects": [{"subject": "twin.scrape.v1-value", "version": 2, "id": 258}],
    } | overrides


def source(**overrides: Any) -> dict[str, Any]:
    return {
        "source": "host",
        "target": "ws01",
        "ok": True,
        "late": False,
        "age_ms": 1_500,
        "interval_ms": 5_000,
        "duration_ms": 12,
        "samples": 40,
        "entities": 1,
        "failed_in_row": 0,
        "error": "",
    } | overrides


def test_a_topic_shows_what_waits_for_whom() -> None:
    scrape, state, event = topic_rows(pipeline())

    assert (scrape["lag"], scrape["tone"]) == ("worker 1,203", "degraded")
    assert (state["lag"], state["rate"], state["bytes"]) == ("this page 7", "2.500 /s", "2 KiB/s")
    assert (event["records"], event["rate"], event["lag"], event["tone"]) == ("missing", "–", "–", "down")


def test_before_kafka_has_answered_topics_are_not_called_missing() -> None:
    unknown = [
        dict.fromkeys(("exists", "records", "end", "records_per_s", "bytes_per_s"))
        | {"record": "scrape", "topic": "twin.scrape.v1"}
    ]

    (row,) = topic_rows(pipeline(topics=unknown, groups=[]))

    assert (row["records"], row["tone"]) == ("–", "")


def test_the_partition_that_is_furthest_behind_comes_first() -> None:
    rows = partition_rows(pipeline(), "twin.scrape.v1")

    assert [(row["partition"], row["lag"]) for row in rows] == [(1, "1,200"), (0, "3")]
    assert partition_rows(pipeline(), "twin.event.v1") == []


@pytest.mark.parametrize(
    ("overrides", "state", "tone"),
    [
        ({}, "ok", "up"),
        ({"late": True}, "late", "degraded"),
        ({"ok": False, "failed_in_row": 1}, "failed", "down"),
        ({"ok": False, "failed_in_row": 3, "late": True}, "failed 3×", "down"),
        ({"ok": None}, "not seen", "unknown"),
        ({"ok": None, "target": ""}, "not scraped", "unknown"),
    ],
)
def test_a_source_says_how_its_last_scrape_went(overrides: dict[str, Any], state: str, tone: str) -> None:
    ((row,), _) = source_rows([source(**overrides)])

    assert (row["state"], row["tone"]) == (state, tone)


def test_a_source_on_cue_has_no_interval_and_what_is_absent_stays_absent() -> None:
    ((row,), _) = source_rows([source(interval_ms=0, duration_ms=None, samples=None, age_ms=None)])

    assert (row["interval"], row["duration"], row["samples"], row["age"]) == ("on cue", "–", "–", "–")


def test_sources_in_trouble_come_first_and_the_rest_is_bounded() -> None:
    sources = [source(target=f"t{place:04}") for place in range(1_000)]
    sources[999] |= {"ok": False, "error": "refused"}
    sources[500] |= {"late": True}

    rows, count = source_rows(sources)

    assert (len(rows), count) == (SHOWN_SOURCES, 1_000)
    assert [row["target"] for row in rows[:3]] == ["t0999", "t0500", "t0000"]


def test_sources_are_found_by_any_of_their_words() -> None:
    sources = [source(), source(source="slurm", target="head"), source(target="x", error="Refused")]

    assert [source_rows(sources, text)[1] for text in ("SLURM", "ws0", "refused", "", "none of them")] == [
        1,
        1,
        1,
        3,
        0,
    ]


def test_the_share_that_was_not_used_leaves_out_repeated_samples() -> None:
    counts = {"applied": 90, "duplicate": 900, "late": 5, "conflict": 3, "rejected": 2}
    nothing = dict.fromkeys(counts, 0)

    rows = ledger_rows({"sources": [counts | {"source": "a"}, nothing | {"source": "b"}]})

    assert [(row["source"], row["lost"]) for row in rows] == [("a", "1.00%"), ("b", "–")]
    assert ledger_rows(None) == []


def test_freshness_without_samples_is_absent() -> None:
    spread = {"count": 0, "p50_ms": None, "p95_ms": None, "p99_ms": None, "max_ms": None}

    rows = freshness_rows(
        {"scrape_to_seen": spread, "kinds": [{"kind": "node", "entities": 2, "age": spread}]}
    )

    assert [(row["what"], row["count"], row["p50"]) for row in rows] == [
        ("scrape → here", "0", "–"),
        ("age of node", "2", "–"),
    ]
    assert freshness_rows(None) == []


def test_a_letter_shows_how_often_it_was_sent_again() -> None:
    letter = {
        "partition": 3,
        "offset": 17,
        "at_ms": NOW_MS,
        "stage": "",
        "reason": "unreadable",
        "error": "<b>no</b>",
        "topic": "twin.scrape.v1",
        "origin_partition": 1,
        "origin_offset": 2,
        "bytes": 2_048,
        "redriven": 2,
        "refusal": None,
    }

    (row,) = letter_rows([letter])

    assert (row["key"], row["stage"], row["reason"]) == ("3:17", "?", "unreadable (2× again)")
    assert (row["from"], row["bytes"], row["error"]) == ("twin.scrape.v1 1:2", "2 KiB", "<b>no</b>")


def test_a_schema_id_is_shown_as_it_stands_on_the_wire() -> None:
    assert subject_rows(pipeline())[0]["hex"] == "00000102"


@pytest.mark.parametrize(
    ("kafka", "text", "tone"),
    [
        ({"fault": None, "looked_ms": 1, "age_ms": 900}, "Kafka answered 900 ms ago", "up"),
        (
            {"fault": "away", "looked_ms": 1, "age_ms": 90_000},
            "away; what is shown of it is 2 min old",
            "down",
        ),
        (
            {"fault": "away", "looked_ms": None, "age_ms": None},
            "away; it has not answered since this page asks",
            "down",
        ),
    ],
)
def test_how_kafka_does_is_one_sentence(kafka: dict[str, Any], text: str, tone: str) -> None:
    assert kafka_line(kafka) == (text, tone)
