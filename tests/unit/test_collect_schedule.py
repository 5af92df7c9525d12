"""The schedule on a clock that jumps, so that hours pass in milliseconds."""

import asyncio
import selectors
from collections import Counter
from collections.abc import Awaitable, Callable
from itertools import pairwise

import pytest

from streams.collect.schedule import SKIPPED, Schedule
from streams.collect.target import Target
from streams.domain.rules import RulePack


class JumpingSelector(selectors.DefaultSelector):
    """Where the loop would sleep, its clock moves on."""

    def __init__(self) -> None:
        super().__init__()
        self.now_s = 1000.0

    def select(self, timeout=None):
        if timeout:
            self.now_s += timeout
        return super().select(0)


class JumpingLoop(asyncio.SelectorEventLoop):
    def __init__(self) -> None:
        self.jumping = JumpingSelector()
        super().__init__(self.jumping)

    def time(self) -> float:
        return self.jumping.now_s


def make_target(name: str, interval_s: float, source: str = "node_exporter") -> Target:
    return Target(
        "exposition", source, name, RulePack("node_exporter", 50), interval_s, min(2.0, interval_s / 2)
    )


def starts_of(
    targets: list[Target],
    for_s: float,
    durations_s: dict[str, float] | None = None,
    script: Callable[[Schedule], Awaitable[None]] | None = None,
    wall_s: float = 1_750_000_000.0,
) -> dict[str, list[float]]:
    """When each target's scrapes began [s after the start]."""
    starts: dict[str, list[float]] = {target.name: [] for target in targets}
    running: Counter[str] = Counter()

    async def scrape(target: Target) -> None:
        running[target.name] += 1
        assert running[target.name] == 1, "two scrapes of one target at once"
        starts[target.name].append(asyncio.get_running_loop().time() - 1000.0)
        await asyncio.sleep((durations_s or {}).get(target.name, 0.01))
        running[target.name] -= 1

    async def main() -> None:
        schedule = Schedule(targets, scrape)
        task = asyncio.create_task(schedule.run(wall_s))
        if script:
            await script(schedule)
        await asyncio.sleep(for_s)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    with asyncio.Runner(loop_factory=JumpingLoop) as runner:
        runner.run(main())
    return starts


def test_each_target_is_scraped_on_its_interval_without_drift() -> None:
    starts = starts_of([make_target("a", 5.0)], for_s=3600)["a"]

    regular = starts[1:]
    assert 718 <= len(starts) <= 721
    assert all(abs(start - (regular[0] + 5 * number)) < 1e-6 for number, start in enumerate(regular))


def test_first_scrape_comes_soon_even_with_a_long_interval() -> None:
    starts = starts_of([make_target("a", 3600.0)], for_s=10)["a"]

    assert len(starts) == 1
    assert starts[0] <= 1.0


def test_targets_never_begin_in_one_burst() -> None:
    targets = [make_target(f"http://node{number}:9100/metrics", 5.0) for number in range(500)]

    starts = sorted(start for times in starts_of(targets, for_s=60).values() for start in times)

    in_any_second = max(sum(1 for start in starts if low <= start < low + 1) for low in range(60))
    assert in_any_second < 1.5 * 500 / 5


def test_phase_is_the_same_after_a_restart() -> None:
    first = starts_of([make_target("a", 60.0)], for_s=600, wall_s=1_750_000_000.0)["a"]
    second = starts_of([make_target("a", 60.0)], for_s=600, wall_s=1_750_000_023.4)["a"]

    assert (first[-1] - second[-1] - 23.4) % 60 == pytest.approx(0, abs=1e-3)


def test_a_slow_target_delays_no_other() -> None:
    targets = [make_target(name, 5.0) for name in ("slow", "a", "b")]

    starts = starts_of(targets, for_s=300, durations_s={"slow": 100.0})

    assert len(starts["a"]) >= 59
    assert len(starts["b"]) >= 59


def test_scrapes_that_would_overlap_are_skipped_and_counted() -> None:
    before = SKIPPED.labels("slow")._value.get()
    target = make_target("slow", 5.0, source="slow")

    starts = starts_of([target], for_s=120, durations_s={"slow": 12.0})["slow"]

    gaps = [later - earlier for earlier, later in pairwise(starts[1:])]
    assert gaps == pytest.approx([15.0] * len(gaps))
    assert SKIPPED.labels("slow")._value.get() - before >= 2 * len(gaps)


def test_a_shard_without_targets_waits() -> None:
    async def main() -> None:
        async with asyncio.timeout(10):
            await Schedule([], lambda target: asyncio.sleep(0)).run(0.0)

    with asyncio.Runner(loop_factory=JumpingLoop) as runner, pytest.raises(TimeoutError):
        runner.run(main())


def test_interval_of_zero_is_scraped_only_on_cue() -> None:
    async def script(schedule: Schedule) -> None:
        await asyncio.sleep(100)
        assert schedule.cue() == 1

    starts = starts_of([make_target("a", 0.0)], for_s=100, script=script)["a"]

    assert starts == pytest.approx([100.0])


def test_cue_names_sources_or_targets() -> None:
    targets = [make_target("a", 0.0, "x"), make_target("b", 0.0, "x"), make_target("c", 0.0, "y")]

    async def script(schedule: Schedule) -> None:
        assert schedule.cue({"y", "a"}) == 2
        assert schedule.cue({"nobody"}) == 0

    starts = starts_of(targets, for_s=1, script=script)

    assert {name: len(times) for name, times in starts.items()} == {"a": 1, "b": 0, "c": 1}


def test_cue_in_the_middle_of_a_scrape_makes_one_more() -> None:
    async def script(schedule: Schedule) -> None:
        schedule.cue()
        await asyncio.sleep(2)
        schedule.cue()
        schedule.cue()

    starts = starts_of([make_target("a", 0.0)], for_s=60, durations_s={"a": 10.0}, script=script)["a"]

    assert starts == pytest.approx([0.0, 10.0])


def test_cue_does_not_move_the_schedule() -> None:
    async def script(schedule: Schedule) -> None:
        await asyncio.sleep(101.3)
        schedule.cue()

    plain = starts_of([make_target("a", 5.0)], for_s=300)["a"]
    cued = starts_of([make_target("a", 5.0)], for_s=198.7, script=script)["a"]

    assert [start for start in cued if abs(start - 101.3) > 1e-3] == pytest.approx(plain)
