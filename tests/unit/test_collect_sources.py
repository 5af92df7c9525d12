"""Cues, the demo and this machine."""

import json
import math
import time
from collections import deque

import pytest

from streams.collect.cue import read_cue
from streams.collect.demo import DemoSource
from streams.collect.host import INNER_DEVICE, HostSource, host_name
from streams.collect.json_api import mapping_of, read_document, validator_of
from streams.collect.target import Target
from streams.domain.harmonize import Harmonizer
from streams.errors import SourceError
from streams.records import Scrape
from streams.rulebook import load_rulebook
from streams.schemas import load_codec

RULEBOOK = load_rulebook()


def event(id: str = "1", type: str = "collect.now", body: str = "{}") -> bytes:
    record = {"id": id, "type": type, "world": "live", "at_ms": 1, "sender": "me", "body": body}
    return load_codec("event").encode(record)


@pytest.mark.parametrize(
    ("data", "names"),
    [
        (event(), set()),
        (event(body=""), set()),
        (event(body='{"sources": ["host", "http://a"], "reason": "look"}'), {"host", "http://a"}),
        (event(type="world.create"), None),
        (event(body="{"), None),
        (event(body="[]"), None),
        (event(body="[" * 100_000), None),
        (event(body='{"sources": "host"}'), None),
        (event(body='{"sources": [1]}'), None),
        (b"garbage", None),
        (None, None),
    ],
)
def test_cues_are_read_and_all_else_is_left(data: bytes | None, names: set[str] | None) -> None:
    assert read_cue(data, deque()) == names


def test_a_cue_that_comes_twice_is_one() -> None:
    ids: deque[str] = deque()

    assert read_cue(event("a"), ids) == set()
    assert read_cue(event("a"), ids) is None
    assert read_cue(event("b"), ids) == set()


def make_target(kind: str, pack: str, name: str) -> Target:
    return Target(kind, pack, name, RULEBOOK.packs[pack], 5.0, 2.0)


def harmonised(target: Target, harvest) -> set[tuple[str, str]]:
    """Entities that a harvest gives; nothing of it may be rejected."""
    now_ms = round(time.time() * 1000)
    scrape = Scrape(
        source=target.source,
        target=target.name,
        pack=target.pack.name,
        interval_ms=5000,
        scraped_at_ms=now_ms,
        ok=True,
        error="",
        simulated=True,
        series=harvest.series,
        values=harvest.values,
        times_ms=[time_ms or now_ms for time_ms in harvest.times_ms],
        dropped={},
    )
    result = Harmonizer(RULEBOOK.packs, RULEBOOK.catalogue, 12).harmonize(
        scrape, partition=0, offset=0, at_ms=now_ms
    )
    assert result.rejected == []
    return {
        (kind, id)
        for _, observation in result.observations
        for kind, id in zip(observation["kinds"], observation["ids"], strict=True)
    }


async def test_the_demo_has_pools_nodes_devices_and_links_of_now_that_move() -> None:
    target = make_target("demo", "decice_v2", "testbed")
    source = DemoSource(target)
    before_ms = time.time() * 1000 - 1

    first, second = await source.collect(), await source.collect()

    kinds = {kind for kind, _ in harmonised(target, first)}
    assert kinds >= {"node", "device", "link", "nodepool"}
    assert all(time_ms >= before_ms for time_ms in first.times_ms)
    assert first.series == second.series
    changed = {s for s, a, b in zip(first.series, first.values, second.values, strict=True) if a != b}
    assert 0 < len(changed) < len(first.series)
    again = await DemoSource(target).collect()
    assert again.values == first.values


async def test_this_machine_is_read_and_its_counters_never_shrink() -> None:
    target = make_target("host", "host", host_name())
    source = HostSource(target)

    first, second = await source.collect(), await source.collect()

    values = dict(zip(first.series, first.values, strict=True))
    assert all(math.isfinite(value) for value in values.values())
    assert values[f'host_memory_total_bytes{{node="{host_name()}"}}'] > 1e6
    busy = f'host_cpu_busy_seconds_total{{node="{host_name()}"}}'
    assert dict(zip(second.series, second.values, strict=True))[busy] >= values[busy]
    assert harmonised(target, first) == {("node", host_name().lower())}
    assert all(target.pack.wants(series.partition("{")[0]) for series in first.series)


@pytest.mark.parametrize(
    ("device", "is_inner"), [("lo", True), ("veth12", True), ("eth0", False), ("loud0", False)]
)
def test_devices_inside_the_machine_are_left_out(device: str, is_inner: bool) -> None:
    assert bool(INNER_DEVICE.fullmatch(device)) == is_inner


def test_a_document_of_another_schema_is_refused_with_the_place() -> None:
    mapping = mapping_of(make_target("json", "decice_v2", "x"))
    document = {"vertexpools": [{"id": "1", "nodes": [{"id": "a", "metrics": {"util": 140}}]}]}

    with pytest.raises(SourceError, match=r"\$\.vertexpools\[0\]\.nodes\[0\]\.metrics\.util: 140") as caught:
        read_document(json.loads(json.dumps(document)), mapping, validator_of(mapping))

    assert caught.value.reason == "schema"
