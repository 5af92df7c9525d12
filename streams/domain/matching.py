"""Which series of a scrape feed which metric and attribute of which entity: a pack's rules, matched once."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from streams.domain.rules import AttributeRule, EntityRule, Join, Rule, RulePack, parse_series, same_labels
from streams.domain.template import Template
from streams.errors import InvalidMessageError

Entity = tuple[str, str]
"""Kind and id."""


@dataclass(frozen=True, slots=True)
class Condition:
    """Attributes that an entity has while the series at a place has a value."""

    place: int
    value: float
    entity: Entity
    attributes: dict[str, str]


@dataclass
class Matches:
    """What the rules of a pack find in the series of one scrape.

    Args:
        samples: by entity and metric the rule that gives it, and for each of its inputs the places of its
            series and, if the input is aggregated over one, the values of a label.
        attributes: by entity, those that do not depend on values.
        conditional: attributes of an entity that hold while the series at a place has a value.
        repeats: pairs (place, place of the same series before it).
        rejected: (reason, what) of series that cannot be used whatever their values.
        unmapped: number of series that no rule takes, by name.
    """

    samples: dict[Entity, dict[str, tuple[Rule, list[list[int]]]]] = field(default_factory=dict)
    attributes: dict[Entity, dict[str, str]] = field(default_factory=dict)
    conditional: list[Condition] = field(default_factory=list)
    repeats: list[tuple[int, int]] = field(default_factory=list)
    rejected: list[tuple[str, str]] = field(default_factory=list)
    unmapped: dict[str, int] = field(default_factory=dict)
    labels: list[dict[str, str]] = field(default_factory=list)


def match(pack: RulePack, series: Sequence[str], own: dict[str, str]) -> Matches:
    """Match all rules of a pack with the series of a scrape.

    Args:
        own: labels that every series has, unless it has them itself: `__target__`, `__source__`.
    """
    found = Matches()
    parsed = _parse(series, found)
    infos = [_index(join, parsed) for join in pack.joins]
    inputs: dict[tuple[int, Entity], list[list[int]]] = {}
    origins: dict[Entity, list[tuple[EntityRule, dict[str, str]]]] = {}
    for place, item in enumerate(parsed):
        if item is None:
            found.labels.append({})
            continue
        name, labels = item
        uses = pack.uses(name)
        enriched = _enrich(pack.joins, infos, name, {**own, **labels}) if uses else labels
        found.labels.append(enriched)
        used = any(index.info.takes_name(name) for index in pack.joins)
        for rule_place, number in uses:
            if number < 0:
                used |= _take_attribute(pack.attributes[rule_place], place, series[place], enriched, found)
                continue
            rule = pack.rules[rule_place]
            if not rule.inputs[number].selector.takes_labels(enriched):
                continue
            entity = _entity(rule.entity, enriched)
            if entity is None:
                if rule.optional:
                    continue
                found.rejected.append(
                    ("unnamed", f"{series[place]}: names no {rule.entity.kind} ({rule.place})")
                )
            else:
                slots = inputs.setdefault((rule_place, entity), [[] for _ in rule.inputs])
                slots[number].append(place)
                origins.setdefault(entity, []).append((rule.entity, enriched))
            used = True
        if not used:
            found.unmapped[name] = found.unmapped.get(name, 0) + 1
    _choose(pack, inputs, found)
    _name_attributes(origins, found)
    return found


def _parse(series: Sequence[str], found: Matches) -> list[tuple[str, dict[str, str]] | None]:
    parsed: list[tuple[str, dict[str, str]] | None] = []
    first: dict[str, int] = {}
    for place, text in enumerate(series):
        if text in first:
            found.repeats.append((place, first[text]))
            parsed.append(None)
            continue
        first[text] = place
        try:
            parsed.append(parse_series(text))
        except InvalidMessageError as error:
            found.rejected.append((error.reason, str(error)))
            parsed.append(None)
    return parsed


Index = tuple[list[dict[tuple[str, ...], dict[str, str]]], dict[str, str] | None]
"""For each alternative of a join the info series by their labels; and the only one, if there is no other."""


def _index(join: Join, parsed: Sequence[tuple[str, dict[str, str]] | None]) -> Index:
    rows = [
        item[1]
        for item in parsed
        if item and join.info.takes_name(item[0]) and join.info.takes_labels(item[1])
    ]
    tables: list[dict[tuple[str, ...], dict[str, str]]] = []
    for on in join.on:
        flipped = tuple((there, here) for here, there in on)
        table: dict[tuple[str, ...], dict[str, str]] = {}
        for row in rows:
            values = same_labels(flipped, row)
            if values is not None:
                table.setdefault(values, row)
        tables.append(table)
    keys = {there for on in join.on for _, there in on}
    return tables, rows[0] if len(rows) == 1 and not keys & rows[0].keys() else None


def _enrich(joins: tuple[Join, ...], infos: list[Index], name: str, labels: dict[str, str]) -> dict[str, str]:
    for join, (tables, single) in zip(joins, infos, strict=True):
        if join.only and not (join.only.takes_name(name) and join.only.takes_labels(labels)):
            continue
        row = _joined(join, tables, single, labels)
        if row is not None:
            for label, there in join.add:
                if there in row:
                    labels.setdefault(label, row[there])
    return labels


def _joined(
    join: Join,
    tables: list[dict[tuple[str, ...], dict[str, str]]],
    single: dict[str, str] | None,
    labels: dict[str, str],
) -> dict[str, str] | None:
    for on, table in zip(join.on, tables, strict=True):
        if on:
            values = same_labels(on, labels)
            if values is not None and values in table:
                return table[values]
        elif single is not None and not any(here in labels for pairs in join.on for here, _ in pairs):
            return single
    return None


def _entity(rule: EntityRule, labels: dict[str, str]) -> Entity | None:
    for template in rule.ids:
        id = template.render(labels, empty=False)
        if id:
            return rule.kind, id
    return None


def _take_attribute(
    rule: AttributeRule, place: int, text: str, labels: dict[str, str], found: Matches
) -> bool:
    if not rule.selector.takes_labels(labels):
        return False
    entity = _entity(rule.entity, labels)
    if entity is None:
        if not rule.optional:
            found.rejected.append(("unnamed", f"{text}: names no {rule.entity.kind} ({rule.place})"))
        return not rule.optional
    values = _render((*rule.attributes, *rule.entity.attributes), labels, entity, found)
    if rule.when is not None:
        found.attributes.setdefault(entity, {})
        found.conditional.append(Condition(place, rule.when, entity, values))
    else:
        kept = found.attributes.setdefault(entity, {})
        for name, value in values.items():
            kept.setdefault(name, value)
    return True


def _render(
    templates: tuple[tuple[str, Template], ...], labels: dict[str, str], entity: Entity, found: Matches
) -> dict[str, str]:
    values: dict[str, str] = {}
    for name, template in templates:
        try:
            value = template.render(labels, empty=True)
        except ValueError as error:
            found.rejected.append(("labels", f"{' '.join(entity)}: {name}: not JSON: {error}"))
            continue
        if value is not None:
            values.setdefault(name, value)
    return values


def _choose(pack: RulePack, inputs: dict[tuple[int, Entity], list[list[int]]], found: Matches) -> None:
    for (rule_place, entity), slots in sorted(inputs.items()):
        if all(slots):
            rule = pack.rules[rule_place]
            found.samples.setdefault(entity, {}).setdefault(rule.metric, (rule, slots))


def _name_attributes(origins: dict[Entity, list[tuple[EntityRule, dict[str, str]]]], found: Matches) -> None:
    """Attributes that come with an entity's name, for entities that have a sample."""
    for entity in found.samples:
        kept = found.attributes.setdefault(entity, {})
        for rule, labels in origins[entity]:
            missing = tuple(item for item in rule.attributes if item[0] not in kept)
            if missing:
                for name, value in _render(missing, labels, entity, found).items():
                    kept.setdefault(name, value)
