"""What an overlay adds to a live world: the domain alone, in one process without Kafka."""

import gc
import time
import tracemalloc
from typing import Any

from streams.bench.domain import START_MS
from streams.bench.load import INTERVAL_MS, METRICS, observation
from streams.bench.worlds import new_event
from streams.domain.commands import observations_of
from streams.domain.observation import new_observation
from streams.domain.twin import Partition
from streams.events import event_record
from streams.events.models import AnyEvent
from streams.records import State

TOUCHED = 10
"""[1] Entities that the overlay changes whose cost is measured."""


def overlay_cost(entities: int = 10_000, rounds: int = 3) -> dict[str, Any]:
    """What an overlay that changes 10 entities adds to a live world: time of an update, records, memory.

    Both worlds are measured in turn, round after round, and the best of each counts: the machine is shared.
    """
    plain, laid = _World(entities), _World(entities)
    grown = laid.lay_over(TOUCHED)
    times: dict[bool, list[float]] = {False: [], True: []}
    for turn in range(1, rounds + 1):
        for is_laid, world in ((False, plain), (True, laid)):
            times[is_laid].append(world.update(turn))
    without, with_overlay = min(times[False]), min(times[True])
    ratio = with_overlay / without
    records = sum(key.startswith("live~bench/node/") for key in laid.states)
    live_bytes = plain.grown_bytes / entities
    return {
        "entities": entities,
        "us_per_update": without,
        "us_per_update_with_overlay": with_overlay,
        "ratio": ratio,
        "overlay_bytes": grown,
        "live_bytes_per_entity": live_bytes,
        "overlay_records": records,
        "rows": [
            (
                f"update of {entities:,} live entities, with an overlay of {TOUCHED} ÷ without",
                "≤ 1.1",
                f"{ratio:.2f} ({with_overlay:.0f} : {without:.0f} µs)",
                ratio <= 1.1,
            ),
            (
                f"memory of that overlay ÷ that of {TOUCHED} live entities",
                "≤ 10",
                f"{grown / live_bytes / TOUCHED:.1f} ({grown / 1024:.0f} KiB)",
                grown <= 10 * TOUCHED * live_bytes,
            ),
        ],
    }


class _World:
    """A live world in one partition, in memory."""

    def __init__(self, entities: int) -> None:
        self.part = Partition(0, INTERVAL_MS, 3_600_000, {})
        self.states: dict[str, State] = {}
        self._entities, self._offset = entities, 0
        gc.collect()
        tracemalloc.start()
        for first in range(0, entities, 100):
            self._apply(observation(first, 100, 0, START_MS, 0, self._offset))
        self.grown_bytes = tracemalloc.get_traced_memory()[0]
        tracemalloc.stop()

    def lay_over(self, count: int) -> int:
        """An overlay with a fault on some nodes; return the bytes that it took."""
        ids = [f"bench{number}" for number in range(count)]
        scale = {"kind": "metric_scale", "metrics": ["cpu_usage_percent"], "factor": 0.5}
        fault = scale | {"selector": {"kind": "node", "ids": ids}}
        gc.collect()
        tracemalloc.start()
        for event in (
            new_event("world.create", "live~bench", {"owner": "bench", "ttl_s": 31_536_000}),
            new_event("fault.start", "live~bench", fault),
        ):
            self._take(event.model_copy(update={"at_ms": START_MS + 1}))
        grown = tracemalloc.get_traced_memory()[0]
        tracemalloc.stop()
        return grown

    def update(self, turn: int) -> float:
        """[µs] Of one update: all entities once, with a clock message after every thousand."""
        at_ms = START_MS + turn * INTERVAL_MS
        gc.collect()
        started = time.perf_counter()
        for first in range(0, self._entities, 100):
            self._apply(observation(first, 100, turn, at_ms, 0, self._offset))
            if first % 1_000 == 900:
                self._apply(new_observation("clock", at_ms + first // 100))
        return (time.perf_counter() - started) / self._entities * 1e6

    def _take(self, event: AnyEvent) -> None:
        found = observations_of(
            event_record(event),
            event.body.model_dump(),
            partitions=1,
            forms=dict(METRICS),
            partition=0,
            offset=self._offset,
        )
        for _, message in found:
            self._apply(message)

    def _apply(self, message: Any) -> None:
        self.part.apply(self._offset, message, self.states)
        self._offset += 1
