"""Events that were posted, made such that the worker can do what they say, or refused."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import NamedTuple

from streams.domain.catalogue import Catalogue
from streams.domain.resolve import Nobody, Roster, UnresolvedError, resolve
from streams.domain.times import moment_text
from streams.errors import InvalidMessageError
from streams.events import InvalidEventError
from streams.events.models import (
    AnyEvent,
    EntityRemove,
    EntitySet,
    FaultStart,
    FaultStop,
    WorldCreate,
    WorldLoad,
)
from streams.events.sender import stamped
from streams.replica.view import WorldView
from streams.replica.worlds import LIVE, OVERLAY
from streams.web.access.principal import LOCAL as LOCAL_USER
from streams.web.access.principal import Principal
from streams.web.fromlive import KINDS, from_live, set_events
from streams.web.live import LiveTwin
from streams.web.loading import check_range
from streams.web.problems import ProblemError
from streams.web.worlds import faults_of

SLICE = 50
"""[1] Records that are decoded before others get the event loop: about 3 ms."""

WAIT_S = 2.0
"""[s] What is not here yet is waited for: an event that makes it may be on its way through the worker."""

LOOK_S = 0.02
"""[s] Between looks at whether it came."""

Names = list[tuple[str, str]]
"""Kinds and ids of entities."""


class Resolved(NamedTuple):
    """What comes of one event that was posted.

    Args:
        events: what is sent for it.
        touched: kinds and ids of the entities that it would touch.
        is_whole_world: these are all of its world.
        load: of which a range of history is to be sent after these.
    """

    events: list[AnyEvent]
    touched: Names
    is_whole_world: bool = False
    load: WorldLoad | None = None


@dataclass
class Batch:
    """Resolves the events of one request in their order; each sees what those before it do.

    Args:
        twin: what is there.
        catalogue: the metrics that there are.
        step_ms: [ms] of a world that begins as live.
        past: gives live as of a moment [ms since the epoch].
        who: posted them; errors name nothing that they do not see.
    """

    twin: LiveTwin
    catalogue: Catalogue
    step_ms: int
    past: Callable[[int], Awaitable[WorldView]]
    who: Principal = LOCAL_USER
    _rosters: dict[str, Roster] = field(default_factory=dict)
    _dropped: set[str] = field(default_factory=set)
    _faults: dict[tuple[str, str], Names] = field(default_factory=dict)
    _left_s: float = field(default_factory=lambda: WAIT_S)

    async def resolve(self, posted: AnyEvent, place: str) -> Resolved:
        """What is to be sent for an event.

        Args:
            place: how the name of a field of it begins in errors.

        Raises:
            InvalidEventError: a field of it cannot be meant.
            ProblemError: its world does not exist, or does already; or history would be needed.
        """
        event = stamped(posted)
        if event.world == LIVE:
            return Resolved([event], [])
        if isinstance(event, WorldCreate):
            return await self._create(event, place, is_repeatable=bool(posted.id))
        roster = await self._roster(event.world, place)
        if isinstance(event, WorldLoad):
            return await self._load(event, roster, place)
        if isinstance(event, FaultStart):
            return await self._start(event, roster)
        if isinstance(event, EntitySet):
            for entity in event.body.entities:
                roster.set(entity.kind, entity.id, entity.attributes)
            return Resolved([event], [(entity.kind, entity.id) for entity in event.body.entities])
        if isinstance(event, EntityRemove):
            return await self._remove(event, roster)
        if isinstance(event, FaultStop):
            return Resolved([event], await self._touched_by(event.world, event.body.fault))
        if event.type == "world.drop":
            self._dropped.add(event.world)
            del self._rosters[event.world]
        return Resolved(
            [event], [(kind, id) for kind in KINDS for id in roster.ids(kind)], is_whole_world=True
        )

    async def _create(self, event: WorldCreate, place: str, *, is_repeatable: bool) -> Resolved:
        world = event.world
        is_overlay = world.startswith(OVERLAY)
        is_copy = event.body.base == LIVE and not is_overlay
        is_known = world in self._rosters or (world not in self._dropped and self.twin.worlds.exists(world))
        # One that has an id may be sent again, and changes nothing; what follows a copy of live would.
        if is_known and (is_copy or not is_repeatable):
            raise ProblemError(
                409, "world-exists", f"there is a world {world!r} already", field=f"{place}world"
            )
        if is_known:
            await self._roster(world, place)
            return Resolved([event], [])
        self._rosters[world] = roster = Roster(world, self.twin.replica if is_overlay else Nobody())
        if not is_copy:
            return Resolved([event], [])
        events = await from_live(event, self.twin.replica, self.step_ms, self.catalogue)
        touched: Names = []
        for entity in (
            entity for one in events if isinstance(one, EntitySet) for entity in one.body.entities
        ):
            roster.set(entity.kind, entity.id, entity.attributes)
            touched.append((entity.kind, entity.id))
        return Resolved(events, touched)

    async def _load(self, event: WorldLoad, roster: Roster, place: str) -> Resolved:
        """The moment of history that the world begins with; what follows it is sent later (`Loads`)."""
        check_range(event.body, place)
        past = await self.past(event.body.from_ms)
        events = await set_events(event, past, self.catalogue, None, f"{place}body.from_ms")
        touched: Names = []
        for one in events:
            for entity in one.body.entities if isinstance(one, EntitySet) else ():
                roster.set(entity.kind, entity.id, entity.attributes)
                touched.append((entity.kind, entity.id))
        if not touched:
            text = f"history has no entity of live at {moment_text(event.body.from_ms)}"
            raise ProblemError(422, "empty-past", text, field=f"{place}body.from_ms")
        return Resolved(events, touched, load=event if event.body.to_ms is not None else None)

    async def _start(self, event: FaultStart, roster: Roster) -> Resolved:
        selector, limit = event.body.selector, event.body.max_entities
        await self._wait_for(roster, [(selector.kind, id) for id in selector.ids])
        try:
            attributes = {}
            if selector.labels:
                attributes = await self._attributes(roster, selector.kind, selector.ids)
            ids = resolve(roster, selector.kind, selector.ids, selector.labels, attributes)
        except UnresolvedError as error:
            faults = [(f"body.selector.{name}", text) for name, text in error.faults]
            raise InvalidEventError("selector", faults) from None
        if len(ids) > limit:
            text = f"it would touch {len(ids)} entities of kind {selector.kind}, more than {limit}"
            raise InvalidEventError("too_many_entities", [("body.max_entities", text)])
        explicit = selector.model_copy(update={"ids": ids, "labels": {}})
        body = event.body.model_copy(update={"selector": explicit})
        touched = [(str(selector.kind), id) for id in ids]
        self._faults[event.world, event.body.fault or event.id] = touched
        return Resolved([event.model_copy(update={"body": body})], touched)

    async def _remove(self, event: EntityRemove, roster: Roster) -> Resolved:
        names: Names = [(entity.kind, entity.id) for entity in event.body.entities]
        await self._wait_for(roster, names)
        try:
            roster.check(names, [f"body.entities.{place}.id" for place in range(len(names))])
        except UnresolvedError as error:
            raise InvalidEventError("selector", error.faults) from None
        for kind, id in names:
            roster.remove(kind, id)
        return Resolved([event], names)

    async def _roster(self, world: str, place: str) -> Roster:
        roster = self._rosters.get(world)
        if roster is not None:
            return roster
        if world in self._dropped:
            text = f"the events before this one drop world {world!r}"
            raise ProblemError(404, "unknown-world", text, field=f"{place}world")
        await self._wait_until(lambda: self.twin.worlds.exists(world))
        view = self.twin.view_of(world, f"{place}world", self.who)
        self._rosters[world] = roster = Roster(world, view)
        return roster

    async def _wait_for(self, roster: Roster, names: Names) -> None:
        """Give entities that do not exist time to come: events that make them may be on their way."""
        missing = [name for name in names if name not in roster]
        if missing:
            await self._wait_until(lambda: all(name in roster for name in missing))

    async def _wait_until(self, holds: Callable[[], bool]) -> None:
        """Wait for what the replica does not hold yet; all events of a request share one time for it."""
        while not holds() and self._left_s > 0:
            self._left_s -= LOOK_S
            await asyncio.sleep(LOOK_S)

    async def _attributes(self, roster: Roster, kind: str, ids: Sequence[str]) -> dict[str, dict[str, str]]:
        """What the replica holds of the attributes of entities, by id."""
        found: dict[str, dict[str, str]] = {}
        if not isinstance(roster.members, WorldView):
            return found
        for place, id in enumerate(ids or roster.ids(kind), start=1):
            if place % SLICE == 0:
                await asyncio.sleep(0)
            record = roster.members.find(kind, id)
            if record is not None:
                with suppress(InvalidMessageError):  # it is counted where it is shown
                    found[id] = record[1].decode()["attributes"]
        return found

    async def _touched_by(self, world: str, fault: str) -> Names:
        if (world, fault) in self._faults:
            return self._faults[world, fault]
        holdings = self.twin.worlds.find(world)
        known = await faults_of(holdings) if holdings is not None else []
        return [
            (str(kind), str(id)) for one in known if one["fault"] == fault for kind, id in one["entities"]
        ]
