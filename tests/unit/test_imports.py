import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.domain.decice import document_of, lay_out, part_of
from streams.domain.decice_fields import Fields
from streams.domain.grouping import fill
from streams.domain.imports import (
    BYTES_MAX,
    FIRST_INTERVAL_MS,
    INTERVAL_MAX_MS,
    INTERVAL_MIN_MS,
    Origin,
    import_bodies,
    interval_after,
    scrape_of,
    some_entities,
    taken_at_ms,
)
from streams.domain.rules import RulePack
from streams.encoding import encode_json
from streams.errors import InvalidMessageError
from streams.records import Event
from streams.topics import MAX_MESSAGE_BYTES
from streams.web.reading import Source, read_import
from tests.decice_model import TwinV2
from tests.imported import BOOK, import_bodies_of, views_of

NOW_MS = 1_900_000_000_000
PACK = BOOK.packs["decice_v2"]
WHOLE = {
    "lastUpdated": 1731482875.1,
    "vertexpools": [
        {
            "id": "vp-1",
            "vertexpool_labels": {"zone": "hall", "rank": 2},
            "lastUpdated": None,
            "nodes": [
                {
                    "id": "ws01",
                    "name": "WS01",
                    "system": "linux",
                    "node_info": {"arch": "x86_64", "cpu_power": 22.5},
                    "metrics": {
                        "util": 3.1,
                        "mem_util": 22.0,
                        "network_bandwidth_mbps": 0.4,
                        "free_disk_gb": 310.2,
                        "total_disk_gb": 502.1,
                        "cpu_cores": 16,
                        "mem_total": 257584,
                        "power_watts": 41.0,
                    },
                }
            ],
            "devices": [
                {"id": "cam", "name": "cam-1", "labels": {"zone": "gate"}, "device_info": {"fps": 25}}
            ],
        },
    ],
    "links": [
        {"vertexpool_a_id": "vp-1", "vertexpool_b_id": "vp-2", "network_delay_ms": 0.8, "lastUpdated": None}
    ],
    "jobs": [{"id": "j", "pods": [{"id": "p", "policies": [{"prefered_labels": ["a"]}]}], "profile": None}],
    "cluster_info": {"cluster_power_watts": 812.0, "carbon_intensity_prediction": {"1h": 152.3}},
}


def event() -> Event:
    return Event(id="e", type="import", world="live", at_ms=5, sender="decice", body="")


def test_a_snapshot_says_the_same_after_it_was_imported() -> None:
    views = views_of(import_bodies_of(encode_json(WHOLE), "decice-v2", NOW_MS), NOW_MS)

    fields = Fields(BOOK.catalogue, "MiB")
    found = document_of(lay_out([part for view in views if (part := part_of(view, fields))]))

    TwinV2.model_validate_json(encode_json(found))
    assert found["lastUpdated"] == WHOLE["lastUpdated"]
    (pool,), (given_pool,) = found["vertexpools"], WHOLE["vertexpools"]  # type: ignore[misc, str-unpack]
    (node,), (given_node,) = pool["nodes"], given_pool["nodes"]  # type: ignore[index, misc]
    assert node["metrics"] == given_node["metrics"]
    assert (node["id"], node["name"], node["system"]) == ("ws01", "WS01", "linux")
    assert node["node_info"]["arch"] == "x86_64"
    assert node["node_info"]["cpu_power"] == 22.5
    assert pool["vertexpool_labels"] == {"zone": "hall", "rank": 2}
    (device,) = pool["devices"]
    assert (device["name"], device["labels"], device["device_info"]["fps"]) == ("cam-1", {"zone": "gate"}, 25)
    (link,) = found["links"]
    assert (link["vertexpool_a_id"], link["vertexpool_b_id"], link["network_delay_ms"]) == (
        "vp-1",
        "vp-2",
        0.8,
    )
    (job,) = found["jobs"]
    assert job["pods"][0]["policies"][0]["prefered_labels"] == ["a"]
    assert found["cluster_info"]["cluster_power_watts"] == 812.0
    assert found["cluster_info"]["carbon_intensity_prediction"] == {"1h": 152.3}


def test_memory_in_gb_is_converted() -> None:
    document = {"vertexpools": [{"nodes": [{"id": "a", "metrics": {"mem_total": 4, "cpu_cores": 2}}]}]}

    body = only(import_bodies(document, PACK, Origin("s", NOW_MS, 5_000, mem_unit="GB")))

    found = dict(zip(body["series"], body["values"], strict=True))
    assert (found['decice_mem_total{node="a"}'], found['decice_cpu_cores{node="a"}']) == (4096.0, 2.0)


def test_chunks_are_small_and_hold_whole_nodes_and_the_counts_are_in_the_first() -> None:
    nodes = [
        {"id": f"n{number}", "metrics": {"util": 1, "mem_util": 10**400 if number == 0 else 2}}
        for number in range(1_000)
    ]
    bodies = list(import_bodies({"vertexpools": [{"id": "1", "nodes": nodes}]}, PACK, Origin("s", 1, 5_000)))

    assert len(bodies) > 4
    homes = [
        {text.split('node="')[1].split('"')[0] for text in body["series"] if "node=" in text}
        for body in bodies
    ]
    assert sum(map(len, homes)) == len(set().union(*homes)) == 1_000
    assert max(map(len, homes)) <= 200
    assert [body["dropped"] for body in bodies] == [{"not_writable": 1}, *[{}] * (len(bodies) - 1)]


def test_what_belongs_together_and_is_too_large_is_refused() -> None:
    job = {"id": "j", "pods": [{"id": "x" * BYTES_MAX}]}

    with pytest.raises(InvalidMessageError, match=r"bytes belong together.*decice_job"):
        list(import_bodies({"jobs": [job]}, PACK, Origin("s", 1, 5_000)))


def test_texts_that_grow_in_json_still_fit() -> None:
    nodes = [{"id": f"{number}", "node_info": {"q": '"\\' * 2_000}} for number in range(100)]

    _, _, bodies = read_import(
        encode_json({"vertexpools": [{"id": "1", "nodes": nodes}]}), "decice-v2", Source("s"), NOW_MS
    )

    assert max(map(len, bodies)) < MAX_MESSAGE_BYTES


def test_times_beyond_all_calendars_are_dropped() -> None:
    links = [
        {"vertexpool_a_id": "a", "vertexpool_b_id": "b", "network_delay_ms": 1, "lastUpdated": time}
        for time in (5, 1e15)
    ]
    body = only(import_bodies({"lastUpdated": 9, "links": links}, PACK, Origin("s", 9_000, 5_000)))

    assert set(body["times_ms"]) == {5_000, 9_000}
    assert body["dropped"] == {"not_writable": 2}


def test_a_pack_without_documents_cannot_import() -> None:
    with pytest.raises(InvalidMessageError, match="rule pack x has no `document` section"):
        list(import_bodies({}, RulePack("x", 1), Origin("s", 1, 5_000)))


@pytest.mark.parametrize(
    ("before_ms", "taken_ms", "interval_ms"),
    [
        (None, NOW_MS, FIRST_INTERVAL_MS),
        (NOW_MS - 30_000, NOW_MS, 30_000),
        (NOW_MS - 1, NOW_MS, INTERVAL_MIN_MS),
        (1, NOW_MS, INTERVAL_MAX_MS),
        (NOW_MS, NOW_MS, 777),
        (NOW_MS + 1, NOW_MS, 777),
    ],
)
def test_the_interval_is_the_gap_to_the_snapshot_before(
    before_ms: int | None, taken_ms: int, interval_ms: int
) -> None:
    assert interval_after(before_ms, taken_ms, 777) == interval_ms


def test_a_snapshot_without_a_time_is_of_now() -> None:
    assert taken_at_ms({}, NOW_MS) == taken_at_ms({"lastUpdated": None}, NOW_MS) == NOW_MS
    assert taken_at_ms({"lastUpdated": NOW_MS / 1000 + 59}, NOW_MS) == NOW_MS + 59_000


@pytest.mark.parametrize("updated", [0, NOW_MS / 1000 + 61, 10**400])
def test_a_snapshot_of_the_future_or_of_no_time_is_refused(updated: float) -> None:
    with pytest.raises(InvalidMessageError, match=f"lastUpdated: {str(updated)[:10]}.* check the clocks"):
        taken_at_ms({"lastUpdated": updated}, NOW_MS)


@pytest.mark.parametrize(
    ("body", "text"),
    [
        (b"", "not JSON"),
        (b"{", "not JSON"),
        (b"[" * 100_000, "nested too deeply"),
        (b'{"lastUpdated": NaN}', "NaN is not JSON"),
        (b"\xff{}", "not JSON"),
        (b"null", "null is not an object"),
        (b'{"vertexpool": []}', r"\$: .*'vertexpool' was unexpected"),
        (
            b'{"vertexpools":[{"nodes":[{"id":"a","metrics":{"util":100.5}}]}]}',
            r"\$\.vertexpools\[0\]\.nodes\[0\]\.metrics\.util: 100.5 is greater than the maximum of 100",
        ),
        (b'{"lastUpdated": "now"}', r"\$\.lastUpdated: 'now' is not of type"),
    ],
)
def test_what_is_wrong_with_a_document_is_told_with_its_place(body: bytes, text: str) -> None:
    with pytest.raises(InvalidMessageError, match=text):
        import_bodies_of(body, "decice-v2", NOW_MS)


def test_a_few_entities_of_an_event_are_known() -> None:
    series = [
        'decice_node{name="A",node="A",pool="1"}',
        'decice_link{pool_a="1",pool_b="2"}',
        'decice_device{device="d",pool="1"}',
    ]

    assert some_entities(series) == [("node", "a"), ("link", "1~2"), ("device", "d")]
    assert some_entities(['decice_job{job="j"}', "decice_cluster"]) == [("job", "j")]
    assert some_entities(['decice_link{pool_a="1"}']) == some_entities([]) == []


def test_an_import_event_is_a_scrape_without_a_target() -> None:
    body = only(
        import_bodies(
            {"links": [{"vertexpool_a_id": "a", "vertexpool_b_id": "b", "network_delay_ms": 1}]},
            PACK,
            Origin("wrapper", 9_000, 5_000, simulated=True),
        )
    )

    scrape = scrape_of(event(), body)

    assert (scrape["source"], scrape["target"], scrape["pack"], scrape["ok"]) == (
        "wrapper",
        "",
        "decice_v2",
        True,
    )
    assert (scrape["scraped_at_ms"], scrape["interval_ms"], scrape["simulated"]) == (9_000, 5_000, True)
    assert scrape["values"] == [1.0, 1.0, 1.0]


def test_what_an_import_event_leaves_out_has_its_default() -> None:
    scrape = scrape_of(
        event(), {"source": "s", "pack": "p", "interval_ms": 1, "series": ["a"], "values": [1]}
    )

    assert (scrape["scraped_at_ms"], scrape["simulated"], scrape["times_ms"], scrape["dropped"]) == (
        5,
        False,
        [],
        {},
    )


@given(
    st.lists(st.lists(st.integers(0, 30), min_size=1, max_size=4), max_size=12),
    st.integers(1, 5),
    st.integers(1, 60),
)
def test_every_group_is_whole_in_a_chunk(groups: list[list[int]], groups_max: int, bytes_max: int) -> None:
    chunks = list(fill(groups, [7] * 31, groups_max=groups_max, bytes_max=bytes_max))

    assert all(any(set(group) <= set(chunk) for chunk in chunks) for group in groups)
    assert {place for chunk in chunks for place in chunk} == {place for group in groups for place in group}
    for chunk in chunks:
        assert 7 * len(chunk) <= bytes_max or any(set(chunk) == set(group) for group in groups)


def only(bodies: Any) -> dict[str, Any]:
    (body,) = bodies
    found: dict[str, Any] = json.loads(json.dumps(body))
    return found
