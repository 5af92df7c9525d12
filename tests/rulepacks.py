"""Rule books for tests, from a few lines of YAML, and scrapes for them."""

from pathlib import Path
from typing import Any, cast

from streams.domain.harmonize import Harmonized, Harmonizer
from streams.domain.rules import Catalogue, RulePack
from streams.records import Scrape
from streams.rulebook import RuleBook, load_rulebook

NOW_MS = 1_751_552_585_000
"""[ms since the epoch, UTC] When the scrapes of this module are received."""

HEAD = """\
pack: test
priority: 7
group: [node]
entities:
  node: {id: ["{nodename|lower}", "{node}"]}
  nodepool: {id: "{pool}"}
"""
"""Begin of a pack whose nodes are named by a label."""


LAB_RULES = """\
joins:
  - info: names
    on: [[instance], ["pod=name"], []]
    add: {nodename: nodename, model: model}
rules:
  - {metric: load1, series: load}
  - {metric: mem_total_bytes, series: mem_mib, from_unit: MiB}
  - {metric: mem_total_bytes, series: mem_bytes}
  - {metric: mem_usage_percent, formula: 100 * (1 - mem_free / total), inputs: {total: mem_size}}
  - {metric: cpu_usage_percent, series: busy, form: counter, from_unit: s, aggregate: sum_per_distinct(cpu)}
  - {metric: number_of_cores, series: busy, aggregate: count_distinct(cpu)}
  - {metric: temperature_celsius, series: kelvin, from_unit: K, aggregate: max}
  - {metric: network_receive_bytes_per_s, series: received, aggregate: sum}
  - {metric: fan_speed_rpm, series: fan, aggregate: min}
  - {metric: gpu_usage_percent, series: gpu, aggregate: mean, tolerance: 1}
  - {metric: gpu_count, series: gpu, aggregate: count}
  - {metric: load5, series: loads, aggregate: first}
  - {metric: up, series: 'state{state="down"}', value: 0}
  - {metric: up, series: 'state{state!="down"}', value: 1}
  - {metric: load15, series: perhaps, optional: true}
  - {metric: jobs_running, series: jobs, entity: nodepool}
attributes:
  - {series: about, set: {system: "{system|lower}", labels: "{labels|json}"}}
  - {series: extra, set: {extra: "{extra}"}, optional: true}
  - {series: phase, when: 1, set: {phase: "{phase}"}}
"""
"""Rules of each kind, for made-up series."""


def write_pack(folder: Path, rules: str, name: str = "test.yaml") -> Path:
    """A file with a pack: HEAD and what is given."""
    path = folder / name
    path.write_text(HEAD + rules)
    return path


def make_book(folder: Path, rules: str) -> RuleBook:
    """The rule book with one more pack, `test`."""
    return load_rulebook([write_pack(folder, rules)])


def make_scrape(samples: list[tuple[str, float]], **overrides: Any) -> Scrape:
    """A scrape for pack `test`; each keyword overrides one field."""
    scrape: dict[str, Any] = {
        "source": "lab",
        "target": "http://node1:9100/metrics",
        "pack": "test",
        "interval_ms": 5_000,
        "scraped_at_ms": NOW_MS,
        "ok": True,
        "error": "",
        "simulated": False,
        "series": [series for series, _ in samples],
        "values": [value for _, value in samples],
        "times_ms": [],
        "dropped": {},
    }
    scrape.update(overrides)
    return cast(Scrape, scrape)


def run(packs: dict[str, RulePack], catalogue: Catalogue, scrape: Scrape, partitions: int = 1) -> Harmonized:
    """What a fresh harmonizer makes of a scrape."""
    return Harmonizer(packs, catalogue, partitions).harmonize(
        scrape, partition=3, offset=11, at_ms=NOW_MS + 5
    )


def values_of(result: Harmonized) -> dict[tuple[str, str, str], float]:
    """Values by kind, id and metric."""
    return {key: value for key, (value, _) in samples_of(result).items()}


def samples_of(result: Harmonized) -> dict[tuple[str, str, str], tuple[float, int]]:
    """Values and times by kind, id and metric."""
    found = {}
    for _, observation in result.observations:
        place = 0
        for kind, id, size in zip(
            observation["kinds"], observation["ids"], observation["sizes"], strict=True
        ):
            for sample in range(place, place + size):
                name = observation["names"][observation["metrics"][sample]]
                found[kind, id, name] = (observation["values"][sample], observation["times_ms"][sample])
            place += size
    return found


def attributes_of(result: Harmonized) -> dict[tuple[str, str], dict[str, str]]:
    """Attributes by kind and id."""
    return {
        (kind, id): attributes
        for _, observation in result.observations
        for kind, id, attributes in zip(
            observation["kinds"], observation["ids"], observation["attributes"], strict=True
        )
    }
