"""Gets the series that `twin rules` looks at: from a file, an exporter, a Prometheus server or a JSON API."""

import asyncio
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from yarl import URL

from streams.collect.config import PROMETHEUS_PACKS, check_url
from streams.collect.exposition import decode, parse_exposition
from streams.collect.fetch import Fetcher
from streams.collect.json_api import mapping_of, read_document, validator_of
from streams.collect.privacy import public_url
from streams.collect.prometheus import PrometheusSource
from streams.collect.promql import read_answer, read_vector
from streams.collect.target import Harvest, Target
from streams.domain.matching import match
from streams.domain.rules import RulePack, format_series
from streams.errors import SourceError

INTERVAL_S = 5.0
"""[s] What the target is told; nothing is scraped twice."""


@dataclass
class Access:
    """How a target is reached."""

    timeout_s: float = 10.0
    bearer_token_file: Path | None = None
    ca_file: Path | None = None


@dataclass
class Taken:
    """The series that one pack is to map."""

    pack: RulePack
    kind: str
    target: str
    series: list[str]
    values: list[float]
    times_ms: list[int]
    notes: list[str] = field(default_factory=list)


def take(place: str, packs: Mapping[str, RulePack], chosen: Sequence[str], access: Access) -> list[Taken]:
    """The series at a URL or in a file, for the packs that were chosen, or else for those that fit.

    Raises:
        SourceError: it cannot be read, or is nothing that a rule pack could map.
    """
    try:
        if "://" not in place:
            return _from_body(Path(place).read_bytes(), place, packs, chosen)
        check_url(place)
        return asyncio.run(_from_url(place, packs, chosen, access))
    except OSError as error:
        raise SourceError("file", f"{place}: cannot be read: {error.strerror}") from None
    except SourceError as error:
        raise SourceError(
            error.reason, f"{public_url(place) if '://' in place else place}: {error}"
        ) from None
    except ValueError as error:
        raise SourceError("url", f"{place} {error}") from None


async def _from_url(
    place: str, packs: Mapping[str, RulePack], chosen: Sequence[str], access: Access
) -> list[Taken]:
    fetcher = Fetcher()
    try:
        return await _ask(fetcher, place, packs, chosen, access)
    finally:
        await fetcher.close()


async def _ask(
    fetcher: Fetcher, place: str, packs: Mapping[str, RulePack], chosen: Sequence[str], access: Access
) -> list[Taken]:
    def target(pack: RulePack, url: str) -> Target:
        return Target(
            kind="prometheus",
            source=pack.name,
            name=public_url(url),
            pack=pack,
            interval_s=INTERVAL_S,
            timeout_s=access.timeout_s,
            url=url,
            bearer_token_file=access.bearer_token_file,
            ca_file=access.ca_file,
        )

    some = next(iter(packs.values()))
    if await _is_prometheus(fetcher, target(some, place)):
        found = []
        for name in chosen or [name for name in PROMETHEUS_PACKS if name in packs]:
            source = target(packs[name], place)
            harvest = await PrometheusSource(source, fetcher).collect()
            if harvest.series or chosen:
                notes = [f"query {part} failed: {error}" for part, error in harvest.failures]
                found.append(_taken(packs[name], "Prometheus server", source.name, harvest, notes))
        return found
    bare = URL(place).path in ("", "/")
    url = str(URL(place) / "metrics") if bare else place
    answer = await fetcher.fetch(target(some, url), accept="text/plain, application/json;q=0.9, */*;q=0.1")
    return _from_body(answer.body, public_url(url), packs, chosen)


async def _is_prometheus(fetcher: Fetcher, target: Target) -> bool:
    path = URL(target.url).path
    if path.endswith(("/metrics", ".json", ".txt", ".prom")):
        return False
    url = (URL(target.url) / "api/v1/query").update_query(query="vector(1)")
    try:
        answer = await fetcher.fetch(target, accept="application/json", url=url)
        read_answer(answer.body)
    except SourceError as error:
        if error.reason in ("http_status", "error_body"):
            return False
        raise
    return True


def _from_body(body: bytes, place: str, packs: Mapping[str, RulePack], chosen: Sequence[str]) -> list[Taken]:
    text = decode(body)
    if text.lstrip()[:1] in ("{", "["):
        try:
            return _from_json(json.loads(text), body, place, packs, chosen)
        except ValueError:
            pass  # an exposition can begin with a quoted name in braces
    found = parse_exposition(text, lambda name: True, openmetrics=text.rstrip().endswith("# EOF"))
    harvest = Harvest(found.series, found.values, found.times_ms)
    notes = [f"{found.unmapped} lines are no series that are known here"] if found.unmapped else []
    return _for_packs("exposition", place, harvest, packs, chosen, notes)


def _from_json(
    document: Any, body: bytes, place: str, packs: Mapping[str, RulePack], chosen: Sequence[str]
) -> list[Taken]:
    if isinstance(document, dict) and document.get("status") in ("success", "error") and len(document) < 6:
        reply = read_vector(read_answer(body)[0])
        series = [format_series(labels.pop("__name__", ""), labels) for labels in reply.labels]
        harvest = Harvest(series, reply.values, reply.evaluated_ms)
        return _for_packs("Prometheus answer", place, harvest, packs, chosen, [])
    found, faults = [], []
    for name in chosen or [name for name, pack in packs.items() if pack.document]:
        target = Target("json", name, place, packs[name], INTERVAL_S, 1.0)
        try:
            mapping = mapping_of(target)
            harvest = read_document(document, mapping, validator_of(mapping))
        except SourceError as error:
            faults.append(f"pack {name}: {error}")
        else:
            found.append(_taken(packs[name], "JSON document", place, harvest, []))
    if not found:
        raise SourceError("schema", "a JSON document, but of no pack\n" + "\n".join(faults))
    return found


def _for_packs(
    kind: str,
    place: str,
    harvest: Harvest,
    packs: Mapping[str, RulePack],
    chosen: Sequence[str],
    notes: list[str],
) -> list[Taken]:
    """The packs that were chosen, or the one that finds most samples."""
    if not chosen:
        counts = {name: _samples(pack, harvest.series) for name, pack in packs.items()}
        best = max(counts, key=lambda name: counts[name])
        if not counts[best]:
            raise SourceError("pack", "no rule pack finds a sample in it; name one with --pack")
        chosen = [best]
    return [_taken(packs[name], kind, place, harvest, notes) for name in chosen]


def _samples(pack: RulePack, series: Sequence[str]) -> int:
    wanted = [text for text in series if pack.wants(text.partition("{")[0])]
    found = match(pack, wanted, {"__target__": "sniff", "__source__": pack.name})
    return sum(map(len, found.samples.values())) + len(found.attributes)


def _taken(pack: RulePack, kind: str, place: str, harvest: Harvest, notes: list[str]) -> Taken:
    dropped = [f"{count} series dropped: {reason}" for reason, count in sorted(harvest.dropped.items())]
    return Taken(pack, kind, place, harvest.series, harvest.values, harvest.times_ms, [*notes, *dropped])
