"""Totals of a scenario world's pools: the worker adds up live's alone (docs/alignment.md, "Aggregates")."""

import asyncio
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from streams.domain.aggregate import add_up, named, row_of, sums_of, totals_of
from streams.pages.shell import View
from streams.records import State
from streams.web.moment import step_of


@dataclass(frozen=True, slots=True)
class Totals:
    """Totals of each pool by its id, and of the whole."""

    pools: Mapping[str, Mapping[str, float]]
    whole: Mapping[str, float]


async def totals_in(view: View) -> Totals:
    """The totals of the world and moment that a page looks at, added up now.

    Raises:
        ProblemError: there is no such world, or it cannot be read now.
    """
    entities = await view.entities()
    held = [record for _, record in entities.records("node")]
    step_ms = step_of(view.request, view.world)
    return await asyncio.to_thread(lambda: add_totals((one.decode() for one in held), step_ms))


def add_totals(nodes: Iterable[State], step_ms: int) -> Totals:
    """Totals of nodes by the rules of live's."""
    rows: dict[str, list[bytes]] = {}
    for node in nodes:
        rows.setdefault(node["attributes"].get("nodepool", ""), []).append(row_of(node, step_ms))
    sums = {pool: sums_of(own) for pool, own in rows.items()}
    whole = totals_of(named(add_up(sums.values()))) if sums else {}
    return Totals({pool: totals_of(named(own)) for pool, own in sums.items()}, whole)
