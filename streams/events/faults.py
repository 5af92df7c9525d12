"""Shapes of faults: what each kind needs beside whom it touches and when."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from streams.events.shapes import MAX_WORLD_ENTITIES, Body, Finite, Kind, Name, TimeMs


class Selector(Body):
    """Which entities a fault touches: those of a kind with one of the ids, and all of the labels."""

    kind: Kind
    ids: list[Name] = Field([], max_length=MAX_WORLD_ENTITIES)
    labels: dict[Name, str] = Field({}, max_length=50, description="Attributes that an entity must have")

    @property
    def is_resolved(self) -> bool:
        """Whether it says itself which entities are meant."""
        return bool(self.ids) and not self.labels


class Fault(Body):
    """What all faults have in common; without an end it lasts until `fault.stop`."""

    fault: Name | None = Field(None, description="Its id; else that of the event")
    selector: Selector
    owner: str = Field("", max_length=200)
    start_ms: TimeMs | None = Field(None, description="[ms since the epoch] Else the world clock")
    end_ms: TimeMs | None = None
    duration_ms: int | None = Field(None, gt=0, le=31_536_000_000)
    max_entities: int = Field(100, ge=1, le=MAX_WORLD_ENTITIES, description="More than these are refused")

    @model_validator(mode="after")
    def _ends_once_and_after_its_start(self) -> Self:
        if self.end_ms is not None and self.duration_ms is not None:
            raise ValueError("end_ms and duration_ms exclude each other")
        if self.end_ms is not None and self.end_ms <= (self.start_ms or 0):
            raise ValueError(f"end_ms: {self.end_ms} is not after start_ms {self.start_ms or 0}")
        return self


Metrics = Annotated[list[Name], Field(min_length=1, max_length=100)]
AllMetrics = Annotated[list[Name], Field(max_length=100, description="None for all")]


class NodeDown(Fault):
    """It is down, and gives no values."""

    kind: Literal["node_down"]


class LinkDown(Fault):
    """It is down, and gives no values."""

    kind: Literal["link_down"]


class LinkDelay(Fault):
    """Its delay is multiplied, and added to."""

    kind: Literal["link_delay"]
    factor: Finite = Field(1.0, ge=0)
    add_ms: Finite = 0.0


class MetricScale(Fault):
    """Values are multiplied."""

    kind: Literal["metric_scale"]
    metrics: Metrics
    factor: Finite


class MetricOffset(Fault):
    """Something is added to values."""

    kind: Literal["metric_offset"]
    metrics: Metrics
    amount: Finite = Field(description="In the unit of the metric")


class MetricFixed(Fault):
    """Values are replaced."""

    kind: Literal["metric_fixed"]
    metrics: Metrics
    value: Finite = Field(description="In the unit of the metric")


class MetricRamp(Fault):
    """What is added to values grows with time."""

    kind: Literal["metric_ramp"]
    metrics: Metrics
    per_s: Finite = Field(description="Unit of the metric per second")


class MetricNoise(Fault):
    """Values scatter; the same seed gives the same noise."""

    kind: Literal["metric_noise"]
    metrics: Metrics
    stdev: Finite = Field(ge=0, description="In the unit of the metric")
    seed: int = 0


class CapacityCut(Fault):
    """Less hardware: processors, memory, disk and GPUs."""

    kind: Literal["capacity_cut"]
    share: Finite = Field(gt=0, le=1, description="What is left")


class BandwidthLimit(Fault):
    """Network rates stay below a limit."""

    kind: Literal["bandwidth_limit"]
    bytes_per_s: Finite = Field(ge=0, description="[B/s]")


class SensorSilent(Fault):
    """No new values come."""

    kind: Literal["sensor_silent"]
    metrics: AllMetrics = Field([])


class SensorStuck(Fault):
    """The same value comes again and again."""

    kind: Literal["sensor_stuck"]
    metrics: AllMetrics = Field([])


class ClockSkew(Fault):
    """Samples carry a wrong time."""

    kind: Literal["clock_skew"]
    skew_ms: int = Field(ge=-60_000, le=60_000, description="[ms] Added to sample times")


AnyFault = Annotated[
    NodeDown
    | LinkDown
    | LinkDelay
    | MetricScale
    | MetricOffset
    | MetricFixed
    | MetricRamp
    | MetricNoise
    | CapacityCut
    | BandwidthLimit
    | SensorSilent
    | SensorStuck
    | ClockSkew,
    Field(discriminator="kind"),
]

FAULT_KINDS = (
    *("bandwidth_limit", "capacity_cut", "clock_skew", "link_delay", "link_down", "metric_fixed"),
    *("metric_noise", "metric_offset", "metric_ramp", "metric_scale", "node_down", "sensor_silent"),
    "sensor_stuck",
)
"""Kinds of fault."""
