"""What is known about the pipeline, put together for an answer; nothing here waits long for Kafka."""

import asyncio
import platform
import time
from collections import Counter
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from streams.errors import InvalidMessageError
from streams.schemas import load_state_head
from streams.settings import Settings
from streams.topics import RECORDS, topics_of
from streams.web.live import LiveTwin
from streams.web.pipeline.look import GROUPS, Looked
from streams.web.pipeline.reuse import Reused
from streams.web.pipeline.tail import NEWEST, Scraped, ScrapeTail
from streams.web.pipeline.watch import STATE_BYTES, PipelineWatch
from streams.web.registry import versions_of

LIBRARIES = ("faust-streaming", "aiokafka", "fastavro", "fastapi", "nicegui")
"""What decides how it behaves, beside the twin itself."""

SLACK_MS = 5_000
"""[ms] Beyond two intervals a scrape is late."""

ENTITIES_S = 5.0
"""[s] For so long it is not counted again what each target feeds."""

SLICE = 200
"""[1] Records that are looked at before others get the event loop: a few ms."""


class PipelineDesk:
    """The answers of the routes, but for freshness and ledger."""

    def __init__(self, settings: Settings, twin: LiveTwin) -> None:
        self.watch = PipelineWatch(settings, twin)
        self.tail = ScrapeTail(settings)
        self.reused = Reused()
        self._settings = settings
        self._twin = twin
        self._names = topics_of(settings)
        self._fed: Counter[str] = Counter()
        self._fed_s = 0.0

    async def stop(self) -> None:
        """Disconnect."""
        await self.watch.stop()
        await self.tail.stop()

    async def pipeline(self) -> dict[str, Any]:
        """Topics, groups, replica, schemas and versions."""
        await self.watch.ask()
        now_ms = int(time.time() * 1000)
        looked = self.watch.looked
        return {
            "now_ms": now_ms,
            "kafka": {
                "fault": self.watch.fault,
                "looked_ms": looked.at_ms if looked else None,
                "age_ms": max(0, now_ms - looked.at_ms) if looked else None,
            },
            "topics": [self._topic(record, looked) for record in RECORDS],
            "groups": [self._group(role, looked) for role in GROUPS],
            "replica": self._replica(),
            "subjects": [self._subject(record) for record in RECORDS],
            "versions": versions(),
        }

    async def sources(self) -> dict[str, Any]:
        """Sources and targets, by name."""
        await self.tail.ask()
        fed = await self._entities()
        now_ms = int(time.time() * 1000)
        shown = {f"{source} {target}": (source, target) for source, target in self.tail.targets}
        unseen = [tuple(name.partition(" ")[::2]) for name in fed or {} if name not in shown]
        rows = [_seen(scraped, fed, now_ms) for scraped in self.tail.targets.values()]
        rows += [_unseen(source, target, fed, f"{source} {target}") for source, target in unseen]
        return {
            "now_ms": now_ms,
            "topic": self.tail.topic,
            "fault": self.tail.fault,
            "newest": NEWEST,
            "unreadable": self.tail.unreadable,
            "sources": sorted(rows, key=lambda row: (row["source"], row["target"])),
        }

    async def _entities(self) -> Counter[str] | None:
        """[1] Live entities by source and target, with a blank between; None: not known yet."""
        if self._twin.why_no_state() is not None and not self._fed:
            return None
        if time.monotonic() - self._fed_s > ENTITIES_S:
            self._fed_s = time.monotonic()
            fed: Counter[str] = Counter()
            for place, (_, held) in enumerate(list(self._twin.replica.records())):
                try:
                    fed.update(load_state_head(held.value)["targets"])
                except InvalidMessageError as error:
                    self._twin.replica.holdings.count_poisoned(error)
                if place % SLICE == SLICE - 1:
                    await asyncio.sleep(0)
            self._fed = fed
        return self._fed

    def _topic(self, record: str, looked: Looked | None) -> dict[str, Any]:
        topic = self._names[record]
        ends = {tp: end for tp, end in looked.ends.items() if tp.topic == topic} if looked else {}
        begins = looked.begins if looked else {}
        rate = self.watch.rates.rate(topic) if ends else None
        return {
            "record": record,
            "topic": topic,
            "exists": bool(ends) if looked else None,
            "partitions": len(ends) if ends else None,
            "records": sum(end - begins.get(tp, 0) for tp, end in ends.items()) if ends else None,
            "end": sum(ends.values()) if ends else None,
            "records_per_s": rate,
            "bytes_per_s": self._bytes_per_s(record, rate),
        }

    def _bytes_per_s(self, record: str, records_per_s: float | None) -> float | None:
        if record == "state":
            return self.watch.rates.rate(STATE_BYTES)
        mean_bytes = self.tail.mean_bytes() if record == "scrape" else None
        if mean_bytes is None or records_per_s is None:
            return None
        return records_per_s * mean_bytes

    def _group(self, role: str, looked: Looked | None) -> dict[str, Any]:
        commits = looked.committed.get(role) if looked else None
        partitions = [
            {
                "topic": tp.topic,
                "partition": tp.partition,
                "position": offset,
                "end": looked.ends.get(tp),
                "lag": looked.lag(tp, offset),
            }
            for tp, offset in (commits or {}).items()
            if looked is not None
        ]
        has_committed = any(offset is not None for offset in commits.values()) if commits else None
        return {
            "role": role,
            "group": f"{self._settings.topic_prefix}-{role}",
            "fault": looked.faults.get(role) if looked else self.watch.fault,
            "lag": sum(each["lag"] for each in partitions) if commits is not None else None,
            "has_committed": has_committed,
            "partitions": partitions,
        }

    def _replica(self) -> dict[str, Any]:
        partitions = [
            {
                "topic": self._twin.source.topic,
                "partition": number,
                "position": cursor.position,
                "end": cursor.highwater if cursor.highwater is not None else cursor.end,
                "lag": cursor.lag,
            }
            for number, cursor in sorted(self._twin.source.cursors.items())
        ]
        return {
            "topic": self._twin.source.topic,
            "fault": self._twin.why_no_state(),
            "lag": sum(each["lag"] for each in partitions),
            "partitions": partitions,
        }

    def _subject(self, record: str) -> dict[str, Any]:
        versions = versions_of(record)
        return {
            "subject": f"{self._names[record]}-value",
            "record": record,
            "version": len(versions),
            "id": versions[-1][0],
        }


@cache
def versions() -> dict[str, Any]:
    """Of the twin, of Python, and of the libraries that decide how it behaves."""
    libraries = {}
    for name in LIBRARIES:
        try:
            libraries[name] = version(name)
        except PackageNotFoundError:
            continue
    return {
        "twin": version("decice-twin-stream"),
        "python": platform.python_version(),
        "libraries": libraries,
    }


def _seen(scraped: Scraped, fed: Counter[str] | None, now_ms: int) -> dict[str, Any]:
    age_ms = max(0, now_ms - scraped.scraped_at_ms)
    return {
        "source": scraped.source,
        "target": scraped.target,
        "pack": scraped.pack,
        "interval_ms": scraped.interval_ms,
        "scraped_at_ms": scraped.scraped_at_ms,
        "age_ms": age_ms,
        "late": scraped.interval_ms > 0 and age_ms > 2 * scraped.interval_ms + SLACK_MS,
        "duration_ms": scraped.duration_ms,
        "to_kafka_ms": max(0, scraped.sent_ms - scraped.scraped_at_ms),
        "ok": scraped.ok,
        "error": scraped.error,
        "ok_ms": scraped.ok_ms,
        "failed_in_row": scraped.failed_in_row,
        "simulated": scraped.simulated,
        "samples": scraped.series if scraped.ok_ms is not None else None,
        "chunks": scraped.chunks,
        "entities": None if fed is None else fed[f"{scraped.source} {scraped.target}"],
    }


def _unseen(source: str, target: str, fed: Counter[str] | None, name: str) -> dict[str, Any]:
    """A target that feeds entities, of which none of the scrapes that were read tells."""
    unknown = ("pack", "interval_ms", "scraped_at_ms", "age_ms", "duration_ms", "to_kafka_ms", "ok", "ok_ms")
    return dict.fromkeys((*unknown, "samples", "chunks")) | {
        "source": source,
        "target": target,
        "late": False,
        "error": "",
        "failed_in_row": 0,
        "simulated": False,
        "entities": None if fed is None else fed[name],
    }
