"""An explanation in words, with its numbers."""

from collections.abc import Sequence
from datetime import UTC, datetime
from itertools import pairwise

from streams.domain.entity import COUNTER
from streams.domain.faults import FREEZING
from streams.domain.units import INTEGRALS
from streams.domain.why.faults import Step
from streams.domain.why.rule import Mapped
from streams.domain.why.samples import INCREASE, LAST, LAST_RATE, LINEAR, Found, Sample
from streams.domain.why.trace import Candidate

ENDLESS_MS = 10**12
"""[ms] An interval from which on values are to stay until they are changed."""

SERIES_SHOWN = 4
"""[1] Series of a rule that are written out; an aggregate can have hundreds."""


def number(value: float | None, unit: str = "") -> str:
    """A value with its unit, for people."""
    if value is None:
        return "nothing"
    is_large = 1e6 <= abs(value) < 1e15
    shown = f"{value:,.0f}" if is_large and value == int(value) else f"{value:.6g}"
    shown = f"{value:,.2f}" if is_large and value != int(value) else shown
    return f"{shown} {unit}" if unit and unit != "1" else shown


def seconds(length_ms: float) -> str:
    """A length of time."""
    return f"{length_ms / 1000:g} s"


def moment(time_ms: int) -> str:
    """A time of day, UTC, to the ms."""
    return _date(time_ms).strftime("%H:%M:%S.%f")[:-3]


def date(time_ms: int) -> str:
    """A moment in full, UTC."""
    return _date(time_ms).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _date(time_ms: int) -> datetime:
    return datetime.fromtimestamp(time_ms / 1000, UTC)


def say_rule(found: Found, tick_ms: int, step_ms: int, hold_ms: int, unit: str) -> str:
    """How a value at a tick follows from its samples."""
    first, last, total = found.samples[0], found.samples[-1], INTEGRALS.get(unit, f"{unit}·s")
    if found.rule == LINEAR:
        return (
            f"linear between {number(first.value, unit)} at {moment(first.time_ms)} and"
            f" {number(last.value, unit)} at {moment(last.time_ms)}: the tick is"
            f" {seconds(tick_ms - first.time_ms)} into a gap of {seconds(last.time_ms - first.time_ms)}"
            f" (at most {seconds(last.hold_ms)} are bridged)"
        )
    if found.rule == LAST:
        last_was = f"held: the last sample was {number(first.value, unit)} at {moment(first.time_ms)}"
        if hold_ms >= ENDLESS_MS:
            return f"{last_was}, and stays until it is changed"
        return (
            f"{last_was}, and its age of {seconds(tick_ms - first.time_ms)} is within the {seconds(hold_ms)}"
            " for which a value holds"
        )
    if found.rule == LAST_RATE:
        return f"held: {_rate(first, last, total)}, the last rate that is known" + (
            f", {seconds(tick_ms - last.time_ms)} before the tick ({seconds(hold_ms)} at most)"
            if tick_ms > last.time_ms
            else "; there is no sample from before the step"
        )
    if found.rule == INCREASE:
        resets = _resets(found.samples)
        return (
            f"rate of a counter: it grew by {number(found.value * step_ms / 1000, total)} in the"
            f" {seconds(step_ms)} up to the tick, by {len(found.samples)} samples from"
            f" {number(first.value, total)} at {moment(first.time_ms)} to {number(last.value, total)} at"
            f" {moment(last.time_ms)}"
            + (", linear between them" if found.quality else "")
            + (f"; it began anew {resets} times" if resets else "")
        )
    return f"measured: a sample at the very tick, {number(first.value, unit)}"


def say_head(samples: Sequence[Sample], form: int, value: float, time_ms: int, unit: str) -> str:
    """How the newest value follows from its samples."""
    if form != COUNTER:
        return f"the newest sample, {number(value, unit)} at {moment(time_ms)}"
    if len(samples) < 2:
        return f"rate of a counter between its two newest samples, the last at {moment(time_ms)}"
    return _rate(samples[-2], samples[-1], INTEGRALS.get(unit, f"{unit}·s"))


def say_candidate(candidate: Candidate, winner: Candidate | None, tick_ms: int, unit: str) -> str:
    """Why a source gave the value at a tick, or why it did not."""
    about = f"priority {candidate.priority}, {every(candidate.interval_ms)}"
    if candidate is winner:
        return f"gave the value ({about})"
    if candidate.found is not None and winner is not None:
        is_by_priority = candidate.priority > winner.priority
        which = "priority" if is_by_priority else "name, as the priorities are the same"
        had = number(candidate.found.value, unit)
        return f"had {had}, but {winner.source} goes before it by {which} ({about})"
    newest = candidate.newest
    silent = " and was silent" if candidate.silent else ""
    if newest is None:
        return f"had no sample up to the tick{silent} ({about})"
    age = seconds(tick_ms - newest.time_ms)
    if newest.form == COUNTER and tick_ms - newest.time_ms <= candidate.hold_ms:
        return f"had one sample of a counter, which is no rate yet ({about})"
    hold = seconds(candidate.hold_ms)
    return f"had nothing newer than {age} before the tick{silent}; values hold {hold} ({about})"


def say_mapped(mapped: Mapped) -> list[str]:
    """How a sample came from the series of a scrape."""
    how = f"formula {mapped.formula}" if mapped.formula else "the series as it is"
    lines = [f"rule {mapped.place} of pack {mapped.pack}: {how}"]
    shown = mapped.series[:SERIES_SHOWN]
    for one in shown:
        name = f"{one.input} = " if one.input else ""
        aggregate = f" ({one.aggregate})" if one.aggregate else ""
        lines.append(f"  {name}{one.text} {one.value!r} at {moment(one.time_ms)}{aggregate}")
    if len(mapped.series) > len(shown):
        lines.append(f"  and {len(mapped.series) - len(shown)} more series")
    if (mapped.scale, mapped.offset) != (1.0, 0.0):
        lines.append(f"  {_conversion(mapped)}")
    expected = mapped.raw * mapped.scale + mapped.offset
    if mapped.value != expected:
        lines.append(f"  {number(expected, mapped.to_unit)} was limited to {number(mapped.value)}")
    return lines


def say_step(step: Step, unit: str) -> str:
    """What a fault or an edit did."""
    if step.kind == "set":
        before = number(step.before, unit)
        return f"an entity.set of the world put {number(step.after, unit)} in place of {before}"
    doing = f" ({step.doing})" if step.doing else ""
    owner = f" of {step.owner}" if step.owner else ""
    if step.kind == "clock_skew":
        return f"fault {step.fault}{owner}, {step.kind}{doing}, moves the times at which values are shown"
    if step.after is None:
        return f"fault {step.fault}{owner}, {step.kind}, takes {number(step.before, unit)} away"
    if step.kind in FREEZING:
        kept = f"keeps {number(step.after, unit)} from before it"
        return f"fault {step.fault}{owner}, {step.kind}, {kept}, in place of {number(step.before, unit)}"
    return (
        f"fault {step.fault}{owner}, {step.kind}{doing}, makes {number(step.after, unit)} of"
        f" {number(step.before, unit)}"
    )


def every(interval_ms: int) -> str:
    """How often a source is asked."""
    if not interval_ms:
        return "on cue"
    return f"every {seconds(interval_ms)}" if interval_ms < ENDLESS_MS else "until it is changed"


def _conversion(mapped: Mapped) -> str:
    if mapped.scale == 0.0:
        return f"the rule gives {number(mapped.offset)} whatever the value of the series"
    offset = f" {'+' if mapped.offset > 0 else '-'} {abs(mapped.offset):g}" if mapped.offset else ""
    return (
        f"{mapped.from_unit} to {mapped.to_unit}: {number(mapped.raw)} × {number(mapped.scale)}{offset}"
        f" = {number(mapped.raw * mapped.scale + mapped.offset, mapped.to_unit)}"
    )


def _rate(before: Sample, after: Sample, total: str) -> str:
    grown = after.value - before.value if after.value >= before.value else after.value
    reset = "" if after.value >= before.value else ", since when it began anew"
    return (
        f"rate of a counter: it grew by {number(grown, total)} from {moment(before.time_ms)} to"
        f" {moment(after.time_ms)}, that is in {seconds(after.time_ms - before.time_ms)}{reset}"
    )


def _resets(samples: Sequence[Sample]) -> int:
    return sum(b.value < a.value for a, b in pairwise(samples))
