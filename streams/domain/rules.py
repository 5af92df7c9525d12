"""Rule packs: what series of one kind of source become which metrics and attributes of which entities."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from streams.domain.catalogue import COUNTER, FORMS, GAUGE, STATE, Catalogue, Metric
from streams.domain.documents import DocumentMapping
from streams.domain.formula import Formula
from streams.domain.selector import Selector
from streams.domain.series import format_series, parse_series
from streams.domain.template import Template

__all__ = [
    "COUNTER",
    "FORMS",
    "GAUGE",
    "STATE",
    "AttributeRule",
    "Catalogue",
    "DocumentMapping",
    "EntityRule",
    "Input",
    "Join",
    "Metric",
    "Query",
    "Rule",
    "RulePack",
    "format_series",
    "parse_series",
]

AGGREGATES = ("sum", "mean", "min", "max", "first", "count")
"""How several series of one entity become one value."""

LABEL_AGGREGATES = ("count_distinct", "sum_per_distinct")
"""Aggregates over a label: number of its values, and the sum divided by that number."""


@dataclass(frozen=True, slots=True)
class Query:
    """What the `prometheus` source asks; series of the answer that have lost their name get `name`."""

    name: str
    promql: str


@dataclass(frozen=True, slots=True)
class Input:
    """Series that give one value for an entity; `aggregate` is empty when there should be only one."""

    selector: Selector
    aggregate: str = ""
    label: str = ""


@dataclass(frozen=True, slots=True)
class EntityRule:
    """How an entity is named; of several ids the first is taken whose labels are all there."""

    name: str
    kind: str
    ids: tuple[Template, ...]
    attributes: tuple[tuple[str, Template], ...] = ()


@dataclass(frozen=True, slots=True)
class Join:
    """Labels that other series get from an info series of the same scrape.

    Args:
        on: alternatives, each of pairs (label of the series, label of the info series); the first whose
            labels both have decides. The empty alternative fits when there is one info series in the
            scrape and neither side has any label of the other alternatives.
        add: pairs (label that is added, label of the info series); labels that are there stay.
        only: series that get them; None: all.
    """

    info: Selector
    on: tuple[tuple[tuple[str, str], ...], ...]
    add: tuple[tuple[str, str], ...]
    only: Selector | None = None


@dataclass(frozen=True, slots=True)
class Rule:
    """One metric of one kind of entity from one series, or from a formula over several.

    Rules of one metric are alternatives: the first that finds its series for an entity gives the value.

    Args:
        scale: value [unit of the metric] = scale · value of the series + offset.
        tolerance: values beyond the range by no more than this are set to its limit [unit of the metric].
        optional: series for which no entity can be named are passed over, not rejected.
        place: file:line of the rule.
    """

    metric: str
    form: int
    entity: EntityRule
    inputs: tuple[Input, ...]
    formula: Formula | None = None
    scale: float = 1.0
    offset: float = 0.0
    tolerance: float = 0.0
    optional: bool = False
    from_unit: str = ""
    place: str = ""


@dataclass(frozen=True, slots=True)
class AttributeRule:
    """Attributes of an entity from the labels of a series; with `when`, only while its value is that."""

    entity: EntityRule
    selector: Selector
    attributes: tuple[tuple[str, Template], ...]
    when: float | None = None
    optional: bool = False
    place: str = ""


@dataclass(frozen=True)
class RulePack:
    """The rules of one kind of source."""

    name: str
    priority: int
    help: str = ""
    queries: tuple[Query, ...] = ()
    joins: tuple[Join, ...] = ()
    rules: tuple[Rule, ...] = ()
    attributes: tuple[AttributeRule, ...] = ()
    group: tuple[Template, ...] = ()
    groups: tuple[tuple[Selector, tuple[Template, ...]], ...] = ()
    document: DocumentMapping | None = None
    place: str = ""
    _wanted: dict[str, bool] = field(default_factory=dict, compare=False, repr=False)
    _uses: dict[str, tuple[tuple[int, int], ...]] = field(default_factory=dict, compare=False, repr=False)

    def wants(self, name: str) -> bool:
        """Whether a series of this name is mapped, or needed by a join or an attribute."""
        wanted = self._wanted.get(name)
        if wanted is None:
            wanted = self._remember(self._wanted, name, self._is_wanted(name))
        return wanted

    def is_info(self, series: str) -> bool:
        """Whether joins read this series, so that it has to be in every chunk of a scrape."""
        return bool(self.joins) and any(join.info.takes_name(_name_of(series)) for join in self.joins)

    def group_of(self, series: str) -> str:
        """Name of the group whose series have to stay in one chunk of a scrape.

        It is the first of the pack's `group` that the labels fill, unless one of `groups` says otherwise;
        an empty one keeps all such series together.
        """
        if "{" not in series:
            return ""
        name, labels = parse_series(series)
        for selector, by in self.groups:
            if selector.takes_name(name) and selector.takes_labels(labels):
                return _first(labels, by)
        return _first(labels, self.group)

    def uses(self, name: str) -> tuple[tuple[int, int], ...]:
        """Pairs (rule, input) that may take a series of this name; an input of -1 means an attribute rule."""
        uses = self._uses.get(name)
        if uses is None:
            found = [
                (place, number)
                for place, rule in enumerate(self.rules)
                for number, source in enumerate(rule.inputs)
                if source.selector.takes_name(name)
            ]
            found += [(i, -1) for i, rule in enumerate(self.attributes) if rule.selector.takes_name(name)]
            uses = self._remember(self._uses, name, tuple(found))
        return uses

    def _is_wanted(self, name: str) -> bool:
        return bool(self.uses(name)) or any(join.info.takes_name(name) for join in self.joins)

    @staticmethod
    def _remember(memory: dict[str, Any], name: str, value: Any) -> Any:
        if len(memory) >= NAMES_MAX:
            memory.clear()
        memory[name] = value
        return value


NAMES_MAX = 10_000
"""[1] Names whose match is remembered; a target that invents names must not fill the memory."""


def _name_of(series: str) -> str:
    name = series.partition("{")[0]
    return name or parse_series(series)[0]


def _first(labels: Mapping[str, str], templates: tuple[Template, ...]) -> str:
    return next(filter(None, (template.render(labels, empty=False) for template in templates)), "")


def same_labels(on: tuple[tuple[str, str], ...], labels: Mapping[str, str]) -> tuple[str, ...] | None:
    """Values of a series' labels of one alternative of a join, or None when one is absent."""
    values = tuple(labels.get(label, "") for label, _ in on)
    return values if all(values) else None
