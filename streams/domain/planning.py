"""A scrape's matches to its plan: which values to take and to compute, and in which observation."""

from collections.abc import Iterator, Sequence
from itertools import chain
from sys import float_info

from streams.domain.catalogue import COUNTER, Catalogue
from streams.domain.keys import entity_key, partition_of
from streams.domain.matching import Entity, Matches
from streams.domain.plan import Part, Plan
from streams.domain.rules import Rule
from streams.domain.steps import Compute, Select, aggregate, formula, select_places

ENTITIES_MAX = 200
"""[1] Entities of one observation (DESIGN, topics)."""

BYTES_MAX = 200 * 1024
"""[B] Estimated size of one observation; below 256 KiB, so that an estimate that is too low does no harm."""

SAMPLE_BYTES = 18
"""[B] A sample in Avro: a double, a time of 6 bytes, an index."""


def compile_plan(size: int, matches: Matches, catalogue: Catalogue, partitions: int) -> Plan:
    """The plan for a list of so many series."""
    rules: list[Rule] = []
    parts: list[Part] = []
    work = _Work(size, matches)
    for partition, entities in _by_partition(matches, partitions):
        for chunk in _chunks(entities, matches):
            start = len(rules)
            for entity in chunk:
                for rule, slots in matches.samples.get(entity, {}).values():
                    rules.append(rule)
                    work.add(rule, slots)
            parts.append(_part(partition, start, chunk, rules, matches))
    limits = [_limits(rule, catalogue) for rule in rules]
    several = {place: work.select(origin) for place, origin in enumerate(work.origins) if len(origin) > 1}
    return Plan(
        size=size,
        rules=rules,
        lows=[low for low, _ in limits],
        highs=[high for _, high in limits],
        steps=work.steps,
        select=select_places(work.sources) if work.sources else lambda values: (),
        first=[origin[0] for origin in work.origins],
        several=several,
        scaled=[
            (place, rule.scale, rule.offset)
            for place, rule in enumerate(rules)
            if (rule.scale, rule.offset) != (1.0, 0.0)
        ],
        same=[place for place in several if _takes_one(rules[place])],
        parts=parts,
        attributes=matches.attributes if matches.conditional else {},
        conditional=matches.conditional,
        repeats=matches.repeats,
        rejected=matches.rejected,
        unmapped=matches.unmapped,
    )


class _Work:
    """What has to be computed, behind the values of the series themselves.

    `sources` are the places in that work of the samples' values, `origins` those of the series that they
    are made from.
    """

    def __init__(self, size: int, matches: Matches) -> None:
        self._size = size
        self._labels = matches.labels
        self._selects: dict[tuple[int, ...], Select] = {}
        self.steps: list[tuple[Compute, Select]] = []
        self.sources: list[int] = []
        self.origins: list[tuple[int, ...]] = []

    def add(self, rule: Rule, slots: list[list[int]]) -> None:
        """Add a sample that a rule gives from the series at these places, a list for each of its inputs."""
        places = []
        for source, slot in zip(rule.inputs, slots, strict=True):
            labels = [self._labels[place].get(source.label, "") for place in slot] if source.label else []
            compute = aggregate(source, len(slot), labels)
            places.append(self._step(compute, slot) if compute else slot[0])
        self.sources.append(self._step(formula(rule.formula), places) if rule.formula else places[0])
        self.origins.append(tuple(dict.fromkeys(chain.from_iterable(slots))))

    def select(self, places: Sequence[int]) -> Select:
        """What takes the items at these places; the same for all that need them."""
        key = tuple(places)
        if key not in self._selects:
            self._selects[key] = select_places(key)
        return self._selects[key]

    def _step(self, compute: Compute, places: Sequence[int]) -> int:
        self.steps.append((compute, self.select(places)))
        return self._size + len(self.steps) - 1


def _by_partition(matches: Matches, partitions: int) -> list[tuple[int, list[Entity]]]:
    homes: dict[int, list[Entity]] = {}
    for entity in sorted({*matches.samples, *matches.attributes}):
        homes.setdefault(partition_of(entity_key("live", *entity), partitions), []).append(entity)
    return sorted(homes.items())


def _chunks(entities: list[Entity], matches: Matches) -> Iterator[list[Entity]]:
    texts: dict[Entity, int] = {}
    for entity, attributes in chain(
        matches.attributes.items(), ((c.entity, c.attributes) for c in matches.conditional)
    ):
        more = sum(len(name) + 2 * len(value) + 4 for name, value in attributes.items())
        texts[entity] = texts.get(entity, 0) + more
    chunk: list[Entity] = []
    size = 0
    for entity in entities:
        more = sum(map(len, entity)) + SAMPLE_BYTES * len(matches.samples.get(entity, ()))
        more += texts.get(entity, 0)
        if chunk and (len(chunk) >= ENTITIES_MAX or size + more > BYTES_MAX):
            yield chunk
            chunk, size = [], 0
        chunk.append(entity)
        size += more
    yield chunk


def _part(partition: int, start: int, chunk: list[Entity], rules: list[Rule], matches: Matches) -> Part:
    taken = rules[start:]
    kept = list(dict.fromkeys((rule.metric, rule.form) for rule in taken))
    places = {pair: place for place, pair in enumerate(kept)}
    return Part(
        partition=partition,
        start=start,
        stop=len(rules),
        kinds=[kind for kind, _ in chunk],
        ids=[id for _, id in chunk],
        sizes=[len(matches.samples.get(entity, ())) for entity in chunk],
        attributes=[matches.attributes.get(entity, {}) for entity in chunk],
        names=[name for name, _ in kept],
        forms=[form for _, form in kept],
        metrics=[places[rule.metric, rule.form] for rule in taken],
    )


def _limits(rule: Rule, catalogue: Catalogue) -> tuple[float, float]:
    if rule.form == COUNTER:
        return 0.0, float_info.max
    metric = catalogue[rule.metric]
    return (
        -float_info.max if metric.minimum is None else metric.minimum,
        float_info.max if metric.maximum is None else metric.maximum,
    )


def _takes_one(rule: Rule) -> bool:
    return rule.formula is None and not rule.inputs[0].aggregate
