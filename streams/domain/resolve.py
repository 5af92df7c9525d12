"""Selectors of events made explicit: which entities of a world are meant."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from streams.domain.near import near_names
from streams.errors import InvalidMessageError

NEAR_SOUGHT = 3
"""[1] Ids that do not exist for which an error offers others: among thousands that takes 0.1 s each."""


class UnresolvedError(InvalidMessageError):
    """A selector that means nothing; `faults` are pairs of a field of it, and what is wrong with that."""

    def __init__(self, faults: list[tuple[str, str]]) -> None:
        super().__init__("selector", "; ".join(f"{name}: {text}" for name, text in faults[:3]))
        self.faults = faults


class Members(Protocol):
    """The entities of a world as a replica holds them."""

    def __contains__(self, key: object) -> bool:
        """Whether there is this pair of kind and id."""

    def ids(self, kind: str) -> Iterable[str]:
        """Ids of all entities of a kind."""


class Nobody:
    """The entities of a world that has just been made."""

    def __contains__(self, key: object) -> bool:
        return False

    def ids(self, kind: str) -> Iterable[str]:
        """None."""
        return ()


@dataclass
class Roster:
    """The entities of a world, once events that are on their way to it have done what they say.

    Args:
        world: its name.
        members: the entities before those events.
        changed: attributes that the events set, by kind and id; None of an entity that they removed.
        anew: entities that they made, whose attributes are no others than those.
    """

    world: str
    members: Members
    changed: dict[tuple[str, str], dict[str, str] | None] = field(default_factory=dict)
    anew: set[tuple[str, str]] = field(default_factory=set)

    def __contains__(self, key: tuple[str, str]) -> bool:
        return self.changed[key] is not None if key in self.changed else key in self.members

    def ids(self, kind: str) -> list[str]:
        """Ids of all entities of a kind, in order."""
        ids = {id for id in self.members.ids(kind) if (kind, id) in self}
        ids |= {
            id for (other, id), attributes in self.changed.items() if other == kind and attributes is not None
        }
        return sorted(ids)

    def set(self, kind: str, id: str, attributes: Mapping[str, str]) -> None:
        """Take notice that an entity is set."""
        key = (kind, id)
        if key not in self:
            self.anew.add(key)
            self.changed[key] = {}
        self.changed[key] = (self.changed.get(key) or {}) | dict(attributes)

    def remove(self, kind: str, id: str) -> None:
        """Take notice that an entity is removed."""
        self.anew.discard((kind, id))
        self.changed[kind, id] = None

    def attributes(self, kind: str, id: str, before: Mapping[str, str]) -> dict[str, str]:
        """Attributes of an entity that had others before; an empty text removes one."""
        key = (kind, id)
        known = {} if key in self.anew else before
        return {name: text for name, text in {**known, **(self.changed.get(key) or {})}.items() if text}

    def check(self, names: Sequence[tuple[str, str]], fields: Sequence[str]) -> None:
        """Raise UnresolvedError unless all entities exist.

        Args:
            names: kind and id of each.
            fields: what holds the id of each, for errors.
        """
        missing = [(name, field) for name, field in zip(names, fields, strict=True) if name not in self]
        faults: list[tuple[str, str]] = []
        for (kind, id), name in missing:
            near = near_names(id, self.ids(kind)) if len(faults) < NEAR_SOUGHT else []
            hint = f"; did you mean {', '.join(near)}?" if near else ""
            faults.append((name, f"there is no {kind} {id!r} in world {self.world}{hint}"))
        if faults:
            raise UnresolvedError(faults)


def resolve(
    roster: Roster,
    kind: str,
    ids: Sequence[str],
    labels: Mapping[str, str],
    attributes: Mapping[str, Mapping[str, str]],
) -> list[str]:
    """Ids of the entities of a kind that have one of the ids (none: any) and all labels, in order, each once.

    Args:
        attributes: before the roster's changes, by id; needed only where there are labels.

    Raises:
        UnresolvedError: an id does not exist, or nothing is meant.
    """
    roster.check([(kind, id) for id in ids], [f"ids.{place}" for place in range(len(ids))])
    candidates = sorted(set(ids)) if ids else roster.ids(kind)
    if not candidates:
        raise UnresolvedError([("kind", f"there is no {kind} in world {roster.world}")])
    if not labels:
        return candidates
    known = {id: roster.attributes(kind, id, attributes.get(id, {})) for id in candidates}
    found = [id for id in candidates if all(known[id].get(label) == text for label, text in labels.items())]
    if not found:
        raise UnresolvedError(_why_none(roster.world, kind, labels, known))
    return found


def _why_none(
    world: str, kind: str, labels: Mapping[str, str], known: Mapping[str, Mapping[str, str]]
) -> list[tuple[str, str]]:
    faults: list[tuple[str, str]] = []
    for label, text in labels.items():
        values = {attributes[label] for attributes in known.values() if label in attributes}
        if not values:
            near = near_names(label, sorted({name for attributes in known.values() for name in attributes}))
            hint = f"; did you mean {', '.join(near)}?" if near else ""
            faults.append(
                (f"labels.{label}", f"no {kind} that is meant in world {world} has {label!r}{hint}")
            )
        elif text not in values:
            near = near_names(text, sorted(values)) or sorted(values)[:3]
            faults.append(
                (f"labels.{label}", f"no {kind} has {label} {text!r}; there is {', '.join(map(repr, near))}")
            )
    return faults or [("labels", f"no {kind} in world {world} has all of them")]
