"""What events are aimed at: only what their sender may see."""

from collections.abc import Sequence

from streams.events.models import AnyEvent, EntityRemove, EntitySet, FaultStart, WorldCreate
from streams.replica.worlds import LIVE
from streams.web.access.principal import Principal
from streams.web.access.require import check_sees_all, forbidden


def check_targets(who: Principal, events: Sequence[AnyEvent]) -> None:
    """Raise 403 when one is for a world or a kind of entities that its sender does not see.

    What a fault that is to stop touches, only the state tells: see `check_kinds`.
    """
    for event in events:
        check_world(who, event.world)
        if isinstance(event, FaultStart):
            check_kinds(who, [str(event.body.selector.kind)])
        elif isinstance(event, EntitySet | EntityRemove):
            check_kinds(who, [str(entity.kind) for entity in event.body.entities])
        elif event.type.startswith("world."):
            check_sees_all(who, "a world", worlds=False)
        # What they put into a world that is seen was read in one that need not be.
        if event.type == "world.load" or (isinstance(event, WorldCreate) and event.body.base != "nothing"):
            check_world(who, LIVE)


def check_world(who: Principal, world: str) -> None:
    """Raise 403 for a world that they do not see."""
    if not who.sees_world(world):
        raise forbidden(f"{who.name} sees only worlds {', '.join(who.worlds)}, not {world!r}", "world")


def check_kinds(who: Principal, kinds: Sequence[str]) -> None:
    """Raise 403 for a kind that they do not see."""
    for kind in kinds:
        if not who.sees_kind(kind):
            raise forbidden(f"{who.name} sees only kinds {', '.join(who.kinds)}, not {kind!r}", "kind")


def check_import(who: Principal) -> None:
    """Raise 403 for who may not put a whole snapshot into live."""
    check_sees_all(who, "a snapshot", worlds=False)
    check_world(who, LIVE)
