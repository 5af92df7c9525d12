"""`twin state`: against which time ages are shown."""

import time
from typing import Any, cast

import pytest

from streams.replica import TwinReplica
from streams.tools.state import _now_ms


class Held(dict[tuple[str, str], dict[str, Any]]):
    """What a replica holds."""

    def __init__(self, world: str, attributes: dict[str, str] | None) -> None:
        super().__init__({} if attributes is None else {("world", world): {"attributes": attributes}})
        self.world = world


def now_ms(world: str, attributes: dict[str, str] | None) -> int:
    return _now_ms(cast(TwinReplica, Held(world, attributes)))


def test_an_isolated_world_has_a_time_of_its_own() -> None:
    assert now_ms("w1", {"clock_ms": "1000020000"}) == 1_000_020_000


@pytest.mark.parametrize(("world", "attributes"), [("live", None), ("live~w1", {"base": "live"})])
def test_live_and_its_overlays_have_that_of_the_clock(world: str, attributes: dict[str, str] | None) -> None:
    before = int(time.time() * 1000)

    assert before <= now_ms(world, attributes) <= int(time.time() * 1000)
