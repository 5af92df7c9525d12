"""What the collector takes from a real Prometheus and a real node_exporter is what these have."""

import asyncio
import time
from typing import Any

import aiohttp

from streams.collect.exposition import ExpositionSource
from streams.collect.fetch import Fetcher
from streams.collect.prometheus import PrometheusSource
from streams.collect.target import Target
from streams.domain.rules import Query, RulePack, format_series
from streams.domain.template import parse_template
from streams.rulebook import load_rulebook

NAMES = ("node_memory_MemAvailable_bytes", "node_context_switches_total", "process_cpu_seconds_total")
"""They change at each scrape, and the last is of two targets."""


async def stored_samples(url: str, name: str) -> dict[str, dict[int, float]]:
    """Value by time [ms] of each series, as the server has them stored."""
    async with (
        aiohttp.ClientSession() as session,
        session.get(f"{url}/api/v1/query", params={"query": f"{name}[5m]"}) as answer,
    ):
        found = (await answer.json())["data"]["result"]
    stored = {}
    for item in found:
        labels = {label: value for label, value in item["metric"].items() if label != "__name__"}
        stored[format_series(name, labels)] = {round(at * 1000): float(text) for at, text in item["values"]}
    return stored


async def test_each_sample_has_the_time_and_value_that_prometheus_stored(services: dict[str, Any]) -> None:
    url = services["prometheus"]["url"]
    queries = tuple(Query(name, name) for name in NAMES)
    pack = RulePack("test", 50, queries=queries, group=(parse_template("{instance}"),))
    fetcher = Fetcher()
    source = PrometheusSource(Target("prometheus", "test", url, pack, 0.1, 2.0, url=url), fetcher)
    taken: dict[str, dict[int, float]] = {}

    # Many more scrapes than Prometheus does, so that some fall between its scrape and its writing it down.
    deadline_s = time.monotonic() + 8
    while time.monotonic() < deadline_s:
        harvest = await source.collect()
        assert not harvest.failures
        for series, value, time_ms in zip(harvest.series, harvest.values, harvest.times_ms, strict=True):
            taken.setdefault(series, {})[time_ms] = value
        await asyncio.sleep(0.02)
    await fetcher.close()

    stored: dict[str, dict[int, float]] = {}
    for name in NAMES:
        stored |= await stored_samples(url, name)
    assert len(taken) >= 3
    for series, samples in taken.items():
        assert samples.items() <= stored[series].items()
        between = {at for at in stored[series] if min(samples) <= at <= max(samples)}
        assert between == set(samples), "a sample was missed"


async def test_the_exporter_itself_gives_what_prometheus_has_of_it(services: dict[str, Any]) -> None:
    pack = load_rulebook().packs["node_exporter"]
    url = services["node_exporter"]["url"] + "/metrics"
    fetcher = Fetcher()
    target = Target("exposition", "node_exporter", url, pack, 5.0, 2.0, url=url)

    harvest = await ExpositionSource(target, fetcher).collect()
    await fetcher.close()

    taken = dict(zip(harvest.series, harvest.values, strict=True))
    stored = await stored_samples(services["prometheus"]["url"], "node_memory_MemTotal_bytes")
    assert {taken["node_memory_MemTotal_bytes"]} == {
        v for samples in stored.values() for v in samples.values()
    }
    assert harvest.dropped["unmapped"] > 100
    assert all(pack.wants(series.partition("{")[0]) for series in taken)
