"""What one observation says of one entity, taken into its record."""

from collections.abc import Mapping
from typing import NamedTuple

from streams.domain.align import take_samples
from streams.domain.entity import APPLIED, add_source
from streams.records import Observation, State

NO_SAMPLES = [0, 0, 0, 0, 0]
"""Outcomes of an observation without samples."""


class Observed(NamedTuple):
    """What came of it.

    Args:
        source: index of the source.
        counts: [1] samples that became applied, duplicate, late, conflict, rejected.
        told: an attribute is new or gone.
    """

    source: int
    counts: list[int]
    told: bool


def observe(
    entity: State,
    message: Observation,
    place: int,
    start: int,
    stop: int,
    step_ms: int,
    ceilings: Mapping[str, float],
) -> Observed:
    """Take the entity at `place`, with samples start..stop, of a message into its record."""
    told_ms = min(message["scraped_at_ms"], message["at_ms"])
    entity["seen_ms"] = max(entity["seen_ms"], told_ms)
    source = add_source(entity, message["source"])
    entity["source_priorities"][source] = message["priority"]
    entity["source_intervals_ms"][source] = message["interval_ms"]
    entity["source_failures"][source] = 0
    before_ms = entity["source_good_ms"][source]
    good_ms, counts = told_ms, NO_SAMPLES
    if stop > start:
        good_ms, counts = take_samples(entity, source, message, start, stop, step_ms, ceilings)
        if not before_ms:
            good_ms = good_ms or told_ms  # heard of, though nothing that it said was taken yet
    entity["source_good_ms"][source] = max(before_ms, good_ms)
    entity["simulated"] = entity["simulated"] or message["simulated"]
    news = message["attributes"][place]
    # What is older than the news of its source, and told nothing new, does not change attributes either.
    is_news = told_ms >= before_ms or counts[APPLIED] > 0
    return Observed(source, counts, bool(news) and is_news and merge_attributes(entity, news))


def merge_attributes(entity: State, news: Mapping[str, str]) -> bool:
    """Take attributes over, an empty one removing its name; True when that changed anything."""
    attributes = entity["attributes"]
    if all(attributes.get(name, "") == value for name, value in news.items()):
        return False
    attributes.update(news)
    for name, value in news.items():
        if not value:
            del attributes[name]
    return True
