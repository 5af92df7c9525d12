import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.domain.appendix_a import POLICY, document_of, read_time_ms, write_time
from streams.domain.decice_fields import Fields
from streams.encoding import encode_json
from streams.errors import InvalidMessageError
from streams.rulebook.validate import document_faults, schema_validator
from streams.web.reading import document_schema
from tests.imported import BOOK, import_bodies_of, views_of

CASE = Path(__file__).parent.parent / "cases" / "documents" / "appendix-a.json"
NOW_MS = 1_900_000_000_000
FIELDS = Fields(BOOK.catalogue, "MiB")

words = st.text(st.characters(codec="utf-8", exclude_characters="~"), min_size=1, max_size=6)
lower = words.filter(lambda text: text == text.lower())
labels = st.lists(st.text(max_size=5), max_size=3)
percent = st.floats(0, 100) | st.integers(0, 100)


def optional(**fields: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    return st.fixed_dictionaries({}, optional=fields)


def by_id(*path: str) -> Any:
    def id_of(item: dict[str, Any]) -> str:
        for key in path:
            item = item[key]
        return str(item["id"])

    return id_of


nodes = st.builds(
    lambda id, labels, metrics, hardware: {
        "node": {"id": id, "labels": labels, "metrics": metrics, "hardware": hardware}
    },
    words,
    labels,
    optional(**{"cpu-usage-percent": percent, "memory-usage-percent": percent}),
    optional(cpu_cores=st.integers(0, 1_000), memory_in_mb=st.integers(0, 1 << 30)),
)
policies = st.fixed_dictionaries(
    {"policy": st.fixed_dictionaries(dict.fromkeys((name for name, _ in POLICY), labels))}
)
profiles = st.builds(
    lambda name, weights: {**name, "weights": [{"weight": weight} for weight in weights]},
    optional(name=st.text(max_size=5)),
    st.lists(optional(model_name=st.text(max_size=5), model_weight=percent), max_size=3),
)
jobs = st.builds(
    lambda id, profile, pods: (
        profile | {"job": {"id": id, "pods": [{"pod": {"policies": one}} for one in pods]}}
    ),
    words,
    optional(profile=profiles),
    st.lists(st.lists(policies, max_size=2), max_size=2),
)


@st.composite
def documents(draw: st.DrawFn) -> dict[str, Any]:
    """Documents in their normal form: lists by id, and all lists there."""
    found = draw(st.lists(nodes, max_size=6, unique_by=lambda item: item["node"]["id"].lower()))
    pools = draw(st.lists(st.tuples(words, labels), max_size=3, unique_by=lambda pool: pool[0]))
    homes = [draw(st.integers(0, len(pools) - 1)) for _ in found] if pools else []
    ends = draw(st.lists(st.tuples(words, words), max_size=4, unique=True))
    return {
        "lastUpdated": write_time(draw(st.integers(1_000, NOW_MS))),
        "nodepools": [
            {
                "nodepool": {
                    "id": id,
                    "labels": own,
                    "nodes": sorted(
                        (node for node, home in zip(found, homes, strict=False) if home == place),
                        key=lambda item: item["node"]["id"].lower(),
                    ),
                }
            }
            for place, (id, own) in sorted(enumerate(pools), key=lambda pool: pool[1][0])
        ],
        "networks": [
            {"network": {"nodepool_a_id": a, "nodepool_b_id": b}}
            for a, b in sorted(ends, key=lambda pair: f"{pair[0]}~{pair[1]}")
        ],
        "jobs": sorted(draw(st.lists(jobs, max_size=3, unique_by=by_id("job"))), key=by_id("job")),
    }


def round_trip(document: Any) -> dict[str, Any]:
    body = encode_json(document)
    found = document_of(views_of(import_bodies_of(body, "appendix-a", NOW_MS), NOW_MS), FIELDS)
    assert document_faults(found, schema_validator(document_schema("appendix-a"))) == []
    return found


def test_the_document_of_the_deliverable_comes_back_byte_by_byte() -> None:
    document = json.loads(CASE.read_text())

    found = round_trip(document)

    assert json.dumps(found, indent=2) == json.dumps(document, indent=2)


@given(documents())
def test_a_document_comes_back_without_loss(document: dict[str, Any]) -> None:
    has_value = any(
        item["node"]["metrics"] or item["node"]["hardware"]
        for pool in document["nodepools"]
        for item in pool["nodepool"]["nodes"]
    )
    found = round_trip(document)

    # Its time is that of the values: where there are none the twin has nothing that is of then.
    if not has_value:
        found["lastUpdated"] = document["lastUpdated"]
    assert found == document


@pytest.mark.parametrize(
    ("text", "time_ms"),
    [
        ("2023-10-26 19:38:23", 1_698_349_103_000),
        ("2023-10-26T19:38:23.5Z", 1_698_349_103_500),
        ("2023-10-26 21:38:23+02:00", 1_698_349_103_000),
    ],
)
def test_times_are_utc_unless_they_say_otherwise(text: str, time_ms: int) -> None:
    assert read_time_ms(text) == time_ms


@pytest.mark.parametrize("text", ["2023-13-01 00:00:00", "0000-01-01 00:00:00", "now"])
def test_what_is_no_time_is_refused_with_its_text(text: str) -> None:
    with pytest.raises(InvalidMessageError, match=f"lastUpdated: '{text}'"):
        read_time_ms(text)


@given(st.integers(0, 250_000_000_000_000))
def test_a_time_is_read_as_it_was_written(time_ms: int) -> None:
    assert read_time_ms(write_time(time_ms)) == time_ms


def test_lists_that_are_left_out_are_empty() -> None:
    assert round_trip({"nodepools": [{"nodepool": {"id": "1"}}], "jobs": [{"job": {"id": "j"}}]}) == {
        "lastUpdated": None,
        "nodepools": [{"nodepool": {"id": "1", "labels": [], "nodes": []}}],
        "networks": [],
        "jobs": [{"job": {"id": "j", "pods": []}}],
    }


def test_what_the_format_does_not_have_is_refused_with_its_place() -> None:
    body = encode_json({"nodepools": [{"nodepool": {"id": "1", "power": 3}}]})

    with pytest.raises(InvalidMessageError, match=r"\$\.nodepools\[0\]\.nodepool: .*power"):
        import_bodies_of(body, "appendix-a", NOW_MS)


def test_labels_of_kubernetes_become_texts() -> None:
    attributes = {"labels": '{"gpu":"","zone":"hall"}'}
    view = {
        "kind": "node", "id": "ws01", "status": "up", "status_reason": "", "simulated": False, "features": {},
        "attributes": attributes, "metrics": {}, "seen_ms": 0,
    }  # fmt: skip
    pool = view | {"kind": "nodepool", "id": "1"}

    found = document_of([view, pool | {"attributes": {"labels": '"text"'}}], FIELDS)

    assert [item["nodepool"]["labels"] for item in found["nodepools"]] == [[], []]
    assert found["nodepools"][1]["nodepool"]["nodes"][0]["node"]["labels"] == ["gpu", "zone=hall"]
