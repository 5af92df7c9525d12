"""InfluxDB as a store of history: the cases of every driver, and what only it does."""

import asyncio
import json
import re
import time
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio

from streams.domain.decice_fields import Fields
from streams.errors import StoreError
from streams.rulebook import load_rulebook
from streams.settings import Settings, load_settings
from streams.stores import PastTick, Selection, Window
from streams.stores.influx import InfluxStore, parse_address
from streams.stores.influx.setup import COARSE_MS
from streams.stores.rawrecords import RawRecords, Record
from tests.history_model import ODD_ID, STEP_MS, Model, Row, change_of, tick_of
from tests.history_suite import HistorySuite, catalogue_fields
from tests.services.influx_bucket import client_of, drop


@pytest.fixture
def influx_settings(influx: dict[str, Any]) -> Settings:
    """Settings with a bucket that is not there yet."""
    return load_settings(**influx)


@pytest_asyncio.fixture
async def store(influx_settings: Settings) -> AsyncIterator[InfluxStore]:
    """A store that has its own bucket, which goes at the end."""
    assert influx_settings.history_url
    address = parse_address(influx_settings.history_url)
    store = InfluxStore(address, influx_settings, catalogue_fields())
    yield store
    await store.close()
    await drop(influx_settings)


class TestInfluxDB(HistorySuite):
    """The cases that all drivers share."""


def tick(first_ms: int, turns: int, **more: Any) -> list[Any]:
    """Ticks of one node, one for each 5 s."""
    return [
        tick_of(
            "live",
            [Row("node", "n1", "1", first_ms + turn * STEP_MS, {"load1": float(turn)}, **more)],
            [change_of("node", "n1", first_ms + turn * STEP_MS + 1, nodepool="1")] if turn == 0 else [],
        )
        for turn in range(turns)
    ]


async def run_task(settings: Settings) -> None:
    """Run the text of the task once, as InfluxDB does every five minutes."""
    assert settings.history_url
    bucket = parse_address(settings.history_url).bucket

    def run() -> None:
        with client_of(settings) as client:
            (found,) = client.tasks_api().find_tasks(name=f"twin: {bucket} to {bucket}_5m")
            client.query_api().query(found.flux.partition("\n\n")[2])

    await asyncio.to_thread(run)


@pytest.fixture
def aligned_ms() -> int:
    """[ms] The beginning of a window of five minutes that is over."""
    return int(time.time() * 1000) // COARSE_MS * COARSE_MS - 2 * COARSE_MS


async def test_means_and_changes_are_in_the_coarse_bucket(
    store: InfluxStore, influx_settings: Settings, aligned_ms: int
) -> None:
    await store.prepare()
    text = Record("node", {"name": "n1"}, {"node_info": "{}"}, aligned_ms)
    assert influx_settings.history_url
    await store.write_records(parse_address(influx_settings.history_url).bucket, [text])
    for each in tick(aligned_ms, 60):
        assert await store.write(store.convert(each)) == []
    await run_task(influx_settings)
    coarse = Selection(aligned_ms - 1, aligned_ms + COARSE_MS, coarse=True)

    (series,) = await store.read(coarse)
    (past,) = await store.read_ticks(coarse)
    (change,) = await store.read_changes(coarse, newest=False)

    assert (series.times_ms, series.values) == ([aligned_ms], [29.5])
    assert past == PastTick("node", "n1", "1", False, aligned_ms, None, ["load1"], [29.5], None)
    assert change == change_of("node", "n1", aligned_ms + 1, nodepool="1")


async def test_a_change_beyond_the_retention_is_found(
    store: InfluxStore, influx_settings: Settings, aligned_ms: int
) -> None:
    await store.prepare()
    old = change_of("node", "n1", aligned_ms + 1, nodepool="1", status="down", reason="silent")
    new = change_of("node", "n2", aligned_ms + 2, nodepool="1")
    for change in (old, new):
        assert await store.write(store.convert(tick_of("live", [], [change]))) == []
    await run_task(influx_settings)
    await forget(influx_settings, "n1")
    newer = change_of("node", "n2", aligned_ms + 3, nodepool="1", status="degraded")
    assert await store.write(store.convert(tick_of("live", [], [newer]))) == []
    selection = Selection(0, aligned_ms + COARSE_MS)

    assert await store.read_changes(selection, newest=True) == [old, newer]
    assert await store.read_changes(selection, newest=False) == [new, newer]


async def forget(settings: Settings, node: str) -> None:
    """Delete what the raw bucket has of a node, as the end of the retention does."""
    assert settings.history_url
    address = parse_address(settings.history_url)

    def delete() -> None:
        with client_of(settings) as client:
            start, stop = "1970-01-01T00:00:00Z", "2200-01-01T00:00:00Z"
            client.delete_api().delete(start, stop, f'node_id="{node}"', address.bucket, address.org)

    await asyncio.to_thread(delete)


async def test_ticks_from_before_there_were_qualities_are_read(store: InfluxStore, aligned_ms: int) -> None:
    lines = [line for each in tick(aligned_ms, 3) for line in store.convert(each)]
    assert await store.write([re.sub(r",tick_quality=\d+", "", line) for line in lines]) == []

    (past,) = await store.read_ticks(Selection(aligned_ms, aligned_ms + COARSE_MS))

    assert past == PastTick("node", "n1", "1", False, aligned_ms + 10_000, None, ["load1"], [2.0], None)


async def test_many_nodes_and_some_that_fell_silent(store: InfluxStore, aligned_ms: int) -> None:
    rows = [
        Row("node", f"n{number}", "1", aligned_ms + turn * STEP_MS, {"load1": float(turn), "load5": 5.0})
        for number in range(300)
        for turn in range(20)
        if turn == 0 or number % 50 or turn < number / 50 + 3
    ]
    ticks = [
        tick_of("live", [row for row in rows if row.tick_ms == at_ms])
        for at_ms in sorted({row.tick_ms for row in rows})
    ]
    for each in ticks:
        assert await store.write(store.convert(each)) == []
    selection = Selection(aligned_ms, aligned_ms + COARSE_MS)

    assert await store.read_ticks(selection) == Model(ticks).read_ticks(selection, quality=True)


async def test_a_mean_over_a_change_of_pool_is_that_of_all_values(
    store: InfluxStore, aligned_ms: int
) -> None:
    rows = [
        Row("node", "n1", "1" if turn < 2 else "2", aligned_ms + turn * STEP_MS, {"load1": 2.0**turn})
        for turn in range(6)
    ]
    ticks = [tick_of("live", [row]) for row in rows]
    for each in ticks:
        assert await store.write(store.convert(each)) == []
    selection = Selection(aligned_ms, aligned_ms + COARSE_MS)

    for fn in sorted(store.functions):
        window = Window(COARSE_MS, fn)
        assert await store.read(selection, window) == Model(ticks).read(selection, window)


async def test_records_come_back_as_flux_gives_them(
    store: InfluxStore, influx_settings: Settings, aligned_ms: int
) -> None:
    assert isinstance(store, RawRecords)
    assert influx_settings.history_url
    bucket = parse_address(influx_settings.history_url).bucket
    await store.prepare()
    fields: dict[str, float | int | str | bool] = {"a": 1.5, "b": 2, "c": 'x "y"', "d": True}
    odd = Record("m, =", {ODD_ID: '") |> drop()', "b": "2"}, fields, aligned_ms)
    await store.write_records(bucket, [odd, Record("m", {}, {"a": 0.0}, None)])

    rows = await store.read_records(bucket, "m, =", aligned_ms, aligned_ms + 1, {ODD_ID: '") |> drop()'})
    none = await store.read_records(bucket, "m, =", aligned_ms, aligned_ms + 1, {"b": "3"})
    now = await store.read_records(bucket, "m", aligned_ms, aligned_ms + 10 * COARSE_MS, {})

    assert {row["_field"]: row["_value"] for row in rows} == fields
    assert {row["_measurement"] for row in rows} == {"m, ="}
    assert {row["_time"] for row in rows} == {rows[0]["_start"]}
    assert {(row[ODD_ID], row["b"], row["result"]) for row in rows} == {('") |> drop()', "2", "_result")}
    assert none == []
    assert len(now) == 1


async def test_a_refusal_of_records_has_its_status(store: InfluxStore, influx_settings: Settings) -> None:
    assert influx_settings.history_url
    bucket = parse_address(influx_settings.history_url).bucket
    await store.prepare()

    with pytest.raises(StoreError, match="HTTP 404") as missing:
        await store.write_records("no-such-bucket", [Record("m", {}, {"a": 1.0}, None)])
    with pytest.raises(StoreError, match="HTTP 404") as absent:
        await store.read_records("no-such-bucket", "m", 0, 1, {})
    await store.write_records(bucket, [Record("m", {}, {"a": 1.0}, None)])
    with pytest.raises(StoreError, match="conflict") as conflict:
        await store.write_records(bucket, [Record("m", {}, {"a": "text"}, None)])

    assert (missing.value.status, absent.value.status, conflict.value.status) == (404, 404, 422)


async def test_lines_for_dashboards_of_decice_are_taken(influx: dict[str, Any], aligned_ms: int) -> None:
    settings = load_settings(**influx, influx_decice_compat=True)
    assert settings.history_url
    address = parse_address(settings.history_url)
    catalogue = load_rulebook().catalogue
    store = InfluxStore(address, settings, catalogue_fields(), Fields(catalogue, "MiB"))
    try:
        (each,) = tick(aligned_ms, 1)
        assert await store.write(store.convert(each)) == []
        rows = await store.read_records(address.bucket, "node", aligned_ms, aligned_ms + 10, {"name": "n1"})
        (series,) = await store.read(Selection(aligned_ms, aligned_ms + 10))
    finally:
        await store.close()
        await drop(settings)

    infos = [row["_value"] for row in rows if row["_field"] == "node_info"]
    assert [json.loads(info) for info in infos] == [{"load1": 0.0}, {"status": "up"}]
    assert series.metric == "load1"
