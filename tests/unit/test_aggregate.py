"""Totals of pools: what nodes give, what partitions tell and when, what becomes of it."""

from math import fsum
from typing import Any
from unittest.mock import patch

import pytest

from streams.domain import aggregate_sender
from streams.domain.aggregate import COLUMNS, add_up, bounded_tick, row_of, sums_of, tick_of, totals_of
from streams.domain.changes import Changes
from streams.domain.keys import entity_key, partition_of
from streams.domain.observation import check_observation, new_observation
from streams.domain.twin import Partition
from streams.errors import InvalidMessageError
from streams.records import Observation, State
from tests.factories import make_state
from tests.reference.aggregates import STEP_MS, Group
from tests.reference.messages import clock, values
from tests.unit.test_replay import created, played

T = 1_700_000_000_000
FORMS = dict.fromkeys(("power_watts", "cpu_usage_percent", "number_of_cores", "up"), 0)


def node(status: str = "up", **given: float) -> State:
    """A node whose newest tick has these values."""
    return make_state(
        status=status,
        tick_ms=T,
        seen_ms=T + 1_000,
        aligned_names=list(given),
        aligned_values=list(given.values()),
        aligned_qualities=[0] * len(given),
        source_names=["a"],
        source_intervals_ms=[5_000],
        head_names=list(given),
        head_sources=[0] * len(given),
        head_times_ms=[T] * len(given),
    )


def given_by(*nodes: State) -> dict[str, float]:
    """The numbers of a partial of these nodes."""
    return dict(zip(COLUMNS, sums_of([row_of(one, STEP_MS) for one in nodes]), strict=True))


def observed(at_ms: int, id: str, offset: int, pool: str | None = None, **readings: float) -> Observation:
    """A scrape of one node, which may name its pool."""
    return values(
        at_ms,
        "prom",
        (0, offset),
        {("node", id): [(name, value, at_ms) for name, value in readings.items()]},
        attributes={("node", id): {} if pool is None else {"nodepool": pool}},
        forms=FORMS,
        interval_ms=5_000,
        target=id,
    )


class Log:
    """One partition of one: what it is told, and what it tells."""

    def __init__(self, partitions: int = 1) -> None:
        self.partition = Partition(0, STEP_MS, 300_000, {}, 1, partitions=partitions)
        self.states: dict[str, State] = {}
        self.offset = 0

    def feed(self, message: Observation) -> list[tuple[int, Observation]]:
        """Apply a message; returns what is told."""
        changes = self.partition.apply(self.offset, message, self.states)
        self.offset += 1
        return changes.partials

    def restart(self) -> "Log":
        """Another worker that has the same records."""
        other = Log(self.partition.partitions)
        other.states, other.offset = self.states, self.offset
        other.partition.restored(max((state["version"] for state in self.states.values()), default=0))
        for key, state in self.states.items():
            other.partition.restore(key, state)
        return other


def told(partials: list[tuple[int, Observation]]) -> dict[str, dict[str, float]]:
    """By id of a pool the numbers that are told of it."""
    found = {}
    for _, message in partials:
        check_observation(message)
        for place, id in enumerate(message["ids"]):
            width = message["sizes"][place]
            found[id] = dict(
                zip(message["names"], message["values"][place * width : (place + 1) * width], strict=True)
            )
    return found


def heads(state: State) -> dict[str, float]:
    """Newest value of each metric."""
    return dict(zip(state["head_names"], state["head_values"], strict=True))


# What nodes give


def test_values_of_nodes_add_up_with_how_many_give_them() -> None:
    found = given_by(node(power_watts=1.5, number_of_cores=4.0), node(power_watts=2.0), node("down"))

    assert (found["nodes"], found["nodes_up"], found["nodes_down"]) == (3, 2, 1)
    assert (found["power_watts"], found["nodes_with_power_watts"]) == (3.5, 2)
    assert (found["number_of_cores"], found["nodes_with_number_of_cores"]) == (4.0, 1)
    assert found["nodes_with_mem_total_bytes"] == 0


@pytest.mark.parametrize("status", ["down", "unknown"])
def test_a_node_that_is_not_alive_gives_its_status_alone(status: str) -> None:
    found = given_by(node(status, power_watts=1.5))

    assert {name: value for name, value in found.items() if value} == {"nodes": 1, f"nodes_{status}": 1}


def test_a_stale_value_is_left_out() -> None:
    one = node("degraded", power_watts=1.5, number_of_cores=4.0)
    one["head_times_ms"][0] = T - 20_000

    found = given_by(one)

    assert (found["nodes_with_power_watts"], found["number_of_cores"]) == (0, 4.0)


def test_sums_do_not_depend_on_the_order() -> None:
    values = [0.1, 1e16, -1e16, 0.2, 0.3]
    rows = [row_of(node(power_watts=value), STEP_MS) for value in values]

    assert sums_of(rows) == sums_of(rows[::-1])
    assert sums_of(rows)[COLUMNS.index("power_watts")] == fsum(values)
    assert add_up([sums_of(rows[:2]), sums_of(rows[2:])])[0] == 5


def test_used_cores_are_those_of_nodes_that_tell_both() -> None:
    found = given_by(node(cpu_usage_percent=50.0, number_of_cores=8.0), node(cpu_usage_percent=10.0))

    assert (found["used_cores"], found["number_of_cores_of_used_cores"]) == (4.0, 8.0)
    assert (found["nodes_with_used_cores"], found["nodes_with_cpu_usage_percent"]) == (1, 2)


def test_the_tick_is_that_which_all_have_closed_within_three_steps() -> None:
    slow, fast, silent = node(power_watts=1.0), node(power_watts=1.0), node("down")
    slow["tick_ms"] = T - 5_000
    rows = [row_of(one, STEP_MS) for one in (slow, fast, silent)]

    assert tick_of(rows) == T - 5_000
    assert tick_of(rows[2:]) == 0
    assert tick_of([]) == 0
    assert bounded_tick(T - 60_000, T + 1, STEP_MS) == T - 15_000
    assert bounded_tick(T + 60_000, T + 1, STEP_MS) == T
    assert bounded_tick(0, T + 1, STEP_MS) == 0


# Totals


@pytest.mark.parametrize(
    ("nodes", "percent"),
    [
        ([(90.0, 10.0), (10.0, 30.0)], 30.0),  # weighted by cores
        ([(90.0, 10.0), (10.0, None)], 50.0),  # one is unknown: plain
        ([(90.0, 0.0)], 90.0),  # no core at all
        ([(100.0, 0.1), (100.0, 0.2)], 100.0),  # rounding does not step over 100
    ],
)
def test_usage_is_weighted_by_cores_where_all_are_known(
    nodes: list[tuple[float, float | None]], percent: float
) -> None:
    given = [
        node(cpu_usage_percent=share, **({} if cores is None else {"number_of_cores": cores}))
        for share, cores in nodes
    ]

    assert totals_of(given_by(*given))["cpu_usage_percent"] == percent


def test_what_no_node_gives_is_absent_and_counts_are_not() -> None:
    totals = totals_of(given_by(node("down")))

    assert totals == {
        "nodes_count": 1,
        "nodes_up_count": 0,
        "nodes_degraded_count": 0,
        "nodes_down_count": 1,
        "nodes_unknown_count": 0,
        "up": 0,
    }
    assert "up" not in totals_of(given_by(node("unknown")))


def test_headroom_is_what_is_not_used() -> None:
    totals = totals_of(
        given_by(
            node(cpu_usage_percent=25.0, number_of_cores=8.0, mem_usage_percent=50.0, mem_total_bytes=4e9)
        )
    )

    assert (totals["used_cores"], totals["headroom_cores"]) == (2.0, 6.0)
    assert (totals["used_mem_bytes"], totals["headroom_mem_bytes"]) == (2e9, 2e9)


# What is told, and when


def test_all_is_told_at_the_first_clock_and_a_count_at_the_next() -> None:
    log = Log()
    log.feed(observed(T, "n1", 1, "a", power_watts=3.0))

    first = log.feed(clock(T + 1_000))
    quiet = log.feed(clock(T + 2_000))
    log.feed(observed(T + 2_500, "n2", 2, "a", power_watts=4.0))
    second = log.feed(clock(T + 3_000))

    assert [message["type"] for _, message in first] == ["partial", "partial_end"]
    assert told(first)["a"]["nodes"] == told(first)["cluster"]["nodes"] == 1
    assert quiet == []
    assert told(second)["a"]["nodes"] == told(second)["cluster"]["nodes"] == 2


def test_a_sum_waits_for_its_tick_and_no_longer_than_two_steps() -> None:
    log = Log()
    log.feed(observed(T, "n1", 1, "a", power_watts=3.0))
    log.feed(observed(T, "n2", 2, "a", power_watts=3.0))
    log.feed(clock(T + 1_000))

    log.feed(observed(T + 5_000, "n1", 3, power_watts=4.0))
    one_moved = log.feed(clock(T + 6_000))
    log.feed(observed(T + 5_000, "n2", 4, power_watts=4.0))
    both_moved = log.feed(clock(T + 7_000))
    log.feed(observed(T + 10_000, "n1", 5, power_watts=5.0))
    still = log.feed(clock(T + 12_000))
    late = log.feed(clock(T + 17_000))

    assert (one_moved, still) == ([], [])
    assert told(both_moved)["a"]["power_watts"] == 8.0
    assert told(late)["a"]["power_watts"] == 9.0


def test_what_does_not_change_is_told_again_after_a_while() -> None:
    log = Log()
    log.feed(observed(T, "n1", 1, "a", power_watts=3.0))
    log.feed(clock(T + 1_000))
    log.feed(clock(T + 30_000))

    assert log.feed(clock(T + 31_000)) == []
    assert told(log.feed(clock(T + 40_000)))["a"]["nodes_down"] == 1


def test_a_node_that_moves_leaves_its_pool_within_one_clock() -> None:
    log = Log()
    log.feed(observed(T, "n1", 1, "a", power_watts=3.0))
    log.feed(clock(T + 1_000))

    log.feed(observed(T + 1_500, "n1", 2, "b"))
    moved = told(log.feed(clock(T + 2_000)))
    log.feed(observed(T + 2_500, "n1", 3, ""))
    free = told(log.feed(clock(T + 3_000)))

    assert (moved["a"]["nodes"], moved["b"]["nodes"], moved["b"]["power_watts"]) == (0, 1, 3.0)
    assert (free["b"]["nodes"], free["cluster"]["nodes"]) == (0, 1)
    assert "" not in free


def test_a_node_becomes_simulated_within_one_clock() -> None:
    log = Log()
    log.feed(observed(T, "n1", 1, "a", power_watts=3.0))
    log.feed(clock(T + 1_000))

    message = observed(T + 1_500, "n1", 2, power_watts=3.0)
    message["simulated"] = True
    log.feed(message)

    assert told(log.feed(clock(T + 2_000)))["a"]["nodes_simulated"] == 1


def test_a_node_that_says_the_same_again_is_no_news() -> None:
    log = Log()
    log.feed(observed(T, "n1", 1, "a"))
    log.feed(clock(T + 1_000))
    log.feed(observed(T + 1_500, "n1", 2, "a"))

    assert log.feed(clock(T + 2_000)) == []


def test_a_value_that_becomes_stale_leaves_the_sums_of_a_degraded_node() -> None:
    log = Log()
    log.feed(observed(T, "n1", 1, "a", power_watts=3.0, number_of_cores=2.0))
    for second in range(5, 25, 5):
        log.feed(observed(T + 1_000 * second, "n1", second, number_of_cores=2.0))

    found = told(log.feed(clock(T + 21_000)))["a"]

    assert log.states["live/node/n1"]["status_reason"] == "stale: power_watts"
    assert (found["nodes_degraded"], found["nodes_with_power_watts"], found["number_of_cores"]) == (1, 0, 2.0)


def test_without_a_number_of_partitions_nothing_is_told() -> None:
    log = Log(partitions=0)
    log.feed(observed(T, "n1", 1, "a", power_watts=3.0))

    assert log.restart().feed(clock(T + 1_000)) == log.feed(clock(T + 1_000)) == []


def test_a_restart_tells_nothing_before_it_knows_all_nodes() -> None:
    log = Log()
    for number in range(5):
        log.feed(observed(T, f"n{number}", number + 1, "a", power_watts=1.0))
    later = log.restart()

    with patch.object(aggregate_sender, "LEARNED", 2):
        found = [told(later.feed(clock(T + 1_000 * second))) for second in (1, 2, 3)]

    assert found[:2] == [{}, {}]
    assert found[2]["a"]["power_watts"] == 5.0


def test_a_restart_counts_out_a_record_that_does_not_decode() -> None:
    log = Log()
    log.feed(observed(T, "n1", 1, "a", power_watts=1.0))
    log.feed(observed(T, "n2", 2, "a", power_watts=1.0))
    later = log.restart()
    del later.states["live/node/n1"]

    assert told(later.feed(clock(T + 1_000)))["a"]["nodes"] == 1


def test_a_restart_tells_nothing_while_records_are_ahead_of_the_log() -> None:
    log = Log()
    log.feed(observed(T, "n1", 1, "a", power_watts=1.0))
    log.feed(clock(T + 1_000))
    log.feed(observed(T + 1_500, "n2", 2, "a", power_watts=1.0))
    again = log.restart()
    again.offset = 1

    assert again.feed(clock(T + 1_000)) == []
    again.feed(observed(T + 1_500, "n2", 2, "a", power_watts=1.0))
    assert told(again.feed(clock(T + 2_000)))["a"]["nodes"] == 2


def test_a_long_list_of_pools_is_told_in_several_messages() -> None:
    log = Log()
    for number in range(5):
        log.feed(observed(T, f"n{number}", number + 1, f"p{number}"))

    with patch.object(aggregate_sender, "MAX_POOLS", 2):
        partials = log.feed(clock(T + 1_000))

    assert [len(message["ids"]) for _, message in partials] == [2, 2, 2, 0]


def test_each_pool_is_told_of_in_its_own_partition() -> None:
    log = Log(partitions=7)
    for number in range(5):
        log.feed(observed(T, f"n{number}", number + 1, f"p{number}"))

    partials = log.feed(clock(T + 1_000))

    for home, message in partials:
        for kind, id in zip(message["kinds"], message["ids"], strict=True):
            assert home == partition_of(entity_key("live", kind, id), 7)
    assert [home for home, message in partials if message["type"] == "partial_end"] == list(range(7))


def test_learning_and_telling_give_the_loop_back() -> None:
    log = Log()
    for number in range(120):
        log.feed(observed(T, f"n{number}", number + 1, f"p{number % 3}"))
    later = log.restart()

    pauses = sum(1 for _ in later.partition.steps(later.offset, clock(T + 1_000), later.states, Changes()))

    assert pauses >= 5


# What becomes of it


def test_a_pool_shows_its_nodes_and_is_gone_with_the_last() -> None:
    group = Group()
    group.send(observed(T, "n1", 1, "a", power_watts=3.0, cpu_usage_percent=50.0))
    group.send(observed(T, "n2", 2, "a", power_watts=4.0))
    group.tick(T + 1_000)
    group.drain()
    pool = group.states()["live/nodepool/a"]

    group.send(observed(T + 1_500, "n1", 3, "b"))
    group.send(observed(T + 1_500, "n2", 4, "b"))
    group.tick(T + 2_000)
    group.drain()

    assert heads(pool)["power_watts"] == 7.0
    assert (pool["status"], pool["source_names"], pool["simulated"]) == ("up", ["twin"], False)
    assert pool["features"]["nodes_with_cpu_usage_percent"] == 1
    assert sum(pool["source_counts"]) == 0
    assert "live/nodepool/a" not in group.states()
    assert heads(group.states()["live/nodepool/b"])["nodes_count"] == 2


def test_a_pool_that_a_source_names_stays_without_nodes() -> None:
    group = Group()
    group.send(observed(T, "n1", 1, "a", power_watts=3.0))
    declared = {("nodepool", "a"): [("power_watts", 9.0, T)]}
    own = values(T, "meter", (1, 1), declared, forms=FORMS, interval_ms=60_000, priority=50)
    group.send(own)
    group.tick(T + 1_000)
    group.drain()
    full = group.states()["live/nodepool/a"]
    group.send(observed(T + 1_500, "n1", 2, "b"))
    group.tick(T + 2_000)
    group.tick(T + 100_000)
    group.drain()
    empty = group.states()["live/nodepool/a"]

    assert dict(zip(full["aligned_names"], full["aligned_values"], strict=True))["power_watts"] == 9.0
    assert (empty["status"], heads(empty)["nodes_count"]) == ("up", 0)
    assert empty["features"] == {}


def test_a_pool_that_lost_its_nodes_unseen_is_emptied_by_the_end_of_what_is_told() -> None:
    group = Group()
    group.send(observed(T, "n1", 1, "a", power_watts=3.0))
    group.tick(T + 1_000)
    group.drain()
    number = partition_of("live/node/n1", 3)
    group.send(observed(T + 1_500, "n1", 2, "b", power_watts=3.0))
    group.members[number].log.append(clock(T + 2_000))
    group.run(number, 2, dies=True)  # all is written, and nothing told
    group.members[number].committed += 2
    group.start(number, 0)

    group.tick(T + 3_000)
    group.drain()

    assert "live/nodepool/a" not in group.states()
    assert heads(group.states()["live/nodepool/b"])["nodes_count"] == 1


def partial(offset: int, **numbers: Any) -> Observation:
    """What partition 4 says of pool a."""
    message = new_observation("partial", T + offset)
    message["source"], message["interval_ms"], message["scraped_at_ms"] = "twin", 20_000, T + offset
    message["origin_topic"], message["origin_partition"], message["origin_offset"] = "observation", 4, offset
    message["kinds"], message["ids"], message["attributes"] = ["nodepool"], ["a"], [{}]
    message["names"], message["forms"] = list(numbers), [0] * len(numbers)
    message["sizes"], message["metrics"] = [len(numbers)], list(range(len(numbers)))
    message["values"], message["times_ms"] = list(map(float, numbers.values())), [T]
    return message


def test_a_partial_that_is_repeated_or_older_changes_nothing() -> None:
    log = Log()
    log.feed(partial(7, nodes=2, nodes_up=2, power_watts=5, nodes_with_power_watts=1))
    before = repr(log.states)

    log.feed(partial(7, nodes=1, nodes_up=1))
    log.feed(partial(6, nodes=1, nodes_up=1))

    assert repr(log.states) == before
    assert heads(log.states["live/nodepool/a"])["power_watts"] == 5.0


def test_a_replay_of_live_has_the_totals_that_live_was_told() -> None:
    live, replayed = Log(), Partition(0, STEP_MS, 300_000, {}, 1)
    states: dict[str, State] = {}
    replayed.apply(0, created(), states)
    messages = [partial(7, nodes=2, nodes_up=2), partial(9, nodes=3, nodes_up=3, used_cores=2)]
    for offset, message in enumerate(messages, 1):
        live.feed(message)
        replayed.apply(offset, played(message), states)

    one, other = live.states["live/nodepool/a"], states["r1/nodepool/a"]
    assert (other["head_names"], other["head_values"]) == (one["head_names"], one["head_values"])
    assert (one["simulated"], other["simulated"]) == (False, True)


def test_a_partial_that_is_handled_again_changes_nothing() -> None:
    log = Log()
    log.feed(partial(7, nodes=2))
    log.feed(partial(8, nodes=0))
    log.offset = 0

    log.feed(partial(7, nodes=2))

    assert "live/nodepool/a" not in log.states


def test_a_partial_of_no_node_makes_no_pool() -> None:
    log = Log()

    log.feed(partial(7, nodes=0))

    assert log.states == {}


def test_the_end_of_what_one_partition_tells_leaves_what_others_told() -> None:
    log = Log()
    log.feed(partial(7, nodes=2))
    before = repr(log.states)
    for sender, offset in ((5, 9), (4, 7)):
        end = partial(offset)
        end["type"], end["origin_partition"], end["ids"], end["kinds"] = "partial_end", sender, [], []
        log.feed(end)

    assert repr(log.states) == before


def test_numbers_are_told_by_name_so_that_releases_can_be_mixed() -> None:
    log = Log()
    log.feed(partial(7, nodes=2, something_else=9))
    known = log.states["live/nodepool/a"]["aggregate"]
    assert known is not None
    known["names"], known["values"] = ["power_watts", "nodes"], [1.0, 3.0]
    other = partial(8, nodes=4)
    other["origin_partition"] = 5

    log.feed(other)

    assert heads(log.states["live/nodepool/a"])["nodes_count"] == 7


def test_a_long_partial_gives_the_loop_back() -> None:
    log = Log()
    message = partial(7, nodes=2)
    message["ids"] = [str(number) for number in range(120)]
    for name in ("kinds", "sizes", "attributes", "values", "metrics", "times_ms"):
        message[name] = message[name] * 120  # type: ignore[literal-required]
    end = new_observation("partial_end", T + 8)
    end["origin_partition"], end["origin_offset"] = 4, 8

    assert sum(1 for _ in log.partition.steps(0, message, log.states, Changes())) == 2
    assert sum(1 for _ in log.partition.steps(1, end, log.states, Changes())) == 2
    assert log.states.keys() == {"live/_ledger/0"}


def test_a_partial_has_one_tick_for_each_pool() -> None:
    message = partial(7, nodes=2)
    check_observation(message)
    message["times_ms"] = [T, T]

    with pytest.raises(InvalidMessageError, match="times_ms: 2 where 1 must be"):
        check_observation(message)
