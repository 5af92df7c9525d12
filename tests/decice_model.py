"""The judge of DECICE documents: its data model written down anew, with every rule that peers hold us to.

Nothing may be there that is not named, and no number may be NaN or infinite, at any depth.
"""

from math import isfinite
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, Field


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        for item in value.values():
            _finite(item)
    elif isinstance(value, list):
        for item in value:
            _finite(item)
    elif isinstance(value, float) and not isfinite(value):
        raise ValueError(f"{value} is not JSON")
    return value


Free = Annotated[dict[str, Any], AfterValidator(_finite)]
Number = Annotated[float, Field(allow_inf_nan=False)]
Percent = Annotated[float, Field(ge=0, le=100, allow_inf_nan=False)]
NotNegative = Annotated[float, Field(ge=0, allow_inf_nan=False)]


class Judged(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


class Metrics(Judged):
    util: Percent | None = None
    mem_util: Percent | None = None
    network_bandwidth_mbps: Number | None = None
    free_disk_gb: Number | None = None
    total_disk_gb: Number | None = None
    cpu_cores: NotNegative | None = None
    mem_total: NotNegative | None = None
    power_watts: NotNegative | None = None


class Node(Judged):
    id: str
    name: str
    system: str | None = None
    node_info: Free
    metrics: Metrics  # the scheduler fails at null


class Device(Judged):
    id: str
    name: str
    labels: Free | None = None
    device_info: Free


class Vertexpool(Judged):
    id: str
    vertexpool_labels: Free | None = None
    nodes: list[Node]
    devices: list[Device]
    lastUpdated: NotNegative | None = None  # noqa: N815  # the name on the wire


class Link(Judged):
    vertexpool_a_id: str
    vertexpool_b_id: str
    network_delay_ms: Number  # the latency filter fails at null
    lastUpdated: NotNegative | None = None  # noqa: N815


class Weight(Judged):
    models_name: str | None = None
    models_weight: Percent | None = None


class Profile(Judged):
    name: str | None = None
    weights: list[Weight] = []


class Policy(Judged):
    required_labels: list[str] = []
    rejected_labels: list[str] = []
    prefered_labels: list[str] = []
    retracted_labels: list[str] = []


class Pod(Judged):
    id: str | None = None
    name: str | None = None
    scheduled: bool | None = None
    restarts: int | None = None
    running_since: str | None = None
    status: str | None = None
    namespace: str | None = None
    info: Free = {}
    policies: list[Policy] = []
    node_id: str | None = None
    nodename: str | None = None
    job_id: str | None = None


class Job(Judged):
    id: str
    pods: list[Pod] = []
    profile: Profile | None = None
    lastUpdated: NotNegative | None = None  # noqa: N815


class TwinV1(Judged):
    lastUpdated: NotNegative | None = None  # noqa: N815
    vertexpools: list[Vertexpool]
    links: list[Link]
    jobs: list[Job]


class TwinV2(TwinV1):
    cluster_info: Free
