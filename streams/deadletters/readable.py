"""Bytes made readable for people: text where they are text, decoded where they decode, else hexadecimal."""

import json
from contextlib import suppress
from typing import Any

from streams.errors import InvalidMessageError
from streams.schemas import HEADER, load_codec
from streams.topics import RECORDS

SHOWN_HEX = 512
"""[B] Of bytes that cannot be decoded."""

DUMP_BYTES = 16 * 1024
"""[B] Of a dump: a thousand lines, more than anybody reads."""

ROW = 16
"""[B] In one line of a dump."""


def readable(data: bytes | None) -> Any:
    """Text where the bytes are text, else their hexadecimal form."""
    if data is None:
        return None
    with suppress(UnicodeDecodeError):
        text = data.decode()
        if text.isprintable():
            return text
    return in_hex(data)


def in_hex(data: bytes) -> dict[str, Any]:
    """Size and hexadecimal form of bytes, cut when they are many."""
    shown: dict[str, Any] = {"bytes": len(data), "hex": data[:SHOWN_HEX].hex()}
    return shown | ({"cut": True} if len(data) > SHOWN_HEX else {})


def shown_record(value: Any) -> Any:
    """A decoded record with its bytes made readable; the body of an event is JSON and shown as such."""
    if not isinstance(value, dict):
        return value
    shown = {name: readable(part) if isinstance(part, bytes) else part for name, part in value.items()}
    if isinstance(shown.get("body"), str):
        with suppress(ValueError):
            shown["body"] = json.loads(shown["body"])
    return shown


def text_of(data: bytes) -> str:
    """One line for a key: its text where it is text, else hexadecimal digits."""
    found = readable(data)
    return found if isinstance(found, str) else str(found["hex"])


def hex_dump(data: bytes) -> str:
    """Lines of offset, bytes and ASCII, of the first `DUMP_BYTES`."""
    lines = []
    for start in range(0, min(len(data), DUMP_BYTES), ROW):
        row = data[start : min(start + ROW, DUMP_BYTES)]
        text = "".join(chr(byte) if 32 <= byte < 127 else "." for byte in row)
        lines.append(f"{start:08x}  {row[:8].hex(' '):23}  {row[8:].hex(' '):23}  |{text}|")
    return "\n".join(lines)


def schema_id_of(data: bytes) -> int | None:
    """The schema id in the framing; None when the bytes are not framed."""
    if len(data) < HEADER.size or data[0] != 0:
        return None
    return int(HEADER.unpack_from(data)[1])


def decoded(data: bytes, record: str) -> tuple[str | None, Any, str | None]:
    """What bytes that were meant as a record say: form (avro or json), value, and why there is none.

    JSON is tried too, as it is what people send by mistake.
    """
    fault = f"there is no record {record!r}"
    if record in RECORDS:
        try:
            return "avro", shown_record(load_codec(record).decode(data)), None
        except InvalidMessageError as error:
            fault = str(error)
    with suppress(ValueError, RecursionError):
        return "json", json.loads(data), fault
    return None, None, fault
