"""Entities as the objects of a DECICE digital twin (v1 and v2), with exactly the fields of its data model."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from math import isfinite
from typing import Any, Generic, NamedTuple, TypeVar

from streams.domain.aggregate import KINDS, is_total
from streams.domain.decice_fields import Fields
from streams.domain.decice_job import job_of
from streams.domain.jsontext import read_dict, read_json

T = TypeVar("T")

Item = dict[str, Any]
"""An object of the document."""

UNASSIGNED = "unassigned"
"""Pool of nodes and devices that name none."""

METRICS = (
    *("util", "mem_util", "network_bandwidth_mbps", "free_disk_gb"),
    *("total_disk_gb", "cpu_cores", "mem_total", "power_watts"),
)
"""Fields of a node's `metrics`; all are there, null where nothing is known."""

PERCENTAGES = ("util", "mem_util")
"""Those that must be within 0 to 100."""


class Part(NamedTuple, Generic[T]):
    """An entity as it is in the document; `item` is its object, or that object encoded.

    Args:
        pool: of a node or device; empty when it names none.
        updated_ms: [ms since the epoch] time of its newest value, 0 when it has none.
    """

    kind: str
    id: str
    pool: str
    item: T
    updated_ms: int


class Pool(NamedTuple, Generic[T]):
    """A pool and what is in it; `own` is absent when only nodes or devices name it."""

    id: str
    own: T | None
    nodes: list[T]
    devices: list[T]


@dataclass(frozen=True)
class Layout(Generic[T]):
    """What stands where in a document, by id; `clusters` are pairs of an id and what is known of it."""

    pools: list[Pool[T]] = field(default_factory=list)
    links: list[T] = field(default_factory=list)
    jobs: list[T] = field(default_factory=list)
    clusters: list[tuple[str, T]] = field(default_factory=list)
    updated_ms: int = 0


def part_of(view: Mapping[str, Any], fields: Fields) -> Part[Item] | None:
    """What an entity view (DESIGN, the entity record in JSON) is in the document; None for other kinds."""
    make = _ITEMS.get(view["kind"])
    if make is None:
        return None
    if view["kind"] in KINDS:
        view = {**view, "metrics": _measured_by_others(view["metrics"])}
    pool = view["attributes"].get("nodepool", "") if view["kind"] in ("node", "device") else ""
    times_ms = [metric["observed_at_ms"] for metric in view["metrics"].values()]
    updated_ms = min(max(times_ms, default=0), view.get("seen_ms") or 1 << 62)
    return Part(view["kind"], view["id"], pool, make(view, fields), max(0, updated_ms))


def lay_out(parts: Iterable[Part[T]]) -> Layout[T]:
    """Sort parts into their places."""
    pools: dict[str, Pool[T]] = {}
    kinds: dict[str, list[Part[T]]] = {kind: [] for kind in _ITEMS}
    updated_ms = 0
    for part in sorted(parts, key=lambda part: part.id):
        kinds[part.kind].append(part)
        updated_ms = max(updated_ms, part.updated_ms)
    for part in kinds["nodepool"]:
        pools[part.id] = Pool(part.id, part.item, [], [])
    for part in (*kinds["node"], *kinds["device"]):
        id = part.pool or UNASSIGNED
        pool = pools.get(id)
        if pool is None:
            pool = pools[id] = Pool(id, None, [], [])
        (pool.nodes if part.kind == "node" else pool.devices).append(part.item)
    return Layout(
        pools=[pools[id] for id in sorted(pools)],
        links=[part.item for part in kinds["link"]],
        jobs=[part.item for part in kinds["job"]],
        clusters=[(part.id, part.item) for part in kinds["cluster"]],
        updated_ms=updated_ms,
    )


def document_of(layout: Layout[Item], stamp: Mapping[str, Any] | None = None) -> Item:
    """The v2 document; v1 is the same without `cluster_info`."""
    return {
        "lastUpdated": layout.updated_ms / 1000 if layout.updated_ms else None,
        "vertexpools": [
            pool_of(pool.id, pool.own) | {"nodes": pool.nodes, "devices": pool.devices}
            for pool in layout.pools
        ],
        "links": [link for link in layout.links if link["network_delay_ms"] is not None],
        "jobs": layout.jobs,
        "cluster_info": cluster_info(layout.clusters, stamp or {}),
    }


def pool_of(id: str, own: Item | None) -> Item:
    """A pool without its nodes and devices."""
    return own if own is not None else {"id": id, "vertexpool_labels": None, "lastUpdated": None}


def cluster_info(clusters: Iterable[tuple[str, Item]], stamp: Mapping[str, Any]) -> Item:
    """What is known of the whole; of further clusters under `clusters`, by id.

    Args:
        stamp: of the snapshot: what the twin itself says of it.
    """
    info: Item = {}
    others: Item = {}
    for id, item in clusters:
        if id == "cluster":
            info |= item
        else:
            others[id] = item
    if others:
        info["clusters"] = others
    if stamp:
        info["twin"] = dict(stamp)
    return info


def with_pool(node: Item, pool: str) -> Item:
    """A copy of a node that says its pool (`nodes/?include_vertexpool_id=true`)."""
    return node | {"node_info": node["node_info"] | {"vertexpool_id": pool}}


def _node(view: Mapping[str, Any], fields: Fields) -> Item:
    attributes = view["attributes"]
    metrics: Item = dict.fromkeys(METRICS)
    info = read_dict(attributes.get("node_info")) or {}
    info.pop("vertexpool_id", None)  # only `with_pool` says it
    labels = read_json(attributes.get("labels"))
    if labels is not None:
        info["labels"] = labels
    for name, metric in view["metrics"].items():
        value = fields.value(name, metric["value"])
        place = fields.place(name, "metrics")
        if place in metrics:
            metrics[place] = _within(place, value)
        elif isfinite(value):
            info[fields.place(name, "node_info") or name] = value
    info |= _others(attributes, ("nodepool", "name", "system", "node_info", "labels")) | _told(view)
    return {
        "id": view["id"],
        "name": attributes.get("name") or view["id"],
        "system": attributes.get("system") or None,
        "metrics": metrics,
        "node_info": info,
    }


def _device(view: Mapping[str, Any], fields: Fields) -> Item:
    attributes = view["attributes"]
    info = read_dict(attributes.get("device_info")) or {}
    info |= _measured(view, fields, "device_info")
    info |= _others(attributes, ("nodepool", "name", "labels", "device_info")) | _told(view)
    return {
        "id": view["id"],
        "name": attributes.get("name") or view["id"],
        "labels": _labels(attributes),
        "device_info": info,
    }


def _nodepool(view: Mapping[str, Any], _fields: Fields) -> Item:
    return {"id": view["id"], "vertexpool_labels": _labels(view["attributes"]), "lastUpdated": None}


def _link(view: Mapping[str, Any], _fields: Fields) -> Item:
    attributes = view["attributes"]
    a, _, b = view["id"].partition("~")
    metric = view["metrics"].get("network_delay_ms")
    known = metric is not None and isfinite(metric["value"]) and view["status"] != "down"
    return {
        "vertexpool_a_id": attributes.get("nodepool_a", a),
        "vertexpool_b_id": attributes.get("nodepool_b", b),
        "network_delay_ms": metric["value"] if known and metric else None,
        "lastUpdated": metric["observed_at_ms"] / 1000 if metric and metric["observed_at_ms"] >= 0 else None,
    }


def _job(view: Mapping[str, Any], fields: Fields) -> Item:
    return job_of(view, _measured(view, fields, "job_info"))


def _cluster(view: Mapping[str, Any], fields: Fields) -> Item:
    attributes = view["attributes"]
    info = read_dict(attributes.get("cluster_info")) or {}
    # What a snapshot of ours said of its twin is not said of this one.
    for name in ("twin", "clusters", "status", "status_reason", "faults", "simulated"):
        info.pop(name, None)
    return info | _others(attributes, ("cluster_info",)) | _measured(view, fields, "cluster_info")


def _measured(view: Mapping[str, Any], fields: Fields, part: str) -> dict[str, float]:
    return {
        fields.place(name, part) or name: value
        for name, metric in view["metrics"].items()
        if isfinite(value := fields.value(name, metric["value"]))
    }


def _others(attributes: Mapping[str, str], known: tuple[str, ...]) -> dict[str, str]:
    return {name: text for name, text in attributes.items() if name not in known}


def _told(view: Mapping[str, Any]) -> Item:
    """What the twin says of an entity beside its values."""
    told: Item = {"status": view["status"], "status_reason": view["status_reason"]}
    if view.get("faults"):
        told["faults"] = list(view["faults"])
    if view["simulated"]:
        told["simulated"] = True
    if view.get("features"):
        told["features"] = {
            name: value if isfinite(value) else None for name, value in view["features"].items()
        }
    return told


def _labels(attributes: Mapping[str, str]) -> Item | None:
    """Labels as a dictionary; a list of them, as Appendix A has, is its only member."""
    labels = read_json(attributes.get("labels"))
    if isinstance(labels, list):
        return {"labels": labels}
    return labels if isinstance(labels, dict) else None


def _measured_by_others(metrics: Mapping[str, Any]) -> Item:
    """Without what the twin adds up, which no DECICE document has."""
    return {name: metric for name, metric in metrics.items() if not is_total(name, metric.get("source", ""))}


def _within(place: str, value: float) -> float | int | None:
    """A value that peers take: finite, not negative, percentages up to 100, whole numbers as such."""
    if not isfinite(value):
        return None
    if place in PERCENTAGES:
        return min(max(value, 0.0), 100.0)
    if value < 0:
        return None
    return int(value) if place in ("cpu_cores", "mem_total") and value.is_integer() else value


_ITEMS: dict[str, Callable[[Mapping[str, Any], Fields], Item]] = {
    "nodepool": _nodepool,
    "node": _node,
    "device": _device,
    "link": _link,
    "job": _job,
    "cluster": _cluster,
}
