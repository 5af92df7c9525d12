"""History on the real VictoriaMetrics: the shared suite, and what only this server does."""

from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio

from streams.settings import load_settings
from streams.stores import Selection, Store, Window, open_store
from streams.stores.victoriametrics import VictoriaStore
from tests.history_model import STEP_MS, Model, Row, load, tick_of
from tests.history_suite import LONG_MS, catalogue_fields
from tests.services.promql_suite import PromSuite


@pytest_asyncio.fixture
async def store(services: dict[str, Any]) -> AsyncIterator[Store]:
    """The driver, on the server of the services."""
    address = services["victoriametrics"]["url"]
    opened = open_store(load_settings(history_url=f"victoriametrics+{address}"), catalogue_fields())
    yield opened
    await opened.close()


class TestVictoriaMetrics(PromSuite):
    """The shared suite."""

    patience_s = 20.0

    async def settle(self, store: VictoriaStore) -> None:
        """What was written is seen about a second later, but for this."""
        await store.api.fetch("/internal/force_flush", {}, get=True)

    @pytest.mark.parametrize("every_ms", [7_000, 60_000])
    async def test_windows_are_right_where_the_server_counts_twice(
        self, store: VictoriaStore, world: str, first_ms: int, every_ms: int, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        async def never() -> bool:
            return False

        monkeypatch.setattr(store, "counts_once", never)
        model = await self.written(store, load(world, first_ms))

        for fn in sorted(store.functions):
            selection = Selection(first_ms + 1, first_ms + LONG_MS, world)
            window = Window(every_ms, fn)
            await self.same(
                lambda wanted=selection, by=window: store.read(wanted, by), model.read(selection, window)
            )

    async def test_the_server_is_known_to_count_once(self, store: VictoriaStore) -> None:
        assert await store.counts_once()

    async def test_windows_of_this_moment_are_read(self, store: Store, world: str, first_ms: int) -> None:
        now_ms = first_ms + 20 * 60_000
        model = await self.written(store, load(world, now_ms - LONG_MS + 2 * STEP_MS))
        selection = Selection(now_ms - 60_000, now_ms, world)

        await self.same(
            lambda: store.read(selection, Window(10_000, "mean")),
            model.read(selection, Window(10_000, "mean")),
        )

    async def test_a_line_that_is_too_long_is_refused_alone(
        self, store: Store, world: str, first_ms: int
    ) -> None:
        ticks = [
            tick_of(world, [Row("node", id, "1", first_ms, {"load1": 1.0})])
            for id in ("n1", "n" * 300_000, "n3")
        ]

        refusals = await store.write([line for tick in ticks for line in store.convert(tick)])

        assert [(refusal.index, refusal.reason) for refusal in refusals] == [(1, "too_large")]
        model = Model([ticks[0], ticks[2]])
        selection = Selection(first_ms, first_ms + 1, world)
        await self.same(lambda: store.read(selection), model.read(selection))
