"""What a scheduler sees of the twin: a matrix of node features, kept up to date row by row."""

from collections.abc import Iterable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from streams.domain.newest import shown_values
from streams.records import State
from streams.vte.jobs import Job

MIB = 2.0**20
"""[B] In a MiB: what schedulers of DECICE call MB."""

MBIT = 125e3
"""[B/s] In a Mbit/s."""

NODE_FEATURES = (
    *("cpu_util", "mem_util", "network_bandwidth_mbps", "cpu_cores", "mem_total_mb"),
    *("free_disk_mb", "total_disk_mb", "power_watts", "used_disk_mb"),
    *("available_cpu_cores", "available_mem_mb"),
    *("free_cpu_cores", "free_mem_mb", "free_gpus", "up"),
)
"""Columns of the observation `nodes`.

The first eleven are those of DECICE's scheduler, MB being MiB; `available_*` follow from the load, `free_*`
are what no job was given. `up` is 1 or 0. What is absent is -1, never 0; but a node that shows no GPUs
has none.
"""

TASK_FEATURES = ("required_cpu", "required_memory", "required_gpu", "priority", "waited_s", "duration_s")
"""Columns of the observation `tasks`; memory is in MiB, and the row of no task is -1."""

ABSENT = -1.0
"""[1] What an observation has where the twin has no value, so that no node without telemetry looks idle."""

MOST = 1e12
"""[1] Greatest value in an observation, so that its space is bounded."""

METRICS = (
    *("cpu_usage_percent", "mem_usage_percent", "network_receive_bytes_per_s", "number_of_cores"),
    *("mem_total_bytes", "disk_free_bytes", "disk_total_bytes", "power_watts"),
    *("cpu_allocated", "mem_allocated_bytes", "gpu_count", "gpu_allocated"),
)
"""Metrics that the features are made of."""

CPU, MEM, NETWORK, CORES, MEM_TOTAL, DISK_FREE, DISK_TOTAL, POWER, CPU_USED, MEM_USED, GPUS, GPUS_USED = (
    range(12)
)

ALIVE = ("up", "degraded")
"""Statuses in which a node can be used."""

Matrix = NDArray[np.float32]


class NodeTable:
    """The newest values of all nodes.

    Args:
        keys: of the nodes, in the order of the rows.
        rows: of the table, at least as many.
    """

    def __init__(self, keys: Sequence[str], rows: int) -> None:
        self._row_of = {key: row for row, key in enumerate(keys)}
        self._values = np.full((rows, len(METRICS)), np.nan)
        self._is_up = np.zeros(rows)
        self._places: dict[str, tuple[int, list[int]]] = {}

    def update(self, changed: Iterable[str], states: Mapping[str, State]) -> None:
        """Take over the nodes among the records that changed."""
        row_of = self._row_of
        for key in changed:
            row = row_of.get(key)
            if row is None:
                continue
            state = states.get(key)
            if state is None:
                self._values[row], self._is_up[row] = np.nan, 0.0
                continue
            self._is_up[row] = state["status"] in ALIVE
            if state["scenario"] is None and len(state["source_names"]) == 1:
                heads = [*state["head_values"], np.nan]
                self._values[row] = [heads[place] for place in self._find(key, state["head_names"])]
            else:
                shown = shown_values(state)
                self._values[row] = [shown.get(name, (np.nan, 0))[0] for name in METRICS]

    def power_watts(self) -> float:
        """[W] Of all nodes whose power is known."""
        return float(np.nansum(self._values[:, POWER]))

    def features(self) -> Matrix:
        """NODE_FEATURES of each row; a new array."""
        values = self._values
        found = np.empty((len(values), len(NODE_FEATURES)))
        found[:, 0], found[:, 1], found[:, 3] = values[:, CPU], values[:, MEM], values[:, CORES]
        found[:, 2] = values[:, NETWORK] / MBIT
        found[:, 4:7] = values[:, MEM_TOTAL : DISK_TOTAL + 1] / MIB
        found[:, 7] = values[:, POWER]
        found[:, 8] = found[:, 6] - found[:, 5]
        found[:, 9] = values[:, CORES] * (1.0 - values[:, CPU] / 100.0)
        found[:, 10] = found[:, 4] * (1.0 - values[:, MEM] / 100.0)
        found[:, 11] = values[:, CORES] - values[:, CPU_USED]
        found[:, 12] = (values[:, MEM_TOTAL] - values[:, MEM_USED]) / MIB
        found[:, 13] = np.nan_to_num(values[:, GPUS] - values[:, GPUS_USED])
        found[:, 14] = self._is_up
        np.nan_to_num(found, copy=False, nan=ABSENT)
        return np.clip(found, ABSENT, MOST).astype(np.float32)

    def _find(self, key: str, names: list[str]) -> list[int]:
        """Places of the metrics among the heads, which are only ever added to; else that of a NaN."""
        count, places = self._places.get(key, (-1, []))
        if count != len(names):
            by_name = {name: place for place, name in enumerate(names)}
            places = [by_name.get(name, len(names)) for name in METRICS]
            self._places[key] = (len(names), places)
        return places


def task_features(jobs: Sequence[Job], rows: int, now_ms: int) -> Matrix:
    """TASK_FEATURES of the first jobs; a new array of `rows` rows."""
    found = np.full((rows, len(TASK_FEATURES)), ABSENT, dtype=np.float32)
    for row, job in enumerate(jobs[:rows]):
        cpu, mem_bytes, gpu = job.needs
        waited_s = (now_ms - job.arrived_ms) / 1_000
        found[row] = (cpu, mem_bytes / MIB, gpu, job.task.priority, waited_s, job.duration_ms / 1_000)
    return np.clip(found, -MOST, MOST)
