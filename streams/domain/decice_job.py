"""Jobs, pods, profiles and policies of the DECICE data model, from the attributes of a job entity."""

from collections.abc import Mapping
from math import isfinite
from typing import Any

from streams.domain.jsontext import read_dict, read_list

POD = {
    "id": str,
    "name": str,
    "scheduled": bool,
    "restarts": int,
    "running_since": str,
    "status": str,
    "namespace": str,
    "node_id": str,
    "nodename": str,
    "job_id": str,
}
"""Type by field of a pod, without `info` and `policies`."""

LABELS = ("required_labels", "rejected_labels", "prefered_labels", "retracted_labels")
"""Fields of a policy; one of them is misspelt in the data model."""

SHOWN = ("name", "namespace", "node", "phase", "status")
"""Attributes of a job that have fields in a pod."""


def job_of(view: Mapping[str, Any], measured: Mapping[str, float]) -> dict[str, Any]:
    """A job from its entity view.

    The attributes `pods` and `profile` hold them as JSON. Where there are no pods, but the twin knows of the
    job what belongs to one, the job is its own pod: Kubernetes' pods are jobs of the twin.

    Args:
        measured: the job's values by field.
    """
    attributes = view["attributes"]
    times_ms = [time for metric in view["metrics"].values() if (time := metric["observed_at_ms"]) >= 0]
    pods = read_list(attributes.get("pods"))
    own = [name for name in attributes if name not in ("pods", "profile")]
    if pods is None:
        pods = [_own_pod(view, measured)] if own or measured else []
    return {
        "id": view["id"],
        "pods": [pod_of(pod) for pod in pods if isinstance(pod, dict)],
        "profile": profile_of(read_dict(attributes.get("profile"))),
        "lastUpdated": max(times_ms) / 1000 if times_ms else None,
    }


def pod_of(pod: Mapping[str, Any]) -> dict[str, Any]:
    """A pod with exactly the fields of the data model; what has another type is absent."""
    found: dict[str, Any] = {name: typed(pod.get(name), kind) for name, kind in POD.items()}
    info, policies = pod.get("info"), pod.get("policies")
    found["info"] = info if isinstance(info, dict) else {}
    found["policies"] = (
        [policy_of(policy) for policy in policies or () if isinstance(policy, dict)]
        if (isinstance(policies, list))
        else []
    )
    return found


def policy_of(policy: Mapping[str, Any]) -> dict[str, list[str]]:
    """A policy: four lists of labels."""
    return {
        name: [label for label in labels if isinstance(label, str)]
        if isinstance(labels := policy.get(name), list)
        else []
        for name in LABELS
    }


def profile_of(profile: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """A profile: a name, and weights of models within 0 to 100."""
    if profile is None:
        return None
    weights = profile.get("weights")
    return {
        "name": typed(profile.get("name"), str),
        "weights": [
            {"models_name": typed(weight.get("models_name"), str), "models_weight": _weight(weight)}
            for weight in (weights if isinstance(weights, list) else ())
            if isinstance(weight, dict)
        ],
    }


def typed(value: Any, kind: type) -> Any:
    """The value if it is of that type, else None; true is no number."""
    return value if isinstance(value, kind) and (kind is bool or not isinstance(value, bool)) else None


def _weight(weight: Mapping[str, Any]) -> float | None:
    value = weight.get("models_weight")
    if isinstance(value, bool) or not isinstance(value, int | float) or not isfinite(value):
        return None
    return min(max(value, 0), 100)


def _own_pod(view: Mapping[str, Any], measured: Mapping[str, float]) -> dict[str, Any]:
    attributes = view["attributes"]
    node = attributes.get("node") or None
    restarts = measured.get("job_restarts")
    others = {name: text for name, text in attributes.items() if name not in (*SHOWN, "pods", "profile")}
    return {
        "id": view["id"],
        "name": attributes.get("name") or view["id"],
        "scheduled": node is not None,
        "restarts": None if restarts is None else int(restarts),
        "status": attributes.get("phase") or attributes.get("status") or view["status"],
        "namespace": attributes.get("namespace") or None,
        "node_id": node,
        "nodename": node,
        "job_id": view["id"],
        "info": others | {name: value for name, value in measured.items() if name != "job_restarts"},
    }
