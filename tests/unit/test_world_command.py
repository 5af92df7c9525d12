from dataclasses import dataclass
from hashlib import sha256
from typing import Any

import pytest

from streams.domain.ticks import ClosedRow
from streams.domain.worldhash import world_hash
from streams.errors import TwinError
from streams.schemas import load_codec
from streams.settings import Settings
from streams.tools.worldscan import RowScan, WorldScan, unknown_world
from tests.factories import encode_state, make_state

T = 1_750_000_000_000


@dataclass
class Message:
    value: bytes | None
    key: bytes | None = None
    partition: int = 0
    timestamp: int = T


def tick(*rows: ClosedRow, world: str = "w1", removed: tuple[str, ...] = (), **more: Any) -> Message:
    """A message of the topic `tick`; `removed` are kinds that went with it."""
    names = sorted({name for row in rows for name in row.names})
    record: dict[str, Any] = {
        "world": world,
        "epoch": 1,
        "kinds": [row.kind for row in rows],
        "ids": [row.id for row in rows],
        "pools": [""] * len(rows),
        "ticks_ms": [row.tick_ms for row in rows],
        "complete": [row.complete for row in rows],
        "simulated": [True] * len(rows),
        "versions": [1] * len(rows),
        "sizes": [len(row.names) for row in rows],
        "names": names,
        "metrics": [names.index(name) for row in rows for name in row.names],
        "values": [value for row in rows for value in row.values],
        "qualities": [quality for row in rows for quality in row.qualities],
    }
    for column, value in {
        "kinds": list(removed),
        "ids": list(removed),
        "pools": [""] * len(removed),
        "at_ms": [T] * len(removed),
        "simulated": [True] * len(removed),
        "versions": [1] * len(removed),
        "statuses": [""] * len(removed),
        "reasons": [""] * len(removed),
        "attributes": ["{}"] * len(removed),
        "removed": [True] * len(removed),
    }.items():
        record[f"change_{column}"] = value
    return Message(load_codec("tick").encode(record), **more)


def row(tick_ms: int, id: str, value: float = 1.0, kind: str = "node") -> ClosedRow:
    return ClosedRow(tick_ms, kind, id, True, ["load1"], [value], [2])


def scanned(*messages: Message, from_ms: int = 0) -> RowScan:
    scan = RowScan("w1", from_ms)
    for message in messages:
        scan.take(message)  # type: ignore[arg-type]  # has what it reads of a record
    return scan


def test_the_hash_is_over_the_lines_that_are_documented() -> None:
    rows = [
        (2_000, "node", "b", False, [], [], []),
        (1_000, "node", "odd/näme 1", True, ["load1", "cpu_usage_percent"], [-0.0, 1.5], [2, 1]),
    ]
    text = (
        "1000 node/odd%2Fn%C3%A4me%201 1 cpu_usage_percent=3ff8000000000000:1 load1=8000000000000000:2\n"
        "2000 node/b 0\n"
    )

    assert world_hash(rows) == sha256(text.encode()).hexdigest()


def test_the_hash_is_by_tick_and_key_whatever_the_order() -> None:
    rows = [row(2_000, "a"), row(10_000, "a"), row(2_000, "b"), row(2_000, "a", kind="job")]

    assert len({world_hash(rows), world_hash(rows[::-1])}) == 1
    assert world_hash(rows) != world_hash(rows[:-1])
    assert world_hash([*rows, row(2_000, "x", kind="_fault")]) == world_hash(rows)
    assert world_hash([]) == sha256(b"").hexdigest()


def test_a_tick_that_came_twice_counts_once_and_other_worlds_do_not() -> None:
    scan = scanned(
        tick(row(1_000, "a"), row(1_000, "b")),
        tick(row(1_000, "a")),
        tick(row(1_000, "c"), world="w2"),
        Message(b"rubbish"),
    )

    assert scan.rows() == [row(1_000, "a"), row(1_000, "b")]


def test_a_tick_with_two_contents_is_an_error_that_names_it() -> None:
    scan = scanned(tick(row(1_000, "a", 1.0)), tick(row(1_000, "a", 2.0)))

    with pytest.raises(TwinError, match="1 closed ticks are in the topic with two contents: node/a at 1000"):
        scan.rows()


def test_an_entity_that_was_removed_keeps_its_ticks() -> None:
    scan = scanned(tick(row(1_000, "a")), tick(removed=("node",)), tick(row(2_000, "b")))

    assert len(scan.rows()) == 2


def test_the_ticks_of_an_earlier_world_of_that_name_do_not_count() -> None:
    messages = (tick(row(1_000, "a", 1.0), timestamp=T - 1), tick(row(1_000, "a", 2.0), partition=1))

    assert scanned(*messages, from_ms=T).rows() == [row(1_000, "a", 2.0)]


async def test_worlds_are_counted_by_their_records_and_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    states = [
        make_state(),
        make_state(kind="_ledger", id="0"),
        make_state(world="w1", kind="world", id="w1", version=1, attributes={"owner": "old"}),
        make_state(world="w1", kind="world", id="w1", version=2, attributes={"owner": "me"}),
        make_state(world="w1", kind="world", id="w1", version=1, attributes={"owner": "late"}),
        make_state(world="w1", kind="_fault", id="0:f1"),
        make_state(world="w1", kind="_fault", id="1:f1"),
        make_state(world="w1"),
        make_state(world="w0"),
    ]
    messages = [Message(value, key) for key, value, _ in (encode_state(state, 4) for state in states)]
    messages += [Message(b"", b"no key of ours"), Message(b"rubbish", b"w9/world/w9")]
    messages += [Message(None, b"w0/node/ws01"), Message(None, None)]
    scan = WorldScan(Settings.model_construct(topic_prefix="t", partitions=4))

    async def read(take: Any) -> None:
        while messages:
            take(messages.pop(0))

    monkeypatch.setattr(scan.scan, "read", read)
    worlds = await scan.read()

    assert list(worlds) == ["live", "w1"]
    assert (worlds["live"].entities, worlds["live"].attribute("owner")) == (1, "")
    assert (worlds["w1"].entities, worlds["w1"].faults) == (1, {"f1"})
    assert worlds["w1"].attribute("owner") == "me"
    messages += [Message(None, key) for key in (b"w1/world/w1", b"w1/node/ws01", b"w1/_fault/0%3Af1")]
    messages += [Message(None, b"w1/_fault/1%3Af1")]
    assert list(await scan.read()) == ["live"]


def test_a_world_that_is_not_there_is_named_with_those_that_are() -> None:
    assert unknown_world("w2", ["live", "w1"]) == (
        "there is no world 'w2': there are live, w1; did you mean w1?"
    )
    assert "there are none" in unknown_world("w2", [])
