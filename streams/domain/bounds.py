"""How far one event may take an isolated world: each step on the way costs a look at each entity."""

from streams.errors import InvalidMessageError

STEPS_MAX = 100
"""[1] Steps by which a value may lie off the clock: the record of an entity holds its open ticks."""

TICKS_MAX = 1_000_000
"""[1] Closed ticks that one advance may bring: some ten seconds of work."""


def check_near(world: str, at_ms: int, clock_ms: int, step_ms: int) -> None:
    """Raise InvalidMessageError where values lie too far from the clock; 0 stands for the clock."""
    if at_ms and abs(at_ms - clock_ms) > STEPS_MAX * step_ms:
        raise InvalidMessageError(
            "too_far",
            f"body.at_ms: {at_ms} is more than {STEPS_MAX} steps of {step_ms} ms from the clock {clock_ms} of"
            f" world {world}; both are ms since the epoch, and world.advance moves the clock",
        )


def check_advance(world: str, to_ms: int, clock_ms: int, step_ms: int, entities: int) -> None:
    """Raise InvalidMessageError where an advance goes nowhere, or would close too many ticks at once."""
    if to_ms <= clock_ms:
        raise InvalidMessageError(
            "not_forward", f"body.to_ms: {to_ms} is not after the clock {clock_ms} of world {world}"
        )
    ticks = (to_ms - clock_ms) // step_ms * max(1, entities)
    if ticks > TICKS_MAX:
        raise InvalidMessageError(
            "too_many_ticks",
            f"body.to_ms: from {clock_ms} to {to_ms} there are {ticks} ticks of {entities} entities, more"
            f" than {TICKS_MAX}; advance in smaller parts",
        )
