"""What is near an entity: its pool, the others in it, its devices and links."""

import asyncio
import time
from collections import defaultdict
from collections.abc import Iterable
from html import escape
from typing import NamedTuple
from weakref import WeakKeyDictionary

from nicegui import ui

from streams.domain.keys import split_key
from streams.errors import InvalidMessageError
from streams.pages.links import badge, entity_link
from streams.pages.shell import View
from streams.pages.units import ABSENT, value_text
from streams.replica.held import Held
from streams.replica.holdings import Holdings
from streams.replica.past import PastHeld
from streams.replica.view import WorldView

SHOWN = 12
"""[1] Entities of a list that are named; the others are counted."""

KEPT_S = 30.0
"""[s] How long it is remembered what belongs to what: to look at 10,000 records takes half a second."""

SLICE = 50
"""[1] Records that are looked at before others get the event loop: about 3 ms."""

DELAY = "network_delay_ms"

WORST_FIRST = {"down": 0, "degraded": 1, "unknown": 2, "up": 3}

Key = tuple[str, str]
"""Kind and id."""


class Index(NamedTuple):
    """What belongs to each pool, and to each node; and names of those whose id says nothing."""

    by_pool: dict[str, list[Key]]
    by_node: dict[str, list[Key]]
    names: dict[Key, str]
    until_s: float


class Group(NamedTuple):
    """Neighbours of one sort; `where` finds all of them in the table, `kind` names them."""

    title: str
    members: list[Key]
    kind: str = ""
    where: str = ""


_indexes: WeakKeyDictionary[Holdings, "asyncio.Task[Index]"] = WeakKeyDictionary()


async def index_of(entities: WorldView) -> Index:
    """The index of a world, made anew when it is old; all who ask meanwhile wait for the same one."""
    holdings = entities.holdings
    known = _indexes.get(holdings)
    if known is not None and known.done():
        is_bad = known.cancelled() or known.exception() is not None
        if is_bad or known.result().until_s < time.monotonic():
            known = None
    if known is None or known.get_loop() is not asyncio.get_running_loop():
        known = asyncio.create_task(_make_index(holdings), name="neighbours")
        _indexes[holdings] = known
    return await asyncio.shield(known)


async def _make_index(holdings: Holdings) -> Index:
    by_pool: defaultdict[str, list[Key]] = defaultdict(list)
    by_node: defaultdict[str, list[Key]] = defaultdict(list)
    names: dict[Key, str] = {}
    # Of all that the world has: others who may see more use the same index.
    records = sorted(
        ((split_key(key.decode())[1:], held) for key, held in holdings.records()), key=lambda one: one[0]
    )
    for place, (key, held) in enumerate(records, 1):
        attributes = _attributes(held)
        for pool in {attributes.get(name, "") for name in ("nodepool", "nodepool_a", "nodepool_b")} - {""}:
            by_pool[pool].append(key)
        if attributes.get("node"):
            by_node[attributes["node"]].append(key)
        if attributes.get("name", key[1]) != key[1]:
            names[key] = attributes["name"]
        if place % SLICE == 0:
            await asyncio.sleep(0)
    return Index(dict(by_pool), dict(by_node), names, time.monotonic() + KEPT_S)


def _attributes(held: Held) -> dict[str, str]:
    if isinstance(held, PastHeld):
        return held.entity.attributes
    try:
        attributes: dict[str, str] = held.decode()["attributes"]
    except InvalidMessageError:
        return {}
    return attributes


def groups(index: Index, kind: str, id: str, attributes: dict[str, str]) -> list[Group]:
    """The neighbours of an entity, by sort; empty groups are left out."""
    pools = [id] if kind == "nodepool" else _pools(attributes)
    near = [key for pool in pools for key in index.by_pool.get(pool, [])]
    near = [key for key in dict.fromkeys(near) if key != (kind, id)]
    of_pool = f"nodepool={pools[0]}" if len(pools) == 1 else ""

    def those(wanted: str) -> list[Key]:
        return [key for key in near if key[0] == wanted]

    found = (
        []
        if kind == "nodepool"
        else [Group("Pool" if kind != "link" else "Pools", [("nodepool", pool) for pool in pools])]
    )
    if attributes.get("node") and kind != "node":
        found.append(Group("Node", [("node", attributes["node"])]))
    own = index.by_node.get(id, []) if kind == "node" else []
    found.append(Group("On this node", own))
    if kind != "link":
        title = "Nodes" if kind == "nodepool" else "Nodes of the pool"
        found.append(Group(title, those("node"), "node", of_pool))
        title = "Devices" if kind == "nodepool" else "Devices of the pool"
        devices = [key for key in those("device") if key not in own]
        found.append(Group(title, devices, "device", of_pool))
        found.append(Group("Jobs", [key for key in those("job") if key not in own], "job", of_pool))
    else:
        back = {("link", "~".join(reversed(id.split("~"))))} - {("link", id)}
        found.append(Group("The way back", [key for key in those("link") if key in back]))
    links = [key for key in those("link") if kind != "link"]
    found.append(Group("Links" if kind == "nodepool" else "Links of the pool", links, "link"))
    return [group for group in found if group.members]


def _pools(attributes: dict[str, str]) -> list[str]:
    names = ("nodepool", "nodepool_a", "nodepool_b")
    return list(dict.fromkeys(attributes[name] for name in names if attributes.get(name)))


class NeighboursPanel:
    """The lists; one that did not change stays as it is in the browser."""

    def __init__(self, view: View, kind: str, id: str) -> None:
        self._view, self._kind, self._id = view, kind, id
        with ui.element("section").classes("twin-panel"):
            ui.html("Neighbours", tag="h2").classes("twin-h2")
            self._body = ui.html("", sanitize=False).classes("ent-neighbours")

    async def show(self, entities: WorldView, attributes: dict[str, str]) -> None:
        """Bring the lists up to date."""
        index = await index_of(entities)
        found = [
            group._replace(members=[key for key in group.members if entities.sees_kind(key[0])])
            for group in groups(index, self._kind, self._id, attributes)
        ]
        text = "".join(self._group(entities, index, group) for group in found if group.members)
        self._body.set_content(text or '<p class="twin-muted">none are known</p>')

    def _group(self, entities: WorldView, index: Index, group: Group) -> str:
        held = {key: record[1].status for key in group.members if (record := entities.find(*key))}
        members = sorted(
            group.members, key=lambda key: (WORST_FIRST.get(held.get(key, "unknown"), 2), key[1])
        )
        shown = "".join(self._member(entities, index, key, held.get(key)) for key in members[:SHOWN])
        more = len(members) - SHOWN
        if more > 0:
            href = self._view.href("/", where=f"kind={group.kind} {group.where}".strip())
            shown += f'<a class="twin-link-plain" href="{escape(href)}">and {more:,} more</a>'
        count = f' <span class="twin-muted">{len(members):,}</span>' if len(members) > 1 else ""
        counts = _counts(held.values()) if len(members) > SHOWN else ""
        return f'<div class="ent-near"><h3>{escape(group.title)}{count} {counts}</h3><div>{shown}</div></div>'

    def _member(self, entities: WorldView, index: Index, key: Key, status: str | None) -> str:
        if status is None:
            return f'<span class="ent-chip twin-muted" title="not in the twin">{escape(key[1])}</span>'
        name = index.names.get(key)
        text = entity_link(self._view, *key, f"{name} ({key[1]})" if name else None)
        if key[0] == "link":
            entity = entities.get(key)
            metric = entity["metrics"].get(DELAY) if entity else None
            delay = value_text(metric["value"], "ms") if metric else ABSENT
            text += f' <span class="twin-number">{escape(delay)}</span>'
        dot = f'<i class="ent-dot status-{escape(status)}" title="{escape(status)}"></i>'
        return f'<span class="ent-chip">{dot}{text}</span>'


def _counts(statuses: Iterable[str]) -> str:
    found: dict[str, int] = {}
    for status in statuses:
        found[status] = found.get(status, 0) + 1
    return " ".join(
        badge(f"{count:,} {status}", f"status-{status}")
        for status, count in sorted(found.items(), key=lambda item: WORST_FIRST.get(item[0], 2))
    )
