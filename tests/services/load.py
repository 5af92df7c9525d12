"""A repeatable load of many entities with all that goes wrong in the field, as observations or as scrapes."""

import asyncio
import random
import time
from collections.abc import Iterator
from dataclasses import dataclass, field

from streams.domain.entity import COUNTER, GAUGE, STATE
from streams.domain.keys import entity_key, partition_of
from streams.records import Observation, Scrape
from streams.schemas import load_codec
from streams.settings import Settings
from streams.topics import topics_of
from tests.services.topiclog import producer, send

CHUNK = 25
"""[1] Entities of one target."""

ALPHA = ("load1", "temperature_celsius", "power_watts", "network_receive_bytes_per_s")
ALPHA_FORMS = (GAUGE, GAUGE, STATE, COUNTER)
BETA = ("load1", "up")
BETA_FORMS = (GAUGE, STATE)


@dataclass
class Fleet:
    """Nodes `n0`, `n1`, … that are scraped as source `alpha` each round and as `beta` each fourth.

    Args:
        seed: the same one gives the same faults, at other times.
        chunk: entities of one target.
        interval_ms: between rounds; about `entities · 1000 / interval_ms` updates a second.
    """

    settings: Settings
    entities: int
    interval_ms: int
    seed: int
    chunk: int = CHUNK
    sent_samples: int = 0
    """Samples of all observations, those that are sent twice counted once."""
    _offset: int = 0
    _sent: list[tuple[int, Observation]] = field(default_factory=list)
    _counters: dict[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._random = random.Random(self.seed)
        homes: dict[int, list[str]] = {}
        for number in range(self.entities):
            name = f"n{number}"
            homes.setdefault(
                partition_of(entity_key("live", "node", name), self.settings.partitions), []
            ).append(name)
        self._chunks = [
            (home, f"http://{home}-{start}", names[start : start + self.chunk])
            for home, names in sorted(homes.items())
            for start in range(0, len(names), self.chunk)
        ]

    def round(self, number: int, now_ms: int) -> Iterator[tuple[int, Observation]]:
        """Observations of one round, with the partition to send each to."""
        for home, target, names in self._chunks:
            for source in ("alpha", "beta") if number % 4 == 0 else ("alpha",):
                yield from self._scrape(number, now_ms, home, source, target, names)

    def _scrape(
        self, number: int, now_ms: int, home: int, source: str, target: str, names: list[str]
    ) -> Iterator[tuple[int, Observation]]:
        chance = self._random.random()
        if chance < 0.03:
            return  # nobody answered, and nobody noticed
        self._offset += 1
        if chance < 0.06:
            failure = self._observation("failure", now_ms, source, target)
            failure["reason"] = "timeout"
            yield home, failure
            return
        if chance < 0.11 and self._sent:
            again_at, again = self._random.choice(self._sent[-100:])
            yield again_at, Observation(**{**again, "at_ms": now_ms})  # type: ignore[typeddict-item]
        observation = self._observation("values", now_ms, source, target)
        if chance < 0.16 and self._sent and self._sent[-1][0] == home:
            self._repeat(observation)
            yield home, observation
            return
        time_ms = now_ms - self._random.randrange(200)
        if chance > 0.96:
            time_ms -= 3_000  # an exporter that serves old samples
        present = [name for name in names if not self._is_away(name, number)]
        self._fill(observation, source, present, time_ms)
        self.sent_samples += len(observation["values"])
        self._sent.append((home, observation))
        del self._sent[:-200]
        yield home, observation

    def _repeat(self, observation: Observation) -> None:
        """What the last one said once more, in a scrape of its own, with some other values."""
        last = self._sent[-1][1]
        for name in ("source", "priority", "target", "interval_ms", "kinds", "ids", "sizes", "attributes"):
            observation[name] = last[name]  # type: ignore[literal-required]
        for name in ("names", "forms", "metrics", "times_ms"):
            observation[name] = last[name]  # type: ignore[literal-required]
        observation["values"] = [
            value if self._random.random() < 0.8 else value + 1.0 for value in last["values"]
        ]
        self.sent_samples += len(observation["values"])

    def _is_away(self, name: str, number: int) -> bool:
        """Each tenth entity disappears for a third of the time, the others stay."""
        own = int(name[1:])
        return own % 10 == 0 and (number * self.interval_ms // 1000 + own) % 36 < 14

    def _fill(self, observation: Observation, source: str, names: list[str], time_ms: int) -> None:
        metrics, forms = (ALPHA, ALPHA_FORMS) if source == "alpha" else (BETA, BETA_FORMS)
        observation["names"], observation["forms"] = list(metrics), list(forms)
        for name in names:
            news: dict[str, str] = {}
            if self._random.random() < 0.02:
                news["nodepool"] = self._random.choice(("", "a", "b"))
            count = self._random.choice((0, len(metrics), len(metrics), len(metrics), len(metrics) - 1))
            observation["kinds"].append("node")
            observation["ids"].append(name)
            observation["attributes"].append(news)
            observation["sizes"].append(count)
            for metric in range(count):
                observation["metrics"].append(metric)
                observation["values"].append(self._value(name, metrics[metric]))
                observation["times_ms"].append(time_ms - self._random.choice((0, 0, 0, 0, 50, 700)))

    def _value(self, name: str, metric: str) -> float:
        if metric == "up":
            return float(self._random.random() > 0.05)
        if metric.endswith("_per_s"):
            before = self._counters.get(name, 0.0)
            is_reset = self._random.random() < 0.01
            self._counters[name] = 0.0 if is_reset else before + self._random.random() * 1e6
            return self._counters[name]
        if self._random.random() < 0.01:
            return float("nan")
        return self._random.gauss(50.0, 20.0)

    def _observation(self, type: str, now_ms: int, source: str, target: str) -> Observation:
        return Observation(
            type=type,
            at_ms=now_ms,
            world="live",
            source=source,
            priority=10 if source == "alpha" else 20,
            target=target,
            interval_ms=self.interval_ms * (1 if source == "alpha" else 4),
            scraped_at_ms=now_ms - 5,
            simulated=False,
            origin_topic="scrape",
            origin_partition=self._offset % 3,
            origin_offset=self._offset,
            reason="",
            kinds=[],
            ids=[],
            sizes=[],
            attributes=[],
            names=[],
            forms=[],
            metrics=[],
            values=[],
            times_ms=[],
            event_id="",
            body="",
        )


async def send_observations(fleet: Fleet, stop: asyncio.Event, most_s: float) -> dict[int, int]:
    """Send rounds at the fleet's pace until told to stop; return the offset after the last by partition."""
    topic = topics_of(fleet.settings)["observation"]
    encode = load_codec("observation").encode
    ends: dict[int, int] = {}
    async with producer(fleet.settings) as sender:
        answers = []
        async for number in _rounds(fleet.interval_ms, stop, most_s):
            for home, observation in fleet.round(number, int(time.time() * 1000)):
                answers.append(await sender.send(topic, encode(observation), partition=home))
        for answer in answers:
            sent = await answer
            ends[sent.partition] = max(ends.get(sent.partition, 0), sent.offset + 1)
    return ends


async def send_backlog(fleet: Fleet, rounds: int) -> dict[int, int]:
    """Send rounds at once, as if nobody had read them when they came; return the ends."""
    now_ms = int(time.time() * 1000) - rounds * fleet.interval_ms
    encode = load_codec("observation").encode
    messages = [
        (home, None, encode(observation))
        for number in range(rounds)
        for home, observation in fleet.round(number, now_ms + number * fleet.interval_ms)
    ]
    ends: dict[int, int] = {}
    for partition, offset in await send(fleet.settings, "observation", messages):
        ends[partition] = max(ends.get(partition, 0), offset + 1)
    return ends


async def send_scrapes(
    settings: Settings, targets: int, per_target: int, interval_ms: int, stop: asyncio.Event, most_s: float
) -> tuple[int, dict[int, int]]:
    """Send scrapes of targets with many nodes each, by pack node_exporter, at their pace.

    Returns:
        Samples that they give, and the offset after the last scrape by partition.
    """
    topic = topics_of(settings)["scrape"]
    encode = load_codec("scrape").encode
    ends: dict[int, int] = {}
    samples = 0
    async with producer(settings) as sender:
        answers = []
        async for number in _rounds(interval_ms, stop, most_s):
            for target in range(targets):
                scrape = scrape_of(target, per_target, number, interval_ms, int(time.time() * 1000))
                samples += SAMPLES_OF_A_NODE * per_target if scrape["ok"] else 0
                answers.append(
                    await sender.send(topic, encode(scrape), partition=target % settings.partitions)
                )
            await asyncio.sleep(0)
        for answer in answers:
            sent = await answer
            ends[sent.partition] = max(ends.get(sent.partition, 0), sent.offset + 1)
    return samples, ends


SAMPLES_OF_A_NODE = 6
"""[1] Samples that `scrape_of` gives for each node: load1, load5, three of memory, received bytes."""


def scrape_of(target: int, nodes: int, number: int, interval_ms: int, now_ms: int) -> Scrape:
    """A scrape of a Prometheus server that knows `nodes` nodes; each twentieth fails."""
    ok = (number + target) % 20 != 19
    series: list[str] = []
    values: list[float] = []
    for node in range(nodes if ok else 0):
        labels = f'{{instance="node-{target}-{node}:9100"}}'
        series += [
            f"node_load1{labels}",
            f"node_load5{labels}",
            f"node_memory_MemTotal_bytes{labels}",
            f"node_memory_MemAvailable_bytes{labels}",
            f"node_network_received_bytes{labels}",
        ]
        values += [number % 7 / 7, 0.5, 1e9, 1e9 - number % 9 * 1e7, 1000.0 * number + node]
    return Scrape(
        source="prom",
        target=f"http://prom-{target}",
        pack="node_exporter",
        interval_ms=interval_ms,
        scraped_at_ms=now_ms,
        ok=ok,
        error="" if ok else "timeout",
        simulated=False,
        series=series,
        values=values,
        times_ms=[now_ms - 20] * len(series),
        dropped={},
    )


async def _rounds(interval_ms: int, stop: asyncio.Event, most_s: float):  # type: ignore[no-untyped-def]
    began = time.monotonic()
    number = 0
    while not stop.is_set() and time.monotonic() < began + most_s:
        yield number
        number += 1
        due = began + number * interval_ms / 1000
        if due > time.monotonic():
            await asyncio.sleep(due - time.monotonic())
