"""The past as DECICE documents, made in the processes that read history: so nothing waits for them."""

import time
from typing import NamedTuple

from streams.domain.decice import document_of, lay_out, part_of
from streams.domain.decice_fields import Fields
from streams.encoding import encode_json
from streams.history.past import read_past
from streams.replica.past import PastView, past_view
from streams.stores import Store

BATCH_BYTES = 4 << 20
"""[B] A batch ends when it has so much, or"""

BATCH_S = 5.0
"""[s] when it took so long: others want to read history, too."""

HIDDEN_STAMP = ("offsets", "clock_ms")
"""What a document does not say of itself, as that of now."""


class Order(NamedTuple):
    """What is wanted of each moment.

    Args:
        remove_after_ms: [ms] a value that is older is not shown.
        step_ms: [ms] distance of ticks.
        with_cluster: v2; v1 is without `cluster_info`.
    """

    world: str
    remove_after_ms: int
    step_ms: int
    fields: Fields
    with_cluster: bool


class Snapshot(NamedTuple):
    """A document, and [ms since the epoch] the closed tick that it is of."""

    tick_ms: int
    body: bytes


class Batch(NamedTuple):
    """Snapshots, and [1] how many of the moments were looked at for them."""

    looked_at: int
    snapshots: list[Snapshot]


async def read_snapshot(store: Store, order: Order, at_ms: int) -> Snapshot | None:
    """The document of the newest closed tick up to a moment [ms since the epoch]; None when there is none.

    Raises:
        StoreError, UntoldPastError: see `read_past`.
    """
    at_ms -= at_ms % order.step_ms
    view = await _view(store, order, at_ms)
    tick_ms = view.tick_ms
    if tick_ms is None:
        return None
    # What changed after that tick is not of it.
    return _snapshot(order, view if tick_ms == at_ms else await _view(store, order, tick_ms), tick_ms)


async def read_snapshots(store: Store, order: Order, moments_ms: list[int]) -> Batch:
    """The documents of those of the moments [ms since the epoch] that are closed ticks: of the first ones.

    Raises:
        StoreError, UntoldPastError: see `read_past`.
    """
    snapshots: list[Snapshot] = []
    size, until_s = 0, time.monotonic() + BATCH_S
    for place, at_ms in enumerate(moments_ms, 1):
        view = await _view(store, order, at_ms)
        if view.tick_ms == at_ms:
            snapshots.append(_snapshot(order, view, at_ms))
            size += len(snapshots[-1].body)
        if size > BATCH_BYTES or time.monotonic() > until_s:
            return Batch(place, snapshots)
    return Batch(len(moments_ms), snapshots)


async def _view(store: Store, order: Order, at_ms: int) -> PastView:
    return await past_view(await read_past(store, order.world, at_ms, order.remove_after_ms, order.step_ms))


def _snapshot(order: Order, view: PastView, tick_ms: int) -> Snapshot:
    parts = [part for entity in view.entities() if (part := part_of(entity, order.fields)) is not None]
    stamp = {name: value for name, value in view.stamp().items() if name not in HIDDEN_STAMP}
    document = document_of(lay_out(parts), stamp)
    if not order.with_cluster:
        del document["cluster_info"]
    return Snapshot(tick_ms, encode_json(document))
