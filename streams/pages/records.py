"""Entity records for pages: from the JSON that is kept of each version, so that a page costs little."""

import asyncio
from collections.abc import Collection
from typing import Any

import orjson

from streams.pages.shell import View
from streams.replica.past import PastView
from streams.web.encoded import EncodedStates

SLICE = 200
"""[1] Records that are read before others get the event loop: about 3 ms."""


async def records_of(view: View, kinds: Collection[str]) -> list[dict[str, Any]]:
    """The entity records (JSON) of some kinds, at the moment that the page looks at, in order of kind and id.

    Raises:
        ProblemError: there is no such world, or it cannot be read now.
    """
    entities = await view.entities()
    state = view.web.state
    states: EncodedStates = state.past_states if isinstance(entities, PastView) else state.states
    snapshot = await states.snapshot(entities, [key for key in entities if key[0] in kinds])
    records = []
    for place, encoded in enumerate(snapshot.entities, start=1):
        if place % SLICE == 0:
            await asyncio.sleep(0)
        records.append(orjson.loads(encoded.body))
    return records
