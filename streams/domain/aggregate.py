"""Sums and counts over the nodes of a pool: what one node gives, what one partition says, what all say.

The rules are in docs/alignment.md, section "Aggregates".
"""

from array import array
from collections.abc import Collection, Iterable, Mapping, Sequence
from math import fsum
from struct import Struct

from streams.domain.entity import HISTORY, NAN, hold_ms
from streams.records import State

SOURCE = "twin"
"""Source of the totals."""

CLUSTER = "cluster"
"""Id of the entity (of this kind) for all nodes of live: the one that the rule packs name."""

KINDS = ("nodepool", CLUSTER)
"""Kinds of the entities that have totals."""

PRIORITY = 1_000
"""[1] Whoever measures one of the totals goes before the twin."""

SUMMED = (
    *("number_of_cores", "mem_total_bytes", "disk_total_bytes", "disk_free_bytes", "power_watts"),
    *("network_receive_bytes_per_s", "network_transmit_bytes_per_s"),
)
"""Metrics of nodes whose sum is that of the pool."""

MEASURED = (*SUMMED, "cpu_usage_percent", "mem_usage_percent")
"""Metrics of a node that its pool needs."""

USED = (
    ("used_cores", "cpu_usage_percent", "number_of_cores"),
    ("used_mem_bytes", "mem_usage_percent", "mem_total_bytes"),
)
"""What is used, the share that says it [%], and of what."""

STATUSES = ("up", "degraded", "down", "unknown")
"""Statuses of nodes, by number."""

COUNTS = ("nodes", *(f"nodes_{status}" for status in STATUSES), "nodes_simulated")
"""[1] Counts of nodes in a partial."""

COLUMNS = (
    *COUNTS,
    *(column for name in MEASURED for column in (name, f"nodes_with_{name}")),
    *(column for name, _, of in USED for column in (name, f"{of}_of_{name}", f"nodes_with_{name}")),
)
"""Numbers of a partial, in order: counts of nodes, and each sum with the count of the nodes that it is of."""

STATE_TOTALS = ("up", "nodes_count", *(f"nodes_{status}_count" for status in STATUSES))
"""Totals that are held between ticks: half a node is none."""

TOTALS = frozenset(
    (
        *STATE_TOTALS,
        *MEASURED,
        *(name.replace("used", part) for name, _, _ in USED for part in ("used", "headroom")),
    )
)
"""All totals of a pool."""

_ROW_WIDTH = 3 + len(MEASURED)
_ROW = Struct(f"{_ROW_WIDTH}d")
_PLACES = {name: place for place, name in enumerate(MEASURED, start=1)}
_NUMBERS = {status: number for number, status in enumerate(STATUSES)}
_ALIVE = STATUSES[:2]
_NOTHING = (0.0, *(NAN for _ in MEASURED))


def is_total(name: str, source: str) -> bool:
    """Whether a value of a pool is a total of the twin; of the past nobody says whose a value was."""
    return source == SOURCE or (source == HISTORY and name in TOTALS)


def row_of(entity: State, step_ms: int) -> bytes:
    """What a node gives to the sums: of its newest tick the values that are not stale, while it is alive.

    Returns:
        its newest tick [ms], values of MEASURED (NaN where absent), number of its status, 1 if simulated.
    """
    status = entity["status"]
    row = [*_NOTHING, _NUMBERS[status], entity["simulated"]]
    if status in _ALIVE:
        stale = _stale(entity, step_ms) if status != "up" else ()
        for name, value in zip(entity["aligned_names"], entity["aligned_values"], strict=True):
            if name in _PLACES and name not in stale:
                row[_PLACES[name]] = value
                row[0] = entity["tick_ms"]
    return _ROW.pack(*row)


def is_urgent(before: bytes | None, now: bytes) -> bool:
    """Whether a count of nodes changes, not only a sum."""
    return before is None or before[-16:] != now[-16:]


def sums_of(rows: Collection[bytes]) -> tuple[float, ...]:
    """What nodes give together, one for each of COLUMNS; the order of the rows does not matter."""
    table = array("d", b"".join(rows))
    states, simulated = table[_ROW_WIDTH - 2 :: _ROW_WIDTH], table[_ROW_WIDTH - 1 :: _ROW_WIDTH]
    columns = {name: table[place::_ROW_WIDTH] for name, place in _PLACES.items()}
    sums = [float(len(states)), *(float(states.count(number)) for number in range(len(STATUSES)))]
    sums.append(float(simulated.count(1.0)))
    for name in MEASURED:
        sums += _sum(columns[name])
    for _, percent, of in USED:
        used = [share * whole / 100.0 for share, whole in zip(columns[percent], columns[of], strict=True)]
        total, count = _sum(used)
        wholes = [whole for one, whole in zip(used, columns[of], strict=True) if one == one]
        sums += (total, fsum(wholes), count)
    return tuple(sums)


def tick_of(rows: Collection[bytes]) -> int:
    """[ms since the epoch] Newest tick that all nodes have closed that give a value; 0 where none does."""
    ticks = array("d", b"".join(rows))[::_ROW_WIDTH]
    return int(min(ticks, default=0.0)) or oldest_tick(map(int, ticks))


def oldest_tick(ticks: Iterable[int]) -> int:
    """[ms since the epoch] The oldest; 0 says that there is none, also of all."""
    return min((tick for tick in ticks if tick), default=0)


def bounded_tick(tick_ms: int, clock_ms: int, step_ms: int) -> int:
    """[ms since the epoch] A tick, though no more than three steps behind the clock, and not ahead of it."""
    now = clock_ms - clock_ms % step_ms
    return min(max(tick_ms, now - 3 * step_ms), now) if tick_ms else 0


def add_up(sums: Iterable[Sequence[float]]) -> tuple[float, ...]:
    """Sums of several pools, or of several partitions, together; the order does not matter."""
    return tuple(map(fsum, zip(*sums, strict=True)))


def named(sums: Sequence[float]) -> dict[str, float]:
    """Sums by the names of their columns, as the totals are made of them."""
    return dict(zip(COLUMNS, sums, strict=True))


def totals_of(sums: Mapping[str, float]) -> dict[str, float]:
    """The totals of a pool as metrics of the catalogue; what no node gives is absent."""
    totals = {"nodes_count": sums["nodes"]}
    totals |= {f"nodes_{status}_count": sums[f"nodes_{status}"] for status in STATUSES}
    alive = sums["nodes_up"] + sums["nodes_degraded"]
    if alive or sums["nodes_down"]:
        totals["up"] = float(alive > 0)
    totals |= {name: sums[name] for name in SUMMED if sums[f"nodes_with_{name}"]}
    for used, percent, of in USED:
        count, whole = sums[f"nodes_with_{percent}"], sums[f"{of}_of_{used}"]
        if count:
            # Weighted only where all weights are known: else those few would speak for all.
            weighted = count == sums[f"nodes_with_{used}"] and whole > 0
            mean = sums[used] / whole * 100.0 if weighted else sums[percent] / count
            totals[percent] = min(max(mean, 0.0), 100.0)
        if sums[f"nodes_with_{used}"]:
            totals[used] = sums[used]
            totals[used.replace("used", "headroom")] = max(whole - sums[used], 0.0)
    return totals


def givers_of(sums: Mapping[str, float]) -> dict[str, float]:
    """[1] Of how many nodes each total is, as `features` of the pool."""
    return {name: count for name, count in sums.items() if name.startswith("nodes_with_") and count}


def _stale(entity: State, step_ms: int) -> set[str]:
    """Metrics of which no source has a newer sample than its hold ago, as the record's own time says."""
    holds = [hold_ms(interval, step_ms) for interval in entity["source_intervals_ms"]]
    heads = zip(entity["head_names"], entity["head_sources"], entity["head_times_ms"], strict=True)
    fresh = {name for name, source, time in heads if entity["seen_ms"] - time <= holds[source]}
    return set(entity["aligned_names"]) - fresh


def _sum(column: Sequence[float]) -> tuple[float, float]:
    """Sum and count of what is not NaN; exactly rounded, so that the order does not matter."""
    total = fsum(column)
    if total == total:
        return total, float(len(column))
    known = [value for value in column if value == value]
    return fsum(known), float(len(known))
