"""Scenario events to observations: what harmonize sends to which partition (docs/worlds.md)."""

import json
from collections.abc import Iterator, Mapping
from typing import Any

from streams.domain.entity import COUNTER, GAUGE, STATE
from streams.domain.keys import entity_key, partition_of
from streams.domain.observation import new_observation
from streams.records import Event, Observation

PRIORITY = 50
"""[1] Rank of a scenario's source: before what measures."""

UNTIL_CHANGED_MS = 10**12
"""[ms] Interval of values that stay until they are changed: some 30 years."""


def is_overlay(world: str) -> bool:
    """Whether a world lies over live."""
    return world.startswith("live~")


def follows_clock(world: str) -> bool:
    """Whether the time of a world is that of the clock: live's, and that of what lies over it."""
    return world == "live" or is_overlay(world)


def observations_of(
    event: Event,
    body: dict[str, Any],
    *,
    partitions: int,
    forms: Mapping[str, int],
    partition: int,
    offset: int,
    now_ms: int | None = None,
) -> list[tuple[int, Observation]]:
    """What an event of a scenario becomes: pairs of the partition to send to, and the record.

    Args:
        body: of the event, whole and valid (streams/events/models.py).
        forms: of each metric of the catalogue.
        partition: of the topic `event`, from which it was read.
        offset: in it.
        now_ms: [ms since the epoch] wall clock; else the event's time.
    """
    home = partition_of(entity_key(event["world"], "world", event["world"]), partitions)
    found = []
    for number, command in _commands(event, body, home, partitions):
        if command["type"] == "entity.set" and not is_overlay(event["world"]):
            observation = _values(event, command, forms)
        else:
            observation = new_observation("event", event["at_ms"] if now_ms is None else now_ms)
            observation["body"] = json.dumps(command, separators=(",", ":"), ensure_ascii=False)
        observation["world"], observation["event_id"] = event["world"], event["id"]
        observation["origin_topic"], observation["origin_partition"] = "event", partition
        observation["origin_offset"] = offset
        found.append((number, observation))
    return found


def _commands(
    event: Event, body: dict[str, Any], home: int, partitions: int
) -> Iterator[tuple[int, dict[str, Any]]]:
    """The command of each partition: all of an isolated world's in one; an overlay's where its entities are.

    `home` says which partition answers for what concerns the world as a whole, and is told everything.
    """
    command = {"type": event["type"], "home": True, **body}
    if event["type"] == "world.create":
        command["at_ms"] = event["at_ms"]
    if event["type"] == "fault.start":
        selector = command.pop("selector")
        command["fault"] = body["fault"] or event["id"]
        command["entities"] = sorted([selector["kind"], id] for id in set(selector["ids"]))
    if not is_overlay(event["world"]):
        yield home, command
        return
    entities = command.get("entities")
    shares: dict[int, list[Any]] = {}
    for entity in entities or ():
        kind, id = entity if isinstance(entity, list) else (entity["kind"], entity["id"])
        shares.setdefault(partition_of(entity_key("live", kind, id), partitions), []).append(entity)
    for number in range(partitions):
        own = command | {"home": number == home}
        if entities is not None:
            if number != home and number not in shares:
                continue
            own["entities"] = shares.get(number, [])
        yield number, own


def _values(event: Event, command: dict[str, Any], forms: Mapping[str, int]) -> Observation:
    observation = new_observation("values", command["at_ms"] or 0)
    interval_ms = command["interval_ms"]
    observation["source"], observation["priority"] = command["source"], PRIORITY
    observation["interval_ms"] = interval_ms or UNTIL_CHANGED_MS
    observation["scraped_at_ms"] = observation["at_ms"]
    observation["simulated"] = True
    places: dict[str, int] = {}
    for entity in command["entities"]:
        observation["kinds"].append(entity["kind"])
        observation["ids"].append(entity["id"])
        observation["sizes"].append(len(entity["metrics"]))
        observation["attributes"].append(entity["attributes"])
        for name, value in entity["metrics"].items():
            observation["metrics"].append(places.setdefault(name, len(places)))
            observation["values"].append(float(value))
    observation["names"] = list(places)
    observation["forms"] = [_form(forms[name], interval_ms) for name in places]
    observation["times_ms"] = [observation["at_ms"]] * len(observation["values"])
    return observation


def _form(form: int, interval_ms: int) -> int:
    """A value that stays is a state; a counter is given as its rate."""
    if not interval_ms:
        return STATE
    return GAUGE if form == COUNTER else form
