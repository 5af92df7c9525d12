"""What the messages of a log changed: keys to write or to delete, rows for `tick`, partials of pools."""

from dataclasses import dataclass, field

from streams.domain.ticks import TickRows
from streams.records import Observation


@dataclass
class Changes:
    """What a message, or several, changed: keys to write or to delete, rows for `tick`, partials of pools."""

    changed: set[str] = field(default_factory=set)
    ticks: TickRows = field(default_factory=TickRows)
    outcomes: dict[str, list[int]] = field(default_factory=dict)
    """Samples of each source that became applied, duplicate, late, conflict, rejected."""

    partials: list[tuple[int, Observation]] = field(default_factory=list)
    """What is told to pools, and the partition of `observation` that it goes to."""

    def count(self, source: str, counts: list[int]) -> None:
        """Add to the outcomes."""
        known = self.outcomes.get(source)
        self.outcomes[source] = [a + b for a, b in zip(known, counts, strict=True)] if known else counts


def write_order(key: str, *, is_removal: bool) -> tuple[int, str]:
    """Where a record stands among those that are written together.

    A worker can end between any two writes. What is found ahead of its world, or of the live record that it
    is made from, is skipped when the messages come again; ids of events say that all else was written.
    """
    world, kind, _ = key.split("/", 2)
    if kind == "_ids":
        return 3, key
    if is_removal or kind == "world" or kind.startswith("_"):
        return 2, key
    return int(world == "live"), key
