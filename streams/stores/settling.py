"""Posts a batch, whole and then in parts, until each of its items is either kept or known to be refused."""

from collections.abc import Awaitable, Callable
from typing import TypeVar

from streams.stores import Refusal

Places = list[int]
"""Places of items in the batch."""

Answer = TypeVar("Answer")


async def settle(
    places: Places,
    post: Callable[[Places], Awaitable[Answer | None]],
    judge: Callable[[Answer, Places], tuple[list[Refusal], list[Places]]],
) -> list[Refusal]:
    """Refusals of the items at some places, in order.

    Posting what is kept once more must change nothing: the culprits are found by posting less and less.

    Args:
        post: posts items; None when all were kept.
        judge: which of them an answer refuses for sure, and groups of others to post again, the last first.

    Raises:
        StoreError: `post` or `judge` did: all must be tried again.
    """
    refusals: list[Refusal] = []
    pending = [places]
    while pending:
        posted = pending.pop()
        if not posted:
            continue
        answer = await post(posted)
        if answer is not None:
            refused, again = judge(answer, posted)
            refusals += refused
            pending += again
    return in_order(refusals)


def halves(places: Places) -> list[Places]:
    """Two groups of them; the last ones first, so that the first ones are the next to be posted."""
    middle = len(places) // 2
    return [places[middle:], places[:middle]]


def in_order(refusals: list[Refusal]) -> list[Refusal]:
    """The same by their places."""
    return sorted(refusals, key=lambda refusal: refusal.index)
