"""Which info series the series of a scrape are joined with: a chunk must hold these, and no others."""

from collections.abc import Iterable, Mapping, Sequence

from streams.domain.rules import Join, RulePack, same_labels

Parsed = tuple[str, dict[str, str]]
"""Name and labels of a series."""


class Infos:
    """The info series among the series of one scrape, found by the labels that a pack's joins compare."""

    def __init__(self, pack: RulePack, series: Sequence[Parsed]) -> None:
        self._parsed = series
        self._joins = [(join, *self._index(join)) for join in pack.joins]

    def needed_by(self, places: Iterable[int]) -> set[int]:
        """Places of the info series that the series at these places are joined with."""
        needed = {place for _, _, keyless in self._joins for place in keyless}
        for place in places:
            name, labels = self._parsed[place]
            labels = dict(labels)  # joins add to them, and a later join may compare what an earlier one added
            for join, tables, _ in self._joins:
                if join.only and not (join.only.takes_name(name) and join.only.takes_labels(labels)):
                    continue
                info = _find(join, tables, labels)
                if info is None:
                    continue
                needed.add(info)
                row = self._parsed[info][1]
                for label, there in join.add:
                    if there in row:
                        labels.setdefault(label, row[there])
        return needed

    def _index(self, join: Join) -> tuple[list[dict[tuple[str, ...], int]], list[int]]:
        """Places of the join's info series by values, for each alternative; and of those that have none.

        The latter are in every chunk: whether there is one of them or more makes a difference to a join.
        """
        rows = [
            (place, labels)
            for place, (name, labels) in enumerate(self._parsed)
            if join.info.takes_name(name) and join.info.takes_labels(labels)
        ]
        tables: list[dict[tuple[str, ...], int]] = []
        for on in join.on:
            flipped = tuple((there, here) for here, there in on)
            table: dict[tuple[str, ...], int] = {}
            for place, labels in rows if on else ():
                values = same_labels(flipped, labels)
                if values is not None:
                    table.setdefault(values, place)
            tables.append(table)
        keyed = {there for on in join.on for _, there in on}
        return tables, [place for place, labels in rows if not keyed & labels.keys()]


def _find(join: Join, tables: list[dict[tuple[str, ...], int]], labels: Mapping[str, str]) -> int | None:
    for on, table in zip(join.on, tables, strict=True):
        values = same_labels(on, labels) if on else None
        if values is not None and values in table:
            return table[values]
    return None
