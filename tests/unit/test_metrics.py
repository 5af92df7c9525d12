from collections.abc import Iterator

import pytest
from prometheus_client import REGISTRY

from streams.metrics import Progress


class Clock:
    now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def progress(clock: Clock) -> Iterator[Progress]:
    progress = Progress("test", clock=clock)
    yield progress
    for partition in range(3):
        progress.forget("t", partition)


def test_nothing_to_read_is_ready(progress: Progress) -> None:
    assert progress.ready() == (True, {})


def test_a_partition_that_stands_still_while_its_end_moves_is_named(progress: Progress, clock: Clock) -> None:
    progress.set_position("t", 1, 10)
    progress.set_end("t", 1, 10)
    progress.set_position("t", 2, 5)
    progress.set_end("t", 2, 5)

    clock.now_s = 100.0
    progress.set_end("t", 1, 11)
    assert progress.ready() == (True, {})
    clock.now_s = 131.0

    assert progress.ready() == (False, {"stalled": {"t/1": "at 10 of 11 for 31 s"}})


def test_it_is_ready_again_when_it_moves(progress: Progress, clock: Clock) -> None:
    progress.set_position("t", 1, 10)
    progress.set_end("t", 1, 11)
    clock.now_s = 31.0
    assert not progress.ready()[0]

    progress.set_position("t", 1, 11)

    assert progress.ready() == (True, {})


def test_a_slow_partition_that_moves_is_ready(progress: Progress, clock: Clock) -> None:
    for second in range(100):
        clock.now_s = float(second)
        progress.set_end("t", 1, 1_000 + 10 * second)
        progress.set_position("t", 1, second)

    assert progress.ready() == (True, {})
    assert progress.lag() == 1_990 - 99


def test_a_partition_that_was_never_read_is_named(progress: Progress, clock: Clock) -> None:
    progress.set_end("t", 1, 7)
    clock.now_s = 31.0

    assert progress.ready() == (False, {"stalled": {"t/1": "at None of 7 for 31 s"}})


def test_a_position_below_an_end_that_rests_is_a_compacted_tail(progress: Progress, clock: Clock) -> None:
    progress.set_end("t", 1, 10)
    progress.set_position("t", 1, 8)
    clock.now_s = 10_000.0

    assert progress.ready() == (True, {})


def test_a_partition_that_was_taken_away_is_not_missed(progress: Progress, clock: Clock) -> None:
    progress.set_end("t", 1, 7)
    clock.now_s = 31.0

    progress.forget("t", 1)

    assert progress.ready() == (True, {})
    labels = {"role": "test", "topic": "t", "partition": "1"}
    assert REGISTRY.get_sample_value("twin_partition_lag_records", labels) is None


def test_position_and_lag_are_exported(progress: Progress) -> None:
    progress.set_position("t", 1, 4)
    progress.set_end("t", 1, 7)

    labels = {"role": "test", "topic": "t", "partition": "1"}
    assert REGISTRY.get_sample_value("twin_partition_position_offset", labels) == 4
    assert REGISTRY.get_sample_value("twin_partition_lag_records", labels) == 3
