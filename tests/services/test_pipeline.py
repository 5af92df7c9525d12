"""The whole path on real parts: what Prometheus says is what the twin and InfluxDB say."""

import asyncio
import math
from bisect import bisect_left
from typing import Any

import aiohttp
import pytest

from streams.domain.view import entity_view
from streams.settings import Settings
from tests.services.conftest import MakeSettings, StartRole
from tests.services.test_sink import Influx
from tests.services.topiclog import newest_states, read_topic

INSTANT = {
    "load1": "node_load1",
    "load15": "node_load15",
    "boot_time_seconds": "node_boot_time_seconds",
    "mem_total_bytes": "node_memory_MemTotal_bytes",
    "mem_available_bytes": "node_memory_MemAvailable_bytes",
    "mem_usage_percent": "100 * (1 - node_memory_MemAvailable_bytes / node_memory_MemTotal_bytes)",
    "number_of_cores": 'count without (cpu, mode) (node_cpu_seconds_total{mode="idle"})',
    "disk_total_bytes": 'max(node_filesystem_size_bytes{mountpoint="/",fstype!="rootfs"})',
    "disk_free_bytes": 'max(node_filesystem_avail_bytes{mountpoint="/",fstype!="rootfs"})',
}
"""What gives the value of a metric at a time, in Prometheus' own language."""

SAMPLED = {"load1": "node_load1", "mem_available_bytes": "node_memory_MemAvailable_bytes"}
"""Metrics whose ticks are computed here once more, from the samples that Prometheus stored."""

CPU_SECONDS = 'sum without (cpu, mode) (rate(node_cpu_seconds_total{mode!="idle"}[%ds]))'
"""Processors that are busy, as a rate over a window."""

TICKS = 20
"""[1] Closed ticks that are compared: enough for a rate over a window."""

STEP_MS = 1_000
"""[ms] As long as Prometheus' own interval here, so that a tick lies between two samples of its."""


class Prometheus:
    """Questions to a Prometheus server."""

    def __init__(self, url: str) -> None:
        self._url = url

    async def ask(self, query: str, at_ms: int | None = None) -> list[dict[str, Any]]:
        """The answer to an instant query."""
        parameters = {"query": query} | ({"time": f"{at_ms / 1000:.3f}"} if at_ms else {})
        async with (
            aiohttp.ClientSession() as session,
            session.get(f"{self._url}/api/v1/query", params=parameters) as answer,
        ):
            result: list[dict[str, Any]] = (await answer.json())["data"]["result"]
            return result

    async def value(self, query: str, at_ms: int) -> float:
        """The one value of an expression at a time."""
        (found,) = await self.ask(query, at_ms)
        return float(found["value"][1])

    async def samples(self, series: str) -> list[tuple[int, float]]:
        """What is stored of a series: time [ms] and value."""
        (found,) = await self.ask(f"{series}[3m]")
        return [(round(at * 1000), float(value)) for at, value in found["values"]]


@pytest.fixture
def prometheus(services: dict[str, Any]) -> Prometheus:
    return Prometheus(services["prometheus"]["url"])


async def test_states_and_points_are_what_prometheus_answers(
    make_settings: MakeSettings,
    influx: dict[str, Any],
    role: StartRole,
    services: dict[str, Any],
    prometheus: Prometheus,
) -> None:
    settings = await make_settings(
        **influx,
        prometheus_urls=services["prometheus"]["url"],
        scrape_interval_s=STEP_MS / 1000,
        step_ms=STEP_MS,
    )
    (named,) = await prometheus.ask("node_uname_info")
    node = named["metric"]["nodename"].lower()
    bucket = Influx(settings)

    await asyncio.gather(*(role(name, settings) for name in ("worker", "sink", "collect")))
    try:
        await bucket.has(TICKS, "load1")
        points = await bucket.values()
    finally:
        await asyncio.to_thread(bucket.drop)
    state = await _state(settings, node)

    assert (state["status"], state["attributes"]["system"]) == ("up", "linux")
    for metric, query in INSTANT.items():
        head = state["metrics"][metric]
        answer = await prometheus.value(query, head["observed_at_ms"])
        assert math.isclose(head["value"], answer, rel_tol=1e-12), metric
        assert head["source"] == "node_exporter"
    ticks = sorted(at for id, field, at in points if (id, field) == (node, "load1"))
    assert ticks == list(range(ticks[0], ticks[-1] + STEP_MS, STEP_MS)), "no tick is left out"
    for metric, series in SAMPLED.items():
        _assert_ticks_follow(
            {at: points[node, metric, at] for at in ticks}, await prometheus.samples(series), metric
        )
    await _assert_rate_follows(prometheus, {at: points.get((node, "cpu_usage_percent", at)) for at in ticks})


async def _state(settings: Settings, node: str) -> dict[str, Any]:
    states = newest_states(await read_topic(settings, "state"))
    return entity_view(states[f"live/node/{node}"])


def _assert_ticks_follow(ticks: dict[int, float], samples: list[tuple[int, float]], metric: str) -> None:
    """Each tick lies between the samples around it; nearly all are on the line between their neighbours.

    Not all: a collector that asks each second misses a sample now and then, and draws its line past it.
    """
    times = [at for at, _ in samples]
    exact = 0
    for at, value in ticks.items():
        after = bisect_left(times, at)
        near = [sample for _, sample in samples[max(0, after - 3) : after + 3]]
        assert min(near) * (1 - 1e-12) <= value <= max(near) * (1 + 1e-12), (metric, at)
        (left, before), (right, behind) = samples[after - 1], samples[after]
        exact += math.isclose(value, before + (behind - before) * (at - left) / (right - left), rel_tol=1e-9)
    assert exact >= 0.7 * len(ticks), f"{metric}: {exact} of {len(ticks)} are on the line"


async def _assert_rate_follows(prometheus: Prometheus, ticks: dict[int, float | None]) -> None:
    """The mean of the ticks of a window is the rate that Prometheus computes over it."""
    rates = {at: value for at, value in ticks.items() if value is not None}
    assert len(rates) >= len(ticks) - 3, "the first ones have no sample before them"
    last, window_s = max(rates), len(rates) * STEP_MS // 1000
    busy = await prometheus.value(CPU_SECONDS % window_s, last)
    cores = await prometheus.value(INSTANT["number_of_cores"], last)
    mean = sum(rates.values()) / len(rates)
    assert math.isclose(mean, 100 * busy / cores, rel_tol=0.15, abs_tol=1.0)
