"""A scenario of an isolated world as event documents: nodes, pools, links, jobs, and every kind of fault."""

from random import Random
from typing import Any

START_MS = 1_700_000_000_000
"""[ms] Where the world's clock begins: a multiple of all steps."""
STEP_MS = 5_000
POOLS = ("1", "2", "3")
SET_AT_ONCE = 200
"""[1] Most entities of one event."""

Document = dict[str, Any]

FAULTS: tuple[Document, ...] = (
    {"kind": "node_down"},
    {"kind": "link_down"},
    {"kind": "link_delay", "factor": 1.5, "add_ms": 2.25},
    {"kind": "metric_scale", "metrics": ["cpu_usage_percent", "power_watts"], "factor": 1.7},
    {"kind": "metric_offset", "metrics": ["temperature_celsius"], "amount": -3.3},
    {"kind": "metric_fixed", "metrics": ["power_watts", "load1"], "value": 42.0},
    {"kind": "metric_ramp", "metrics": ["mem_usage_percent", "temperature_celsius"], "per_s": 0.3},
    {"kind": "metric_noise", "metrics": ["power_watts", "cpu_usage_percent"], "stdev": 5.5, "seed": 11},
    {"kind": "capacity_cut", "share": 0.6},
    {"kind": "bandwidth_limit", "bytes_per_s": 250_000.0},
    {"kind": "sensor_silent", "metrics": ["cpu_usage_percent", "load1"]},
    {"kind": "sensor_silent"},
    {"kind": "sensor_stuck", "metrics": ["power_watts"]},
    {"kind": "sensor_stuck"},
    {"kind": "clock_skew", "skew_ms": -7_000},
    {"kind": "clock_skew", "skew_ms": 12_400},
)
"""Each kind of fault, with what it needs."""


def scenario_log(
    nodes: int, steps: int, seed: int, *, world: str = "w1", at_ms: int = START_MS
) -> list[Document]:
    """The events of a scenario, the same ones for the same arguments; none of them is refused.

    Args:
        nodes: how many there are; two of three are measured each step, the others set when they change.
        steps: how often the clock is moved.
        at_ms: when the events were made; a test on a real clock gives its now, so that the world lives.
    """
    return _Writer(nodes, seed, world, at_ms).written(steps)


class _Writer:
    """Writes one scenario."""

    def __init__(self, nodes: int, seed: int, world: str, at_ms: int) -> None:
        self.random = Random(seed)
        self.world = world
        self.at_ms = at_ms
        self.clock_ms = START_MS
        self.nodes = [f"n{number:03}" for number in range(nodes - 1)] + ["odd/näme 1"]
        self.links = ["1~2", "2~3", "1~3"]
        self.jobs: dict[str, int] = {}
        """Step at which each job that runs will end."""
        self.stops: dict[str, int] = {}
        """Step at which each fault without an end is stopped."""
        self.events: list[Document] = []

    def written(self, steps: int) -> list[Document]:
        """All events."""
        self.begin()
        every = max(1, steps // (6 * len(FAULTS)))
        for step in range(steps):
            self.change_nodes(step)
            self.change_jobs(step)
            if step % every == 0:
                self.start_fault(step, FAULTS[step // every % len(FAULTS)])
            for fault in [one for one, end in self.stops.items() if end == step]:
                del self.stops[fault]
                self.add("fault.stop", fault=fault)
            self.advance()
            if step % 17 == 5:
                # The same id once more: whoever asks again after a lost answer.
                self.events.append(self.random.choice(self.events[-8:]))
        return self.events

    def add(self, type: str, **body: Any) -> Document:
        """The next event."""
        number = len(self.events)
        event = {
            "id": f"{self.world}-{number}",
            "type": type,
            "world": self.world,
            "at_ms": self.at_ms + number,
            "sender": "scenario_log",
            "body": body,
        }
        self.events.append(event)
        return event

    def begin(self) -> None:
        """The world, and what is in it at first."""
        self.add(
            "world.create",
            owner="tests",
            reason="a scenario",
            clock_ms=self.clock_ms,
            step_ms=STEP_MS,
            ttl_s=86_400.0,
        )
        things = [{"kind": "cluster", "id": "c", "metrics": {"carbon_intensity_g_per_kwh": 310.0}}]
        things += [
            {"kind": "nodepool", "id": pool, "attributes": {"label": f"pool {pool}"}} for pool in POOLS
        ]
        for link in self.links:
            a, b = link.split("~")
            ends = {"source": a, "target": b}
            things.append(
                {"kind": "link", "id": link, "attributes": ends, "metrics": {"network_delay_ms": 4.5}}
            )
        for place, node in enumerate(self.nodes):
            attributes = {"nodepool": POOLS[place % len(POOLS)], "arch": ("x86_64", "arm64")[place % 2]}
            metrics = {
                "number_of_cores": 32.0,
                "mem_total_bytes": 2.7e11,
                "gpu_count": float(place % 3),
                "up": 1.0,
            }
            things.append({"kind": "node", "id": node, "attributes": attributes, "metrics": metrics})
        for first in range(0, len(things), SET_AT_ONCE):
            self.add("entity.set", entities=things[first : first + SET_AT_ONCE])

    def change_nodes(self, step: int) -> None:
        """New values: of measured nodes with times of their own, of others at the world clock."""
        random = self.random
        measured = [
            {"kind": "node", "id": node, "metrics": self.metrics()}
            for place, node in enumerate(self.nodes)
            if place % 3 and random.random() < 0.8
        ]
        if measured and step % 11 != 10:
            at_ms = self.clock_ms + random.choice((0, 0, 250, 1_700, -900))
            for first in range(0, len(measured), SET_AT_ONCE):
                chunk = measured[first : first + SET_AT_ONCE]
                interval_ms = random.choice((5_000, 5_000, 10_000))
                self.add("entity.set", entities=chunk, at_ms=at_ms, interval_ms=interval_ms, source="meter")
        set_by_hand = [
            {"kind": "node", "id": node, "metrics": self.metrics(), "attributes": {"step": str(step)}}
            for node in self.nodes[::3]
            if random.random() < 0.15
        ]
        if set_by_hand:
            self.add("entity.set", entities=set_by_hand[:SET_AT_ONCE])
        if step % 4 == 1:
            links = [
                {"kind": "link", "id": link, "metrics": {"network_delay_ms": round(random.uniform(1, 30), 3)}}
                for link in random.sample(self.links, 2)
            ]
            self.add("entity.set", entities=links, interval_ms=15_000, source="ping")

    def metrics(self) -> dict[str, float]:
        """What a node measures at one time; not always everything."""
        random = self.random
        found = {
            "cpu_usage_percent": random.uniform(0, 100),
            "mem_usage_percent": random.uniform(20, 90),
            "power_watts": random.gauss(180, 25),
            "temperature_celsius": random.gauss(55, 6),
            "load1": random.uniform(0, 40),
            "network_receive_bytes_per_s": random.uniform(0, 1e6),
            "mem_available_bytes": random.uniform(1e10, 2e11),
        }
        for name in [name for name in found if random.random() < 0.08]:
            del found[name]
        return found

    def change_jobs(self, step: int) -> None:
        """Jobs arrive, run and end."""
        for job in [one for one, end in self.jobs.items() if end == step]:
            del self.jobs[job]
            self.add("entity.remove", entities=[{"kind": "job", "id": job}])
        if step % 5 == 2:
            job = f"j{step}"
            self.jobs[job] = step + self.random.randint(3, 30)
            placed = {"node": self.random.choice(self.nodes), "phase": "running"}
            metrics = {"job_cpu_request": 4.0, "job_ready": 0.0}
            self.add(
                "entity.set", entities=[{"kind": "job", "id": job, "attributes": placed, "metrics": metrics}]
            )
        elif step % 5 == 4:
            ready = [{"kind": "job", "id": job, "metrics": {"job_ready": 1.0}} for job in sorted(self.jobs)]
            if ready:
                self.add("entity.set", entities=ready)

    def start_fault(self, step: int, what: Document) -> None:
        """A fault that begins now, soon or a moment ago, and ends by its end, its duration or a stop."""
        random = self.random
        kind = "link" if what["kind"].startswith("link") else "node"
        of_kind = self.links if kind == "link" else self.nodes
        ids = sorted(
            random.sample(of_kind, min(len(of_kind), random.randint(1, max(1, len(of_kind) // 3)), 90))
        )
        body: Document = {**what, "selector": {"kind": kind, "ids": ids}, "owner": "tests"}
        if random.random() < 0.5:
            body["start_ms"] = self.clock_ms + random.choice((STEP_MS, 2 * STEP_MS, 7_100, -2_000))
        lasts_ms = random.choice((3, 6, 9, 14)) * STEP_MS + random.choice((0, 0, 1_300))
        start_ms = body.get("start_ms", self.clock_ms)
        ending = random.choice(("end", "duration", "stop"))
        if ending == "end":
            body["end_ms"] = start_ms + lasts_ms
        elif ending == "duration":
            body["duration_ms"] = lasts_ms
        event = self.add("fault.start", **body)
        if ending == "stop":
            self.stops[event["id"]] = step + lasts_ms // STEP_MS

    def advance(self) -> None:
        """The clock moves by a step, at times by less or by several."""
        by_ms = self.random.choice((STEP_MS,) * 12 + (2_500, 3 * STEP_MS, 6_200))
        if self.random.random() < 0.5:
            self.add("world.advance", by_ms=by_ms)
        else:
            self.add("world.advance", to_ms=self.clock_ms + by_ms)
        self.clock_ms += by_ms
