"""A posted document to import events; of a large one in a process of its own, so that the API goes on.

Reading 20,000 nodes takes seconds, and in a thread the steps that do not give up the interpreter would hold
every other answer.
"""

import asyncio
import json
import os
import sys
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, suppress
from dataclasses import asdict, dataclass
from functools import lru_cache
from typing import Any, Literal, NoReturn

from jsonschema.protocols import Validator

from streams.domain.appendix_a import to_v2
from streams.domain.imports import Origin, import_bodies, interval_after, taken_at_ms
from streams.domain.rules import RulePack
from streams.errors import InvalidMessageError
from streams.rulebook import RULES_FOLDER, load_rulebook
from streams.rulebook.validate import document_faults, schema_validator

PACK = "decice_v2"
"""The pack that maps snapshots; documents of other formats are turned into snapshots first."""

LARGE_BYTES = 256 * 1024
"""[B] From here on a document is read in a process of its own: starting one takes half a second."""

LINE_BYTES = 1 << 20
"""[B] More than the largest event has."""

NICENESS = 10
"""[1] Of that process, so that scrapes go on."""

Format = Literal["decice-v2", "appendix-a"]
"""What a document may be."""

DEFAULT_SOURCES: dict[Format, str] = {"decice-v2": "decice", "appendix-a": "appendix-a"}
"""Name of the source of a document that names none."""


@dataclass(frozen=True)
class Source:
    """Who posts, what is known of that source's snapshot before (None: none was seen), and how it counts.

    Args:
        mem_unit: unit of `mem_total` in its snapshots.
        before_ms: [ms since the epoch] time of its snapshot before.
        interval_ms: [ms] between its snapshots so far.
    """

    name: str
    simulated: bool = False
    mem_unit: str = "MiB"
    before_ms: int | None = None
    interval_ms: int = 0


@dataclass(frozen=True)
class Reading:
    """A document that was read: its time, its interval, and the bodies of its import events as JSON."""

    taken_at_ms: int
    interval_ms: int
    bodies: AsyncIterator[bytes]


def read_import(body: bytes, form: Format, source: Source, now_ms: int) -> tuple[int, int, list[bytes]]:
    """Time, interval [ms] and event bodies of a document.

    Raises:
        InvalidMessageError: saying what is wrong with it, and where.
    """
    try:
        document = json.loads(body, parse_constant=_refuse)
    except (ValueError, RecursionError) as error:
        why = "nested too deeply" if isinstance(error, RecursionError) else str(error)
        raise InvalidMessageError("json", f"the body is not JSON: {why}: {body[:80]!r}") from None
    if not isinstance(document, dict):
        raise InvalidMessageError("schema", f"$: {body[:80].decode(errors='replace')} is not an object")
    faults = document_faults(document, _validator(form))
    if faults:
        raise InvalidMessageError("schema", f"the document is not of the schema {form}: " + "; ".join(faults))
    if form == "appendix-a":
        document = to_v2(document)
    taken_ms = taken_at_ms(document, now_ms)
    interval_ms = interval_after(source.before_ms, taken_ms, source.interval_ms)
    origin = Origin(source.name, taken_ms, interval_ms, source.simulated, source.mem_unit)
    bodies = [_encode(one) for one in import_bodies(document, _pack(), origin)]
    return taken_ms, interval_ms, bodies


@asynccontextmanager
async def reading(body: bytes, form: Format, source: Source) -> AsyncIterator[Reading]:
    """Read a document beside the event loop; nothing is given out unless all of it holds.

    Raises:
        InvalidMessageError: saying what is wrong with it, and where.
    """
    now_ms = int(time.time() * 1000)
    if len(body) < LARGE_BYTES:
        taken_ms, interval_ms, bodies = await asyncio.to_thread(read_import, body, form, source, now_ms)
        yield Reading(taken_ms, interval_ms, _each(bodies))
        return
    order = json.dumps({"form": form, "source": asdict(source), "now_ms": now_ms})
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "streams.web.reading", order),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        limit=LINE_BYTES,
    )
    try:
        assert process.stdin is not None  # noqa: S101  # for the type checker
        assert process.stdout is not None  # noqa: S101
        with suppress(ConnectionError):  # it ended before it read all: it says why, or below we do
            process.stdin.write(body)
            await process.stdin.drain()
        process.stdin.close()
        line = await process.stdout.readline()
        if not line:
            raise RuntimeError(f"the process that reads documents ended with {await process.wait()}")
        head: dict[str, Any] = json.loads(line)
        if "error" in head:
            raise InvalidMessageError(head["reason"], head["error"])
        yield Reading(head["taken_ms"], head["interval_ms"], _lines(process.stdout, head["events"]))
    finally:
        with suppress(ProcessLookupError):
            process.kill()
        await process.wait()


async def _each(bodies: list[bytes]) -> AsyncIterator[bytes]:
    for body in bodies:
        yield body


async def _lines(stream: asyncio.StreamReader, count: int) -> AsyncIterator[bytes]:
    for _ in range(count):
        line = await stream.readline()
        if not line.endswith(b"\n"):
            raise RuntimeError("the process that reads documents ended early")
        yield line


@lru_cache(maxsize=1)
def _pack() -> RulePack:
    return load_rulebook().packs[PACK]


@lru_cache(maxsize=2)
def _validator(form: Format) -> Validator:
    return schema_validator(document_schema(form))


def document_schema(form: Format) -> dict[str, Any]:
    """JSON Schema of documents of a format."""
    if form == "appendix-a":
        schema: dict[str, Any] = json.loads((RULES_FOLDER / "appendix_a.schema.json").read_text("utf-8"))
        return schema
    mapping = _pack().document
    return mapping.schema if mapping else {}


def _refuse(word: str) -> NoReturn:
    raise ValueError(f"{word} is not JSON")


def _encode(document: dict[str, Any]) -> bytes:
    return json.dumps(document, ensure_ascii=False, separators=(",", ":")).encode()


def _answer(order: dict[str, Any], body: bytes) -> Iterator[bytes]:
    try:
        taken_ms, interval_ms, bodies = read_import(
            body, order["form"], Source(**order["source"]), order["now_ms"]
        )
    except InvalidMessageError as error:
        yield _encode({"reason": error.reason, "error": str(error)})
        return
    yield _encode({"taken_ms": taken_ms, "interval_ms": interval_ms, "events": len(bodies)})
    yield from bodies


def main() -> None:
    """Read a document from standard input, and write a head and the events' bodies, one a line."""
    os.nice(NICENESS)
    for line in _answer(json.loads(sys.argv[1]), sys.stdin.buffer.read()):
        sys.stdout.buffer.write(line + b"\n")


if __name__ == "__main__":
    main()
