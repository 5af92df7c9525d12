"""Shapes of all events: what each type's body holds, and the JSON Schema that goes with it."""

from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, field_validator, model_validator

from streams.domain.aggregate import SOURCE
from streams.events.faults import AnyFault
from streams.events.shapes import MAX_WORLD_ENTITIES, Body, Finite, Kind, Name, TimeMs

MAX_SET = 200
"""[1] Most entities in one `entity.set` or `entity.remove`: those of one message of the twin."""

WORLD_PATTERN = r"^(live~)?[a-z0-9][a-z0-9._-]{0,62}$"
"""Names of worlds: live, an isolated one, or live~NAME for an overlay."""


class CreateWorld(Body):
    """A new world, isolated or an overlay by its name."""

    owner: Name
    reason: str = Field("", max_length=1_000)
    base: Literal["nothing", "live", "replay"] = Field(
        "nothing",
        description="What an isolated world starts from; an overlay lies over live always."
        " In a replay `twin replay` plays a part of live's log",
    )
    partitions: int | None = Field(
        None, ge=1, le=1_000, description="Replay: partitions of the log that is played"
    )
    clock_ms: TimeMs | None = Field(None, description="[ms since the epoch] Isolated: where its time begins")
    step_ms: int | None = Field(None, ge=100, le=3_600_000, description="[ms] Isolated: distance of ticks")
    ttl_s: float = Field(3_600.0, gt=0, le=31_536_000, description="[s of wall clock] Then it is dropped")
    max_entities: int = Field(MAX_WORLD_ENTITIES, ge=1, le=MAX_WORLD_ENTITIES)

    @model_validator(mode="after")
    def _partitions_are_of_a_replay(self) -> Self:
        if (self.base == "replay") != (self.partitions is not None):
            raise ValueError("partitions must be given with base replay, and only then")
        return self


class AdvanceWorld(Body):
    """Move the clock of an isolated world, and close the ticks up to it; one of the two is given."""

    to_ms: TimeMs | None = None
    by_ms: int | None = Field(None, gt=0, le=31_536_000_000)

    @model_validator(mode="after")
    def _one_is_given(self) -> Self:
        if (self.to_ms is None) == (self.by_ms is None):
            raise ValueError("one of to_ms and by_ms must be given")
        return self


class DropWorld(Body):
    """End a world: nothing of it remains."""


class LoadWorld(Body):
    """Put history into a world: a moment, or a range at a speed."""

    from_ms: TimeMs
    to_ms: TimeMs | None = None
    speed: Finite = Field(1.0, gt=0)


class CollectNow(Body):
    """Scrape now."""

    sources: list[Name] = Field([], max_length=1_000, description="Names of sources; none for all")


class EntityName(Body):
    """Which entity."""

    kind: Kind
    id: Name


class EntityValues(EntityName):
    """What an entity is set to."""

    attributes: dict[Name, Annotated[str, Field(max_length=100_000)]] = Field(
        {}, max_length=200, description="Text by name; an empty text removes the attribute"
    )
    metrics: dict[Name, Finite] = Field(
        {}, max_length=500, description="Value by the catalogue's name, in its unit"
    )


class SetEntities(Body):
    """Attributes and metrics of entities, which come into being if they are not there."""

    entities: list[EntityValues] = Field(min_length=1, max_length=MAX_SET)
    at_ms: TimeMs | None = Field(
        None, ge=1, description="[ms since the epoch] Sample time; else the world clock"
    )
    interval_ms: int = Field(
        0,
        ge=0,
        le=86_400_000,
        description="[ms] When to expect the next; 0: values stay until they are changed",
    )
    source: Name = "scenario"

    @field_validator("entities")
    @classmethod
    def _each_once(cls, entities: list[EntityValues]) -> list[EntityValues]:
        _refuse_twice([(entity.kind, entity.id) for entity in entities])
        return entities


class RemoveEntities(Body):
    """Entities that end."""

    entities: list[EntityName] = Field(min_length=1, max_length=MAX_SET)

    @field_validator("entities")
    @classmethod
    def _each_once(cls, entities: list[EntityName]) -> list[EntityName]:
        _refuse_twice([(entity.kind, entity.id) for entity in entities])
        return entities


class StopFault(Body):
    """End a fault now."""

    fault: Name


class Import(Body):
    """A part of a snapshot that was posted: a scrape that nobody made; no source may be called `twin`."""

    source: Name
    pack: Name
    interval_ms: int = Field(ge=0, le=86_400_000)
    taken_at_ms: TimeMs = Field(ge=1, description="[ms since the epoch] `lastUpdated` of the snapshot")
    simulated: bool = False
    series: list[str]
    values: list[float]
    times_ms: list[TimeMs] = Field([])
    dropped: dict[str, int] = Field({})

    @field_validator("source")
    @classmethod
    def _is_not_the_twin(cls, value: str) -> str:
        if value == SOURCE:
            raise ValueError(f"{SOURCE!r} is the twin itself; give another name")
        return value


class Event(BaseModel):
    """What all events have in common."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)

    id: str = Field("", max_length=128, description="Unique; a repeated one changes nothing")
    world: str = Field("live", pattern=WORLD_PATTERN)
    at_ms: TimeMs = Field(0, description="[ms since the epoch] When it was made; 0: when it is received")
    sender: str = Field("", max_length=200)


class WorldCreate(Event):
    """Create a world."""

    type: Literal["world.create"]
    body: CreateWorld


class WorldAdvance(Event):
    """Move a world's clock."""

    type: Literal["world.advance"]
    body: AdvanceWorld


class WorldDrop(Event):
    """Drop a world."""

    type: Literal["world.drop"]
    body: DropWorld = DropWorld()


class WorldLoad(Event):
    """Load history into a world."""

    type: Literal["world.load"]
    body: LoadWorld


class EntitySet(Event):
    """Set entities."""

    type: Literal["entity.set"]
    body: SetEntities


class EntityRemove(Event):
    """Remove entities."""

    type: Literal["entity.remove"]
    body: RemoveEntities


class FaultStart(Event):
    """Begin a fault."""

    type: Literal["fault.start"]
    body: AnyFault


class FaultStop(Event):
    """End a fault."""

    type: Literal["fault.stop"]
    body: StopFault


class Cue(Event):
    """Scrape now."""

    type: Literal["collect.now"]
    body: CollectNow = CollectNow()


class Imported(Event):
    """Import a part of a snapshot."""

    type: Literal["import"]
    body: Import


AnyEvent = (
    WorldCreate
    | WorldAdvance
    | WorldDrop
    | WorldLoad
    | EntitySet
    | EntityRemove
    | FaultStart
    | FaultStop
    | Cue
    | Imported
)

EVENT: TypeAdapter[AnyEvent] = TypeAdapter(Annotated[AnyEvent, Field(discriminator="type")])
"""Validates an event and gives its JSON Schema."""

TYPES = (
    *("world.create", "world.advance", "world.drop", "world.load", "entity.set", "entity.remove"),
    *("fault.start", "fault.stop", "collect.now", "import"),
)
"""Types of event."""


def _refuse_twice(names: list[tuple[str, str]]) -> None:
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"{twice[0]} {twice[1]!r} is there twice")
