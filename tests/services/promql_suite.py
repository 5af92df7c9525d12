"""What VictoriaMetrics and Prometheus must pass beside the shared suite: they share the code that reads."""

import pytest

from streams.stores import Selection, Store, Window
from tests.history_model import STEP_MS, Row, change_of, load, tick_of
from tests.history_suite import LONG_MS, HistorySuite

ODD_METRICS = {"beard-cm": 1.0, "value": 2.0, "größe %s": 3.0, 'a"b,c=d\\': 4.0, "0day": 5.0}
"""Names that no series of Prometheus 2 may have, and one that is the name of the series of all these."""


class PromSuite(HistorySuite):
    """The shared suite, and more."""

    async def test_the_newest_is_found_however_old_it_is(
        self, store: Store, world: str, first_ms: int
    ) -> None:
        rows = [
            Row("node", f"n{number}", "1", first_ms + number * 180_000, {"load1": 1.0}) for number in range(6)
        ]
        rows.append(Row("nodepool", "1", "1", first_ms, {"load1": 6.0}))
        model = await self.written(
            store,
            [
                tick_of(world, [row], [change_of(row.kind, row.id, row.tick_ms, nodepool="1")])
                for row in sorted(rows, key=lambda row: row.tick_ms)
            ],
        )

        for start_ms in (0, first_ms, first_ms + 1):
            for end_ms in (first_ms + 300_000, first_ms + 20 * 60_000):
                selection = Selection(start_ms, end_ms, world)
                await self._same_ticks(store, model, selection)
                await self._same_changes(store, model, selection)
        some = Selection(0, first_ms + 20 * 60_000, world, ("nodepool", "node"), ("1", "n2"))
        await self._same_ticks(store, model, some)

    @pytest.mark.parametrize("wanted", [(), ("beard-cm",), ("value",), ("value", 'a"b,c=d\\', "load1")])
    async def test_names_that_series_cannot_have_are_kept(
        self, store: Store, world: str, first_ms: int, wanted: tuple[str, ...]
    ) -> None:
        values = {"load1": 0.5} | ODD_METRICS
        model = await self.written(store, [tick_of(world, [Row("node", "n1", "1", first_ms, values)])])
        selection = Selection(first_ms, first_ms + 1_000, world, metrics=wanted)

        await self.same(lambda: store.read(selection), model.read(selection))
        window = Window(1_000, "max")
        await self.same(lambda: store.read(selection, window), model.read(selection, window))
        await self._same_ticks(store, model, selection)

    async def test_more_ids_than_one_query_can_name(self, store: Store, world: str, first_ms: int) -> None:
        ids = [f"node-{number:03d}.a-rather-long-domain.example.org" for number in range(150)]
        model = await self.written(
            store,
            [
                tick_of(
                    world,
                    [Row("node", id, "1", first_ms, {"load1": float(place)}) for place, id in enumerate(ids)],
                )
            ],
        )
        selection = Selection(first_ms, first_ms + 1_000, world, ids=tuple(ids[5:]))

        await self.same(lambda: store.read(selection), model.read(selection))
        await self._same_ticks(store, model, selection)

    async def test_windows_of_a_range_with_more_of_them_than_a_query_may_have(
        self, store: Store, world: str, first_ms: int
    ) -> None:
        model = await self.written(store, load(world, first_ms))
        selection = Selection(first_ms - 20_000_000, first_ms + LONG_MS, world, ("link",))

        await self.same(
            lambda: store.read(selection, Window(1_000, "last")), model.read(selection, Window(1_000, "last"))
        )

    async def test_a_sample_on_the_edge_is_in_one_window(
        self, store: Store, world: str, first_ms: int
    ) -> None:
        at_ms = first_ms // 60_000 * 60_000
        times = [at_ms - 1, at_ms, at_ms + 59_999, at_ms + 60_000]
        rows = [Row("node", "n1", "1", time_ms, {"load1": float(time_ms - at_ms)}) for time_ms in times]
        model = await self.written(store, [tick_of(world, [row]) for row in rows])
        window = Window(60_000, "count")

        for start_ms in (at_ms - STEP_MS, at_ms, at_ms + 1):
            selection = Selection(start_ms, at_ms + 60_001, world)
            await self.same(
                lambda wanted=selection: store.read(wanted, window), model.read(selection, window)
            )
