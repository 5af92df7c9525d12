"""The record of one entity as the domain works on it: creation, sources and heads."""

from streams.records import State

GAUGE, STATE, COUNTER = 0, 1, 2
"""Forms of a head."""

MEASURED, INTERPOLATED, HELD, UNTOLD = 0, 1, 2, 3
"""Qualities of an aligned value; the last is of the past, where the store of history cannot hold it."""

QUALITIES = ("measured", "interpolated", "held", "unknown")
"""Their names, by number."""

HISTORY = "history"
"""Source of the values of an entity of the past; their quality is that of its tick."""

APPLIED, DUPLICATE, LATE, CONFLICT, REJECTED = range(5)
"""What becomes of a sample; positions in `source_counts`."""

OUTCOMES = ("applied", "duplicate", "late", "conflict", "rejected")
"""Their names, by number."""

NAN = float("nan")
"""Stands for a rate or a sum that is not known."""

NEVER = 1 << 62
"""[ms] A time that does not come; still a long in Avro."""


def new_entity(world: str, kind: str, id: str) -> State:
    """The record of an entity of which nothing is known yet."""
    return State(
        due_ms=NEVER,
        targets=[],
        version=0,
        epoch=0,
        status="unknown",
        status_since_ms=0,
        status_reason="",
        seen_ms=0,
        next_tick_ms=0,
        tick_ms=0,
        complete=False,
        aligned_names=[],
        aligned_values=[],
        aligned_qualities=[],
        head_names=[],
        head_sources=[],
        head_forms=[],
        head_values=[],
        head_times_ms=[],
        head_rates=[],
        head_sums=[],
        open_ticks_ms=[],
        open_heads=[],
        open_values=[],
        open_qualities=[],
        source_names=[],
        source_priorities=[],
        source_intervals_ms=[],
        source_good_ms=[],
        source_failures=[],
        source_counts=[],
        origins=[],
        origin_offsets=[],
        simulated=False,
        attributes={},
        features={},
        world=world,
        kind=kind,
        id=id,
        scenario=None,
        aggregate=None,
    )


def hold_ms(interval_ms: int, step_ms: int) -> int:
    """[ms] How long a value of a source is held, and the widest gap that is interpolated."""
    return max(3 * step_ms, 5 * (interval_ms or step_ms) // 2)


def add_source(entity: State, name: str) -> int:
    """Index of a source, which is added if it is new."""
    names = entity["source_names"]
    if name in names:
        return names.index(name)
    names.append(name)
    entity["targets"].append("")
    entity["source_priorities"].append(0)
    entity["source_intervals_ms"].append(0)
    entity["source_good_ms"].append(0)
    entity["source_failures"].append(0)
    entity["source_counts"].extend((0, 0, 0, 0, 0))
    return len(names) - 1


def is_newer_origin(entity: State, origin: str, offset: int) -> bool:
    """Remember the origin of a message; False when it, or a newer one, was applied before."""
    origins = entity["origins"]
    if origin not in origins:
        origins.append(origin)
        entity["origin_offsets"].append(offset)
        return True
    place = origins.index(origin)
    if offset <= entity["origin_offsets"][place]:
        return False
    entity["origin_offsets"][place] = offset
    return True


def drop_heads(entity: State, before_ms: int) -> None:
    """Drop the heads whose sample is older than `before_ms`, with what is open of them."""
    keep_heads(entity, [h for h, time in enumerate(entity["head_times_ms"]) if time >= before_ms])


def keep_heads(entity: State, kept: list[int]) -> None:
    """Drop all heads but those of these indices, with what is open of them."""
    if len(kept) == len(entity["head_names"]):
        return
    place = {h: new for new, h in enumerate(kept)}
    still_open = [i for i, h in enumerate(entity["open_heads"]) if h in place]
    entity["open_ticks_ms"] = [entity["open_ticks_ms"][i] for i in still_open]
    entity["open_values"] = [entity["open_values"][i] for i in still_open]
    entity["open_qualities"] = [entity["open_qualities"][i] for i in still_open]
    entity["open_heads"] = [place[entity["open_heads"][i]] for i in still_open]
    entity["head_names"] = [entity["head_names"][h] for h in kept]
    entity["head_sources"] = [entity["head_sources"][h] for h in kept]
    entity["head_forms"] = [entity["head_forms"][h] for h in kept]
    entity["head_values"] = [entity["head_values"][h] for h in kept]
    entity["head_times_ms"] = [entity["head_times_ms"][h] for h in kept]
    entity["head_rates"] = [entity["head_rates"][h] for h in kept]
    entity["head_sums"] = [entity["head_sums"][h] for h in kept]


def source_ranks(entity: State) -> list[int]:
    """Rank of each source, 0 for the best: by priority, then by name."""
    names, priorities = entity["source_names"], entity["source_priorities"]
    order = sorted(range(len(names)), key=lambda s: (priorities[s], names[s]))
    ranks = [0] * len(names)
    for rank, source in enumerate(order):
        ranks[source] = rank
    return ranks
