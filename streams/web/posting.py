"""Takes documents that are posted: into import events, of all of it or of nothing."""

import asyncio
import re
import time
from collections.abc import AsyncIterator, Mapping
from typing import Annotated
from weakref import WeakValueDictionary

from fastapi import Request, Response
from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from streams.domain.aggregate import SOURCE
from streams.domain.imports import some_entities
from streams.errors import InvalidMessageError
from streams.events.models import Import, Imported
from streams.replica.view import WorldView
from streams.replica.worlds import LIVE
from streams.web.access.audit import note_touched
from streams.web.access.principal import principal_of
from streams.web.access.targets import check_import
from streams.web.outbox import Outbox
from streams.web.problems import ProblemError
from streams.web.reading import DEFAULT_SOURCES, Format, Source, reading

BODY_BYTES = 64 << 20
"""[B] Largest body: some 150,000 nodes."""

SOURCES_MAX = 1_000
"""[1] Sources whose last snapshot is remembered."""

APPLIED_S = 5.0
"""[s] For an event to get into the state before the next one is sent."""

LOOK_S = 0.01
"""[s] Between looks at whether it did."""

SOURCE_PATTERN = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}")
"""Names of sources."""


def _not_the_twin(name: str) -> str:
    if name == SOURCE:
        raise ValueError(f"{SOURCE!r} is the twin itself: give another name")
    return name


SourceName = Annotated[
    str,
    Field(pattern=f"^{SOURCE_PATTERN.pattern}$", json_schema_extra={"not": {"const": SOURCE}}),
    AfterValidator(_not_the_twin),
]


class ImportQuery(BaseModel):
    """Parameters of a posted document."""

    model_config = ConfigDict(extra="forbid")

    source: SourceName = Field("", validate_default=False, description="Who posts; else decice or appendix-a")
    simulated: bool = Field(False, description="What it says is no measurement")
    mem_unit: str = Field(
        "MiB",
        pattern="^(MiB|GB)$",
        description="Unit of mem_total: the PromQL wrapper sends MiB, DECICE's emulator GB",
    )


class Posting:
    """Turns documents into events, those of a source one after the other; remembers when each posted."""

    def __init__(self, outbox: Outbox, live: WorldView) -> None:
        self._outbox = outbox
        self._live = live
        self._last: dict[str, tuple[int, int]] = {}
        self._turns: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()

    async def take(self, body: bytes, form: Format, query: ImportQuery) -> None:
        """Send a document's events; they are in Kafka when this returns.

        Each is sent when the one before is in the state: so what is scraped meanwhile never waits behind a
        whole snapshot, whatever its size.

        Raises:
            ProblemError: 422, what is wrong with it, and nothing was sent; 503, Kafka does not take them.
        """
        name = query.source or DEFAULT_SOURCES[form]
        async with self._turns.setdefault(name, asyncio.Lock()):
            before_ms, known_ms = self._last.get(name, (None, 0))
            source = Source(name, query.simulated, query.mem_unit, before_ms, known_ms)
            try:
                async with reading(body, form, source) as read:
                    await self._send(name, read.bodies)
            except InvalidMessageError as error:
                reason = error.reason.replace("_", "-")
                raise ProblemError(422, f"document-{reason}", str(error), field="body") from error
            if before_ms is None or read.taken_at_ms > before_ms:
                self._remember(name, read.taken_at_ms, read.interval_ms)

    async def _send(self, source: str, bodies: AsyncIterator[bytes]) -> None:
        before: dict[tuple[str, str], object] = {}
        is_paced = True
        async for body in bodies:
            part = Import.model_validate_json(body)
            if is_paced:
                # A worker that is away, or far behind, is not waited for again and again.
                is_paced = await self._is_applied(before)
                before = {key: self._record(key) for key in some_entities(part.series)}
            await self._outbox.send([_event(source, part)])

    async def _is_applied(self, before: Mapping[tuple[str, str], object]) -> bool:
        deadline = time.monotonic() + APPLIED_S
        while any(self._record(key) is record for key, record in before.items()):
            if time.monotonic() > deadline:
                return False
            await asyncio.sleep(LOOK_S)
        return True

    def _record(self, key: tuple[str, str]) -> object:
        found = self._live.find(*key)
        return None if found is None else found[1]

    def _remember(self, name: str, taken_ms: int, interval_ms: int) -> None:
        self._last.pop(name, None)
        self._last[name] = (taken_ms, interval_ms)
        if len(self._last) > SOURCES_MAX:
            del self._last[next(iter(self._last))]


def _event(source: str, part: Import) -> Imported:
    # Of one sender, so that all of a source stays in order.
    return Imported(id="", world="live", at_ms=0, sender=source, type="import", body=part)


async def take_document(request: Request, form: Format, query: ImportQuery) -> Response:
    """Take the document in a request's body; the answer is what DECICE's own twin answers."""
    check_import(principal_of(request))
    note_touched(request, [LIVE], (), document=form, source=query.source or DEFAULT_SOURCES[form])
    posting: Posting = request.app.state.posting
    await posting.take(await _body(request), form, query)
    return Response(b"201", status_code=201, media_type="application/json")


async def _body(request: Request) -> bytes:
    said = request.headers.get("Content-Length", "")
    if said.isdigit() and int(said) > BODY_BYTES:
        _refuse(int(said))
    chunks: list[bytes] = []
    size = 0
    async for chunk in request.stream():
        size += len(chunk)
        if size > BODY_BYTES:
            _refuse(size)
        chunks.append(chunk)
    return b"".join(chunks)


def _refuse(size: int) -> None:
    raise ProblemError(
        413, "too-large", f"the body has {size} bytes or more; at most {BODY_BYTES} are taken", field="body"
    )
