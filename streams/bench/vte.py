"""Steps a second of TwinEnv, on one core: 100 nodes of 12 metrics, all of them changing or a tenth."""

import time
from typing import Any

from streams.vte.scenario import Scenario

NODES = 100

SCATTERED = {
    "load1": (4.0, 1.0),
    "load5": (4.0, 0.5),
    "load15": (4.0, 0.2),
    "temperature_celsius": (55.0, 3.0),
    "fan_speed_rpm": (2_400.0, 100.0),
    "disk_free_bytes": (4e11, 1e9),
    "network_receive_bytes_per_s": (1e7, 1e6),
    "network_transmit_bytes_per_s": (1e7, 1e6),
}
"""Mean and standard deviation of eight metrics; four follow from the load."""


def env_steps_per_s(steps: int = 1_000, runs: int = 3) -> dict[str, Any]:
    """Steps a second with all nodes changing in each step, and with a tenth of them; best of some runs."""
    found = {
        name: [_run(changing, steps) for _ in range(runs)]
        for name, changing in (("all", NODES), ("tenth", NODES // 10))
    }
    return {
        **{f"{name}_steps_per_s": max(rates) for name, rates in found.items()},
        "nodes": NODES,
        "metrics": 12,
        "steps": steps,
        "runs": found,
    }


def bench_scenario(changing: int) -> Scenario:
    """100 nodes, of which the first ones change in each step, and a job every other step."""
    return Scenario.model_validate(
        {
            "vertexpools": [{"id": "pool", "nodes": [_node(n, n < changing) for n in range(NODES)]}],
            "jobs": {"arrivals": [{"every": "10s", "requirements": {"required_cpu": {"min": 1, "max": 8}}}]},
        }
    )


def _node(number: int, changes: bool) -> dict[str, Any]:
    return {
        "name": f"node-{number:03}",
        "metrics": {
            "util": {"mean": 40.0, "stdev": 10.0} if changes else 40.0,
            "cpu_cores": 32,
            "mem_total": 128,
        },
        "catalogue": {
            name: {"mean": mean, "stdev": stdev} if changes else mean
            for name, (mean, stdev) in SCATTERED.items()
        },
    }


def _run(changing: int, steps: int) -> float:
    from streams.vte import TwinEnv

    env = TwinEnv(bench_scenario(changing), max_steps=steps + 1)
    env.reset(seed=1)
    env.action_space.seed(1)
    actions = [env.action_space.sample() for _ in range(steps)]
    started = time.perf_counter()
    for action in actions:
        env.step(action)
    return steps / (time.perf_counter() - started)
