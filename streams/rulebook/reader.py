"""A rule file's text to the dataclasses of domain.rules; what is wrong becomes a fault with its line."""

from pathlib import Path
from typing import Any

from streams.domain.catalogue import COUNTER, FORMS, Catalogue, Metric
from streams.domain.documents import DocumentMapping
from streams.domain.formula import Formula, parse_formula
from streams.domain.rules import (
    AGGREGATES,
    LABEL_AGGREGATES,
    AttributeRule,
    EntityRule,
    Input,
    Join,
    Query,
    Rule,
    RulePack,
)
from streams.domain.selector import Selector, parse_selector
from streams.domain.template import Template, parse_template
from streams.domain.units import UNITS, conversion, counter_unit
from streams.errors import InvalidRuleError
from streams.rulebook.document import read_document
from streams.rulebook.file import Block

KINDS = ("cluster", "nodepool", "node", "device", "link", "job")
"""Kinds of entity that a pack may give (DESIGN, the entity record); worlds come from events."""


def read_pack(block: Block, catalogue: Catalogue, folder: Path) -> RulePack:
    """A rule pack; only to be used when no fault was added. Schemas are sought in the folder."""
    name = block.text("pack", needed=True)
    priority = block.number("priority", 100.0)
    entities = _entities(block)
    joins = tuple(filter(None, (_join(part) for part in block.blocks("joins"))))
    rules = tuple(filter(None, (_rule(part, entities, catalogue) for part in block.blocks("rules"))))
    attributes = tuple(filter(None, (_attribute(part, entities) for part in block.blocks("attributes"))))
    if not block.content.get("rules") and not block.content.get("attributes"):
        block.fault("a pack needs `rules` or `attributes`")
    selectors = [source.selector for rule in rules for source in rule.inputs]
    selectors += [rule.selector for rule in attributes] + [join.info for join in joins]
    pack = RulePack(
        name=name,
        priority=int(priority or 0),
        help=block.text("doc"),
        queries=_queries(block, name, selectors),
        joins=joins,
        rules=rules,
        attributes=attributes,
        group=_group_by(block, "group"),
        groups=tuple(filter(None, (_group(part) for part in block.blocks("groups")))),
        document=_document(block, folder),
        place=block.place(),
    )
    block.flag("replace")
    block.block("metrics")
    block.finish()
    return pack


def _document(block: Block, folder: Path) -> DocumentMapping | None:
    part = block.block("document")
    return None if part is None else read_document(part, folder)


def _group(block: Block) -> tuple[Selector, tuple[Template, ...]] | None:
    selector = block.parsed("series", parse_selector, needed=True)
    by = _group_by(block, "by")
    block.finish()
    return None if selector is None else (selector, by)


def _group_by(block: Block, key: str) -> tuple[Template, ...]:
    """What keeps series together: labels by their names, or templates."""
    found = []
    for text in block.texts(key, needed=True):
        with block.at(key):
            found.append(parse_template(text if "{" in text else f"{{{text}}}"))
    return tuple(found)


def _selectors(block: Block, key: str) -> list[Selector]:
    found = []
    for text in block.texts(key):
        with block.at(key):
            found.append(parse_selector(text))
    return found


def _queries(block: Block, pack: str, selectors: list[Selector]) -> tuple[Query, ...]:
    """The queries that a pack gives; without any, all series that its rules name, as they are."""
    if not block.has("queries"):
        return _raw(pack, selectors)
    queries: list[Query] = []
    for part in block.blocks("queries"):
        if part.has("series"):
            queries += _raw(f"{pack}-{len(queries)}" if queries else pack, _selectors(part, "series"))
        else:
            queries.append(Query(part.text("name", needed=True), part.text("promql", needed=True).strip()))
        part.finish()
    names = [query.name for query in queries]
    for name in {name for name in names if names.count(name) > 1}:
        block.fault(f"two queries are called {name!r}", "queries")
    return tuple(queries)


def _raw(name: str, selectors: list[Selector]) -> tuple[Query, ...]:
    """As few queries as the conditions allow: the names of one set of conditions are asked for together."""
    groups: dict[str, list[str]] = {}
    for selector in selectors:
        matchers = [
            f"{c.label}{c.operator}{_quoted(c.value)}" for c in (*selector.names, *selector.conditions)
        ]
        names = groups.setdefault(",".join(matchers), [])
        if selector.name and selector.name not in names:
            names.append(selector.name)
    queries: list[Query] = []
    for condition, names in groups.items():
        if len(names) == 1:
            promql = f"{names[0]}{{{condition}}}" if condition else names[0]
        else:
            chosen = [f'__name__=~"{"|".join(names)}"'] if names else []
            promql = f"{{{','.join([*chosen, condition] if condition else chosen)}}}"
        queries.append(Query(f"{name}.{len(queries)}" if queries else name, promql))
    return tuple(queries)


def _quoted(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n") + '"'


def _templates(block: Block) -> tuple[tuple[str, Template], ...]:
    """Attributes and their templates; an attribute with alternatives is there several times."""
    found = []
    for name in block.content:
        for text in block.texts(name, needed=True):
            with block.at(name):
                found.append((name, parse_template(text)))
    return tuple(found)


def _entities(block: Block) -> dict[str, EntityRule]:
    entities = {}
    part = block.block("entities", needed=True)
    for name in part.content if part else ():
        entity = part.block(name, needed=True) if part else None
        if entity is None:
            continue
        kind = entity.choice("kind", KINDS, name)
        if kind not in KINDS:
            entity.fault(f"'kind' is missing, and {name!r} is not one of {', '.join(KINDS)}")
        ids = []
        for text in entity.texts("id", needed=True):
            with entity.at("id"):
                ids.append(parse_template(text))
        attributes = entity.block("attributes")
        entities[name] = EntityRule(name, kind, tuple(ids), _templates(attributes) if attributes else ())
        entity.finish()
    return entities


def _entity(block: Block, entities: dict[str, EntityRule]) -> EntityRule | None:
    if not entities:
        return None
    name = block.text("entity", next(iter(entities)))
    if name not in entities:
        block.fault(f"unknown entity {name!r}; this pack has {', '.join(entities)}", "entity")
        return None
    return entities[name]


def _join(block: Block) -> Join | None:
    info = block.parsed("info", parse_selector, needed=True)
    on = []
    alternatives: list[Any] = block.items("on") or [[]]
    for item in alternatives:
        labels = [item] if isinstance(item, str) else item
        if not isinstance(labels, list) or not all(isinstance(label, str) for label in labels):
            block.fault(f"'on' must be lists of labels, not {item!r}", "on")
            continue
        pairs = [label.partition("=") for label in labels]
        on.append(tuple((here.strip(), (there if equal else here).strip()) for here, equal, there in pairs))
    add = block.block("add", needed=True)
    pairs_added = tuple((label, add.text(label, needed=True)) for label in add.content) if add else ()
    only = block.parsed("for", parse_selector)
    block.finish()
    return None if info is None else Join(info, tuple(on), pairs_added, only)


def _aggregate(block: Block) -> tuple[str, str]:
    text = block.text("aggregate")
    name, bracket, label = text.partition("(")
    label = label.removesuffix(")").strip()
    if text and not (name in LABEL_AGGREGATES and label if bracket else name in AGGREGATES):
        known = ", ".join([*AGGREGATES, *(f"{name}(label)" for name in LABEL_AGGREGATES)])
        block.fault(f"'aggregate' must be one of {known}, not {text!r}", "aggregate")
        return "", ""
    return name, label


def _inputs(block: Block) -> tuple[tuple[Input, ...], Formula | None]:
    """The inputs of a rule, and its formula if it has one."""
    if block.has("series") == block.has("formula"):
        block.fault("a rule needs `series` or `formula`, and not both")
        return (), None
    formula = block.parsed("formula", parse_formula)
    named = block.block("inputs")
    if formula is None:
        if named:
            block.fault("`inputs` are those of a `formula`", "inputs")
        selector = block.parsed("series", parse_selector, needed=block.has("series"))
        return ((Input(selector, *_aggregate(block)),) if selector else ()), None
    if block.has("aggregate"):
        block.fault(
            "in a formula the `inputs` are aggregated: inputs: {x: {series: …, aggregate: …}}", "aggregate"
        )
    inputs = []
    for name in formula.names:
        part = named.block(name) if named and isinstance(named.content.get(name), dict) else None
        if part is not None:
            selector = part.parsed("series", parse_selector, needed=True)
            how = _aggregate(part)
            part.finish()
        elif named and named.has(name):
            selector, how = named.parsed(name, parse_selector), ("", "")
        else:
            selector, how = parse_selector(name), ("", "")
        if selector is not None:
            inputs.append(Input(selector, *how))
    if named:
        named.known.update(formula.names)
        named.finish()
    return tuple(inputs), formula


def _rule(block: Block, entities: dict[str, EntityRule], catalogue: Catalogue) -> Rule | None:
    name = block.text("metric", needed=True)
    metric = catalogue.get(name)
    if name and metric is None:
        block.fault(f"metric {name!r} is not in the catalogue", "metric")
    entity = _entity(block, entities)
    inputs, formula = _inputs(block)
    form = FORMS[block.choice("form", tuple(FORMS), metric.kind if metric else "gauge")]
    unit = block.text("from_unit")
    scale, offset = _conversion(block, metric, form, unit)
    value = block.number("value")
    if value is not None:
        scale, offset = 0.0, value
    tolerance = block.number("tolerance", 0.0)
    optional = block.flag("optional")
    block.finish()
    if metric is None or entity is None or not inputs:
        return None
    return Rule(
        metric=name,
        form=form,
        entity=entity,
        inputs=inputs,
        formula=formula,
        scale=scale,
        offset=offset,
        tolerance=tolerance or 0.0,
        optional=optional,
        from_unit=unit,
        place=block.place(),
    )


def _conversion(block: Block, metric: Metric | None, form: int, unit: str) -> tuple[float, float]:
    if metric is None or metric.unit not in UNITS:
        return 1.0, 0.0
    try:
        to = counter_unit(metric.unit) if form == COUNTER else metric.unit
        return conversion(unit or to, to)
    except InvalidRuleError as error:
        block.fault(str(error), "from_unit" if unit else "form")
        return 1.0, 0.0


def _attribute(block: Block, entities: dict[str, EntityRule]) -> AttributeRule | None:
    entity = _entity(block, entities)
    selector = block.parsed("series", parse_selector, needed=True)
    values = block.block("set")
    templates = _templates(values) if values else ()
    when = block.number("when")
    optional = block.flag("optional")
    if not templates and not (entity and entity.attributes):
        block.fault("'set' is missing, and the entity has no attributes of its own")
    block.finish()
    if entity is None or selector is None:
        return None
    return AttributeRule(entity, selector, templates, when, optional, block.place())
