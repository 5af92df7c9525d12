"""What is known of a value that somebody asks about, and its explanation."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field

from streams.domain.faults import Fault
from streams.domain.why.faults import Step
from streams.domain.why.samples import Sample
from streams.history.why.log import Source, Subject
from streams.history.why.look import LogLook
from streams.records import State
from streams.stores import PastTick


@dataclass(frozen=True)
class Known:
    """What is known of an entity before the log is looked at.

    Args:
        state: its record in the world now; None when it is not there any more.
        step_ms: [ms] distance of ticks in the world.
        faults: of the world that concern it, edits included.
        past: gives its newest closed tick up to a time from history; None: there is no history.
    """

    state: State | None
    step_ms: int
    faults: Sequence[Fault] = ()
    past: Callable[[int], Awaitable[PastTick | None]] | None = None


@dataclass
class Why:
    """An explanation.

    Args:
        value: what is shown [unit]; None when there is nothing.
        base: what it was before the faults of the world.
        tick_ms: [ms since the epoch] the tick; None: it is the newest value.
        observed_ms: [ms since the epoch] time of the newest sample in it.
        rule: in words, with its numbers.
        found: where it was found: log, record, history or nothing.
        sources: each of the entity's that has the metric: name and why it counts or not, best first.
        missing: what could not be found, and why.
    """

    subject: Subject
    unit: str
    at_ms: int | None
    value: float | None = None
    base: float | None = None
    tick_ms: int | None = None
    observed_ms: int | None = None
    quality: str | None = None
    complete: bool | None = None
    simulated: bool = False
    rule: str = ""
    found: str = "nothing"
    samples: list[Sample] = field(default_factory=list)
    origins: list[Source | None] = field(default_factory=list)
    sources: list[tuple[str, bool, str]] = field(default_factory=list)
    steps: list[Step] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)


def gone(log: LogLook, what: str) -> str:
    """Why something was not found in the topic of observations."""
    if log.is_spent:
        return f"{what} was not found within {log.read_bytes / 1e6:.0f} MB or the time there is"
    return f"{what} is gone: the topic {log.topic('observation')} does not reach back so far"
