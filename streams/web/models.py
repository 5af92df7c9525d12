"""The shapes of all answers: for the OpenAPI document and for GET /twin/v1/schemas."""

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

Status = Literal["up", "degraded", "down", "unknown"]
Quality = Literal["measured", "interpolated", "held", "unknown"]


class Model(BaseModel):
    """Nothing goes out that its schema does not name."""

    model_config = ConfigDict(extra="forbid")


class Metric(Model):
    """The newest value of a metric, from its best source that is not silent; of the past: of its tick."""

    value: float = Field(description="In the unit of the catalogue")
    observed_at_ms: int = Field(description="[ms since the epoch, UTC] Time of the sample")
    quality: Quality = Field(description="unknown: of the past, and the store of history cannot hold it")
    source: str = Field(description="The source that gave it; history: a closed tick of the past")


class Aligned(Model):
    """The newest closed tick of an entity that has values."""

    tick_ms: int = Field(description="[ms since the epoch, UTC] 0 when there is none")
    complete: bool = Field(description="Every metric that the tick waited for had come when it closed")
    values: dict[str, float]
    qualities: dict[str, Quality]


class Counts(Model):
    """What became of the samples, each counted once."""

    applied: int
    duplicate: int
    late: int
    conflict: int
    rejected: int


class Source(Model):
    """One source of an entity."""

    priority: int = Field(description="The lower number is used")
    interval_ms: int = Field(description="[ms] 0 when it is scraped on cue only")
    good_ms: int = Field(description="[ms since the epoch, UTC] Last good time")
    failures: int = Field(description="Failed scrapes since then")
    target: str
    counts: Counts


class Alignment(Model):
    """What the twin remembers to align further samples."""

    next_tick_ms: int = Field(description="[ms since the epoch, UTC] Oldest tick that is not closed")
    due_ms: int = Field(description="[ms since the epoch, UTC] When time alone changes something next")
    open_values: int = Field(description="Values that are certain, of ticks that are not closed")


class Entity(Model):
    """One entity of the twin."""

    world: str
    kind: str
    id: str
    simulated: bool = Field(description="A value in it is not measured on a real system")
    version: int = Field(description="Grows with every change")
    epoch: int = Field(description="Grows when another worker takes over")
    status: Status
    status_since_ms: int = Field(description="[ms since the epoch, UTC]")
    status_reason: str = Field(description="Empty when up")
    faults: list[str] = Field(
        description="Ids of the faults that change it now, as they take effect; set:KIND/ID: events set it"
    )
    attributes: dict[str, str]
    metrics: dict[str, Metric]
    aligned: Aligned
    features: dict[str, float] = Field(description="Computed values, apart from measurements")
    counts: Counts
    seen_ms: int = Field(
        description="[ms since the epoch, UTC] When the entity was told of last; of the past: that moment"
    )
    sources: dict[str, Source] | None = Field(None, description="With full=true")
    origins: dict[str, int] | None = Field(
        None, description="With full=true: newest offset by topic/partition"
    )
    alignment: Alignment | None = Field(None, description="With full=true")


class SnapshotStamp(Model):
    """What an answer was built from; null stands for what no entity in it tells."""

    world: str
    entities: int = Field(description="Entities in the answer; all other members are about these")
    tick_ms: int | None = Field(
        description="[ms since the epoch, UTC] Newest tick that all complete ones closed"
    )
    clock_ms: int | None = Field(
        description="[ms since the epoch, UTC] Newest time that any was told of; of the past: that moment"
    )
    complete_share: float | None = Field(
        ge=0, le=1, description="Share of those with samples that are complete"
    )
    oldest_observed_ms: int | None = Field(description="[ms since the epoch, UTC] Time of the oldest value")
    offsets: dict[str, int] = Field(description="Next Kafka offset of the state topic, by partition")


class StateAnswer(Model):
    """A snapshot: all entities that were asked for, as they were at one moment."""

    stamp: SnapshotStamp
    entities: list[Entity]


class WorldFault(Model):
    """A fault of a world."""

    id: str
    kind: str
    entities: int = Field(description="Entities that it touches")
    owner: str
    start_ms: int = Field(description="[ms since the epoch, UTC]")
    end_ms: int | None = Field(description="[ms since the epoch, UTC] null: until fault.stop")


class World(Model):
    """A world that can be asked for; null is what live has not, and an overlay or isolated one not always."""

    name: str
    type: Literal["live", "overlay", "isolated"]
    simulated: bool
    entities: int = Field(description="Entities that it shows; an overlay shows live's too")
    changed: int | None = Field(description="Overlay: entities in which it differs from live")
    owner: str | None
    reason: str | None
    base: str | None = Field(description="What it was made from: nothing or live")
    created_ms: int | None = Field(description="[ms since the epoch, UTC]")
    ttl_s: float | None = Field(description="[s] How long after its creation it is dropped")
    ends_ms: int | None = Field(description="[ms since the epoch, UTC] When that is")
    max_entities: int | None = Field(description="Most entities that it may have")
    clock_ms: int | None = Field(description="[ms since the epoch, UTC] Isolated: its time")
    step_ms: int | None = Field(description="[ms] Isolated: distance of ticks")
    faults: list[WorldFault]


class WorldsAnswer(Model):
    """All worlds."""

    worlds: list[World]


class SentEvent(Model):
    """Where an event is in Kafka."""

    id: str
    partition: int
    offset: int


class SentAnswer(Model):
    """Events that Kafka has; an isolated world that begins as live takes several."""

    topic: str
    events: list[SentEvent]


class Named(Model):
    """Which entity."""

    kind: str
    id: str


class Touched(Model):
    """What an event would touch."""

    type: str
    world: str
    count: int = Field(description="Entities that it would touch")
    whole_world: bool = Field(description="It touches all entities of its world, which are not listed")
    entities: list[Named]


class DryRunAnswer(Model):
    """What the events would touch, in their order; nothing was sent."""

    events: list[Touched]


class Spread(Model):
    """Percentiles of durations; null when there are none."""

    count: int
    p50_ms: float | None
    p95_ms: float | None
    p99_ms: float | None
    max_ms: float | None


class KindFreshness(Model):
    """How fresh the entities of one kind are."""

    kind: str
    entities: int
    statuses: dict[str, int]
    oldest_observed_ms: int | None = Field(description="[ms since the epoch, UTC] Time of the oldest value")
    newest_observed_ms: int | None = Field(description="[ms since the epoch, UTC] Time of the newest value")
    age: Spread = Field(description="[ms] Now less the newest value of each entity")


class FreshnessAnswer(Model):
    """How fresh the state is."""

    now_ms: int
    stamp: SnapshotStamp
    scrape_to_seen: Spread = Field(
        description="[ms] From scrape to this process, of the newest 10,000 changes"
    )
    kinds: list[KindFreshness]


class SourceCounts(Counts):
    """Counts of one source."""

    source: str


class PartitionCounts(SourceCounts):
    """Counts of one source in one partition."""

    partition: int


class LedgerAnswer(Model):
    """Every sample that the twin took, by what became of it, those of removed entities included."""

    world: str
    offsets: dict[str, int]
    samples: Counts
    sources: list[SourceCounts]
    partitions: list[PartitionCounts]


class SchemasAnswer(Model):
    """JSON Schemas (draft 2020-12) of what goes out, by name."""

    schemas: dict[str, dict[str, object]]


class Fault(Model):
    """One wrong field."""

    field: str
    detail: str


class Problem(BaseModel):
    """An error (RFC 9457); problems may have further members."""

    model_config = ConfigDict(extra="allow")

    type: str
    title: str
    status: int
    detail: str
    instance: str
    field: str | None = Field(None, description="The parameter that is wrong")
    near: list[str] | None = Field(None, description="What may have been meant")
    errors: list[Fault] | None = Field(None, description="All that is wrong, when it is more than one thing")


class Health(BaseModel):
    """Whether the role works; when it does not, further members say why."""

    model_config = ConfigDict(extra="allow")

    status: str


ANSWERS: dict[str, type[BaseModel]] = {
    "entity": Entity,
    "state": StateAnswer,
    "worlds": WorldsAnswer,
    "sent": SentAnswer,
    "dry_run": DryRunAnswer,
    "freshness": FreshnessAnswer,
    "ledger": LedgerAnswer,
    "schemas": SchemasAnswer,
    "problem": Problem,
    "health": Health,
}
"""Every answer's shape, by the name under which /twin/v1/schemas gives it."""
