"""Cuts series into chunks of whole groups: what has to stay together goes into one message."""

from collections.abc import Iterator, Sequence


def fill(
    groups: Sequence[Sequence[int]], sizes: Sequence[int], *, groups_max: int, bytes_max: int
) -> Iterator[list[int]]:
    """Places of each chunk: whole groups, as many as fit; a series that several groups need is in it once.

    A group that does not fit into a chunk has one of its own.

    Args:
        groups: places of the series of each group.
        sizes: [B] of the series at each place.
    """
    chunk: set[int] = set()
    count = taken = 0
    for group in groups:
        size = sum(sizes[place] for place in group if place not in chunk)
        if chunk and (count == groups_max or taken + size > bytes_max):
            yield sorted(chunk)
            chunk, count, taken = set(), 0, 0
            size = sum(sizes[place] for place in group)
        chunk.update(group)
        count += 1
        taken += size
    yield sorted(chunk)
