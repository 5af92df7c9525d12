from types import SimpleNamespace
from typing import Any

from faust.types import TP

from streams.agents.harmonize import Progress
from streams.topics import Topics

A, B, OTHER = TP("p.scrape.v1", 0), TP("p.scrape.v1", 1), TP("p.observation.v1", 0)
NOW_MS = 1_000_000


def progress(starts: dict[TP, int], ends: dict[TP, int | None]) -> Progress:
    app: Any = SimpleNamespace(
        consumer=SimpleNamespace(assignment=lambda: {*starts, OTHER}, highwater=ends.get),
        delivery=SimpleNamespace(start=starts.get),
    )
    return Progress(app, Topics("p", 2))


def event(tp: TP, offset: int, time_ms: int) -> Any:
    return SimpleNamespace(message=SimpleNamespace(tp=tp, offset=offset, timestamp=time_ms / 1000))


def test_clock_is_the_wall_s_when_nothing_waits() -> None:
    assert progress({A: 5, B: 0}, {A: 5, B: 0}).clock_ms(NOW_MS) == NOW_MS


def test_clock_says_nothing_until_the_ends_are_known() -> None:
    assert progress({A: 5, B: 0}, {A: 5, B: None}).clock_ms(NOW_MS) is None


def test_clock_says_nothing_while_none_of_a_backlog_is_done() -> None:
    assert progress({A: 5, B: 0}, {A: 9, B: 0}).clock_ms(NOW_MS) is None


def test_clock_follows_the_partition_that_is_most_behind() -> None:
    behind = progress({A: 5, B: 0}, {A: 9, B: 3})

    behind.note([event(A, 6, 400_000), event(B, 0, 700_000), event(B, 1, 800_000)])
    assert behind.clock_ms(NOW_MS) == 400_000
    behind.note([event(A, 8, 900_000)])
    assert behind.clock_ms(NOW_MS) == 800_000
    behind.note([event(B, 2, 950_000)])
    assert behind.clock_ms(NOW_MS) == NOW_MS


def test_what_was_done_before_a_rebalance_does_not_count_as_a_backlog() -> None:
    kept = progress({A: 9}, {A: 9})

    kept.note([event(A, 4, 400_000)])

    assert kept.clock_ms(NOW_MS) == NOW_MS
