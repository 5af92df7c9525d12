"""What every driver of history must pass: its answers are compared with a slow model over the same ticks.

A driver's module of tests has a class that derives from `HistorySuite` and brings the fixture `store`: an
open store, not yet prepared, closed by the fixture. A server may be shared: each test has worlds of its own,
writes in the order of time and within the last hour. What must differ, the class overrides (`first_ms`,
`settle`, …).

A driver looks its limit up when it is asked, as `stores.MAX_POINTS` (`from streams import stores`), so that
a test can lower it.
"""

import asyncio
import secrets
import time
from collections.abc import Awaitable, Callable, Iterable
from typing import Any

import pytest

from streams import stores
from streams.errors import TooMuchError
from streams.records import Tick
from streams.rulebook import load_rulebook
from streams.stores import WINDOW_FUNCTIONS, Selection, Store, Window
from tests.history_model import ODD_ID, STEP_MS, Model, Row, change_of, changes, load, tick_of
from tests.history_questions import LONG_MS, RANGES, SELECTIONS, close, plain


def catalogue_fields() -> dict[str, tuple[str, str]]:
    """Measurement and field of each metric of the catalogue, for the driver's constructor."""
    catalogue = load_rulebook().catalogue
    return {name: (metric.measurement, metric.field) for name, metric in catalogue.items()}


class HistorySuite:
    """The cases; see above."""

    relative = 1e-9
    """[1] What a value may be off: sums are made in another order."""

    patience_s = 0.0
    """[s] In which what was written becomes readable; a read is repeated as long."""

    @pytest.fixture
    def first_ms(self) -> int:
        """[ms since the epoch] The first tick."""
        return (int(time.time() * 1000) - 20 * 60_000) // STEP_MS * STEP_MS

    @pytest.fixture
    def world(self) -> str:
        """A world that nobody used before."""
        return f"w-{secrets.token_hex(6)}"

    async def settle(self, store: Store) -> None:
        """Wait, or tell the server, so that what was written can be read."""

    async def written(self, store: Store, ticks: Iterable[Tick]) -> Model:
        """Write the ticks, a few messages at a time, and have them in a model too."""
        ticks = list(ticks)
        await store.prepare()
        for start in range(0, len(ticks), 5):
            items = [item for tick in ticks[start : start + 5] for item in store.convert(tick)]
            assert await store.write(items) == []
        await self.settle(store)
        return Model(ticks)

    async def same(self, read: Callable[[], Awaitable[list[Any]]], expected: list[Any]) -> None:
        """The read gives what is expected, at the latest when the patience is over."""
        deadline_s = time.monotonic() + self.patience_s
        while True:
            answer = [plain(item) for item in await read()]
            wanted = [plain(item) for item in expected]
            if close(answer, wanted, self.relative):
                return
            if time.monotonic() > deadline_s:
                assert answer == wanted
            await asyncio.sleep(0.1)

    @pytest.mark.parametrize("name", RANGES)
    async def test_values_of_a_range_are_those_written(
        self, store: Store, world: str, first_ms: int, name: str
    ) -> None:
        model = await self.written(store, load(world, first_ms))
        start, end = RANGES[name]
        selection = Selection(first_ms + start, first_ms + end, world)

        await self.same(lambda: store.read(selection), model.read(selection))

    async def test_values_are_those_of_the_kinds_ids_and_metrics_asked_for(
        self, store: Store, world: str, first_ms: int
    ) -> None:
        model = await self.written(store, load(world, first_ms))

        for some in SELECTIONS.values():
            selection = Selection(first_ms, first_ms + LONG_MS, world, **some)
            await self.same(lambda wanted=selection: store.read(wanted), model.read(selection))

    @pytest.mark.parametrize("fn", WINDOW_FUNCTIONS)
    async def test_windows_are_those_of_the_model(
        self, store: Store, world: str, first_ms: int, fn: str
    ) -> None:
        model = await self.written(store, load(world, first_ms))
        if fn not in store.functions:
            assert fn in WINDOW_FUNCTIONS
            return

        for every_ms in (STEP_MS, 7_000, 60_000, 3_600_000):
            for start, end in ((0, LONG_MS), (2 * STEP_MS + 1, 17 * STEP_MS), (-10, 1)):
                selection = Selection(first_ms + start, first_ms + end, world)
                window = Window(every_ms, fn)
                await self.same(
                    lambda wanted=selection, by=window: store.read(wanted, by), model.read(selection, window)
                )

    async def test_windows_are_of_the_kinds_ids_and_metrics_asked_for(
        self, store: Store, world: str, first_ms: int
    ) -> None:
        model = await self.written(store, load(world, first_ms))
        window = Window(30_000, min(store.functions)) if store.functions else None

        for some in SELECTIONS.values():
            selection = Selection(first_ms, first_ms + LONG_MS, world, **some)
            await self.same(
                lambda wanted=selection: store.read(wanted, window), model.read(selection, window)
            )

    async def test_worlds_do_not_mix(self, store: Store, world: str, first_ms: int) -> None:
        overlay = f"live~{world}"
        one = [Row("node", "n.1", "1", first_ms, {"load1": 1.0})]
        two = [Row("node", "n.1", "2", first_ms, {"load1": 2.0, "load5": 3.0}, simulated=True)]
        model = await self.written(
            store,
            [
                tick_of(world, one, [change_of("node", "n.1", first_ms)]),
                tick_of(overlay, two, [change_of("node", "n.1", first_ms, status="down", simulated=True)]),
            ],
        )

        for name in (world, overlay, f"{world}x"):
            selection = Selection(first_ms, first_ms + 1, name)
            await self.same(lambda wanted=selection: store.read(wanted), model.read(selection))
            await self._same_ticks(store, model, selection)
            await self._same_changes(store, model, selection)

    @pytest.mark.parametrize("name", RANGES)
    async def test_newest_ticks_are_those_of_the_model(
        self, store: Store, world: str, first_ms: int, name: str
    ) -> None:
        model = await self.written(store, load(world, first_ms))
        start, end = RANGES[name]

        await self._same_ticks(store, model, Selection(first_ms + start, first_ms + end, world))

    async def test_newest_ticks_are_of_the_kinds_and_ids_asked_for(
        self, store: Store, world: str, first_ms: int
    ) -> None:
        model = await self.written(store, load(world, first_ms))

        for some in SELECTIONS.values():
            await self._same_ticks(store, model, Selection(first_ms, first_ms + LONG_MS, world, **some))

    async def test_a_metric_that_had_gone_is_not_in_the_newest_tick(
        self, store: Store, world: str, first_ms: int
    ) -> None:
        await self.written(store, load(world, first_ms))
        selection = Selection(first_ms, first_ms + LONG_MS, world, ("node",), ("n+1",))

        async def names() -> list[list[str]]:
            return [tick.names for tick in await store.read_ticks(selection)]

        await self.same(names, [["load1"]])

    async def test_values_that_are_no_numbers_are_not_there(
        self, store: Store, world: str, first_ms: int
    ) -> None:
        gone, endless = float("nan"), float("inf")
        model = await self.written(
            store,
            [
                tick_of(world, [Row("node", "n.1", "1", first_ms, {"load1": 1.0, "load5": 2.0})]),
                tick_of(world, [Row("node", "n.1", "1", first_ms + STEP_MS, {"load1": gone, "load5": 3.0})]),
                tick_of(world, [Row("node", "n.1", "1", first_ms + 2 * STEP_MS, {"load1": endless})]),
            ],
        )
        selection = Selection(first_ms, first_ms + LONG_MS, world)

        await self.same(lambda: store.read(selection), model.read(selection))
        await self._same_ticks(store, model, selection)

    async def test_what_is_written_again_is_there_once(self, store: Store, world: str, first_ms: int) -> None:
        ticks = load(world, first_ms)[:6] + changes(world, first_ms)
        model = await self.written(store, ticks)
        await self.written(store, ticks[3:6] + ticks[6:])
        selection = Selection(first_ms, first_ms + LONG_MS, world)

        await self.same(lambda: store.read(selection), model.read(selection))
        await self._same_ticks(store, model, selection)
        await self._same_changes(store, model, selection)
        for fn in sorted(store.functions & {"count", "sum"}):
            window = Window(60_000, fn)
            await self.same(lambda by=window: store.read(selection, by), model.read(selection, window))

    @pytest.mark.parametrize("newest", [True, False])
    async def test_changes_are_those_of_the_model(
        self, store: Store, world: str, first_ms: int, newest: bool
    ) -> None:
        model = await self.written(store, changes(world, first_ms))

        for start, end in ((0, 60_000), (1, 60_000), (0, 20_000), (5_000, 20_001), (0, 1), (-1_000, 0)):
            for some in ({}, {"kinds": ("node",)}, {"ids": (ODD_ID, "1~2")}, {"kinds": ("job",)}):
                selection = Selection(first_ms + start, first_ms + end, world, **some)
                await self._same_changes(store, model, selection, newest=newest)

    async def test_changes_and_values_of_an_entity_do_not_mix(
        self, store: Store, world: str, first_ms: int
    ) -> None:
        rows = [Row("node", "n.1", "1", first_ms, {"load1": 1.0})]
        model = await self.written(
            store, [tick_of(world, rows, [change_of("node", "n.1", first_ms, nodepool="1")])]
        )
        selection = Selection(first_ms, first_ms + 1, world)

        await self.same(lambda: store.read(selection), model.read(selection))
        await self._same_ticks(store, model, selection)
        await self._same_changes(store, model, selection)

    async def test_an_answer_beyond_the_limit_is_refused_with_the_number(
        self, store: Store, world: str, first_ms: int, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        rows = [
            tick_of(world, [Row("node", "n.1", "1", first_ms + number * STEP_MS, {"load1": float(number)})])
            for number in range(6)
        ]
        events = [
            tick_of(world, changes=[change_of("node", "n.1", first_ms + number, nodepool="1")])
            for number in range(6)
        ]
        model = await self.written(store, rows + events)
        selection = Selection(first_ms, first_ms + LONG_MS, world)
        window = Window(STEP_MS, min(store.functions)) if store.functions else None
        monkeypatch.setattr(stores, "MAX_POINTS", 6)
        await self.same(lambda: store.read(selection), model.read(selection))
        await self.same(lambda: store.read(selection, window), model.read(selection, window))
        await self._same_changes(store, model, selection, newest=False)
        monkeypatch.setattr(stores, "MAX_POINTS", 5)

        with pytest.raises(TooMuchError, match="5"):
            await store.read(selection)
        with pytest.raises(TooMuchError, match="5"):
            await store.read(selection, window)
        with pytest.raises(TooMuchError, match="5"):
            await store.read_changes(selection, newest=False)
        await self._same_changes(store, model, selection)

    async def test_many_reads_at_a_time_have_each_their_answer(
        self, store: Store, world: str, first_ms: int
    ) -> None:
        model = await self.written(store, load(world, first_ms))
        selections = [Selection(first_ms, first_ms + LONG_MS, world, **some) for some in SELECTIONS.values()]
        await self.same(lambda: store.read(selections[0]), model.read(selections[0]))

        answers = await asyncio.gather(*(store.read(selection) for selection in selections))

        for selection, answer in zip(selections, answers, strict=True):
            assert close(
                [plain(item) for item in answer],
                [plain(item) for item in model.read(selection)],
                self.relative,
            )

    async def _same_ticks(self, store: Store, model: Model, selection: Selection) -> None:
        expected = model.read_ticks(selection, quality="quality" in store.holds)
        await self.same(lambda: store.read_ticks(selection), expected)

    async def _same_changes(
        self, store: Store, model: Model, selection: Selection, *, newest: bool = True
    ) -> None:
        expected = model.read_changes(selection, newest=newest, text="text" in store.holds)
        await self.same(lambda: store.read_changes(selection, newest=newest), expected)
