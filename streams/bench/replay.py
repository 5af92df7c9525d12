"""How much faster than it was a part of live's log is played again: through Kafka, and from a file."""

import asyncio
import re
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from streams.bench.load import INTERVAL_MS, observation
from streams.bench.runs import DEADLINE_S, environment, of_run, process, producer_of, state_reader
from streams.domain.observation import new_observation
from streams.domain.times import moment_text
from streams.errors import TwinError
from streams.schemas import load_codec, load_state_head
from streams.settings import Settings
from streams.topics import create_topics, topics_of

NODES = 1_000
"""[1] Nodes of the log, 12 metrics each."""

CHUNK = 125
"""[1] Nodes of one message."""

TURNS = 120
"""[1] Scrapes of each node: ten minutes."""

CLOCK_MS = 1_000
"""[ms] Between clock messages of a partition, as a worker sends them."""

AGO_MS = 300_000
"""[ms] How long ago the log ends: its ticks are closed."""


async def replay_speed(settings: Settings) -> dict[str, Any]:
    """Times as fast as it was: `twin replay --world` and `twin replay --file`, whole commands on one log."""
    run = of_run(settings, "replay")
    await create_topics(run)
    end_ms = int(time.time() * 1000) - AGO_MS
    begin_ms = end_ms - TURNS * INTERVAL_MS
    begin_ms -= begin_ms % INTERVAL_MS
    span = ("--from", moment_text(begin_ms + 2 * INTERVAL_MS), "--to", moment_text(end_ms - 60_000))
    with tempfile.TemporaryDirectory() as folder:
        file = str(Path(folder) / "log.twin")
        async with process(run, "streams", "worker") as child:
            await _applied(run, await _fill(run, begin_ms), child)
            through_kafka = await _times(run, "replay", *span, "--world", "bench")
        await _command(run, "record", file, *span)
        from_file = await _times(run, "replay", "--file", file)
    what = f"replay of {NODES:,} nodes at {INTERVAL_MS // 1000} s, times as fast as it was"
    return {
        "times_through_kafka": through_kafka,
        "times_from_file": from_file,
        "rows": [
            (f"{what}: into a world, through Kafka", "≥ 8", f"{through_kafka:.0f}", through_kafka >= 8),
            (f"{what}: a file, in one process", "≥ 30", f"{from_file:.0f}", from_file >= 30),
        ],
    }


async def _fill(run: Settings, begin_ms: int) -> dict[int, int]:
    """Write the log, with the times of then; return the offset after the last message by partition."""
    encode, topic = load_codec("observation").encode, topics_of(run)["observation"]
    ends = dict.fromkeys(range(run.partitions), 0)
    share = NODES // run.partitions
    async with producer_of(run) as producer:
        for second in range(TURNS * INTERVAL_MS // CLOCK_MS):
            at_ms = begin_ms + second * CLOCK_MS
            for number in ends:
                messages = [new_observation("clock", at_ms)]
                if at_ms % INTERVAL_MS == 0:
                    turn = (at_ms - begin_ms) // INTERVAL_MS
                    firsts = range(number * share, (number + 1) * share, CHUNK)
                    messages += [
                        observation(first, CHUNK, turn, at_ms, number, ends[number]) for first in firsts
                    ]
                for message in messages:
                    await producer.send(topic, encode(message), partition=number, timestamp_ms=at_ms)
                    ends[number] += 1
        await producer.flush()
    return ends


async def _applied(run: Settings, ends: dict[int, int], child: asyncio.subprocess.Process) -> None:
    """Wait until the worker has taken the log as live."""
    last = {number: end - 1 for number, end in ends.items()}
    async with state_reader(run) as reader, asyncio.timeout(DEADLINE_S):
        while last:
            if child.returncode is not None:
                raise TwinError(f"the worker ended with {child.returncode} while it was measured")
            for tp, messages in (await reader.getmany(timeout_ms=200)).items():
                versions = [int(load_state_head(message.value)["version"]) for message in messages]
                # The last message is a clock, which may change nothing.
                if max(versions) >= last.get(tp.partition, 1 << 62) - INTERVAL_MS // CLOCK_MS:
                    del last[tp.partition]


async def _times(run: Settings, *words: str) -> float:
    said = await _command(run, *words)
    found = re.search(r"([\d.]+) times as fast", said)
    if found is None or "the same as live's" not in said:
        raise TwinError(f"twin {words[0]}: {said}")
    return float(found[1])


async def _command(run: Settings, *words: str) -> str:
    """What a command says on standard error."""
    child = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "streams", *words),
        env=environment(run),
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.PIPE,
    )
    _, said = await asyncio.wait_for(child.communicate(), DEADLINE_S)
    if child.returncode:
        raise TwinError(f"twin {words[0]} ended with {child.returncode}: {said.decode()[-500:]}")
    return said.decode()
