"""One TypedDict for each Avro schema in schemas/avro; the schema documents the fields."""

from typing import NotRequired, TypedDict


class Scrape(TypedDict):
    """One scrape of one target, or one chunk of it."""

    source: str
    target: str
    pack: str
    interval_ms: int
    scraped_at_ms: int
    ok: bool
    error: str
    simulated: bool
    duration_ms: NotRequired[int]
    series: list[str]
    values: list[float]
    times_ms: list[int]
    dropped: dict[str, int]


class Event(TypedDict):
    """What a VTE, a controller or a person tells the twin; the body is JSON."""

    id: str
    type: str
    world: str
    at_ms: int
    sender: str
    body: str


class Observation(TypedDict):
    """Harmonised values of many entities of one partition, a failed scrape, or the clock."""

    type: str
    at_ms: int
    world: str
    source: str
    priority: int
    target: str
    interval_ms: int
    scraped_at_ms: int
    simulated: bool
    origin_topic: str
    origin_partition: int
    origin_offset: int
    reason: str
    kinds: list[str]
    ids: list[str]
    sizes: list[int]
    attributes: list[dict[str, str]]
    names: list[str]
    forms: list[int]
    metrics: list[int]
    values: list[float]
    times_ms: list[int]
    event_id: str
    body: str
    lane: int


class Scenario(TypedDict):
    """What faults changed of an entity."""

    faults: list[str]
    names: list[str]
    values: list[float]
    times_ms: list[int]
    frozen_faults: list[str]
    frozen_names: list[str]
    frozen_values: list[float]
    frozen_times_ms: list[int]
    hidden: bool


class Aggregate(TypedDict):
    """What each partition says of the nodes of a pool."""

    names: list[str]
    partitions: list[int]
    offsets: list[int]
    ticks_ms: list[int]
    values: list[float]


class State(TypedDict):
    """The record of one entity, with all the memory that alignment needs."""

    due_ms: int
    targets: list[str]
    version: int
    epoch: int
    status: str
    status_since_ms: int
    status_reason: str
    seen_ms: int
    next_tick_ms: int
    tick_ms: int
    complete: bool
    aligned_names: list[str]
    aligned_values: list[float]
    aligned_qualities: list[int]
    head_names: list[str]
    head_sources: list[int]
    head_forms: list[int]
    head_values: list[float]
    head_times_ms: list[int]
    head_rates: list[float]
    head_sums: list[float]
    open_ticks_ms: list[int]
    open_heads: list[int]
    open_values: list[float]
    open_qualities: list[int]
    source_names: list[str]
    source_priorities: list[int]
    source_intervals_ms: list[int]
    source_good_ms: list[int]
    source_failures: list[int]
    source_counts: list[int]
    origins: list[str]
    origin_offsets: list[int]
    simulated: bool
    attributes: dict[str, str]
    features: dict[str, float]
    world: str
    kind: str
    id: str
    scenario: Scenario | None
    aggregate: Aggregate | None


class Tick(TypedDict):
    """Closed ticks of many entities of one partition, and changes of status and attributes."""

    world: str
    epoch: int
    kinds: list[str]
    ids: list[str]
    pools: list[str]
    ticks_ms: list[int]
    complete: list[bool]
    simulated: list[bool]
    versions: list[int]
    sizes: list[int]
    names: list[str]
    metrics: list[int]
    values: list[float]
    qualities: list[int]
    change_kinds: list[str]
    change_ids: list[str]
    change_pools: list[str]
    change_at_ms: list[int]
    change_simulated: list[bool]
    change_versions: list[int]
    change_statuses: list[str]
    change_reasons: list[str]
    change_attributes: list[str]
    change_removed: list[bool]


class Deadletter(TypedDict):
    """A message, or a part of one, that a stage could not take, with the reason."""

    stage: str
    reason: str
    error: str
    at_ms: int
    topic: str
    partition: int
    offset: int
    key: bytes
    value: bytes
