"""Which pasts the API keeps, and how it spreads snapshots over a range."""

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

import streams.web.moment
from streams.errors import StoreError
from streams.history.past import Past, PastEntity
from streams.replica.past import PastView
from streams.web.decice_history import SNAPSHOTS, distance_ms, iso
from streams.web.moment import FRESH_S, SETTLED_MS, VIEWS, Moments
from streams.web.timeseries import integer_ms
from tests.history_model import change_of

NOW_MS = 1_751_552_585_000
OLD_MS = NOW_MS - SETTLED_MS - 1


class Reader:
    """Counts what is read; `moments` is what is tested, by a clock of its own."""

    def __init__(self) -> None:
        self.now_s = 0.0
        self.read: list[int] = []
        self.moments = Moments(lambda: self.now_s)
        self.gate = asyncio.Event()
        self.gate.set()
        self.error: StoreError | None = None

    async def view(self, at_ms: int, entities: int = 1) -> PastView:
        async def read() -> Past:
            self.read.append(at_ms)
            await self.gate.wait()
            if self.error is not None:
                raise self.error
            found = [
                PastEntity("live", at_ms, 5_000, change_of("node", f"n{number}", 1), None).pack()
                for number in range(entities)
            ]
            return Past("live", at_ms, found, entities)

        return (await self.moments.view("live", at_ms, NOW_MS, read))[0]


async def test_an_old_moment_is_read_once() -> None:
    reader = Reader()

    first = await reader.view(OLD_MS)
    reader.now_s = 1e9
    second = await reader.view(OLD_MS)

    assert first is second
    assert reader.read == [OLD_MS]


async def test_a_young_moment_is_read_again_as_its_ticks_may_still_come() -> None:
    reader = Reader()
    young_ms = NOW_MS - SETTLED_MS

    for reader.now_s in (0.0, FRESH_S - 0.01, FRESH_S, FRESH_S + 1.0):
        await reader.view(young_ms)

    assert reader.read == [young_ms, young_ms]


async def test_who_asks_meanwhile_waits_for_the_same_read_and_may_go_away() -> None:
    reader = Reader()
    reader.gate.clear()

    impatient, patient = (asyncio.create_task(reader.view(OLD_MS)) for _ in range(2))
    await asyncio.sleep(0)
    impatient.cancel()
    reader.gate.set()

    assert (await patient).at_ms == OLD_MS
    assert reader.read == [OLD_MS]


async def test_a_failed_read_is_not_kept() -> None:
    reader = Reader()
    reader.error = StoreError("away")
    for _ in range(2):
        with pytest.raises(StoreError, match="away"):
            await reader.view(OLD_MS)
    reader.error = None

    assert len(await reader.view(OLD_MS)) == 1
    assert len(reader.read) == 3


async def test_the_moments_that_were_asked_for_last_are_kept() -> None:
    reader = Reader()
    for number in range(VIEWS):
        await reader.view(OLD_MS - number)
    await reader.view(OLD_MS)
    await reader.view(OLD_MS - VIEWS)
    reader.read.clear()

    await reader.view(OLD_MS)
    await reader.view(OLD_MS - 1)

    assert reader.read == [OLD_MS - 1]


async def test_large_moments_are_fewer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streams.web.moment, "ENTITIES", 10)
    reader = Reader()
    for number in range(3):
        await reader.view(OLD_MS - number, entities=4)
    await reader.view(OLD_MS - 9, entities=11)
    reader.read.clear()

    await reader.view(OLD_MS - 9, entities=11)
    await reader.view(OLD_MS - 2, entities=4)

    assert reader.read == [OLD_MS - 2]


@given(st.integers(0, NOW_MS), st.integers(0, 400 * 86_400_000), st.integers(100, 3_600_000))
def test_snapshots_are_as_close_as_their_number_allows(start_ms: int, length_ms: int, step_ms: int) -> None:
    stop_ms = start_ms + length_ms

    def count(every_ms: int) -> int:
        return stop_ms // every_ms - -(-start_ms // every_ms) + 1

    every_ms = distance_ms(start_ms, stop_ms, step_ms)

    assert every_ms % step_ms == 0
    assert count(every_ms) <= SNAPSHOTS
    assert every_ms == step_ms or count(every_ms - step_ms) > SNAPSHOTS - 2


@pytest.mark.parametrize("unit", [1, 10**3, 10**6, 10**9])
def test_an_integer_says_its_unit_by_its_size(unit: int) -> None:
    assert integer_ms(1_795_523_000 * unit) == 1_795_523_000_000
    assert integer_ms(0) == 0


def test_a_moment_is_written_with_its_zone() -> None:
    assert (iso(1_795_523_000_000), iso(1_795_523_000_123)) == (
        "2026-11-24T12:23:20+00:00",
        "2026-11-24T12:23:20.123000+00:00",
    )
