"""What a pack makes of a scrape: series that it does not know, does not take, or takes in a wrong unit."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from difflib import get_close_matches

from streams.domain.catalogue import COUNTER, Catalogue
from streams.domain.matching import match
from streams.domain.rules import Rule, RulePack, parse_series
from streams.domain.units import UNITS, conversion, counter_unit, suffix_unit
from streams.errors import InvalidMessageError, InvalidRuleError

SIMILAR = 0.88
"""[1] Likeness from which on two names are taken for one with a typing error or of another version."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing to know about a scrape; only faults have to be mended."""

    fault: bool
    what: str
    text: str


def lint(pack: RulePack, catalogue: Catalogue, series: Sequence[str]) -> list[Finding]:
    """Everything that is to be said of the series of a scrape; their values are not looked at."""
    names = Counter(_names(series))
    found = match(pack, series, {"__source__": pack.name, "__target__": "lint"})
    findings = [Finding(True, reason, text) for reason, text in dict.fromkeys(found.rejected)]
    for name in names:
        findings += _unit_clashes(pack, catalogue, name)
    for name, count in sorted(found.unmapped.items()):
        if pack.wants(name):
            text = f"{name}: {count} of {names[name]} series are taken by no rule: their labels differ"
            findings.append(Finding(False, "unmapped series", text))
    given = {metric for metrics in found.samples.values() for metric in metrics}
    for metric in dict.fromkeys(rule.metric for rule in pack.rules):
        if metric not in given:
            wanted = " or ".join(_wanted(rule) for rule in pack.rules if rule.metric == metric)
            findings.append(Finding(False, "not given", f"{metric}: would need {wanted}"))
    return findings + _unknown(pack, names)


def _names(series: Sequence[str]) -> Iterator[str]:
    for text in series:
        try:
            yield parse_series(text)[0]
        except InvalidMessageError:
            continue  # `match` reports it


def _wanted(rule: Rule) -> str:
    return " and ".join(source.selector.text for source in rule.inputs)


def _unknown(pack: RulePack, names: Counter[str]) -> list[Finding]:
    """Metrics that the pack has no rule for; those that may be meant for one of its metrics come first."""
    known = {source.selector.name for rule in pack.rules for source in rule.inputs} - {""}
    missing = known - names.keys()
    similar: list[Finding] = []
    others: list[Finding] = []
    for name, count in sorted(names.items()):
        if pack.wants(name):
            continue
        near = get_close_matches(name, missing, 1, SIMILAR)
        hint = f"; the pack has {near[0]!r}, which is not in this scrape" if near else ""
        (similar if near else others).append(
            Finding(False, "unknown metric", f"{name}: {count} series{hint}")
        )
    return similar + others


def _unit_clashes(pack: RulePack, catalogue: Catalogue, name: str) -> Iterator[Finding]:
    says = suffix_unit(name)
    if says is None:
        return
    for place, number in pack.uses(name):
        rule = pack.rules[place]
        if number < 0 or rule.formula or rule.scale == 0.0 or "count" in rule.inputs[number].aggregate:
            continue
        unit = catalogue[rule.metric].unit
        takes = rule.from_unit or (counter_unit(unit) if rule.form == COUNTER else unit)
        if _is_clash(says, takes, explicit=bool(rule.from_unit)):
            yield Finding(
                True,
                "unit",
                f"{name}: its name says {says}, rule {rule.place} takes it as {takes} for {rule.metric}; "
                f"if the name is right, say from_unit: {says}",
            )


def _is_clash(says: str, takes: str, *, explicit: bool) -> bool:
    if says == takes:
        return False
    if explicit and UNITS[says][0] != UNITS[takes][0]:
        return False  # the rule's author saw that the name is wrong
    try:
        return conversion(says, takes) != (1.0, 0.0)
    except InvalidRuleError:
        return True
