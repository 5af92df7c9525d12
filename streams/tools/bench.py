"""`twin bench`: measure this machine, print a table, write docs/figures.md and its JSON."""

import asyncio
import importlib
import json
import os
import platform
import subprocess
import time
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.table import Table

from streams.bench import domain
from streams.bench.down import dead_target
from streams.bench.freshness import freshness, restart
from streams.bench.throughput import throughput
from streams.errors import TwinError
from streams.rulebook import load_rulebook
from streams.settings import Settings

PARTS = (
    *("domain", "scale", "worker", "freshness", "restart", "down", "sink"),
    *("overlay", "events", "decice", "vte", "replay", "backfill", "history", "pages", "stream", "web"),
)
"""Measurements, in the order in which they run."""

ALONE = ("domain", "scale", "overlay", "vte")
"""Those that need no Kafka."""

MEASURES = {
    "sink": "streams.bench.sink:bench_sink",
    "overlay": "streams.bench.overlay:overlay_cost",
    "events": "streams.bench.worlds:event_latency",
    "decice": "streams.bench.decice:model_core",
    "replay": "streams.bench.replay:replay_speed",
    "backfill": "streams.bench.backfill:bench_backfill",
    "history": "streams.bench.history:history_reads",
    "pages": "streams.bench.pages:table_page",
    "stream": "streams.bench.stream:stream_delivery",
    "web": "streams.bench.web:whole_state",
}
"""Measurements that bring their rows with them; each is imported when it runs."""

FRESH_UPDATES_PER_S = 1_000.0
"""[1/s] Half of what one worker on two cores takes of scrapes of ten nodes, harmonising included."""

Row = tuple[str, str, str, bool]
"""What was measured, the figure to reach, the figure reached, and whether it was reached."""


@click.command()
@click.option(
    "--only", multiple=True, type=click.Choice(PARTS), help="Measure only this; may be given often."
)
@click.option("--freshness-seconds", default=60.0, show_default=True, help="[s] Length of the freshness run.")
@click.option("--write/--no-write", default=True, help="Write docs/figures.md and docs/figures.json.")
@click.pass_obj
def bench(settings: Settings, only: tuple[str, ...], freshness_seconds: float, write: bool) -> None:
    """Measure this machine: the domain alone always, the rest with the Kafka of the settings."""
    wanted = [part for part in PARTS if not only or part in only]
    if not settings.kafka_bootstrap_servers:
        wanted = [part for part in wanted if part in ALONE]
        click.echo("TWIN_KAFKA_BOOTSTRAP_SERVERS is not set: only the domain is measured", err=True)
    results: dict[str, Any] = {}
    for part in wanted:
        click.echo(f"measuring {part} …", err=True)
        results[part] = _measure(part, settings, freshness_seconds)
        click.echo(json.dumps(results[part]), err=True)
    rows = [row for part in wanted for row in _rows(part, results[part])]
    _print(rows)
    if write:
        _write(results)


def _measure(part: str, settings: Settings, freshness_seconds: float) -> Any:
    if part == "domain":
        runs = [domain.samples_per_second(load_rulebook()) for _ in range(3)]
        return {**max(runs, key=lambda run: float(run["samples_per_s"])), "runs": runs}
    if part == "scale":
        small, large = domain.cost_per_update(1_000), domain.cost_per_update(100_000)
        return {
            "small": small,
            "large": large,
            "ratio": large["us_per_update"] / small["us_per_update"],
            "restore_index_us": domain.restore_index(20_000),
        }
    if part == "worker":
        return {
            "hundred": asyncio.run(throughput(settings, per_message=100, turns=120)),
            "one": asyncio.run(throughput(settings, per_message=1, turns=20)),
        }
    if part == "freshness":
        return asyncio.run(freshness(settings, FRESH_UPDATES_PER_S, freshness_seconds))
    if part == "restart":
        return [asyncio.run(restart(settings, entities)) for entities in (10_000, 100_000)]
    if part == "down":
        return asyncio.run(dead_target(settings))
    return _measure_rows(part, settings)


def _measure_rows(part: str, settings: Settings) -> Any:
    """Measurements that bring their rows with them."""
    if part == "vte":
        return _vte()
    module, _, name = MEASURES[part].partition(":")
    measure = getattr(importlib.import_module(module), name)
    return measure() if part in ALONE else asyncio.run(measure(settings))


def _vte() -> dict[str, Any]:
    from streams.bench.vte import env_steps_per_s

    found = env_steps_per_s()
    what = f"TwinEnv steps/s, {found['nodes']} nodes, {found['metrics']} metrics, one core"
    rates = (("all nodes change", "all", 200), ("a tenth changes", "tenth", 1_000))
    rows = [
        (f"{what}: {text}", f"≥ {least:,}", f"{rate:,.0f}", rate >= least)
        for text, name, least in rates
        for rate in [found[f"{name}_steps_per_s"]]
    ]
    return {**found, "rows": rows}


def _rows(part: str, found: Any) -> list[Row]:
    if part == "domain":
        rate = found["samples_per_s"]
        return [("domain alone, samples/s on one core", "≥ 250,000", f"{rate:,.0f}", rate >= 250_000)]
    if part == "scale":
        memory = found["large"]["bytes_per_entity"] / 1024
        return [
            (
                "cost per update, 100 k ÷ 1 k entities",
                "≤ 1.5",
                f"{found['ratio']:.2f}",
                found["ratio"] <= 1.5,
            ),
            ("memory of an entity, 12 metrics, KiB", "≤ 8", f"{memory:.1f}", memory <= 8),
        ]
    if part == "worker":
        hundred, one = found["hundred"], found["one"]
        return [
            ("worker ÷ bare loop, 100 entities a message", "≥ 0.9", _ratio(hundred), hundred["ratio"] >= 0.9),
            ("worker ÷ bare loop, 1 entity a message", "≥ 0.5", _ratio(one), one["ratio"] >= 0.5),
            (
                "worker, 1 entity a message, updates/s",
                "≥ 2,500",
                f"{one['worker_updates_per_s']:,.0f}",
                one["worker_updates_per_s"] >= 2_500,
            ),
        ]
    if part == "freshness":
        p99, burst = found["p99_ms"], found["scrape_of_1000_last_state_ms"]
        what = f"freshness p99 at {found['updates_per_s']:,.0f} updates/s for {found['seconds']:.0f} s, ms"
        return [
            (what, "≤ 100", f"{p99:.0f} (p50 {found['p50_ms']:.0f})", p99 <= 100),
            ("one scrape of 1,000 entities, last state, ms", "≤ 1,000", f"{burst:.0f}", burst <= 1_000),
            (
                f"growth of the worker's memory in the last 70 % of {found['seconds']:.0f} s, %",
                "≤ 2",
                f"{found['resident_growth_percent']:.1f}",
                found["resident_growth_percent"] <= 2,
            ),
        ]
    if part == "restart":
        return [
            (
                f"restart to fresh beyond the session time-out, {run['entities']:,} entities, s",
                f"≤ {limit}",
                f"{run['beyond_session_s']:.1f}",
                run["beyond_session_s"] <= limit,
            )
            for run, limit in zip(found, (3, 10), strict=True)
        ]
    if part == "down":
        limit = found["limit_s"]
        return [
            (
                "dead target is down after, s (interval 2 s, time-out 1 s)",
                f"≤ {limit:g}",
                f"{found['seconds']:.1f}",
                found["seconds"] <= limit,
            )
        ]
    return [tuple(row) for row in found["rows"]]


def _ratio(found: dict[str, Any]) -> str:
    return (
        f"{found['ratio']:.2f} ({found['worker_updates_per_s']:,.0f} : {found['bare_updates_per_s']:,.0f}/s)"
    )


def _print(rows: list[Row]) -> None:
    table = Table("figure", "reach", "measured", "")
    for what, reach, measured, good in rows:
        table.add_row(what, reach, measured, "[green]reached[/]" if good else "[red]not reached[/]")
    Console().print(table)


def _write(results: dict[str, Any]) -> None:
    """Put what was measured into docs/figures.json, beside what was before, and make the page of it."""
    folder = Path("docs")
    if not folder.is_dir():
        raise TwinError(
            "there is no folder docs here to write figures.md to: run it in the checkout, or --no-write"
        )
    data = folder / "figures.json"
    parts = json.loads(data.read_text()) if data.exists() else {}
    for part, found in results.items():
        parts[part] = {
            "commit": _commit(),
            "at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
            "machine": f"{os.cpu_count()} cores, {platform.machine()}, Python {platform.python_version()}",
            "found": found,
        }
    data.write_text(json.dumps(parts, indent=1) + "\n")
    lines = [
        "# Figures",
        "",
        "Written by `make bench`; raw values, machine and time of each are in `figures.json`. The machine is"
        " shared and noisy: the ratios, each from one run, say more than the absolute figures.",
        "",
        "| figure | reach | measured | | commit |",
        "|---|---|---|---|---|",
    ]
    for part in (part for part in PARTS if part in parts):
        for what, reach, got, good in _rows(part, parts[part]["found"]):
            lines.append(
                f"| {what} | {reach} | {got} | {'' if good else 'not reached'} | {parts[part]['commit']} |"
            )
    notes = folder / "figures-notes.md"
    page = "\n".join(lines) + "\n" + ("\n" + notes.read_text() if notes.exists() else "")
    (folder / "figures.md").write_text(page)


def _commit() -> str:
    try:
        found = subprocess.run(
            ["git", "rev-parse", "--short", "HEAD"],  # noqa: S607  # whichever git the user has
            capture_output=True,
            text=True,
            check=True,
        )
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return found.stdout.strip()
