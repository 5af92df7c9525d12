"""Shapes of the answers about the pipeline."""

from pydantic import Field

from streams.web.models import FreshnessAnswer, LedgerAnswer, Model


class KafkaView(Model):
    """How old what Kafka said is."""

    fault: str | None = Field(description="Why Kafka does not answer now; null: it does")
    looked_ms: int | None = Field(description="[ms since the epoch, UTC] Its last answer; null: none yet")
    age_ms: int | None = Field(description="[ms] Age of that answer")


class TopicView(Model):
    """One topic, as Kafka said last."""

    record: str
    topic: str
    exists: bool | None = Field(description="null: not known")
    partitions: int | None
    records: int | None = Field(
        description="[1] Offsets between beginning and end; a compacted topic has fewer"
    )
    end: int | None = Field(description="[1] Sum of the end offsets")
    records_per_s: float | None = Field(description="[1/s] Over the last minute; null: not known yet")
    bytes_per_s: float | None = Field(
        description="[B/s] Over the last minute; null: not known without reading it"
    )


class PartitionLag(Model):
    """How far a group, or this process, is in one partition."""

    topic: str
    partition: int
    position: int | None = Field(description="Next offset that it reads; null: it has committed none")
    end: int | None = Field(description="Offset after the newest record; null: not known")
    lag: int | None = Field(description="[1] Records that wait")


class GroupView(Model):
    """A consumer group."""

    role: str
    group: str
    fault: str | None = Field(description="Why its lag is not known")
    lag: int | None = Field(description="[1] Records that wait, of all partitions")
    has_committed: bool | None = Field(description="false: the role has not read anything yet")
    partitions: list[PartitionLag]


class ReplicaView(Model):
    """How far this process is in `state`."""

    topic: str
    fault: str | None = Field(description="Why its answers lack entities; null: they do not")
    lag: int
    partitions: list[PartitionLag]


class SubjectView(Model):
    """The schema of a topic, in use now."""

    subject: str
    record: str
    version: int
    id: int = Field(description="Stands in the framing of each record")


class VersionsView(Model):
    """What runs here."""

    twin: str
    python: str
    libraries: dict[str, str]


class PipelineAnswer(Model):
    """How the pipeline does; null is what is not known."""

    now_ms: int = Field(description="[ms since the epoch, UTC]")
    kafka: KafkaView
    topics: list[TopicView]
    groups: list[GroupView]
    replica: ReplicaView
    state_fault: str | None = Field(description="Why freshness and ledger are null")
    freshness: FreshnessAnswer | None
    ledger: LedgerAnswer | None
    subjects: list[SubjectView]
    versions: VersionsView


class SourceView(Model):
    """One target of a source; null is what no scrape of the newest ones tells."""

    source: str
    target: str
    pack: str | None
    interval_ms: int | None = Field(description="[ms] Between scrapes; 0: on cue")
    scraped_at_ms: int | None = Field(description="[ms since the epoch, UTC] Last scrape")
    age_ms: int | None = Field(description="[ms] Of it")
    late: bool = Field(description="The last scrape is older than two intervals and 5 s")
    duration_ms: int | None = Field(description="[ms] How long it took")
    to_kafka_ms: int | None = Field(description="[ms] From its answer to its last record in Kafka")
    ok: bool | None
    error: str
    ok_ms: int | None = Field(description="[ms since the epoch, UTC] Last one that was ok")
    failed_in_row: int = Field(description="[1] Failures since then, of those that were read")
    simulated: bool
    samples: int | None = Field(description="[1] Of the last scrape that was ok")
    chunks: int | None = Field(description="[1] Records of the last scrape")
    entities: int | None = Field(
        description="[1] Live entities that it feeds; null: the state is not read yet"
    )


class SourcesAnswer(Model):
    """What the collectors ship, by the newest records of `scrape` and by what the live entities say."""

    now_ms: int = Field(description="[ms since the epoch, UTC]")
    topic: str
    fault: str | None = Field(description="Why what is shown may be old or lack something")
    newest: int = Field(
        description="[1] Records of each partition that were read first, before what came since"
    )
    unreadable: int = Field(description="[1] Records that are no scrapes")
    sources: list[SourceView]
