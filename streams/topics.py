"""Names, partitions and policies of the topics: the only place that names one."""

import asyncio
from dataclasses import dataclass

from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.errors import TopicAlreadyExistsError, for_code

from streams.errors import SettingsError, TwinError
from streams.kafka import check_access, client_options
from streams.settings import Settings

DAY_MS = 86_400_000
"""[ms]"""

POLICIES: dict[str, dict[str, str]] = {
    "scrape": {"cleanup.policy": "delete", "retention.ms": str(DAY_MS)},
    "event": {"cleanup.policy": "delete", "retention.ms": str(7 * DAY_MS)},
    "observation": {"cleanup.policy": "delete", "retention.ms": str(DAY_MS)},
    "state": {
        "cleanup.policy": "compact",
        "min.compaction.lag.ms": "60000",
        "max.compaction.lag.ms": "600000",
        "segment.ms": "600000",
        "delete.retention.ms": str(DAY_MS),
    },
    "tick": {"cleanup.policy": "delete", "retention.ms": str(7 * DAY_MS)},
    "deadletter": {"cleanup.policy": "delete", "retention.ms": str(14 * DAY_MS)},
}
"""Topic settings of Kafka, by record name."""

RECORDS = tuple(POLICIES)
"""Record names in flow order; each has one topic."""

MAX_MESSAGE_BYTES = 256 * 1024
"""[B] Largest chunk of a scrape, an observation or a tick, and largest state record."""

MAX_ENTITIES = 200
"""[1] Most entities in one message, so that no message holds the event loop for long."""


@dataclass(frozen=True)
class Topics:
    """The topic name of each record, for one prefix."""

    prefix: str
    partitions: int

    def __getitem__(self, record: str) -> str:
        if record not in POLICIES:
            raise KeyError(record)
        return f"{self.prefix}.{record}.v1"

    def record_of(self, topic: str) -> str:
        """The record name in a topic's name, the reverse of `topics[record]`."""
        return topic.removeprefix(f"{self.prefix}.").removesuffix(".v1")


def topics_of(settings: Settings) -> Topics:
    """The topics that these settings name."""
    return Topics(settings.topic_prefix, settings.partitions)


async def create_topics(settings: Settings) -> list[str]:
    """Create the topics that are missing, with their policies; return the names of those created.

    Raises:
        SettingsError: a topic exists with another number of partitions.
        TwinError: Kafka refused a topic.
    """
    await check_access(settings)
    topics = topics_of(settings)
    admin = AIOKafkaAdminClient(**client_options(settings))
    await admin.start()
    try:
        existing = await _partition_counts(admin, topics)
        missing = [record for record in RECORDS if topics[record] not in existing]
        if missing:
            answer = await admin.create_topics(
                [
                    NewTopic(
                        topics[record],
                        num_partitions=topics.partitions,
                        replication_factor=settings.kafka_replication,
                        topic_configs={} if settings.embedded else POLICIES[record],
                    )
                    for record in missing
                ]
            )
            for name, code, *text in answer.topic_errors:
                error = for_code(code)
                if code and error is not TopicAlreadyExistsError:
                    raise TwinError(
                        f"Kafka refused to create topic {name}: {error.__name__} {text[0] if text else ''}"
                    )
            await _await_leaders(admin, topics)
        _check_counts(topics, existing)
        return [topics[record] for record in missing]
    finally:
        await admin.close()


async def check_topics(settings: Settings) -> None:
    """Raise SettingsError unless Kafka takes us and all topics exist with the partitions of the settings."""
    await check_access(settings)
    topics = topics_of(settings)
    admin = AIOKafkaAdminClient(**client_options(settings))
    await admin.start()
    try:
        existing = await _partition_counts(admin, topics)
    finally:
        await admin.close()
    missing = [topics[record] for record in RECORDS if topics[record] not in existing]
    if missing:
        raise SettingsError([f"topic {name} does not exist: run `twin topics create`" for name in missing])
    _check_counts(topics, existing)


async def _partition_counts(admin: AIOKafkaAdminClient, topics: Topics) -> dict[str, int]:
    wanted = {topics[record] for record in RECORDS}
    present = wanted & set(await admin.list_topics())
    if not present:
        return {}
    described = await admin.describe_topics(sorted(present))
    return {topic["topic"]: len(topic["partitions"]) for topic in described if not topic["error_code"]}


def _check_counts(topics: Topics, existing: dict[str, int]) -> None:
    faults = [
        f"topic {name} has {count} partitions, TWIN_PARTITIONS says {topics.partitions}:"
        f" set TWIN_PARTITIONS={count}, or move to a new prefix with `twin topics migrate`"
        for name, count in sorted(existing.items())
        if count != topics.partitions
    ]
    if faults:
        raise SettingsError(faults)


async def _await_leaders(admin: AIOKafkaAdminClient, topics: Topics, deadline_s: float = 30.0) -> None:
    # A topic that was just created has no leaders yet, and the first send to it would fail.
    async with asyncio.timeout(deadline_s):
        while True:
            described = await admin.describe_topics([topics[record] for record in RECORDS])
            if all(
                not topic["error_code"]
                and len(topic["partitions"]) == topics.partitions
                and all(partition["leader"] >= 0 for partition in topic["partitions"])
                for topic in described
            ):
                return
            await asyncio.sleep(0.1)
