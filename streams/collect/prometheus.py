"""Source `prometheus`: a rule pack's queries, by a server's HTTP API, with the true sample times."""

import asyncio
from collections.abc import Callable
from functools import lru_cache
from typing import Any, NamedTuple, TypeVar

import structlog
from yarl import URL

from streams.collect.cadence import Cadence
from streams.collect.fetch import Fetcher
from streams.collect.infos import Infos
from streams.collect.privacy import redact
from streams.collect.promql import (
    Reply,
    SampleTimes,
    read_answer,
    read_matrix_times,
    read_vector,
    with_sample_times,
)
from streams.collect.target import Harvest, Target
from streams.collect.threads import in_thread
from streams.domain.rules import Query
from streams.domain.series import format_series
from streams.errors import SourceError

LARGE_BODY = 256 * 1024
"""[B] From here on an answer is read in a thread, so that other targets need not wait for it."""

LARGE_RESULT = 2_000
"""[1] The same for what was read: so many series are put together in a thread."""

LONG_QUERY = 1_500
"""[characters] From here on a query is sent by POST: proxies cut long URLs."""

MANY_TIMES = 100
"""[1] Above so many sample times, and four times the values, a query asks only for those that it needs."""

RECENT_SAMPLES = "up[5m]"
"""Gives the sample times of the last minutes, so that the scrape intervals are known from the start."""

MAX_WARNINGS = 100
"""[1] Different warnings of a server that are logged, each once."""

T = TypeVar("T")

log = structlog.get_logger()


class Row(NamedTuple):
    """One series of an answer."""

    name: str
    labels: dict[str, str]
    series: str
    value: float
    time_ms: int
    group: str


class PrometheusSource:
    """One server, asked for one rule pack."""

    def __init__(self, target: Target, fetcher: Fetcher) -> None:
        self.target = target
        self._fetcher = fetcher
        self._cadence = Cadence()
        self._is_learned = False
        self._narrow: set[str] = set()
        self._shipped_ms: dict[str, int] = {}
        self._warnings: set[str] = set()
        self._group_of = lru_cache(maxsize=target.caps.samples)(target.pack.group_of)

    async def collect(self) -> Harvest:
        """Ask all queries at once; SourceError when none is answered."""
        queries = self.target.pack.queries
        asked = [self._ask(query) for query in queries]
        *replies, learned = await asyncio.gather(*asked, self._learn_intervals(), return_exceptions=True)
        if isinstance(learned, BaseException):
            raise learned
        harvest = Harvest()
        good: list[tuple[Query, Reply]] = []
        reply: Reply | BaseException | None
        for query, reply in zip(queries, replies, strict=True):
            if isinstance(reply, SourceError):
                harvest.failures.append(
                    (query.name, SourceError(reply.reason, f"query {query.name}: {reply}"))
                )
            elif isinstance(reply, BaseException):
                raise reply
            elif reply is not None:
                good.append((query, reply))
        if not good and harvest.failures:
            # The next answer is shipped whole, even what was shipped before: it says that all is well again.
            self._shipped_ms = {}
            first, others = harvest.failures[0][1], len(harvest.failures) - 1
            raise SourceError(first.reason, f"{first} (and {others} more queries)" if others else str(first))
        if sum(len(reply.labels) for _, reply in good) < LARGE_RESULT:
            self._put_together(harvest, good)
        else:
            await in_thread(lambda: self._put_together(harvest, good))
        return harvest

    def _put_together(self, harvest: Harvest, good: list[tuple[Query, Reply]]) -> None:
        self._observe_times(good, whole=not harvest.failures)
        rows: list[Row] = []
        for query, reply in good:
            times = SampleTimes(reply.ups)
            harvest.drop("histogram", reply.histograms)
            for labels, value, evaluated_ms in zip(
                reply.labels, reply.values, reply.evaluated_ms, strict=True
            ):
                name = labels.pop("__name__", query.name)
                series = format_series(name, labels)
                group = self._group_of(series)
                up = times.find(labels)
                time_ms = up[1] if up else evaluated_ms
                rows.append(Row(name, labels, series, value, time_ms, group))
                if up:
                    self._note_interval(harvest, group, self._cadence.interval_ms(up[0]))
        kept = self._new_rows(rows)
        self._shipped_ms = {row.series: row.time_ms for row in rows}
        harvest.drop("repeated", len(rows) - len(kept))
        harvest.series = [row.series for row in kept]
        harvest.values = [row.value for row in kept]
        harvest.times_ms = [row.time_ms for row in kept]

    def _new_rows(self, rows: list[Row]) -> list[Row]:
        """Groups that have a new sample, whole, and the info series that they are joined with.

        A server that scrapes less often than it is asked gives the same samples again; one copy is enough.
        """
        shipped_ms = self._shipped_ms
        groups = {row.group for row in rows if row.time_ms > shipped_ms.get(row.series, -1)}
        new = {place for place, row in enumerate(rows) if row.group in groups}
        if new and len(new) < len(rows) and self.target.pack.joins:
            new |= Infos(self.target.pack, [(row.name, row.labels) for row in rows]).needed_by(new)
        return [rows[place] for place in sorted(new)]

    def _observe_times(self, good: list[tuple[Query, Reply]], *, whole: bool) -> None:
        wide = [reply.ups for query, reply in good if query.name not in self._narrow]
        ups = [up for query, reply in good if query.name in self._narrow for up in reply.ups] + max(
            wide, key=len, default=[]
        )
        for labels, time_ms in ups:
            self._cadence.observe(labels, [time_ms])
        if whole:
            self._cadence.keep(labels for labels, _ in ups)
        for query, reply in good:
            if len(reply.ups) > max(MANY_TIMES, 4 * len(reply.labels)):
                self._narrow.add(query.name)

    def _note_interval(self, harvest: Harvest, group: str, interval_ms: int) -> None:
        # The twin must not call a target silent that its server asks less often than we ask the server.
        known_ms = max(self.target.interval_ms, harvest.intervals_ms.get(group, 0))
        if self.target.interval_ms and interval_ms > known_ms:
            harvest.intervals_ms[group] = interval_ms

    async def _learn_intervals(self) -> None:
        if self._is_learned:
            return
        try:
            found = await self._query(RECENT_SAMPLES, read_matrix_times)
        except SourceError as error:
            # The queries beside it say what is wrong; a server that cannot answer this is not asked again.
            self._is_learned = error.reason in ("http_status", "error_body", "too_large")
            return
        self._is_learned = True
        for labels, times_ms in found:
            self._cadence.observe(labels, times_ms)

    async def _ask(self, query: Query) -> Reply:
        return await self._query(
            with_sample_times(query.promql, narrow=query.name in self._narrow), read_vector
        )

    async def _query(self, promql: str, read: Callable[[Any], T]) -> T:
        base = URL(self.target.url)
        url = (base / "api/v1/query").with_query(base.query)
        form = {"query": promql, "timeout": f"{round(self.target.timeout_s * 1000)}ms"}
        if len(promql) < LONG_QUERY:
            answer = await self._fetcher.fetch(
                self.target, accept="application/json", url=url.update_query(form)
            )
        else:
            answer = await self._fetcher.fetch(self.target, accept="application/json", url=url, form=form)
        if len(answer.body) < LARGE_BODY:
            return self._read(answer.body, read)
        return await in_thread(lambda: self._read(answer.body, read))

    def _read(self, body: bytes, read: Callable[[Any], T]) -> T:
        data, warnings = read_answer(body)
        result = read(data)
        for warning in warnings:
            if warning not in self._warnings and len(self._warnings) < MAX_WARNINGS:
                self._warnings.add(warning)
                log.warning(
                    "a server warns", target=self.target.name, warning=redact(warning[:300], self.target)
                )
        return result
