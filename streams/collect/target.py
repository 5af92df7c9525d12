"""What a source scrapes, and what one scrape of it yields."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from pydantic import SecretStr

from streams.domain.rules import RulePack
from streams.errors import SourceError

MAX_TIMEOUT_S = 2.0
"""[s] Longest time-out unless the configuration says otherwise: a dead target has to show soon."""


@dataclass(frozen=True)
class Caps:
    """What one scrape may hold; the rest is dropped and counted, a longer body fails the scrape."""

    body_bytes: int = 16 * 1024 * 1024
    samples: int = 50_000
    labels: int = 64
    series_bytes: int = 4096


@dataclass(frozen=True)
class Target:
    """One thing that is scraped with one rule pack; `name` is its public name, free of secrets."""

    kind: str
    source: str
    name: str
    pack: RulePack
    interval_s: float
    timeout_s: float
    url: str = ""
    headers: Mapping[str, SecretStr] = field(default_factory=dict)
    bearer_token_file: Path | None = None
    ca_file: Path | None = None
    caps: Caps = Caps()
    simulated: bool = False
    optional: bool = False
    """True when nobody asked for this pack by name: an empty answer then makes no record."""

    @property
    def key(self) -> str:
        """Kafka key of its scrapes; also what its phase and its shard follow from."""
        return f"{self.source}/{self.name}"

    @property
    def interval_ms(self) -> int:
        """[ms] Interval as records carry it; 0 when it is scraped only on cue."""
        return round(self.interval_s * 1000)


@dataclass
class Harvest:
    """The mapped series of one scrape as parallel arrays; a time of 0 is that of the answer."""

    series: list[str] = field(default_factory=list)
    values: list[float] = field(default_factory=list)
    times_ms: list[int] = field(default_factory=list)
    dropped: dict[str, int] = field(default_factory=dict)
    intervals_ms: dict[str, int] = field(default_factory=dict)
    """[ms] Interval of a group of series where it is not the target's; see `RulePack.group_of`."""
    failures: list[tuple[str, SourceError]] = field(default_factory=list)
    """Parts that failed while others answered: the name of each, and why."""
    scraped_s: float = 0.0
    """[s since the epoch] When the answer came; 0 when that is just now."""

    def drop(self, reason: str, count: int = 1) -> None:
        """Count series that are not shipped."""
        if count:
            self.dropped[reason] = self.dropped.get(reason, 0) + count


class Source(Protocol):
    """One target, ready to be scraped; it may remember what it saw before."""

    target: Target

    async def collect(self) -> Harvest:
        """Scrape once.

        Raises:
            SourceError: the target did not answer, or not with what it should.
        """
        ...


def default_timeout_s(interval_s: float) -> float:
    """[s] Time-out of a target that has none in the configuration; an interval of 0 is on cue."""
    return min(MAX_TIMEOUT_S, interval_s / 2) if interval_s else MAX_TIMEOUT_S
