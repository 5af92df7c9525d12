"""Pools and cluster have the totals of their nodes' records, whatever happened to workers."""

from typing import Any
from unittest.mock import patch

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.domain import aggregate_sender
from streams.domain.aggregate import STATE_TOTALS
from streams.records import State
from tests.reference.aggregates import PARTITIONS, REMOVE_AFTER_MS, STEP_MS, Group, plain_totals
from tests.reference.messages import failure, values

T = 1_700_000_000_000
INTERVALS_MS = {"a": 5_000, "b": 60_000}
NODES = [f"n{number}" for number in range(6)]
METRICS = (
    "power_watts",
    "cpu_usage_percent",
    "number_of_cores",
    "mem_usage_percent",
    "mem_total_bytes",
    "up",
)


@st.composite
def moves(draw: st.DrawFn) -> tuple[Any, ...]:
    kind = draw(st.sampled_from(("scrape", "scrape", "scrape", "wait", "wait", "fail", "die", "long", "run")))
    if kind == "scrape":
        names = draw(st.lists(st.sampled_from(METRICS), unique=True, max_size=6))
        readings = [(name, draw(st.sampled_from((0.0, 0.1, 1.0, 3.3, 99.9, 100.0)))) for name in names]
        pool = draw(st.sampled_from((None, None, "1", "2", "")))
        return (kind, draw(st.sampled_from(NODES)), draw(st.sampled_from(("a", "b"))), readings, pool)
    if kind == "fail":
        return (kind, draw(st.sampled_from(NODES)), draw(st.sampled_from(("a", "b"))))
    if kind == "wait":
        return (kind, draw(st.sampled_from((1_000, 4_000, 5_000, 20_000))))
    if kind == "long":
        return (kind, draw(st.sampled_from((100_000, REMOVE_AFTER_MS + 30_000))))
    number = draw(st.integers(0, PARTITIONS - 1))
    return (kind, number, draw(st.integers(1, 30)), draw(st.integers(0, 31)), draw(st.integers(0, 20)))


def play(group: Group, script: list[tuple[Any, ...]]) -> int:
    """Plays moves; returns the time [ms] at the end."""
    at_ms = T
    for place, (kind, *details) in enumerate(script):
        if kind == "scrape":
            node, source, readings, pool = details
            told = {} if pool is None else {"nodepool": pool}
            rows = [(name, value, at_ms - 300) for name, value in readings]
            group.send(
                values(
                    at_ms,
                    source,
                    (NODES.index(node), place),
                    {("node", node): rows},
                    attributes={("node", node): told},
                    forms=dict.fromkeys(METRICS, 0),
                    interval_ms=INTERVALS_MS[source],
                    target=f"{source}:{node}",
                )
            )
        elif kind == "fail":
            node, source = details
            message = failure(at_ms, source, (NODES.index(node), place), target=f"{source}:{node}")
            for member in group.members:
                member.log.append(message)
        elif kind in ("wait", "long"):
            at_ms += details[0]
            group.tick(at_ms)
        else:
            number, most, written, rewind = details
            dies = kind == "die"
            group.run(number, most, dies=dies, written=written if dies else -1)
            if dies:
                group.start(number, rewind)
    return at_ms


def assert_totals(states: dict[str, State], *, counts_alone: bool = False) -> None:
    """All pools and the cluster have the totals that plain Python finds, and there are no others."""
    expected = plain_totals(states)
    assert {
        key for key, state in states.items() if state["kind"] in ("nodepool", "cluster")
    } == expected.keys()
    for key, totals in expected.items():
        found = dict(zip(states[key]["head_names"], states[key]["head_values"], strict=True))
        if counts_alone:
            found = {name: value for name, value in found.items() if name in STATE_TOTALS}
            totals = {name: value for name, value in totals.items() if name in STATE_TOTALS}
        assert found.keys() == totals.keys(), key
        for name, value in totals.items():
            assert found[name] == pytest.approx(float(value), rel=1e-12, abs=1e-9), (key, name)


@pytest.mark.timeout(3600)
@given(st.lists(moves(), min_size=5, max_size=60))
def test_totals_are_those_of_the_nodes_once_all_clocks_ran(script: list[tuple[Any, ...]]) -> None:
    group = Group()

    with patch.object(aggregate_sender, "REFRESH_MS", 10**12):  # what repeats itself would hide what is lost
        at_ms = play(group, script)
        group.drain()
        group.tick(at_ms + 1_000)
        group.drain()
        soon = group.states()
        for step in range(1, 16):
            group.tick(at_ms + STEP_MS * step)
            group.drain()

    assert_totals(soon, counts_alone=True)
    assert_totals(group.states())
