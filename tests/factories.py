"""Records for tests, whole and valid; each keyword overrides one field."""

from typing import Any, cast

from streams.domain.keys import entity_key, partition_of
from streams.records import Scenario, State
from streams.schemas import load_codec

NAN = float("nan")

NOW_MS = 1_751_552_585_000
"""[ms since the epoch, UTC] What records of this module are built around: a multiple of the default step."""


def make_state(**overrides: Any) -> State:
    """An `up` node `ws01` with one source, three heads and one closed tick; fields as in state.avsc."""
    state: dict[str, Any] = {
        "due_ms": NOW_MS + 10_000,
        "targets": ["node_exporter ws01:9100"],
        "version": 12,
        "epoch": 3,
        "status": "up",
        "status_since_ms": NOW_MS - 5_000,
        "status_reason": "",
        "seen_ms": NOW_MS - 200,
        "next_tick_ms": NOW_MS,
        "tick_ms": NOW_MS - 5_000,
        "complete": True,
        "aligned_names": ["cpu_usage_percent", "mem_total_bytes"],
        "aligned_values": [30.9, 270_000_000_000.0],
        "aligned_qualities": [1, 2],
        "head_names": ["cpu_usage_percent", "mem_total_bytes", "network_receive_bytes_per_s"],
        "head_sources": [0, 0, 0],
        "head_forms": [0, 1, 2],
        "head_values": [31.2, 270_000_000_000.0, 123_456_789.0],
        "head_times_ms": [NOW_MS - 237, NOW_MS - 237, NOW_MS - 237],
        "head_rates": [NAN, NAN, 1_536.5],
        "head_sums": [NAN, NAN, 7_300.25],
        "open_ticks_ms": [],
        "open_heads": [],
        "open_values": [],
        "open_qualities": [],
        "source_names": ["node_exporter"],
        "source_priorities": [10],
        "source_intervals_ms": [5_000],
        "source_good_ms": [NOW_MS - 237],
        "source_failures": [0],
        "source_counts": [40, 0, 0, 0, 0],
        "origins": ["twin.scrape.v1/3"],
        "origin_offsets": [11],
        "simulated": False,
        "attributes": {"nodepool": "1", "arch": "x86_64", "system": "linux"},
        "features": {},
        "world": "live",
        "kind": "node",
        "id": "ws01",
        "scenario": None,
        "aggregate": None,
    }
    unknown = set(overrides) - set(state)
    if unknown:
        raise TypeError(f"a state has no {', '.join(sorted(unknown))}")
    return cast(State, state | overrides)


def make_scenario(**overrides: Any) -> Scenario:
    """A scenario that changes nothing; fields as in state.avsc."""
    scenario: dict[str, Any] = {
        "faults": [],
        "names": [],
        "values": [],
        "times_ms": [],
        "frozen_faults": [],
        "frozen_names": [],
        "frozen_values": [],
        "frozen_times_ms": [],
        "hidden": False,
    }
    return cast(Scenario, scenario | overrides)


def encode_state(state: State, partitions: int) -> tuple[bytes, bytes, int]:
    """Kafka key, value and partition of a state record."""
    key = entity_key(state["world"], state["kind"], state["id"])
    return key.encode(), load_codec("state").encode(state), partition_of(key, partitions)
