"""Finding the lines that InfluxDB refuses, against a fake that answers as InfluxDB 2.7 does."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streams.errors import StoreError
from streams.stores.influx.refused import Rejected, post_all


class FakeInflux:
    """Answers as InfluxDB 2.7.12 does, word for word, and keeps what it keeps."""

    def __init__(
        self, *, conflicts: set[str] = frozenset(), old: set[str] = frozenset(), most: int = 10**9
    ) -> None:
        self.conflicts, self.old, self.most = conflicts, old, most
        self.kept: set[str] = set()
        self.posts = 0

    async def post(self, lines: list[str]) -> Rejected | None:
        """Keep the good lines, or none when a line does not parse."""
        self.posts += 1
        if len(lines) > self.most:
            return Rejected(413, "request body too large")
        garbled = [line for line in lines if " " not in line]
        if garbled:
            return Rejected(400, "\n".join(f"unable to parse '{line}': missing fields" for line in garbled))
        late = [line for line in lines if line in self.old]
        bad = [line for line in lines if line in self.conflicts and line not in self.old]
        self.kept |= set(lines) - set(bad) - set(late)
        if bad:
            measurement, _, rest = bad[0].partition(",")
            field = rest.split(" ")[1].partition("=")[0]
            return Rejected(
                422,
                f"failure writing points to database: partial write: field type conflict: input field"
                f' "{field}" on measurement "{measurement}" is type float, already exists as type string'
                f" dropped={len(bad) + len(late)}",
            )
        if late:
            return Rejected(
                422,
                f"failure writing points to database: partial write: dropped {len(late)} points outside"
                f" retention policy of duration 1h0m0s - oldest point m,a=9 at 1970-01-01T00:00:01Z"
                f" dropped={len(late)} for database: 298487507b8da089 for retention policy: autogen",
            )
        return None


def lines_of(count: int, measurement: str = "cpu") -> list[str]:
    """Lines that differ in a tag."""
    return [f"{measurement},id={number} f={number}.0 {number}" for number in range(count)]


async def test_good_lines_are_posted_once() -> None:
    influx = FakeInflux()

    assert await post_all(lines_of(5), influx.post) == []
    assert influx.posts == 1


async def test_lines_that_do_not_parse_are_named_and_the_rest_is_kept() -> None:
    influx, lines = FakeInflux(), lines_of(5)
    lines[1:3] = ["garbage", "rubbish"]

    refusals = await post_all(lines, influx.post)

    assert [(refusal.index, refusal.reason) for refusal in refusals] == [
        (1, "line_protocol"),
        (2, "line_protocol"),
    ]
    assert influx.kept == {lines[0], lines[3], lines[4]}
    assert influx.posts == 2


async def test_a_measurement_in_conflict_takes_few_posts() -> None:
    cpu, memory = lines_of(500), lines_of(500, "memory")
    influx = FakeInflux(conflicts=set(memory))
    lines = [line for pair in zip(cpu, memory, strict=True) for line in pair]

    refusals = await post_all(lines, influx.post)

    assert [refusal.index for refusal in refusals] == list(range(1, 1_000, 2))
    assert {refusal.reason for refusal in refusals} == {"field_type_conflict"}
    assert influx.kept == set(cpu)
    assert influx.posts == 3


async def test_one_line_in_conflict_is_found_among_its_like() -> None:
    lines = lines_of(1_000)
    influx = FakeInflux(conflicts={lines[777]})

    refusals = await post_all(lines, influx.post)

    assert [refusal.index for refusal in refusals] == [777]
    assert influx.kept == set(lines) - {lines[777]}
    assert influx.posts < 25


async def test_lines_beyond_the_retention_are_refused_at_once() -> None:
    lines = lines_of(1_000)
    influx = FakeInflux(old=set(lines))

    refusals = await post_all(lines, influx.post)

    assert len(refusals) == 1_000
    assert {refusal.reason for refusal in refusals} == {"beyond_retention"}
    assert influx.posts == 1


async def test_a_post_that_is_too_large_is_halved() -> None:
    influx, lines = FakeInflux(most=100), lines_of(350)

    assert await post_all(lines, influx.post) == []
    assert influx.kept == set(lines)


async def test_a_line_that_is_too_large_by_itself_is_refused() -> None:
    influx = FakeInflux(most=0)

    refusals = await post_all(lines_of(2), influx.post)

    assert [(refusal.index, refusal.reason) for refusal in refusals] == [(0, "too_large"), (1, "too_large")]


async def test_an_answer_that_is_not_about_the_lines_blames_none() -> None:
    async def post(lines: list[str]) -> Rejected | None:
        return Rejected(400, "a proxy does not like you")

    with pytest.raises(StoreError, match="a proxy does not like you"):
        await post_all(lines_of(3), post)


@given(
    count=st.integers(1, 60),
    conflicts=st.sets(st.integers(0, 59)),
    old=st.sets(st.integers(0, 59)),
    garbled=st.sets(st.integers(0, 59)),
    most=st.integers(1, 100),
)
@settings(max_examples=40)
async def test_each_line_is_kept_or_refused(
    count: int, conflicts: set[int], old: set[int], garbled: set[int], most: int
) -> None:
    lines = lines_of(count)
    for place in garbled & set(range(count)):
        lines[place] = f"garbage{place}"
    bad = {lines[place] for place in conflicts if place < count}
    late = {lines[place] for place in old if place < count}
    influx = FakeInflux(conflicts=bad, old=late, most=most)

    refusals = await post_all(lines, influx.post)

    refused = {lines[refusal.index] for refusal in refusals}
    assert len(refusals) == len(refused)
    assert refused | influx.kept == set(lines)
    assert not refused & influx.kept
