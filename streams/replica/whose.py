"""What a replica knows of an entity when somebody asks why it shows a value."""

from collections.abc import Awaitable, Callable

from streams.domain.keys import entity_key, partition_of
from streams.errors import InvalidMessageError
from streams.history.why.answer import Known
from streams.history.why.log import Subject
from streams.records import State
from streams.replica.faults import entity_faults
from streams.replica.view import WorldView
from streams.stores import PastTick


def subject_of(view: WorldView, kind: str, id: str, metric: str, partitions: int) -> Subject:
    """The value that is asked about, with the partition in which the entity is, or was."""
    found = view.find(kind, id)
    home = partition_of(entity_key(view.world, kind, id), partitions)
    return Subject(view.world, kind, id, metric, home if found is None else found[1].partition)


def known_of(
    view: WorldView,
    subject: Subject,
    step_ms: int,
    past: Callable[[int], Awaitable[PastTick | None]] | None,
) -> Known:
    """Its record, the distance of ticks in its world, and the faults that concern it.

    Args:
        step_ms: [ms] of live.
    """
    state = _record(view, subject.kind, subject.id)
    world = _record(view, "world", view.world) if view.world != "live" else None
    own = world["attributes"].get("step_ms", "") if world is not None else ""
    faults = entity_faults(view.holdings, subject.kind, subject.id)
    return Known(state, int(own) if own.isdigit() else step_ms, faults, past)


def _record(view: WorldView, kind: str, id: str) -> State | None:
    found = view.find(kind, id)
    try:
        state: State | None = found[1].decode() if found is not None else None
    except InvalidMessageError:
        return None
    return state
