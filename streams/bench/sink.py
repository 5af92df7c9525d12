"""The sink into InfluxDB, beside Telegraf and beside ready-made line protocol, in one run.

All write the same number of records of the same number of fields, one line each, from a topic that was filled
before; the sink and the ready lines have another field for the qualities of each record. InfluxDB itself
counts the points.
"""

import asyncio
import contextlib
import re
import shutil
import signal
import sys
import time
import zlib
from collections.abc import AsyncIterator
from random import Random
from statistics import median
from typing import Any
from urllib.parse import quote

import aiohttp

from streams.bench.runs import environment, of_run, producer_of
from streams.bench.telegraf import fill_records, telegraf
from streams.domain.sink import to_lines
from streams.errors import TwinError
from streams.records import Tick
from streams.schemas import load_codec
from streams.settings import Settings
from streams.stores.influx import InfluxAddress, parse_address
from streams.topics import create_topics, topics_of

DEADLINE_S = 180.0
"""[s] After so long a measurement that does not end is given up."""

LOOK_S = 0.2
"""[s] Between two looks at InfluxDB's count; its answer is long, so looking more often would cost it time."""

BATCH_LINES = 5_000
"""[1] Lines of a ready-made post."""

CONNECTIONS = 2
"""[1] Of the ready-made posts, as of the sink."""

ROWS = 200
"""[1] Closed ticks in one message."""

STEP_MS = 5_000
"""[ms] Between two ticks."""


async def bench_sink(
    settings: Settings, *, entities: int = 1_000, ticks: int = 200, fields: int = 12, rounds: int = 3
) -> dict[str, Any]:
    """Records a second of the sink, of Telegraf if there is one on the PATH, and of ready-made lines.

    Returns:
        `rows` for the table: what was measured, the figure to reach, the one reached, and whether it was; and
        the figures with all raw values, unless the history store of the settings is no InfluxDB.

    Raises:
        TwinError: a measurement did not end.
    """
    if not (settings.history_url or "").startswith("influxdb+") or settings.token is None:
        return {"rows": _rows({}, "TWIN_HISTORY_URL is no InfluxDB")}
    load = Load(entities, ticks, fields)
    names = ["limit", "sink"] + ["telegraf"] * bool(shutil.which("telegraf"))
    raw: dict[str, list[float]] = {name: [] for name in names}
    cpu: dict[str, list[float]] = {name: [] for name in names[1:]}
    for number in range(rounds):
        for name in names if number % 2 == 0 else names[::-1]:
            run = of_run(settings, name)
            async with influx(run) as bucket:
                if name == "limit":
                    raw[name].append(await _limit(bucket, load))
                    continue
                await create_topics(run)
                rate, seconds = await (_sink if name == "sink" else _telegraf)(run, bucket, load)
                raw[name].append(rate)
                cpu[name].append(seconds / load.records * 1e6)
    result: dict[str, Any] = {f"{name}_records_per_s": median(rates) for name, rates in raw.items()}
    result |= {f"{name}_cpu_us_per_record": median(each) for name, each in cpu.items()}
    for other in raw.keys() - {"sink"}:
        pairs = zip(raw["sink"], raw[other], strict=True)
        result[f"sink_to_{other}"] = median(ours / theirs for ours, theirs in pairs)
    result |= {"records": load.records, "fields": fields, "raw": raw, "raw_cpu_us": cpu}
    return result | {"rows": _rows(result, "no telegraf on the PATH")}


def _rows(result: dict[str, Any], why_not: str) -> list[tuple[str, str, str, bool]]:
    return [
        (
            f"sink ÷ {text}, records/s",
            f"≥ {reach}",
            f"{ratio:.2f} ({result['sink_records_per_s']:,.0f} : {result[f'{other}_records_per_s']:,.0f})"
            if (ratio := result.get(f"sink_to_{other}"))
            else f"not measured: {why_not}",
            bool(ratio and ratio >= reach),
        )
        for other, text, reach in (
            ("telegraf", "Telegraf's best tuning", 1.2),
            ("limit", "ready line protocol", 0.5),
        )
    ]


class Load:
    """What is written: `ticks` closed ticks of each of `entities` nodes, with `fields` doubles each."""

    def __init__(self, entities: int, ticks: int, fields: int) -> None:
        self.records = entities * ticks
        # Metrics that the catalogue does not know share one measurement: a record is one line for all.
        self.names = [f"bench_{number}" for number in range(fields)]
        self._entities, self._ticks = entities, ticks
        self._begin_ms = (int(time.time() * 1000) - ticks * STEP_MS) // STEP_MS * STEP_MS

    def chunks(self, partitions: int) -> list[tuple[int, Tick]]:
        """Partition and tick message, in the order of time."""
        spots = [range(first, self._entities, partitions) for first in range(partitions)]
        chance = Random(1)
        return [
            (partition, self._tick(list(spot[start : start + ROWS]), turn, chance))
            for turn in range(self._ticks)
            for partition, spot in enumerate(spots)
            for start in range(0, len(spot), ROWS)
        ]

    def _tick(self, nodes: list[int], turn: int, chance: Random) -> Tick:
        count, size = len(nodes), len(self.names)
        changes: dict[str, list[Any]] = {
            name: [] for name in Tick.__annotations__ if name.startswith("change_")
        }
        tick: Tick = Tick(
            world="live",
            epoch=1,
            kinds=["node"] * count,
            ids=[f"node{node:05}" for node in nodes],
            pools=[str(node % 10) for node in nodes],
            ticks_ms=[self._begin_ms + turn * STEP_MS] * count,
            complete=[True] * count,
            simulated=[True] * count,
            versions=[turn] * count,
            sizes=[size] * count,
            names=self.names,
            metrics=list(range(size)) * count,
            values=[chance.random() * 100 for _ in range(size * count)],
            qualities=[0] * (size * count),
            **changes,  # type: ignore[typeddict-item]  # ten empty columns
        )
        return tick


class Bucket:
    """A bucket of one measurement, and how many points InfluxDB has written in all."""

    def __init__(self, session: aiohttp.ClientSession, address: InfluxAddress) -> None:
        self.session, self.address = session, address

    async def points(self) -> int:
        """[1] Points written since InfluxDB was started."""
        async with self.session.get(f"{self.address.url}/metrics") as answer:
            found = re.search(r"^storage_writer_ok_points_sum\S* (\S+)$", await answer.text(), re.MULTILINE)
        return int(float(found[1])) if found else 0

    async def rate(self, records: int, before: int) -> float:
        """[1/s] Records, from the first points that are seen until all are there."""
        first_s = first = 0.0
        async with asyncio.timeout(DEADLINE_S):
            while (done := await self.points() - before) < records:
                if done and not first_s:
                    first_s, first = time.perf_counter(), done
                await asyncio.sleep(LOOK_S)
        return (records - first) / (time.perf_counter() - first_s)


@contextlib.asynccontextmanager
async def influx(run: Settings) -> AsyncIterator[Bucket]:
    """A fresh bucket, deleted at the end."""
    token = run.token
    if token is None or not run.history_url:
        raise TwinError("no address of an InfluxDB, or no token for it")
    there = parse_address(run.history_url)
    address = InfluxAddress(there.url, there.org, run.topic_prefix)
    headers = {"Authorization": f"Token {token.get_secret_value()}"}
    async with aiohttp.ClientSession(headers=headers, raise_for_status=True) as session:
        async with session.get(f"{there.url}/api/v2/orgs", params={"org": there.org}) as answer:
            org_id = (await answer.json())["orgs"][0]["id"]
        body = {"orgID": org_id, "name": address.bucket, "retentionRules": []}
        async with session.post(f"{there.url}/api/v2/buckets", json=body) as answer:
            bucket_id = (await answer.json())["id"]
        try:
            yield Bucket(session, address)
        finally:
            await session.delete(f"{there.url}/api/v2/buckets/{bucket_id}")
            await _drop_made_by_sink(session, there.url, address.bucket)


async def _drop_made_by_sink(session: aiohttp.ClientSession, url: str, bucket: str) -> None:
    coarse = f"{bucket}_5m"
    for kind, name in (("tasks", f"twin: {bucket} to {coarse}"), ("buckets", coarse)):
        with contextlib.suppress(aiohttp.ClientResponseError):  # 404: there was no sink in this turn
            async with session.get(f"{url}/api/v2/{kind}", params={"name": name}) as answer:
                for found in (await answer.json())[kind]:
                    await session.delete(f"{url}/api/v2/{kind}/{found['id']}")


async def _limit(bucket: Bucket, load: Load) -> float:
    """Post lines that were made and compressed before, on as many connections as the sink."""
    lines = [line for _, tick in load.chunks(1) for line in to_lines(tick, {})]
    posts = [
        zlib.compress("\n".join(lines[start : start + BATCH_LINES]).encode(), 1, wbits=31)
        for start in range(0, len(lines), BATCH_LINES)
    ]
    target = f"{bucket.address.url}/api/v2/write?precision=ms&org={quote(bucket.address.org)}"
    target += f"&bucket={quote(bucket.address.bucket)}"
    waiting = iter(posts)

    async def connection() -> None:
        for body in waiting:
            headers = {"Content-Encoding": "gzip", "Content-Type": "text/plain"}
            async with bucket.session.post(target, data=body, headers=headers) as answer:
                await answer.read()

    before = await bucket.points()
    rate = asyncio.create_task(bucket.rate(load.records, before))
    await asyncio.gather(*(connection() for _ in range(CONNECTIONS)))
    return await rate


async def _sink(run: Settings, bucket: Bucket, load: Load) -> tuple[float, float]:
    """[1/s] and [s of CPU] of `twin sink`."""
    topic, encode = topics_of(run)["tick"], load_codec("tick").encode
    async with producer_of(run) as producer:
        for partition, tick in load.chunks(run.partitions):
            await producer.send(topic, encode(tick), partition=partition)
    address = bucket.address
    url = f"influxdb+{address.url}/{quote(address.org, safe='')}/{quote(address.bucket, safe='')}"
    command = [sys.executable, "-m", "streams", "sink"]
    return await _measure(command, {**environment(run), "TWIN_HISTORY_URL": url}, bucket, load)


async def _telegraf(run: Settings, bucket: Bucket, load: Load) -> tuple[float, float]:
    """[1/s] and [s of CPU] of Telegraf with the best tuning found."""
    async with producer_of(run) as producer:
        await fill_records(run, producer, load.chunks(run.partitions))
    async with telegraf(run, bucket.address, load.names) as (command, env):
        return await _measure(command, env, bucket, load)


async def _measure(
    command: list[str], env: dict[str, str], bucket: Bucket, load: Load
) -> tuple[float, float]:
    before = await bucket.points()
    child = await asyncio.create_subprocess_exec(*command, env=env)
    ended = asyncio.create_task(child.wait())
    try:
        rate = asyncio.create_task(bucket.rate(load.records, before))
        await asyncio.wait({rate, ended}, return_when=asyncio.FIRST_COMPLETED)
        if not rate.done():
            rate.cancel()
            raise TwinError(f"{command[0]} ended with {child.returncode} before all was written")
        return await rate, _cpu_s(child.pid)
    finally:
        if child.returncode is None:
            child.send_signal(signal.SIGTERM)
        await ended


def _cpu_s(pid: int) -> float:
    import psutil  # its import is not free, and `twin bench` runs much else

    times = psutil.Process(pid).cpu_times()
    return float(times.user + times.system)
