"""The `document` section of a rule file: where in a JSON document the series are, and its JSON Schema."""

import json
import re
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import Any

from jsonschema import Draft202012Validator
from jsonschema.exceptions import SchemaError
from jsonschema.validators import validator_for

from streams.domain.documents import DocumentMapping, SeriesMapping
from streams.domain.units import UNITS
from streams.rulebook.file import Block

_NAME = re.compile(r"[a-zA-Z_:][a-zA-Z0-9_:]*")


def read_document(block: Block, folder: Path) -> DocumentMapping | None:
    """How a document becomes series; only to be used when no fault was added."""
    schema = _schema(block, folder)
    unit = block.text("time_unit", "s")
    if UNITS.get(unit, ("",))[0] != "s":
        block.fault(f"'time_unit' must be a unit of time such as s or ms, not {unit!r}", "time_unit")
        unit = "s"
    times = _paths(block, "time")
    series = tuple(_series(part, times) for part in block.blocks("series"))
    if not series:
        block.fault("'series' is missing: what to take from a document")
    block.finish()
    return DocumentMapping(schema, series, UNITS[unit][1] * 1000.0)


def _schema(block: Block, folder: Path) -> dict[str, Any]:
    if isinstance(block.content.get("schema"), dict):
        part = block.block("schema")
        schema = json.loads(json.dumps(part.content)) if part else {}
    else:
        schema = _schema_file(block, folder)
    if block.flag("null_is_absent"):
        schema = _allow_null(schema)
    if why := _schema_fault(json.dumps(schema)):
        block.fault(f"not a JSON Schema: {why}", "schema")
    return schema


@lru_cache(maxsize=64)
def _schema_fault(schema: str) -> str:
    """What is wrong with a JSON Schema; cached because this takes longer than all the rest of loading."""
    try:
        parsed = json.loads(schema)
        validator_for(parsed, default=Draft202012Validator).check_schema(parsed)
    except SchemaError as error:
        return f"{error.json_path}: {error.message}"
    return ""


def _schema_file(block: Block, folder: Path) -> dict[str, Any]:
    name = block.text("schema", needed=True)
    if not name:
        return {}
    try:
        schema = json.loads((folder / name).read_text(encoding="utf-8"))
    except OSError as error:
        block.fault(f"{name}: cannot be read: {error.strerror}", "schema")
    except ValueError as error:
        block.fault(f"{name}: not JSON: {error}", "schema")
    else:
        if isinstance(schema, dict):
            return schema
        block.fault(f"{name}: a schema must be an object", "schema")
    return {}


def _allow_null(schema: Any) -> Any:
    """A JSON Schema whose typed values may also be null, as many writers of JSON send absent ones."""
    if isinstance(schema, list):
        return [_allow_null(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    changed = {key: _allow_null(value) for key, value in schema.items()}
    kind = changed.get("type")
    if isinstance(kind, str) and kind != "null":
        changed["type"] = [kind, "null"]
    if isinstance(changed.get("enum"), list) and None not in changed["enum"]:
        changed["enum"] = [*changed["enum"], None]
    return changed


def _series(block: Block, times: tuple[tuple[str, ...], ...]) -> SeriesMapping:
    each = _pairs(block, "each", _path)
    labels = _pairs(block, "labels", _path)
    values = _pairs(block, "values", _path_or_number)
    for name, _ in values:
        if not _NAME.fullmatch(name):
            block.fault(f"{name!r} cannot be the name of a series", "values")
    if not values:
        block.fault("'values' is missing: names of series, and where their values are")
    own = _paths(block, "time")
    block.finish()
    return SeriesMapping(each, labels, values, (*own, *times))


def _pairs(block: Block, key: str, parse: Callable[[Any], Any]) -> tuple[tuple[str, Any], ...]:
    part = block.block(key)
    found = []
    for name, value in (part.content if part else {}).items():
        parsed = parse(value)
        if parsed is None:
            block.fault(f"{key}: {name!r} must be a path such as pool.nodes, not {value!r}", key)
        else:
            found.append((name, parsed))
    return tuple(found)


def _paths(block: Block, key: str) -> tuple[tuple[str, ...], ...]:
    return tuple(path for text in block.texts(key) if (path := _path(text)))


def _path(value: Any) -> tuple[str, ...] | None:
    """A path: a text with dots, or a list of keys where keys themselves have dots."""
    if isinstance(value, str) and value.strip():
        return tuple(value.strip().split("."))
    if isinstance(value, list) and value and all(isinstance(key, str) for key in value):
        return tuple(value)
    return None


def _path_or_number(value: Any) -> tuple[str, ...] | float | None:
    if isinstance(value, int | float) and not isinstance(value, bool):
        return float(value)
    return _path(value)
