"""Why an entity had its value at a tick: from the log, or what the record and history still say of it."""

from streams.domain.catalogue import Catalogue
from streams.domain.commands import is_overlay
from streams.domain.entity import QUALITIES, hold_ms
from streams.domain.why.faults import steps_of
from streams.domain.why.text import say_candidate, say_rule
from streams.domain.why.trace import Closed, Trace
from streams.history.why.answer import Known, Why, gone
from streams.history.why.log import follow
from streams.history.why.look import LogLook
from streams.records import State
from streams.settings import Settings
from streams.stores import PastTick, Selection, Store

LOOKBACK_MIN_MS = 60_000
"""[ms] Least time before a tick from which on the log is read: clocks differ, and a worker may be late."""

LOOKBACK_MAX_MS = 21_600_000
"""[ms] Most of it: twice what the value of an hourly import holds, and more."""

ABSENT = "no source had a value at this tick"


async def explain_tick(
    log: LogLook, settings: Settings, catalogue: Catalogue, known: Known, why: Why, at_ms: int
) -> None:
    """Add what explains the value at the newest closed tick up to a moment.

    Raises:
        StoreError: history is away, and it is needed.
    """
    tick_ms = at_ms - at_ms % known.step_ms
    if known.state is not None and known.state["tick_ms"]:
        # A silent entity has closed no tick since.
        tick_ms = min(tick_ms, known.state["tick_ms"])
    trace = await _traced(log, settings, catalogue, known, why, tick_ms)
    closed, past = _newest(trace, tick_ms), None
    has_record = known.state is not None and known.state["tick_ms"] == tick_ms
    if closed is None and not has_record and known.past is not None:
        past = await known.past(at_ms)
        if past is not None and past.tick_ms < tick_ms:
            trace = await _traced(log, settings, catalogue, known, why, past.tick_ms)
            closed = _newest(trace, past.tick_ms)
    if closed is not None:
        _say_closed(catalogue, known, why, trace, closed)
        return
    if has_record:
        _say_record(known, why)
    elif past is not None:
        _say_past(why, past)
    why.missing.append(gone(log, "what the observations said at that time"))
    if known.past is None and not has_record:
        why.missing.append("there is no history store to ask (TWIN_HISTORY_URL)")


async def read_past_tick(
    store: Store, world: str, kind: str, id: str, at_ms: int, remove_after_ms: int
) -> PastTick | None:
    """The newest closed tick of an entity up to a time, as far as it would not have been removed since.

    An overlay has ticks of its own only while it differs from live.
    """
    for name in (world, "live") if is_overlay(world) else (world,):
        selection = Selection(max(0, at_ms - remove_after_ms), at_ms + 1, name, (kind,), (id,))
        found = max(await store.read_ticks(selection), key=lambda tick: tick.tick_ms, default=None)
        if found is not None:
            return found
    return None


async def _traced(
    log: LogLook, settings: Settings, catalogue: Catalogue, known: Known, why: Why, tick_ms: int
) -> Trace:
    intervals = _intervals(known.state, why.subject.metric) if known.state is not None else []
    widest_ms = max((hold_ms(interval, known.step_ms) for interval in intervals), default=0)
    lookback_ms = min(max(LOOKBACK_MIN_MS, 2 * widest_ms + 2 * known.step_ms), LOOKBACK_MAX_MS)
    trace = Trace(
        why.subject.log_world,
        why.subject.entity,
        why.subject.metric,
        partition=why.subject.partition,
        step_ms=settings.step_ms,
        own_step_ms=known.step_ms,
        remove_after_ms=settings.remove_after_ms,
        ceilings=catalogue.ceilings(),
        limits=catalogue.limits(),
    )
    await follow(log, trace, why.subject, tick_ms, lookback_ms)
    return trace


def _intervals(state: State, metric: str) -> list[int]:
    """[ms] Of the sources that give the metric, or of all when none does now."""
    heads = zip(state["head_names"], state["head_sources"], strict=True)
    sources = {source for name, source in heads if name == metric}
    return [
        interval for s, interval in enumerate(state["source_intervals_ms"]) if s in sources or not sources
    ]


def _newest(trace: Trace, tick_ms: int) -> Closed | None:
    before = [tick for tick in trace.closed if tick <= tick_ms]
    return trace.closed[max(before)] if before else None


def _say_closed(catalogue: Catalogue, known: Known, why: Why, trace: Trace, closed: Closed) -> None:
    why.found, why.tick_ms, why.complete = "log", closed.tick_ms, closed.complete
    candidates = trace.candidates(closed)
    winner = next((one for one in candidates if one.found is not None), None)
    why.sources = [
        (one.source, one is winner, say_candidate(one, winner, closed.tick_ms, why.unit))
        for one in candidates
        if one.newest is not None or one is winner
    ]
    why.value, why.rule = closed.value, ABSENT
    why.quality = QUALITIES[closed.quality] if closed.quality is not None else None
    if winner is not None and winner.found is not None:
        why.base, why.samples = winner.found.value, list(winner.found.samples)
        why.observed_ms = why.samples[-1].time_ms
        why.rule = say_rule(winner.found, closed.tick_ms, known.step_ms, winner.hold_ms, why.unit)
    # A tick that closed before an overlay was told of a fault stays as it was.
    why.steps = steps_of(
        known.state,
        [fault for fault in known.faults if fault.told_ms <= closed.told_ms],
        why.subject.entity,
        why.subject.metric,
        why.base,
        at_ms=closed.tick_ms,
        sampled_ms=None,
        step_ms=known.step_ms,
        limits=catalogue.limits(),
    )
    if is_overlay(why.subject.world):
        _lay_over(known, why)
    why.simulated = why.subject.world != "live" or any(one.origin.simulated for one in why.samples)


def _lay_over(known: Known, why: Why) -> None:
    """The log is live's; what the overlay shows of it its own record says, or its faults do."""
    state = known.state
    is_told = state is not None and state["world"] == why.subject.world and state["tick_ms"] == why.tick_ms
    if is_told:
        _say_record(known, why)
        why.found = "log"
    elif why.steps:
        why.value = why.steps[-1].after


def _say_record(known: Known, why: Why) -> None:
    state, metric = known.state, why.subject.metric
    if state is None:
        return
    why.found, why.tick_ms, why.complete = "record", state["tick_ms"], state["complete"]
    why.value, why.quality, why.simulated = None, None, state["simulated"]
    if metric in state["aligned_names"]:
        place = state["aligned_names"].index(metric)
        why.value = state["aligned_values"][place]
        why.quality = QUALITIES[state["aligned_qualities"][place]]
    why.rule = why.rule or ("" if why.value is not None else ABSENT)


def _say_past(why: Why, past: PastTick) -> None:
    why.found, why.tick_ms, why.complete, why.simulated = (
        "history",
        past.tick_ms,
        past.complete,
        past.simulated,
    )
    if why.subject.metric not in past.names:
        why.rule = ABSENT
        return
    place = past.names.index(why.subject.metric)
    why.value = past.values[place]
    why.quality = QUALITIES[past.qualities[place]] if past.qualities is not None else "unknown"
