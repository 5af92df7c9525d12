"""A slow, obviously right model of one isolated world, written from docs/worlds.md alone.

What the live world has too, it leaves to the model of docs/alignment.md; what faults do to a value is in
faulted.py. It shares no code with `streams.domain`.
"""

from collections import Counter
from typing import Any, Protocol
from urllib.parse import quote

from streams.records import Observation
from tests.reference import faulted
from tests.reference.faulted import DOWN, FOREVER, FREEZING, Fault, Limits, Shown
from tests.reference.model import COUNTER, Entity, ReferencePartition, Source, Values, parts_of, rate_at


class RefusedError(Exception):
    """What a dead letter would say."""


class Home(Protocol):
    """What a world needs of its partition."""

    ceilings: dict[str, float]
    limits: Limits
    published: dict[tuple[str, int], tuple[bool, Values]]
    changed: list[tuple[Any, ...]]
    met: Counter[str]


class World(ReferencePartition):
    """One isolated world: what lives in it, and its faults."""

    def __init__(
        self,
        home: "Home",
        step_ms: int,
        clock_ms: int,
        created_ms: int,
        ttl_s: float,
        max_entities: int,
    ) -> None:
        super().__init__(step_ms, FOREVER, home.ceilings)
        self.published, self.changed, self.met = home.published, home.changed, home.met
        self.limits = home.limits
        self.clock_ms = clock_ms
        self.created_ms = created_ms
        self.ttl_s = ttl_s
        self.max_entities = max_entities
        self.faults: dict[str, Fault] = {}
        self.ids: set[str] = set()
        self.created_by = 0
        """Offset in the topic `event` of its creation; logs have one partition of that."""

    # Events

    def came_before(self, message: Observation) -> bool:
        """The id is known, or the event was made before the world."""
        return message["event_id"] in self.ids or message["origin_offset"] <= self.created_by

    def do(self, message: Observation, body: dict[str, Any]) -> None:
        """One event that has not come before."""
        if body["type"] == "entity.set":
            self.set(message)
        elif body["type"] == "entity.remove":
            keys = [self.key_of(message, entity["kind"], entity["id"]) for entity in body["entities"]]
            self.check_there(keys)
            for key in keys:
                self.remove(key, self.clock_ms)
        elif body["type"] == "fault.start":
            self.start_fault(message, body)
        elif body["type"] == "fault.stop":
            if body["fault"] not in self.faults:
                raise RefusedError("no such fault")
            fault = self.faults.pop(body["fault"])
            for key in self.keys_of(message, fault):
                if key in self.entities:
                    self.touch(key)
        else:
            to_ms = body["to_ms"] if body["by_ms"] is None else self.clock_ms + body["by_ms"]
            if to_ms <= self.clock_ms:
                raise RefusedError("does not go forward")
            if (to_ms - self.clock_ms) // self.step_ms * max(1, len(self.entities)) > 1_000_000:
                raise RefusedError("too many ticks")
            self.advance(to_ms)

    def key_of(self, message: Observation, kind: str, id: str) -> str:
        return f"{message['world']}/{kind}/{quote(id, safe='~')}"

    def keys_of(self, message: Observation, fault: Fault) -> list[str]:
        return [self.key_of(message, kind, id) for kind, id in fault.entities]

    def check_there(self, keys: list[str]) -> None:
        if any(key not in self.entities for key in keys):
            raise RefusedError("an entity that is not there")

    def set(self, message: Observation) -> None:
        """`entity.set`: an observation at its time, which is the clock where it says none."""
        parts = list(parts_of(message))
        if message["at_ms"] and abs(message["at_ms"] - self.clock_ms) > 100 * self.step_ms:
            raise RefusedError("too far from the clock")
        if len(self.entities.keys() | {key for key, _, _ in parts}) > self.max_entities:
            raise RefusedError("too many entities")
        for key, attributes, samples in parts:
            is_new = key not in self.entities
            entity = self.entities.setdefault(key, Entity())
            given = [
                sample.time_ms
                for (_, name), accepted in entity.samples.items()
                for sample in accepted
                if name == message["source"]
            ]
            at_ms = message["at_ms"] or max([self.clock_ms, *(time_ms + 1 for time_ms in given)])
            timed = message | {"at_ms": at_ms, "scraped_at_ms": at_ms}
            now_ms = max(at_ms, self.now_ms(entity))
            self.freeze(key, entity, now_ms)
            entity.told_ms.append(now_ms)
            source = entity.sources.setdefault(message["source"], Source())
            at_its_time = [(metric, form, value, at_ms) for metric, form, value, _ in samples]
            self.met["set a thing anew"] += is_new and any(change[0] == key for change in self.changed)
            self._observe(key, entity, source, timed, attributes, at_its_time)

    def _bring(self, key: str, entity: Entity, attributes_changed: bool) -> None:
        """After an observation no tick closes and no head is dropped."""
        self._settle_status(key, entity, entity.seen_ms, attributes_changed)

    def start_fault(self, message: Observation, body: dict[str, Any]) -> None:
        """`fault.start`."""
        entities = [(kind, id) for kind, id in body["entities"]]
        self.check_there([self.key_of(message, kind, id) for kind, id in entities])
        if body["fault"] in self.faults:
            raise RefusedError("a name that is taken")
        start_ms = self.clock_ms if body["start_ms"] is None else body["start_ms"]
        end_ms = FOREVER if body["end_ms"] is None else body["end_ms"]
        if body["duration_ms"] is not None:
            end_ms = start_ms + body["duration_ms"]
        if end_ms <= start_ms:
            raise RefusedError("ends before it starts")
        fault = Fault(body["fault"], body["kind"], entities, start_ms, end_ms, body)
        keys = self.keys_of(message, fault)
        before = {key: self.shown(key) for key in keys}
        self.faults[fault.id] = fault
        self.met[f"{fault.kind} starts"] += 1
        self.met["fault starts in the past"] += start_ms < self.clock_ms
        self.met["fault starts in the future"] += start_ms > self.clock_ms
        for key in keys:
            self.touch(key, before[key])

    def touch(self, key: str, before: Shown | None = None) -> None:
        """A fault of the entity began or was stopped."""
        entity = self.entities[key]
        now_ms = self.now_ms(entity)
        self.freeze(key, entity, now_ms, before)
        entity.told_ms.append(now_ms)
        self._settle_status(key, entity, now_ms)

    def advance(self, to_ms: int) -> None:
        """`world.advance`: the ticks up to the new clock close."""
        for key in sorted(self.entities):
            entity = self.entities[key]
            now_ms = max(self.now_ms(entity), to_ms)
            self.freeze(key, entity, now_ms)
            closed = self.close_ticks_to(key, entity, to_ms)
            settled = self._settle_status(key, entity, now_ms)
            if closed or settled or self.faults_of(key):
                entity.told_ms.append(now_ms)
        self.clock_ms = to_ms
        self.met["fault over"] += sum(fault.end_ms <= to_ms for fault in self.faults.values())
        self.faults = {id: fault for id, fault in self.faults.items() if fault.end_ms > to_ms}

    def remove(self, key: str, at_ms: int) -> None:
        """The entity ends, and what was frozen of it."""
        entity = self.entities.pop(key)
        for fault in self.faults.values():
            fault.frozen.pop(key, None)
        self.changed.append((key, at_ms, "", "", dict(entity.attributes), True))

    # Under faults

    def now_ms(self, entity: Entity) -> int:
        """Now of an entity before a message."""
        return max([*entity.told_ms, self.clock_ms])

    def faults_of(self, key: str) -> list[Fault]:
        """Those that concern an entity, in order."""
        own = [
            fault
            for fault in self.faults.values()
            if key.partition("/")[2] in [f"{kind}/{quote(id, safe='~')}" for kind, id in fault.entities]
        ]
        return sorted(own, key=lambda fault: (fault.start_ms, fault.id))

    def active(self, key: str, x_ms: int) -> list[Fault]:
        """Those that are active at a time."""
        return [fault for fault in self.faults_of(key) if fault.is_active(x_ms)]

    def freeze(self, key: str, entity: Entity, now_ms: int, before: Shown | None = None) -> None:
        """Keeps what the entity shows for the faults that have begun."""
        shown = self.shown(key) if before is None else before
        for fault in self.faults_of(key):
            if fault.kind in FREEZING and fault.start_ms <= now_ms and key not in fault.frozen:
                fault.frozen[key] = {name: one for name, one in shown.items() if fault.freezes(name)}

    def known(self, entity: Entity, seen_ms: int) -> Shown:
        """Newest value and time of each metric, of the best source that is not behind or else the best."""
        best: dict[str, tuple[tuple[bool, int, str], float, int]] = {}
        for (metric, name), head in self._heads(entity).items():
            source = entity.sources[name]
            value: float | None = head.value
            if head.form == COUNTER:
                accepted = entity.samples[metric, name]
                value = rate_at(accepted, len(accepted) - 1, self.ceilings.get(metric, FOREVER))
            if value is None:
                continue
            behind = seen_ms - source.good_ms > (5 * max(source.interval_ms, 1_000)) // 2
            rank = (behind, source.priority, name)
            if metric not in best or rank < best[metric][0]:
                best[metric] = (rank, value, head.time_ms)
        return {metric: one[1:] for metric, one in best.items()}

    def shown(self, key: str, seen_ms: int | None = None) -> Shown:
        """What `metrics` shows."""
        entity = self.entities[key]
        now_ms = self.now_ms(entity) if seen_ms is None else seen_ms
        faults = self.active(key, now_ms)
        name = key.partition("/")[2]
        return faulted.newest_values(self.known(entity, now_ms), faults, key, name, now_ms, self.limits)

    def hold_ms(self, entity: Entity) -> int:
        """Largest hold of the sources."""
        return max(self._gap_ms(source.interval_ms) for source in entity.sources.values())

    def close_ticks_to(self, key: str, entity: Entity, to_ms: int) -> bool:
        """Closes every tick that can have a value; nothing is waited for."""
        if not self._heads(entity):
            return False
        horizon_ms = self._horizon_ms(entity)
        first_ms = entity.next_tick_ms
        while entity.next_tick_ms <= min(horizon_ms, to_ms):
            tick_ms = entity.next_tick_ms
            self._publish(key, entity, tick_ms, True)
            entity.next_tick_ms += self.step_ms
        return entity.next_tick_ms != first_ms

    def _publish(self, key: str, entity: Entity, tick_ms: int, complete: bool) -> None:
        values = self._values_at(entity, tick_ms)
        if not values:
            self.met["passed over"] += 1
            return
        faults = self.active(key, tick_ms)
        name = key.partition("/")[2]
        if any(fault.kind in DOWN for fault in faults):
            self.met["tick of one that is down"] += 1
            return
        shown = faulted.tick_values(values, faults, key, name, tick_ms, self.hold_ms(entity), self.limits)
        if not shown:
            self.met["tick without a sensor"] += 1
            return
        skew_ms = faulted.skew_ms(faults)
        at_ms = tick_ms + self.step_ms * ((2 * skew_ms + self.step_ms) // (2 * self.step_ms))
        if entity.closed and at_ms <= entity.closed[-1][0]:
            self.met["tick that is not above the newest"] += 1
            return
        self.met["tick with another time"] += at_ms != tick_ms
        self.met["tick with other values"] += shown != values
        entity.closed.append((at_ms, complete, shown))
        self.met["tick of a thing that was removed"] += (key, at_ms) in self.published
        self.published[key, at_ms] = (complete, shown)

    def _settle_status(self, key: str, entity: Entity, now_ms: int, attributes_changed: bool = False) -> bool:
        self._judged = key
        return super()._settle_status(key, entity, now_ms, attributes_changed)

    def _status(self, entity: Entity, now_ms: int) -> tuple[str, str]:
        key = self._judged
        status, reason = super()._status(entity, now_ms)
        faults = self.active(key, now_ms)
        for fault in reversed(faults):
            if fault.kind in DOWN:
                self.met["down by a fault"] += 1
                return "down", f"fault {fault.id}: {fault.kind}"
        silencing = [fault for fault in faults if fault.kind == "sensor_silent"]
        if not silencing or status not in ("up", "degraded"):
            return status, reason
        metrics = {metric for metric, _ in self._heads(entity)}
        stale = set()
        for metric in metrics:
            fault = faulted.counting(faults, metric)
            if fault is not None and fault.kind == "sensor_silent":
                frozen = fault.frozen.get(key, {}).get(metric)
                if frozen is None or now_ms - frozen[1] > self.hold_ms(entity):
                    stale.add(metric)
        if stale and stale == metrics:
            self.met["down by a silent sensor"] += 1
            return "down", f"fault {silencing[-1].id}: sensor_silent"
        if stale:
            self.met["degraded by a silent sensor"] += 1
            return "degraded", "stale: " + ", ".join(sorted(stale))
        return status, reason

    # What came out

    def record(self, key: str) -> dict[str, Any]:
        """The fields of a record that the rules determine."""
        entity = self.entities[key]
        record = self._record(entity)
        del record["origins"], record["version"]
        active = [fault.id for fault in self.active(key, entity.seen_ms)]
        return record | {"faults": active, "metrics": self.shown(key, entity.seen_ms)}
