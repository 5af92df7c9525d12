"""Our own scenario files: a superset of the emulator's YAML (docs/scenarios.md)."""

from collections import Counter
from collections.abc import Iterator
from typing import Annotated, Any, Literal, Self

from pydantic import BeforeValidator, Field, WithJsonSchema, model_validator

from streams.vte.values import (
    Drawn,
    Duration,
    Finite,
    Moment,
    Part,
    Scatter,
    Spread,
    cores,
    gpus,
    memory_mib,
)

START_MS = 1_735_689_600_000
"""[ms since the epoch, UTC] 2025-01-01T00:00:00Z: a fixed start, so that runs can be compared."""

OWN_ATTRIBUTES = ("nodepool", "name", "system", "node_info")
"""Attributes of a node that the simulation sets, so that no label can."""


def _text(value: Any) -> Any:
    """YAML reads 17 as a number; ids and labels are texts."""
    if isinstance(value, bool):
        return str(value).lower()
    return str(value) if isinstance(value, int | float) else value


def _empty(kind: type) -> BeforeValidator:
    """Null for a list or mapping is an empty one, as the emulator's files have it."""
    return BeforeValidator(lambda value: kind() if value is None else value)


_SCALARS = {"type": ["string", "number", "boolean"]}

Id = Annotated[
    str,
    BeforeValidator(_text),
    Field(min_length=1, max_length=200),
    WithJsonSchema({**_SCALARS, "minLength": 1}),
]
Text = Annotated[str, BeforeValidator(_text), Field(max_length=10_000), WithJsonSchema(_SCALARS)]
Info = Annotated[dict[Id, Any], _empty(dict), WithJsonSchema({"type": ["object", "null"]})]
Labels = Annotated[
    dict[Id, Any] | list[Text], _empty(dict), WithJsonSchema({"type": ["object", "array", "null"]})
]


class NodeMetrics(Part):
    """The emulator's metrics, in its units: memory in GiB, disks in GB of 10^9 bytes, Mbit/s of 10^6 bits."""

    util: Scatter | None = Field(None, description="[%] Load without jobs")
    mem_util: Scatter | None = Field(None, description="[%] Without jobs; else 0.7 util ± mem_util_spread")
    mem_util_spread: float = Field(10.0, ge=0, le=100, description="[%] Of 0.7 util, where util may change")
    cpu_cores: Scatter | None = None
    mem_total: Scatter | None = Field(None, description="[GiB] What DECICE calls GB")
    total_disk_gb: Scatter | None = None
    free_disk_gb: Scatter | None = None
    network_bandwidth_mbps: Scatter | None = None
    power_factor: Finite = Field(1.0, ge=0)
    power_watts: Finite | Spread | None = Field(
        None, description="{mean, stdev} replaces the power model; the emulator ignores a number, so do we"
    )


class Node(Part):
    """A node: `metrics` in the emulator's units, `catalogue` in the names and units of the catalogue."""

    name: Id
    id: Id | None = Field(None, description="Else the name in lower case")
    system: str | None = None
    labels: Annotated[dict[Id, Text] | list[Text], _empty(dict)] = Field(
        {}, description="Each becomes an attribute, which faults can select by"
    )
    node_info: Info = Field({})
    gpus: int | None = Field(None, ge=0, le=10_000, description="Else 1 where node_info has a gpu_model")
    metrics: NodeMetrics = NodeMetrics()
    catalogue: dict[Id, Scatter] = Field({})

    @property
    def key(self) -> str:
        """Id of the node in the twin."""
        return (self.id or self.name).lower()

    @property
    def gpu_count(self) -> int:
        """GPUs that jobs can have."""
        return self.gpus if self.gpus is not None else int(bool(self.node_info.get("gpu_model")))

    @model_validator(mode="after")
    def _labels_are_free(self) -> Self:
        taken = [name for name in self.labels if name in OWN_ATTRIBUTES]
        if taken and isinstance(self.labels, dict):
            raise ValueError(f"labels: {taken[0]!r} is an attribute that the simulation sets")
        return self


class Device(Part):
    """A device of a pool."""

    id: Id
    name: Text = ""
    labels: Info = Field({})
    device_info: Info = Field({})


class Vertexpool(Part):
    """A pool of nodes and devices."""

    id: Id
    vertexpool_labels: Labels = Field({})
    nodes: Annotated[list[Node], _empty(list)] = Field([])
    devices: Annotated[list[Device], _empty(list)] = Field([])


class Link(Part):
    """The way from one pool to another."""

    vertexpool_a_id: Id
    vertexpool_b_id: Id
    network_delay_ms: Scatter | None = None

    @property
    def key(self) -> str:
        """Id of the link in the twin."""
        return f"{self.vertexpool_a_id}~{self.vertexpool_b_id}"


class Requirements(Part):
    """What a job asks for, in the words of DECICE."""

    required_cpu: Annotated[
        float,
        BeforeValidator(cores),
        Field(ge=0, le=1e6, allow_inf_nan=False),
        WithJsonSchema({"type": ["number", "string"], "description": "Processors; also 500m"}),
    ] = 0.0
    required_memory: Annotated[
        float,
        BeforeValidator(memory_mib),
        Field(ge=0, le=1e12, allow_inf_nan=False),
        WithJsonSchema({"type": ["number", "string"], "description": "[MiB]; also 512Mi, 2Gi"}),
    ] = 0.0
    required_gpu: Annotated[
        int,
        BeforeValidator(gpus),
        Field(ge=0, le=10_000),
        WithJsonSchema({"type": ["integer", "string", "null"], "description": "GPUs, or the model of one"}),
    ] = 0


class Task(Part):
    """A job that arrives at a time that is known."""

    id: Id
    requirements: Requirements = Requirements()
    arrives: Duration = 0
    duration: Duration = 60_000
    priority: int = Field(0, description="Higher ones are placed first")
    max_restarts: int | None = Field(None, ge=0, description="Then it has failed; else it waits again")
    namespace: Text = "default"
    profile: Info = Field({})
    pods: list[dict[str, Any]] = Field(
        [], max_length=100, description="Fields of DECICE's pods, else one pod"
    )


class DrawnRequirements(Part):
    """What jobs that are made up ask for."""

    required_cpu: Drawn = Field(default={"value": 1.0}, validate_default=True)
    required_memory: Drawn = Field(default={"value": 1_024.0}, validate_default=True, description="[MiB]")
    required_gpu: Drawn = Field(default={"value": 0.0}, validate_default=True)


class Arrivals(Part):
    """Jobs that are made up; their ids are `<name>-<number>`."""

    name: Id = "job"
    every: Duration = Field(description="Mean time between two")
    pattern: Literal["poisson", "regular"] = "poisson"
    begin: Duration = 0
    until: Duration | None = None
    limit: int | None = Field(None, ge=0, description="Most jobs")
    requirements: DrawnRequirements = DrawnRequirements()
    duration: Drawn = Field(default={"value": 60.0}, validate_default=True, description="[s]")
    priority: int = 0
    max_restarts: int | None = Field(None, ge=0)

    @model_validator(mode="after")
    def _has_a_distance(self) -> Self:
        if self.every <= 0:
            raise ValueError("every: must be above 0")
        return self


class Jobs(Part):
    """The jobs of a scenario."""

    tasks: Annotated[list[Task], _empty(list)] = Field([])
    arrivals: Annotated[list[Arrivals], _empty(list)] = Field([])
    keep: Duration = Field(600_000, description="How long a job that ended stays in the world")


class Planned(Part):
    """An event at its time; `body` as in the events of the twin, its times being left out or absolute."""

    at: Duration
    type: Literal["fault.start", "fault.stop", "entity.set", "entity.remove"]
    body: dict[str, Any]


class Correlation(Part):
    """Shares of the noise of loads that are common to all nodes, and to those of a pool."""

    cluster: float = Field(0.0, ge=0, le=1)
    pool: float = Field(0.0, ge=0, le=1)

    @model_validator(mode="after")
    def _leaves_none_below_zero(self) -> Self:
        if self.cluster + self.pool > 1:
            raise ValueError("cluster and pool: together they are more than 1")
        return self


_SHARE = {"type": "number", "minimum": 0, "maximum": 1}


class Scenario(Part):
    """A scenario: what there is, how it scatters, what arrives, and what goes wrong."""

    name: Text = ""
    start: Moment = Field(START_MS, description="World clock at the beginning; else 2025-01-01T00:00:00Z")
    step: Annotated[Duration, Field(ge=100, le=3_600_000)] = 5_000
    correlation: Annotated[
        Correlation,
        BeforeValidator(lambda value: {"cluster": value} if isinstance(value, int | float) else value),
        WithJsonSchema(
            {
                "anyOf": [_SHARE, {"type": "object", "properties": {"cluster": _SHARE, "pool": _SHARE}}],
                "description": "A number is that of the cluster",
            }
        ),
    ] = Correlation()
    vertexpools: list[Vertexpool] = Field(min_length=1)
    links: Annotated[list[Link], _empty(list)] = Field([])
    jobs: Annotated[Jobs, _empty(dict)] = Jobs()
    events: Annotated[list[Planned], _empty(list)] = Field([])

    @model_validator(mode="after")
    def _each_id_once(self) -> Self:
        for kind, ids in (
            ("vertexpool", (pool.id for pool in self.vertexpools)),
            ("node", (node.key for node in self.nodes())),
            ("device", (device.id for pool in self.vertexpools for device in pool.devices)),
            ("link", (link.key for link in self.links)),
            ("task", (task.id for task in self.jobs.tasks)),
            ("arrivals", (arrivals.name for arrivals in self.jobs.arrivals)),
        ):
            twice = [id for id, count in Counter(ids).items() if count > 1]
            if twice:
                raise ValueError(f"{kind} {twice[0]!r} is there twice")
        return self

    def nodes(self) -> Iterator[Node]:
        """All nodes."""
        return (node for pool in self.vertexpools for node in pool.nodes)

    def counts(self) -> dict[str, int]:
        """How many there are of each kind."""
        return {
            "pools": len(self.vertexpools),
            "nodes": sum(1 for _ in self.nodes()),
            "devices": sum(len(pool.devices) for pool in self.vertexpools),
            "links": len(self.links),
            "jobs": len(self.jobs.tasks),
        }


def scenario_schema() -> dict[str, Any]:
    """JSON Schema (draft 2020-12) of scenario files."""
    schema = Scenario.model_json_schema()
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **_without(schema, "is_fixed")}


def _without(schema: Any, name: str) -> Any:
    if isinstance(schema, dict):
        return {key: _without(value, name) for key, value in schema.items() if key != name}
    return [_without(item, name) for item in schema] if isinstance(schema, list) else schema
