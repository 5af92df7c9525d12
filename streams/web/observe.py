"""GET /twin/v1/freshness, /twin/v1/ledger and /twin/v1/schemas."""

import time
from collections import Counter, defaultdict
from collections.abc import Iterable
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query, Request
from pydantic import BaseModel

from streams.domain.entity import OUTCOMES
from streams.events import event_schema
from streams.web.access.principal import principal_of
from streams.web.access.require import check_sees_all, require
from streams.web.deadletters.models import DeadLetterAnswer, DeadLettersAnswer, RedriveAnswer
from streams.web.diff import DiffAnswer
from streams.web.encoded import EncodedStates, Snapshot
from streams.web.historymodels import HistoryAnswer
from streams.web.latency import LatencyAnswer
from streams.web.live import caught_up, world_view
from streams.web.models import ANSWERS, FreshnessAnswer, LedgerAnswer, Model, SchemasAnswer
from streams.web.pipeline.models import PipelineAnswer, SourcesAnswer
from streams.web.reading import document_schema
from streams.web.rows import RowsAnswer
from streams.web.state import ERRORS, WorldQuery
from streams.web.whymodels import WhyAnswer

MORE: dict[str, type[BaseModel]] = {
    "latency": LatencyAnswer,
    "diff": DiffAnswer,
    "why": WhyAnswer,
    "history": HistoryAnswer,
    "pipeline": PipelineAnswer,
    "rows": RowsAnswer,
    "sources": SourcesAnswer,
    "deadletters": DeadLettersAnswer,
    "deadletter": DeadLetterAnswer,
    "redrive": RedriveAnswer,
}
"""Answers whose shapes are beside their routes."""

DIALECT = "https://json-schema.org/draft/2020-12/schema"
"""Version of JSON Schema."""

router = APIRouter(
    prefix="/twin/v1", tags=["twin"], responses=ERRORS, dependencies=[Depends(require("read"))]
)


@router.get("/freshness", response_model=FreshnessAnswer, summary="How old the values are")
async def get_freshness(request: Request, query: Annotated[WorldQuery, Query()]) -> dict[str, Any]:
    """How old the newest values are, and how long a change takes from scrape to here."""
    twin = caught_up(request)
    view = world_view(request, query.world)
    states: EncodedStates = request.app.state.states
    snapshot = await states.snapshot(view)
    now_ms = int(time.time() * 1000)
    return {
        "now_ms": now_ms,
        "stamp": snapshot.stamp,
        "scrape_to_seen": _spread(twin.seen_ms),
        "kinds": _by_kind(snapshot, now_ms),
    }


@router.get("/ledger", response_model=LedgerAnswer, summary="What became of every sample")
async def get_ledger(request: Request, query: Annotated[WorldQuery, Query()]) -> dict[str, Any]:
    """What became of every sample, by the counts in the records; `twin ledger` compares them with the log.

    Of an overlay these are its own records, which go on counting where live's were when they were made.
    """
    check_sees_all(principal_of(request), "the ledger", worlds=False)
    view = world_view(request, query.world)
    offsets = view.offsets()
    by_partition = await view.holdings.counts()
    by_source: dict[str, list[int]] = defaultdict(lambda: [0] * len(OUTCOMES))
    for (_, source), counts in by_partition.items():
        by_source[source] = [a + b for a, b in zip(by_source[source], counts, strict=True)]
    return {
        "world": query.world,
        "offsets": {str(partition): offset for partition, offset in sorted(offsets.items())},
        "samples": _named(
            [sum(column) for column in zip(*by_source.values(), strict=True)] or [0] * len(OUTCOMES)
        ),
        "sources": [{"source": source} | _named(counts) for source, counts in sorted(by_source.items())],
        "partitions": [
            {"partition": partition, "source": source} | _named(counts)
            for (partition, source), counts in sorted(by_partition.items())
        ],
    }


@router.get("/schemas", response_model=SchemasAnswer, summary="JSON Schemas of all answers")
async def get_schemas(query: Annotated[Model, Query()]) -> dict[str, Any]:
    """JSON Schemas of all answers, and of the `event` that is taken; those of Kafka are at /subjects."""
    schemas = {name: schema_of(model) for name, model in ANSWERS.items()}
    documents = {"decice_v2": document_schema("decice-v2"), "appendix_a": document_schema("appendix-a")}
    event = {"event": {"$schema": DIALECT} | event_schema()}
    return {"schemas": schemas | documents | event | {name: schema_of(model) for name, model in MORE.items()}}


def schema_of(model: type[BaseModel]) -> dict[str, Any]:
    """JSON Schema of what goes out in this shape."""
    return {"$schema": DIALECT} | model.model_json_schema(mode="validation")


def _by_kind(snapshot: Snapshot, now_ms: int) -> list[dict[str, Any]]:
    kinds: dict[str, list[int]] = defaultdict(list)
    for place, key in enumerate(snapshot.keys):
        kinds[key.split(b"/", 2)[1].decode()].append(place)
    answer: list[dict[str, Any]] = []
    for kind, places in kinds.items():
        entities = [snapshot.entities[place] for place in places]
        newest = [e.newest_observed_ms for e in entities if e.newest_observed_ms is not None]
        oldest = [e.oldest_observed_ms for e in entities if e.oldest_observed_ms is not None]
        answer.append(
            {
                "kind": kind,
                "entities": len(entities),
                "statuses": dict(sorted(Counter(entity.held.status for entity in entities).items())),
                "oldest_observed_ms": min(oldest, default=None),
                "newest_observed_ms": max(newest, default=None),
                "age": _spread(now_ms - time_ms for time_ms in newest),
            }
        )
    return answer


def _spread(durations_ms: Iterable[int]) -> dict[str, Any]:
    ordered = sorted(durations_ms)
    count = len(ordered)

    def percentile(share: float) -> int | None:
        # Nearest rank: a value that did occur.
        return ordered[max(0, -int(-share * count // 1) - 1)] if count else None

    return {
        "count": count,
        "p50_ms": percentile(0.5),
        "p95_ms": percentile(0.95),
        "p99_ms": percentile(0.99),
        "max_ms": percentile(1.0),
    }


def _named(counts: list[int]) -> dict[str, Any]:
    return dict(zip(OUTCOMES, counts, strict=True))
