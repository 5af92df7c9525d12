"""Scenario worlds in tests: events that are sent, and what the topics say of a world afterwards."""

import math
from collections.abc import Mapping
from functools import cache
from typing import Any

from streams.domain.catalogue import Catalogue
from streams.domain.keys import entity_key, partition_of
from streams.domain.view import entity_view
from streams.events import parse_event
from streams.events.sender import EventSender, Sent
from streams.records import Deadletter, State
from streams.rulebook import load_rulebook
from streams.settings import Settings
from tests.services.topiclog import committed, newest_states, read_records, read_topic
from tests.services.waiting import until

TAKEN_S = 60.0
"""[s] For a worker that may have to take over partitions first."""

Document = dict[str, Any]


@cache
def catalogue() -> Catalogue:
    """The metrics of the twin."""
    return load_rulebook().catalogue


def event(type: str, world: str, id: str = "", /, **body: Any) -> Document:
    """An event as a file has it."""
    return {"type": type, "world": world, "id": id, "body": body}


def values(world: str, at_ms: int | None = None, /, **nodes: Mapping[str, float]) -> Document:
    """An `entity.set` of nodes by id: their metrics."""
    entities = [{"kind": "node", "id": id, "metrics": metrics} for id, metrics in nodes.items()]
    return event("entity.set", world, entities=entities, **({"at_ms": at_ms} if at_ms else {}))


def fault(world: str, id: str, kind: str, *nodes: str, **more: Any) -> Document:
    """A `fault.start` on nodes."""
    selector = {"kind": "node", "ids": list(nodes)}
    return event("fault.start", world, fault=id, kind=kind, selector=selector, **more)


async def send(settings: Settings, *documents: Document) -> list[Sent]:
    """Send events in their order."""
    async with EventSender(settings) as sender:
        return await sender.send([parse_event(document, catalogue()) for document in documents])


async def taken(settings: Settings, sent: list[Sent], deadline_s: float = TAKEN_S) -> None:
    """Wait until the workers have acknowledged events, and all that harmonize made of them."""
    ends: dict[int, int] = {}
    for one in sent:
        ends[one.partition] = max(ends.get(one.partition, 0), one.offset + 1)
    await acknowledged(settings, "event", ends, deadline_s)
    ends = {
        message.partition: message.offset + 1
        for message in await read_topic(settings, "observation")
        if message.decoded("observation")["type"] != "clock"
    }
    await acknowledged(settings, "observation", ends, deadline_s)


async def acknowledged(settings: Settings, record: str, ends: dict[int, int], deadline_s: float) -> None:
    """Wait until the workers' group has committed these offsets."""

    async def done() -> bool:
        offsets = await committed(settings, "worker", record)
        return all(offsets[number] >= end for number, end in ends.items())

    await until(done, deadline_s, f"all of {record} is acknowledged", every_s=0.3)


async def told(settings: Settings, *documents: Document) -> list[Sent]:
    """Send events, and wait until the twin has taken them."""
    sent = await send(settings, *documents)
    await taken(settings, sent)
    return sent


async def states(settings: Settings, world: str) -> dict[str, State]:
    """The records under the keys of a world, the twin's own among them, by key."""
    found = newest_states(await read_topic(settings, "state"))
    return {key: state for key, state in found.items() if key.startswith(f"{world}/")}


async def views(settings: Settings, world: str) -> dict[str, dict[str, Any]]:
    """The entities that have a record in a world as people see them, by `kind/id` of their keys."""
    return {
        key.partition("/")[2]: entity_view(state)
        for key, state in (await states(settings, world)).items()
        if not state["kind"].startswith("_") and state["kind"] != "world"
    }


async def deadletters(settings: Settings) -> list[Deadletter]:
    """What was refused, in order of partition and offset."""
    return await read_records(settings, "deadletter")


async def series(settings: Settings, world: str, kind: str, id: str) -> dict[int, dict[str, float]]:
    """Values of the closed ticks of an entity, by tick and metric; a repeated tick says the same again."""
    found: dict[int, dict[str, float]] = {}
    for tick in await read_records(settings, "tick"):
        start = 0
        for place, size in enumerate(tick["sizes"]):
            stop = start + size
            if (tick["world"], tick["kinds"][place], tick["ids"][place]) == (world, kind, id):
                names = [tick["names"][metric] for metric in tick["metrics"][start:stop]]
                row = dict(zip(names, tick["values"][start:stop], strict=True))
                assert found.setdefault(tick["ticks_ms"][place], row) == row
            start = stop
    return found


def value(view: dict[str, Any], metric: str) -> float:
    """Newest value of a metric; NaN where it is absent."""
    return float(view["metrics"].get(metric, {"value": math.nan})["value"])


def home(settings: Settings, world: str) -> int:
    """Partition of an isolated world, or of an overlay's own record."""
    return partition_of(entity_key(world, "world", world), settings.partitions)
