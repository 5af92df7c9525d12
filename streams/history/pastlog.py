"""History as a log: messages that close its ticks anew, where live's own log no longer reaches."""

from collections.abc import AsyncIterator, Iterator
from functools import partial

from streams.domain.catalogue import GAUGE
from streams.domain.observation import new_observation
from streams.domain.settle import WAIT_MAX_MS
from streams.history.stepping import Step, each_step, read_steps
from streams.records import Observation
from streams.stores import Selection, Store

SOURCE, PRIORITY = "history", 50
"""Of these messages."""

MAX_ENTITIES = 200
"""[1] Of one message, as of any other."""

Attributes = dict[tuple[str, str], dict[str, str]]
"""By kind and id."""


async def past_messages(store: Store, from_ms: int, to_ms: int, step_ms: int) -> AsyncIterator[Observation]:
    """Live's ticks from `from_ms` to `to_ms` [ms since the epoch] as values, each followed by the clock.

    All are of one partition. Values and attributes are those of history; what a tick lacked, and the status,
    follow from them as for any source.

    Raises:
        TooMuchError: one step has more values than one answer may have.
        StoreError: the store is away, refuses or is too slow.
    """
    told = {
        (change.kind, change.id): change
        for change in await store.read_changes(Selection(0, from_ms + 1), newest=True)
        if not change.removed
    }
    changes = await store.read_changes(Selection(from_ms + 1, to_ms + 1), newest=False)
    waiting = sorted(changes, key=lambda change: change.at_ms, reverse=True)
    news = {key: change.named_attributes for key, change in told.items()}
    number = 0
    async for step in each_step(partial(read_steps, store), from_ms, to_ms + 1, step_ms):
        while waiting and waiting[-1].at_ms <= step[0]:
            change = waiting.pop()
            news[change.kind, change.id] = change.named_attributes
        for message in _messages(step, news, step_ms):
            number += 1
            message["origin_offset"] = number
            yield message
    yield _clock(to_ms + WAIT_MAX_MS + 2 * step_ms)


def _messages(step: Step, news: Attributes, step_ms: int) -> Iterator[Observation]:
    """The values of a tick, with what is new of their entities, and the clock."""
    tick_ms, entities = step
    for first in range(0, len(entities), MAX_ENTITIES):
        message = new_observation("values", tick_ms)
        message["source"], message["priority"], message["target"] = SOURCE, PRIORITY, SOURCE
        message["interval_ms"], message["scraped_at_ms"] = step_ms, tick_ms
        message["origin_topic"], message["origin_partition"], message["lane"] = SOURCE, 0, 0
        places: dict[str, int] = {}
        for kind, id, values in entities[first : first + MAX_ENTITIES]:
            message["kinds"].append(kind)
            message["ids"].append(id)
            message["sizes"].append(len(values))
            message["attributes"].append(news.pop((kind, id), {}))
            message["metrics"] += [places.setdefault(name, len(places)) for name in values]
            message["values"] += values.values()
            message["times_ms"] += [tick_ms] * len(values)
        message["names"], message["forms"] = list(places), [GAUGE] * len(places)
        yield message
    yield _clock(tick_ms)


def _clock(at_ms: int) -> Observation:
    message = new_observation("clock", at_ms)
    message["lane"] = 0
    return message
