from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from streams.domain.stamp import make_stamp, oldest_observed_ms
from streams.domain.view import entity_view
from streams.replica.held import Held
from tests.factories import make_state


def summary(**overrides: Any) -> Held:
    fields: dict[str, Any] = {
        "epoch": 1,
        "version": 1,
        "partition": 0,
        "status": "up",
        "seen_ms": 12_000,
        "next_tick_ms": 15_000,
        "tick_ms": 10_000,
        "complete": True,
        "value": b"",
    }
    return Held(**(fields | overrides))


def test_an_empty_world_says_nothing_rather_than_zero() -> None:
    assert make_stamp("live", [], None, {0: 0}) == {
        "world": "live",
        "entities": 0,
        "tick_ms": None,
        "clock_ms": None,
        "complete_share": None,
        "oldest_observed_ms": None,
        "offsets": {"0": 0},
    }


def test_the_tick_is_the_newest_that_all_complete_entities_closed() -> None:
    stamp = make_stamp("live", [summary(tick_ms=10_000), summary(tick_ms=15_000)], 9_000, {1: 7, 0: 5})

    assert stamp["tick_ms"] == 10_000
    assert stamp["complete_share"] == 1.0
    assert stamp["oldest_observed_ms"] == 9_000
    assert list(stamp["offsets"].items()) == [("0", 5), ("1", 7)]


def test_one_that_is_down_does_not_hold_the_tick_but_is_not_complete() -> None:
    stamp = make_stamp("live", [summary(), summary(status="down", tick_ms=5_000)], None, {})

    assert stamp["tick_ms"] == 10_000
    assert stamp["complete_share"] == 0.5


def test_an_incomplete_tick_is_not_counted() -> None:
    stamp = make_stamp("live", [summary(complete=False)], None, {})

    assert stamp["tick_ms"] is None
    assert stamp["complete_share"] == 0.0


def test_what_never_had_a_sample_has_no_share() -> None:
    stamp = make_stamp("live", [summary(), summary(status="unknown", next_tick_ms=0, tick_ms=0)], None, {})

    assert stamp["entities"] == 2
    assert stamp["complete_share"] == 1.0


def test_an_entity_whose_first_tick_is_open_has_a_share() -> None:
    assert make_stamp("live", [summary(tick_ms=0, complete=False)], None, {})["complete_share"] == 0.0


def test_the_clock_is_the_newest_time_that_any_was_told_of() -> None:
    assert make_stamp("live", [summary(seen_ms=7), summary(seen_ms=9)], None, {})["clock_ms"] == 9


def test_the_oldest_value_of_all_views() -> None:
    views = [
        entity_view(make_state(head_times_ms=[9, 8, 9])),
        entity_view(make_state(head_times_ms=[7, 8, 9])),
    ]

    assert oldest_observed_ms(views) == 7
    assert oldest_observed_ms([]) is None


@given(
    st.lists(
        st.builds(
            summary,
            status=st.sampled_from(["up", "degraded", "down", "unknown"]),
            tick_ms=st.integers(0, 3).map(lambda n: n * 5_000),
            next_tick_ms=st.integers(0, 3).map(lambda n: n * 5_000),
            complete=st.booleans(),
        )
    )
)
def test_a_stamp_never_promises_a_tick_that_a_complete_entity_has_not_closed(entities: list[Held]) -> None:
    stamp = make_stamp("live", entities, None, {})

    counted = [e for e in entities if e.complete and e.tick_ms and e.status in ("up", "degraded")]
    assert (stamp["tick_ms"] is None) == (not counted)
    assert all(e.tick_ms >= (stamp["tick_ms"] or 0) for e in counted)
    assert stamp["complete_share"] is None or 0 <= stamp["complete_share"] <= 1
