"""Source `demo`: a recorded snapshot of the DECICE testbed, given with new times and a little motion."""

import json
import random
import time
from functools import cache
from pathlib import Path
from typing import Any

from streams.collect.json_api import mapping_of, read_document, validator_of
from streams.collect.target import Harvest, Target

SNAPSHOT = Path(__file__).parent.parent / "embedded" / "testbed.json"
"""Answer of the testbed's PromQL wrapper, recorded on 3 July 2025: pools, nodes, devices and links."""

SEED = 20250703
"""So that a demonstration looks the same each time."""

STEP_PERCENT = 1.5
"""[%] Largest move of a node's utilisation between two scrapes."""


class DemoSource:
    """The snapshot, moved on a step at each scrape; its pack maps DECICE v2 documents."""

    def __init__(self, target: Target) -> None:
        self.target = target
        self._mapping = mapping_of(target)
        self._validator = validator_of(self._mapping)
        self._document = json.loads(_snapshot())
        self._random = random.Random(SEED)

    async def collect(self) -> Harvest:
        """The snapshot as it would be now."""
        move(self._document, self._random)
        self._document["lastUpdated"] = time.time()
        return read_document(self._document, self._mapping, self._validator)


def move(document: dict[str, Any], chance: random.Random) -> None:
    """Change the utilisation of each node a little, within 0..100 %; what is absent stays absent."""
    for pool in document["vertexpools"]:
        for node in pool["nodes"]:
            metrics = node["metrics"] or {}
            for name in ("util", "mem_util"):
                if metrics.get(name) is not None:
                    moved = metrics[name] + chance.uniform(-STEP_PERCENT, STEP_PERCENT)
                    metrics[name] = min(max(moved, 0.0), 100.0)


@cache
def _snapshot() -> str:
    return SNAPSHOT.read_text()
