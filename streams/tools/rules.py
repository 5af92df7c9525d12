"""`twin rules`: shows the rule packs, and what they make of a scrape."""

import json
import time
from collections.abc import Sequence
from pathlib import Path

import click

from streams.collect.config import load_config
from streams.domain.harmonize import Harmonized, Harmonizer
from streams.domain.lint import Finding, lint
from streams.domain.rules import RulePack
from streams.records import Scrape
from streams.rulebook import RuleBook, load_rulebook
from streams.settings import Settings
from streams.tools.ruleprint import (
    print_attributes,
    print_catalogue,
    print_findings,
    print_head,
    print_packs,
    print_rules,
    print_samples,
)
from streams.tools.rulesource import Access, Taken, take

token_option = click.option(
    "--bearer-token-file", type=click.Path(exists=True, path_type=Path), help="File with a token."
)
ca_option = click.option(
    "--ca-file", type=click.Path(exists=True, path_type=Path), help="CA certificates (PEM)."
)
rules_option = click.option(
    "--rules",
    "extra",
    multiple=True,
    type=click.Path(exists=True, path_type=Path),
    help="More rule files or folders.",
)
pack_option = click.option(
    "--pack", "packs", multiple=True, help="Rule pack; without it the one that fits best."
)


@click.group()
def rules() -> None:
    """Check rule packs and try them on a target."""


@rules.command("show")
@rules_option
@click.argument("pack", required=False)
@click.pass_obj
def show_packs(settings: Settings, pack: str | None, extra: tuple[Path, ...]) -> None:
    """List the packs, or the rules of PACK; `catalogue` lists all metrics."""
    book = _load(settings, extra)
    if pack is None:
        print_packs(book)
    elif pack == "catalogue":
        print_catalogue(book.catalogue)
    else:
        print_rules(_chosen(book, (pack,))[0], book)


@rules.command("lint")
@click.argument("places", nargs=-1, required=True, metavar="FILE|URL...")
@pack_option
@rules_option
@click.option("--all", "everything", is_flag=True, help="List everything, however much it is.")
@token_option
@ca_option
@click.pass_obj
def lint_scrapes(
    settings: Settings,
    places: tuple[str, ...],
    packs: tuple[str, ...],
    extra: tuple[Path, ...],
    everything: bool,
    bearer_token_file: Path | None,
    ca_file: Path | None,
) -> None:
    """Say what a pack does not know, does not take or takes wrongly of a scrape.

    FILE is an exposition, an answer of a Prometheus server, or a JSON document. Exit code 1 when there is a
    fault: a unit clash, an entity without a name, a value that is refused. The rest is for your information.
    """
    book = _load(settings, extra)
    names = [pack.name for pack in _chosen(book, packs)]
    access = Access(bearer_token_file=bearer_token_file, ca_file=ca_file)
    faults = 0
    for place in places:
        for taken in take(place, book.packs, names, access):
            result = _harmonize(taken, book)
            findings = lint(taken.pack, book.catalogue, taken.series)
            known = {finding.text for finding in findings}
            findings += [Finding(True, r.reason, r.error) for r in result.rejected if r.error not in known]
            print_head(taken, result)
            print_findings(findings, everything)
            faults += sum(finding.fault for finding in findings)
    if faults:
        raise SystemExit(1)


@rules.command("dry-run")
@click.option(
    "--target", required=True, help="URL of an exporter, a Prometheus server or a JSON API; or a file."
)
@pack_option
@rules_option
@click.option("--json", "as_json", is_flag=True, help="Print the observations as JSON.")
@token_option
@ca_option
@click.pass_obj
def dry_run(
    settings: Settings,
    target: str,
    packs: tuple[str, ...],
    extra: tuple[Path, ...],
    as_json: bool,
    bearer_token_file: Path | None,
    ca_file: Path | None,
) -> None:
    """Print what a live target would give; nothing is sent to Kafka.

    Whether TARGET is an exporter, a Prometheus server or a JSON API is found out by asking it.
    """
    book = _load(settings, extra)
    names = [pack.name for pack in _chosen(book, packs)]
    access = Access(bearer_token_file=bearer_token_file, ca_file=ca_file)
    found = take(target, book.packs, names, access)
    if not found:
        raise click.ClickException(f"{target} answers, but has nothing that a rule pack maps")
    for taken in found:
        result = _harmonize(taken, book)
        if as_json:
            click.echo(
                json.dumps([observation for _, observation in result.observations], ensure_ascii=False)
            )
            continue
        print_head(taken, result)
        print_samples(result, book.catalogue)
        print_attributes(result)
        for rejection in result.rejected:
            click.echo(f"rejected ({rejection.reason}): {rejection.error}", err=True)


def _load(settings: Settings, extra: Sequence[Path]) -> RuleBook:
    return load_rulebook([*load_config(settings.config).rule_packs, *extra])


def _chosen(book: RuleBook, names: Sequence[str]) -> list[RulePack]:
    for name in names:
        if name not in book.packs:
            raise click.UsageError(f"unknown rule pack {name!r}; there are {', '.join(sorted(book.packs))}")
    return [book.packs[name] for name in names]


def _harmonize(taken: Taken, book: RuleBook) -> Harmonized:
    """What the worker would make of it; all in one partition."""
    now_ms = int(time.time() * 1000)
    wanted = [place for place, text in enumerate(taken.series) if taken.pack.wants(text.partition("{")[0])]
    scrape = Scrape(
        source=taken.pack.name,
        target=taken.target,
        pack=taken.pack.name,
        interval_ms=0,
        scraped_at_ms=now_ms,
        ok=True,
        error="",
        simulated=False,
        series=[taken.series[place] for place in wanted],
        values=[taken.values[place] for place in wanted],
        times_ms=[taken.times_ms[place] or now_ms for place in wanted],
        dropped={},
    )
    harmonizer = Harmonizer(book.packs, book.catalogue, 1)
    return harmonizer.harmonize(scrape, partition=0, offset=0, at_ms=now_ms)
