from typing import NamedTuple

import pytest

from streams.replica.place import MAX_AGE_MS, Place, Progress


class Record(NamedTuple):
    offset: int
    timestamp: int


def progress_of(*firsts: int) -> Progress:
    """Partitions that each begin with a record at offset 0, of such times [ms], and have another at 9."""
    progress = Progress("twin.state.v1")
    for partition, time_ms in enumerate(firsts):
        progress.take(partition, [Record(0, time_ms), Record(9, time_ms + 1)])
    return progress


def test_a_place_is_read_as_it_was_written() -> None:
    place = progress_of(5, 7).place({1: 3, 0: 40})

    assert dict(place.offsets) == {0: 40, 1: 10}
    assert place.newest_ms == 8
    assert Place.read(place.text) == place


@pytest.mark.parametrize(
    "text", ["", "-", "a", "a.b", "..", "a.1.x", "a.1.-5", "a.1. 5", "a.1.5.", "é.1.2", "a.1.", "a" * 30_000]
)
def test_what_names_no_place_is_none(text: str) -> None:
    place = Place.read(text)

    assert place is None or not place.offsets


def test_a_place_of_this_log_is_known() -> None:
    progress = progress_of(5, 7)
    now = progress.place({0: 10, 1: 10})

    assert progress.is_known(now, now)
    assert progress.is_known(now._replace(offsets={0: 0, 1: 3}), now)


@pytest.mark.parametrize(
    "changed",
    [
        {"log": "00000000"},
        {"offsets": {0: 10}},
        {"offsets": {0: 10, 1: 10, 2: 0}},
        {"offsets": {0: 10, 1: 11}},
        {"newest_ms": 6},  # partition 1 began after that
    ],
)
def test_a_place_of_another_log_is_not(changed: dict[str, object]) -> None:
    progress = progress_of(5, 7)
    now = progress.place({0: 10, 1: 10})

    assert not progress.is_known(now._replace(**changed), now)


def test_what_a_partition_never_told_cannot_be_of_another_log() -> None:
    progress = progress_of(5, 7)
    now = progress.place({0: 10, 1: 10})

    assert progress.is_known(now._replace(newest_ms=6, offsets={0: 10, 1: 0}), now)


def test_a_place_from_long_ago_is_not_known() -> None:
    progress = progress_of(5)
    before = progress.place({0: 10})
    progress.take(0, [Record(10, 6 + MAX_AGE_MS)])
    assert progress.is_known(before, progress.place({0: 11}))

    progress.take(0, [Record(11, 7 + MAX_AGE_MS)])
    assert not progress.is_known(before, progress.place({0: 12}))


def test_a_partition_that_began_anew_has_another_first_record() -> None:
    progress = progress_of(5, 7)
    before = progress.place({0: 4, 1: 4})

    progress.forget(0)
    progress.take(0, [Record(0, 100), Record(1, 101)])
    progress.take(1, [])

    assert progress.place({0: 2, 1: 10}).offsets[0] == 2
    assert not progress.is_known(before._replace(offsets={0: 2, 1: 4}), progress.place({0: 2, 1: 10}))
