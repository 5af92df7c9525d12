"""Hypothesis strategies for logs of one partition: scenarios of phases, from which `log_of` writes messages.

All times are small multiples of 250 ms from one epoch and all values come from short lists, so that a shrunk
example can be read.
"""

from dataclasses import dataclass
from itertools import cycle
from typing import Any

from hypothesis import strategies as st

from streams.records import Observation
from tests.reference.messages import FORMS, Entity, Reading, clock, failure, values

EPOCH_MS = 1_700_000_000_000
"""[ms] When each scenario begins: a multiple of all steps."""
REMOVE_AFTER_MS = 300_000
"""[ms] Above the longest hold of a scenario (225 s), as the defaults have it too."""
MAX_AHEAD_MS = 60_000
RESEND_MS = 60_000
"""[ms] Longest time after which harmonize sends something again."""
MAX_MESSAGES = 260
"""A bound on what one example costs."""

ENTITIES: list[Entity] = [("node", "a"), ("node", "b 1"), ("link", "p~q")]
GAUGES = (1.0, 2.0, 0.1, 4.0, 0.3, 4.0)
INCREASES = (0.0, 10.0, 100.0, 250.5, 900.0, 0.7)
RESET_EVERY = 7

MODES = (
    "ok",  # a scrape that answers
    "fail",  # a failed scrape
    "silent",  # nothing
    "repeat",  # the samples of the last scrape once more
    "conflict",  # the times of the last scrape with other values
    "late",  # samples from 20 s before
    "partial",  # the first metric only
    "empty",  # the entity is mentioned without samples
    "wild",  # beside good samples those that must be rejected
    "spread",  # each metric with an age of its own
    "zero up",  # the source reports the entity down
    "label",  # an attribute comes, changes, goes
    "form",  # gauges become states
    "old label",  # an attribute of 20 s before, with samples or without
    "delayed",  # the observation is made 8 s after the scrape
    "ahead",  # the scraper's clock is 3 s ahead of the worker's
    "burst",  # two samples of each metric
    "moved",  # another interval, priority and target
)


@dataclass(frozen=True)
class Source:
    """One source: how it scrapes, and what."""

    name: str
    priority: int
    interval_ms: int
    phase_ms: int
    skew_ms: int
    """Sample time less scrape time."""
    jitter_ms: tuple[int, ...]
    metrics: tuple[str, ...]
    entities: tuple[int, ...]
    split: bool
    """One observation for each entity instead of one for all; they share their origin."""
    pushed: bool = False
    """Its observations name no target."""


@dataclass(frozen=True)
class Phase:
    """A stretch of time in which each source behaves in one way."""

    length_ms: int
    modes: tuple[str, ...]
    clock_every_ms: int
    clock_lag_ms: int


@dataclass(frozen=True)
class Resend:
    """Harmonize sends some of the messages a second time, as new messages with the old origins."""

    first: int
    count: int
    later: int


@dataclass(frozen=True)
class Scenario:
    """From which a log is written."""

    step_ms: int
    sources: tuple[Source, ...]
    phases: tuple[Phase, ...]
    resends: tuple[Resend, ...]


@dataclass(frozen=True)
class Crash:
    """The worker dies in a batch, with some of its states written, and starts again some messages before."""

    after: int
    """Messages between the last start and the crash."""
    batch: int
    written: int
    """Bit mask over the changed keys of the batch that was not committed."""
    rewind: int
    """Messages before the last commit, at which it starts again."""


def few(*items: object) -> st.SearchStrategy:
    """One of the items; shrinks to the first."""
    return st.sampled_from(items)


@st.composite
def sources(draw: st.DrawFn, name: str) -> Source:
    """A source of the given name."""
    return Source(
        name=name,
        priority=draw(few(10, 20)),
        interval_ms=draw(few(5_000, 1_000, 2_000, 10_000, 7_000, 15_000, 30_000, 60_000, 90_000, 0)),
        phase_ms=draw(few(0, 250, 1_000, 2_500, 4_750)),
        skew_ms=draw(few(0, -250, -1_250, -6_000, 3_000, 45_000, 61_000, -70_000)),
        jitter_ms=draw(few((0,), (0, 250), (0, 750, 250), (0, 0, 3_000))),
        metrics=draw(
            few(("load1",), ("cpu",), ("load1", "cpu"), ("watts", "phase", "up"), ("up", "load1", "rx"))
        ),
        entities=draw(few((0,), (0, 1), (0, 1, 2))),
        split=draw(few(False, False, True)),
        pushed=draw(few(False, False, True)),
    )


@st.composite
def phases(draw: st.DrawFn, count: int) -> Phase:
    """A phase of `count` sources; a long one has a slow clock, so that it stays short as a log."""
    length_ms = draw(few(10_000, 20_000, 40_000, 75_000, 400_000, 1_100_000))
    mode = few("ok", "ok", "ok", "ok", "silent", "fail", "conflict", "empty", *MODES)
    long = length_ms > 100_000
    return Phase(
        length_ms=length_ms,
        modes=tuple(draw(few("silent", "silent", "fail", "ok") if long else mode) for _ in range(count)),
        clock_every_ms=draw(few(50_000, 120_000) if long else few(5_000, 1_000, 2_500)),
        clock_lag_ms=draw(few(0, 0, 250, 4_000, 30_000)),
    )


@st.composite
def scenarios(draw: st.DrawFn) -> Scenario:
    """One to three entities with two to four sources."""
    count = draw(st.integers(2, 4))
    names = ("demo", "host", "prom", "watmon")[:count]
    return Scenario(
        step_ms=draw(few(5_000, 5_000, 1_000, 2_000)),
        sources=tuple(draw(sources(name)) for name in names),
        phases=tuple(draw(st.lists(phases(count), min_size=1, max_size=6))),
        resends=tuple(
            draw(
                st.lists(
                    st.builds(Resend, st.integers(0, 80), st.integers(1, 12), st.integers(0, 40)),
                    max_size=2,
                )
            )
        ),
    )


crashes = st.lists(
    st.builds(Crash, st.integers(1, 60), st.integers(1, 20), st.integers(0, 15), st.integers(0, 30)),
    min_size=1,
    max_size=4,
)


def log_of(scenario: Scenario) -> list[Observation]:
    """The messages of a scenario; a message's place is its offset."""
    events: list[tuple[int, int, Observation]] = []
    feeds = [Feed(source, index) for index, source in enumerate(scenario.sources)]
    start_ms = EPOCH_MS
    for phase in scenario.phases:
        end_ms = start_ms + phase.length_ms
        for at_ms in range(start_ms, end_ms, phase.clock_every_ms):
            events.append((at_ms, len(events), clock(at_ms - phase.clock_lag_ms)))
        for feed, mode in zip(feeds, phase.modes, strict=True):
            for at_ms in feed.times(start_ms, end_ms):
                for message in feed.scrape(at_ms, mode):
                    events.append((message["at_ms"], len(events), message))
        start_ms = end_ms
    events.sort(key=lambda event: event[:2])
    log = [message for _, _, message in events][:MAX_MESSAGES]
    number_origins(log)
    # An entity none of whose samples was ever taken is removed at the next clock message, and with it the
    # memory by which a repetition is known.
    if any(source.skew_ms > MAX_AHEAD_MS for source in scenario.sources):
        return log
    for resend in scenario.resends:
        again = [
            message
            for message in log[resend.first : resend.first + resend.count]
            if message["type"] != "clock"
        ]
        place = min(resend.first + resend.count + resend.later, len(log))
        while place > resend.first and log[place - 1]["at_ms"] > log[resend.first]["at_ms"] + RESEND_MS:
            place -= 1
        log[place:place] = again
    return log


def number_origins(log: list[Observation]) -> None:
    """Gives the messages of each origin partition rising offsets in the order of the log.

    Observations of one scrape, which `Feed` has marked with one number, keep a common offset.
    """
    newest: dict[int, tuple[int, int]] = {}
    for message in log:
        partition, scrape = message["origin_partition"], message["origin_offset"]
        if partition >= 0:
            last_scrape, offset = newest.get(partition, (-1, 99))
            offset += scrape != last_scrape
            newest[partition] = (scrape, offset)
            message["origin_offset"] = offset


class Feed:
    """Writes the observations of one source."""

    def __init__(self, source: Source, index: int) -> None:
        self.source = source
        self.index = index
        self.number = 0
        self.jitter = cycle(source.jitter_ms)
        self.totals: dict[tuple[Entity, str], float] = {}
        self.last: dict[Entity, list[Reading]] = {}

    def times(self, start_ms: int, end_ms: int) -> list[int]:
        """When it scrapes in a stretch of time; on cue means each 4 s here."""
        every_ms = self.source.interval_ms or 4_000
        first_ms = start_ms + (self.source.phase_ms + EPOCH_MS - start_ms) % every_ms
        most = 8 if end_ms - start_ms > 100_000 else 100
        return [at_ms + next(self.jitter) for at_ms in range(first_ms, end_ms, every_ms)][:most]

    def scrape(self, at_ms: int, mode: str) -> list[Observation]:
        """What one scrape gives."""
        self.number += 1
        source = self.source
        moved = mode == "moved"
        fields: dict[str, Any] = {
            "interval_ms": 30_000 if moved else source.interval_ms,
            "priority": 15 if moved else source.priority,
            "target": "" if source.pushed and not moved else f"{source.name}:{9200 if moved else 9100}",
            "scraped_at_ms": at_ms + {"ahead": 3_000, "old label": -20_000}.get(mode, 0),
        }
        origin = (self.index % 2, self.number * 10 + self.index)
        if mode == "silent":
            return []
        if mode == "fail":
            return [failure(at_ms, source.name, origin, target=fields["target"], scraped_at_ms=at_ms)]
        readings = {ENTITIES[one]: self.readings(ENTITIES[one], at_ms, mode) for one in source.entities}
        labels = {"nodepool": ("1", "", "2")[self.number % 3], "empty": ""} if "label" in mode else {}
        forms = {name: 1 for name, form in FORMS.items() if form == 0} if mode == "form" else {}
        parts = [[entity] for entity in readings] if source.split else [list(readings)]
        return [
            values(
                at_ms + (8_000 if mode == "delayed" else 250 * (self.number % 2)),
                source.name,
                origin,
                {entity: readings[entity] for entity in part},
                attributes=dict.fromkeys(part, labels),
                forms=forms,
                **fields,
            )
            for part in parts
        ]

    def readings(self, entity: Entity, at_ms: int, mode: str) -> list[Reading]:
        """The samples of one entity; the good ones are what `repeat` and `conflict` refer to later."""
        if mode == "empty":
            return []
        last = self.last.get(entity, [])
        if last and at_ms - last[0][2] > RESEND_MS + 90_000:
            last = []
        if last and mode in ("repeat", "conflict", "old label"):
            return [(metric, value + (mode == "conflict"), time_ms) for metric, value, time_ms in last]
        time_ms = at_ms + self.source.skew_ms - (20_000 if mode == "late" else 0)
        metrics = self.source.metrics[:1] if mode == "partial" else self.source.metrics
        rows = [
            (metric, self.value(entity, metric, mode), time_ms - (place * 1_500 if mode == "spread" else 0))
            for place, metric in enumerate(metrics)
        ]
        self.last[entity] = rows
        if mode == "burst":
            later = [(metric, self.value(entity, metric, mode), time_ms + 1_750) for metric in metrics]
            rows = self.last[entity] = rows + later
        if mode == "wild":
            bad = [
                (metrics[0], (float("nan"), float("inf"))[self.number % 2], time_ms + 250),
                ("rx", -1.0, time_ms),
            ]
            return bad[:1] + rows + bad[1:] + [(metrics[0], 1.0, at_ms + 90_000)]
        return rows

    def value(self, entity: Entity, metric: str, mode: str) -> float:
        """The next value of a metric; counters grow and are reset at times."""
        place = self.number + ENTITIES.index(entity)
        if metric == "up":
            return 0.0 if mode == "zero up" else 1.0
        if FORMS[metric] != 2:
            return GAUGES[place % len(GAUGES)]
        total = self.totals.get((entity, metric), 0.0) + INCREASES[place % len(INCREASES)]
        if place % RESET_EVERY == 0:
            total = INCREASES[place % len(INCREASES)] / 3
        self.totals[entity, metric] = total
        return total
