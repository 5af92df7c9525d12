"""History in a real KairosDB: the suite of all drivers, what it refuses, and times in which it is away."""

import asyncio
import json
import secrets
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from aiokafka import AIOKafkaProducer

from streams.errors import StoreError
from streams.settings import Settings, load_settings
from streams.stores import Selection, open_store
from streams.stores.kairosdb import KairosStore
from streams.tools.findings import Findings
from streams.tools.reach import check_history
from tests.closed_ticks import producer_of, send
from tests.history_model import Row, change_of, tick_of
from tests.history_suite import HistorySuite, catalogue_fields
from tests.services.conftest import MakeSettings, StartRole
from tests.services.waiting import until

STACK = Path(__file__).parent / "stack"

NODES = 20
"""[1] In each message of the outage."""

NASTY = [
    "a b",
    "regex:.*",
    "x' OR '1'='1",
    'a"b',
    "a\\b",
    "a\nb",
    "ä漢😀",
    "%41",
    "A",
    "a*",
    "ends\\",
    "a=b,c{}",
]
"""Ids that KairosDB would take as patterns, and its H2 as SQL."""


def now_ms() -> int:
    """[ms] A tick of a moment ago."""
    return int(time.time()) // 5 * 5_000 - 60_000


@pytest.fixture
async def store(services: dict[str, Any]) -> AsyncIterator[KairosStore]:
    """A store on the real KairosDB, which all tests share."""
    settings = load_settings(history_url=f"kairosdb+{services['kairosdb']['url']}")
    opened = open_store(settings, catalogue_fields())
    assert isinstance(opened, KairosStore)
    yield opened
    await opened.close()


class TestKairosHistory(HistorySuite):
    """The suite."""


async def test_ids_that_mean_something_to_the_server_are_found_and_find_nothing_else(
    store: KairosStore,
) -> None:
    world, at_ms = f"w-{secrets.token_hex(6)}'", now_ms()
    rows = [Row("node", id, id, at_ms, {"load1": float(place)}) for place, id in enumerate(NASTY)]
    assert await store.write(store.convert(tick_of(world, rows))) == []

    for place, id in enumerate(NASTY):
        (series,) = await store.read(Selection(at_ms, at_ms + 1, world, ids=(id,)))
        assert (series.id, series.nodepool, series.values) == (id, id, [float(place)])
    found = await store.read(Selection(at_ms, at_ms + 1, world))
    assert [series.id for series in found] == sorted(NASTY)


async def test_data_points_that_are_refused_are_told_and_the_rest_is_kept(store: KairosStore) -> None:
    world, at_ms = f"w-{secrets.token_hex(6)}", now_ms()
    rows = [Row("node", f"n{number}", "", at_ms, {"load1": 1.0}) for number in range(5)]
    changes = [
        change_of("node", "n0", at_ms, attributes=json.dumps({"text": "ä" * 8_000})),
        change_of("node", "n1", at_ms, attributes=json.dumps({"text": "x" * 70_000})),
    ]
    items = store.convert(tick_of(world, rows, changes))
    items[2] = items[2]._replace(text=items[2].text.replace('"n2"', '""'))
    items[4] = items[4]._replace(text=items[4].text.replace('"double"', '"no such type"'))

    refusals = await store.write(items)

    assert [(refusal.index, refusal.reason) for refusal in refusals] == [
        (2, "data_point"),
        (4, "data_point"),
        (6, "too_large"),
    ]
    assert "may not be empty" in refusals[0].error
    assert "no such type" in refusals[1].error
    kept = await store.read(Selection(at_ms, at_ms + 1, world))
    assert [series.id for series in kept] == ["n0", "n1", "n3"]
    (change,) = await store.read_changes(Selection(at_ms, at_ms + 1, world), newest=True)
    assert change.attributes == changes[0].attributes


async def test_other_servers_are_not_taken_for_a_kairosdb(services: dict[str, Any]) -> None:
    for name in ("prometheus", "influxdb", "victoriametrics"):
        settings = load_settings(history_url=f"kairosdb+{services[name]['url']}")
        store = open_store(settings, catalogue_fields())
        try:
            with pytest.raises(StoreError, match="TWIN_HISTORY_URL"):
                await store.prepare()
            with pytest.raises(StoreError):
                await store.write(store.convert(tick_of("w", [Row("node", "n", "", 5, {"load1": 1.0})])))
            with pytest.raises(StoreError):
                await store.read(Selection(0, 9))
        finally:
            await store.close()


@pytest.mark.timeout(300)
async def test_every_tick_is_there_after_an_outage(
    services: dict[str, Any], make_settings: MakeSettings, role: StartRole, store: KairosStore
) -> None:
    settings = await make_settings(history_url=f"kairosdb+{services['kairosdb']['url']}")
    world, begin_ms = f"w-{secrets.token_hex(6)}", now_ms() - 3_600_000
    sink = await role("sink", settings)
    turns = range(30)

    async def values() -> dict[tuple[str, int], float]:
        series = await store.read(Selection(begin_ms, begin_ms + 3_600_000, world))
        return {
            (one.id, at_ms): value
            for one in series
            for at_ms, value in zip(one.times_ms, one.values, strict=True)
        }

    async with producer_of(settings) as producer:
        for turn in turns[:10]:
            await _send_turn(producer, settings, world, begin_ms, turn)
        await until(lambda: _has(values, 10 * NODES), 60.0, "what was written before the outage")
        await asyncio.to_thread(_stack, "stop")
        try:
            with pytest.raises(StoreError, match="cannot be reached"):
                await values()
            for turn in turns[10:20]:
                await _send_turn(producer, settings, world, begin_ms, turn)
            await until(lambda: "history store away" in sink.tail(1_000), 30.0, "the sink tells it")
        finally:
            await asyncio.to_thread(_stack, "start")
        for turn in turns[20:]:
            await _send_turn(producer, settings, world, begin_ms, turn)

    await until(lambda: _has(values, len(turns) * NODES), 90.0, "all that was written")

    assert await values() == {
        (f"n{node}", begin_ms + turn * 5_000): turn + node / 1_000 for turn in turns for node in range(NODES)
    }
    assert await sink.stop() == 0


async def _has(values: Callable[[], Awaitable[dict[tuple[str, int], float]]], count: int) -> bool:
    return len(await values()) == count


async def _send_turn(
    producer: AIOKafkaProducer, settings: Settings, world: str, begin_ms: int, turn: int
) -> None:
    at_ms = begin_ms + turn * 5_000
    rows = [Row("node", f"n{node}", "1", at_ms, {"load1": turn + node / 1_000}) for node in range(NODES)]
    await send(producer, settings, tick_of(world, rows), turn % settings.partitions)


def _stack(command: str) -> None:
    subprocess.run(
        [sys.executable, str(STACK), command, "kairosdb"], check=True, capture_output=True, timeout=120
    )


async def test_check_looks_whether_the_server_is_there(services: dict[str, Any]) -> None:
    for name, faults in (("kairosdb", 0), ("influxdb", 1)):
        findings = Findings()
        await check_history(load_settings(history_url=f"kairosdb+{services[name]['url']}"), findings)

        assert len(findings.faults) == faults
