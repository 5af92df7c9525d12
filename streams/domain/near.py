"""What somebody may have meant who wrote a name that does not exist."""

from collections.abc import Iterable
from difflib import get_close_matches
from itertools import islice

MAX_COMPARED = 5_000
"""[1] Names that are compared: each takes some 20 µs, and a question about a wrong name must stay cheap."""


def near_names(wrong: str, names: Iterable[str], count: int = 3) -> list[str]:
    """Up to `count` of the names that look most like the wrong one, the nearest first."""
    by_folded = {name.casefold(): name for name in islice(names, MAX_COMPARED)}
    return [by_folded[folded] for folded in get_close_matches(wrong.casefold(), by_folded, count, 0.5)]
