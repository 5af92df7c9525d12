"""Entities whose values stay until they are changed, brought to a time without a look at each tick.

For a world whose closed ticks nobody reads: the records become what `observe` and `settle` make of them.
"""

from streams.domain.catalogue import STATE
from streams.domain.commands import UNTIL_CHANGED_MS
from streams.domain.entity import APPLIED, HELD, MEASURED, hold_ms
from streams.records import Observation, State


def is_still(entity: State) -> bool:
    """Whether all values come from one source, stay until they are changed, and make the entity `up`."""
    forms = entity["head_forms"]
    return (
        entity["source_intervals_ms"] == [UNTIL_CHANGED_MS]
        and entity["status"] == "up"
        and not entity["open_ticks_ms"]
        and entity["scenario"] is None
        and forms.count(STATE) == len(forms) > 0
        and "up" not in entity["head_names"]
        and entity["tick_ms"] < entity["next_tick_ms"]
    )


def set_still(
    entity: State, message: Observation, place: int, start: int, stop: int, step_ms: int, clock_ms: int
) -> bool:
    """Take what an observation says of a still entity; False, and nothing changed, where that needs more.

    All ticks up to the clock have to be closed; the observation lies after it, and not beyond the next tick.
    """
    at_ms = message["at_ms"]
    if (
        message["attributes"][place]
        or message["interval_ms"] != UNTIL_CHANGED_MS
        or message["forms"].count(STATE) < len(message["forms"])
        or message["times_ms"][start:stop].count(at_ms) < stop - start
        or entity["source_names"] != [message["source"]]
        or entity["source_priorities"] != [message["priority"]]
        or not entity["source_good_ms"][0] < at_ms
        or not clock_ms < at_ms <= clock_ms - clock_ms % step_ms + step_ms
        or not is_still(entity)
    ):
        return False
    heads = _find_heads(entity, message, start, stop)
    if heads is None:
        return False
    values, times = entity["head_values"], entity["head_times_ms"]
    for head, value in zip(heads, message["values"][start:stop], strict=True):
        values[head] = value
        times[head] = at_ms
    entity["source_counts"][APPLIED] += stop - start
    entity["source_good_ms"][0] = at_ms
    entity["seen_ms"] = max(entity["seen_ms"], at_ms)
    entity["due_ms"] = _due_ms(entity, step_ms)
    return True


def settle_still(entity: State, to_ms: int, step_ms: int) -> bool:
    """Bring a still entity to a time; False where no tick closes by that."""
    tick_ms = to_ms - to_ms % step_ms
    if tick_ms < entity["next_tick_ms"]:
        return False
    times = entity["head_times_ms"]
    entity["next_tick_ms"], entity["tick_ms"] = tick_ms + step_ms, tick_ms
    entity["complete"] = True
    entity["aligned_names"], entity["aligned_values"] = entity["head_names"][:], entity["head_values"][:]
    entity["aligned_qualities"] = [MEASURED if time == tick_ms else HELD for time in times]
    entity["seen_ms"] = max(entity["seen_ms"], to_ms)
    entity["due_ms"] = _due_ms(entity, step_ms)
    return True


def wake(entity: State, step_ms: int) -> None:
    """Open the values that `set_still` took and that no tick was closed with, as `observe` would have."""
    if entity["open_ticks_ms"]:
        return
    for head, time in enumerate(entity["head_times_ms"]):
        if time >= entity["next_tick_ms"] > 0 and time % step_ms == 0:
            entity["open_ticks_ms"].append(time)
            entity["open_heads"].append(head)
            entity["open_values"].append(entity["head_values"][head])
            entity["open_qualities"].append(MEASURED)


def _find_heads(entity: State, message: Observation, start: int, stop: int) -> list[int] | None:
    """Heads of the samples; None where one has none, or is not finite."""
    head_names, names = entity["head_names"], message["names"]
    metrics, values = message["metrics"], message["values"]
    heads = []
    guess = 0  # samples come in the order of the heads as a rule
    for sample in range(start, stop):
        name, value = names[metrics[sample]], values[sample]
        if guess >= len(head_names) or head_names[guess] != name:
            if name not in head_names:
                return None
            guess = head_names.index(name)
        if value - value != 0.0:
            return None
        heads.append(guess)
        guess += 1
    return heads


def _due_ms(entity: State, step_ms: int) -> int:
    """[ms] When a value would become stale, as `settle` plans it."""
    oldest_ms = min(entity["head_times_ms"])
    return min(oldest_ms, entity["source_good_ms"][0]) + hold_ms(UNTIL_CHANGED_MS, step_ms) + 1
