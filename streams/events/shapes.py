"""What the shapes of all events are made of."""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

Finite = Annotated[float, Field(allow_inf_nan=False)]
TimeMs = Annotated[int, Field(ge=0, le=1 << 53)]
Name = Annotated[str, Field(min_length=1, max_length=200)]
Kind = Literal["cluster", "nodepool", "node", "device", "link", "job"]

MAX_WORLD_ENTITIES = 20_000
"""[1] Most entities of a world: an isolated one lives in one partition."""


class Body(BaseModel):
    """A body holds what its type names, and nothing else."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)
