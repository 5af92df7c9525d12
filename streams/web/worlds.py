"""GET /twin/v1/worlds: which worlds there are, and the faults that they have."""

import asyncio
import json
from math import isfinite
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query, Request

from streams.errors import InvalidMessageError
from streams.replica.held import Held
from streams.replica.holdings import Holdings
from streams.replica.overlay import Overlay
from streams.replica.worlds import LIVE
from streams.web.access.principal import Principal, principal_of
from streams.web.access.require import require
from streams.web.live import caught_up
from streams.web.models import Model, WorldsAnswer
from streams.web.state import ERRORS

SLICE = 50
"""[1] Records that are decoded before others get the event loop: about 3 ms."""

FAULT_KIND = "_fault"
"""Kind of the twin's own records that hold one fault each, or the part of it that is in one partition."""

EDITS = ("set", "remove")
"""Kinds of those that are no faults."""

router = APIRouter(
    prefix="/twin/v1", tags=["twin"], responses=ERRORS, dependencies=[Depends(require("read"))]
)


@router.get("/worlds", response_model=WorldsAnswer, summary="Worlds and their faults")
async def get_worlds(request: Request, query: Annotated[Model, Query()]) -> dict[str, Any]:
    """All worlds that can be asked for, live first, with their faults."""
    return {"worlds": await describe_worlds(request)}


async def describe_worlds(request: Request) -> list[dict[str, Any]]:
    """The worlds that whoever asks may see, as GET /worlds has them.

    Raises:
        ProblemError: 503, the replica has not caught up.
    """
    twin = caught_up(request)
    who = principal_of(request)
    worlds: list[dict[str, Any]] = []
    for name in filter(who.sees_world, twin.worlds.names()):
        holdings = twin.worlds.find(name)
        if holdings is not None:  # it may have ended meanwhile
            worlds.append(await _world(holdings, who))
    return worlds


async def faults_of(holdings: Holdings) -> list[dict[str, Any]]:
    """The faults of a world as its records have them, each once, in order of start; `entities` are pairs of
    kind and id."""
    faults: dict[str, dict[str, Any]] = {}
    prefix = f"{holdings.world}/{FAULT_KIND}/".encode()
    records = [held for key, held in holdings.hidden.items() if key.startswith(prefix)]
    for place, held in enumerate(records, start=1):
        if place % SLICE == 0:
            await asyncio.sleep(0)
        fault = _read_fault(holdings, held)
        # What `entity.set` and `entity.remove` do to an overlay is kept as a fault too, but is none.
        if fault is not None and fault.get("kind") not in EDITS:
            known = faults.setdefault(str(fault["fault"]), fault | {"entities": []})
            known["entities"] += fault["entities"]
    return sorted(faults.values(), key=lambda fault: (fault["start_ms"], fault["fault"]))


async def _world(holdings: Holdings, who: Principal) -> dict[str, Any]:
    is_live = holdings.world == LIVE
    found = holdings.shown.get(holdings.key("world", holdings.world))
    attributes = _attributes(holdings, found) if found is not None else {}
    created_ms, ttl_s = _number(attributes, "created_ms"), _number(attributes, "ttl_s")
    own = sum(_counts(key, who) for key in holdings.shown)
    is_overlay = isinstance(holdings, Overlay)
    return {
        "name": holdings.world,
        "type": "live" if is_live else "overlay" if is_overlay else "isolated",
        "simulated": not is_live,
        # The record of the world itself is none of its entities.
        "entities": len(holdings) - (not is_live)
        if who.sees_all_kinds
        else sum(_counts(key, who) for key, _ in holdings.records()),
        "changed": own + sum(_counts(key, who) for key in holdings.masked)
        if isinstance(holdings, Overlay)
        else None,
        "owner": attributes.get("owner"),
        "reason": attributes.get("reason"),
        "base": LIVE if is_overlay else attributes.get("base"),
        "created_ms": created_ms,
        "ttl_s": ttl_s,
        "ends_ms": None if created_ms is None or ttl_s is None else created_ms + round(ttl_s * 1000),
        "max_entities": _number(attributes, "max_entities"),
        "clock_ms": _number(attributes, "clock_ms"),
        "step_ms": _number(attributes, "step_ms"),
        "faults": [
            {
                "id": str(fault["fault"]),
                "kind": str(fault.get("kind", "")),
                "entities": sum(who.sees_kind(str(kind)) for kind, _ in fault["entities"]),
                "owner": str(fault.get("owner") or ""),
                "start_ms": fault["start_ms"],
                "end_ms": fault.get("end_ms"),
            }
            for fault in await faults_of(holdings)
        ],
    }


def _counts(key: bytes, who: Principal) -> bool:
    """Whether the entity of a key is one that somebody sees; the record of the world itself is none."""
    kind = key.split(b"/", 2)[1].decode()
    return kind != "world" and who.sees_kind(kind)


def _read_fault(holdings: Holdings, held: Held) -> dict[str, Any] | None:
    try:
        fault = json.loads(_attributes(holdings, held)["fault"])
        return fault if {"fault", "entities", "start_ms"} <= set(fault) else None
    except (KeyError, ValueError, TypeError):  # none of this release's
        return None


def _attributes(holdings: Holdings, held: Held) -> dict[str, str]:
    try:
        attributes: dict[str, str] = held.decode()["attributes"]
    except InvalidMessageError as error:
        holdings.count_poisoned(error)
        return {}
    return attributes


def _number(attributes: dict[str, str], name: str) -> int | float | None:
    try:
        number = float(attributes[name])
    except (KeyError, ValueError):
        return None
    if not isfinite(number):
        return None
    return int(number) if number.is_integer() else number
