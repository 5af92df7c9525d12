"""Which series of a scrape, by which rule and with which conversion, gave a sample."""

from dataclasses import dataclass

from streams.domain.catalogue import COUNTER, Catalogue
from streams.domain.matching import Matches, match
from streams.domain.planning import compile_plan
from streams.domain.refusals import refused_samples
from streams.domain.rules import Rule, RulePack
from streams.domain.units import counter_unit
from streams.records import Scrape


@dataclass(frozen=True)
class RawSeries:
    """A series as it was scraped.

    Args:
        input: name of it in the rule's formula; empty when the rule has none.
        aggregate: how it is put together with the others of its input; empty when there is only one.
        time_ms: [ms since the epoch] of its sample.
    """

    text: str
    value: float
    time_ms: int
    input: str = ""
    aggregate: str = ""


@dataclass(frozen=True)
class Mapped:
    """How a sample came to be.

    Args:
        place: file:line of the rule.
        raw: what the series gave, before its unit was converted.
        value: after that, and after it was limited: the sample [to_unit].
        from_unit: unit of `raw`; the same as `to_unit` when nothing is converted.
    """

    pack: str
    place: str
    series: tuple[RawSeries, ...]
    formula: str
    raw: float
    value: float
    from_unit: str
    to_unit: str
    scale: float
    offset: float


def map_sample(
    scrape: Scrape, pack: RulePack, catalogue: Catalogue, entity: tuple[str, str], metric: str
) -> Mapped | None:
    """How today's rules get a metric of an entity from a scrape; None when they do not."""
    own = {"__source__": scrape["source"], "__target__": scrape["target"]}
    matches = match(pack, scrape["series"], own)
    found = matches.samples.get(entity, {}).get(metric)
    if found is None:
        return None
    rule, slots = found
    only = Matches(samples={entity: {metric: found}}, labels=matches.labels)
    plan = compile_plan(len(scrape["series"]), only, catalogue, 1)
    # The plan of a rule that converts nothing says what there was to convert.
    scaled, plan.scaled = plan.scaled, []
    raw = plan.values(scrape["values"])[0]
    plan.scaled = scaled
    values = plan.values(scrape["values"])
    refused_samples(plan, values, scrape["series"], scrape["values"])
    unit = catalogue[metric].unit
    unit = counter_unit(unit) if rule.form == COUNTER else unit
    return Mapped(
        pack=pack.name,
        place=rule.place,
        series=tuple(_series(scrape, rule, slots)),
        formula=rule.formula.text if rule.formula else "",
        raw=raw,
        value=values[0],
        from_unit=rule.from_unit or unit,
        to_unit=unit,
        scale=rule.scale,
        offset=rule.offset,
    )


def _series(scrape: Scrape, rule: Rule, slots: list[list[int]]) -> list[RawSeries]:
    names = rule.formula.names if rule.formula else ("",)
    times = scrape["times_ms"] or [scrape["scraped_at_ms"]] * len(scrape["series"])
    return [
        RawSeries(
            scrape["series"][place],
            scrape["values"][place],
            times[place],
            name,
            (source.aggregate + (f"({source.label})" if source.label else "")) if len(slot) > 1 else "",
        )
        for name, source, slot in zip(names, rule.inputs, slots, strict=True)
        for place in slot
    ]
