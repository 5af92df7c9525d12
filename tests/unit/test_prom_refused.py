"""Which samples Prometheus refused: found out from a small model of it, whatever is posted."""

from hypothesis import given
from hypothesis import strategies as st

from streams.stores.http import Answer
from streams.stores.prometheus.refused import write_all
from streams.stores.prometheus.remotewrite import Sample, decode_labels, encode_labels
from streams.stores.promql.api import Found

HOUR_MS = 1_000
"""[ms] How much older than the newest of all a sample of the model may be."""


def series_of(id: str) -> bytes:
    """Labels of a node's series."""
    return encode_labels({"__name__": "load_load1", "node_id": id, "world": "live", "simulated": "false"})


class ModelPrometheus:
    """Takes all of a post or nothing of it, as 2.42 does."""

    def __init__(self) -> None:
        self.held: dict[bytes, dict[int, float]] = {}
        self.posts = 0
        self.lookups = 0

    async def post(self, samples: list[Sample]) -> Answer | None:
        """Keep the samples, unless there is one that cannot be kept."""
        self.posts += 1
        newest_ms = max((max(points) for points in self.held.values()), default=0)
        for sample in samples:
            points = self.held.get(sample.series, {})
            if sample.at_ms < newest_ms - HOUR_MS:
                return Answer(400, b"out of bounds\n", None)
            if points and sample.at_ms < max(points):
                return Answer(400, b"out of order sample\n", None)
            if points.get(sample.at_ms, sample.value) != sample.value:
                return Answer(400, b"duplicate sample for timestamp\n", None)
        for sample in samples:
            points = self.held.setdefault(sample.series, {})
            assert not points or sample.at_ms >= max(points), "lost without a word"
            points[sample.at_ms] = sample.value
        return None

    async def raw(self, series: str, start_ms: int, end_ms: int) -> list[Found]:
        """All that is there; more than was asked for may come."""
        self.lookups += 1
        found = []
        for labels, points in self.held.items():
            times = [time_ms for time_ms in sorted(points) if start_ms <= time_ms < end_ms]
            found.append(Found(decode_labels(labels), times, [points[time_ms] for time_ms in times]))
        return found


samples = st.lists(
    st.builds(
        Sample,
        st.sampled_from([series_of(id) for id in ("n1", "n2", 'n"3')]),
        st.integers(0, 40).map(lambda number: number * 100),
        st.sampled_from([1.0, 2.0]),
    ),
    max_size=30,
)


@given(st.lists(samples, max_size=4))
async def test_each_sample_is_kept_or_refused(batches: list[list[Sample]]) -> None:
    server = ModelPrometheus()

    for batch in batches:
        refused = {refusal.index for refusal in await write_all(batch, server.post, server.raw)}

        # Of two values for the same time in a batch the last one counts.
        last = {(sample.series, sample.at_ms): place for place, sample in enumerate(batch)}
        for place in last.values():
            sample = batch[place]
            is_held = server.held.get(sample.series, {}).get(sample.at_ms) == sample.value
            assert is_held != (place in refused)


@given(samples)
async def test_what_is_written_again_is_kept(batch: list[Sample]) -> None:
    server = ModelPrometheus()
    recent = [sample for sample in batch if sample.at_ms >= 3_000]
    assert await write_all(recent, server.post, server.raw) == []

    assert await write_all(recent, server.post, server.raw) == []
    assert server.lookups <= 1


async def test_a_batch_that_is_too_old_takes_a_post_for_each_time_and_not_for_each_sample() -> None:
    server = ModelPrometheus()
    await server.post([Sample(series_of("now"), 10_000, 1.0)])
    batch = [Sample(series_of(f"n{number}"), time_ms, 1.0) for number in range(500) for time_ms in (1, 2, 3)]
    good = [Sample(series_of("n1"), 9_500, 1.0)]
    server.posts = 0

    refusals = await write_all(batch + good, server.post, server.raw)

    assert [refusal.index for refusal in refusals] == list(range(1_500))
    assert {refusal.reason for refusal in refusals} == {"out_of_bounds"}
    assert server.posts < 40
    assert server.held[series_of("n1")] == {9_500: 1.0}


async def test_one_sample_that_is_too_old_takes_no_other_with_it() -> None:
    server = ModelPrometheus()
    await server.post([Sample(series_of("now"), 10_000, 1.0)])
    good = [Sample(series_of(f"n{number % 3}"), 9_000 + 10 * number, float(number)) for number in range(50)]
    old = [Sample(series_of(f"old{number}"), 7 * number, 1.0) for number in range(5)]

    refusals = await write_all(good[:20] + old + good[20:], server.post, server.raw)

    assert [refusal.index for refusal in refusals] == [20, 21, 22, 23, 24]
    held = {(series, at_ms) for series, points in server.held.items() for at_ms in points}
    assert {(sample.series, sample.at_ms) for sample in good} < held


async def test_a_sample_that_is_too_large_is_refused_alone() -> None:
    async def post(batch: list[Sample]) -> Answer | None:
        return Answer(413, b"too large", None) if any(sample.at_ms == 2 for sample in batch) else None

    batch = [Sample(series_of("n1"), at_ms, 1.0) for at_ms in range(4)]

    refusals = await write_all(batch, post, ModelPrometheus().raw)

    assert [(refusal.index, refusal.reason) for refusal in refusals] == [(2, "refused")]


async def test_nothing_is_not_posted() -> None:
    server = ModelPrometheus()

    assert await write_all([], server.post, server.raw) == []
    assert server.posts == 0
