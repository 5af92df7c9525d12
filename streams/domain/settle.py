"""An entity's record brought to a time: ticks closed, status judged, the next look planned."""

from collections.abc import Callable
from typing import NamedTuple

from streams.domain.align import Row, close_ticks
from streams.domain.entity import NEVER, drop_heads, hold_ms, source_ranks
from streams.domain.status import status_of
from streams.records import State

WAIT_MAX_MS = 60_000
"""[ms] No tick waits longer for a source; slower sources are held."""


class Settled(NamedTuple):
    """What came of settling a record.

    Args:
        closed: ticks that closed and have values.
        complete_ms: ticks up to here had all that they waited for.
        restated: status or reason are new.
        changed: the record changed, be it only that an empty tick was passed over.
        due_ms: when the clock alone next changes something.
    """

    closed: list[Row]
    complete_ms: int
    restated: bool
    changed: bool
    due_ms: int


Judge = Callable[[State, int, str, str], tuple[str, str]]
"""Gives status and reason under the faults of a world: of an entity, now [ms], and both without faults."""


def settle(
    entity: State,
    now_ms: int,
    step_ms: int,
    remove_after_ms: int,
    upto_ms: int | None = None,
    judge: Judge | None = None,
) -> Settled:
    """Drop heads that are too old, close the ticks that can close, judge the status, plan the next look.

    Args:
        upto_ms: in an isolated world the ticks up to here close and no others; the clock does nothing there.
        judge: of a world with faults.
    """
    pointer = entity["next_tick_ms"]
    changed = False
    oldest = _oldest_heads(entity)
    if oldest and min(oldest) < now_ms - remove_after_ms:
        drop_heads(entity, now_ms - remove_after_ms)
        oldest, changed = _oldest_heads(entity), True
    intervals = entity["source_intervals_ms"]
    holds = [hold_ms(interval, step_ms) for interval in intervals]
    silent = [now_ms - good > hold for good, hold in zip(entity["source_good_ms"], holds, strict=True)]
    ranks = [0] if len(holds) == 1 else source_ranks(entity)
    complete_ms, wait_ms = _waiting(oldest, intervals, silent, step_ms)
    if upto_ms is not None:
        complete_ms = upto_ms  # all that is to come up to there was told
    closed: list[Row] = []
    if pointer and entity["head_names"]:
        last_ms = complete_ms if upto_ms is not None else max(complete_ms, now_ms - wait_ms)
        last_ms -= last_ms % step_ms
        if last_ms >= pointer:
            closed = close_ticks(entity, last_ms, complete_ms, holds, ranks, step_ms)
    gone = [now_ms - good > remove_after_ms for good in entity["source_good_ms"]]
    status, reason = status_of(entity, now_ms, holds, silent, gone, ranks)
    if judge is not None:
        status, reason = judge(entity, now_ms, status, reason)
    restated = restate(entity, now_ms, status, reason)
    tick_wait_ms = wait_ms if upto_ms is None else NEVER
    return Settled(
        closed,
        complete_ms,
        restated,
        changed or restated or entity["next_tick_ms"] != pointer,
        _next_look(entity, oldest, holds, silent, tick_wait_ms, now_ms, remove_after_ms),
    )


def restate(entity: State, now_ms: int, status: str, reason: str) -> bool:
    """Give an entity this status and reason; False when it has them."""
    if status == entity["status"] and reason == entity["status_reason"] and entity["status_since_ms"]:
        return False
    if status != entity["status"] or not entity["status_since_ms"]:
        entity["status_since_ms"] = now_ms
    entity["status"], entity["status_reason"] = status, reason
    return True


def _next_look(
    entity: State,
    oldest: list[int],
    holds: list[int],
    silent: list[bool],
    wait_ms: int,
    now_ms: int,
    remove_after_ms: int,
) -> int:
    """When the clock alone next changes something: a tick's deadline, silence, a stale head, removal."""
    good = entity["source_good_ms"]
    looks = [max(good) + remove_after_ms + 1] if good else []
    if looks and looks[0] <= now_ms:
        return 0  # only a clock message removes, and the next one does, whatever its time
    for source, hold in enumerate(holds):
        looks.append(good[source] + remove_after_ms + 1)
        if not silent[source]:
            looks.append(good[source] + hold + 1)
            looks += _stale_at(entity, source, hold, now_ms, oldest[source])
        looks.append(oldest[source] + remove_after_ms + 1)
    if entity["next_tick_ms"] and entity["head_names"]:
        looks.append(entity["next_tick_ms"] + wait_ms)
    # What lies behind now was looked at just now; a tick without values to come stays behind for ever.
    return min((look for look in looks if look > now_ms), default=NEVER)


def _stale_at(entity: State, source: int, hold: int, now_ms: int, oldest_ms: int) -> list[int]:
    """When heads of a source become stale: the first time where that lies ahead, else all of them."""
    if oldest_ms + hold >= now_ms:
        return [oldest_ms + hold + 1]
    times = zip(entity["head_times_ms"], entity["head_sources"], strict=True)
    return [time + hold + 1 for time, place in times if place == source]


def _oldest_heads(entity: State) -> list[int]:
    """[ms] Oldest head of each source; NEVER where it has none."""
    times, count = entity["head_times_ms"], len(entity["source_names"])
    if count == 1:
        return [min(times) if times else NEVER]
    oldest = [NEVER] * count
    for time, source in zip(times, entity["head_sources"], strict=True):
        if time < oldest[source]:
            oldest[source] = time
    return oldest


def _waiting(oldest: list[int], intervals: list[int], silent: list[bool], step_ms: int) -> tuple[int, int]:
    """Up to when all that ticks wait for has come, and how long a tick waits for it [ms]."""
    heard = [s for s, time in enumerate(oldest) if time < NEVER and not silent[s]]
    if not heard:
        return 0, step_ms
    waits = {s: (intervals[s] or step_ms) + step_ms for s in heard}
    waited = [s for s in heard if waits[s] <= WAIT_MAX_MS] or heard
    return min(oldest[s] for s in waited), min(WAIT_MAX_MS, max(waits[s] for s in waited))
