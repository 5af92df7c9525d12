"""The scrapes of a Prometheus server that a collector would have made in the past, from range queries."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from math import isnan
from operator import itemgetter
from typing import Any, NamedTuple

from streams.collect.cadence import Cadence
from streams.collect.chunk import Chunker
from streams.collect.infos import Infos
from streams.collect.limits import limit
from streams.collect.promql import SampleTimes, read_answer
from streams.collect.target import Harvest, Target
from streams.domain.columns import ABSENT, Column, Places, Row, Rows
from streams.domain.series import format_series, parse_series
from streams.errors import SourceError
from streams.records import Scrape

CUTS_MAX = 64
"""[1] Ways to cut up the same series that are remembered: one for each set of targets with new samples."""

Labels = dict[str, str]


class Span(NamedTuple):
    """Times at which a server is asked: start, start + step, … as many as `steps`."""

    start_ms: int
    step_ms: int
    steps: int

    @property
    def end_ms(self) -> int:
        """[ms since the epoch] The last of them."""
        return self.start_ms + (self.steps - 1) * self.step_ms

    def times_ms(self) -> list[int]:
        """[ms since the epoch] All of them."""
        return [self.start_ms + number * self.step_ms for number in range(self.steps)]


@dataclass(frozen=True)
class Answers:
    """What a server said of a range, as it came.

    Args:
        ups: answer to `timestamp(up)`.
        replies: to the queries of each pack: key of the target, name of the query, and the answer.
    """

    span: Span
    ups: bytes
    replies: list[tuple[str, str, bytes]]


@dataclass
class PastScrapes:
    """Makes scrapes of the answers of one server, range after range in the order of time.

    The collector asks at moments; what it would have been told at each step of a range is in one answer
    here. All else is as there: names, true sample times, groups, intervals, caps and chunks.
    """

    targets: Sequence[Target]
    samples: int = 0
    """[1] Values that the server gave, without those of the sample times."""
    dropped: dict[str, int] = field(default_factory=dict)
    """[1] Values that were not shipped, by reason."""

    def __post_init__(self) -> None:
        self._cadence = Cadence()
        self._packs = {target.key: _PackScrapes(target, self) for target in self.targets}

    def scrapes(self, answers: Answers) -> Iterator[tuple[int, list[Scrape]]]:
        """The scrapes of each step, and its time [ms since the epoch]; a step may have none.

        Raises:
            SourceError: an answer is not one of this API.
        """
        ups = self._read_ups(answers)
        parts = []
        for key, pack in self._packs.items():
            replies = [(name, body) for target, name, body in answers.replies if target == key]
            parts.append(pack.scrapes(answers.span, replies, ups, self._cadence))
        following = [next(part, None) for part in parts]
        for step, time_ms in enumerate(answers.span.times_ms()):
            records: list[Scrape] = []
            for place, part in enumerate(parts):
                found = following[place]
                if found and found[0] == step:
                    records += found[1]
                    following[place] = next(part, None)
            yield time_ms, records

    def drop(self, reason: str, count: int) -> None:
        """Count values that are not shipped."""
        if count:
            self.dropped[reason] = self.dropped.get(reason, 0) + count

    def _read_ups(self, answers: Answers) -> list[tuple[Labels, list[int]]]:
        ups = []
        for labels, values, _ in read_matrix(answers.ups, answers.span):
            labels.pop("__name__", None)
            times_ms = [ABSENT if isnan(value) else round(value * 1000) for value in values]
            self._cadence.observe(labels, [time_ms for time_ms in times_ms if time_ms != ABSENT])
            ups.append((labels, times_ms))
        return ups


class _PackScrapes:
    """The part of one rule pack."""

    def __init__(self, target: Target, whole: PastScrapes) -> None:
        self._target, self._whole = target, whole
        self._rows = Rows()
        self._cuts: dict[Places | None, Chunker] = {}
        self._companions: dict[tuple[Places, Places], Places] = {}
        self._texts: list[str] = []
        self._known: dict[tuple[str, ...], tuple[str, str]] = {}

    def scrapes(
        self,
        span: Span,
        replies: list[tuple[str, bytes]],
        ups: list[tuple[Labels, list[int]]],
        cadence: Cadence,
    ) -> Iterator[tuple[int, list[Scrape]]]:
        """Number of a step and its records, where it has any."""
        columns, intervals_ms = self._columns(span, replies, ups, cadence)
        texts = [column.text for column in columns]
        if texts != self._texts:
            self._texts, self._cuts, self._companions = texts, {}, {}
        before = self._rows.repeated
        for row in self._rows.of(columns, span.steps, self._with_infos):
            yield row.step, self._records(row, span.start_ms + row.step * span.step_ms, intervals_ms)
        self._whole.drop("repeated", self._rows.repeated - before)

    def _columns(
        self,
        span: Span,
        replies: list[tuple[str, bytes]],
        ups: list[tuple[Labels, list[int]]],
        cadence: Cadence,
    ) -> tuple[list[Column], dict[str, int]]:
        columns: list[Column] = []
        intervals_ms: dict[str, int] = {}
        asked_ms = span.times_ms()
        # The newest sample time of each target stands for all of its series.
        seen_ms = [
            [asked if seen == ABSENT else seen for asked, seen in zip(asked_ms, found, strict=True)]
            for _, found in ups
        ]
        times = SampleTimes([(labels, place) for place, (labels, _) in enumerate(ups)])
        for query, body in replies:
            for labels, values, is_whole in read_matrix(body, span):
                text, group = self._name(labels.pop("__name__", query), labels)
                up = times.find(labels)
                times_ms = seen_ms[up[1]] if up else asked_ms
                if not is_whole:
                    times_ms = [
                        ABSENT if isnan(value) else time_ms
                        for value, time_ms in zip(values, times_ms, strict=True)
                    ]
                if up:
                    self._note_interval(intervals_ms, group, cadence.interval_ms(up[0]))
                columns.append(Column(text, group, values, times_ms, is_whole))
                self._whole.samples += span.steps if is_whole else span.steps - times_ms.count(ABSENT)
        return self._within_caps(columns, span.steps), intervals_ms

    def _name(self, name: str, labels: Mapping[str, str]) -> tuple[str, str]:
        key = (name, *labels, *labels.values())
        known = self._known.get(key)
        if known is None:
            if len(self._known) >= 2 * self._target.caps.samples:
                self._known.clear()
            text = format_series(name, labels)
            known = self._known[key] = (text, self._target.pack.group_of(text))
        return known

    def _note_interval(self, intervals_ms: dict[str, int], group: str, interval_ms: int) -> None:
        # As the collector does: a target must not seem silent that its server asks less often.
        own_ms = self._target.interval_ms
        if own_ms and interval_ms > max(own_ms, intervals_ms.get(group, 0)):
            intervals_ms[group] = interval_ms

    def _within_caps(self, columns: list[Column], steps: int) -> list[Column]:
        all_of = Harvest([column.text for column in columns], [0.0] * len(columns), list(range(len(columns))))
        limit(all_of, self._target.caps)
        for reason, count in all_of.dropped.items():
            self._whole.drop(reason, count * steps)
        return [columns[place] for place in all_of.times_ms]

    def _with_infos(self, there: Places, new: Places) -> Places:
        """The new series, and the info series that they are joined with."""
        if not self._target.pack.joins:
            return new
        found = self._companions.get((there, new))
        if found is None:
            if len(self._companions) >= CUTS_MAX:
                self._companions.clear()
            infos = Infos(self._target.pack, [parse_series(self._texts[place]) for place in there])
            spots = {place: spot for spot, place in enumerate(there)}
            needed = {there[spot] for spot in infos.needed_by(spots[place] for place in new)}
            found = self._companions[there, new] = tuple(sorted(needed.union(new)))
        return found

    def _records(self, row: Row, time_ms: int, intervals_ms: dict[str, int]) -> list[Scrape]:
        chunker = self._cuts.get(row.places)
        if chunker is None:
            if len(self._cuts) >= CUTS_MAX:
                self._cuts.clear()
            chunker = self._cuts[row.places] = Chunker(self._target)
        return chunker.records(
            Harvest(
                self._texts if row.places is None else [self._texts[place] for place in row.places],
                list(row.values),
                list(row.times_ms),
                intervals_ms=intervals_ms,
            ),
            time_ms,
        )


def read_matrix(body: bytes, span: Span) -> Iterator[tuple[Labels, list[float], bool]]:
    """Labels of each series of an answer, its value at each step (NaN: none), and whether none lacks.

    Raises:
        SourceError: it is not a range vector of this API.
    """
    data, _ = read_answer(body)
    try:
        if data["resultType"] != "matrix":
            raise SourceError("result_type", f"the result is a {data['resultType']}, not a range vector")
        for item in data["result"]:
            labels = item["metric"]
            if not isinstance(labels, dict):
                raise TypeError
            pairs = item.get("values", ())  # a native histogram has none
            yield labels, *_dense(pairs, span)
    except (LookupError, TypeError, ValueError, AttributeError, OverflowError) as error:
        raise SourceError("error_body", f"the data is not a range vector: {type(error).__name__}") from None


def _dense(pairs: Sequence[Any], span: Span) -> tuple[list[float], bool]:
    values = list(map(float, map(itemgetter(1), pairs)))
    # One sum over all values costs a tenth of a look at each; infinities of both signs are looked at below.
    if len(values) == span.steps and _ms(pairs[0][0]) == span.start_ms and not isnan(sum(values)):
        return values, True
    dense = [float("nan")] * span.steps
    for pair, value in zip(pairs, values, strict=True):
        place, off = divmod(_ms(pair[0]) - span.start_ms, span.step_ms)
        if not off and 0 <= place < span.steps:
            dense[place] = value
    return dense, False


def _ms(seconds: Any) -> int:
    return round(float(seconds) * 1000)
