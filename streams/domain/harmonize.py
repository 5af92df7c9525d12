"""Scrapes to observations: names, units, ranges, entities, by the rules of a pack."""

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import compress
from operator import ge, le
from typing import Literal

from streams.domain.catalogue import Catalogue
from streams.domain.matching import match
from streams.domain.observation import new_observation
from streams.domain.plan import Part, Plan
from streams.domain.planning import compile_plan
from streams.domain.refusals import Reason, Rejected, refused_samples, refused_times, repeated_series, summary
from streams.domain.rules import RulePack
from streams.errors import InvalidMessageError
from streams.records import Observation, Scrape

SERIES_MAX = 2_000_000
"""[1] Series whose plans are kept; each costs about 150 bytes."""

PUSHED = 50
"""[1] What is told ranks behind what is looked at: a copy must not hide the values that it was made from."""

UNUSED_MAX_MS = 900_000
"""[ms] Plans that were not used for so long are dropped: their series are no longer there."""


@dataclass(slots=True)
class Harmonized:
    """What a scrape gives.

    The lists of the observations that hold no values are shared with other scrapes of the same series:
    they are to be read, not changed.

    Args:
        observations: pairs of the partition to send to, and the record.
        unmapped: number of series that no rule takes, by name.
    """

    observations: list[tuple[int, Observation]] = field(default_factory=list)
    rejected: list[Rejected] = field(default_factory=list)
    unmapped: dict[str, int] = field(default_factory=dict)


class Harmonizer:
    """Harmonises scrapes; remembers for each target how its series map, until they change."""

    def __init__(self, packs: Mapping[str, RulePack], catalogue: Catalogue, partitions: int) -> None:
        self._packs = packs
        self._catalogue = catalogue
        self._partitions = partitions
        self._plans: OrderedDict[tuple[str, str, str, int], Plan] = OrderedDict()
        self._series = 0

    @property
    def plans(self) -> int:
        """Number of plans that are remembered."""
        return len(self._plans)

    def harmonize(
        self, scrape: Scrape, *, partition: int, offset: int, at_ms: int, origin: str = "scrape"
    ) -> Harmonized:
        """Observations of a scrape.

        Args:
            partition: from which it was read.
            offset: in it.
            at_ms: [ms since the epoch, UTC] now.
            origin: record name of the topic.

        Raises:
            InvalidMessageError: an unknown pack, or arrays whose lengths differ.
        """
        pack = self._packs.get(scrape["pack"])
        if pack is None:
            raise InvalidMessageError(
                "unknown_pack", f"no rule pack {scrape['pack']!r}; there are {', '.join(sorted(self._packs))}"
            )
        priority = pack.priority + (0 if origin == "scrape" else PUSHED)
        source = _Origin(scrape, priority, origin, partition, offset, at_ms)
        if not scrape["ok"]:
            failure = source.observation("failure")
            failure["reason"] = scrape["error"] or "failed"
            return Harmonized([(home, failure) for home in range(self._partitions)])
        series, values, times = scrape["series"], scrape["values"], scrape["times_ms"]
        if len(values) != len(series) or (times and len(times) != len(series)):
            raise InvalidMessageError(
                "arrays",
                f"{len(series)} series, {len(values)} values and {len(times)} times are not of one length",
            )
        if not series:
            return Harmonized()
        return _run(self._plan(pack, scrape, at_ms), series, values, times, source)

    def _plan(self, pack: RulePack, scrape: Scrape, at_ms: int) -> Plan:
        """The plan for the series of a scrape; they are compared by a hash of 64 bits that is seeded anew
        in each process, because keeping and comparing their texts costs most of a plan's memory and time.
        """
        series = scrape["series"]
        key = (pack.name, scrape["source"], scrape["target"], hash(tuple(series)))
        plan = self._plans.get(key)
        if plan is None:
            own = {"__source__": scrape["source"], "__target__": scrape["target"]}
            matches = match(pack, series, own)
            plan = self._plans[key] = compile_plan(len(series), matches, self._catalogue, self._partitions)
            self._series += plan.size
            self._forget(at_ms)
        self._plans.move_to_end(key)
        plan.used_ms = at_ms
        return plan

    def _forget(self, at_ms: int) -> None:
        while len(self._plans) > 1:
            oldest = next(iter(self._plans.values()))
            if self._series <= SERIES_MAX and at_ms - oldest.used_ms <= UNUSED_MAX_MS:
                return
            self._plans.popitem(last=False)
            self._series -= oldest.size


@dataclass(frozen=True, slots=True)
class _Origin:
    """What all observations of one scrape have in common."""

    scrape: Scrape
    priority: int
    topic: str
    partition: int
    offset: int
    at_ms: int

    def observation(self, type: Literal["values", "failure"]) -> Observation:
        """An observation without entities."""
        scrape, observation = self.scrape, new_observation(type, self.at_ms)
        observation["source"], observation["target"] = scrape["source"], scrape["target"]
        observation["priority"], observation["simulated"] = self.priority, scrape["simulated"]
        observation["interval_ms"] = scrape["interval_ms"]
        observation["scraped_at_ms"] = scrape["scraped_at_ms"]
        observation["origin_topic"], observation["origin_partition"] = self.topic, self.partition
        observation["origin_offset"] = self.offset
        return observation


def _run(
    plan: Plan, series: Sequence[str], values: Sequence[float], times_ms: Sequence[int], origin: _Origin
) -> Harmonized:
    if plan.conditional:
        _settle_attributes(plan, values)
    out = plan.values(values)
    times: list[int] | None = None
    time = times_ms[0] if times_ms else origin.scrape["scraped_at_ms"]
    if times_ms and times_ms.count(time) != len(times_ms):
        times = plan.times(times_ms)
    refused: dict[int, Reason] = {}
    if plan.same or not (all(map(le, plan.lows, out)) and all(map(ge, plan.highs, out))):
        refused = refused_samples(plan, out, series, values)
    if min(times or (time,)) <= 0:
        refused |= refused_times(plan, times or [time] * len(out))
    observations = []
    for part in plan.parts:
        observation = origin.observation("values")
        _fill(observation, part, out)
        if times is None:
            observation["times_ms"] = [time] * (part.stop - part.start)
        else:
            observation["times_ms"] = times[part.start : part.stop]
        if refused:
            _leave_out(observation, part, refused)
        observations.append((part.partition, observation))
    faults = [*plan.rejected, *repeated_series(plan, series, values), *refused.values()]
    return Harmonized(observations, summary(faults) if faults else [], plan.unmapped)


def _fill(observation: Observation, part: Part, out: list[float]) -> None:
    observation["kinds"] = part.kinds
    observation["ids"] = part.ids
    observation["sizes"] = part.sizes
    observation["attributes"] = part.attributes
    observation["names"] = part.names
    observation["forms"] = part.forms
    observation["metrics"] = part.metrics
    observation["values"] = out[part.start : part.stop]


def _settle_attributes(plan: Plan, values: Sequence[float]) -> None:
    """Attributes that hold while a series has a value; new lists only when one of them changed."""
    conditional = plan.conditional
    conditions = tuple(values[condition.place] == condition.value for condition in conditional)
    if conditions == plan.conditions:
        return
    plan.conditions = conditions
    merged = {entity: dict(attributes) for entity, attributes in plan.attributes.items()}
    for condition in compress(conditional, conditions):
        merged[condition.entity].update(condition.attributes)
    for part in plan.parts:
        part.attributes = [merged.get(entity, {}) for entity in zip(part.kinds, part.ids, strict=True)]


def _leave_out(observation: Observation, part: Part, refused: Mapping[int, object]) -> None:
    """Take refused samples out of an observation, in lists of its own."""
    keep = [place not in refused for place in range(part.start, part.stop)]
    if all(keep):
        return
    sizes, start = [], 0
    for size in part.sizes:
        sizes.append(sum(keep[start : start + size]))
        start += size
    observation["sizes"] = sizes
    metrics = list(compress(part.metrics, keep))
    kept = sorted(set(metrics))
    places = {old: new for new, old in enumerate(kept)}
    observation["names"] = [part.names[old] for old in kept]
    observation["forms"] = [part.forms[old] for old in kept]
    observation["metrics"] = [places[old] for old in metrics]
    observation["values"] = list(compress(observation["values"], keep))
    observation["times_ms"] = list(compress(observation["times_ms"], keep))
