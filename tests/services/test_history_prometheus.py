"""History on the real Prometheus: the shared suite, and what only this server does."""

import asyncio
import time
from collections.abc import AsyncIterator
from typing import Any

import pytest_asyncio

from streams.settings import load_settings
from streams.stores import Selection, Store, open_store
from streams.stores.prometheus import PrometheusStore
from tests.history_model import STEP_MS, Model, Row, load, tick_of
from tests.history_suite import LONG_MS, catalogue_fields
from tests.services.promql_suite import PromSuite

DAY_MS = 86_400_000
"""[ms]"""


@pytest_asyncio.fixture
async def store(services: dict[str, Any]) -> AsyncIterator[Store]:
    """The driver, on the server of the services that takes remote writes."""
    address = services["prometheus_history"]["url"]
    opened = open_store(load_settings(history_url=f"prometheus+{address}"), catalogue_fields())
    yield opened
    await opened.close()


class TestPrometheus(PromSuite):
    """The shared suite."""

    async def test_what_is_too_old_is_refused_and_the_rest_is_kept(
        self, store: Store, world: str, first_ms: int
    ) -> None:
        old = [
            tick_of(
                world, [Row("node", f"old{number}", "1", first_ms - 300 * DAY_MS + number, {"load1": 1.0})]
            )
            for number in range(20)
        ]
        good = load(world, first_ms)
        items: list[Any] = []
        refused = []
        for number, tick in enumerate(good):
            if number < len(old):
                refused.append(len(items))
                items += store.convert(old[number])
            items += store.convert(tick)

        refusals = await asyncio.wait_for(store.write(items), 60)

        assert [refusal.index for refusal in refusals] == refused
        assert {refusal.reason for refusal in refusals} == {"out_of_bounds"}
        selection = Selection(first_ms, first_ms + LONG_MS, world)
        expected = Model(good)
        await self.same(lambda: store.read(selection), expected.read(selection))

    async def test_another_value_at_a_time_that_is_there_is_refused_or_changes_nothing(
        self, store: Store, world: str, first_ms: int
    ) -> None:
        rows = [Row("node", "n1", "1", first_ms + number * STEP_MS, {"load1": 1.0}) for number in range(3)]
        await self.written(store, [tick_of(world, [row]) for row in rows])
        other = Row("node", "n1", "1", first_ms + 2 * STEP_MS, {"load1": 2.0})
        more = Row("node", "n2", "1", first_ms, {"load1": 3.0})

        refusals = await store.write(store.convert(tick_of(world, [other, more])))

        assert [(refusal.index, refusal.reason) for refusal in refusals] == [(0, "other_value")]
        expected = Model([tick_of(world, [row]) for row in (*rows, more)])
        selection = Selection(first_ms, first_ms + LONG_MS, world)
        await self.same(lambda: store.read(selection), expected.read(selection))

    async def test_a_world_that_is_ahead_does_not_shut_out_the_present(
        self, store: Store, world: str, first_ms: int
    ) -> None:
        ahead_ms = int(time.time() * 1000) + DAY_MS
        items = store.convert(tick_of(world, [Row("node", "n1", "1", ahead_ms, {"load1": 1.0})]))

        refusals = await store.write(items)

        assert [(refusal.index, refusal.reason) for refusal in refusals] == [(0, "in_the_future")]
        model = await self.written(store, load(world, first_ms))
        selection = Selection(first_ms, ahead_ms + 1, world)
        await self.same(lambda: store.read(selection), model.read(selection))

    async def test_a_range_holds_its_first_moment_or_not_and_is_known_to(
        self, store: PrometheusStore
    ) -> None:
        # Prometheus 3 has it otherwise; windows are right with both.
        assert (await store.range_of(5_000))[0] in ("[4999ms]", "[5000ms]")
