"""Which items of a batch KairosDB refused: it names data points by their number, and keeps the rest."""

import re
from collections.abc import Awaitable, Callable, Sequence
from itertools import accumulate

from streams.stores import Refusal
from streams.stores.http import MAX_ERROR
from streams.stores.kairosdb.client import Faults
from streams.stores.kairosdb.points import Points
from streams.stores.settling import Places, halves, in_order, settle

Post = Callable[[list[str]], Awaitable[Faults | None]]
"""Posts the texts of items; None when all were taken. Raises StoreError when it must be tried again later."""


async def post_all(items: Sequence[Points], post: Post) -> list[Refusal]:
    """Post items until each is either taken or known to be refused.

    What KairosDB 1.3 does: it takes all data points that it can, and tells in `errors` which it could not, as
    `metric[<number>]…`; or, of what it cannot even read, only why. Too long a text it drops without a word.

    Raises:
        StoreError: see `Post`.
    """
    refusals = [Refusal(place, "too_large", item.fault) for place, item in enumerate(items) if item.fault]
    good = [place for place, item in enumerate(items) if not item.fault]

    def judge(faults: Faults, places: Places) -> tuple[list[Refusal], list[Places]]:
        named = _named(faults, items, places)
        if named is not None:
            return named, []
        if len(places) == 1:
            return [_refusal(places[0], faults.status, "; ".join(faults.errors))], []
        return [], halves(places)

    refusals += await settle(good, lambda places: post([items[place].text for place in places]), judge)
    return in_order(refusals)


def _named(faults: Faults, items: Sequence[Points], places: Places) -> list[Refusal] | None:
    """Refusals of the items that are named; None unless each error names one."""
    ends = list(accumulate(items[place].size for place in places))
    refusals: dict[int, Refusal] = {}
    for error in faults.errors:
        found = re.match(r"metric\[(\d+)\]", error)
        number = int(found[1]) if found else ends[-1]
        if number >= ends[-1]:
            return None
        place = next(place for place, end in zip(places, ends, strict=True) if number < end)
        refusals.setdefault(place, _refusal(place, faults.status, error))
    return list(refusals.values())


def _refusal(place: int, status: int, error: str) -> Refusal:
    reason = "too_large" if status == 413 else "data_point"
    return Refusal(place, reason, f"KairosDB: HTTP {status}: {error[:MAX_ERROR]}")
