"""Files of events: JSON, JSON Lines or YAML, each event with the place that faults name."""

import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import PurePath
from tempfile import TemporaryFile
from typing import IO, Any, NamedTuple

import click
import yaml

from streams.errors import TwinError
from streams.rulebook.file import LinedDict, LinedList, parse_yaml

MAX_WHOLE_BYTES = 64 * 1024 * 1024
"""[B] Of a file that is read as a whole; JSON Lines are read line by line and may be of any size."""

LINES_SUFFIXES = (".jsonl", ".ndjson")
YAML_SUFFIXES = (".yaml", ".yml")

BLANK = b" \t\r\n"


class Document(NamedTuple):
    """One event as the file has it; `fault` says why there is nothing to read at that place."""

    place: str
    content: Any
    fault: str = ""


@contextmanager
def open_events(name: str) -> Iterator[IO[bytes]]:
    """The bytes of a file, or of stdin where the name is -, such that they can be read more than once."""
    try:
        with click.open_file(name, "rb") as file:
            if file.seekable() and name != "-":
                yield file
                return
            with TemporaryFile() as copy:
                shutil.copyfileobj(file, copy)
                yield copy
    except OSError as error:
        raise TwinError(f"{name}: cannot be read: {error.strerror}") from error


def read_documents(name: str, file: IO[bytes]) -> Iterator[Document]:
    """The events of a file, from its beginning.

    A line is named by its number, an item of a JSON array by its index in brackets (from 0).
    """
    file.seek(0)
    first_line, number = _first_line(file)
    suffix = PurePath(name).suffix.lower()
    if not first_line:
        yield Document("1", None, "holds no event: it is empty")
    elif suffix in LINES_SUFFIXES or (suffix not in YAML_SUFFIXES and _is_object(first_line)):
        yield from _lines(file)
    else:
        file.seek(0)
        data = file.read(MAX_WHOLE_BYTES + 1)
        if len(data) > MAX_WHOLE_BYTES:
            limit = f"{MAX_WHOLE_BYTES // 2**20} MiB"
            yield Document("1", None, f"more than {limit}: write it as JSON Lines, one event a line")
        elif suffix not in YAML_SUFFIXES and first_line.lstrip(BLANK)[:1] in b"[{":
            yield from _json(data)
        else:
            yield from _yaml(data, number)


def _first_line(file: IO[bytes]) -> tuple[bytes, int]:
    """The first line that is not blank, with its number."""
    for number, line in enumerate(iter(file.readline, b""), 1):
        text = line.removeprefix(b"\xef\xbb\xbf")
        if text.strip(BLANK):
            return text, number
    return b"", 0


def _is_object(line: bytes) -> bool:
    """Whether a line is a JSON object by itself: then each line is an event."""
    try:
        return isinstance(json.loads(line), dict)
    except (ValueError, RecursionError):
        return False


def _lines(file: IO[bytes]) -> Iterator[Document]:
    file.seek(0)
    for number, line in enumerate(iter(file.readline, b""), 1):
        if line.strip(BLANK + b"\xef\xbb\xbf"):
            try:
                yield Document(str(number), _parsed(line))
            except (ValueError, RecursionError) as error:
                yield Document(str(number), None, f"not JSON: {_said(error)}")


def _json(data: bytes) -> Iterator[Document]:
    try:
        content = _parsed(data)
    except (ValueError, RecursionError) as error:
        yield Document(str(getattr(error, "lineno", 1)), None, f"not JSON: {_said(error)}")
        return
    if not isinstance(content, list):
        yield Document("1", content)
        return
    if not content:
        yield Document("1", None, "holds no event: the array is empty")
    yield from (Document(f"[{place}]", item) for place, item in enumerate(content))


def _yaml(data: bytes, number: int) -> Iterator[Document]:
    try:
        content = parse_yaml(data.decode("utf-8-sig"))
    except (yaml.YAMLError, RecursionError, UnicodeDecodeError) as error:
        mark = getattr(error, "problem_mark", None)
        line = mark.line + 1 if mark else number
        yield Document(str(line), None, f"not YAML: {getattr(error, 'problem', None) or _said(error)}")
        return
    if isinstance(content, LinedList):
        if not content:
            yield Document(str(content.line), None, "holds no event: the list is empty")
        for line, item in zip(content.lines, content, strict=True):
            yield Document(str(line), item)
    else:
        yield Document(str(content.line if isinstance(content, LinedDict) else number), content)


def _parsed(data: bytes) -> Any:
    return json.loads(data.decode("utf-8-sig"), object_pairs_hook=_each_once)


def _each_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        raise ValueError(f"{next(name for name in names if names.count(name) > 1)!r} is there twice")
    return found


def _said(error: Exception) -> str:
    if isinstance(error, json.JSONDecodeError):
        return f"{error.msg} at column {error.colno}"
    return "nested too deeply" if isinstance(error, RecursionError) else str(error)[:200]
