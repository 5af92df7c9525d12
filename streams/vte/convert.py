"""Scenarios of other systems to our own: names, and units per source (docs/scenarios.md)."""

from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from typing import Any

from streams.domain.units import UNITS

GPU_INFO = {
    "cpu_power": "cpu_power_watts",
    "gpu_power": "gpu_power_watts",
    "gpu_utilization": "gpu_usage_percent",
    "fan_speed_rpm": "fan_speed_rpm",
    "anomaly_ae_score": "anomaly_ae_score",
    "anomaly_tcn_score": "anomaly_tcn_score",
}
"""Metrics that real snapshots carry in `node_info`, where they are not simulated otherwise."""

BANDWIDTH = "network_receive_bytes_per_s"
"""What DECICE's `network_bandwidth_mbps` is in the catalogue."""

Units = tuple[str, str]
"""Of `mem_total` and of `network_bandwidth_mbps`, which each source has its own of."""

MISSING_TASK_S = 60.0
"""[s] Duration of a task whose file says none."""


def convert_emulator(document: dict[str, Any]) -> dict[str, Any]:
    """The emulator's YAML is ours; what it has twice is taken once."""
    return {**document, "links": _links(document.get("links"))}


def convert_vte(document: dict[str, Any]) -> dict[str, Any]:
    """A scenario of the DECICE training environment: GB that are GiB, and a capacity in Mbit/s."""
    cluster = document["cluster"]
    tasks = document.get("tasks") or document.get("workloads") or []
    start_ms = _epoch_ms(cluster.get("lastUpdated"))
    submitted = [task["submission_time"] for task in tasks if task.get("submission_time") is not None]
    zero_s = start_ms / 1_000 if start_ms else min(submitted, default=0.0)
    scenario = _twin(cluster, ("GiB", "Mbit/s"))
    if start_ms:
        scenario["start"] = start_ms
    scenario["jobs"] = {"tasks": [_task(task, zero_s) for task in tasks]}
    return scenario


def convert_mock(document: dict[str, Any]) -> dict[str, Any]:
    """A simulation of the mock exporter: MB, and a rate in Mbit/s."""
    return _twin(document, ("MB", "Mbit/s"))


def convert_snapshot(document: dict[str, Any]) -> dict[str, Any]:
    """A snapshot of the digital twin as its PromQL wrapper makes it: MiB, and a rate in Mibit/s."""
    scenario = _twin(document, ("MiB", "Mibit/s"))
    if start_ms := _epoch_ms(document.get("lastUpdated")):
        scenario["start"] = start_ms
    scenario["jobs"] = {"tasks": [_job(job) for job in document.get("jobs") or ()]}
    return scenario


def convert_appendix_a(document: dict[str, Any]) -> dict[str, Any]:
    """The twin of D2.2, Appendix A: MiB; its networks have no delay."""
    pools = [pool["nodepool"] for pool in document["nodepools"]]
    links = [item["network"] for item in document.get("networks", ())]
    scenario: dict[str, Any] = {
        "vertexpools": [
            {
                "id": pool["id"],
                "vertexpool_labels": pool.get("labels", []),
                "nodes": [_appendix_node(item["node"]) for item in pool.get("nodes", ())],
            }
            for pool in pools
        ],
        "links": _links(
            {"vertexpool_a_id": link["nodepool_a_id"], "vertexpool_b_id": link["nodepool_b_id"]}
            for link in links
        ),
        "jobs": {"tasks": [_appendix_job(item) for item in document.get("jobs", ())]},
    }
    if start_ms := _text_ms(document.get("lastUpdated")):
        scenario["start"] = start_ms
    return scenario


def _twin(document: dict[str, Any], units: Units) -> dict[str, Any]:
    return {
        "vertexpools": [
            {
                "id": pool["id"],
                "vertexpool_labels": pool.get("vertexpool_labels"),
                "nodes": [_node(node, units) for node in pool.get("nodes") or ()],
                "devices": [
                    {key: value for key, value in device.items() if value is not None}
                    for device in pool.get("devices") or ()
                ],
            }
            for pool in document.get("vertexpools") or ()
        ],
        "links": _links(document.get("links")),
    }


def _node(node: dict[str, Any], units: Units) -> dict[str, Any]:
    metrics = {name: value for name, value in (node.get("metrics") or {}).items() if value is not None}
    info = node.get("node_info") or {}
    memory, bandwidth = units
    catalogue = {
        name: scaled
        for name, value, unit in (
            ("mem_total_bytes", metrics.get("mem_total"), memory),
            ("disk_total_bytes", metrics.get("total_disk_gb"), "GB"),
            ("disk_free_bytes", metrics.get("free_disk_gb"), "GB"),
            (BANDWIDTH, metrics.get("network_bandwidth_mbps"), bandwidth),
            *((name, info.get(key), "") for key, name in GPU_INFO.items() if _is_number(info.get(key))),
        )
        if (scaled := _scaled(value, unit)) is not None
    }
    kept: dict[str, Any] = {
        name: metrics[name] for name in ("util", "mem_util", "cpu_cores") if name in metrics
    }
    if "power_watts" in metrics:
        power = metrics["power_watts"]
        kept["power_watts"] = power if isinstance(power, dict) else {"mean": power}
    name = node.get("name") or node["id"]
    texts = {key: value for key, value in info.items() if value is not None and not _is_number(value)}
    found = {"name": name, "node_info": texts, "metrics": kept, "catalogue": catalogue}
    if _is_number(info.get("gpus")):
        found["gpus"] = int(info["gpus"])
    if node.get("id"):
        found["id"] = node["id"]
    if node.get("system"):
        found["system"] = node["system"]
    return found


def _scaled(value: Any, unit: str) -> Any:
    """A number, or a distribution, in the unit of the catalogue; GB are 10^9 bytes."""
    if value is None:
        return None
    factor = UNITS[unit][1] if unit else 1.0
    if isinstance(value, dict):
        return {name: number * factor for name, number in value.items()}
    return value * factor


def _links(links: Iterable[dict[str, Any]] | None) -> list[dict[str, Any]]:
    """Links by their ends, of which the first counts, as for the latency filter."""
    found: dict[tuple[Any, Any], dict[str, Any]] = {}
    for link in links or ():
        kept = {key: value for key, value in link.items() if key != "lastUpdated" and value is not None}
        found.setdefault((link.get("vertexpool_a_id"), link.get("vertexpool_b_id")), kept)
    return list(found.values())


def _task(task: dict[str, Any], zero_s: float) -> dict[str, Any]:
    requirements = {
        key: value
        for key, value in task["requirements"].items()
        if value is not None and key in ("required_cpu", "required_memory", "required_gpu")
    }
    arrives_s = max(0.0, (task.get("submission_time") or zero_s) - zero_s)
    return {
        "id": task["id"],
        "requirements": requirements,
        "arrives": arrives_s,
        "duration": task.get("time_limit") or MISSING_TASK_S,
    }


def _job(job: dict[str, Any]) -> dict[str, Any]:
    """A job of a snapshot, which says nothing of what it needs; pods keep what describes them."""
    pods = [
        {key: pod[key] for key in ("id", "name", "namespace", "info", "policies") if pod.get(key) is not None}
        for pod in job.get("pods") or ()
    ]
    return {"id": job["id"], "pods": pods, "profile": job.get("profile") or {}}


def _appendix_node(node: dict[str, Any]) -> dict[str, Any]:
    metrics, hardware = node.get("metrics", {}), node.get("hardware", {})
    kept = {
        name: value
        for name, value in (
            ("util", metrics.get("cpu-usage-percent")),
            ("mem_util", metrics.get("memory-usage-percent")),
            ("cpu_cores", hardware.get("cpu_cores")),
        )
        if value is not None
    }
    memory = _scaled(hardware.get("memory_in_mb"), "MiB")
    return {
        "name": node["id"],
        "labels": node.get("labels", []),
        "metrics": kept,
        "catalogue": {} if memory is None else {"mem_total_bytes": memory},
    }


def _appendix_job(item: dict[str, Any]) -> dict[str, Any]:
    profile = item.get("profile", {})
    weights = [
        {
            "models_name": entry["weight"].get("model_name"),
            "models_weight": entry["weight"].get("model_weight"),
        }
        for entry in profile.get("weights", ())
    ]
    pods = [
        {"policies": [_policy(entry["policy"]) for entry in pod["pod"].get("policies", ())]}
        for pod in item["job"].get("pods", ())
    ]
    found: dict[str, Any] = {"id": item["job"]["id"], "pods": pods}
    if profile:
        found["profile"] = {"name": profile.get("name", ""), "weights": weights}
    return found


def _policy(policy: dict[str, Any]) -> dict[str, Any]:
    return {
        ("prefered_labels" if name == "preferred_labels" else name): value for name, value in policy.items()
    }


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _epoch_ms(value: Any) -> int:
    """[ms since the epoch] Of a `lastUpdated` in seconds; 0 when it says none."""
    return round(value * 1_000) if _is_number(value) and 0 < value < 1 << 40 else 0


def _text_ms(value: Any) -> int:
    """[ms since the epoch] Of Appendix A's `2023-10-26 19:38:23`, in UTC; 0 when it says none."""
    if not isinstance(value, str):
        return _epoch_ms(value)
    try:
        moment = datetime.fromisoformat(value)
    except ValueError:
        return 0
    return round((moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp() * 1_000)


CONVERTERS: dict[str, Callable[[dict[str, Any]], dict[str, Any]]] = {
    "scenario": lambda document: document,
    "emulator": convert_emulator,
    "decice-vte": convert_vte,
    "appendix-a": convert_appendix_a,
    "decice-v2": convert_snapshot,
    "mock-exporter": convert_mock,
}
"""How each format becomes our own."""
