"""Why an entity shows its newest value: its record, and the observation of the sample."""

from streams.domain.aggregate import SOURCE
from streams.domain.catalogue import Catalogue
from streams.domain.entity import COUNTER, MEASURED, QUALITIES
from streams.domain.newest import head_value, is_behind, newest_heads, shown_values
from streams.domain.why.faults import steps_of
from streams.domain.why.text import every, number, say_head, seconds
from streams.domain.why.totals import say_total
from streams.history.why.answer import Known, Why, gone
from streams.history.why.log import newest_samples
from streams.history.why.look import LogLook
from streams.records import State


async def explain_newest(log: LogLook, catalogue: Catalogue, known: Known, why: Why) -> None:
    """Add what explains the newest value."""
    state, metric = known.state, why.subject.metric
    if state is None:
        why.missing.append("the entity is not there now")
        return
    shown = shown_values(state).get(metric)
    why.found, why.simulated = "record", state["simulated"]
    if shown is not None:
        (why.value, why.observed_ms), why.quality = shown, QUALITIES[MEASURED]
    head = newest_heads(state).get(metric)
    why.sources = _sources(state, metric, head, why.unit)
    if head is not None:
        await _explain_head(log, state, head, why)
    elif metric in state["head_names"]:
        why.rule = "a counter has no rate before its second sample"
    else:
        why.rule = "no source gives this metric"
    why.steps = steps_of(
        state,
        known.faults,
        why.subject.entity,
        metric,
        why.base,
        at_ms=state["seen_ms"],
        sampled_ms=state["seen_ms"] if head is None else state["head_times_ms"][head],
        step_ms=known.step_ms,
        limits=catalogue.limits(),
    )


async def _explain_head(log: LogLook, state: State, head: int, why: Why) -> None:
    form, time_ms = state["head_forms"][head], state["head_times_ms"][head]
    why.base = head_value(state, head)
    source = state["source_names"][state["head_sources"][head]]
    if source == SOURCE and state["aggregate"] is not None:
        why.rule = say_total(state["aggregate"], why.subject.metric, why.base, time_ms, why.unit)
        return
    why.samples = await newest_samples(
        log,
        why.subject,
        source,
        (state["head_values"][head], time_ms),
        2 if form == COUNTER else 1,
        state["version"],
    )
    why.rule = say_head(why.samples, form, why.base, time_ms, why.unit)
    if why.samples:
        why.found = "log"
    else:
        why.missing.append(gone(log, "the observation of this sample"))


def _sources(state: State, metric: str, chosen: int | None, unit: str) -> list[tuple[str, bool, str]]:
    found: list[tuple[int, str, bool, str]] = []
    for head, name in enumerate(state["head_names"]):
        if name != metric:
            continue
        source = state["head_sources"][head]
        priority = state["source_priorities"][source]
        text = f"{_role(state, head, chosen, unit)} (priority {priority}, {_every(state, source)})"
        found.append((priority, state["source_names"][source], head == chosen, text))
    return [(name, used, text) for _, name, used, text in sorted(found)]


def _role(state: State, head: int, chosen: int | None, unit: str) -> str:
    source = state["head_sources"][head]
    silence = f"silent for {seconds(state['seen_ms'] - state['source_good_ms'][source])}"
    value = head_value(state, head)
    if head == chosen:
        return f"gave the value, though {silence}" if is_behind(state, source) else "gave the value"
    if value != value or chosen is None:
        return "has one sample of a counter, which is no rate yet"
    if is_behind(state, source):
        return f"has {number(value, unit)}, but is {silence}"
    best = state["source_names"][state["head_sources"][chosen]]
    return f"has {number(value, unit)}, but {best} goes before it by priority and name"


def _every(state: State, source: int) -> str:
    return every(state["source_intervals_ms"][source])
