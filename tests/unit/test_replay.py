"""A replay of live's log closes live's ticks, whatever was killed while it was played."""

import json
from typing import Any, cast

import pytest
from hypothesis import given, settings

from streams.domain.keys import entity_key, partition_of
from streams.domain.observation import new_observation
from streams.domain.playback import Lanes, Playback, is_played
from streams.domain.twin import Partition
from streams.domain.worldhash import Row, world_hash
from streams.errors import InvalidMessageError
from streams.records import Observation, State
from tests.reference.messages import CEILINGS, clock, failure, values
from tests.reference.runs import Outcome, run, run_with_crashes
from tests.reference.scenarios import EPOCH_MS, REMOVE_AFTER_MS, Crash, Scenario, crashes, log_of, scenarios

STEP_MS = 5_000
WORLD = "r1"


def created(partitions: int = 1, step_ms: int = STEP_MS, max_entities: int = 100) -> Observation:
    """The observation that a `world.create` with base replay becomes."""
    message = new_observation("event", EPOCH_MS)
    body = {
        "type": "world.create",
        "home": True,
        "owner": "test",
        "reason": "",
        "base": "replay",
        "partitions": partitions,
        "at_ms": EPOCH_MS,
        "clock_ms": EPOCH_MS,
        "step_ms": step_ms,
        "ttl_s": 1e6,
        "max_entities": max_entities,
    }
    message |= {  # type: ignore[typeddict-item]
        "world": WORLD,
        "body": json.dumps(body),
        "event_id": "create",
        "origin_topic": "event",
        "origin_partition": 0,
        "origin_offset": 7,
    }
    return message


def played(message: Observation, lane: int = 0) -> Observation:
    """A message of live's log as `twin replay` sends it."""
    return cast(Observation, message | {"world": WORLD, "lane": lane, "simulated": True, "event_id": ""})


def moved(message: Observation, lane: int, partitions: int) -> Observation:
    """A message with ids that are of that partition."""

    def move(kind: str, id: str) -> str:
        suffix = 0
        while partition_of(entity_key("live", kind, f"{id}.{suffix}"), partitions) != lane:
            suffix += 1
        return f"{id}.{suffix}"

    ids = [move(kind, id) for kind, id in zip(message["kinds"], message["ids"], strict=True)]
    return cast(Observation, message | {"ids": ids, "lane": lane})


def sampled(at_ms: int, number: int, id: str = "a") -> Observation:
    """One sample of one node."""
    return values(at_ms, "s", (0, number), {("node", id): [("load1", float(number), at_ms)]})


def apply_all(messages: list[Observation], states: dict[str, State] | None = None) -> list[Row]:
    """Ticks of all worlds that a partition closes."""
    partition = Partition(0, STEP_MS, REMOVE_AFTER_MS, CEILINGS, 1)
    states = {} if states is None else states
    rows: list[Row] = []
    for offset, message in enumerate(messages):
        for row in partition.apply(offset, message, states).ticks.rows:
            entity = row.entity
            tick = (row.tick_ms, entity["kind"], entity["id"], row.complete)
            rows.append((*tick, row.names, row.values, row.qualities))
    return rows


def told(outcome: Outcome) -> dict[tuple[str, str, int], Any]:
    """Of each closed tick what the hash looks at."""
    return {one: row[:2] for one, row in outcome.rows.items() if not one[0].startswith("_")}


@given(scenarios(), crashes)
def test_replay_whose_worker_dies_closes_the_ticks_of_live(scenario: Scenario, deaths: list[Crash]) -> None:
    log = log_of(scenario)
    live = run(log, scenario.step_ms)
    replayed = [created(step_ms=scenario.step_ms), *map(played, log)]

    outcome = run_with_crashes(replayed, scenario.step_ms, deaths, WORLD)

    assert told(outcome) == told(live)
    assert not outcome.contradictions


@given(scenarios(), scenarios())
@settings(max_examples=30)
def test_partitions_of_live_keep_their_own_clocks_in_a_replay(one: Scenario, other: Scenario) -> None:
    logs = [[moved(message, lane, 2) for message in log_of(each)] for lane, each in enumerate((one, other))]
    live = [row for log in logs for row in apply_all(log)]
    mixed = [message for pair in zip(*logs, strict=False) for message in pair]
    mixed += max(logs, key=len)[min(map(len, logs)) :]
    playback = Playback(0, 1 << 60, STEP_MS, REMOVE_AFTER_MS, CEILINGS)
    for message in mixed:
        playback.play(message)

    rows = apply_all([created(2), *(played(message, message["lane"]) for message in mixed)])

    assert world_hash(rows) == world_hash(live) == playback.hash()


def test_playback_keeps_the_ticks_of_its_range_alone() -> None:
    log = [sampled(EPOCH_MS + n * STEP_MS, n) | {"lane": 0} for n in range(6)]
    playback = Playback(EPOCH_MS + STEP_MS, EPOCH_MS + 3 * STEP_MS, STEP_MS, REMOVE_AFTER_MS, CEILINGS)

    for message in log:
        playback.play(cast(Observation, message))

    assert [row[0] - EPOCH_MS for row in playback.rows] == [STEP_MS, 2 * STEP_MS, 3 * STEP_MS]


def test_clock_past_the_longest_wait_ends_a_range_when_all_partitions_have_it() -> None:
    lanes = Lanes(2, EPOCH_MS, STEP_MS)

    assert not lanes.note(0, clock(EPOCH_MS + 65_001))
    assert not lanes.note(1, clock(EPOCH_MS + 65_000))
    assert not lanes.note(1, sampled(EPOCH_MS + 90_000, 1))
    assert lanes.note(1, clock(EPOCH_MS + 65_001))


@pytest.mark.parametrize(
    "message",
    [
        new_observation("event", EPOCH_MS),
        played(sampled(EPOCH_MS, 1)),
        cast(Observation, sampled(EPOCH_MS, 1) | {"sizes": [2]}),
    ],
)
def test_what_did_not_change_live_is_not_played(message: Observation) -> None:
    assert not is_played(message)
    assert is_played(sampled(EPOCH_MS, 1))
    assert is_played(clock(EPOCH_MS))
    assert is_played(failure(EPOCH_MS, "s", (0, 1)))


def test_replay_has_a_record_that_says_how_far_it_is() -> None:
    states: dict[str, State] = {}

    apply_all([created(), played(sampled(EPOCH_MS, 1)), played(clock(EPOCH_MS + 9_000))], states)

    record = states["r1/world/r1"]
    assert record["attributes"]["base"] == "replay"
    assert record["attributes"]["clock_ms"] == str(EPOCH_MS + 9_000)
    assert record["version"] == 3
    assert states["r1/node/a"]["simulated"]


def test_replay_refuses_a_message_of_a_partition_that_it_does_not_have() -> None:
    for lane in (-1, 2):
        with pytest.raises(InvalidMessageError, match="lane: "):
            apply_all([created(2), played(sampled(EPOCH_MS, 1), lane)])


def test_replay_refuses_more_entities_than_it_may_have() -> None:
    states: dict[str, State] = {}
    log = [played(sampled(EPOCH_MS + n, n, id)) for n, id in enumerate(("a", "b", "a"), 1)]

    apply_all([created(max_entities=2), *log], states)
    with pytest.raises(InvalidMessageError, match="3 entities, more than max_entities 2"):
        apply_all([created(max_entities=2), *log, played(sampled(EPOCH_MS + 9, 9, "c"))])

    assert {"r1/node/a", "r1/node/b"} < states.keys()


@pytest.mark.parametrize("type", ["fault.start", "world.advance", "entity.remove"])
def test_replay_takes_no_events_but_its_end(type: str) -> None:
    message = created()
    message["body"] = json.dumps({"type": type, "home": True})
    message["event_id"], message["origin_offset"] = "later", 9

    with pytest.raises(InvalidMessageError, match="which replays what was"):
        apply_all([created(), message])


def test_nothing_of_a_dropped_replay_remains() -> None:
    states: dict[str, State] = {}
    drop = created()
    drop["body"] = json.dumps({"type": "world.drop", "home": True})
    drop["event_id"], drop["origin_offset"] = "drop", 9
    long_ago = EPOCH_MS + 2 * REMOVE_AFTER_MS
    log = [played(sampled(EPOCH_MS, 1)), played(sampled(EPOCH_MS, 2, "b")), played(clock(long_ago))]

    apply_all([created(), *log, played(sampled(long_ago, 3)), drop], states)

    assert [key for key in states if key.startswith("r1/")] == []


def test_nothing_of_a_replay_remains_that_was_dropped_after_a_restart() -> None:
    states: dict[str, State] = {}
    long_ago = EPOCH_MS + 2 * REMOVE_AFTER_MS
    apply_all([created(), played(sampled(EPOCH_MS, 1)), played(clock(long_ago))], states)
    assert "r1/_ledger/0" in states, "which is all that its lane has"
    drop = created()
    drop["body"] = json.dumps({"type": "world.drop", "home": True})
    drop["event_id"], drop["origin_offset"] = "drop", 9
    again = Partition(0, STEP_MS, REMOVE_AFTER_MS, CEILINGS, 2)
    for key, state in states.items():
        again.restore(key, state)

    again.apply(3, drop, states)

    assert [key for key in states if key.startswith("r1/")] == []


def test_live_is_not_touched_by_a_replay_of_itself() -> None:
    states: dict[str, State] = {}
    log = [sampled(EPOCH_MS + n * STEP_MS, n) for n in range(3)]
    apply_all(log, states)
    before = states["live/node/a"].copy()

    apply_all([*log, created(), *map(played, log)], states)

    assert states["live/node/a"]["head_times_ms"] == before["head_times_ms"]
    assert states["live/node/a"]["source_counts"] == before["source_counts"]


def test_what_a_replay_removed_does_not_come_back_when_it_is_handled_again() -> None:
    long_ago = EPOCH_MS + 2 * REMOVE_AFTER_MS
    log = [created(), played(sampled(EPOCH_MS, 1)), played(clock(long_ago))]
    states: dict[str, State] = {}
    apply_all(log, states)
    again = Partition(0, STEP_MS, REMOVE_AFTER_MS, CEILINGS, 2)
    for key, state in states.items():
        again.restore(key, state)

    again.apply(1, log[1], states)

    assert "r1/node/a" not in states


def test_playback_takes_messages_of_many_entities() -> None:
    playback = Playback(0, 1 << 60, STEP_MS, REMOVE_AFTER_MS, CEILINGS)
    message = values(
        EPOCH_MS, "s", (0, 1), {("node", str(n)): [("load1", 1.0, EPOCH_MS)] for n in range(120)}
    )

    playback.play(cast(Observation, message | {"lane": 0}))

    assert len(playback.rows) == 120
