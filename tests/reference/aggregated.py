"""Partials of pools in the slow model: docs/alignment.md, section "Aggregates", rules of the receiver."""

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from urllib.parse import quote

from streams.records import Observation
from tests.reference.model import (
    GAUGE,
    STATE,
    Entity,
    ReferencePartition,
    Sample,
    Source,
    told_at,
)

TWIN = "twin"
SUMMED = (
    *("number_of_cores", "mem_total_bytes", "disk_total_bytes", "disk_free_bytes", "power_watts"),
    *("network_receive_bytes_per_s", "network_transmit_bytes_per_s"),
)
STATUSES = ("up", "degraded", "down", "unknown")
HELD = {"up", "nodes_count", *(f"nodes_{status}_count" for status in STATUSES)}
SHARES = (
    ("cpu_usage_percent", "number_of_cores", "used_cores", "headroom_cores"),
    ("mem_usage_percent", "mem_total_bytes", "used_mem_bytes", "headroom_mem_bytes"),
)

Numbers = dict[str, float]


@dataclass
class Said:
    """The newest partial of one sender."""

    offset: int
    tick_ms: int
    numbers: Numbers


class AggregatedPartition(ReferencePartition):
    """The model, with pools."""

    said: dict[str, dict[int, Said]]

    def handle(self, offset: int, message: Observation) -> None:
        """Takes the next message of the log."""
        self.said = getattr(self, "said", {})
        if message["type"] == "partial":
            for key, tick_ms, numbers in partials_of(message):
                self._handle_partial(offset, message, key, tick_ms, numbers)
        elif message["type"] == "partial_end":
            for key in sorted(self.entities):
                if message["origin_partition"] in self.said.get(key, {}):
                    self._handle_partial(offset, message, key, 0, {})
        else:
            super().handle(offset, message)
            self.said = {key: said for key, said in self.said.items() if key in self.entities}

    def _handle_partial(
        self, offset: int, message: Observation, key: str, tick_ms: int, numbers: Numbers
    ) -> None:
        entity = self.entities.get(key)
        if self._applied_before(offset, key) or (entity is None and not any(numbers.values())):
            return
        said = self.said.setdefault(key, {})
        known = said.get(message["origin_partition"])
        if known is not None and message["origin_offset"] <= known.offset:
            self.met["older partial"] += 1
            return
        said[message["origin_partition"]] = Said(message["origin_offset"], tick_ms, numbers)
        if entity is None:
            entity = self.entities[key] = Entity()
        total = added_up(said)
        entity.told_ms.append(told_at(message))
        entity.version = offset + 1
        self._speak(entity, message, total)
        if not total.get("nodes") and set(entity.sources) == {TWIN}:
            self.met["emptied pool"] += 1
            self._remove(offset, key, entity, entity.seen_ms)
            del self.said[key]
            return
        self._state(entity, totals_of(total), self._time(entity, said, told_at(message)))
        entity.features = {
            name: count for name, count in total.items() if name.startswith("nodes_with_") and count
        }
        self._bring(key, entity, attributes_changed=False)

    def _speak(self, entity: Entity, message: Observation, total: Numbers) -> None:
        source = entity.sources.setdefault(TWIN, Source())
        said = message.copy()
        said["interval_ms"] = message["interval_ms"] if total.get("nodes") else 10**12
        source.observations.append(said)
        source.good_times.append(told_at(message))
        source.failures = 0

    def _time(self, entity: Entity, said: dict[int, Said], told_ms: int) -> int:
        now = told_ms // self.step_ms * self.step_ms
        ticks = [one.tick_ms for one in said.values() if one.tick_ms > 0]
        tick_ms = min(max(min(ticks), now - 3 * self.step_ms), now) if ticks else now
        stated = [
            accepted[-1].time_ms
            for (_, source), accepted in entity.samples.items()
            if source == TWIN and accepted
        ]
        return max([tick_ms, *stated])

    def _state(self, entity: Entity, totals: Numbers, tick_ms: int) -> None:
        for (metric, source), accepted in entity.samples.items():
            if source == TWIN and metric not in totals:
                self.met["total gone"] += bool(accepted)
                accepted.clear()
        gap_ms = self._gap_ms(entity.sources[TWIN].interval_ms)
        entity.next_tick_ms = entity.next_tick_ms or -(-tick_ms // self.step_ms) * self.step_ms
        for metric, value in totals.items():
            accepted = entity.samples.setdefault((metric, TWIN), [])
            form = STATE if metric in HELD else GAUGE
            if accepted and accepted[-1].time_ms == tick_ms:
                self.met["stated again"] += 1
                before = accepted.pop()
                first = before.value if before.came_as is None else before.came_as
                accepted.append(Sample(form, value, tick_ms, before.gap_ms, first))
            else:
                accepted.append(Sample(form, value, tick_ms, gap_ms))


def partials_of(message: Observation) -> Iterator[tuple[str, int, Numbers]]:
    """For each entity its key, tick and numbers by name."""
    first = 0
    for kind, id, size, tick_ms in zip(
        message["kinds"], message["ids"], message["sizes"], message["times_ms"], strict=True
    ):
        part = slice(first, first + size)
        names = [message["names"][metric] for metric in message["metrics"][part]]
        first += size
        key = f"live/{kind}/{quote(id, safe='~')}"
        yield key, tick_ms, dict(zip(names, message["values"][part], strict=True))


def added_up(said: dict[int, Said]) -> Numbers:
    """Each number over all partials, exactly, then rounded once."""
    names = {name for one in said.values() for name in one.numbers}
    return {name: float(sum(Fraction(one.numbers.get(name, 0.0)) for one in said.values())) for name in names}


def totals_of(total: Numbers) -> Numbers:
    """The totals by rule 2."""
    found = {"nodes_count": total.get("nodes", 0.0)}
    for status in STATUSES:
        found[f"nodes_{status}_count"] = total.get(f"nodes_{status}", 0.0)
    if found["nodes_up_count"] or found["nodes_degraded_count"]:
        found["up"] = 1.0
    elif found["nodes_down_count"]:
        found["up"] = 0.0
    for metric in SUMMED:
        if total.get(f"nodes_with_{metric}"):
            found[metric] = total[metric]
    for percent, whole, used, room in SHARES:
        both, size = total.get(f"nodes_with_{used}", 0.0), total.get(f"{whole}_of_{used}", 0.0)
        givers = total.get(f"nodes_with_{percent}", 0.0)
        if both:
            found[used], found[room] = total[used], max(size - total[used], 0.0)
        if givers:
            all_known = both == givers and size > 0
            mean = total[used] / size * 100 if all_known else total[percent] / givers
            found[percent] = max(0.0, min(mean, 100.0))
    return found
