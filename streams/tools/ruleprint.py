"""How `twin rules` prints packs, findings and samples."""

import time
from typing import Any

import click
from rich.console import Console
from rich.table import Table

from streams.domain.catalogue import FORMS, Catalogue
from streams.domain.harmonize import Harmonized
from streams.domain.lint import Finding
from streams.domain.rules import RulePack
from streams.records import Observation
from streams.rulebook import RuleBook
from streams.tools.rulesource import Taken

SHOWN = 20
"""[1] Findings of one sort that are listed; more with --all."""

FORM_NAMES = {number: name for name, number in FORMS.items()}


def print_head(taken: Taken, result: Harmonized) -> None:
    """Say what was looked at, and how much it gives."""
    samples = sum(len(observation["values"]) for _, observation in result.observations)
    entities = sum(len(observation["ids"]) for _, observation in result.observations)
    click.secho(
        f"{taken.target}: {taken.kind}, pack {taken.pack.name}: "
        f"{len(taken.series)} series give {samples} samples of {entities} entities",
        bold=True,
    )
    for note in taken.notes:
        click.echo(f"  {note}")


def print_findings(findings: list[Finding], everything: bool) -> None:
    """List findings, faults first."""
    groups: dict[tuple[bool, str], list[str]] = {}
    for finding in findings:
        groups.setdefault((finding.fault, finding.what), []).append(finding.text)
    for (fault, what), texts in sorted(groups.items(), key=lambda group: not group[0][0]):
        shown = texts if everything or fault else texts[:SHOWN]
        for text in shown:
            click.echo(f"  {click.style(f'fault, {what}', fg='red') if fault else what}: {text}")
        if len(shown) < len(texts):
            click.echo(f"  {what}: {len(texts) - len(shown)} more (--all lists them)")


def _samples(observation: Observation) -> list[tuple[str, str, str, int, float, int]]:
    rows = []
    start = 0
    for kind, id, size in zip(observation["kinds"], observation["ids"], observation["sizes"], strict=True):
        for place in range(start, start + size):
            metric = observation["metrics"][place]
            rows.append(
                (
                    kind,
                    id,
                    observation["names"][metric],
                    observation["forms"][metric],
                    observation["values"][place],
                    observation["times_ms"][place],
                )
            )
        start += size
    return rows


def print_samples(result: Harmonized, catalogue: Catalogue) -> None:
    """Print the samples of all observations."""
    table = _table("kind", "id", "metric", "value", "unit", "form", "sampled")
    for _, observation in result.observations:
        for kind, id, name, form, value, time_ms in _samples(observation):
            unit = catalogue[name].unit
            shown = f"{unit}·s" if FORM_NAMES[form] == "counter" else unit
            sampled = time.strftime("%H:%M:%S", time.gmtime(time_ms / 1000))
            table.add_row(kind, id, name, f"{value:.6g}", shown, FORM_NAMES[form], sampled)
    _print(table)


def print_attributes(result: Harmonized) -> None:
    """Print the attributes of the entities that have any."""
    table = _table("kind", "id", "attributes")
    for _, observation in result.observations:
        for kind, id, attributes in zip(
            observation["kinds"], observation["ids"], observation["attributes"], strict=True
        ):
            if any(attributes.values()):
                table.add_row(
                    kind, id, "  ".join(f"{name}={value}" for name, value in attributes.items() if value)
                )
    if table.row_count:
        _print(table)


def print_packs(book: RuleBook) -> None:
    """Print what packs there are."""
    table = _table("pack", "priority", "metrics", "kinds", "queries", "what")
    for name, pack in sorted(book.packs.items()):
        metrics = {rule.metric for rule in pack.rules}
        entities = [rule.entity for rule in pack.rules] + [rule.entity for rule in pack.attributes]
        kinds = dict.fromkeys(entity.kind for entity in entities)
        table.add_row(
            name, str(pack.priority), str(len(metrics)), ", ".join(kinds), str(len(pack.queries)), pack.help
        )
    _print(table)


def print_rules(pack: RulePack, book: RuleBook) -> None:
    """Print the rules and queries of a pack."""
    click.secho(f"{pack.name}: {pack.help}", bold=True)
    table = _table("kind", "metric", "unit", "form", "from", "where")
    for rule in pack.rules:
        table.add_row(
            rule.entity.kind,
            rule.metric,
            book.catalogue[rule.metric].unit,
            FORM_NAMES[rule.form],
            rule.formula.text if rule.formula else rule.inputs[0].selector.text,
            rule.place,
        )
    _print(table)
    for query in pack.queries:
        click.echo(f"query {query.name}: {query.promql}")


def print_catalogue(catalogue: Catalogue) -> None:
    """Print all metrics."""
    table = _table("metric", "unit", "kind", "range", "InfluxDB", "DECICE v2", "what")
    for metric in catalogue.values():
        low = "" if metric.minimum is None else f"{metric.minimum:g}"
        high = "" if metric.maximum is None else f"{metric.maximum:g}"
        influx = f"{metric.measurement}.{metric.field}"
        table.add_row(
            metric.name, metric.unit, metric.kind, f"{low}..{high}", influx, metric.decice, metric.help
        )
    _print(table)


def _table(*columns: str) -> Table:
    table = Table(box=None, header_style="bold", pad_edge=False)
    for column in columns:
        table.add_column(
            column, justify="right" if column in ("value", "priority") else "left", overflow="fold"
        )
    return table


def _print(table: Any) -> None:
    console = Console()
    # A pipe has no width of its own, and programs want whole lines.
    console.print(table) if console.is_terminal else Console(width=240).print(table)
