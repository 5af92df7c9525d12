"""Pools, what is in them and the links between them, as a graph that stays in place when values change."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from math import cos, pi, sin, sqrt
from typing import Any

from streams.domain.aggregate import SOURCE
from streams.pages.totals import Totals
from streams.pages.units import value_text

STATUS_COLOURS = {"up": "#2fa866", "degraded": "#d9930d", "down": "#d8433d", "unknown": "#8896a1"}
"""Readable on light and on dark."""

WORST_FIRST = ("down", "degraded", "unknown", "up")

MAX_MEMBERS = 2_000
"""[1] Nodes and devices that are drawn; of more, those of each pool that are worst."""

GOLDEN = pi * (3 - sqrt(5))
"""[rad] Between one member of a pool and the next, as seeds in a sunflower."""

SPACING, MEMBER, POOL, LETTER = 15.0, 9, 24, 8
"""[px] Between members; size of a member, height of a pool, width of a letter in it."""

NO_POOL = ""
"""Stands for the pool of what names none."""


@dataclass(frozen=True, slots=True)
class Member:
    """A node or a device."""

    kind: str
    id: str
    status: str
    simulated: bool
    text: str


@dataclass(slots=True)
class Pool:
    """A pool with what is in it."""

    id: str
    status: str = "unknown"
    values: dict[str, float] = field(default_factory=dict)
    members: list[Member] = field(default_factory=list)

    def count(self, kind: str, status: str | None = None) -> int:
        """[1] Members of a kind, of all or of one status."""
        return sum(one.kind == kind and status in (None, one.status) for one in self.members)


@dataclass(frozen=True, slots=True)
class Link:
    """A link from one pool to another."""

    id: str
    start: str
    end: str
    status: str
    delay_ms: float | None


@dataclass(slots=True)
class Topology:
    """All of a world."""

    pools: dict[str, Pool] = field(default_factory=dict)
    links: list[Link] = field(default_factory=list)
    whole: dict[str, float] = field(default_factory=dict)

    def pool(self, id: str) -> Pool:
        """A pool, made when it is not there."""
        return self.pools.setdefault(id, Pool(id))


def gather(entities: Iterable[Mapping[str, Any]], totals: Totals | None = None) -> Topology:
    """The topology that entity records (JSON) tell of.

    Args:
        totals: stand for those of the records, which are another world's; what is measured goes before them.
    """
    found = Topology()
    if totals is not None:
        found.whole |= totals.whole
        for id, values in totals.pools.items():
            found.pool(id).values |= values
    for entity in entities:
        kind, attributes = entity["kind"], entity["attributes"]
        if kind == "nodepool":
            pool = found.pool(entity["id"])
            pool.status = entity["status"]
            pool.values |= _values(entity, is_measured=totals is not None)
        elif kind in ("node", "device"):
            found.pool(attributes.get("nodepool", NO_POOL)).members.append(_member(entity))
        elif kind == "link":
            start, _, end = entity["id"].partition("~")
            found.links.append(
                Link(
                    entity["id"],
                    attributes.get("nodepool_a", start),
                    attributes.get("nodepool_b", end),
                    entity["status"],
                    _values(entity).get("network_delay_ms"),
                )
            )
        elif kind == "cluster":
            found.whole |= _values(entity, is_measured=totals is not None)
    return found


def _values(entity: Mapping[str, Any], *, is_measured: bool = False) -> dict[str, float]:
    """The newest value of each metric of an entity record; `is_measured`: without the twin's totals."""
    return {
        name: metric["value"]
        for name, metric in entity["metrics"].items()
        if not (is_measured and metric["source"] == SOURCE)
    }


def chart(topology: Topology) -> dict[str, Any]:
    """Options of an ECharts graph; each point's name is kind/id."""
    points: list[dict[str, Any]] = []
    pools = [topology.pools[id] for id in sorted(topology.pools)]
    share = MAX_MEMBERS // max(1, len(pools))
    radii = [SPACING * sqrt(min(len(pool.members), share) + 2) + POOL for pool in pools]
    for pool, (x, y) in zip(pools, _ring(radii), strict=True):
        shown = sorted(pool.members, key=lambda one: (WORST_FIRST.index(one.status), one.kind, one.id))[
            :share
        ]
        points.append(_pool_point(pool, x, y, len(pool.members) - len(shown)))
        points += [_member_point(one, x, y, place) for place, one in enumerate(shown, start=2)]
    return {
        "animation": False,
        "tooltip": {"confine": True},
        "series": [
            {
                "type": "graph",
                "layout": "none",
                "roam": True,
                "data": points,
                "links": [_edge(link) for link in topology.links if link.start != link.end],
                "edgeSymbol": ["none", "arrow"],
                "edgeSymbolSize": 7,
                "emphasis": {"focus": "adjacency"},
            }
        ],
    }


def _member(entity: Mapping[str, Any]) -> Member:
    values = _values(entity)
    parts = [f"{entity['kind']} {entity['id']}: {entity['status']}"]
    if entity["status_reason"]:
        parts.append(entity["status_reason"])
    for name, label in (("cpu_usage_percent", "processors"), ("mem_usage_percent", "memory")):
        if name in values:
            parts.append(f"{label} {value_text(values[name], '%')}")
    status = entity["status"] if entity["status"] in STATUS_COLOURS else "unknown"
    return Member(entity["kind"], entity["id"], status, entity["simulated"], "\n".join(parts))


def _ring(radii: list[float]) -> list[tuple[float, float]]:
    """Centres of circles of these radii on a ring on which they do not touch."""
    if len(radii) < 2:
        return [(0.0, 0.0)] * len(radii)
    around = sum(2 * radius for radius in radii) * 1.15
    ring = max(around / (2 * pi), max(radii) * 1.6)
    centres, walked = [], 0.0
    for radius in radii:
        angle = 2 * pi * (walked + radius) / sum(2 * one for one in radii) - pi / 2
        centres.append((ring * cos(angle) * 1.5, ring * sin(angle)))
        walked += 2 * radius
    return centres


def _pool_point(pool: Pool, x: float, y: float, hidden: int) -> dict[str, Any]:
    name = (pool.id or "no pool") + (f" (+{hidden:,} not drawn)" if hidden else "")
    return {
        "name": f"nodepool/{pool.id}",
        "x": x,
        "y": y,
        "symbolSize": [max(POOL, 14 + LETTER * len(name)), POOL],
        "symbol": "roundRect",
        "itemStyle": {"color": "#3d6f8c" if pool.id else "#8896a1"},
        "label": {
            "show": True,
            "position": "inside",
            "formatter": name,
            "color": "#fff",
            "fontWeight": 600,
        },
        "value": f"{pool.count('node')} nodes, {pool.count('device')} devices",
    }


def _member_point(member: Member, x: float, y: float, place: int) -> dict[str, Any]:
    distance = SPACING * sqrt(place) + POOL / 3
    return {
        "name": f"{member.kind}/{member.id}",
        "x": x + distance * cos(place * GOLDEN),
        "y": y + distance * sin(place * GOLDEN),
        "symbolSize": MEMBER,
        "symbol": "circle" if member.kind == "node" else "diamond",
        "itemStyle": {
            "color": STATUS_COLOURS[member.status],
            "borderColor": "#7a4fc9" if member.simulated else "transparent",
            "borderWidth": 1,
        },
        "value": member.text,
    }


def _edge(link: Link) -> dict[str, Any]:
    label = "" if link.delay_ms is None else value_text(link.delay_ms, "ms")
    return {
        "source": f"nodepool/{link.start}",
        "target": f"nodepool/{link.end}",
        "value": f"link {link.id}: {link.status} {label}",
        "lineStyle": {
            "color": STATUS_COLOURS.get(link.status, STATUS_COLOURS["unknown"]),
            "width": 1.6,
            "curveness": 0.12,
            "opacity": 0.75,
        },
        "label": {"show": bool(label), "formatter": label, "fontSize": 11, "color": "#8896a1"},
    }
