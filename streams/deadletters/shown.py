"""Letters, and what became of them, as documents: the same in the API and in commands."""

import base64
from typing import Any

from streams.deadletters.letter import Letter, why_not
from streams.deadletters.readable import decoded, hex_dump, schema_id_of, text_of
from streams.deadletters.redrive import Step
from streams.topics import Topics


def summary_of(letter: Letter, topics: Topics) -> dict[str, Any]:
    """A letter without its bytes; `refusal` says why it cannot be sent again."""
    return {
        "partition": letter.partition,
        "offset": letter.offset,
        "at_ms": letter.at_ms,
        "stage": letter.stage,
        "reason": letter.reason,
        "error": letter.error,
        "topic": letter.topic,
        "origin_partition": letter.origin_partition,
        "origin_offset": letter.origin_offset,
        "key": text_of(letter.key),
        "bytes": letter.size,
        "cut": letter.is_cut,
        "redriven": letter.redriven,
        "refusal": why_not(letter, topics),
    }


def all_of(letter: Letter, topics: Topics) -> dict[str, Any]:
    """A letter with its bytes: as they are (base64), as a dump, and decoded where they decode."""
    record = topics.record_of(letter.topic)
    form, value, fault = decoded(letter.value, record)
    return summary_of(letter, topics) | {
        "record": record,
        "schema_id": schema_id_of(letter.value),
        "value_base64": base64.b64encode(letter.value).decode(),
        "value_hex": hex_dump(letter.value),
        "decoded_as": form,
        "decoded": value,
        "decode_error": fault,
    }


def outcome_of(step: Step) -> dict[str, Any]:
    """What becomes of one letter that is to be sent again."""
    letter = step.letter
    return {
        "letter": step.place,
        "topic": letter.topic if letter else None,
        "partition": letter.origin_partition if letter else None,
        "bytes": letter.size if letter else 0,
        "redriven": letter.redriven + (step.refusal is None) if letter else 0,
        "offset": step.sent,
        "refusal": step.refusal,
    }
