"""Rates of counts that only grow, over the last minute."""

from collections import deque
from collections.abc import Mapping

WINDOW_S = 60.0
"""[s] Over which rates are taken."""


class Rates:
    """Growth per second of named counts, from looks at them."""

    def __init__(self, window_s: float = WINDOW_S) -> None:
        self._window_s = window_s
        self._looks: deque[tuple[float, dict[str, int]]] = deque()

    def note(self, at_s: float, counts: Mapping[str, int]) -> None:
        """Take a look.

        Args:
            at_s: [s] by a clock that only goes forward.
            counts: such as the sum of a topic's end offsets.
        """
        self._looks.append((at_s, dict(counts)))
        while self._looks[0][0] < at_s - self._window_s:
            self._looks.popleft()

    def rate(self, name: str) -> float | None:
        """[1/s] Growth between the first and the newest look of the window; None until there are two.

        A count that went back (its topic was made anew) has no rate until the window is past that.
        """
        looks = [(at_s, counts[name]) for at_s, counts in self._looks if name in counts]
        if len(looks) < 2:
            return None
        (first_s, first), (last_s, last) = looks[0], looks[-1]
        if last < first or last_s <= first_s:
            return None
        return (last - first) / (last_s - first_s)
