"""What must hold of an observation before it is applied."""

from streams.domain.aggregate import SOURCE
from streams.errors import InvalidMessageError
from streams.records import Observation

TYPES = ("values", "failure", "clock", "event", "partial", "partial_end")
"""Types of observation that the twin knows."""


def new_observation(type: str, at_ms: int) -> Observation:
    """An observation without origin and entities; as it is, a clock message."""
    return Observation(
        type=type,
        at_ms=at_ms,
        world="live",
        source="",
        priority=100,
        target="",
        interval_ms=0,
        scraped_at_ms=0,
        simulated=False,
        origin_topic="",
        origin_partition=-1,
        origin_offset=-1,
        reason="",
        kinds=[],
        ids=[],
        sizes=[],
        attributes=[],
        names=[],
        forms=[],
        metrics=[],
        values=[],
        times_ms=[],
        event_id="",
        body="",
        lane=-1,
    )


def origin_of(message: Observation) -> str:
    """Partition that a message was made from, as topic/partition."""
    return f"{message['origin_topic']}/{message['origin_partition']}"


def check_observation(message: Observation) -> None:
    """Raise InvalidMessageError: type unknown, arrays that do not fit together, values of source `twin`."""
    if message["type"] not in TYPES:
        raise InvalidMessageError("type", f"type: {message['type']!r} is not one of {', '.join(TYPES)}")
    if message["type"] == "values" and message["world"] == "live" and message["source"] == SOURCE:
        raise InvalidMessageError("source", f"source: {SOURCE!r} is the twin itself; give another name")
    if message["type"] not in ("values", "partial"):
        return
    entities, samples = len(message["kinds"]), len(message["values"])
    for name, length, wanted in (
        ("ids", len(message["ids"]), entities),
        ("sizes", len(message["sizes"]), entities),
        ("attributes", len(message["attributes"]), entities),
        ("metrics", len(message["metrics"]), samples),
        ("times_ms", len(message["times_ms"]), samples if message["type"] == "values" else entities),
        ("forms", len(message["forms"]), len(message["names"])),
        ("sizes, added up,", sum(message["sizes"]), samples),
    ):
        if length != wanted:
            raise InvalidMessageError("arrays", f"{name}: {length} where {wanted} must be")
    if len(set(zip(message["kinds"], message["ids"], strict=True))) < entities:
        raise InvalidMessageError("arrays", "ids: an entity occurs twice; one observation has it once")
    if message["sizes"] and min(message["sizes"]) < 0:
        raise InvalidMessageError("arrays", f"sizes: {min(message['sizes'])} is negative")
    if samples and not 0 <= min(message["metrics"]) <= max(message["metrics"]) < len(message["names"]):
        raise InvalidMessageError(
            "arrays", f"metrics: an index is outside of the {len(message['names'])} names"
        )
    is_timed = message["world"] == "live" and message["type"] == "values"
    if samples and min(message["times_ms"]) < is_timed:
        raise InvalidMessageError("times", f"times_ms: {min(message['times_ms'])} is not after 1970")
