"""The JSON of an entity of the past, without the way over its record: a ninth of the time."""

import json
from functools import lru_cache
from math import isfinite

from streams.domain.entity import HISTORY, OUTCOMES, QUALITIES
from streams.domain.view import entity_view
from streams.encoding import encode_json
from streams.history.past import PastEntity
from streams.stores import PastChange

SHAPES = 1_024
"""[1] Sets of metrics with their qualities and a time whose templates are remembered, some kilobytes each."""

ATTRIBUTES = 10_000
"""[1] Sets of attributes whose JSON is remembered, some hundred bytes each."""

COUNTS = '"features":{},"counts":{' + ",".join(f'"{outcome}":0' for outcome in OUTCOMES) + "}"


def encode_past(entity: PastEntity) -> bytes:
    """The entity record as `encode_json(entity_view(entity.state()))` gives it, byte for byte."""
    change, tick = entity.change, entity.tick
    values = [] if tick is None else tick.values
    if not isfinite(sum(values)):
        return encode_json(entity_view(entity.state()))
    names, tick_ms = ((), 0) if tick is None else (tuple(tick.names), tick.tick_ms)
    numbers = [repr(value) for value in values]
    template = _template(names, tuple(entity.qualities), tick_ms, entity.complete)
    text = (
        f'{{"world":{_text(entity.world)},"kind":{_text(change.kind)},"id":{_text(change.id)},"simulated":'
        f'{_flag(entity.simulated)},"version":0,"epoch":0,"status":{_text(entity.status)},"status_since_ms":'
        f'{change.at_ms},"status_reason":{_text(change.reason)},"faults":[],"attributes":'
        f"{_attributes(change.kind, change.nodepool, change.attributes)},{template % (*numbers, *numbers)},"
        f'{COUNTS},"seen_ms":{entity.at_ms}}}'
    )
    return text.encode()


@lru_cache(SHAPES)
def _template(names: tuple[str, ...], qualities: tuple[int, ...], tick_ms: int, complete: bool) -> str:
    """Metrics and aligned values; the values are to be filled in twice."""
    quoted = [_text(name) for name in names]
    words = [_text(QUALITIES[quality]) for quality in qualities]
    rest = f'"observed_at_ms":{tick_ms},"quality":%s,"source":{_text(HISTORY)}'
    keys = [name.replace("%", "%%") for name in quoted]
    metrics = ",".join(f'{key}:{{"value":%s,{rest % word}}}' for key, word in zip(keys, words, strict=True))
    aligned = ",".join(f"{key}:%s" for key in keys)
    told = ",".join(f"{key}:{word}" for key, word in zip(keys, words, strict=True))
    return (
        f'"metrics":{{{metrics}}},"aligned":{{"tick_ms":{tick_ms},"complete":{_flag(complete)},'
        f'"values":{{{aligned}}},"qualities":{{{told}}}}}'
    )


@lru_cache(ATTRIBUTES)
def _attributes(kind: str, nodepool: str, attributes: str) -> str:
    change = PastChange(kind, "", nodepool, False, 0, "", "", attributes, False)
    return json.dumps(change.named_attributes, ensure_ascii=False, separators=(",", ":"))


_text = json.encoder.encode_basestring


def _flag(value: bool) -> str:
    return "true" if value else "false"
