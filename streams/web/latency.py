"""GET /twin/v1/latency: which nodes are near to devices."""

import time
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query, Request
from pydantic import Field

from streams.domain.commands import follows_clock
from streams.domain.latency import Delay, delays, find_devices
from streams.web.access.require import require
from streams.web.decice import document_of
from streams.web.models import Model
from streams.web.moment import exactly, moment_of
from streams.web.problems import invalid
from streams.web.state import ERRORS, MomentQuery

DEVICES_MAX = 100
"""[1] Devices of one question."""

router = APIRouter(
    prefix="/twin/v1", tags=["twin"], responses=ERRORS, dependencies=[Depends(require("read"))]
)


class LatencyQuery(MomentQuery):
    """Parameters of GET /latency."""

    devices: str = Field(
        description="Names or ids, with commas between", examples=["cam1"], min_length=1, max_length=5_000
    )
    max_ms: float | None = Field(
        None, ge=0, allow_inf_nan=False, description="[ms] Nodes with more, or without a way, are left out"
    )


class NodeLatency(Model):
    """A node, and the sum of the delays between its pool and those of the devices."""

    node: str
    vertexpool: str | None = Field(description="None: it is in no pool")
    total_ms: float | None = Field(description="[ms] None: there is no way to one of the devices")
    age_ms: int | None = Field(description="[ms] Age of the oldest delay in it; None when none was needed")


class LatencyAnswer(Model):
    """Nodes, the nearest first."""

    world: str
    devices: dict[str, str | None] = Field(description="Id of each device; None when it is unknown")
    max_ms: float | None
    nodes: list[NodeLatency]


@router.get("/latency", response_model=LatencyAnswer, summary="Nodes by delay to devices")
async def get_latency(request: Request, query: Annotated[LatencyQuery, Query()]) -> dict[str, Any]:
    """For each node the sum of the delays [ms] between its pool and those of some devices.

    Links have no direction and the first of a pair counts; within a pool the delay is 0; without a link,
    over one that is down, or to an unknown device there is no way: the rules of DECICE's latency filter.
    """
    # The same moment for the document and for the ages in it.
    at_ms = None if query.at is None else moment_of(request, query.world, query.at)
    document = await document_of(request, query.world, None if at_ms is None else exactly(at_ms))
    names = list(dict.fromkeys(name.strip() for name in query.devices.split(",") if name.strip()))
    if not 0 < len(names) <= DEVICES_MAX:
        text = f"devices: {len(names)} names; 1 to {DEVICES_MAX} are taken"
        raise invalid("devices", text)
    found = find_devices(names, document.devices)
    pools = [device.pool if device else None for device in found.values()]
    # The time of an isolated world is its own: there ages are as of its newest value.
    now_ms = int(time.time() * 1000) if follows_clock(query.world) else document.updated_ms
    now_ms = now_ms if at_ms is None else at_ms
    return {
        "world": query.world,
        "devices": {name: device.id if device else None for name, device in found.items()},
        "max_ms": query.max_ms,
        "nodes": [
            _answer(node, now_ms)
            for node in delays(document.node_pools, pools, document.delays, query.max_ms)
        ],
    }


def _answer(delay: Delay, now_ms: int) -> dict[str, Any]:
    return {
        "node": delay.node,
        "vertexpool": delay.pool or None,
        "total_ms": delay.total_ms,
        "age_ms": None if delay.oldest_ms is None else max(0, now_ms - delay.oldest_ms),
    }
