"""The shapes of the history of the twin."""

from typing import Literal

from pydantic import Field

from streams.web.models import Model

Function = Literal["mean", "min", "max", "last", "sum", "count", "p50", "p95", "p99"]
"""What can be made of the values in a window."""


class PastSeries(Model):
    """Values of one metric of an entity, or of a group of them."""

    kind: str = Field(examples=["node"])
    id: str | None = Field(description="null for a group", examples=["ws01"])
    nodepool: str = Field(description="Of the newest value; empty when there is none", examples=["1"])
    metric: str = Field(examples=["cpu_usage_percent"])
    unit: str = Field(description="Of the values; empty for a metric beyond the catalogue", examples=["%"])
    simulated: bool = Field(description="A value in it is not measured on a real system")
    entities: int = Field(description="[1] Entities whose values are in it", examples=[1])
    times_ms: list[int] = Field(
        description="[ms since the epoch, UTC] Ticks, or the first moment of each window that has a value",
        examples=[[1795489920000, 1795490220000]],
    )
    values: list[float | None] = Field(
        description="[unit] As many; null is beyond what JSON can write", examples=[[31.2, 30.9]]
    )


class HistoryAnswer(Model):
    """Closed ticks of the past, or what a function makes of them in windows."""

    world: str = Field(examples=["live"])
    start_ms: int = Field(description="[ms since the epoch, UTC] First tick", examples=[1795489920000])
    end_ms: int = Field(description="[ms since the epoch, UTC] After the last one", examples=[1795493520000])
    every_ms: int | None = Field(
        description="[ms] Length of windows; null: none, or the whole range is one", examples=[300000]
    )
    fn: Function | None = Field(description="null: the values themselves")
    group_by: Literal["id", "nodepool", "kind"]
    resolution_ms: int = Field(description="[ms] Distance of the points", examples=[300000])
    coarse: bool = Field(description="Made from means of five minutes, not from the values themselves")
    note: str = Field(description="What is to be known about it; empty when there is nothing")
    points: int = Field(description="[1] In all series of this answer", examples=[12])
    next: str | None = Field(description="Cursor of the next answer; null when this is all")
    series: list[PastSeries]
