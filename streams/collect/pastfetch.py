"""Asks a Prometheus server for its past, in ranges that are as long as it can bear."""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import replace

from yarl import URL

from streams.collect.config import CollectConfig, PrometheusConfig, load_config
from streams.collect.fetch import Fetcher
from streams.collect.pastscrapes import Answers, Span
from streams.collect.privacy import redact
from streams.collect.prometheus import LONG_QUERY
from streams.collect.target import Caps, Target
from streams.collect.targets import load_targets
from streams.domain.rules import RulePack
from streams.errors import SettingsError, SourceError
from streams.settings import Settings

SAMPLE_TIMES = "timestamp(up)"
"""Gives the true times of the samples of each target; the past does not change between two questions."""

FIRST_STEPS = 60
"""[1] Steps that are asked for at once until it is known how long the answers are."""

MOST_STEPS = 720
"""[1] An hour of 5 s; servers allow 11,000."""

AIM_BYTES = 6_000_000
"""[B] Of the answers of one range: about 200,000 samples."""

BODY_BYTES = 128 * 1024 * 1024
"""[B] Longest answer that is taken."""

TIMEOUT_S = 30.0
"""[s] For one answer, after which a shorter range is asked for; nobody waits for a tick here."""

WAITS_S = (0.5, 1.0, 2.0, 4.0, 8.0, 15.0)
"""[s] Between tries at a server that is away after it was there."""

TOO_MUCH = ("too many samples", "maximum resolution", "timed out", "exceed")
"""What servers say of a query that asks for too much at once."""

REFUSED = ("400", "422")
"""Statuses of a query that the server understands and does not answer."""

Query = tuple[Target, str, str]
"""A target, and name and text of one of its queries."""


def past_targets(
    settings: Settings, packs: Mapping[str, RulePack], url: str, names: Sequence[str], step_ms: int
) -> list[Target]:
    """The targets of a server: those of the configuration where it has any, or else all packs' queries.

    Args:
        names: of packs; none: all that the server is asked for by the collector.
        step_ms: [ms] interval that they get; 0: their own.

    Raises:
        SettingsError: the configuration has faults, or there is no such pack, or it asks Prometheus nothing.
    """
    for name in names:
        if name not in packs:
            raise SettingsError([f"--packs: unknown rule pack {name!r}; known: {', '.join(sorted(packs))}"])
        if not packs[name].queries:
            raise SettingsError([f"--packs: rule pack {name} has no queries for a Prometheus server"])
    targets = _configured(settings, packs, url) or load_targets(
        CollectConfig(sources=[PrometheusConfig(kind="prometheus", url=url)]),
        packs,
        settings.model_copy(update={"prometheus_urls": ""}),
    )
    if names:
        there = {target.pack.name for target in targets}
        more = [name for name in names if name not in there]
        if more:
            targets += load_targets(
                CollectConfig(sources=[PrometheusConfig(kind="prometheus", url=url, packs=more)]),
                packs,
                settings.model_copy(update={"prometheus_urls": ""}),
            )
        targets = [target for target in targets if target.pack.name in names]
    if not step_ms:
        return targets
    return [replace(target, interval_s=step_ms / 1000) for target in targets]


def _configured(settings: Settings, packs: Mapping[str, RulePack], url: str) -> list[Target]:
    targets = load_targets(load_config(settings.config), packs, settings)
    return [target for target in targets if target.kind == "prometheus" and _plain(target.url) == _plain(url)]


def _plain(url: str) -> str:
    return str(URL(url)).rstrip("/")


class PastFetcher:
    """The past of one server, range after range."""

    def __init__(self, targets: Sequence[Target], fetcher: Fetcher) -> None:
        patient = {
            target.key: replace(target, timeout_s=TIMEOUT_S, caps=Caps(body_bytes=BODY_BYTES))
            for target in targets
        }
        self._queries: list[Query] = [
            (patient[target.key], query.name, query.promql)
            for target in targets
            for query in target.pack.queries
        ]
        self._server = next(iter(patient.values()))
        self._fetcher = fetcher
        self._was_there = False
        self.refused: dict[str, str] = {}
        """What the server said of queries that it does not answer, by target and name."""

    async def spans(self, first_ms: int, last_ms: int, step_ms: int) -> AsyncIterator[Answers]:
        """The answers for first, first + step, … up to last, in the order of time.

        Raises:
            SourceError: the server is away, or refuses all queries, or cannot give even one step.
        """
        steps, most = FIRST_STEPS, MOST_STEPS
        while first_ms <= last_ms:
            span = Span(first_ms, step_ms, min(steps, (last_ms - first_ms) // step_ms + 1))
            try:
                answers = await self._answers(span)
            except _TooMuchError as error:
                if span.steps == 1:
                    raise SourceError(error.reason, f"{error}, for a single step") from None
                steps = most = span.steps // 2
                continue
            yield answers
            first_ms = span.end_ms + step_ms
            size = len(answers.ups) + sum(len(body) for *_, body in answers.replies)
            steps = max(1, min(most, 2 * span.steps, span.steps * AIM_BYTES // max(1, size)))

    async def _answers(self, span: Span) -> Answers:
        asked = [self._ask(target, promql, span) for target, _, promql in self._queries]
        ups, *bodies = await asyncio.gather(
            self._ask(self._server, SAMPLE_TIMES, span), *asked, return_exceptions=True
        )
        replies = []
        first: SourceError | None = None
        for (target, name, _), body in zip(self._queries, bodies, strict=True):
            if isinstance(body, SourceError) and _is_refused(body):
                self.refused[f"{target.source} {name}"] = str(body)
                first = first or body
            elif isinstance(body, BaseException):
                raise body
            else:
                replies.append((target.key, name, body))
        if isinstance(ups, BaseException):
            raise ups
        if first and not replies:
            raise first
        self._was_there = True
        return Answers(span, ups, replies)

    async def _ask(self, target: Target, promql: str, span: Span) -> bytes:
        for wait_s in (*WAITS_S, None) if self._was_there else (None,):
            try:
                return await self._query(target, promql, span)
            except SourceError as error:
                text = redact(str(error), target)
                if _is_too_much(error) and not (span.steps == 1 and _is_refused(error)):
                    raise _TooMuchError(error.reason, text) from None
                if wait_s is None or not _is_away(error):
                    raise SourceError(error.reason, f"{target.name}: {text}") from None
                await asyncio.sleep(wait_s)
        raise AssertionError("the last try returns or raises")

    async def _query(self, target: Target, promql: str, span: Span) -> bytes:
        base = URL(target.url)
        url = (base / "api/v1/query_range").with_query(base.query)
        form = {
            "query": promql,
            "start": f"{span.start_ms / 1000:.3f}",
            "end": f"{span.end_ms / 1000:.3f}",
            "step": f"{span.step_ms / 1000:.3f}",
            "timeout": f"{round(target.timeout_s * 1000)}ms",
        }
        if len(promql) < LONG_QUERY:
            answer = await self._fetcher.fetch(target, accept="application/json", url=url.update_query(form))
        else:
            answer = await self._fetcher.fetch(target, accept="application/json", url=url, form=form)
        return answer.body


class _TooMuchError(SourceError):
    """A shorter range may be answered."""


def _status(error: SourceError) -> str:
    return str(error).partition("HTTP ")[2][:3] if error.reason == "http_status" else ""


def _is_too_much(error: SourceError) -> bool:
    if error.reason in ("timeout", "too_large"):
        return True
    status = _status(error)
    return status in ("400", "413", "422", "500", "503", "504") and any(
        words in str(error).lower() for words in TOO_MUCH
    )


def _is_refused(error: SourceError) -> bool:
    return _status(error) in REFUSED and not isinstance(error, _TooMuchError)


def _is_away(error: SourceError) -> bool:
    return (
        error.reason in ("connect", "dns", "incomplete", "protocol")
        or _status(error)[:1] == "5"
        or (_status(error) == "429")
    )
