"""Documents of D2.2, Appendix A: to a v2 snapshot and back, without loss of what that format can say."""

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from streams.domain.decice import Item, Layout, Part, lay_out, part_of
from streams.domain.decice_fields import Fields
from streams.errors import InvalidMessageError

METRICS = (("cpu-usage-percent", "util"), ("memory-usage-percent", "mem_util"))
"""Pairs (field here, field of `metrics` in v2)."""

HARDWARE = (("cpu_cores", "cpu_cores"), ("memory_in_mb", "mem_total"))
"""Pairs (field here, field of `metrics` in v2); memory is in MiB in both."""

POLICY = (
    ("required_labels", "required_labels"),
    ("rejected_labels", "rejected_labels"),
    ("preferred_labels", "prefered_labels"),
    ("retracted_labels", "retracted_labels"),
)
"""Pairs (field here, field in v2)."""

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def read_time_ms(text: str) -> int:
    """[ms since the epoch] of a time such as `2023-10-26 19:38:23`, in UTC unless it says otherwise.

    Raises:
        InvalidMessageError: not a time.
    """
    try:
        time = datetime.fromisoformat(text)
        # Through UTC: near the ends of the calendar this is out of range.
        since = time.replace(tzinfo=time.tzinfo or UTC) - EPOCH
    except (ValueError, OverflowError) as error:
        raise InvalidMessageError(
            "time", f"lastUpdated: {text!r} is not a time such as 2023-10-26 19:38:23: {error}"
        ) from None
    return since // timedelta(milliseconds=1)


def write_time(time_ms: int) -> str:
    """The text of a time [ms since the epoch], in UTC; milliseconds only where there are any."""
    time = EPOCH + timedelta(milliseconds=time_ms)
    return time.replace(tzinfo=None).isoformat(" ", "milliseconds" if time_ms % 1000 else "seconds")


def to_v2(document: Mapping[str, Any]) -> Item:
    """The v2 snapshot that says the same as a valid document.

    Raises:
        InvalidMessageError: its `lastUpdated` is not a time.
    """
    updated = document.get("lastUpdated")
    return {
        "lastUpdated": None if updated is None else read_time_ms(updated) / 1000,
        "vertexpools": [_pool_to_v2(item["nodepool"]) for item in document.get("nodepools") or ()],
        "links": [_link_to_v2(item["network"]) for item in document.get("networks") or ()],
        "jobs": [_job_to_v2(item) for item in document.get("jobs") or ()],
        "cluster_info": {},
    }


def document_of(views: Iterable[Mapping[str, Any]], fields: Fields) -> Item:
    """The document of entity views; `fields` has to give `mem_total` in MiB."""
    parts: list[Part[Item]] = [part for view in views if (part := part_of(view, fields)) is not None]
    return from_layout(lay_out(parts))


def from_layout(layout: Layout[Item]) -> Item:
    """The document of a v2 layout."""
    return {
        "lastUpdated": write_time(layout.updated_ms) if layout.updated_ms else None,
        "nodepools": [
            {
                "nodepool": {
                    "id": pool.id,
                    "labels": _label_texts(pool.own["vertexpool_labels"] if pool.own else None),
                    "nodes": [{"node": _node_from_v2(node)} for node in pool.nodes],
                }
            }
            for pool in layout.pools
        ],
        "networks": [
            {"network": {"nodepool_a_id": link["vertexpool_a_id"], "nodepool_b_id": link["vertexpool_b_id"]}}
            for link in layout.links
        ],
        "jobs": [_job_from_v2(job) for job in layout.jobs],
    }


def _pool_to_v2(pool: Mapping[str, Any]) -> Item:
    return {
        "id": pool["id"],
        "vertexpool_labels": {"labels": pool.get("labels") or []},
        "nodes": [_node_to_v2(item["node"]) for item in pool.get("nodes") or ()],
        "devices": [],
    }


def _node_to_v2(node: Mapping[str, Any]) -> Item:
    metrics, hardware = node.get("metrics") or {}, node.get("hardware") or {}
    return {
        "id": node["id"],
        "name": node["id"],
        "node_info": {"labels": node.get("labels") or []},
        "metrics": {to: metrics.get(name) for name, to in METRICS}
        | {to: hardware.get(name) for name, to in HARDWARE},
    }


def _node_from_v2(node: Item) -> Item:
    metrics = node["metrics"]
    # Ids are in lower case in the twin; the name keeps what was written.
    id, name = node["id"], node["name"]
    return {
        "id": name if name.lower() == id else id,
        "labels": _label_texts(node["node_info"].get("labels")),
        "metrics": _present(metrics, METRICS),
        "hardware": _present(metrics, HARDWARE),
    }


def _present(metrics: Item, pairs: Iterable[tuple[str, str]]) -> Item:
    return {name: _number(metrics[there]) for name, there in pairs if metrics[there] is not None}


def _number(value: float) -> float | int:
    return int(value) if float(value).is_integer() else value


def _link_to_v2(network: Mapping[str, Any]) -> Item:
    return {
        "vertexpool_a_id": network["nodepool_a_id"],
        "vertexpool_b_id": network["nodepool_b_id"],
        "network_delay_ms": None,
    }


def _job_to_v2(item: Mapping[str, Any]) -> Item:
    job, profile = item["job"], item.get("profile")
    found: Item = {
        "id": job["id"],
        "pods": [
            {"policies": [_policy_to_v2(entry["policy"]) for entry in (pod["pod"].get("policies") or ())]}
            for pod in job.get("pods") or ()
        ],
    }
    if profile is not None:
        weights = [entry["weight"] for entry in profile.get("weights") or ()]
        found["profile"] = {
            "name": profile.get("name"),
            "weights": [
                {"models_name": weight.get("model_name"), "models_weight": weight.get("model_weight")}
                for weight in weights
            ],
        }
    return found


def _job_from_v2(job: Item) -> Item:
    found: Item = {}
    profile = job["profile"]
    if profile is not None:
        found["profile"] = _known({"name": profile["name"]}) | {
            "weights": [
                {
                    "weight": _known(
                        {"model_name": weight["models_name"], "model_weight": weight["models_weight"]}
                    )
                }
                for weight in profile["weights"]
            ]
        }
    found["job"] = {
        "id": job["id"],
        "pods": [
            {"pod": {"policies": [{"policy": _policy_from_v2(policy)} for policy in pod["policies"]]}}
            for pod in job["pods"]
        ],
    }
    return found


def _known(item: Item) -> Item:
    return {name: value for name, value in item.items() if value is not None}


def _policy_to_v2(policy: Mapping[str, Any]) -> Item:
    return {to: policy.get(name) or [] for name, to in POLICY}


def _policy_from_v2(policy: Mapping[str, Any]) -> Item:
    return {name: policy[there] for name, there in POLICY}


def _label_texts(labels: Any) -> list[str]:
    """Labels as a list of texts: those of a dictionary are key=value, or the key alone."""
    if isinstance(labels, dict) and list(labels) == ["labels"] and isinstance(labels["labels"], list):
        labels = labels["labels"]
    if isinstance(labels, list):
        return [label for label in labels if isinstance(label, str)]
    if not isinstance(labels, dict):
        return []
    return [f"{name}={value}" if value not in ("", None) else name for name, value in labels.items()]
