"""A world as a scenario of the DECICE training environment: tasks, workloads, a cluster with links."""

from collections.abc import Iterable, Mapping
from math import ceil, isfinite
from typing import Any, NamedTuple

from streams.domain.catalogue import Catalogue
from streams.domain.decice import document_of, lay_out, part_of
from streams.domain.decice_fields import Fields
from streams.vte.jobs import MIB, PENDING, RUNNING

MIBIT_IN_MBIT = 2.0**20 / 1e6
"""[1] Snapshots have the rate in Mibit/s, scenarios the capacity in Mbit/s."""

TOLD = ("status", "status_reason", "simulated", "faults", "features", "labels")
"""What the twin adds to `node_info`, which is no part of a scenario."""


class Exported(NamedTuple):
    """A scenario document, and the ids of nodes that it leaves out."""

    document: dict[str, Any]
    left_out: list[str]


def export_scenario(entities: Iterable[Mapping[str, Any]], clock_ms: int, catalogue: Catalogue) -> Exported:
    """The scenario that begins as a world is now: jobs that wait are its tasks.

    Nodes that are down are left out: without values a scheduler would take them for idle.

    Args:
        entities: views of all entities (DESIGN, the entity record in JSON).
        clock_ms: [ms since the epoch] the world's clock.
    """
    views = list(entities)
    left_out = sorted(view["id"] for view in views if view["kind"] == "node" and view["status"] == "down")
    kept = [view for view in views if not (view["kind"] == "node" and view["status"] == "down")]
    gpus = {view["id"]: value for view in kept if (value := _metric(view, "gpu_count"))}
    fields = Fields(catalogue, "GB")
    cluster = document_of(lay_out(part for view in kept if (part := part_of(view, fields)) is not None))
    for pool in cluster["vertexpools"]:
        pool["vertexpool_labels"] = pool["vertexpool_labels"] or {}
        pool["nodes"] = [_node(node, gpus.get(node["id"], 0.0)) for node in pool["nodes"]]
    running = {view["id"] for view in kept if view["kind"] == "job" and _status(view) == RUNNING}
    cluster["jobs"] = [job for job in cluster["jobs"] if job["id"] in running]
    cluster["lastUpdated"] = clock_ms / 1_000
    waiting = [view for view in kept if view["kind"] == "job" and _status(view) == PENDING]
    tasks = [_task(view, clock_ms) for view in sorted(waiting, key=_submitted)]
    return Exported({"workloads": tasks, "tasks": tasks, "cluster": cluster}, left_out)


def _node(node: dict[str, Any], gpus: float) -> dict[str, Any]:
    metrics = dict(node["metrics"])
    if metrics["network_bandwidth_mbps"] is not None:
        metrics["network_bandwidth_mbps"] *= MIBIT_IN_MBIT
    info = {
        name: value
        for name, value in node["node_info"].items()
        if name not in TOLD and (isinstance(value, bool) or not isinstance(value, int | float))
    }
    if gpus:
        info["gpus"] = int(gpus)
    return node | {"metrics": metrics, "node_info": info}


def _task(view: Mapping[str, Any], clock_ms: int) -> dict[str, Any]:
    gpus = round(_metric(view, "job_gpu_request"))
    return {
        "id": view["id"],
        "requirements": {
            "required_cpu": ceil(_metric(view, "job_cpu_request")),
            "required_memory": ceil(_metric(view, "job_mem_request_bytes") / MIB),
            "required_gpu": str(gpus) if gpus else None,
        },
        "submission_time": (_number(view, "submitted_ms") or clock_ms) / 1_000,
        "time_limit": _number(view, "duration_s"),
        "system": None,
    }


def _submitted(view: Mapping[str, Any]) -> tuple[float, float, str]:
    return (-(_number(view, "priority") or 0.0), _number(view, "submitted_ms") or 0.0, view["id"])


def _status(view: Mapping[str, Any]) -> str:
    """Status of a job; one that does not say it waits if it has no node."""
    found: str = view["attributes"].get("status") or (RUNNING if view["attributes"].get("node") else PENDING)
    return found.lower()


def _metric(view: Mapping[str, Any], name: str) -> float:
    metric = view["metrics"].get(name)
    return float(metric["value"]) if metric else 0.0


def _number(view: Mapping[str, Any], attribute: str) -> float | None:
    try:
        number = float(view["attributes"][attribute])
    except (KeyError, ValueError):
        return None
    return number if isfinite(number) else None
