"""The events of a scenario: checked whole before it begins, resolved to ids and put out at their time."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

from streams.domain.catalogue import Catalogue
from streams.domain.near import near_names
from streams.errors import InvalidMessageError
from streams.events import parse_event
from streams.vte.formats import InvalidScenarioError
from streams.vte.scenario import Planned

CHECKED = ("node", "nodepool", "device", "link")
"""Kinds of which a scenario has all entities at the start."""

Attributes = Mapping[tuple[str, str], Mapping[str, str]]
"""Attributes of entities by kind and id."""


class Due(NamedTuple):
    """An event that is to be sent."""

    type: str
    body: dict[str, Any]


class _Limit(NamedTuple):
    """A fault that leaves only a share of nodes to jobs, until its end [ms], if it has one."""

    ids: frozenset[str]
    start_ms: int
    end_ms: int | None
    share: float


class Plan:
    """The events to come, and what those that came leave of the nodes.

    Args:
        attributes_of: attributes of all entities that are there now.
    """

    def __init__(
        self,
        events: list[Planned],
        start_ms: int,
        catalogue: Catalogue,
        attributes_of: Callable[[], Attributes],
    ) -> None:
        self._attributes_of = attributes_of
        self._events: list[tuple[int, int, Planned]] = []
        self._limits: dict[str, _Limit] = {}
        there = attributes_of()
        for number, event in enumerate(events):
            _check(number, event, catalogue, there)
            self._events.append((start_ms + event.at, number, event))
        self._events.sort(key=lambda item: item[:2])

    def take(self, until_ms: int) -> Iterator[Due]:
        """The events up to a time, with ids instead of labels, and with their times."""
        while self._events and self._events[0][0] <= until_ms:
            at_ms, number, event = self._events.pop(0)
            body = dict(event.body)
            if event.type == "fault.start":
                body["selector"] = selector = self._resolve(number, body)
                if not selector["ids"]:
                    continue  # labels of jobs, of which none is there
                body["fault"] = body.get("fault") or f"event-{number}"
                if body.get("start_ms") is None:
                    body["start_ms"] = at_ms
                self._note(body)
            elif event.type == "fault.stop" and body["fault"] in self._limits:
                self._limits[body["fault"]] = self._limits[body["fault"]]._replace(end_ms=at_ms)
            elif event.type == "entity.set" and body.get("at_ms") is None:
                body["at_ms"] = at_ms
            yield Due(event.type, body)

    def shares(self, now_ms: int) -> dict[str, float]:
        """What faults leave of nodes at a time: 0 of one that is down; those that are whole are not there."""
        if not self._limits:
            return {}
        for id in [
            id for id, limit in self._limits.items() if limit.end_ms is not None and limit.end_ms <= now_ms
        ]:
            del self._limits[id]
        shares: dict[str, float] = {}
        for limit in self._limits.values():
            if limit.start_ms <= now_ms:
                for id in limit.ids:
                    shares[id] = shares.get(id, 1.0) * limit.share
        return shares

    def _resolve(self, number: int, body: dict[str, Any]) -> dict[str, Any]:
        selector = body["selector"]
        ids = (
            _matching(selector, self._attributes_of()) if selector.get("labels") else selector.get("ids", [])
        )
        _check_count(number, body, len(ids))
        return {"kind": selector["kind"], "ids": sorted(set(ids))}

    def _note(self, body: dict[str, Any]) -> None:
        if body["kind"] in ("node_down", "capacity_cut") and body["selector"]["kind"] == "node":
            end_ms = body.get("end_ms")
            if body.get("duration_ms") is not None:
                end_ms = body["start_ms"] + body["duration_ms"]
            ids, share = frozenset(body["selector"]["ids"]), float(body.get("share", 0.0))
            self._limits[body["fault"]] = _Limit(ids, body["start_ms"], end_ms, share)


def _matching(selector: dict[str, Any], there: Attributes) -> list[str]:
    wanted, labels = selector.get("ids") or (), selector["labels"].items()
    return [
        id
        for (kind, id), attributes in there.items()
        if kind == selector["kind"]
        and (not wanted or id in wanted)
        and all(attributes.get(name) == value for name, value in labels)
    ]


def _check(number: int, event: Planned, catalogue: Catalogue, there: Attributes) -> None:
    document = {"id": "event", "type": event.type, "world": "scenario", "body": event.body}
    try:
        parse_event(document, catalogue)
    except InvalidMessageError as error:
        raise InvalidScenarioError(f"events.{number}: {error}") from None
    if event.type != "fault.start":
        return
    selector = event.body["selector"]
    kind, place = selector["kind"], f"events.{number}.body.selector"
    ids, labels = selector.get("ids", []), selector.get("labels")
    if not ids and not labels:
        raise InvalidScenarioError(f"{place}: it needs ids or labels")
    if kind not in CHECKED:
        return
    known = [id for other, id in there if other == kind]
    for id in ids:
        if id not in known:
            near = near_names(id, known)
            hint = f"; did you mean {', '.join(near)}?" if near else ""
            raise InvalidScenarioError(f"{place}.ids: there is no {kind} {id!r}{hint}")
    if labels:
        found = _matching(selector, there)
        if not found:
            raise InvalidScenarioError(f"{place}.labels: no {kind} has {labels}")
        _check_count(number, event.body, len(found))


def _check_count(number: int, body: dict[str, Any], count: int) -> None:
    most = body.get("max_entities", 100)
    if count > most:
        raise InvalidScenarioError(
            f"events.{number}.body.max_entities: {count} entities are more than {most}"
        )
