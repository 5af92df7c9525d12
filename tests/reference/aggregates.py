"""Several partitions with a log each, as workers run them; and the totals by plain Python."""

from collections import defaultdict
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

from streams.domain.changes import Changes
from streams.domain.keys import entity_key, partition_of
from streams.domain.twin import Partition
from streams.records import Observation, State
from streams.schemas import load_codec
from tests.reference.messages import clock

STEP_MS = 5_000
REMOVE_AFTER_MS = 300_000
PARTITIONS = 3
SUMS = (
    *("number_of_cores", "mem_total_bytes", "disk_total_bytes", "disk_free_bytes", "power_watts"),
    *("network_receive_bytes_per_s", "network_transmit_bytes_per_s"),
)


@dataclass
class Member:
    """A partition and the worker that has it; what it wrote is as in the compacted topic."""

    log: list[Observation] = field(default_factory=list)
    written: dict[str, bytes] = field(default_factory=dict)
    committed: int = 0
    partition: Partition = field(init=False)
    states: dict[str, State] = field(default_factory=dict)


class Group:
    """Workers of all partitions; what they tell pools goes into the logs."""

    def __init__(self) -> None:
        self.members = [Member() for _ in range(PARTITIONS)]
        self.offset = 0
        for number in range(PARTITIONS):
            self.start(number, 0)

    def send(self, message: Observation) -> None:
        """A message of one entity, into its partition."""
        key = entity_key("live", message["kinds"][0], message["ids"][0])
        self.members[partition_of(key, PARTITIONS)].log.append(message)

    def tick(self, at_ms: int) -> None:
        """A clock message for each partition."""
        for member in self.members:
            member.log.append(clock(at_ms))

    def start(self, number: int, rewind: int) -> None:
        """A worker starts some messages before what was committed, with what was written."""
        member = self.members[number]
        member.committed = max(0, member.committed - rewind)
        member.partition = Partition(number, STEP_MS, REMOVE_AFTER_MS, {}, 3, partitions=PARTITIONS)
        member.states = {key: load_codec("state").decode(value) for key, value in member.written.items()}
        member.partition.restored(max((state["version"] for state in member.states.values()), default=0))
        for key, state in member.states.items():
            if "/_ledger/" not in key:
                member.partition.restore(key, state)

    def run(self, number: int, most: int, *, dies: bool = False, written: int = -1) -> None:
        """Handle some messages as one batch; who dies has written some records, and told nobody."""
        member = self.members[number]
        end = min(member.committed + most, len(member.log))
        changes = Changes()
        for offset in range(member.committed, end):
            for _ in member.partition.steps(offset, member.log[offset], member.states, changes):
                pass
        order = sorted(
            changes.changed, key=lambda key: ("/_ledger/" not in key, key not in member.states, key)
        )
        for place, key in enumerate(order):
            if not written >> place & 1:
                if "/_ledger/" in key:
                    break
            elif key in member.states:
                member.written[key] = load_codec("state").encode(member.states[key])
            else:
                member.written.pop(key, None)
        if dies:
            return
        for home, message in changes.partials:
            coded = load_codec("observation").encode(message)
            self.members[home].log.append(load_codec("observation").decode(coded))
        member.committed = end

    def drain(self) -> None:
        """Run until nothing is left."""
        while any(member.committed < len(member.log) for member in self.members):
            for number in range(PARTITIONS):
                self.run(number, 100)

    def states(self) -> dict[str, State]:
        """All records as they were written."""
        return {
            key: load_codec("state").decode(value)
            for member in self.members
            for key, value in member.written.items()
        }


def plain_totals(states: dict[str, State], step_ms: int = STEP_MS) -> dict[str, dict[str, Any]]:
    """By key of pool and cluster its totals, from the records of nodes alone."""
    pools: dict[str, list[State]] = defaultdict(list)
    for state in states.values():
        if state["kind"] == "node" and state["world"] == "live":
            pools["live/cluster/cluster"].append(state)
            if state["attributes"].get("nodepool"):
                pools[entity_key("live", "nodepool", state["attributes"]["nodepool"])].append(state)
    return {key: _totals(nodes, step_ms) for key, nodes in pools.items()}


def given_values(state: State, step_ms: int) -> dict[str, float]:
    """What a node gives: values of its newest tick, unless it is not alive or they are stale."""
    if state["status"] not in ("up", "degraded"):
        return {}
    given = dict(zip(state["aligned_names"], state["aligned_values"], strict=True))
    if state["status"] == "up":
        return given
    fresh = set()
    for name, source, time_ms in zip(
        state["head_names"], state["head_sources"], state["head_times_ms"], strict=True
    ):
        interval_ms = state["source_intervals_ms"][source] or step_ms
        if state["seen_ms"] - time_ms <= max(3 * step_ms, 5 * interval_ms // 2):
            fresh.add(name)
    return {name: value for name, value in given.items() if name in fresh}


def _totals(nodes: list[State], step_ms: int) -> dict[str, Any]:
    given = [given_values(node, step_ms) for node in nodes]
    totals: dict[str, Any] = {"nodes_count": len(nodes)}
    for status in ("up", "degraded", "down", "unknown"):
        totals[f"nodes_{status}_count"] = sum(node["status"] == status for node in nodes)
    if totals["nodes_unknown_count"] < len(nodes):
        totals["up"] = int(totals["nodes_up_count"] + totals["nodes_degraded_count"] > 0)
    for name in SUMS:
        values = [Fraction(node[name]) for node in given if name in node]
        if values:
            totals[name] = sum(values)
    for percent, of, used, room in (
        ("cpu_usage_percent", "number_of_cores", "used_cores", "headroom_cores"),
        ("mem_usage_percent", "mem_total_bytes", "used_mem_bytes", "headroom_mem_bytes"),
    ):
        shares = [Fraction(node[percent]) for node in given if percent in node]
        both = [
            (Fraction(node[percent]), Fraction(node[of])) for node in given if {percent, of} <= node.keys()
        ]
        whole = sum((size for _, size in both), Fraction())
        if both:
            totals[used] = sum(share * size / 100 for share, size in both)
            totals[room] = whole - totals[used]
        if shares:
            weighted = len(both) == len(shares) and whole > 0
            totals[percent] = totals[used] / whole * 100 if weighted else sum(shares) / len(shares)
    return totals
