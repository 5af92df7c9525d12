"""The shape of an explanation: GET /twin/v1/entities/{kind}/{id}/why."""

from typing import Any, Literal

from pydantic import ConfigDict, Field
from pydantic.config import JsonDict

from streams.web.models import Model, Quality


class Place(Model):
    """Where a message stands in Kafka."""

    topic: str
    partition: int
    offset: int


class RawSeries(Model):
    """A series as it was scraped."""

    series: str = Field(description="Name and labels")
    value: float
    time_ms: int = Field(description="[ms since the epoch, UTC]")
    input: str = Field(description="What the rule's formula calls it; empty without one")
    aggregate: str = Field(description="How it is put together with the others of its input; empty: alone")


class Mapping(Model):
    """How today's rules make the sample of the series."""

    pack: str
    rule: str = Field(description="file:line")
    formula: str = Field(description="Empty: the series as it is")
    series: list[RawSeries]
    raw: float = Field(description="What comes of the series, in from_unit")
    from_unit: str
    to_unit: str
    scale: float = Field(description="value = raw × scale + offset")
    offset: float
    value: float = Field(description="The sample, in to_unit; limited to the catalogue's range")


class OriginEvent(Model):
    """The event that a sample was made from."""

    id: str
    type: str
    sender: str
    body: dict[str, Any] | None = Field(description="What it says besides its entities and series")


class Origin(Place):
    """What an observation was made from: a message of the topic scrape or event."""

    sent_ms: int | None = Field(description="[ms since the epoch, UTC] null: it is gone")
    event: OriginEvent | None
    mapping: Mapping | None
    missing: str = Field(description="Why nothing more can be said; empty when it can")


class WhySample(Model):
    """A sample that decided the value."""

    source: str
    target: str
    value: float = Field(description="[unit; of a counter that times s]")
    time_ms: int = Field(description="[ms since the epoch, UTC]")
    simulated: bool
    observation: Place
    origin: Origin | None


class WhySource(Model):
    """A source that has the metric, and why it gave the value or did not."""

    source: str
    used: bool
    text: str


class Change(Model):
    """What a fault or an edit of the world made of the value."""

    fault: str
    kind: str
    owner: str
    before: float | None
    after: float | None
    text: str


EXAMPLE: JsonDict = {
    "world": "live",
    "kind": "node",
    "id": "ws01",
    "metric": "mem_total_bytes",
    "unit": "B",
    "value": 4082106368.0,
    "at_ms": None,
    "tick_ms": None,
    "observed_at_ms": 1751552584763,
    "quality": "measured",
    "complete": None,
    "simulated": False,
    "found": "log",
    "rule": "the newest sample, 4,082,106,368 B at 14:23:04.763",
    "samples": [
        {
            "source": "testbed",
            "target": "http://twin.example/api/v2",
            "value": 4082106368.0,
            "time_ms": 1751552584763,
            "simulated": False,
            "observation": {"topic": "twin.observation.v1", "partition": 3, "offset": 1234},
            "origin": {
                "topic": "twin.scrape.v1",
                "partition": 1,
                "offset": 567,
                "sent_ms": 1751552584801,
                "event": None,
                "mapping": {
                    "pack": "decice_v2",
                    "rule": "streams/rules/decice_v2.yaml:87",
                    "formula": "",
                    "series": [
                        {
                            "series": 'decice_mem_total{node="ws01"}',
                            "value": 3893.0,
                            "time_ms": 1751552584763,
                            "input": "",
                            "aggregate": "",
                        }
                    ],
                    "raw": 3893.0,
                    "from_unit": "MiB",
                    "to_unit": "B",
                    "scale": 1048576.0,
                    "offset": 0.0,
                    "value": 4082106368.0,
                },
                "missing": "",
            },
        }
    ],
    "sources": [{"source": "testbed", "used": True, "text": "gave the value (priority 90, every 5 s)"}],
    "changes": [],
    "missing": [],
    "text": ["node ws01: mem_total_bytes = 4,082,106,368 B, observed at 2025-07-03T14:23:04.763Z, measured"],
}
"""What an answer looks like."""


class WhyAnswer(Model):
    """Why an entity shows a value: `text` says it in words, the other members in numbers."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [EXAMPLE]})

    world: str
    kind: str
    id: str
    metric: str
    unit: str
    value: float | None = Field(description="null: it has none")
    at_ms: int | None = Field(description="[ms since the epoch, UTC] The moment asked for; null: now")
    tick_ms: int | None = Field(description="[ms since the epoch, UTC] null: it is the newest value")
    observed_at_ms: int | None = Field(description="[ms since the epoch, UTC] Newest sample in it")
    quality: Quality | None
    complete: bool | None = Field(description="Whether all had come when the tick closed; null: not known")
    simulated: bool
    found: Literal["log", "record", "history", "nothing"] = Field(
        description="log: with its samples; record, history: these alone still tell the value"
    )
    rule: str = Field(description="How the value follows from its samples")
    samples: list[WhySample] = Field(description="Those that decided it, oldest first")
    sources: list[WhySource] = Field(description="Best first")
    changes: list[Change] = Field(description="In the order in which they apply")
    missing: list[str] = Field(description="What could not be found, and why")
    text: list[str]
