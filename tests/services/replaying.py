"""What the log alone says: the same messages through `Partition`, in one process that nobody kills."""

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from streams.domain.changes import Changes
from streams.domain.entity import OUTCOMES
from streams.domain.keys import entity_key
from streams.domain.ledger import LEDGER_KIND
from streams.domain.observation import check_observation
from streams.domain.twin import Partition
from streams.errors import InvalidMessageError
from streams.records import Observation, State, Tick
from streams.rulebook import load_rulebook
from streams.schemas import load_codec
from streams.settings import Settings
from tests.services.topiclog import (
    Message,
    change_rows,
    committed,
    newest_states,
    read_records,
    read_topic,
    tick_rows,
)


@dataclass
class Outcome:
    """States by key, and ticks in order of publication."""

    states: dict[str, State] = field(default_factory=dict)
    ticks: list[Tick] = field(default_factory=list)


def replay(settings: Settings, log: list[Message], upto: dict[int, int]) -> Outcome:
    """Apply the log of observations up to an offset by partition."""
    outcome = Outcome()
    ceilings = load_rulebook().catalogue.ceilings()
    for number in range(settings.partitions):
        part = Partition(number, settings.step_ms, int(settings.remove_after_s * 1000), ceilings)
        states: dict[str, State] = {}
        for message in log:
            if message.partition == number and message.offset < upto[number]:
                observation = _observation(message)
                if observation is not None:
                    changes: Changes = part.apply(message.offset, observation, states)
                    for world in changes.ticks.worlds():
                        outcome.ticks += changes.ticks.records(world, 0)
        outcome.states.update(states)
    return outcome


async def assert_equal_to_replay(settings: Settings) -> Outcome:
    """States byte-equal and closed ticks equal to a replay of the log; the workers must have ended.

    A worker that is stopped leaves clock messages unread, so the replay ends where each partition did: at its
    committed offset, or where its newest state says, for what was written and not committed any more.
    """
    log = await read_topic(settings, "observation")
    messages = await read_topic(settings, "state")
    got = Outcome(newest_states(messages), await read_records(settings, "tick"))
    upto = await committed(settings, "worker", "observation")
    homes = {(message.key or b"").decode(): message.partition for message in messages}
    for key, state in got.states.items():
        upto[homes[key]] = max(upto[homes[key]], state["version"])
    wanted = replay(settings, log, upto)
    _assert_epochs_rise(messages)
    encode = load_codec("state").encode
    assert sorted(got.states) == sorted(wanted.states)
    for key, state in wanted.states.items():
        is_equal = encode(State(**{**got.states[key], "epoch": 0})) == encode(state)  # type: ignore[typeddict-item]
        assert is_equal, f"{key}: {_differences(got.states[key], state)}"
    _assert_same_rows(tick_rows(got.ticks), tick_rows(wanted.ticks))
    _assert_same_rows(change_rows(got.ticks), change_rows(wanted.ticks))
    return got


def counted_samples(log: list[Message]) -> Counter[str]:
    """Samples by source as the log says, those that were sent twice counted once: no code of the twin's."""
    highest: dict[tuple[str, str], int] = {}
    counts: Counter[str] = Counter()
    for message in log:
        observation = _observation(message)
        if observation is None or observation["type"] != "values":
            continue
        origin = f"{observation['origin_topic']}/{observation['origin_partition']}"
        for kind, id, size in zip(
            observation["kinds"], observation["ids"], observation["sizes"], strict=True
        ):
            place = (entity_key(observation["world"], kind, id), origin)
            if observation["origin_offset"] > highest.get(place, -1):
                highest[place] = observation["origin_offset"]
                counts[observation["source"]] += size
    return counts


def recorded_samples(states: dict[str, State]) -> Counter[str]:
    """Samples by source as the records say, whatever became of them, those of removed entities too."""
    counts: Counter[str] = Counter()
    for state in states.values():
        for place, source in enumerate(state["source_names"]):
            first = len(OUTCOMES) * place
            counts[source] += sum(state["source_counts"][first : first + len(OUTCOMES)])
    return counts


def outcomes(states: dict[str, State]) -> Counter[str]:
    """Samples by outcome."""
    counts: Counter[str] = Counter()
    for state in states.values():
        for place, count in enumerate(state["source_counts"]):
            counts[OUTCOMES[place % len(OUTCOMES)]] += count
    return counts


def entities(states: dict[str, State]) -> dict[str, State]:
    """Without the ledgers."""
    return {key: state for key, state in states.items() if f"/{LEDGER_KIND}/" not in key}


def _assert_epochs_rise(states: list[Message]) -> None:
    """Nobody's record stays behind one of a later owner of its key: compaction would keep the older one.

    A worker that is stopped within a send still sends when it wakes; readers pass over that record, and the
    owner's next one follows it long before the log is compacted.
    """
    highest: dict[bytes | None, int] = {}
    stale: dict[bytes | None, str] = {}
    for message in states:
        stale.pop(message.key, None)
        if message.value is None:
            continue
        epoch = message.decoded("state")["epoch"]
        if epoch < highest.get(message.key, 0):
            stale[message.key] = f"epoch {epoch} after {highest[message.key]} at {message.offset}"
        highest[message.key] = max(epoch, highest.get(message.key, 0))
    assert not stale, stale


def _observation(message: Message) -> Observation | None:
    try:
        observation: Observation = message.decoded("observation")
        check_observation(observation)
    except InvalidMessageError:
        return None  # the worker sends it to the dead letters
    return observation


def _differences(found_state: State, wanted: State) -> dict[str, tuple[Any, Any]]:
    return {
        name: (found_state[name], value)  # type: ignore[literal-required]
        for name, value in wanted.items()
        if name != "epoch" and repr(found_state[name]) != repr(value)  # type: ignore[literal-required]
    }


def _assert_same_rows(found_rows: dict[Any, Any], wanted: dict[Any, Any]) -> None:
    absent = sorted(set(wanted) - set(found_rows))
    more = sorted(set(found_rows) - set(wanted))
    other = [
        (key, found_rows[key], wanted[key])
        for key in wanted
        if key in found_rows and repr(found_rows[key]) != repr(wanted[key])
    ]
    if absent or more or other:
        raise AssertionError(
            f"{len(absent)} rows absent: {absent[:3]}; {len(more)} too many: {more[:3]};"
            f" {len(other)} of {len(wanted)} differ: {other[:2]}"
        )
