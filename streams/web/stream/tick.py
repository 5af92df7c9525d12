"""What changed in a world between two places of the log, for all who are told of it."""

from dataclasses import dataclass, field

from streams.replica.place import Place
from streams.web.stream.item import Item


@dataclass(slots=True)
class Tick:
    """Changes from `start` to `end`; `items` by key, in order of partition and offset."""

    number: int
    start: Place
    end: Place
    items: dict[bytes, Item]
    _ids: dict[bytes, bytes] = field(default_factory=dict)

    def id_of(self, item: Item) -> bytes:
        """Id of what was told once all up to an item was."""
        if not self._ids:
            steps = Steps(self.start, self.end)
            self._ids = {key: steps.id_of(one) for key, one in self.items.items()}
        return self._ids[item.key]


class Steps:
    """Ids on the way between two places, partition by partition.

    Args:
        start: where it begins.
        end: where it ends.
        first: the partition with which it begins; after the last comes the first one.
    """

    def __init__(self, start: Place, end: Place, first: int = 0) -> None:
        self._start = start
        self._end = end
        self._offsets = dict(start.offsets)
        order = list(end.offsets)
        self._rest = iter(order[first:] + order[:first])
        self._partition = next(self._rest, -1)

    def id_of(self, item: Item) -> bytes:
        """Id of what was told once an item was; is asked in the order of the way."""
        partition, offset = item.current[:2]
        while self._partition != partition:
            self._offsets[self._partition] = self._end.offsets[self._partition]
            self._partition = next(self._rest)
        self._offsets[partition] = max(self._start.offsets[partition], offset + 1)
        return self._end._replace(offsets=self._offsets).text.encode()
