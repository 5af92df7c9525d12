"""The twin of one world in this process: the same domain functions as the worker's, without Kafka."""

from collections.abc import Iterable, Mapping
from typing import Any

from streams.domain.catalogue import STATE, Catalogue
from streams.domain.changes import Changes
from streams.domain.commands import PRIORITY, UNTIL_CHANGED_MS, observations_of
from streams.domain.entity import NEVER
from streams.domain.observation import new_observation
from streams.domain.twin import Partition
from streams.domain.view import entity_view
from streams.domain.worldhash import Row as HashedRow
from streams.domain.worldhash import world_hash
from streams.domain.worlds import is_own_kind
from streams.events import parse_event
from streams.records import Event, Observation, State
from streams.vte.moment import SENDER, Moment, Row

ORIGIN = "event"
"""Origin topic of what is made here, as that of events from Kafka."""

SOURCE = "scenario"
"""Source of values, as that of `entity.set`."""


class WorldEngine:
    """A partition with worlds; what happens is given as moments of one world, or as event documents.

    Args:
        lazily: only what changes is looked at; ticks of the rest are closed when it changes.
    """

    def __init__(self, catalogue: Catalogue, world: str, *, lazily: bool) -> None:
        self.states: dict[str, State] = {}
        self._world, self._catalogue = world, catalogue
        self._forms = catalogue.forms()
        self._part = Partition(
            0, 5_000, NEVER, catalogue.ceilings(), limits=catalogue.limits(), lazily=lazily
        )
        self._names: dict[str, int] = {}
        self._places: dict[tuple[str, ...], list[int]] = {}
        self._offset = 0

    def apply(self, moment: Moment) -> set[str]:
        """Take a moment into the world; returns the keys of the records that changed."""
        changed: set[str] = set()
        for type, body in moment.before():
            whole = parse_event({"type": type, "world": self._world, "body": body}, self._catalogue)
            changed |= self._take(type, whole.body.model_dump(), moment.at_ms).changed
        if moment.rows:
            changed |= self._apply(self._observation(moment.rows, moment.at_ms)).changed
        for type, body in moment.after():
            changed |= self._take(type, body, moment.at_ms).changed
        return changed

    def views(self) -> list[dict[str, Any]]:
        """All entities as people and schedulers read them."""
        return [entity_view(state) for state in self.states.values() if not is_own_kind(state["kind"])]

    def replay(self, documents: Iterable[Mapping[str, Any]]) -> str:
        """Take event documents into their world; returns the hash of the ticks that they close."""
        rows: list[HashedRow] = []
        for document in documents:
            event = parse_event(document, self._catalogue)
            changes = self._take(event.type, event.body.model_dump(), event.at_ms, event.id)
            rows += (
                (
                    *(row.tick_ms, row.entity["kind"], row.entity["id"], row.complete),
                    *(row.names, row.values, row.qualities),
                )
                for row in changes.ticks.rows
            )
        return world_hash(rows)

    def _take(self, type: str, body: dict[str, Any], at_ms: int, id: str = "") -> Changes:
        event = Event(id=id, type=type, world=self._world, at_ms=at_ms, sender=SENDER, body="")
        ((_, message),) = observations_of(
            event, body, partitions=1, forms=self._forms, partition=0, offset=self._offset
        )
        return self._apply(message)

    def _apply(self, message: Observation) -> Changes:
        changes = self._part.apply(self._offset, message, self.states)
        self._offset += 1
        return changes

    def _observation(self, rows: list[Row], at_ms: int) -> Observation:
        """What `observations_of` makes of `entity.set`, without the way over documents."""
        message = new_observation("values", at_ms)
        message["world"], message["source"], message["priority"] = self._world, SOURCE, PRIORITY
        message["interval_ms"], message["scraped_at_ms"] = UNTIL_CHANGED_MS, at_ms
        message["simulated"] = True
        message["origin_topic"], message["origin_partition"] = ORIGIN, 0
        message["origin_offset"] = self._offset
        metrics, values = message["metrics"], message["values"]
        for row in rows:
            metrics += self._places.get(row.names) or self._place(row.names)
            values += row.values
        message["kinds"] = [row.kind for row in rows]
        message["ids"] = [row.id for row in rows]
        message["sizes"] = [len(row.values) for row in rows]
        message["attributes"] = [row.attributes for row in rows]
        message["names"], message["forms"] = list(self._names), [STATE] * len(self._names)
        message["times_ms"] = [at_ms] * len(values)
        return message

    def _place(self, names: tuple[str, ...]) -> list[int]:
        known = self._names
        places = self._places[names] = [known.setdefault(name, len(known)) for name in names]
        return places
