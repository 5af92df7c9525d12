"""What the API says of the pipeline, as rows of tables; numbers as people read them."""

from collections.abc import Iterable, Mapping
from typing import Any

from streams.domain.entity import OUTCOMES
from streams.pages.units import ABSENT, age_text, moment_words, number_text, value_text

SHOWN_SOURCES = 200
"""[1] Targets in the page; those in trouble come first, and a filter finds the rest."""

Row = dict[str, Any]
"""One row of a table: cells as text, and `tone` for its colour."""


def topic_rows(pipeline: Mapping[str, Any]) -> list[Row]:
    """One row a topic, with what waits in it for each group."""
    lags: dict[str, list[tuple[str, int]]] = {}
    for group in pipeline["groups"]:
        sums: dict[str, int] = {}
        for part in group["partitions"]:
            sums[part["topic"]] = sums.get(part["topic"], 0) + (part["lag"] or 0)
        for topic, lag in sums.items():
            lags.setdefault(topic, []).append((group["role"], lag))
    replica = pipeline["replica"]
    if replica["partitions"]:
        lags.setdefault(replica["topic"], []).append(("this page", replica["lag"]))
    return [_topic_row(topic, lags.get(topic["topic"], [])) for topic in pipeline["topics"]]


def _topic_row(topic: Mapping[str, Any], lags: list[tuple[str, int]]) -> Row:
    is_missing = topic["exists"] is False
    return {
        "record": topic["record"],
        "topic": topic["topic"],
        "records": "missing" if is_missing else number_text(topic["records"]),
        "rate": ABSENT if topic["records_per_s"] is None else f"{number_text(topic['records_per_s'])} /s",
        "bytes": value_text(topic["bytes_per_s"], "B/s"),
        "lag": ", ".join(f"{role} {number_text(lag)}" for role, lag in lags) or ABSENT,
        "tone": "down" if is_missing else "degraded" if any(lag > 1_000 for _, lag in lags) else "",
    }


def partition_rows(pipeline: Mapping[str, Any], topic: str) -> list[Row]:
    """How far each reader of a topic is, by partition; the one that is furthest behind first."""
    readers = [(group["role"], group["partitions"]) for group in pipeline["groups"]]
    readers.append(("this page", pipeline["replica"]["partitions"]))
    parts = [(role, part) for role, parts in readers for part in parts if part["topic"] == topic]
    parts.sort(key=lambda each: (-(each[1]["lag"] or 0), each[0], each[1]["partition"]))
    return [
        {
            "key": f"{role}/{part['partition']}",
            "reader": role,
            "partition": part["partition"],
            "position": number_text(part["position"]),
            "end": number_text(part["end"]),
            "lag": number_text(part["lag"]),
        }
        for role, part in parts
    ]


def source_rows(sources: Iterable[Mapping[str, Any]], text: str = "") -> tuple[list[Row], int]:
    """Rows of the targets that contain a text, those in trouble first; and how many there are in all."""
    wanted = text.casefold()
    rows = [
        _source_row(source)
        for source in sources
        if wanted in f"{source['source']} {source['target']} {source['error']}".casefold()
    ]
    order = {"down": 0, "degraded": 1, "up": 2, "unknown": 3}
    rows.sort(key=lambda row: (order[row["tone"]], row["source"], row["target"]))
    return rows[:SHOWN_SOURCES], len(rows)


def _source_row(source: Mapping[str, Any]) -> Row:
    state, tone = _state_of(source)
    interval_ms = source["interval_ms"]
    return {
        "key": f"{source['source']} {source['target']}",
        "source": source["source"],
        "target": source["target"] or ABSENT,
        "state": state,
        "tone": tone,
        "age": age_text(source["age_ms"]),
        "interval": "on cue" if interval_ms == 0 else age_text(interval_ms),
        "duration": age_text(source["duration_ms"]),
        "samples": number_text(source["samples"]),
        "entities": number_text(source["entities"]),
        "error": source["error"],
    }


def _state_of(source: Mapping[str, Any]) -> tuple[str, str]:
    if source["ok"] is None:
        return "not seen" if source["target"] else "not scraped", "unknown"
    if not source["ok"]:
        count = source["failed_in_row"]
        return (f"failed {count}×" if count > 1 else "failed"), "down"
    return ("late", "degraded") if source["late"] else ("ok", "up")


def ledger_rows(ledger: Mapping[str, Any] | None) -> list[Row]:
    """What became of the samples, by source."""
    return [
        {"source": source["source"]}
        | {outcome: number_text(source[outcome]) for outcome in OUTCOMES}
        | {"lost": share_text(source)}
        for source in (ledger["sources"] if ledger else ())
    ]


def share_text(counts: Mapping[str, Any]) -> str:
    """The share of samples that were late, in conflict or rejected."""
    every = sum(counts[outcome] for outcome in OUTCOMES)
    lost = counts["late"] + counts["conflict"] + counts["rejected"]
    return ABSENT if not every else f"{lost / every:.2%}" if lost else "0 %"


def freshness_rows(freshness: Mapping[str, Any] | None) -> list[Row]:
    """Percentiles of the way from scrape to here, and of the age of the newest values by kind."""
    if freshness is None:
        return []
    spreads = [("scrape → here", freshness["scrape_to_seen"], freshness["scrape_to_seen"]["count"])]
    spreads += [(f"age of {kind['kind']}", kind["age"], kind["entities"]) for kind in freshness["kinds"]]
    return [
        {"what": what, "count": number_text(count)}
        | {name: age_text(spread[f"{name}_ms"]) for name in ("p50", "p95", "p99", "max")}
        for what, spread, count in spreads
    ]


def letter_rows(letters: Iterable[Mapping[str, Any]]) -> list[Row]:
    """One row a dead letter."""
    return [
        {
            "key": f"{letter['partition']}:{letter['offset']}",
            "at": moment_words(letter["at_ms"]),
            "stage": letter["stage"] or "?",
            "reason": letter["reason"] + (f" ({letter['redriven']}× again)" if letter["redriven"] else ""),
            "from": f"{letter['topic']} {letter['origin_partition']}:{letter['origin_offset']}",
            "bytes": value_text(letter["bytes"], "B"),
            "error": letter["error"],
            "refusal": letter["refusal"] or "",
        }
        for letter in letters
    ]


def subject_rows(pipeline: Mapping[str, Any]) -> list[Row]:
    """One row a schema."""
    return [
        {
            "subject": subject["subject"],
            "version": subject["version"],
            "id": str(subject["id"]),
            "hex": f"{subject['id']:08x}",
        }
        for subject in pipeline["subjects"]
    ]


def kafka_line(kafka: Mapping[str, Any]) -> tuple[str, str]:
    """How Kafka does, in a sentence, and its tone."""
    age = age_text(kafka["age_ms"])
    if kafka["fault"] is None:
        return f"Kafka answered {age} ago", "up"
    if kafka["looked_ms"] is None:
        return f"{kafka['fault']}; it has not answered since this page asks", "down"
    return f"{kafka['fault']}; what is shown of it is {age} old", "down"
