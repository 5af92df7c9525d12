"""Which items of a batch KairosDB refused: it names data points by their number, and keeps the rest."""

import re
from collections.abc import Awaitable, Callable, Sequence
from itertools import accumulate

from streams.stores import Refusal
from streams.stores.kairosdb_http import MAX_ERROR, Faults
from streams.stores.kairosdb_points import Points

Post = Callable[[list[str]], Awaitable[Faults | None]]
"""Posts the texts of items; None when all were taken. Raises StoreError when it must be tried again later."""


async def post_all(items: Sequence[Points], post: Post) -> list[Refusal]:
    """Post items until each is either taken or known to be refused.

    What KairosDB 1.3 does: it takes all data points that it can, and tells in `errors` which it could not, as
    `metric[<number>]…`; or, of what it cannot even read, only why. Posting what it has already changes
    nothing, so the culprits are then found by posting less and less. Too long a text it drops without a word.

    Raises:
        StoreError: see `Post`.
    """
    refusals = [Refusal(place, "too_large", item.fault) for place, item in enumerate(items) if item.fault]
    pending = [[place for place, item in enumerate(items) if not item.fault]]
    while pending:
        places = pending.pop()
        if not places:
            continue
        faults = await post([items[place].text for place in places])
        if faults is None:
            continue
        named = _named(faults, items, places)
        if named is not None:
            refusals += named
        elif len(places) == 1:
            refusals.append(_refusal(places[0], faults.status, "; ".join(faults.errors)))
        else:
            middle = len(places) // 2
            pending += [places[:middle], places[middle:]]
    return sorted(refusals, key=lambda refusal: refusal.index)


def _named(faults: Faults, items: Sequence[Points], places: list[int]) -> list[Refusal] | None:
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
