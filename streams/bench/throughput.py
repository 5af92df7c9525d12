"""Updates a second of the worker beside a bare loop."""

import asyncio
import time
from itertools import repeat
from statistics import median
from typing import Any

from streams.bench.load import INTERVAL_MS, observation
from streams.bench.runs import DEADLINE_S, of_run, process, producer_of, state_reader
from streams.errors import TwinError
from streams.schemas import load_codec, load_state_head
from streams.settings import Settings
from streams.topics import create_topics, topics_of

NODES = 1_000
"""[1] Nodes of the measurement."""


async def throughput(settings: Settings, per_message: int, turns: int, rounds: int = 3) -> dict[str, Any]:
    """Updates a second of the worker and of the bare loop, in turn, on logs of the same content.

    Args:
        per_message: entities of one observation.
        turns: scrapes of each of the 1,000 nodes.
    """
    worker: list[float] = []
    bare: list[float] = []
    for number in range(rounds):
        order = [("streams", "worker"), ("streams.bench.bare",)]
        for module in order if number % 2 == 0 else order[::-1]:
            run = of_run(settings, module[-1].rpartition(".")[2])
            (worker if module[-1] == "worker" else bare).append(
                await _drain_log(run, module, per_message, turns)
            )
    return {
        "worker_updates_per_s": median(worker),
        "bare_updates_per_s": median(bare),
        "ratio": median(w / b for w, b in zip(worker, bare, strict=True)),
        "raw": {"worker": worker, "bare": bare},
    }


async def _drain_log(run: Settings, module: tuple[str, ...], per_message: int, turns: int) -> float:
    """Fill `observation`, let a process apply it all, and return its updates a second."""
    await create_topics(run)
    ends = await _fill(run, per_message, turns)
    seen: list[tuple[int, int, int]] = []
    async with process(run, *module) as child, state_reader(run) as reader:
        waiting = dict(ends)
        async with asyncio.timeout(DEADLINE_S):
            while waiting:
                if child.returncode is not None:
                    raise TwinError(f"{module[-1]} ended with {child.returncode} while it was measured")
                for tp, messages in (await reader.getmany(timeout_ms=200)).items():
                    versions = [int(load_state_head(message.value)["version"]) for message in messages]
                    seen += zip((m.timestamp for m in messages), repeat(tp.partition), versions)
                    if max(versions) >= waiting.get(tp.partition, 1 << 62):
                        del waiting[tp.partition]
    return _rate(seen, ends, per_message)


def _rate(seen: list[tuple[int, int, int]], ends: dict[int, int], per_message: int) -> float:
    """Updates a second, from when all partitions had begun to when all were at their ends.

    A version is one more than the offset of a message, so it says how many messages are done.

    Args:
        seen: (time [ms], partition, version) of each record.
    """
    begun = max(min(at for at, number, _ in seen if number == each) for each in ends)
    done = {
        each: max(version for at, number, version in seen if number == each and at <= begun) for each in ends
    }
    ended = max(at for at, number, version in seen if version <= ends[number])
    return sum(ends[each] - done[each] for each in ends) * per_message / (ended - begun) * 1000


async def _fill(run: Settings, per_message: int, turns: int) -> dict[int, int]:
    """Write the log; return the end of each partition."""
    encode, topic = load_codec("observation").encode, topics_of(run)["observation"]
    begin_ms = int(time.time() * 1000) - turns * INTERVAL_MS
    ends = dict.fromkeys(range(run.partitions), 0)
    share = NODES // run.partitions
    async with producer_of(run) as producer:
        for turn in range(turns):
            for number in range(run.partitions):
                for first in range(number * share, (number + 1) * share, per_message):
                    count = min(per_message, (number + 1) * share - first)
                    message = observation(
                        first, count, turn, begin_ms + turn * INTERVAL_MS, number, ends[number]
                    )
                    await producer.send(topic, encode(message), partition=number)
                    ends[number] += 1
        await producer.flush()
    return ends
