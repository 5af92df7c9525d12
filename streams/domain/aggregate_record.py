"""Partials taken into the record of a pool or of the cluster, and its totals stated anew."""

from collections.abc import Sequence

from streams.domain.aggregate import (
    COLUMNS,
    PRIORITY,
    SOURCE,
    STATE_TOTALS,
    add_up,
    bounded_tick,
    givers_of,
    named,
    oldest_tick,
    totals_of,
)
from streams.domain.align import begin_head, fill_head
from streams.domain.entity import GAUGE, STATE, add_source, hold_ms, keep_heads
from streams.records import Aggregate, Observation, State

FOREVER_MS = 10**12
"""[ms] Interval of the totals of what has no node left: nothing is to come."""

GIVERS = "nodes_with_"
"""What the names of those features begin with that say of how many nodes a total is."""


def take_partial(entity: State, message: Observation, tick_ms: int, values: Sequence[float]) -> bool:
    """Take over what a partition says of a pool; False when what is known was said at that time, or later."""
    number, offset = message["origin_partition"], message["origin_offset"]
    known = _aggregate(entity)
    place = _place(known, number)
    if place < len(known["partitions"]) and offset <= known["offsets"][place]:
        return False
    known["partitions"][place : place + 1] = [number]
    known["offsets"][place : place + 1], known["ticks_ms"][place : place + 1] = [offset], [tick_ms]
    width = len(COLUMNS)
    known["values"][place * width : (place + 1) * width] = _laid_out(message["names"], values)
    entity["aggregate"] = known
    return True


def end_partial(entity: State, message: Observation) -> bool:
    """Take back what a partition said of a pool that it names no longer; False when that is nothing."""
    number = message["origin_partition"]
    if entity["aggregate"] is None or number not in entity["aggregate"]["partitions"]:
        return False
    return take_partial(entity, message, 0, [0.0] * len(message["names"]))


def is_empty(entity: State) -> bool:
    """Whether no partition has a node of it any more, and nobody but the twin speaks of it."""
    return entity["source_names"] == [SOURCE] and not any(_aggregate(entity)["values"][:: len(COLUMNS)])


def restate(entity: State, message: Observation, step_ms: int) -> int:
    """State the totals of all partials as the values of the source `twin`; returns its index.

    At a tick that has been stated before the values are replaced, in what is open too: they are no samples,
    and count as none.
    """
    told_ms = min(message["scraped_at_ms"], message["at_ms"])
    known = _aggregate(entity)
    width = len(COLUMNS)
    rows = [known["values"][start : start + width] for start in range(0, len(known["values"]), width)]
    sums = named(add_up(rows))
    source = add_source(entity, SOURCE)
    entity["seen_ms"] = max(entity["seen_ms"], told_ms)
    entity["source_good_ms"][source] = max(entity["source_good_ms"][source], told_ms)
    entity["source_priorities"][source] = PRIORITY
    entity["source_intervals_ms"][source] = message["interval_ms"] if sums["nodes"] else FOREVER_MS
    is_simulated = message["simulated"] or sums["nodes_simulated"] > 0
    entity["simulated"] = is_simulated or (entity["simulated"] and entity["source_names"] != [SOURCE])
    others = {name: value for name, value in entity["features"].items() if not name.startswith(GIVERS)}
    entity["features"] = others | givers_of(sums)
    _state_heads(entity, source, totals_of(sums), _tick(entity, source, told_ms, step_ms), step_ms)
    return source


def _state_heads(entity: State, source: int, totals: dict[str, float], tick_ms: int, step_ms: int) -> None:
    owners = list(zip(entity["head_names"], entity["head_sources"], strict=True))
    keep_heads(entity, [h for h, (name, owner) in enumerate(owners) if owner != source or name in totals])
    hold = hold_ms(entity["source_intervals_ms"][source], step_ms)
    owners = list(zip(entity["head_names"], entity["head_sources"], strict=True))
    places = {name: head for head, (name, owner) in enumerate(owners) if owner == source}
    entity["next_tick_ms"] = entity["next_tick_ms"] or -(-tick_ms // step_ms) * step_ms
    for name, value in totals.items():
        head = places.get(name, -1)
        if head < 0:
            form = STATE if name in STATE_TOTALS else GAUGE
            begin_head(entity, -1, source, name, form, value, tick_ms, step_ms)
            continue
        if tick_ms > entity["head_times_ms"][head]:
            fill_head(entity, head, value, tick_ms, step_ms, hold)
        else:
            _replace_open(entity, head, value, tick_ms)
        entity["head_values"][head], entity["head_times_ms"][head] = value, tick_ms


def _replace_open(entity: State, head: int, value: float, tick_ms: int) -> None:
    for place, (tick, owner) in enumerate(zip(entity["open_ticks_ms"], entity["open_heads"], strict=True)):
        if tick == tick_ms and owner == head:
            entity["open_values"][place] = value


def _tick(entity: State, source: int, told_ms: int, step_ms: int) -> int:
    """[ms] The newest tick that all partitions have closed that give values; never one before the last."""
    oldest = oldest_tick(_aggregate(entity)["ticks_ms"]) or told_ms
    heads = zip(entity["head_times_ms"], entity["head_sources"], strict=True)
    return max([bounded_tick(oldest, told_ms, step_ms), *(time for time, owner in heads if owner == source)])


def _aggregate(entity: State) -> Aggregate:
    """A copy of what the record knows of partials, laid out as COLUMNS are now."""
    known = entity["aggregate"]
    if known is None:
        return Aggregate(names=list(COLUMNS), partitions=[], offsets=[], ticks_ms=[], values=[])
    width, values = len(known["names"]), known["values"]
    if known["names"] != list(COLUMNS):
        rows = [values[start : start + width] for start in range(0, len(values), width)]
        values = [value for row in rows for value in _laid_out(known["names"], row)]
    return Aggregate(
        names=list(COLUMNS),
        partitions=list(known["partitions"]),
        offsets=list(known["offsets"]),
        ticks_ms=list(known["ticks_ms"]),
        values=list(values),
    )


def _place(known: Aggregate, number: int) -> int:
    """Index of the partial of a partition: the next one when there is none."""
    partitions = known["partitions"]
    return partitions.index(number) if number in partitions else len(partitions)


def _laid_out(names: Sequence[str], values: Sequence[float]) -> list[float]:
    """Values by the names that this release has; what another one does not give is 0."""
    given = dict(zip(names, values, strict=True))
    return [given.get(column, 0.0) for column in COLUMNS]
