"""What a replica keeps of a state record: its bytes, and the few fields that it needs at once."""

from functools import cache
from io import BytesIO
from sys import intern
from typing import Any, NamedTuple

from fastavro import parse_schema, schemaless_reader

from streams.errors import InvalidMessageError
from streams.schemas import HEADER, load_codec, load_schema, released_schemas

LAST_FIELD = "complete"
"""Last field of the record that is read on arrival: all before it takes a tenth of what the whole record
takes."""


class Held(NamedTuple):
    """A state record as it came, with what its first fields say."""

    epoch: int
    version: int
    partition: int
    status: str
    seen_ms: int
    next_tick_ms: int
    tick_ms: int
    complete: bool
    offset: int = -1
    value: bytes = b""

    def decode(self) -> Any:
        """The whole record (a `State`).

        Raises:
            InvalidMessageError: its later fields do not parse.
        """
        return load_codec("state").decode(self.value)


def read_held(value: bytes, partition: int, offset: int = -1) -> Held:
    """Read the first fields of a framed state record that stands at an offset of a partition.

    Raises:
        InvalidMessageError: wrong framing, an unknown schema id, or first fields that do not parse.
    """
    if len(value) < HEADER.size:
        raise InvalidMessageError("framing", f"{len(value)} bytes are too few for the Confluent framing")
    magic, schema_id = HEADER.unpack_from(value)
    if magic != 0:
        raise InvalidMessageError(
            "framing", f"first byte is {magic:#04x}, the Confluent framing begins with 0x00"
        )
    schema = _prefix_schemas().get(schema_id)
    if schema is None:
        raise InvalidMessageError("schema_id", f"schema id {schema_id} is not one of record state")
    stream = BytesIO(value)
    stream.seek(HEADER.size)
    try:
        first: Any = schemaless_reader(stream, schema, None)
    except Exception as error:  # fastavro raises whatever its decoders meet: EOFError, IndexError, …
        raise InvalidMessageError("avro", f"not a state record: {type(error).__name__}: {error}") from error
    return Held(
        epoch=first["epoch"],
        version=first["version"],
        partition=partition,
        status=intern(first["status"]),
        seen_ms=first["seen_ms"],
        next_tick_ms=first["next_tick_ms"],
        tick_ms=first["tick_ms"],
        complete=first["complete"],
        offset=offset,
        value=value,
    )


@cache
def _prefix_schemas() -> dict[int, Any]:
    """By schema id: the record's schema, cut after the fields that are read on arrival.

    Avro writes the fields of a record one after the other, so a reader may stop early.
    """
    schemas = {load_codec("state").schema_id: load_schema("state")} | {
        schema_id: {name: part for name, part in schema.items() if not name.startswith("__")}
        for schema_id, schema in released_schemas("state").items()
    }
    return {schema_id: parse_schema(_cut(schema)) for schema_id, schema in schemas.items()}


def _cut(schema: dict[str, Any]) -> dict[str, Any]:
    names = [field["name"] for field in schema["fields"]]
    return schema | {"fields": schema["fields"][: names.index(LAST_FIELD) + 1]}
