"""Waits for the first record of `state` that this run of `twin up` brings."""

import asyncio
from types import TracebackType
from typing import Self

from aiokafka import AIOKafkaConsumer, TopicPartition

from streams.kafka import client_options
from streams.settings import Settings
from streams.topics import topics_of

FETCH_WAIT_MS = 100
"""[ms] The embedded broker holds a fetch this long even when something comes meanwhile."""


STOP_S = 1.0
"""[s] To close the connections; nothing depends on it."""


class FirstState:
    """`async with FirstState(settings) as first:` notes where `state` ends; `first.key()` waits for more."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._consumer = AIOKafkaConsumer(
            **client_options(settings), enable_auto_commit=False, fetch_max_wait_ms=FETCH_WAIT_MS
        )

    async def key(self) -> str:
        """Wait for the record; return its key, `<world>/<kind>/<id>`. Call it once."""
        while True:
            for records in (await self._consumer.getmany(timeout_ms=1_000)).values():
                for record in records:
                    await self._stop()
                    return (record.key or b"").decode(errors="replace")

    async def __aenter__(self) -> Self:
        topics = topics_of(self._settings)
        partitions = [TopicPartition(topics["state"], number) for number in range(topics.partitions)]
        await self._consumer.start()
        self._consumer.assign(partitions)
        if (
            self._settings.embedded
        ):  # it was empty a moment ago, and does not know its end (see streams.offsets)
            for partition in partitions:
                self._consumer.seek(partition, 0)
        else:
            await self._consumer.seek_to_end(*partitions)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._stop()

    async def _stop(self) -> None:
        # In a task of its own: with the broker away aiokafka's stop ends in CancelledError, as if we had been
        # cancelled.
        await asyncio.wait([asyncio.create_task(self._consumer.stop())], timeout=STOP_S)
