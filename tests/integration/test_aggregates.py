"""Two workers keep the totals of pools, also when one of them is killed (embedded broker)."""

import asyncio
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest_asyncio
from aiokafka import AIOKafkaProducer

from streams.domain.keys import entity_key, partition_of
from streams.kafka import client_options
from streams.replica import TwinReplica
from streams.schemas import load_codec
from streams.settings import Settings
from streams.tools.ledger import count_samples
from streams.topics import topics_of
from tests.reference.messages import values
from tests.services.roles import Role
from tests.waiting import until

NODES = 24
DEADLINE_S = 60
"""[s] A killed worker is missed only after its session has timed out."""


@pytest_asyncio.fixture
async def workers(settings: Settings, tmp_path: Path) -> AsyncIterator[list[Role]]:
    roles = [Role("worker", settings, tmp_path / f"worker{number}.log") for number in range(2)]
    try:
        for role in roles:
            await role.start()
        for role in roles:
            await role.ready()
        yield roles
    finally:
        for role in roles:
            await role.close()


class Nodes:
    """Tells of all nodes, as harmonize would; a power of 1, 2, 3, … W each."""

    def __init__(self, settings: Settings, producer: AIOKafkaProducer) -> None:
        self.settings, self.producer, self.offset = settings, producer, 0
        self.pools = {f"n{number}": str(number % 3) for number in range(NODES)}

    async def tell(self) -> None:
        """One observation of each node."""
        self.offset += 1
        at_ms = int(time.time() * 1000)
        for place, (id, pool) in enumerate(self.pools.items()):
            message = values(
                at_ms,
                "prom",
                (place, self.offset),
                {("node", id): [("power_watts", 1.0 + place, at_ms)]},
                attributes={("node", id): {"nodepool": pool}},
                forms={"power_watts": 0},
                interval_ms=5_000,
                target=id,
            )
            partition = partition_of(entity_key("live", "node", id), self.settings.partitions)
            data = load_codec("observation").encode(message)
            await self.producer.send(topics_of(self.settings)["observation"], data, partition=partition)
        await self.producer.flush()

    def expected(self) -> dict[tuple[str, str], tuple[float, float]]:
        """Nodes and power [W] of each pool and of the cluster."""
        powers = dict(zip(self.pools, range(1, NODES + 1), strict=True))
        found = {("cluster", "cluster"): (float(NODES), float(sum(powers.values())))}
        for pool in set(self.pools.values()):
            own = [powers[id] for id, its in self.pools.items() if its == pool]
            found["nodepool", pool] = (float(len(own)), float(sum(own)))
        return found


def totals(twin: TwinReplica) -> dict[tuple[str, str], tuple[float, float]]:
    """Nodes and power [W] that pools and cluster show."""
    return {
        (entity["kind"], entity["id"]): (
            entity["metrics"]["nodes_count"]["value"],
            entity["metrics"].get("power_watts", {}).get("value", 0.0),
        )
        for kind in ("nodepool", "cluster")
        for entity in twin.entities(kind)
    }


async def keep_telling(nodes: Nodes) -> None:
    """Tell of all nodes for ever."""
    while True:
        await nodes.tell()
        await asyncio.sleep(2)


async def test_totals_follow_the_nodes_though_a_worker_is_killed(
    settings: Settings, workers: list[Role]
) -> None:
    async with AIOKafkaProducer(**client_options(settings)) as producer, TwinReplica(settings) as twin:
        await twin.ready(DEADLINE_S)
        nodes = Nodes(settings, producer)
        telling = asyncio.create_task(keep_telling(nodes))

        await until(lambda: totals(twin) == nodes.expected(), DEADLINE_S)
        nodes.pools |= {"n0": "1", "n3": "new", "n4": "new"}
        await workers[0].kill()
        await until(lambda: totals(twin) == nodes.expected(), DEADLINE_S)
        nodes.pools |= {"n3": "1", "n4": "1"}
        await until(lambda: totals(twin) == nodes.expected(), DEADLINE_S)

        telling.cancel()
        assert ("nodepool", "new") not in totals(twin)
        async with asyncio.timeout(DEADLINE_S):
            assert (await count_samples(settings)).is_balanced
