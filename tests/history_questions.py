"""What is asked of the load in the suite of history, and when two answers are the same."""

import json
import math
from typing import Any

from streams.stores import PastChange, PastTick, Series
from tests.history_model import ODD_ID, STEP_MS, TICKS

LONG_MS = TICKS * STEP_MS
"""[ms] Of the load."""

SELECTIONS: dict[str, dict[str, Any]] = {
    "all": {},
    "kind": {"kinds": ("node",)},
    "kinds": {"kinds": ("nodepool", "link")},
    "id of two kinds": {"ids": ("n.1",)},
    "odd id": {"ids": (ODD_ID,)},
    "ids": {"ids": ("n+1", "1~2", ODD_ID)},
    "id is no pattern": {"ids": ("n.*", "n?1", "%", "n_1", ".1")},
    "kind and id": {"kinds": ("device", "link"), "ids": ("n.1",)},
    "metric": {"metrics": ("power_watts",)},
    "metrics": {"metrics": ("load1", "beard_cm", "cpu_usage_percent")},
    "metric beyond the catalogue": {"metrics": ("beard_cm",)},
    "metric of an entity": {"kinds": ("node",), "ids": ("n.1",), "metrics": ("cpu_usage_percent",)},
    "metric that it has not": {"ids": ("1~2",), "metrics": ("load1",)},
    "unknown id": {"ids": ("n",)},
    "unknown kind": {"kinds": ("job",)},
    "kind that is no word": {"kinds": ('node" or true or "', "')--")},
    "unknown metric": {"metrics": ("load15", "beard")},
}
"""What of the load is meant; each by its name."""

RANGES = {
    "whole": (0, LONG_MS),
    "around": (-60_000, LONG_MS + 60_000),
    "half open": (3 * STEP_MS, 9 * STEP_MS),
    "between ticks": (3 * STEP_MS + 1, 9 * STEP_MS + 1),
    "one tick": (12 * STEP_MS, 12 * STEP_MS + 1),
    "no tick": (12 * STEP_MS + 1, 13 * STEP_MS),
    "before": (-60_000, 0),
    "after": (LONG_MS, LONG_MS + 60_000),
}
"""[ms from the first tick] Ranges; end not included."""


def plain(item: Any) -> Any:
    """Without what may differ: the order of names in a tick, and of keys in attributes."""
    if isinstance(item, PastChange):
        return (*item._replace(attributes=""), json.loads(item.attributes))
    if isinstance(item, PastTick):
        marks = item.qualities if item.qualities is not None else [None] * len(item.names)
        columns = [
            list(part) for part in zip(*sorted(zip(item.names, item.values, marks, strict=True)), strict=True)
        ]
        return (*item[:6], *columns)
    return tuple(item) if isinstance(item, Series) else item


def close(one: Any, other: Any, relative: float) -> bool:
    """Whether two answers are the same, but for so much of their numbers."""
    if isinstance(one, float) and isinstance(other, float):
        return math.isclose(one, other, rel_tol=relative, abs_tol=1e-18)
    if isinstance(one, list | tuple) and isinstance(other, list | tuple):
        return len(one) == len(other) and all(close(a, b, relative) for a, b in zip(one, other, strict=True))
    return type(one) is type(other) and one == other
