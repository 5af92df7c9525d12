"""How often a Prometheus server has a new sample of each of its targets, learned from the sample times."""

from collections import deque
from collections.abc import Iterable, Mapping
from itertools import pairwise
from statistics import median

KEPT = 6
"""[1] Newest sample times of each target: enough for a median that one missed scrape does not move."""

NEAR_MS = 50
"""[ms] Servers scrape at whole seconds; what is this near to one is one."""


class Cadence:
    """Newest sample times of the targets behind one server, by the labels of their `up` series."""

    def __init__(self) -> None:
        self._times: dict[frozenset[tuple[str, str]], deque[int]] = {}

    def observe(self, labels: Mapping[str, str], times_ms: Iterable[int]) -> None:
        """Note sample times, oldest first; those that are not newer than the newest are known."""
        times = self._times.setdefault(frozenset(labels.items()), deque(maxlen=KEPT))
        for time_ms in times_ms:
            if not times or time_ms > times[-1]:
                times.append(time_ms)

    def interval_ms(self, labels: Mapping[str, str]) -> int:
        """[ms] Median distance of the newest samples; 0 while it is not known."""
        times = self._times.get(frozenset(labels.items()), ())
        if len(times) < 2:
            return 0
        apart_ms = median(later - earlier for earlier, later in pairwise(times))
        whole_ms = round(apart_ms / 1000) * 1000
        return whole_ms if whole_ms and abs(apart_ms - whole_ms) <= NEAR_MS else round(apart_ms)

    def keep(self, labels: Iterable[Mapping[str, str]]) -> None:
        """Forget all other targets."""
        wanted = {frozenset(each.items()) for each in labels}
        self._times = {key: times for key, times in self._times.items() if key in wanted}
