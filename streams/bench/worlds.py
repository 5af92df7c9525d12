"""How soon an event of a scenario is in a state that others can read."""

import asyncio
import time
from collections.abc import Mapping
from typing import Any
from zlib import crc32

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer

from streams.bench.domain import START_MS
from streams.bench.load import INTERVAL_MS, METRICS, scrape
from streams.bench.runs import DEADLINE_S, of_run, process, producer_of, state_reader
from streams.domain.keys import entity_key
from streams.events.models import EVENT, AnyEvent
from streams.events.sender import EventSender, stamped
from streams.schemas import load_codec
from streams.settings import Settings
from streams.topics import create_topics, topics_of

NODES = 1_000
"""[1] Nodes of the worlds that events change."""

PER_SCRAPE = 100
"""[1] Nodes of one made-up scrape."""

EVENTS = 200
"""[1] Events that are timed in a world of each kind."""

EVENTS_PER_S = 20.0
"""[1/s] A steady stream of them: an event waits for no other one's answer."""


async def event_latency(settings: Settings) -> dict[str, Any]:
    """Event sent -> changed state read by another process [ms], and a fault on 1,000 nodes -> all changed."""
    run = of_run(settings, "events")
    await create_topics(run)
    async with (
        process(run, "streams", "worker"),
        producer_of(run) as producer,
        state_reader(run) as reader,
        EventSender(run) as sender,
        asyncio.timeout(DEADLINE_S),
    ):
        await fill_live(run, producer, reader)
        feeding = asyncio.create_task(feed_live(run, producer))
        try:
            isolated = await _isolated(sender, reader)
            overlay = await _overlay(sender, reader)
        finally:
            feeding.cancel()
    worst_ms = max(isolated["fault_ms"], overlay["fault_ms"])
    return {
        "isolated": isolated,
        "overlay": overlay,
        "rows": [
            *(
                (
                    f"event → changed state readable, {EVENTS_PER_S:.0f} events/s, {name}, p99, ms",
                    "≤ 100",
                    f"{found['p99_ms']:.0f} (p50 {found['p50_ms']:.0f})",
                    found["p99_ms"] <= 100,
                )
                for name, found in (("isolated world", isolated), ("overlay", overlay))
            ),
            (
                "fault on 1,000 nodes → all states changed, ms",
                "≤ 2,000",
                f"{worst_ms:.0f}",
                worst_ms <= 2_000,
            ),
        ],
    }


async def _isolated(sender: EventSender, reader: AIOKafkaConsumer) -> dict[str, Any]:
    """A world of 1,000 nodes: one node is set by each event, then all of them fail."""
    await sender.send([new_event("world.create", "bench", {"owner": "bench", "clock_ms": START_MS})])
    ids = [f"n{number}" for number in range(NODES)]
    batches = [ids[first : first + 200] for first in range(0, NODES, 200)]
    began = await _begin(reader)
    await sender.send([_set(batch, 0.0) for batch in batches])
    await _all_read(reader, "bench", ids, began)
    events = [_set([ids[number % NODES]], number % 100 + 0.5, number + 1) for number in range(EVENTS)]
    keys = [entity_key("bench", "node", ids[number % NODES]) for number in range(EVENTS)]
    times = await _time_events(sender, reader, events, keys)
    fault_ms = await _time_fault(sender, reader, "bench", ids)
    return times | {"fault_ms": fault_ms}


async def _overlay(sender: EventSender, reader: AIOKafkaConsumer) -> dict[str, Any]:
    """Over 1,000 live nodes: each event lays a fault over one, then all of them fail."""
    ids = [f"bench{number}" for number in range(NODES)]
    await sender.send(
        [new_event("world.create", f"live~{name}", {"owner": "bench"}) for name in ("one", "all")]
    )
    events = [_fault("live~one", [ids[number % NODES]]) for number in range(EVENTS)]
    keys = [entity_key("live~one", "node", ids[number % NODES]) for number in range(EVENTS)]
    times = await _time_events(sender, reader, events, keys)
    fault_ms = await _time_fault(sender, reader, "live~all", ids)
    return times | {"fault_ms": fault_ms}


def new_event(type: str, world: str, body: Mapping[str, Any]) -> AnyEvent:
    """An event of now."""
    return stamped(EVENT.validate_python({"type": type, "world": world, "body": body}))


def _set(ids: list[str], value: float, later_ms: int = 0) -> AnyEvent:
    names = [name for name, _ in METRICS]
    entities = [{"kind": "node", "id": id, "metrics": dict.fromkeys(names, value)} for id in ids]
    return new_event("entity.set", "bench", {"entities": entities, "at_ms": START_MS + later_ms})


def _fault(world: str, ids: list[str]) -> AnyEvent:
    selector = {"kind": "node", "ids": ids}
    return new_event(
        "fault.start", world, {"kind": "node_down", "selector": selector, "max_entities": max(1, len(ids))}
    )


async def _time_events(
    sender: EventSender, reader: AIOKafkaConsumer, events: list[AnyEvent], keys: list[str]
) -> dict[str, Any]:
    """[ms] From the sending of each event to the first record of its key that comes after it."""
    await _begin(reader)
    waiting: dict[bytes, float] = {}
    took: list[float] = []

    async def feed() -> None:
        begin = time.monotonic()
        for number, (event, key) in enumerate(zip(events, keys, strict=True)):
            if (wait := begin + number / EVENTS_PER_S - time.monotonic()) > 0:
                await asyncio.sleep(wait)
            waiting[key.encode()] = time.monotonic()
            await sender.send([event])

    feeding = asyncio.create_task(feed())
    while waiting or not feeding.done():
        for messages in (await reader.getmany(timeout_ms=20)).values():
            now = time.monotonic()
            took += [
                (now - waiting.pop(message.key)) * 1000 for message in messages if message.key in waiting
            ]
    await feeding
    took.sort()
    return {
        "events": len(took),
        "p50_ms": took[len(took) // 2],
        "p99_ms": took[int(len(took) * 0.99)],
        "max_ms": took[-1],
    }


async def _time_fault(sender: EventSender, reader: AIOKafkaConsumer, world: str, ids: list[str]) -> float:
    """[ms] From a fault on all of them to the last of their records."""
    began = await _begin(reader)
    await sender.send([_fault(world, ids)])
    return await _all_read(reader, world, ids, began)


async def _begin(reader: AIOKafkaConsumer) -> float:
    """From now on only what is new is read."""
    await reader.seek_to_end()
    await asyncio.gather(*(reader.position(tp) for tp in reader.assignment()))
    return time.monotonic()


async def _all_read(reader: AIOKafkaConsumer, world: str, ids: list[str], began: float) -> float:
    waiting = {entity_key(world, "node", id).encode() for id in ids}
    while waiting:
        for messages in (await reader.getmany(timeout_ms=20)).values():
            waiting.difference_update(message.key for message in messages)
    return (time.monotonic() - began) * 1000


async def fill_live(run: Settings, producer: AIOKafkaProducer, reader: AIOKafkaConsumer) -> None:
    """Bring 1,000 live nodes into being, and wait until their states can be read."""
    waiting = {f"live/node/bench{number}".encode() for number in range(NODES)}
    turn = 0
    while waiting:
        turn += 1
        for first in range(0, NODES, PER_SCRAPE):
            await _send_scrape(run, producer, first, turn)
        until = time.monotonic() + INTERVAL_MS / 1000
        while waiting and time.monotonic() < until:
            for messages in (await reader.getmany(timeout_ms=100)).values():
                waiting.difference_update(message.key for message in messages)


async def feed_live(run: Settings, producer: AIOKafkaProducer) -> None:
    """Scrape them every 5 s from now on, in parts one after the other."""
    turn, parts = 1_000, NODES // PER_SCRAPE
    while True:
        turn += 1
        for part in range(parts):
            await _send_scrape(run, producer, part * PER_SCRAPE, turn)
            await asyncio.sleep(INTERVAL_MS / 1000 / parts)


async def _send_scrape(run: Settings, producer: AIOKafkaProducer, first: int, turn: int) -> None:
    record = scrape(first, PER_SCRAPE, turn, int(time.time() * 1000))
    key = f"{record['source']}/{record['target']}".encode()
    value = load_codec("scrape").encode(record)
    await producer.send(topics_of(run)["scrape"], value, key=key, partition=crc32(key) % run.partitions)
