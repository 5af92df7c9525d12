"""Where a partition really ends: on Kafka as it says, on the embedded broker by looking."""

import asyncio
from collections.abc import Iterable

from aiokafka import AIOKafkaConsumer, TopicPartition

from streams.errors import TwinError

DEADLINE_S = 30.0
"""[s] Bounds the look at the embedded broker: it answers in milliseconds, or not at all."""

POLL_MS = 100
"""[ms] Only how often the wait for the newest batches looks up; they are there already."""


async def true_end_offsets(
    consumer: AIOKafkaConsumer, partitions: Iterable[TopicPartition], *, embedded: bool
) -> dict[TopicPartition, int]:
    """The offset after the last record of each partition, 0 for an empty one, now or a moment later.

    The embedded broker answers with the base offset of the newest batch + 1, which is short by the rest of
    that batch. So there (`embedded=settings.embedded`) the newest batch is fetched, and the end is what comes
    with it. For this the partitions must be assigned to the consumer, not paused, and nobody else may poll it
    meanwhile; their positions are put back afterwards.

    Raises:
        TwinError: the embedded broker did not give its newest batches within `DEADLINE_S`.
    """
    ends: dict[TopicPartition, int] = await consumer.end_offsets(list(partitions))
    waiting = {partition for partition, end in ends.items() if end > 0}
    if not embedded or not waiting:
        return ends
    positions = {partition: await consumer.position(partition) for partition in waiting}
    try:
        async with asyncio.timeout(DEADLINE_S):
            for partition in waiting:
                consumer.seek(partition, ends[partition] - 1)
            while waiting:
                # Only with a record is the answer known to be newer than this call: `highwater` alone may be
                # what an earlier fetch left behind.
                for partition in await consumer.getmany(*waiting, timeout_ms=POLL_MS):
                    ends[partition] = consumer.highwater(partition)
                    waiting.discard(partition)
    except TimeoutError as error:
        missing = ", ".join(sorted(f"{topic}/{number}" for topic, number in waiting))
        raise TwinError(
            f"the embedded broker did not give the newest batch of {missing}: restart `twin up`"
        ) from error
    finally:
        for partition, position in positions.items():
            consumer.seek(partition, position)
    return ends
