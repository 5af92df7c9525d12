"""The domain alone, in one process without Kafka: samples a second, cost and memory by number of entities."""

import gc
import time
from typing import Any

import psutil

from streams.bench.load import INTERVAL_MS, observation, scrape
from streams.domain.harmonize import Harmonizer
from streams.domain.keys import entity_key
from streams.domain.observation import new_observation
from streams.domain.twin import Partition
from streams.records import State
from streams.rulebook import RuleBook
from streams.schemas import load_codec, load_state_head

START_MS = 1_800_000_000_000
"""[ms since the epoch, UTC] When the made-up log begins."""


def samples_per_second(rulebook: RuleBook, turns: int = 60, nodes: int = 100) -> dict[str, Any]:
    """harmonize + align + apply of full records, on one core: samples of scrapes a second."""
    harmonizer = Harmonizer(rulebook.packs, rulebook.catalogue, 1)
    part = Partition(0, INTERVAL_MS, 3_600_000, rulebook.catalogue.ceilings())
    states: dict[str, State] = {}
    scrapes = [scrape(0, nodes, turn, START_MS + 1_234 + turn * INTERVAL_MS) for turn in range(turns + 5)]
    offset, samples, ticks = 0, 0, 0
    started = 0.0
    gc.collect()
    for turn, taken in enumerate(scrapes):
        if turn == 5:
            samples = ticks = 0
            started = time.perf_counter()
        result = harmonizer.harmonize(taken, partition=0, offset=turn, at_ms=taken["scraped_at_ms"])
        for _, message in result.observations:
            ticks += len(part.apply(offset, message, states).ticks.rows)
            samples += len(message["values"])
            offset += 1
    seconds = time.perf_counter() - started
    return {"samples_per_s": samples / seconds, "samples": samples, "ticks": ticks, "seconds": seconds}


def cost_per_update(entities: int, updates: int = 20_000) -> dict[str, Any]:
    """Decode, apply, close ticks and encode, with a clock message a second of the log: cost of one update.

    Returns:
        microseconds an update, and bytes an entity that the process grew by.
    """
    codec = load_codec("state")
    part = Partition(0, INTERVAL_MS, 3_600_000, {})
    gc.collect()
    before = psutil.Process().memory_info().rss
    table: dict[str, bytes] = {}
    offset = 0
    for first in range(0, entities, 100):
        states: dict[str, State] = {}
        message = observation(first, 100, 0, START_MS, 0, offset)
        part.apply(offset, message, states)
        table.update({key: codec.encode(state) for key, state in states.items()})
        offset += 1
    grown = psutil.Process().memory_info().rss - before
    seconds = _run_updates(part, table, entities, updates, offset)
    return {
        "us_per_update": seconds / updates * 1e6,
        "bytes_per_entity": grown / entities,
        "entities": entities,
    }


def _run_updates(part: Partition, table: dict[str, bytes], entities: int, updates: int, offset: int) -> float:
    codec = load_codec("state")
    seconds = 0.0
    per_turn = entities // 100
    for number in range(updates // 100):
        turn, chunk = 1 + number // per_turn, number % per_turn
        at_ms = START_MS + turn * INTERVAL_MS + chunk * INTERVAL_MS // per_turn
        message = observation(chunk * 100, 100, turn, at_ms, 0, offset)
        clock = new_observation("clock", at_ms)
        started = time.perf_counter()
        states = {
            key: codec.decode(table[key]) for key in (entity_key("live", "node", id) for id in message["ids"])
        }
        part.apply(offset, message, states)
        if number % 10 == 9:
            part.apply(offset + 1, clock, _Loading(states, table))
        table.update({key: codec.encode(state) for key, state in states.items()})
        seconds += time.perf_counter() - started
        offset += 2
    return seconds


class _Loading(dict[str, State]):
    """The batch's records, and those that the clock finds due beside them."""

    def __init__(self, states: dict[str, State], table: dict[str, bytes]) -> None:
        super().__init__(states)
        self._table = table

    def __missing__(self, key: str) -> State:
        record: State = load_codec("state").decode(self._table[key])
        self[key] = record
        return record


def restore_index(entities: int) -> float:
    """[us] What indexing one restored record costs."""
    data = load_codec("state").encode(_one_state())
    part = Partition(0, INTERVAL_MS, 3_600_000, {})
    started = time.perf_counter()
    for number in range(entities):
        part.restore(f"live/node/{number}", load_state_head(data))
    return (time.perf_counter() - started) / entities * 1e6


def _one_state() -> State:
    states: dict[str, State] = {}
    Partition(0, INTERVAL_MS, 3_600_000, {}).apply(0, observation(0, 1, 0, START_MS, 0, 0), states)
    return next(iter(states.values()))
