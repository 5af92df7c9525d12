"""Asks Kafka every few seconds while somebody looks, and keeps what it said last."""

import asyncio
import time

from aiokafka.errors import KafkaError

from streams.errors import TwinError
from streams.settings import Settings
from streams.web.live import LiveTwin
from streams.web.pipeline.look import KafkaLook, Looked
from streams.web.pipeline.rates import Rates
from streams.web.pipeline.whileasked import WhileAsked

EVERY_S = 5.0
"""[s] Between two looks."""

LOOK_S = 4.0
"""[s] For one look: Kafka answers in a hundredth of that, or is away."""

FIRST_S = 3.0
"""[s] That the first question waits for a look."""

STATE_BYTES = "bytes of state"
"""Name under which the bytes that the replica has read are counted."""


class PipelineWatch:
    """What Kafka said last: `looked`, with its age, and `fault` when it does not answer now."""

    def __init__(self, settings: Settings, twin: LiveTwin) -> None:
        self.looked: Looked | None = None
        self.fault: str | None = None
        self.rates = Rates()
        self._settings = settings
        self._twin = twin
        self._keeper = WhileAsked("asks Kafka about the pipeline", self._run)
        self._has_looked = asyncio.Event()

    async def ask(self) -> None:
        """Somebody looks: go on asking Kafka; waits a little for the first answer."""
        if not self._keeper.is_running:
            self._has_looked.clear()
        self._keeper.ask()
        try:
            async with asyncio.timeout(FIRST_S):
                await self._has_looked.wait()
        except TimeoutError:
            self.fault = self.fault or f"Kafka has not answered for {FIRST_S:.0f} s"

    async def stop(self) -> None:
        """Disconnect."""
        await self._keeper.stop()

    async def _run(self) -> None:
        kafka = KafkaLook(self._settings)
        try:
            while True:
                began_s = time.monotonic()
                await self._look(kafka)
                self._has_looked.set()
                await asyncio.sleep(max(0.0, began_s + EVERY_S - time.monotonic()))
        finally:
            await kafka.close()

    async def _look(self, kafka: KafkaLook) -> None:
        try:
            async with asyncio.timeout(LOOK_S):
                looked = await kafka.look()
        except TimeoutError:
            self.fault = f"Kafka did not answer within {LOOK_S:.0f} s"
        except (KafkaError, TwinError) as error:
            self.fault = f"Kafka does not answer: {error}"
        else:
            self.looked, self.fault = looked, None
            bytes_read = {STATE_BYTES: self._twin.source.taken_bytes}
            self.rates.note(time.monotonic(), looked.counts() | bytes_read)
            return
        await kafka.close()
