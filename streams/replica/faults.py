"""The faults of a world that concern one entity, as the world's records have them."""

import json
from collections.abc import Iterator

from streams.domain.faults import Fault
from streams.errors import InvalidMessageError
from streams.replica.holdings import Holdings

FAULT_KIND = "_fault"
"""Kind of the twin's own records that hold one fault each, or the part of it that is in one partition."""


def entity_faults(holdings: Holdings, kind: str, id: str) -> list[Fault]:
    """Those that concern an entity, in the order in which they apply; edits of an overlay are among them."""
    found = [fault for fault in _all(holdings) if (kind, id) in fault.entities]
    return sorted(found, key=lambda fault: fault.order)


def _all(holdings: Holdings) -> Iterator[Fault]:
    prefix = f"{holdings.world}/{FAULT_KIND}/".encode()
    for key, held in list(holdings.hidden.items()):
        if not key.startswith(prefix):
            continue
        try:
            body = json.loads(held.decode()["attributes"]["fault"])
            yield Fault.from_body({"duration_ms": None, "owner": ""} | body, 0)
        except (InvalidMessageError, KeyError, ValueError, TypeError):  # none of this release's
            continue
