"""Samples to values at ticks: docs/alignment.md in code."""

from collections.abc import Mapping

from streams.domain.entity import (
    APPLIED,
    CONFLICT,
    COUNTER,
    DUPLICATE,
    GAUGE,
    HELD,
    INTERPOLATED,
    LATE,
    MEASURED,
    NAN,
    NEVER,
    REJECTED,
    hold_ms,
)
from streams.records import Observation, State

MAX_AHEAD_MS = 60_000
"""[ms] A sample further ahead of the worker's clock is rejected."""

Row = tuple[int, list[str], list[float], list[int]]
"""A closed tick: its time [ms], and names, values and qualities of the metrics that have a value."""

UNLIMITED = float("inf")
"""Ceiling of a counter's rate where the catalogue has none."""


def take_samples(  # noqa: C901, PLR0915  # one loop: a call for each sample would cost a fifth of the speed
    entity: State,
    source: int,
    message: Observation,
    start: int,
    stop: int,
    step_ms: int,
    ceilings: Mapping[str, float],
) -> tuple[int, list[int]]:
    """Take samples start..stop of a message into the heads and open ticks of an entity.

    Returns:
        The newest time of those that were applied [ms], 0 when none was; and how many samples became
        applied, duplicate, late, conflict and rejected.
    """
    names, forms = message["names"], message["forms"]
    metrics, values, times = message["metrics"], message["values"], message["times_ms"]
    head_names, head_sources = entity["head_names"], entity["head_sources"]
    head_values, head_times = entity["head_values"], entity["head_times_ms"]
    limit = message["at_ms"] + MAX_AHEAD_MS
    hold = hold_ms(entity["source_intervals_ms"][source], step_ms)
    earliest, newest, applied = NEVER, 0, 0
    counts = [0, 0, 0, 0, 0]
    # Samples come in the order of the heads of their source as a rule, so the next head is the first guess.
    guess = head_sources.index(source) if source in head_sources else len(head_names)
    for j in range(start, stop):
        metric = metrics[j]
        name, form, value, time = names[metric], forms[metric], values[j], times[j]
        if guess < len(head_names) and head_names[guess] == name and head_sources[guess] == source:
            head = guess
        else:
            head = _find_head(head_names, head_sources, name, source)
        guess = head + 1
        # value - value is not 0 for NaN and the infinities.
        if time > limit or value - value != 0.0 or (form == COUNTER and value < 0.0):
            counts[REJECTED] += 1
            continue
        if head >= 0:
            last = head_times[head]
            if time <= last:
                counts[LATE if time < last else DUPLICATE if value == head_values[head] else CONFLICT] += 1
                continue
        if head < 0 or entity["head_forms"][head] != form:
            guess = 1 + begin_head(entity, head, source, name, form, value, time, step_ms)
        else:
            if form == COUNTER:
                _count(entity, head, value, time, step_ms, hold, ceilings.get(name, UNLIMITED))
            elif time - time % step_ms > last:
                fill_head(entity, head, value, time, step_ms, hold)
            head_values[head] = value
            head_times[head] = time
        if time < earliest:
            earliest = time
        applied += 1
        if time > newest:
            newest = time
    counts[APPLIED] = applied
    totals, base = entity["source_counts"], 5 * source
    for outcome, count in enumerate(counts):
        if count:
            totals[base + outcome] += count
    if applied and not entity["next_tick_ms"]:
        entity["next_tick_ms"] = -(-earliest // step_ms) * step_ms
    return newest, counts


def _find_head(head_names: list[str], head_sources: list[int], name: str, source: int) -> int:
    for head, other in enumerate(head_names):
        if other == name and head_sources[head] == source:
            return head
    return -1


def begin_head(
    entity: State, head: int, source: int, name: str, form: int, value: float, time: int, step_ms: int
) -> int:
    """Add a head, or begin one anew whose form changed; return its index."""
    on_tick = time % step_ms == 0
    if head < 0:
        head = len(entity["head_names"])
        entity["head_names"].append(name)
        entity["head_sources"].append(source)
        entity["head_forms"].append(form)
        entity["head_values"].append(value)
        entity["head_times_ms"].append(time)
        entity["head_rates"].append(NAN)
        entity["head_sums"].append(NAN)
    else:
        entity["head_forms"][head] = form
        entity["head_values"][head] = value
        entity["head_times_ms"][head] = time
        entity["head_rates"][head] = NAN
    entity["head_sums"][head] = 0.0 if on_tick and form == COUNTER else NAN
    if on_tick and form != COUNTER:
        _open(entity, time, head, value, MEASURED)
    return head


def _open(entity: State, tick: int, head: int, value: float, quality: int) -> None:
    if tick >= entity["next_tick_ms"]:
        entity["open_ticks_ms"].append(tick)
        entity["open_heads"].append(head)
        entity["open_values"].append(value)
        entity["open_qualities"].append(quality)


def fill_head(entity: State, head: int, value: float, time: int, step_ms: int, hold: int) -> None:
    """Values of a gauge or state at the ticks after its head and up to its new sample."""
    last, before = entity["head_times_ms"][head], entity["head_values"][head]
    interpolate = entity["head_forms"][head] == GAUGE and time - last <= hold
    tick = max(last - last % step_ms + step_ms, entity["next_tick_ms"])  # what is closed stays
    while tick < time:
        if interpolate:
            between = before + (value - before) * ((tick - last) / (time - last))
            # Rounding can step over the far neighbour by one bit.
            if between > value if value >= before else between < value:
                between = value
            _open(entity, tick, head, between, INTERPOLATED)
        elif tick - last <= hold:
            _open(entity, tick, head, before, HELD)
        else:
            break
        tick += step_ms
    if time % step_ms == 0:
        _open(entity, time, head, value, MEASURED)


def _count(
    entity: State, head: int, value: float, time: int, step_ms: int, hold: int, ceiling: float
) -> None:
    """Rates of a counter at the ticks after its head and up to its new sample; its newest rate and sum."""
    last, before = entity["head_times_ms"][head], entity["head_values"][head]
    known = entity["head_rates"][head]
    tick = last - last % step_ms + step_ms
    gap = time - last
    if gap > hold:
        while tick < time and tick - last <= hold and known == known:
            _open(entity, tick, head, known, HELD)
            tick += step_ms
        entity["head_rates"][head] = NAN
        entity["head_sums"][head] = 0.0 if time % step_ms == 0 else NAN
        return
    increase = value - before if value >= before else value
    rate = min(increase / gap * 1000.0, ceiling)
    total, since = entity["head_sums"][head], last
    while tick <= time:
        total = total + increase * (tick - since) / gap
        if total == total:
            quality = MEASURED if tick == time else INTERPOLATED
            _open(entity, tick, head, min(total / step_ms * 1000.0, ceiling), quality)
        elif tick == time or known == known:
            _open(entity, tick, head, rate if tick == time else known, HELD)
        total, since = 0.0, tick
        tick += step_ms
    if since < time:
        total = total + increase * (time - since) / gap
    entity["head_rates"][head] = rate
    entity["head_sums"][head] = total


def close_ticks(
    entity: State, upto_ms: int, complete_ms: int, holds: list[int], ranks: list[int], step_ms: int
) -> list[Row]:
    """Close the open ticks up to `upto_ms` (a tick), as far as a value could come.

    Args:
        complete_ms: up to here every metric that is waited for has come.
        holds: [ms] one for each source.
        ranks: one for each source, 0 for the best.

    Returns:
        (tick, names, values, qualities) of each closed tick that has values.
    """
    times = entity["head_times_ms"]
    tick = entity["next_tick_ms"]
    horizon = max(time + holds[source] for time, source in zip(times, entity["head_sources"], strict=True))
    if entity["open_ticks_ms"]:
        horizon = max(horizon, max(entity["open_ticks_ms"]))
    last = min(upto_ms, horizon - horizon % step_ms)
    closed = []
    while tick <= last:
        row = _row(entity, tick, holds, ranks)
        if row[1]:
            closed.append(row)
        elif not entity["open_ticks_ms"] and min(times) > tick:
            # A long silence lies behind; nothing is held or certain before the next sample.
            tick = -(-min(times) // step_ms) * step_ms - step_ms
        tick += step_ms
    if tick > entity["next_tick_ms"]:
        entity["next_tick_ms"] = min(tick, last + step_ms)
        _forget_open(entity, entity["next_tick_ms"])
    if closed:
        entity["tick_ms"], entity["aligned_names"], entity["aligned_values"], entity["aligned_qualities"] = (
            closed[-1]
        )
        entity["complete"] = closed[-1][0] <= complete_ms
    return closed


def _row(entity: State, tick: int, holds: list[int], ranks: list[int]) -> Row:
    """The values of all metrics at a tick, each from its best source, in the order of the heads."""
    names, open_ticks = entity["head_names"], entity["open_ticks_ms"]
    if len(ranks) == 1 and len(open_ticks) == len(names) and open_ticks.count(tick) == len(names):
        # One source, one tick open, all values certain: nearly every tick of nearly every entity.
        heads = entity["open_heads"]
        return tick, [names[h] for h in heads], entity["open_values"], entity["open_qualities"]
    certain = {
        entity["open_heads"][i]: (entity["open_values"][i], entity["open_qualities"][i])
        for i, open_tick in enumerate(open_ticks)
        if open_tick == tick
    }
    best: dict[str, tuple[int, float, int]] = {}
    for head, name in enumerate(names):
        source = entity["head_sources"][head]
        found = certain.get(head) or _held(entity, head, tick, holds[source])
        if found and (name not in best or ranks[source] < best[name][0]):
            best[name] = (ranks[source], *found)
    return (
        tick,
        list(best),
        [value for _, value, _ in best.values()],
        [quality for _, _, quality in best.values()],
    )


def _held(entity: State, head: int, tick: int, hold: int) -> tuple[float, int] | None:
    time = entity["head_times_ms"][head]
    if time >= tick or tick - time > hold:
        return None
    value = entity["head_rates" if entity["head_forms"][head] == COUNTER else "head_values"][head]
    return (value, HELD) if value == value else None


def _forget_open(entity: State, before_ms: int) -> None:
    ticks = entity["open_ticks_ms"]
    if max(ticks, default=before_ms) < before_ms:
        # New lists, not cleared ones: the closed row may be these very lists.
        entity["open_ticks_ms"], entity["open_heads"], entity["open_values"], entity["open_qualities"] = (
            [],
            [],
            [],
            [],
        )
        return
    kept = [i for i, tick in enumerate(ticks) if tick >= before_ms]
    if len(kept) < len(ticks):
        entity["open_heads"] = [entity["open_heads"][i] for i in kept]
        entity["open_values"] = [entity["open_values"][i] for i in kept]
        entity["open_qualities"] = [entity["open_qualities"][i] for i in kept]
        entity["open_ticks_ms"] = [ticks[i] for i in kept]
