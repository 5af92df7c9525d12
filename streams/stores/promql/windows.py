"""Windows by PromQL: what the server makes of the values within [n × every, (n + 1) × every)."""

import asyncio
from typing import Protocol

from streams import stores
from streams.stores import Selection, Series, Window
from streams.stores.promql.api import Found, PromApi, bounded, found_of, seconds
from streams.stores.promql.join import fold, join
from streams.stores.promql.names import FUNCTIONS, Entity, SeriesNames, match, selector
from streams.stores.promql.targets import PromSelect

MAX_STEPS = 10_000
"""[1] Windows of one query; Prometheus refuses more than 11,000."""


class Server(Protocol):
    """How a server differs from the other."""

    api: PromApi

    async def raw(self, series: str, start_ms: int, end_ms: int) -> list[Found]:
        """Values of the series that a selector names, start <= time < end, which is later."""

    async def range_of(self, length_ms: int) -> tuple[str, int]:
        """What behind a selector means the samples of so many ms, that of the evaluation the last; its shift.

        The length is at least 2 ms. The query is evaluated [ms] earlier by the shift than it reads.
        """

    async def counts_once(self) -> bool:
        """Whether functions see once what was written twice."""


async def evaluate(
    server: Server, function: str, series: str, length_ms: int, span: tuple[int, int]
) -> list[Found]:
    """A function of each `length_ms` from the beginning of the span; with the last ms of each as its time."""
    times, shift_ms = await server.range_of(length_ms)
    first_ms = span[0] + length_ms - 1 - shift_ms
    # Servers know no time before 1970.
    first_ms += max(0, -(first_ms // length_ms)) * length_ms
    if first_ms >= span[1] - shift_ms:
        return []
    data = await server.api.ask(
        "/api/v1/query_range",
        {
            "query": function % (series + times),
            "start": seconds(first_ms),
            "end": seconds(span[1] - 1 - shift_ms),
            "step": f"{length_ms}ms",
            "nocache": "1",
            "timeout": f"{stores.READ_TIMEOUT_S:g}s",
        },
    )
    return [
        each._replace(times_ms=[time_ms + shift_ms for time_ms in each.times_ms]) for each in found_of(data)
    ]


class PromWindows:
    """Windows of one server."""

    def __init__(self, server: Server, select: PromSelect, names: SeriesNames) -> None:
        self._server = server
        self._select = select
        self._names = names

    async def read(self, selection: Selection, window: Window, name: str) -> list[Series]:
        """The windows of series that a matcher of names selects; longer than 1 ms."""
        targets = await self._select.targets(selection)
        # Functions drop the names of series, so each is asked for by itself.
        names = await self._select.series_names(selection, name, targets)
        asked = [
            self._windows(match("__name__", (each,)), each, target, span, window)
            for each in names
            for target in targets
            for span in spans_of(selection, window.every_ms)
        ]
        found = [each for part in await asyncio.gather(*asked) for each in part]
        series, twice = join(bounded(found), self._names.metric_of)
        return await self._anew(series, twice, selection, window) if twice else series

    async def _windows(
        self, name: str, plain: str, target: str, span: tuple[int, int, int], window: Window
    ) -> list[Found]:
        start_ms, end_ms, length_ms = span
        if length_ms == 1:  # every function but one gives the value that is there
            found = await self._server.raw(selector(name, target), start_ms, end_ms)
            if window.fn == "count":
                found = [each._replace(values=[1.0] * len(each.values)) for each in found]
        else:
            series = selector(name, target)
            found = await evaluate(self._server, FUNCTIONS[window.fn], series, length_ms, (start_ms, end_ms))
        every_ms = window.every_ms
        return [
            Found(
                {"__name__": plain} | each.labels,
                [time_ms // every_ms * every_ms for time_ms in each.times_ms],
                each.values,
            )
            for each in found
        ]

    async def _anew(
        self, series: list[Series], twice: set[tuple[Entity, int]], selection: Selection, window: Window
    ) -> list[Series]:
        """Windows in which an entity's labels changed, from the values: each answer knows only a part."""
        merged = {(each.kind, each.id, each.metric): each for each in series}
        for at_ms in sorted({at_ms for _, at_ms in twice}):
            entities = {entity for entity, time_ms in twice if time_ms == at_ms}
            targets = await self._select.targets_of(selection, entities)
            start_ms = max(at_ms, selection.start_ms)
            end_ms = min(at_ms + window.every_ms, selection.end_ms)
            name = self._names.select(selection.metrics)
            parts = await asyncio.gather(
                *(self._server.raw(selector(name, target), start_ms, end_ms) for target in targets)
            )
            found = bounded([each for part in parts for each in part])
            for each in fold(join(found, self._names.metric_of)[0], window):
                key = (each.kind, each.id, each.metric)
                if key in merged:
                    merged[key] = _replaced(merged[key], each)
        return list(merged.values())


def spans_of(selection: Selection, every_ms: int) -> list[tuple[int, int, int]]:
    """Begin, end and length [ms] of windows that are asked for at once; those that are cut are alone."""
    start_ms, end_ms = selection.start_ms, selection.end_ms
    first_ms, last_ms = -(-start_ms // every_ms) * every_ms, end_ms // every_ms * every_ms
    if first_ms > last_ms:
        return [(start_ms, end_ms, end_ms - start_ms)]
    spans = [
        (at_ms, min(at_ms + MAX_STEPS * every_ms, last_ms), every_ms)
        for at_ms in range(first_ms, last_ms, MAX_STEPS * every_ms)
    ]
    if start_ms < first_ms:
        spans.insert(0, (start_ms, first_ms, first_ms - start_ms))
    if last_ms < end_ms:
        spans.append((last_ms, end_ms, end_ms - last_ms))
    return spans


def _replaced(series: Series, window: Series) -> Series:
    """A series with one window from another."""
    at_ms = window.times_ms[0]
    values = [
        window.values[0] if time_ms == at_ms else value
        for time_ms, value in zip(series.times_ms, series.values, strict=True)
    ]
    newest = window if series.times_ms[-1] == at_ms else series
    return series._replace(values=values, nodepool=newest.nodepool, simulated=newest.simulated)
