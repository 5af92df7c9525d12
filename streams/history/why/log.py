"""What the topics still have of a value: the observations of its samples, and what those were made from."""

import asyncio
import json
from collections.abc import Mapping
from dataclasses import dataclass

from streams.domain.catalogue import Catalogue
from streams.domain.commands import is_overlay
from streams.domain.entity import hold_ms
from streams.domain.imports import scrape_of
from streams.domain.rules import RulePack
from streams.domain.why.rule import Mapped, map_sample
from streams.domain.why.samples import Sample
from streams.domain.why.trace import Trace, origin_of_sample, samples_in
from streams.errors import InvalidMessageError
from streams.history.why.look import LogLook
from streams.records import Event, Observation, Scrape
from streams.schemas import load_codec

FIRST_LOOK = 64
"""[1] Messages that are read first when going back; each further look reads four times as many."""

TYPE_BYTES = 17
"""[B] Within which the type of an observation stands: it is the first field."""


@dataclass(frozen=True)
class Subject:
    """The value that is asked about.

    Args:
        partition: of all topics that the entity is in.
    """

    world: str
    kind: str
    id: str
    metric: str
    partition: int

    @property
    def entity(self) -> tuple[str, str]:
        """Kind and id."""
        return self.kind, self.id

    @property
    def log_world(self) -> str:
        """The world whose observations it is made from: that of an overlay is live."""
        return "live" if is_overlay(self.world) else self.world


@dataclass(frozen=True)
class Source:
    """What an observation was made from.

    Args:
        record: scrape or event, the record of its topic.
        sent_ms: [ms since the epoch] when it was sent; None when it is gone.
        gone: why nothing more can be said; empty when it can.
    """

    record: str
    partition: int
    offset: int
    sent_ms: int | None = None
    source: str = ""
    target: str = ""
    event: Event | None = None
    mapped: Mapped | None = None
    gone: str = ""


async def newest_samples(
    log: LogLook, subject: Subject, source: str, head: tuple[float, int], count: int, before: int
) -> list[Sample]:
    """The newest samples of a source up to its head, oldest first; fewer where the log has no more.

    Args:
        head: value and time [ms] of the newest.
        before: offset before which they stand.
    """
    begin, end = await log.bounds("observation", subject.partition)
    found: dict[int, Sample] = {}
    stop, size = min(end, before), FIRST_LOOK
    while stop > begin and len(found) < count and not log.is_spent:
        start = max(begin, stop - size)
        async for record in log.messages("observation", subject.partition, start, stop):
            message = _about(record.value, subject)
            if message is None or message["type"] != "values" or message["source"] != source:
                continue
            for sample in _samples(message, subject, record.offset):
                _keep(found, sample, head)
        stop, size = start, 4 * size
    return [found[time_ms] for time_ms in sorted(found)][-count:]


async def follow(log: LogLook, trace: Trace, subject: Subject, tick_ms: int, lookback_ms: int) -> None:
    """Let a trace follow the log until the tick has closed, or the log ends."""
    begin, end = await log.bounds("observation", subject.partition)
    if subject.log_world == "live":
        begin = await log.offset_at("observation", subject.partition, tick_ms - lookback_ms)
    async for record in log.messages("observation", subject.partition, begin, end):
        message = _about(record.value, subject)
        if message is not None:
            trace.feed(record.offset, message)
        if trace.next_tick_ms > tick_ms:
            return


async def source_of(
    log: LogLook, packs: Mapping[str, RulePack], catalogue: Catalogue, subject: Subject, sample: Sample
) -> Source | None:
    """What the observation of a sample was made from; None when it names nothing."""
    record, partition, offset = sample.origin[4:7]
    if record not in ("scrape", "event"):
        return None
    found = await log.message(record, partition, offset)
    if found is None:
        why = "was not reached in time" if log.is_spent else "is gone: the topic does not keep it any longer"
        return Source(record, partition, offset, gone=f"the {record} {why}")
    sent_ms = int(found.timestamp)
    try:
        decoded = load_codec(record).decode(found.value)
        event = decoded if record == "event" else None
        scrape: Scrape | None = decoded
        if event is not None:
            is_import = event["type"] == "import"
            scrape = scrape_of(event, json.loads(event["body"])) if is_import else None
    except (InvalidMessageError, ValueError, KeyError) as error:
        return Source(record, partition, offset, sent_ms, gone=f"the {record} cannot be read: {error}")
    if scrape is None:
        return Source(record, partition, offset, sent_ms, sample.source, event=event)
    about = (record, partition, offset, sent_ms, scrape["source"], scrape["target"], event)
    if scrape["source"] != sample.source:
        # The topic was made anew: another message has the offset.
        return Source(record, partition, offset, gone=f"the {record} is gone: its topic was made anew")
    pack = packs.get(scrape["pack"])
    if pack is None:
        return Source(*about, gone=f"there is no rule pack {scrape['pack']!r} any more")
    # Matching some thousand series takes tens of ms.
    mapped = await asyncio.to_thread(map_sample, scrape, pack, catalogue, subject.entity, subject.metric)
    gone = "" if mapped else f"today's rules of pack {pack.name} do not make this metric of it any more"
    return Source(*about, mapped, gone)


def _keep(found: dict[int, Sample], sample: Sample, head: tuple[float, int]) -> None:
    value, time_ms = head
    is_timeless = not sample.time_ms and sample.value == value
    if is_timeless:
        sample = sample._replace(time_ms=time_ms)
    elif not 0 < sample.time_ms < time_ms and (sample.value, sample.time_ms) != head:
        return
    known = found.get(sample.time_ms)
    # Of a sample that was sent again the first one counted; what is set without a time, in a world with a
    # time of its own, is always new.
    if known is None or (sample.origin.offset < known.origin.offset) != is_timeless:
        found[sample.time_ms] = sample


def _about(value: bytes | None, subject: Subject) -> Observation | None:
    """The observation in bytes; None where it cannot concern the subject, or is none."""
    if not value:
        return None
    # Strings stand in Avro as they are: to look for one is far cheaper than to decode the message.
    kind = value[:TYPE_BYTES]
    names_all = b"values" in kind or (b"partial" in kind and b"partial_end" not in kind)
    if names_all and subject.id.encode() not in value:
        return None
    if subject.log_world != "live" and subject.log_world.encode() not in value:
        return None
    try:
        message: Observation = load_codec("observation").decode(value)
    except InvalidMessageError:
        return None
    return message


def _samples(message: Observation, subject: Subject, offset: int) -> list[Sample]:
    if message["world"] != subject.log_world:
        return []
    origin = origin_of_sample(subject.partition, offset, message)
    return [
        Sample(message["source"], form, time_ms, value, hold_ms(message["interval_ms"], 1), origin)
        for form, value, time_ms in samples_in(message, subject.entity, subject.metric)
    ]
