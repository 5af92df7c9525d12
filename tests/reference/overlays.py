"""A slow, obviously right model of live with overlays in one partition, written from docs/worlds.md alone.

Live itself is left to the model of docs/alignment.md, and what faults do to a value to faulted.py. It shares
no code with `streams.domain`.
"""

import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote

from streams.records import Observation
from tests.reference import faulted
from tests.reference.faulted import DOWN, FOREVER, FREEZING, Limits, Shown
from tests.reference.isolated import RefusedError, World
from tests.reference.model import HELD, Entity, ReferencePartition, Values, rate_at

Row = tuple[int, bool, Values]
"""Tick, complete and values."""


class Live(ReferencePartition):
    """Live, with what a fault has to know of it."""

    known = World.known
    hold_ms = World.hold_ms


@dataclass
class Fault(faulted.Fault):
    """A fault of an overlay, or what `entity.set` (kind "set") or `entity.remove` ("remove") left."""

    told_ms: int = 0

    def is_active(self, x_ms: int) -> bool:
        """Active from its message on when it starts by then, however far behind x is."""
        return (self.start_ms <= x_ms or self.start_ms <= self.told_ms) and x_ms < self.end_ms

    def has_begun(self, x_ms: int) -> bool:
        return self.start_ms <= x_ms or self.start_ms <= self.told_ms


@dataclass
class Record:
    """What an overlay has of one entity."""

    now_ms: int = 0
    status: str = ""
    reason: str = ""
    since_ms: int = 0
    newest: Row = (0, False, {})
    """The newest tick that it shows."""
    hidden: bool = False
    faults: list[str] = field(default_factory=list)
    metrics: Shown = field(default_factory=dict)
    attributes: dict[str, str] = field(default_factory=dict)
    live: Mapping[str, Any] = field(default_factory=dict)
    """What live's record said when this was made of it."""
    looks: list[int] = field(default_factory=list)
    """[ms] When time alone will change it."""


@dataclass
class Overlay:
    """One overlay."""

    name: str
    created_ms: int
    created_by: int
    ttl_s: float
    max_entities: int
    clock_ms: int = 0
    """[ms] Greatest time of a clock message."""
    ids: set[str] = field(default_factory=set)
    faults: dict[str, Fault] = field(default_factory=dict)
    records: dict[str, Record] = field(default_factory=dict)
    """By <kind>/<id percent-encoded>."""

    def faults_of(self, name: str) -> list[Fault]:
        """Those that concern an entity, in order."""
        own = [fault for fault in self.faults.values() if name in names_of(fault)]
        return sorted(own, key=lambda fault: (fault.start_ms, fault.id))


class ReferenceOverlays:
    """Live and all overlays of a partition after the messages that `handle` was given."""

    def __init__(
        self, step_ms: int, remove_after_ms: int, ceilings: dict[str, float], limits: Limits
    ) -> None:
        self.live = Live(step_ms, remove_after_ms, ceilings)
        self.step_ms = step_ms
        self.limits = limits
        self.ceilings = ceilings
        self.overlays: dict[str, Overlay] = {}
        self.published: dict[tuple[str, int], tuple[bool, Values]] = {}
        self.changed: list[tuple[Any, ...]] = []
        """Key, at_ms, status, reason, attributes, removed."""
        self.refused: dict[int, str] = {}
        self.met: Counter[str] = Counter()

    def states(self) -> dict[str, dict[str, Any]]:
        """By key, those fields of an overlay's records that the rules determine."""
        return {
            f"{over.name}/{name}": shown_record(record)
            for over in self.overlays.values()
            for name, record in over.records.items()
        }

    # Messages

    def handle(self, offset: int, message: Observation) -> None:
        """Takes the next message of the log."""
        if message["type"] == "event":
            try:
                self.do(message)
            except RefusedError as error:
                self.refused[offset] = str(error)
                self.met[f"refused: {error}"] += 1
            return
        before = {key: (entity, len(entity.closed)) for key, entity in self.live.entities.items()}
        self.live.handle(offset, message)
        for key in sorted(before.keys() | self.live.entities.keys()):
            name = key.partition("/")[2]
            entity = self.live.entities.get(key)
            if entity is None:
                now_ms = max(before[key][0].seen_ms, message["at_ms"])
                self.begin_anew(name)
                self.follow_all(name, None, [], now_ms)
            elif entity.version == offset + 1:
                known, count = before.get(key, (entity, 0))
                assert known is entity
                self.follow_all(name, entity, entity.closed[count:], entity.seen_ms)
        if message["type"] == "clock":
            for over in list(self.overlays.values()):
                self.clock(over, message["at_ms"])

    def clock(self, over: Overlay, at_ms: int) -> None:
        """The end of an overlay, or what time alone changes in it."""
        if at_ms > over.created_ms + over.ttl_s * 1000:
            self.met["overlay ended by time"] += 1
            self.drop(over)
            return
        due = {name for name, record in over.records.items() if min(record.looks, default=FOREVER) <= at_ms}
        without = {name for fault in over.faults.values() for name in names_of(fault)} - over.records.keys()
        for name in without:
            # Also what came, or came back, with a time before a start that the clock had reached already.
            is_there = f"live/{name}" in self.live.entities
            starts = [fault.start_ms for fault in over.faults_of(name) if fault.start_ms <= at_ms]
            if is_there and starts:
                self.met["start behind the clock"] += max(starts) <= over.clock_ms
                due.add(name)
        over.clock_ms = max(over.clock_ms, at_ms)
        for fault in [one for one in over.faults.values() if one.end_ms <= at_ms]:
            self.met["fault over"] += 1
            del over.faults[fault.id]
            due |= set(names_of(fault))
        self.met["due by time"] += len(due)
        self.show(over, due, at_ms)

    def do(self, message: Observation) -> None:
        """One event."""
        body = json.loads(message["body"])
        over = self.overlays.get(message["world"])
        if over is None:
            if body["type"] != "world.create":
                raise RefusedError("unknown world")
            over = self.overlays[message["world"]] = Overlay(
                message["world"],
                message["at_ms"],
                message["origin_offset"],
                body["ttl_s"],
                body["max_entities"],
            )
            over.ids.add(message["event_id"])
            return
        if message["event_id"] in over.ids or message["origin_offset"] <= over.created_by:
            self.met["came before"] += 1
            return
        over.ids.add(message["event_id"])
        if body["type"] == "world.create":
            raise RefusedError("a name that is taken")
        if body["type"] == "world.drop":
            self.drop(over)
        elif body["type"] == "fault.start":
            self.start_fault(over, message["at_ms"], body)
        elif body["type"] == "fault.stop":
            if body["fault"] not in over.faults:
                raise RefusedError("no such fault")
            fault = over.faults.pop(body["fault"])
            self.show(over, names_of(fault), message["at_ms"])
        else:
            self.edit(over, message["at_ms"], body)

    def drop(self, over: Overlay) -> None:
        """The overlay ends, each entity with a removal."""
        for name, record in over.records.items():
            self.changed.append((f"{over.name}/{name}", record.now_ms, "", "", record.attributes, True))
        del self.overlays[over.name]

    def start_fault(self, over: Overlay, at_ms: int, body: dict[str, Any]) -> None:
        """`fault.start`."""
        entities = [(kind, id) for kind, id in body["entities"]]
        self.check_room(over, entities)
        if body["fault"] in over.faults:
            raise RefusedError("a name that is taken")
        start_ms = at_ms if body["start_ms"] is None else body["start_ms"]
        end_ms = FOREVER if body["end_ms"] is None else body["end_ms"]
        if body["duration_ms"] is not None:
            end_ms = start_ms + body["duration_ms"]
        if end_ms <= start_ms:
            raise RefusedError("ends before it starts")
        fault = Fault(body["fault"], body["kind"], entities, start_ms, end_ms, body, told_ms=at_ms)
        over.faults[fault.id] = fault
        self.met[f"{fault.kind} starts"] += 1
        self.met["fault starts in the past"] += start_ms < at_ms
        self.met["fault starts in the future"] += start_ms > at_ms
        self.show(over, names_of(fault), at_ms)

    def edit(self, over: Overlay, at_ms: int, body: dict[str, Any]) -> None:
        """`entity.set` or `entity.remove`: of an entity the later counts, what is set again is merged."""
        entities = [(entity["kind"], entity["id"]) for entity in body["entities"]]
        self.check_room(over, entities)
        for entity in body["entities"]:
            kind, id = entity["kind"], entity["id"]
            place = f"set:{kind}/{id}"
            old = over.faults.pop(place, None)
            what: dict[str, Any] = {"metrics": {}, "attributes": {}}
            if body["type"] == "entity.set":
                was_set = old is not None and old.kind == "set"
                if old is not None and was_set:
                    self.met["set again"] += 1
                    what = {name: dict(known) for name, known in old.fields.items()}
                self.met["set what was removed"] += old is not None and not was_set
                time_ms = body["at_ms"] or at_ms
                what["metrics"] |= {name: (value, time_ms) for name, value in entity["metrics"].items()}
                what["attributes"] |= entity["attributes"]
            name = "set" if body["type"] == "entity.set" else "remove"
            over.faults[place] = Fault(place, name, [(kind, id)], at_ms, FOREVER, what, told_ms=at_ms)
        self.show(over, [named(kind, id) for kind, id in entities], at_ms)

    def check_room(self, over: Overlay, entities: list[tuple[str, str]]) -> None:
        """The entities that faults and edits concern are at most so many."""
        concerned = {one for fault in over.faults.values() for one in fault.entities}
        if len(concerned | set(entities)) > over.max_entities:
            raise RefusedError("too many entities")

    # Records

    def show(self, over: Overlay, names: Any, at_ms: int) -> None:
        """Makes records anew at a time."""
        for name in sorted(names):
            entity = self.live.entities.get(f"live/{name}")
            self.follow(over, name, entity, [], max(at_ms, entity.seen_ms if entity else 0))

    def begin_anew(self, name: str) -> None:
        """Live took an entity away: of what an edit keeps of it nothing of that time is left."""
        for over in self.overlays.values():
            record = over.records.get(name)
            if record is not None:
                record.newest, record.status, record.reason = (0, False, {}), "", ""
            for fault in over.faults.values():
                fault.frozen.pop(name, None)

    def follow_all(self, name: str, entity: Entity | None, rows: list[Row], now_ms: int) -> None:
        """Live's record of an entity was written, or went."""
        for over in self.overlays.values():
            self.follow(over, name, entity, rows, now_ms)

    def follow(self, over: Overlay, name: str, entity: Entity | None, rows: list[Row], now_ms: int) -> None:
        """Makes the record of an entity anew, or takes it away."""
        key, record = f"{over.name}/{name}", over.records.get(name)
        now_ms = max(now_ms, record.now_ms if record else 0)
        faults = over.faults_of(name)
        active = [fault for fault in faults if fault.is_active(now_ms)]
        edits = [fault for fault in active if fault.kind in ("set", "remove")]
        if not active or (entity is None and not edits):
            if record is not None:
                self.met["live took an entity away"] += entity is None
                self.met["no fault any more"] += entity is not None
                self.changed.append((key, now_ms, "", "", record.attributes, True))
                del over.records[name]
                for fault in faults:
                    fault.frozen.pop(name, None)
            return
        begins = record is None
        if record is None:
            self.met["record that came back"] += any(change[0] == key for change in self.changed)
            record = over.records[name] = self.begun(entity, faults, rows)
        before = (record.status, record.reason, record.attributes)
        was_hidden, record.hidden = record.hidden, any(fault.kind == "remove" for fault in active)
        record.now_ms = now_ms
        record.live = self.live_says(entity)
        self.freeze(name, entity, faults, now_ms)
        if not record.hidden and entity is not None:
            self.show_ticks(key, record, entity, faults, rows)
        status, reason = self.status(name, entity, active, now_ms)
        if status != record.status:
            record.since_ms = now_ms
        record.status, record.reason = status, reason
        record.attributes = dict(entity.attributes) if entity else {}
        for fault in edits:
            given = {**record.attributes, **fault.fields["attributes"]}
            record.attributes = {one: text for one, text in given.items() if text != ""}
        record.faults = [fault.id for fault in active]
        record.metrics = self.metrics(name, entity, active, now_ms)
        record.looks = self.looks(name, entity, faults, now_ms)
        is_news = begins or before != (status, reason, record.attributes)
        if record.hidden != was_hidden or (is_news and not record.hidden):
            said = ("", "") if record.hidden else (status, reason)
            self.changed.append((key, now_ms, *said, record.attributes, record.hidden))

    def begun(self, entity: Entity | None, faults: list[Fault], rows: list[Row]) -> Record:
        """A new record: what live's shows, but of the ticks that close now only what it will show of them."""
        if entity is None:
            return Record()
        newest = entity.closed[-1] if entity.closed else (0, False, {})
        if any(fault.is_active(tick_ms) for tick_ms, _, _ in rows for fault in faults):
            self.met["record that begins with a tick"] += 1
            newest = (0, False, {})
        return Record(
            status=entity.status,
            reason=entity.status_reason,
            since_ms=entity.status_since_ms,
            newest=newest,
        )

    def live_says(self, entity: Entity | None) -> Mapping[str, Any]:
        """What an overlay's record shows of live's sources and heads."""
        if entity is None:
            return {"heads": {}, "sources": {}}
        heads = {}
        for (metric, source), sample in self.live._heads(entity).items():
            accepted = entity.samples[metric, source]
            ceiling = self.ceilings.get(metric, float("inf"))
            rate = rate_at(accepted, len(accepted) - 1, ceiling) if sample.form == 2 else None
            heads[metric, source] = (sample.value, sample.time_ms, rate)
        sources = {
            source: (one.priority, one.interval_ms, "", one.good_ms, one.failures)
            for source, one in entity.sources.items()
        }
        return {"heads": heads, "sources": sources}

    def freeze(self, name: str, entity: Entity | None, faults: list[Fault], now_ms: int) -> None:
        """Keeps what live's record shows, as it is, under the faults that were there before."""
        waiting = [
            fault
            for fault in faults
            if fault.kind in FREEZING and fault.has_begun(now_ms) and name not in fault.frozen
        ]
        others = [fault for fault in faults if fault not in waiting and fault.is_active(now_ms)]
        shown = self.metrics(name, entity, others, now_ms) if waiting else {}
        for fault in waiting:
            self.met["frozen"] += 1
            fault.frozen[name] = {metric: one for metric, one in shown.items() if fault.freezes(metric)}

    def metrics(self, name: str, entity: Entity | None, active: list[Fault], now_ms: int) -> Shown:
        """What `metrics` shows."""
        known = self.live.known(entity, now_ms) if entity else {}
        for fault in active:
            if fault.kind == "set":
                known = {**known, **fault.fields["metrics"]}
        return faulted.newest_values(known, active, name, name, now_ms, self.limits)

    def show_ticks(
        self, key: str, record: Record, entity: Entity, faults: list[Fault], rows: list[Row]
    ) -> None:
        """The ticks that live closed, as the faults that are active at each show them."""
        name = key.partition("/")[2]
        for tick_ms, complete, values in rows:
            active = [fault for fault in faults if fault.is_active(tick_ms)]
            if not active:
                self.met["tick without a fault"] += 1
                continue
            if any(fault.kind in DOWN for fault in active):
                self.met["tick of one that is down"] += 1
                continue
            given = dict(values)
            for fault in active:
                if fault.kind == "set":
                    given |= {metric: (one[0], HELD) for metric, one in fault.fields["metrics"].items()}
            hold_ms = self.live.hold_ms(entity)
            shown = faulted.tick_values(given, active, name, name, tick_ms, hold_ms, self.limits)
            step = self.step_ms
            at_ms = tick_ms + step * ((2 * faulted.skew_ms(active) + step) // (2 * step))
            if not shown or at_ms <= record.newest[0]:
                self.met["tick that is not shown"] += 1
                continue
            self.met["tick with another time"] += at_ms != tick_ms
            self.met["tick with other values"] += shown != values
            record.newest = (at_ms, complete, shown)
            self.published[key, at_ms] = (complete, shown)

    def status(self, name: str, entity: Entity | None, active: list[Fault], now_ms: int) -> tuple[str, str]:
        """Status and reason under the active faults."""
        status, reason = (entity.status, entity.status_reason) if entity else ("up", "")
        downs = [fault for fault in active if fault.kind in DOWN]
        if downs:
            return "down", f"fault {downs[-1].id}: {downs[-1].kind}"
        silencing = [fault for fault in active if fault.kind == "sensor_silent"]
        if not silencing or entity is None or status not in ("up", "degraded"):
            return status, reason
        metrics = {metric for metric, _ in self.live._heads(entity)}
        stale = set()
        for metric in metrics:
            fault = faulted.counting(active, metric)
            if fault is not None and fault.kind == "sensor_silent":
                frozen = fault.frozen[name].get(metric)
                if frozen is None or now_ms - frozen[1] > self.live.hold_ms(entity):
                    stale.add(metric)
        if stale and stale == metrics:
            self.met["down by a silent sensor"] += 1
            return "down", f"fault {silencing[-1].id}: sensor_silent"
        if stale:
            self.met["degraded by a silent sensor"] += 1
            return "degraded", "stale: " + ", ".join(sorted(stale))
        return status, reason

    def looks(self, name: str, entity: Entity | None, faults: list[Fault], now_ms: int) -> list[int]:
        """Starts, ends, and when what silent sensors gave becomes stale, as far as they lie ahead."""
        hold_ms = self.live.hold_ms(entity) if entity else 0
        looks = []
        for fault in faults:
            if not fault.is_active(now_ms):
                looks.append(fault.start_ms)
                continue
            looks.append(fault.end_ms)
            if fault.kind == "sensor_silent":
                looks += [time_ms + hold_ms + 1 for _, time_ms in fault.frozen[name].values()]
        return [look for look in looks if look > now_ms]


def named(kind: str, id: str) -> str:
    """<kind>/<id percent-encoded>."""
    return f"{kind}/{quote(id, safe='~')}"


def names_of(fault: faulted.Fault) -> list[str]:
    """The entities of a fault."""
    return [named(kind, id) for kind, id in fault.entities]


def shown_record(record: Record) -> dict[str, Any]:
    """The fields of a record that the rules determine."""
    tick_ms, complete, aligned = record.newest
    return {
        "status": record.status,
        "status_reason": record.reason,
        "status_since_ms": record.since_ms,
        "seen_ms": record.now_ms,
        "tick_ms": tick_ms,
        "complete": complete,
        "aligned": aligned,
        "attributes": record.attributes,
        "features": {},
        "hidden": record.hidden,
        "faults": record.faults,
        "metrics": record.metrics,
        **record.live,
    }
