"""Which samples Prometheus refused: it answers for a whole post, and keeps nothing of it."""

from bisect import bisect_left, bisect_right
from collections.abc import Awaitable, Callable, Sequence

from streams.stores import Refusal
from streams.stores.http import Answer
from streams.stores.prometheus.remotewrite import Sample, decode_labels, encode_labels
from streams.stores.promql.api import Found, said_in
from streams.stores.promql.names import entity_of, match, matches, selector
from streams.stores.settling import Places, halves, in_order, settle

MAX_IDS = 1_000
"""[1] Entities of one post that are named when it is looked up; of more, all are read."""

REASONS = {
    "out of order": "out_of_order",
    "too old": "out_of_bounds",
    "out of bounds": "out_of_bounds",
    "duplicate": "other_value",
}
"""Short name of the reason by a text in the answer."""

Post = Callable[[list[Sample]], Awaitable[Answer | None]]
"""Posts samples; None when all were kept, else the answer. Raises StoreError when it must be tried again."""

Raw = Callable[[str, int, int], Awaitable[list[Found]]]
"""Values of the series that a selector names, start <= time < end."""


async def write_all(samples: Sequence[Sample], post: Post, raw: Raw) -> list[Refusal]:
    """Post samples until each is either kept or known to be refused.

    What Prometheus does: it keeps all of a post or nothing, and does not say which sample it refused. One
    that it has is fine, but only if its series has no newer one; so it is asked what it has. Then less and
    less is posted, older samples first, for what is older than others cannot follow them. Of samples of one
    time all are too old, or none.

    Raises:
        StoreError: see `Post`.
    """
    newest = {(sample.series, sample.at_ms): place for place, sample in enumerate(samples)}
    places = sorted(newest.values(), key=lambda place: samples[place].at_ms)
    answer = await post([samples[place] for place in places]) if places else None
    if answer is None:
        return []
    rest, refused = await _look_up(samples, places, answer, raw)
    refused += await settle(
        rest,
        lambda some: post([samples[place] for place in some]),
        lambda answer, some: _judge(answer, samples, some),
    )
    return in_order(refused)


def _judge(answer: Answer, samples: Sequence[Sample], places: Places) -> tuple[list[Refusal], list[Places]]:
    times = [samples[place].at_ms for place in places]
    by_time = _reason(answer) == "out_of_bounds"
    if len(places) == 1 or (by_time and times[0] == times[-1]):
        return [_refusal(place, answer) for place in places], []
    if not by_time:
        return [], halves(places)
    middle = bisect_left(times, times[len(times) // 2]) or bisect_right(times, times[0])
    return [], [places[middle:], places[:middle]]


async def _look_up(
    samples: Sequence[Sample], places: Places, answer: Answer, raw: Raw
) -> tuple[Places, list[Refusal]]:
    """The places that are worth another try, and those that cannot be kept; the others are kept already."""
    held: dict[bytes, dict[int, float]] = {}
    start_ms, end_ms = samples[places[0]].at_ms, samples[places[-1]].at_ms + 1
    for series in _selectors({samples[place].series for place in places}):
        for found in await raw(series, start_ms, end_ms):
            if found.times_ms:
                held[encode_labels(found.labels)] = dict(zip(found.times_ms, found.values, strict=True))
    rest, refused = [], []
    in_order = _reason(answer) == "out_of_order"
    for place in places:
        sample = samples[place]
        points = held.get(sample.series, {})
        if points.get(sample.at_ms) == sample.value:
            continue
        if sample.at_ms in points or (in_order and points and sample.at_ms < max(points)):
            refused.append(_refusal(place, answer))
        else:
            rest.append(place)
    return rest, refused


def _selectors(series: set[bytes]) -> list[str]:
    """Selectors of all that has the name, the world and perhaps an id of one of the series."""
    labels = [decode_labels(each) for each in series]
    common = ",".join(
        match(label, sorted({each[label] for each in labels})) for label in ("__name__", "world")
    )
    entities = {entity for each in labels if (entity := entity_of(each))}
    if len(entities) > MAX_IDS:
        return [selector(common)]
    ids: dict[str, list[str]] = {}
    for entity in sorted(entities):
        ids.setdefault(f"{entity.kind}_id", []).append(entity.id)
    return [selector(common, matcher) for label, some in ids.items() for matcher in matches(label, some)]


def _reason(answer: Answer) -> str:
    return next((reason for text, reason in REASONS.items() if text in said_in(answer)), "refused")


def _refusal(place: int, answer: Answer) -> Refusal:
    return Refusal(place, _reason(answer), f"Prometheus: HTTP {answer.status}: {said_in(answer)}")
