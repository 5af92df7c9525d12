"""The answers of a server over a time range, turned into what single questions would have given.

Series come as columns, one item for each step of the range; what the twin takes are rows, one for each step.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

ABSENT = -1
"""[ms] Stands for the time of a sample that is not there."""


@dataclass(slots=True)
class Column:
    """One series over the steps of a range.

    Args:
        group: name of the series that are taken together; see `RulePack.group_of`.
        values: one for each step; NaN where the series was not there.
        times_ms: [ms since the epoch] true time of the sample that each step sees, ABSENT where there is
            none; the very same list for all series of one target, so that it is looked at once.
        is_whole: whether no step lacks a value.
    """

    text: str
    group: str
    values: Sequence[float]
    times_ms: Sequence[int]
    is_whole: bool


Places = tuple[int, ...]
"""Numbers of columns."""

Companions = Callable[[Places, Places], Places]
"""Of the columns that a step sees, and of those that are new: the latter, with what they need beside them."""


class Row(NamedTuple):
    """What one step sees that is new.

    Args:
        step: number of it.
        places: of its columns; None: all of them.
    """

    step: int
    places: Places | None
    values: Sequence[float]
    times_ms: Sequence[int]


@dataclass
class Rows:
    """Cuts columns into rows and leaves out groups of which a step sees nothing new, as the collector does.

    It remembers what the last step saw, because the columns of a long range come in several parts.
    """

    repeated: int = 0
    """[1] Samples that were left out."""
    _seen_ms: Mapping[str, int] = field(default_factory=dict)

    def of(self, columns: Sequence[Column], steps: int, companions: Companions) -> Iterator[Row]:
        """The rows of the next steps; steps that see nothing new have none."""
        seen_ms, self._seen_ms = (
            self._seen_ms,
            {
                column.text: time_ms
                for column in columns
                if steps and (time_ms := column.times_ms[-1]) != ABSENT
            },
        )
        if not columns or not steps:
            return
        news = _news(columns, seen_ms, steps)
        groups = len({column.group for column in columns})
        whole = all(column.is_whole for column in columns)
        values = zip(*(column.values for column in columns), strict=True)
        times = zip(*(column.times_ms for column in columns), strict=True)
        for step, (fresh, row, times_ms) in enumerate(zip(news, values, times, strict=True)):
            if whole and len(fresh) == groups:
                yield Row(step, None, row, times_ms)
                continue
            there = tuple(place for place, time_ms in enumerate(times_ms) if time_ms != ABSENT)
            places = tuple(place for place in there if columns[place].group in fresh)
            if 0 < len(places) < len(there):
                places = companions(there, places)
            self.repeated += len(there) - len(places)
            if places:
                yield Row(
                    step, places, [row[place] for place in places], [times_ms[place] for place in places]
                )


def _news(columns: Sequence[Column], seen_ms: Mapping[str, int], steps: int) -> list[set[str]]:
    """For each step the groups of which it sees a newer sample than the step before it."""
    alike: dict[tuple[str, int], list[Column]] = {}
    for column in columns:
        alike.setdefault((column.group, id(column.times_ms)), []).append(column)
    news: list[set[str]] = [set() for _ in range(steps)]
    for (group, _), members in alike.items():
        before_ms = min(seen_ms.get(column.text, ABSENT) for column in members)
        for fresh, time_ms in zip(news, members[0].times_ms, strict=True):
            if time_ms > before_ms:
                fresh.add(group)
            before_ms = time_ms
    return news
