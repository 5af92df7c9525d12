import json
from typing import Any

import pytest

from streams.domain.catalogue import Catalogue
from streams.errors import InvalidMessageError
from streams.events import (
    InvalidEventError,
    check_resolved,
    event_record,
    event_schema,
    parse_event,
    read_event,
)
from streams.events.faults import FAULT_KINDS
from streams.events.models import MAX_SET, TYPES
from streams.events.sender import encode_event, stamped
from streams.rulebook import load_rulebook
from streams.schemas import load_codec

SELECTOR = {"kind": "node", "ids": ["ws01"]}

BODIES: dict[str, tuple[str, dict[str, Any]]] = {
    "world.create": ("w1", {"owner": "me"}),
    "world.advance": ("w1", {"by_ms": 5_000}),
    "world.drop": ("live~w1", {}),
    "world.load": ("w1", {"from_ms": 1}),
    "entity.set": ("w1", {"entities": [{"kind": "node", "id": "ws01", "metrics": {"load1": 1}}]}),
    "entity.remove": ("w1", {"entities": [{"kind": "node", "id": "ws01"}]}),
    "fault.start": ("live~w1", {"kind": "node_down", "selector": SELECTOR}),
    "fault.stop": ("w1", {"fault": "f1"}),
    "collect.now": ("live", {}),
    "import": (
        "live",
        {
            "source": "vte",
            "pack": "decice_v2",
            "interval_ms": 0,
            "taken_at_ms": 1,
            "series": ["a"],
            "values": [1.0],
        },
    ),
}
"""A world and the least body of each type."""


@pytest.fixture(scope="module")
def catalogue() -> Catalogue:
    return load_rulebook().catalogue


def document(type: str, **body: Any) -> dict[str, Any]:
    world, least = BODIES[type]
    return {"id": "e1", "type": type, "world": world, "at_ms": 5, "sender": "s", "body": least | body}


def faults_of(event: Any, catalogue: Catalogue) -> list[tuple[str, str]]:
    with pytest.raises(InvalidEventError) as caught:
        parse_event(event, catalogue)
    return caught.value.faults


def test_each_type_has_a_least_body() -> None:
    assert set(BODIES) == set(TYPES)


@pytest.mark.parametrize("type", TYPES)
def test_an_event_of_each_type_comes_through_the_topic_as_it_was(type: str, catalogue: Catalogue) -> None:
    event = parse_event(document(type), catalogue)

    assert read_event(load_codec("event").encode(event_record(event)), catalogue) == event


@pytest.mark.parametrize(
    ("event", "field", "text"),
    [
        ([], "event", "[] is not an object"),
        (None, "event", "null is not an object"),
        (document("world.drop") | {"body": [1]}, "body", "[1] is not an object"),
        ({"type": "nope"}, "type", "'nope' is not one of 'world.create'"),
        ({"world": "w1"}, "type", "is missing: one of 'world.create'"),
        (document("world.create", owner=""), "body.owner", "at least 1"),
        (document("world.create", colour="red"), "body.colour", "there is no such field"),
        (document("world.create", ttl_s=0), "body.ttl_s", "greater than 0"),
        (document("world.create", max_entities=20_001), "body.max_entities", "20000"),
        (document("world.create", step_ms="5000"), "body.step_ms", "'5000'"),
        (document("world.create", clock_ms=True), "body.clock_ms", "integer"),
        (document("world.advance", to_ms=5), "body", "one of to_ms and by_ms"),
        (document("world.advance", by_ms=-1), "body.by_ms", "'-1'"),
        (document("entity.set", entities=[]), "body.entities", "at least 1"),
        (document("entity.set", entities=[{"kind": "node"}]), "body.entities.0.id", "is missing"),
        (
            document("entity.set", entities=[{"kind": "_fault", "id": "a"}]),
            "body.entities.0.kind",
            "'_fault'",
        ),
        (document("fault.start", kind="quake"), "body.kind", "'quake' is not one of 'node_down'"),
        (document("fault.start", end_ms=5, duration_ms=5), "body", "exclude each other"),
        (document("fault.start", start_ms=9, end_ms=9), "body", "not after start_ms"),
        (document("fault.start", kind="capacity_cut", share=0), "body.share", "greater than 0"),
        (document("fault.start", kind="clock_skew", skew_ms=60_001), "body.skew_ms", "60000"),
        (document("fault.start", kind="metric_scale", metrics=["load1"]), "body.factor", "is missing"),
        (document("fault.stop", fault=None), "body.fault", "string"),
        ({**document("world.drop"), "world": "W 1"}, "world", "'W 1' is not a name: NAME or live~NAME"),
        ({**document("world.drop"), "at_ms": -1}, "at_ms", "'-1'"),
        ({**document("world.drop"), "id": "x" * 129}, "id", "128"),
    ],
)
def test_what_is_wrong_is_named_with_field_and_value(
    event: Any, field: str, text: str, catalogue: Catalogue
) -> None:
    faults = faults_of(event, catalogue)

    assert [found for found, _ in faults] == [field]
    assert text in faults[0][1]


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_values_are_finite(value: float, catalogue: Catalogue) -> None:
    entity = {"kind": "node", "id": "a", "metrics": {"load1": value}}

    assert faults_of(document("entity.set", entities=[entity]), catalogue)[0][0].startswith("body.entities.0")


def test_metrics_are_those_of_the_catalogue_within_their_ranges(catalogue: Catalogue) -> None:
    entity = {"kind": "node", "id": "a", "metrics": {"cpu_usage_percent": 101.0, "mem_usge_percent": 1.0}}
    faults = faults_of(document("entity.set", entities=[entity]), catalogue)
    fault = faults_of(
        document("fault.start", kind="metric_fixed", metrics=["load1", "beard_cm"], value=1.0), catalogue
    )

    assert faults[0] == (
        "body.entities.0.metrics.cpu_usage_percent",
        "101.0 % is not within 0 to 100",
    )
    assert "did you mean mem_usage_percent" in faults[1][1]
    assert fault[0][0] == "body.metrics.1"


def test_a_metric_without_a_greatest_value_has_a_least_one(catalogue: Catalogue) -> None:
    entity = {"kind": "node", "id": "a", "metrics": {"mem_total_bytes": -1.0}}

    ((_, text),) = faults_of(document("entity.set", entities=[entity]), catalogue)

    assert text == "-1.0 B is not at least 0"


def test_an_entity_is_named_once_and_at_most_two_hundred_are(catalogue: Catalogue) -> None:
    twice = [{"kind": "node", "id": "a"}, {"kind": "link", "id": "a"}, {"kind": "node", "id": "a"}]
    many = [{"kind": "node", "id": str(number)} for number in range(MAX_SET + 1)]

    for type in ("entity.set", "entity.remove"):
        assert "node 'a' is there twice" in faults_of(document(type, entities=twice), catalogue)[0][1]
        assert str(MAX_SET) in faults_of(document(type, entities=many), catalogue)[0][1]
        parse_event(document(type, entities=many[1:]), catalogue)


@pytest.mark.parametrize("type", TYPES)
def test_live_takes_cues_and_imports_and_nothing_else_does(type: str, catalogue: Catalogue) -> None:
    is_lives = type in ("collect.now", "import")
    event = {**document(type), "world": "w1" if is_lives else "live"}

    assert faults_of(event, catalogue)[0][0] == "world"


@pytest.mark.parametrize("type", ["world.advance", "world.load"])
def test_an_overlay_has_no_time_of_its_own(type: str, catalogue: Catalogue) -> None:
    assert "the time of an overlay" in faults_of({**document(type), "world": "live~w1"}, catalogue)[0][1]


def test_what_only_a_replica_knows_is_unresolved(catalogue: Catalogue) -> None:
    selectors = [{"kind": "node"}, {"kind": "node", "ids": ["a"], "labels": {"arch": "arm64"}}]
    unresolved = [
        document("world.load"),
        *(document("fault.start", selector=selector) for selector in selectors),
    ]

    for event in unresolved:
        with pytest.raises(InvalidEventError, match="POST /twin/v1/events") as caught:
            check_resolved(parse_event(event, catalogue))
        assert caught.value.reason == "unresolved"
    check_resolved(parse_event(document("fault.start"), catalogue))


def test_a_fault_touches_no_more_than_it_may(catalogue: Catalogue) -> None:
    ids = [str(number) for number in range(3)]
    few, enough = (
        document("fault.start", selector={"kind": "node", "ids": [*ids, ids[0]]}, max_entities=most)
        for most in (2, 3)
    )

    with pytest.raises(InvalidEventError, match="3 entities are more than 2"):
        check_resolved(parse_event(few, catalogue))
    check_resolved(parse_event(enough, catalogue))


@pytest.mark.parametrize(
    ("record", "field"),
    [({"body": "{"}, "body"), ({"body": "[]"}, "body"), ({"id": ""}, "id"), ({"type": "x"}, "type")],
)
def test_a_record_that_is_no_event_says_which_field(
    record: dict[str, str], field: str, catalogue: Catalogue
) -> None:
    event = event_record(parse_event(document("world.create"), catalogue)) | record

    with pytest.raises(InvalidEventError) as caught:
        read_event(load_codec("event").encode(event), catalogue)
    assert caught.value.faults[0][0] == field


@pytest.mark.parametrize("value", [None, b"", b"rubbish"])
def test_bytes_that_are_no_record_are_refused(value: bytes | None, catalogue: Catalogue) -> None:
    with pytest.raises(InvalidMessageError):
        read_event(value, catalogue)


def test_an_error_shows_three_faults_and_counts_the_rest(catalogue: Catalogue) -> None:
    event = document("world.create", a=1, b=2, c=3, d=4, e=5)

    with pytest.raises(InvalidEventError, match=r"body\.a: .*body\.c: .*; and 2 more$"):
        parse_event(event, catalogue)


def test_an_event_gets_an_id_and_a_time_where_it_has_none(catalogue: Catalogue) -> None:
    bare = parse_event({"type": "world.drop", "world": "w1"}, catalogue)
    first, second = stamped(bare), stamped(bare)
    whole = parse_event(document("world.drop"), catalogue)

    assert first.id != second.id
    assert first.at_ms > 1_700_000_000_000
    assert stamped(whole) is whole


def test_an_event_goes_with_its_world_or_its_sender(catalogue: Catalogue) -> None:
    keys = [encode_event(parse_event(document(type), catalogue))[0] for type in ("world.create", "import")]

    assert keys == [b"w1", b"s"]


def test_an_event_that_is_larger_than_a_message_is_refused(catalogue: Catalogue) -> None:
    entities = [
        {"kind": "job", "id": f"j{number}", "attributes": {"script": "x" * 90_000}} for number in range(3)
    ]

    with pytest.raises(InvalidMessageError, match="use several events"):
        encode_event(parse_event(document("entity.set", entities=entities), catalogue))


def test_the_json_schema_names_each_type_and_is_json() -> None:
    schema = event_schema()

    assert set(schema["discriminator"]["mapping"]) == set(TYPES)
    assert json.loads(json.dumps(schema)) == schema


def test_types_and_kinds_that_errors_name_are_those_of_the_schema() -> None:
    schema = event_schema()
    kinds = schema["$defs"]["FaultStart"]["properties"]["body"]["discriminator"]["mapping"]

    assert sorted(schema["discriminator"]["mapping"]) == sorted(TYPES)
    assert tuple(kinds) == FAULT_KINDS


def test_nobody_but_the_twin_is_its_source_and_tells_partials(catalogue: Catalogue) -> None:
    assert "is the twin itself" in faults_of(document("import", source="twin"), catalogue)[0][1]
    assert faults_of({**document("import"), "type": "partial"}, catalogue)[0][0] == "type"
