"""Avro on the wire in Confluent framing: the only place that opens a .avsc."""

import json
import struct
from functools import cache
from io import BytesIO
from pathlib import Path
from typing import Any, cast

from fastavro import parse_schema, schemaless_reader, schemaless_writer
from fastavro.schema import fingerprint, to_parsing_canonical_form

from streams.errors import InvalidMessageError

HEADER = struct.Struct(">bI")
"""Confluent framing: magic byte 0, then the schema id as four bytes, big end first."""


STATE_HEAD_FIELDS = 4
"""[1] Fields at the start of a state record that are read without the rest."""


class AvroCodec:
    """Encodes and decodes one record; `schema_id` is what stands in the framing."""

    def __init__(self, record: str, schema: dict[str, Any], schema_id: int | None = None) -> None:
        self.record = record
        self.schema = schema
        self.schema_id = fingerprint_id(schema) if schema_id is None else schema_id
        self._parsed = parse_schema(schema)
        self._header = HEADER.pack(0, self.schema_id)

    def use_id(self, schema_id: int) -> None:
        """Write this id, a registry's; what was written with the one before stays readable."""
        self.also_reads(self.schema_id, self.schema)
        self.schema_id = schema_id
        self._header = HEADER.pack(0, schema_id)

    def also_reads(self, schema_id: int, schema: dict[str, Any]) -> None:
        """Read what was written by another schema, or under another id."""
        released_schemas(self.record)[schema_id] = parse_schema(schema)

    def encode(self, value: Any) -> bytes:
        """Framed bytes of a record (a TypedDict of records.py)."""
        out = BytesIO()
        out.write(self._header)
        schemaless_writer(out, self._parsed, value)
        return out.getvalue()

    def decode(self, data: bytes | None) -> Any:
        """The record in framed bytes; fields that the writer did not know have their defaults.

        Raises:
            InvalidMessageError: no bytes, wrong framing, an unknown schema id, or a body that does not parse.
        """
        if not data or len(data) < HEADER.size:
            raise InvalidMessageError(
                "framing", f"{len(data or b'')} bytes are too few for the Confluent framing"
            )
        if data[0] != 0:
            raise InvalidMessageError(
                "framing", f"first byte is {data[0]:#04x}, the Confluent framing begins with 0x00"
            )
        stream = BytesIO(data)
        stream.seek(HEADER.size)
        try:
            if data.startswith(self._header):
                return schemaless_reader(stream, self._parsed, None)
            writer = released_schemas(self.record).get(HEADER.unpack_from(data)[1])
            if writer is None:
                raise InvalidMessageError(
                    "schema_id", f"schema id {HEADER.unpack_from(data)[1]} is not one of record {self.record}"
                )
            return schemaless_reader(stream, writer, self._parsed)
        except InvalidMessageError:
            raise
        # fastavro raises whatever its decoders meet: EOFError, IndexError, UnicodeError, …
        except Exception as error:
            raise InvalidMessageError(
                "avro", f"not a {self.record} record: {type(error).__name__}: {error}"
            ) from error


@cache
def load_codec(record: str) -> AvroCodec:
    """The codec of a record by its name, such as `observation`."""
    return AvroCodec(record, load_schema(record))


@cache
def load_schema(record: str) -> dict[str, Any]:
    """The schema of a record as it stands in its .avsc."""
    return cast(dict[str, Any], json.loads((schema_folder() / f"{record}.avsc").read_text()))


@cache
def released_schemas(record: str) -> dict[int, Any]:
    """Parsed schemas of earlier releases of a record, by their ids."""
    return {fingerprint_id(schema): parse_schema(schema) for schema in released_sources(record)}


def released_sources(record: str) -> list[dict[str, Any]]:
    """Schemas of earlier releases of a record as they stand in their files, oldest first."""
    paths = sorted((schema_folder() / "released").glob(f"{record}-*.avsc"))
    return [json.loads(path.read_text()) for path in paths]


@cache
def _state_head() -> Any:
    schema = load_schema("state")
    return parse_schema({**schema, "name": "StateHead", "fields": schema["fields"][:STATE_HEAD_FIELDS]})


def load_state_head(data: bytes) -> dict[str, Any]:
    """Only due_ms, targets, version and epoch of a framed state record, at a tenth of the cost of all of it.

    Avro writes fields one after another, so a schema of the first ones reads them; no release moves them.

    Raises:
        InvalidMessageError: no state record.
    """
    if len(data) < HEADER.size or data[0] != 0:
        raise InvalidMessageError("framing", "a state record begins with 0x00 and a schema id")
    stream = BytesIO(data)
    stream.seek(HEADER.size)
    try:
        return cast(dict[str, Any], schemaless_reader(stream, _state_head(), None))
    except Exception as error:  # fastavro raises whatever its decoders meet
        raise InvalidMessageError("avro", f"not a state record: {type(error).__name__}: {error}") from error


SCRAPE_HEAD_FIELDS = 9
"""[1] Fields of a scrape before its series."""


@cache
def _scrape_head() -> Any:
    schema = load_schema("scrape")
    # An array begins with the number of its items: all of them, as fastavro writes one block.
    count = {"name": "series_count", "type": "long"}
    fields = [*schema["fields"][:SCRAPE_HEAD_FIELDS], count]
    return parse_schema({**schema, "name": "ScrapeHead", "fields": fields})


def load_scrape_head(data: bytes) -> dict[str, Any]:
    """The fields of a framed scrape before its series, and `series_count` [1], without decoding these.

    Raises:
        InvalidMessageError: no scrape record.
    """
    if len(data) < HEADER.size or data[0] != 0:
        raise InvalidMessageError("framing", "a scrape record begins with 0x00 and a schema id")
    schema_id = HEADER.unpack_from(data)[1]
    if schema_id != load_codec("scrape").schema_id and schema_id not in released_schemas("scrape"):
        raise InvalidMessageError("schema_id", f"schema id {schema_id} is not one of record scrape")
    stream = BytesIO(data)
    stream.seek(HEADER.size)
    try:
        return cast(dict[str, Any], schemaless_reader(stream, _scrape_head(), None))
    except Exception as error:  # fastavro raises whatever its decoders meet
        raise InvalidMessageError("avro", f"not a scrape record: {type(error).__name__}: {error}") from error


def fingerprint_id(schema: dict[str, Any]) -> int:
    """Id without a registry: the CRC-64-AVRO fingerprint of the canonical form, cut to 31 bits.

    31 bits because registries and their clients keep ids in signed 32-bit integers.
    """
    return int(fingerprint(to_parsing_canonical_form(schema), "CRC-64-AVRO")[:8], 16) & 0x7FFF_FFFF


def schema_folder() -> Path:
    """Where the .avsc files are: in the package; in a checkout that is a link to schemas/avro."""
    return Path(__file__).parent / "avro"
