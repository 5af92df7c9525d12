"""The scenario worlds of one partition: which message is for which, and what ends them (docs/worlds.md)."""

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, cast

from streams.domain.beginning import AnyWorld, new_record, new_world
from streams.domain.commands import is_overlay
from streams.domain.faults import Fault
from streams.domain.isolated import Isolated
from streams.domain.keys import split_key
from streams.domain.overlay import Overlay
from streams.domain.replay import Replay
from streams.domain.show import ShownTick
from streams.domain.world import (
    FAULT,
    IDS,
    PAUSE_ENTITIES,
    SHARD,
    WORLD,
    Rules,
    Turn,
    came_before,
    is_older,
    note_origin,
)
from streams.errors import InvalidMessageError
from streams.records import Observation, State


def is_read_whole(key: str) -> bool:
    """Whether the record of this key is read whole when a partition is restored."""
    return not key.startswith("live/") and key.split("/", 2)[1] in (WORLD, SHARD, FAULT)


def is_own_kind(kind: str) -> bool:
    """Whether records of this kind are the twin's own, not entities."""
    return kind == WORLD or kind.startswith("_")


class Worlds:
    """All scenario worlds of a partition; they follow from their records (`restore`)."""

    def __init__(self, rules: Rules) -> None:
        self._rules = rules
        self._worlds: dict[str, AnyWorld] = {}
        self._waiting: dict[str, dict[str, Mapping[str, object]]] = {}
        self._touched: dict[str, set[str]] = {}

    def restore(self, key: str, state: Mapping[str, object]) -> None:
        """Index a record that is in the table already, whole where `is_read_whole` says so."""
        name, kind, _ = split_key(key)
        if kind in (WORLD, SHARD):
            attributes = cast(State, state)["attributes"]
            world = new_world(name, self._rules, home=kind == WORLD, base=attributes["base"])
            self._worlds[name] = world
            world.keys.add(key)
            world.read(cast(State, state))
            for waiting in self._waiting.pop(name, {}).items():
                self.restore(*waiting)
            return
        known = self._worlds.get(name)
        if known is None:
            # Its world comes later, or never: then it was left by a worker that ended between two writes.
            self._waiting.setdefault(name, {})[key] = state
            return
        if isinstance(known, Replay) and not is_own_kind(kind):
            known.add_entity(key, state)
            return
        known.keys.add(key)
        if kind == FAULT:
            self._note_touched(known, _fault_of(cast(State, state)))
        elif kind != IDS and isinstance(known, Isolated):
            known.add_entity(key)
        elif kind != IDS and isinstance(known, Overlay):
            known.add_record(key, cast(int, state["due_ms"]))

    def steps(self, turn: Turn, message: Observation) -> Iterator[None]:
        """Do what a message says, yielding now and then.

        Raises:
            InvalidMessageError: it cannot be done in this world; nothing was changed, but its id is known.
        """
        name = message["world"]
        body = _body_of(message) if message["type"] == "event" else {}
        kind, world = body.get("type"), self._worlds.get(name)
        is_gone = turn.was_removed(self._record_key(name, body), self._rules.number)
        if is_gone and kind != "world.drop":
            return
        if world is None:
            if kind == "world.create":
                yield from self._begin(turn, message, body)
            elif not is_gone and (not is_overlay(name) or body.get("home")):
                raise InvalidMessageError(
                    "unknown_world", f"world: there is no world {name!r}; world.create makes it"
                )
            return
        record = turn.states.get(world.record_key)
        if record is not None and isinstance(world, Replay) and message["type"] != "event":
            yield from world.play(turn, message)
            self._note_clock(turn, message, world, record)
            return
        if record is None or is_older(record, message) or world.knows_id(turn, message["event_id"]):
            return
        if came_before(record, message):
            # A worker may have ended after it wrote the record of the world and before the id.
            world.remember_id(turn, message["event_id"])
            return
        try:
            yield from self._do(turn, message, body, world, record)
        except InvalidMessageError as error:
            # What was refused is answered once, also when harmonize sends it again.
            world.remember_id(turn, message["event_id"])
            # Of an overlay each partition is told; one answer is enough, but each sees its own entities.
            if not isinstance(world, Overlay) or body.get("home") or error.reason == "too_many_entities":
                raise
        else:
            if name in self._worlds:
                world.remember_id(turn, message["event_id"])

    def follow(self, turn: Turn, key: str, base: State, rows: Sequence[ShownTick], now_ms: int) -> None:
        """An entity of live changed: so do the overlays that touch it."""
        for name in sorted(self._touched.get(key, ())):
            cast(Overlay, self._worlds[name]).follow(turn, key, base, rows, now_ms)

    def lose(self, turn: Turn, key: str, now_ms: int) -> None:
        """An entity of live was removed: the overlays that touch it let go of it."""
        for name in sorted(self._touched.get(key, ())):
            cast(Overlay, self._worlds[name]).lose(turn, key, now_ms)

    def touches(self, key: str) -> bool:
        """Whether an overlay concerns an entity of live."""
        return key in self._touched

    def clock(self, turn: Turn) -> Iterator[None]:
        """End the worlds whose time is over; look at what time alone changes in overlays."""
        for key, now_ms in turn.removals(self._touched, self._rules.number):
            self.lose(turn, key, now_ms)
        for name, world in sorted(self._worlds.items()):
            record = turn.states.get(world.record_key)
            if record is not None and turn.offset < record["version"]:
                continue
            if turn.at_ms > world.ends_ms:
                yield from self._drop(turn, world)
            elif isinstance(world, Overlay):
                known = set(world.faults)
                yield from world.clock(turn)
                if known != set(world.faults):
                    self._retouch(name, world)
        yield from self._drop_orphans(turn)

    def _do(
        self,
        turn: Turn,
        message: Observation,
        body: dict[str, Any],
        world: AnyWorld,
        record: State,
    ) -> Iterator[None]:
        if message["type"] != "event":
            if isinstance(world, Isolated) and message["type"] == "values":
                yield from world.set_entities(turn, message)
            return
        if turn.offset < record["version"]:
            return
        type = body["type"]
        if type == "world.create":
            raise InvalidMessageError(
                "world_exists", f"world: there is a world {world.name!r}; take another name or drop it first"
            )
        if type == "world.drop":
            yield from self._drop(turn, world)
            return
        with _well_formed():
            work = _work_of(turn, world, type, body)
        yield from work
        if isinstance(world, Overlay):
            self._retouch(world.name, world)
        if isinstance(world, Isolated):
            record["attributes"]["clock_ms"] = str(world.clock_ms)
            record["seen_ms"] = world.clock_ms
        note_origin(record, message)
        turn.write(world.record_key, record)

    def _note_clock(self, turn: Turn, message: Observation, world: Replay, record: State) -> None:
        """How far a replay is, in its record."""
        if message["type"] == "clock" and turn.offset >= record["version"]:
            record["attributes"]["clock_ms"] = str(world.clock_ms)
            record["seen_ms"] = world.clock_ms
            turn.write(world.record_key, record)

    def _begin(self, turn: Turn, message: Observation, body: dict[str, Any]) -> Iterator[None]:
        """Create a world; what is there already is left of one that ended, or of this one's next messages."""
        waiting = self._waiting.pop(message["world"], {})
        ahead = {key: state for key, state in waiting.items() if cast(int, state["version"]) > turn.offset}
        yield from self._delete(turn, sorted(waiting.keys() - ahead.keys()))
        with _well_formed():
            self._create(turn, message, body)
        for one in ahead.items():
            self.restore(*one)

    def _create(self, turn: Turn, message: Observation, body: dict[str, Any]) -> None:
        name = message["world"]
        world = self._worlds[name] = new_world(name, self._rules, home=body["home"], base=body["base"])
        record = new_record(world, message, body)
        world.keys.add(world.record_key)
        world.read(record)
        turn.write(world.record_key, record)
        world.remember_id(turn, message["event_id"])

    def _drop(self, turn: Turn, world: AnyWorld) -> Iterator[None]:
        del self._worlds[world.name]
        turn.remember_gone(world.record_key, self._rules.number)
        yield from self._delete(turn, sorted(world.all_keys()))
        if isinstance(world, Overlay):
            self._retouch(world.name, None)

    def _drop_orphans(self, turn: Turn) -> Iterator[None]:
        for name in sorted(self._waiting):
            left = self._waiting[name]
            old = [key for key, state in left.items() if cast(int, state["version"]) <= turn.offset]
            for key in old:
                del left[key]
            if not left:
                del self._waiting[name]
            yield from self._delete(turn, sorted(old))

    def _delete(self, turn: Turn, keys: Sequence[str]) -> Iterator[None]:
        for place, key in enumerate(keys):
            record = turn.states.get(key)
            if record is not None:
                if not record["kind"].startswith("_"):
                    record["version"] = turn.offset + 1
                    turn.changes.ticks.add_change(record, max(record["seen_ms"], 1), removed=True)
                turn.delete(key)
            if place % PAUSE_ENTITIES == PAUSE_ENTITIES - 1:
                yield

    def _note_touched(self, world: AnyWorld, fault: Fault) -> None:
        world.note_fault(fault)
        if isinstance(world, Overlay):
            for kind, id in fault.entities:
                self._touched.setdefault(world.key_of(kind, id), set()).add(world.name)

    def _retouch(self, name: str, world: Overlay | None) -> None:
        """Which entities of live an overlay touches, after its faults changed."""
        now = world.by_entity.keys() if world is not None else frozenset()
        for key in [key for key, names in self._touched.items() if name in names and key not in now]:
            self._touched[key].discard(name)
            if not self._touched[key]:
                del self._touched[key]
        for key in now:
            self._touched.setdefault(key, set()).add(name)

    def _record_key(self, name: str, body: dict[str, Any]) -> str:
        return new_world(name, self._rules, home=bool(body.get("home"))).record_key


@contextmanager
def _well_formed() -> Iterator[None]:
    """A command that harmonize did not check is bad data, not a bug."""
    try:
        yield
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise InvalidMessageError("event_body", f"body: {type(error).__name__}: {error}") from error


def _work_of(turn: Turn, world: AnyWorld, type: str, body: dict[str, Any]) -> Iterator[None]:
    if isinstance(world, Replay):
        raise InvalidMessageError(
            "event_type", f"type: {type!r} is not for world {world.name}, which replays what was"
        )
    if type == "world.advance" and isinstance(world, Isolated):
        return world.advance(turn, body)
    if type == "fault.start":
        return world.start_fault(turn, body)
    if type == "fault.stop":
        return world.stop_fault(turn, body)
    if type == "entity.remove":
        return world.remove_entities(turn, body)
    if type == "entity.set" and isinstance(world, Overlay):
        return world.set_entities(turn, body)
    raise InvalidMessageError("event_type", f"type: {type!r} is not for world {world.name}")


def _body_of(message: Observation) -> dict[str, Any]:
    with _well_formed():
        body: Any = json.loads(message["body"])
        if not isinstance(body, dict):
            raise TypeError(f"{message['body'][:50]} is no object")
        return body


def _fault_of(state: State) -> Fault:
    body = json.loads(state["attributes"]["fault"])
    return Fault.from_body(body, body["start_ms"])
