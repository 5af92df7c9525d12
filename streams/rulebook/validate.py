"""Checks documents against a JSON Schema, and says what is wrong and where."""

from typing import Any

from jsonschema.protocols import Validator
from jsonschema.validators import validator_for

FAULTS_SHOWN = 3
"""[1] Of a document's faults that are told: enough to see what is wrong."""

FAULT_LENGTH = 150
"""[1] Characters of each: a fault repeats the value, which may be the whole document."""


def schema_validator(schema: dict[str, Any]) -> Validator:
    """What checks documents against a JSON Schema, of the draft that this names."""
    return validator_for(schema)(schema)


def document_faults(document: Any, validator: Validator) -> list[str]:
    """The first faults of a document, each with its place and value; none when it satisfies the schema."""
    faults: list[str] = []
    try:
        for fault in validator.iter_errors(document):
            faults.append(f"{fault.json_path}: {fault.message[:FAULT_LENGTH]}")
            if len(faults) == FAULTS_SHOWN:
                break
    except RecursionError:
        return ["$: nested too deeply"]
    return faults
