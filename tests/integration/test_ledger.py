"""`twin ledger` on the embedded broker, with a twin that is only its domain."""

import asyncio
import json
from collections.abc import Callable
from pathlib import Path

import pytest
from aiokafka import AIOKafkaProducer
from click.testing import CliRunner

from streams.domain.twin import Partition
from streams.errors import TwinError
from streams.kafka import client_options
from streams.records import Observation, State
from streams.schemas import load_codec
from streams.settings import Settings
from streams.tools.ledger import count_samples, ledger
from streams.topics import topics_of
from tests.reference.messages import clock, values

T = 1_751_552_585_000
HOUR_MS = 3_600_000
NUMBER = 2
"""Partition that the tests use; the others stay empty."""


def observed(offset: int, *ids: str) -> Observation:
    """Two samples for each node."""
    at_ms = T + 5_000 * offset
    readings = {("node", id): [("load1", 1.0, at_ms), ("watts", 5.0, at_ms)] for id in ids}
    return values(at_ms, "node_exporter", (0, offset), readings, interval_ms=5_000, scraped_at_ms=at_ms)


async def write_log(settings: Settings, log: list[Observation | bytes]) -> None:
    """Send to `observation`."""
    encode = load_codec("observation").encode
    async with AIOKafkaProducer(**client_options(settings)) as producer:
        for message in log:
            value = message if isinstance(message, bytes) else encode(message)
            await producer.send_and_wait(topics_of(settings)["observation"], value, partition=NUMBER)


def leave(states: dict[str, State]) -> None:
    """Spoil nothing."""


async def write_states(
    settings: Settings, log: list[Observation | bytes], spoil: Callable[[dict[str, State]], None] = leave
) -> None:
    """Apply the log as a worker does, and send what comes of it to `state`."""
    partition = Partition(NUMBER, 5_000, HOUR_MS, {}, epoch=1)
    states: dict[str, State] = {}
    changed: set[str] = set()
    for offset, message in enumerate(log):
        if not isinstance(message, bytes):
            changed |= partition.apply(offset, message, states).changed
    spoil(states)
    async with AIOKafkaProducer(**client_options(settings)) as producer:
        for key in sorted(changed):
            value = load_codec("state").encode(states[key]) if key in states else None
            topic = topics_of(settings)["state"]
            await producer.send_and_wait(topic, value, key=key.encode(), partition=NUMBER)


async def test_a_sound_twin_is_balanced(settings: Settings) -> None:
    log: list[Observation | bytes] = [
        observed(0, "a", "b"),
        observed(0, "a", "b"),
        b"poison",
        observed(1, "a"),
        clock(T + 9_000),
    ]
    await write_log(settings, log)
    await write_states(settings, log)

    report = await count_samples(settings, wait_s=0)

    assert report.is_balanced
    assert [(row.source, row.partition, row.counted) for row in report.rows] == [("node_exporter", NUMBER, 6)]
    assert report.undecodable == 1


async def test_removed_entities_are_balanced(settings: Settings) -> None:
    log: list[Observation | bytes] = [observed(0, "a", "b"), clock(T + 2 * HOUR_MS), observed(2_000, "a")]
    await write_log(settings, log)
    await write_states(settings, log)

    report = await count_samples(settings, wait_s=0)

    assert report.is_balanced
    assert [(row.counted, row.removed) for row in report.rows] == [(6, 4)]


async def test_a_lost_sample_is_found_and_its_entity_named(settings: Settings) -> None:
    def lose(states: dict[str, State]) -> None:
        states["live/node/b"]["source_counts"][0] -= 1

    log: list[Observation | bytes] = [observed(0, "a", "b"), observed(1, "a", "b")]
    await write_log(settings, log)
    await write_states(settings, log, lose)

    report = await count_samples(settings, wait_s=0)

    assert not report.is_balanced
    assert [(fault.key, fault.counted, fault.recorded) for fault in report.faults] == [("live/node/b", 4, 3)]


async def test_messages_that_are_on_their_way_are_no_difference(settings: Settings) -> None:
    log: list[Observation | bytes] = [observed(0, "a"), observed(1, "a", "b")]
    await write_log(settings, log)
    await write_states(settings, log[:1])

    report = await count_samples(settings, wait_s=0)

    assert report.is_balanced
    assert [row.waiting for row in report.rows] == [4]


async def test_a_count_goes_on_from_its_file(settings: Settings, tmp_path: Path) -> None:
    file = tmp_path / "ledger.json"
    log: list[Observation | bytes] = [observed(0, "a", "b"), observed(1, "a")]
    await write_log(settings, log[:1])
    await write_states(settings, log[:1])
    await count_samples(settings, save=file, wait_s=0)
    await write_log(settings, log[1:])
    await write_states(settings, log)

    report = await count_samples(settings, checkpoint=file, save=file, wait_s=0)

    assert report.is_balanced
    assert json.loads(file.read_text())["partitions"][str(NUMBER)]["position"] == 2
    assert [row.counted for row in report.rows] == [6]


async def test_other_files_are_refused(settings: Settings, tmp_path: Path) -> None:
    file = tmp_path / "ledger.json"
    file.write_text('{"partitions": {}}')
    with pytest.raises(TwinError, match="is of 0 partitions"):
        await count_samples(settings, checkpoint=file, wait_s=0)

    file.write_text("[]")
    with pytest.raises(TwinError, match="not a checkpoint"):
        await count_samples(settings, checkpoint=file, wait_s=0)


async def test_the_command_prints_sums_and_ends_with_1_when_they_differ(settings: Settings) -> None:
    def invent(states: dict[str, State]) -> None:
        states["live/node/a"]["source_counts"][1] += 3

    log: list[Observation | bytes] = [observed(0, "a", "b")]
    await write_log(settings, log)
    await write_states(settings, log, invent)

    outcome = await asyncio.to_thread(CliRunner().invoke, ledger, ["--wait", "0"], obj=settings)

    assert outcome.exit_code == 1
    assert "live/node/a from node_exporter: counted 2, recorded 5" in outcome.output
    assert "not balanced" in outcome.output
